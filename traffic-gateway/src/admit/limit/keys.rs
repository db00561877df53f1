//! The keys of a request: what limits count it by.
//!
//! Limits share the parts that they count by: twenty of them by client, path, host and so on, alone and together. So the
//! value of a part is looked for and hashed once a request, and a key puts the digests of its parts together ([`Key::and`]).
//! Which parts a key has, which were looked for and which are there are sets of bits, so that all of that is one test each.

use gatehouse_shared::limit::{Key, KeyHasher};

use super::part::{KeySpec, Part};
use crate::admit::RequestView;

/// Parts of one request whose digests are kept, at most as many as a set has bits; those of further ones are made again for
/// every limit.
const KEPT_PARTS: usize = 16;

/// Everything that the limits of a generation count by.
#[derive(Debug)]
pub(super) struct Keys {
    specs: Box<[Spec]>,
    /// Their parts, each once.
    parts: Box<[Hashed]>,
}

/// What some limits count by.
#[derive(Debug)]
struct Spec {
    written: KeySpec,
    hasher: KeyHasher,
    /// Positions of its parts. Each is there once: by client and client is by client.
    parts: Box<[usize]>,
}

/// A part, and what hashes its values.
#[derive(Debug)]
struct Hashed {
    part: Part,
    is_fleet: bool,
    hasher: KeyHasher,
}

/// Parts whose digests are kept: a bit for each, by position.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Parts(u32);

/// Digests of the parts of one request, by position.
#[derive(Debug, Default)]
pub(super) struct Digests {
    looked_for: Parts,
    found: Parts,
    keys: [Key; KEPT_PARTS],
}

impl Parts {
    /// The part at a position; `None` if its digest is not kept.
    fn one(position: usize) -> Option<Self> {
        let bit = u32::try_from(position).ok().filter(|_| position < KEPT_PARTS)?;
        Some(Self(1 << bit))
    }

    #[inline]
    fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[inline]
    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    #[inline]
    fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their positions.
    #[inline]
    fn positions(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let position = (left != 0).then(|| left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(position)
        })
    }
}

impl Digests {
    /// The key of these parts, which are there.
    #[inline]
    fn key(&self, parts: Parts) -> Key {
        parts
            .positions()
            .filter_map(|position| self.keys.get(position))
            .fold(Key::default(), |key, part| key.and(*part))
    }
}

impl Keys {
    /// Makes keys for these, by their positions: with `fleet` those that must be the same on all nodes.
    pub(super) fn new(specs: Vec<KeySpec>, hasher: KeyHasher, fleet: KeyHasher) -> Self {
        let mut parts: Vec<Hashed> = Vec::new();
        let specs = specs.into_iter().map(|written| {
            let hasher = if written.is_fleet { fleet } else { hasher };
            let mut positions = Vec::new();
            for part in &written.parts {
                let is_same = |other: &Hashed| other.part == *part && other.is_fleet == written.is_fleet;
                let position = parts.iter().position(is_same).unwrap_or_else(|| {
                    let hasher = hasher.of_part(&part.text());
                    parts.push(Hashed { part: part.clone(), is_fleet: written.is_fleet, hasher });
                    parts.len() - 1
                });
                if !positions.contains(&position) {
                    positions.push(position);
                }
            }
            Spec { written, hasher, parts: positions.into() }
        });
        Self { specs: specs.collect(), parts: parts.into() }
    }

    /// The parts that the spec at this position has; `None` when there are some whose digests are not kept.
    pub(super) fn kept(&self, spec: usize) -> Option<Parts> {
        let mut parts = self.specs.get(spec)?.parts.iter();
        parts.try_fold(Parts::default(), |all, part| Some(all.and(Parts::one(*part)?)))
    }

    /// The key of a request by these parts; `None` when it lacks one.
    #[inline]
    pub(super) fn key_of(&self, parts: Parts, request: &RequestView<'_>, digests: &mut Digests) -> Option<Key> {
        let missing = parts.without(digests.looked_for);
        if !missing.is_empty() {
            self.look_for(missing, request, digests);
        }
        parts.without(digests.found).is_empty().then(|| digests.key(parts))
    }

    /// The key of a request by the spec at this position; `None` when it lacks a part.
    pub(super) fn key(&self, spec: usize, request: &RequestView<'_>, digests: &mut Digests) -> Option<Key> {
        let parts = &self.specs.get(spec)?.parts;
        parts.iter().try_fold(Key::default(), |key, part| Some(key.and(self.digest(*part, request, digests)?)))
    }

