//! The keys of a request: what limits count it by.
//!
//! Limits share the parts that they count by: twenty of them by client, path, host and so on, alone and together. So the
//! value of a part is looked for and hashed once a request, and a key puts the digests of its parts together ([`Key::and`]).

use gatehouse_shared::limit::{Key, KeyHasher};

use super::part::{KeySpec, Part};
use crate::admit::RequestView;

/// Parts of one request whose digests are kept; those of further ones are made again for every limit.
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

/// Digests of the parts of one request, by position: not made yet, not there, or made.
#[derive(Debug, Default)]
pub(super) struct Digests([Option<Option<Key>>; KEPT_PARTS]);

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

    /// The key of a request by the spec at this position; `None` when it lacks a part.
    #[inline]
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

    #[inline]
    fn digest(&self, part: usize, request: &RequestView<'_>, digests: &mut Digests) -> Option<Key> {
        match digests.0.get(part) {
            Some(Some(made)) => *made,
            _ => self.make(part, request, digests),
        }
    }

    #[inline(never)]
    fn make(&self, part: usize, request: &RequestView<'_>, digests: &mut Digests) -> Option<Key> {
        let Hashed { part: of, hasher, .. } = self.parts.get(part)?;
        let digest = of.digest(request, hasher);
        if let Some(place) = digests.0.get_mut(part) {
            *place = Some(digest);
        }
        digest
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
        assert!(one.is_some() && two.is_some() && one != two);
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
