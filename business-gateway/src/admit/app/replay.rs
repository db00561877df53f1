//! Calls that were made before. A nonce is remembered for as long as its signature would be taken, on this node or, through
//! Redis, by the whole fleet. Nothing is forgotten before its time: a set that forgets under pressure can be made to forget, so
//! one that is full refuses instead.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use ring::digest;

/// Parts of the set, each under a lock of its own.
const SHARDS: usize = 16;
/// Seconds whose nonces are forgotten together: a nonce is kept that much longer than needed, at most.
const SLICE_S: u64 = 10;

/// What became of a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It was not known, and is now.
    New,
    /// It was known.
    Known,
    /// There is no room for it.
    Full,
}

/// The nonces that this node has seen and that still matter.
#[derive(Debug, Default)]
pub struct Nonces {
    /// A lock is held for one look-up, and now and then to forget one slice; never across an await.
    shards: [Mutex<Shard>; SHARDS],
    count: AtomicUsize,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    seen: HashSet<Mark>,
    /// What is forgotten when, soonest first.
    slices: VecDeque<Slice>,
}

#[derive(Debug)]
struct Slice {
    ends_s: u64,
    marks: Vec<Mark>,
}

/// The first half of the SHA-256 of whose nonce it is and of the nonce: two that are the same do not turn up in the life of
/// the universe, and every one takes the same room.
type Mark = [u8; 16];

impl Nonces {
    /// Notes that `owner` used `nonce`, which matters until `until_s`, when it is `now_s`, both in Unix seconds. At most `most`
    /// are kept.
    pub fn claim(&self, owner: &str, nonce: &str, until_s: u64, now_s: u64, most: usize) -> Claim {
        let mark = mark(owner, nonce);
        let shard = usize::from(mark[0]) % SHARDS;
        let Some(shard) = self.shards.get(shard) else { return Claim::Full };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let forgotten = shard.forget(now_s);
        if forgotten > 0 {
            self.count.fetch_sub(forgotten, Ordering::Relaxed);
        }
        if shard.seen.contains(&mark) {
            return Claim::Known;
        }
        // Sixteen threads can each be one above the bound at the same time; no more.
        if self.count.load(Ordering::Relaxed) >= most {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Claim::Full;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        shard.seen.insert(mark);
        shard.slice(until_s).marks.push(mark);
        Claim::New
    }

    /// Forgets what does not matter any more in every shard; those that nobody asks would keep theirs otherwise.
    pub fn sweep(&self, now_s: u64) {
        for shard in &self.shards {
            let forgotten = shard.lock().unwrap_or_else(PoisonError::into_inner).forget(now_s);
            self.count.fetch_sub(forgotten, Ordering::Relaxed);
        }
    }

    /// How many are kept.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many calls found the set full.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Shard {
    fn forget(&mut self, now_s: u64) -> usize {
        let mut forgotten = 0;
        while let Some(slice) = self.slices.pop_front_if(|slice| slice.ends_s < now_s) {
            forgotten += slice.marks.len();
            for mark in slice.marks {
                self.seen.remove(&mark);
            }
        }
        forgotten
    }

    /// The slice of what matters until `until_s`.
    #[expect(clippy::indexing_slicing, reason = "the index is the one just found or inserted at")]
    fn slice(&mut self, until_s: u64) -> &mut Slice {
        let ends_s = (until_s / SLICE_S).saturating_add(1).saturating_mul(SLICE_S);
        let index = match self.slices.binary_search_by_key(&ends_s, |slice| slice.ends_s) {
            Ok(index) => index,
            Err(index) => {
                self.slices.insert(index, Slice { ends_s, marks: Vec::new() });
                index
            }
        };
        &mut self.slices[index]
    }
}

fn mark(owner: &str, nonce: &str) -> Mark {
    let mut hash = digest::Context::new(&digest::SHA256);
    // The length first, so that no two pairs read the same.
    hash.update(&u64::try_from(owner.len()).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(owner.as_bytes());
    hash.update(nonce.as_bytes());
    let mut mark = Mark::default();
    mark.iter_mut().zip(hash.finish().as_ref()).for_each(|(to, from)| *to = *from);
    mark
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use std::collections::HashMap;

    #[test]
    fn a_nonce_is_new_once_for_each_owner() {
        let nonces = Nonces::default();
        assert_eq!(nonces.claim("a", "bc", 300, 0, 10), Claim::New);
        assert_eq!(nonces.claim("a", "bc", 300, 0, 10), Claim::Known);
        assert_eq!(nonces.claim("a", "bc", 310, 300, 10), Claim::Known, "to the last second");
        assert_eq!(nonces.claim("ab", "c", 300, 0, 10), Claim::New);
        assert_eq!(nonces.claim("b", "bc", 300, 0, 10), Claim::New);
        assert_eq!(nonces.count(), 3);
    }

    #[test]
    fn a_full_set_refuses_until_something_does_not_matter_any_more() {
        let nonces = Nonces::default();
        for nonce in ["1", "2", "3"] {
            assert_eq!(nonces.claim("a", nonce, 100, 0, 3), Claim::New);
        }
        assert_eq!(nonces.claim("a", "4", 100, 0, 3), Claim::Full);
        assert_eq!(nonces.claim("a", "1", 100, 0, 3), Claim::Known, "nothing was forgotten to make room");
        assert_eq!((nonces.refused(), nonces.count()), (1, 3));
        nonces.sweep(100 + SLICE_S + 1);
        assert_eq!(nonces.count(), 0);
        assert_eq!(nonces.claim("a", "4", 400, 111, 3), Claim::New);
    }

    proptest! {
        #[test]
        fn agrees_with_a_list_of_everything(calls in proptest::collection::vec((0u8..20, 0u64..40, any::<bool>()), 1..200)) {
            let nonces = Nonces::default();
            let mut known: HashMap<u8, u64> = HashMap::new();
            let mut now = 1_000;
            for (nonce, step, early) in calls {
                now += step;
                let until = if early { now + 5 } else { now + 300 };
                // Slices end up to SLICE_S later than needed; a nonce in between may be either.
                let slack = known.get(&nonce).is_some_and(|end| *end < now && *end + SLICE_S >= now);
                let expected = if known.get(&nonce).is_some_and(|end| *end >= now) { Claim::Known } else { Claim::New };
                let claim = nonces.claim("app", &nonce.to_string(), until, now, 1_000);
                if !slack {
                    prop_assert_eq!(claim, expected);
                }
                if claim == Claim::New {
                    known.insert(nonce, until);
                }
            }
        }
    }
}
