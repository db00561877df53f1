//! Values that no rule cares about, remembered from one request to the next.
//!
//! Most of what requests bring they have brought before: names of headers and arguments, user agents, accepted types, flags.
//! Whether the prefilter finds a rule for a value depends on nothing but the rules, the place the value is in and its
//! bytes, so a value that woke no rule once never will, and need not be looked at again. Values that woke one are not
//! remembered.
//!
//! What is kept of a value is a number of 64 bits: SipHash under a key that is drawn for each rule set and known to nobody,
//! so that nobody can find a value that is taken for another; two of any number of values share it by chance once in
//! 2^64. The table is shared by all threads and written only for values that one of them has seen twice within
//! [`Recent`], so that what every request brings anew (ids, tokens) neither displaces anything nor travels between
//! processors.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use super::names::NameId;
use super::units::Source;

/// Values that are remembered: 64 KiB of numbers, which a processor's second cache holds beside other things.
const PLACES: usize = 8_192;

/// Longest value that is looked up, in bytes: longer ones hardly come again.
const LONGEST: usize = 512;

/// Numbers of values that a transaction's buffers keep of those they saw last.
const RECENT: usize = 256;

/// The number of a value in its place; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen(u64);

/// Values that woke no rule of one rule set.
pub(crate) struct Memo {
    key: RandomState,
    places: Box<[AtomicU64]>,
}

/// Values seen once, by the transactions that share these buffers one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Recent(Box<[u64; RECENT]>);

impl Recent {
    pub(crate) fn new() -> Self {
        Self(Box::new([0; RECENT]))
    }

    /// Whether the value was here before; it is now.
    fn meet(&mut self, seen: Seen) -> bool {
        self.0.get_mut(place(seen, RECENT)).is_some_and(|last| std::mem::replace(last, seen.0) == seen.0)
    }
}

impl Memo {
    pub(crate) fn new() -> Self {
        let places = std::iter::repeat_with(|| AtomicU64::new(0)).take(PLACES).collect();
        Self { key: RandomState::new(), places }
    }

    /// The number of some texts that come together, as a name and its value; `None` if they are too long to be looked up.
    pub(crate) fn number(&self, source: Source, name: NameId, texts: &[&[u8]]) -> Option<Seen> {
        let mut hasher = self.key.build_hasher();
        for text in texts {
            if text.len() > LONGEST {
                return None;
            }
            // The lengths keep texts apart whose bytes are divided otherwise.
            hasher.write_u64(u64::from(name.0) << 32 | (text.len() as u64) << 8 | source as u64);
            hasher.write(text);
        }
        Some(Seen(hasher.finish().max(1)))
    }

    /// Whether the value is known to wake no rule.
    pub(crate) fn is_idle(&self, seen: Seen) -> bool {
        self.places.get(place(seen, PLACES)).is_some_and(|known| known.load(Ordering::Relaxed) == seen.0)
    }

    /// The value woke no rule: it is remembered if it was seen not long ago.
    pub(crate) fn note_idle(&self, seen: Seen, recent: &mut Recent) {
        if recent.meet(seen)
            && let Some(known) = self.places.get(place(seen, PLACES))
        {
            known.store(seen.0, Ordering::Relaxed);
        }
    }
}

/// Where a number is kept: its lower bits, which are as random as all others.
fn place(seen: Seen, places: usize) -> usize {
    usize::try_from(seen.0 % places as u64).unwrap_or(0)
}

impl fmt::Debug for Memo {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.places.iter().filter(|place| place.load(Ordering::Relaxed) != 0).count();
        to.debug_struct("Memo").field("known", &known).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Memo, Recent};
    use crate::rules::names::NameId;
    use crate::rules::units::Source;

    #[test]
    fn a_value_is_remembered_in_its_place_once_it_was_seen_twice() {
        let (memo, mut recent) = (Memo::new(), Recent::new());
        let number = |source, name, value: &[u8]| memo.number(source, NameId(name), &[value]).unwrap();
        let seen = number(Source::HeaderValue, 7, b"gzip");
        memo.note_idle(seen, &mut recent);
        assert!(!memo.is_idle(seen), "seen once");
        memo.note_idle(seen, &mut recent);
        assert!(memo.is_idle(seen));
        for other in [
            number(Source::HeaderValue, 8, b"gzip"),
            number(Source::CookieValue, 7, b"gzip"),
            number(Source::HeaderValue, 7, b"gzip "),
        ] {
            assert!(!memo.is_idle(other));
        }
        assert_eq!(memo.number(Source::HeaderValue, NameId(7), &[&[b'a'; 513]]), None);
        let pair = |name: &[u8], value: &[u8]| memo.number(Source::HeaderValue, NameId(7), &[name, value]).unwrap();
        assert_ne!(pair(b"ab", b"c"), pair(b"a", b"bc"));
    }

    #[test]
    fn values_that_come_once_displace_nothing() {
        let (memo, mut recent) = (Memo::new(), Recent::new());
        let number = |value: u32| memo.number(Source::GetValue, NameId(0), &[&value.to_le_bytes()]).unwrap();
        for _ in 0..2 {
            memo.note_idle(number(0), &mut recent);
        }
        for value in 1..100_000 {
            memo.note_idle(number(value), &mut recent);
        }
        assert!(memo.is_idle(number(0)));
    }

    #[test]
    fn two_rule_sets_number_alike_values_differently() {
        let number = || Memo::new().number(Source::GetValue, NameId(0), &[b"a"]).unwrap();
        assert_ne!(number(), number());
    }
}
