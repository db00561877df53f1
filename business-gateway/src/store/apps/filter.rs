//! Which app keys surely do not exist: a [`Bloom`] filter and how far it can be trusted.
//!
//! It says "surely not" only when it is loaded and *current*: everything that was announced up to a moment ago is in it. A new
//! filter is made beside the old one, which leaves out what was removed; what is added meanwhile goes into both.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;

use super::bloom::Bloom;

/// A new filter that is being made.
#[derive(Debug, Default)]
struct Making {
    /// What was added since it was begun; `None` while none is made.
    added: Option<Vec<(u64, u64)>>,
    /// How often what was added became unknown.
    lost: u64,
}

/// Says which attempt at a new filter this is.
#[derive(Debug, Clone, Copy)]
pub struct Attempt(u64);

/// The filter of one node.
#[derive(Debug, Default)]
pub struct Filter {
    current: ArcSwapOption<Bloom>,
    /// Held while a key is added or filters change places, never by a look-up.
    making: Mutex<Making>,
    /// How many filters were made.
    made: AtomicU64,
}

impl Filter {
    /// Whether a key surely does not exist, if the filter is current.
    #[must_use]
    pub fn denies(&self, mark: (u64, u64)) -> bool {
        self.current.load().as_ref().is_some_and(|filter| !filter.may_hold(mark))
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.current.load().is_some()
    }

    /// Adds a key.
    pub fn insert(&self, mark: (u64, u64)) {
        let mut making = self.making();
        if let Some(filter) = self.current.load().as_ref() {
            filter.insert(mark);
        }
        if let Some(added) = making.added.as_mut() {
            added.push(mark);
        }
    }

    /// From now on everything that is added is remembered for a new filter. Begun before the keys are listed.
    pub fn begin(&self) -> Attempt {
        let mut making = self.making();
        making.added = Some(Vec::new());
        Attempt(making.lost)
    }

    /// A new filter takes the place of the old one, with everything that was added since [`Filter::begin`]. `None` when that
    /// is not known any more.
    pub fn finish(&self, attempt: Attempt, filter: Bloom) -> Option<Arc<Bloom>> {
        let mut making = self.making();
        let added = making.added.take().filter(|_| making.lost == attempt.0)?;
        added.into_iter().for_each(|mark| filter.insert(mark));
        let filter = Arc::new(filter);
        self.current.store(Some(Arc::clone(&filter)));
        self.made.fetch_add(1, Ordering::Relaxed);
        Some(filter)
    }

    /// Something may have been added that nobody has told: neither the filter in use nor one that is being made can be trusted,
    /// and nothing is denied until there is a new one.
    pub fn forget(&self) {
        let mut making = self.making();
        making.lost += 1;
        making.added = None;
        self.current.store(None);
    }

    /// No new filter comes.
    pub fn abandon(&self) {
        self.making().added = None;
    }

    fn making(&self) -> MutexGuard<'_, Making> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The filter in use.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Bloom>> {
        self.current.load_full()
    }

    /// How many filters were made or loaded.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_oneof, proptest};

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Add(u64),
        Remove(u64),
        Begin,
        Finish,
        Abandon,
        /// A gap, in which a key was added that nobody has told of.
        Gap(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0_u64..50).prop_map(Step::Add),
            1 => (0_u64..50).prop_map(Step::Remove),
            1 => Just(Step::Begin),
            1 => Just(Step::Finish),
            1 => Just(Step::Abandon),
            1 => (0_u64..50).prop_map(Step::Gap),
        ];
        proptest::collection::vec(step, 0..200)
    }

    #[test]
    fn without_a_filter_nothing_is_denied() {
        let filter = Filter::default();
        filter.insert((1, 1));
        assert!(!filter.is_loaded() && !filter.denies((2, 2)));
        let attempt = filter.begin();
        filter.insert((3, 3));
        filter.finish(attempt, Bloom::with_room(10)).unwrap();
        assert!(filter.is_loaded() && !filter.denies((3, 3)) && filter.denies((2, 2)));
    }

    #[test]
    fn a_filter_that_may_lack_something_is_not_used() {
        let filter = Filter::default();
        let attempt = filter.begin();
        assert!(filter.finish(attempt, Bloom::with_room(10)).is_some());
        let attempt = filter.begin();
        filter.forget();
        assert!(!filter.is_loaded() && filter.finish(attempt, Bloom::with_room(10)).is_none());
        assert!(!filter.is_loaded() && !filter.denies((2, 2)));
    }

    proptest! {
        #[test]
        fn no_key_that_exists_is_ever_denied(steps in steps(), seed in any::<u64>()) {
            let mark = |key: u64| (key.wrapping_mul(seed | 1).rotate_left(17), key ^ seed);
            let filter = Filter::default();
            let mut exist = BTreeSet::new();
            let mut listed: Option<(Attempt, BTreeSet<u64>)> = None;
            for step in steps {
                match step {
                    Step::Add(key) => {
                        exist.insert(key);
                        filter.insert(mark(key));
                    }
                    Step::Remove(key) => {
                        exist.remove(&key);
                    }
                    Step::Begin => {
                        listed = Some((filter.begin(), exist.clone()));
                    }
                    Step::Finish => if let Some((attempt, listed)) = listed.take() {
                        let new = Bloom::with_room(100);
                        listed.iter().for_each(|key| new.insert(mark(*key)));
                        filter.finish(attempt, new);
                    },
                    Step::Abandon => {
                        filter.abandon();
                        listed = None;
                    }
                    Step::Gap(key) => {
                        exist.insert(key);
                        filter.forget();
                    }
                }
                prop_assert!(exist.iter().all(|key| !filter.denies(mark(*key))));
            }
        }
    }
}