    /// The key under which the failed credentials of whoever a key stands for are counted.
    pub(super) fn tried(&self, spec: usize, key: Key) -> Option<Key> {
        let hasher = self.specs.get(spec)?.hasher;
        Some(hasher.key().bytes(&key.to_bytes()).bytes(b"tried").finish())
    }

    /// What was written at this position.
    pub(super) fn spec(&self, position: usize) -> Option<&KeySpec> {
        self.specs.get(position).map(|spec| &spec.written)
    }

    fn digest(&self, part: usize, request: &RequestView<'_>, digests: &mut Digests) -> Option<Key> {
        match Parts::one(part) {
            Some(part) => self.key_of(part, request, digests),
            None => self.parts.get(part)?.digest(request),
        }
    }

    #[inline(never)]
    fn look_for(&self, parts: Parts, request: &RequestView<'_>, digests: &mut Digests) {
        digests.looked_for = digests.looked_for.and(parts);
        for position in parts.positions() {
            let digest = self.parts.get(position).and_then(|part| part.digest(request));
            if let (Some(digest), Some(place), Some(part)) =
                (digest, digests.keys.get_mut(position), Parts::one(position))
            {
                *place = digest;
                digests.found = digests.found.and(part);
            }
        }
    }
}

impl Hashed {
    fn digest(&self, request: &RequestView<'_>) -> Option<Key> {
        self.part.digest(request, &self.hasher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::view::sample::Sample;

    fn keys(specs: &[&[&str]]) -> Keys {
        let spec = |parts: &&[&str]| KeySpec {
            parts: parts.iter().map(|part| part.parse().unwrap()).collect(),
            is_fleet: false,
        };
        Keys::new(specs.iter().map(spec).collect(), KeyHasher::of_process(), KeyHasher::of_fleet([7; 16]))
    }

    #[test]
    fn limits_that_count_by_the_same_have_the_same_key() {
        let keys = keys(&[
            &["client"],
            &["client", "path"],
            &["path", "client"],
            &["client", "network:32,64"],
            &["path"],
            &[],
        ]);
        let (sample, mut digests) = (Sample::get("/a", &[]), Digests::default());
        let view = sample.view();
        let made: Vec<_> = (0..6).map(|spec| keys.key(spec, &view, &mut digests).unwrap()).collect();
        assert_eq!((made[1], made[0]), (made[2], made[3]));
        assert_eq!(made[1], made[0].and(made[4]));
        assert_eq!(made[5], Key::default());
        assert_eq!(keys.key(6, &view, &mut digests), None);
        assert!(
            (0..6)
                .all(|spec| keys.key_of(keys.kept(spec).unwrap(), &view, &mut Digests::default()) == Some(made[spec]))
        );
    }

    #[test]
    fn parts_beyond_those_that_are_kept_count_too() {
        let names: Vec<String> = (0..KEPT_PARTS + 2).map(|n| format!("query:q{n}")).collect();
        let parts: Vec<&str> = names.iter().map(String::as_str).collect();
        let (keys, mut digests) = (keys(&[&parts]), Digests::default());
        let of = |last: &str, digests: &mut Digests| {
            let query: Vec<String> = (0..=KEPT_PARTS).map(|n| format!("q{n}=1")).collect();
            let sample = Sample::get(&format!("/?{}{last}", query.join("&")), &[]);
            keys.key(0, &sample.view(), digests)
        };
        let (one, two) = (of("&q17=1", &mut digests), of("&q17=2", &mut digests));
        assert!(one.is_some() && two.is_some() && one != two && keys.kept(0).is_none());
        assert_eq!(of("", &mut digests), None);
    }

    #[test]
    fn keys_of_the_fleet_are_others() {
        let spec = |is_fleet| KeySpec { parts: ["client".parse().unwrap()].into(), is_fleet };
        let keys = Keys::new(vec![spec(false), spec(true)], KeyHasher::of_process(), KeyHasher::of_fleet([7; 16]));
        let (sample, mut digests) = (Sample::get("/", &[]), Digests::default());
        let [own, fleet] = [0, 1].map(|spec| keys.key(spec, &sample.view(), &mut digests));
        assert_ne!(own, fleet);
        let by_another_node = Keys::new(vec![spec(true)], KeyHasher::of_fleet([1; 16]), KeyHasher::of_fleet([7; 16]));
        assert_eq!(by_another_node.key(0, &sample.view(), &mut Digests::default()), fleet);
    }
}
