//! The memory of a node: answers by key, bounded in bytes. What is used least goes first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use super::answer::{Slot, Stored};
use super::key::Key;

/// Parts of the memory, each under a lock of its own and with its share of the bytes: an answer larger than a share is not kept.
const SHARDS: usize = 8;
/// About how large an answer is; only for estimates.
const USUAL: u64 = 4 * 1024;

/// The memory.
#[derive(Debug)]
pub struct Memory {
    slots: Cache<Key, Arc<Slot>, Bytes, DefaultHashBuilder, Evictions>,
    evicted: Arc<AtomicU64>,
    most: AtomicU64,
}

/// What a slot weighs.
#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<Key, Arc<Slot>> for Bytes {
    fn weight(&self, _: &Key, slot: &Arc<Slot>) -> u64 {
        u64::try_from(slot.weight()).unwrap_or(u64::MAX)
    }
}

/// Counts what has to go.
#[derive(Debug, Clone)]
struct Evictions(Arc<AtomicU64>);

impl Lifecycle<Key, Arc<Slot>> for Evictions {
    /// What goes is dropped when the lock is free again.
    type RequestState = Vec<Arc<Slot>>;

    fn on_evict(&self, gone: &mut Self::RequestState, _: Key, slot: Arc<Slot>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        gone.push(slot);
    }
}

impl Memory {
    /// Room for so many bytes.
    #[must_use]
    pub fn new(most: u64) -> Self {
        let evicted = Arc::new(AtomicU64::new(0));
        let items = usize::try_from(most / USUAL).unwrap_or(usize::MAX).max(SHARDS * 32);
        let options =
            OptionsBuilder::new().shards(SHARDS).estimated_items_capacity(items).weight_capacity(most).build();
        let evictions = Evictions(Arc::clone(&evicted));
        let slots = match options {
            Ok(options) => Cache::with_options(options, Bytes, DefaultHashBuilder::default(), evictions),
            // All options are there.
            Err(_) => Cache::with(items, most, Bytes, DefaultHashBuilder::default(), evictions),
        };
        Self { slots, evicted, most: AtomicU64::new(most) }
    }

    /// Room for so many bytes from now on.
    pub fn resize(&self, most: u64) {
        if self.most.swap(most, Ordering::Relaxed) != most {
            self.slots.set_capacity(most);
        }
    }

    /// The largest answer that a memory of so many bytes keeps.
    #[must_use]
    pub fn largest(most: u64) -> u64 {
        most / u64::try_from(SHARDS * 2).unwrap_or(u64::MAX)
    }

    /// What is kept under a key.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<Arc<Slot>> {
        self.slots.get(key)
    }

    /// Keeps an answer. Of two that come at the same moment under one key, one may get lost.
    pub fn keep(&self, key: Key, stored: &Arc<Stored>) {
        let slot = match self.slots.peek(&key) {
            Some(slot) => slot.with(stored),
            None => Slot { variants: vec![Arc::clone(stored)], pass_until: 0 },
        };
        self.slots.insert(key, Arc::new(slot));
    }

    /// Puts an answer into the place of another one, if that is still there.
    pub fn replace(&self, key: Key, old: &Arc<Stored>, new: &Arc<Stored>) {
        let Some(slot) = self.slots.peek(&key) else { return };
        if slot.variants.iter().any(|known| Arc::ptr_eq(known, old)) {
            self.slots.insert(key, Arc::new(slot.with(new)));
        }
    }

    /// Notes that calls of a key do not wait for each other until then, in Unix milliseconds.
    pub fn pass(&self, key: Key, until: u64) {
        let variants = self.slots.peek(&key).map(|slot| slot.variants.clone()).unwrap_or_default();
        self.slots.insert(key, Arc::new(Slot { variants, pass_until: until }));
    }

    /// Forgets everything, to have the memory back.
    pub fn clear(&self) {
        self.slots.clear();
    }

    /// Bytes kept.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.slots.weight()
    }

    /// Bytes that may be kept.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }

    /// Keys under which something is kept.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.slots.len()
    }

    /// How many had to go.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::cache::answer::tests::stored;
    use crate::dispatch::cache::key::tests::any_key;

    #[test]
    fn never_keeps_more_than_it_may() {
        const MOST: u64 = 1 << 20;
        let memory = Memory::new(MOST);
        for number in 0..20_000 {
            let length = usize::try_from(number * 37 % 9_000).unwrap();
            memory.keep(any_key(number), &Arc::new(stored(&"x".repeat(length))));
            assert!(memory.bytes() <= MOST, "{}", memory.bytes());
        }
        assert!(memory.bytes() > MOST / 2 && memory.evicted() > 10_000);
        let large = usize::try_from(MOST).unwrap();
        memory.keep(any_key(1), &Arc::new(stored(&"x".repeat(large))));
        assert!(memory.find(&any_key(1)).is_none() && memory.bytes() <= MOST);
        memory.resize(MOST / 4);
        assert!(memory.bytes() <= MOST / 4);
        memory.clear();
        assert_eq!((memory.bytes(), memory.keys()), (0, 0));
    }

    #[test]
    fn what_may_be_kept_at_most_has_room() {
        const MOST: u64 = 1 << 20;
        let memory = Memory::new(MOST);
        let length = usize::try_from(Memory::largest(MOST)).unwrap();
        memory.keep(any_key(1), &Arc::new(stored(&"x".repeat(length))));
        assert!(memory.find(&any_key(1)).is_some());
    }

    #[test]
    fn a_mark_to_pass_leaves_the_answers_and_goes_with_the_next() {
        let memory = Memory::new(1 << 20);
        let first = Arc::new(stored("1"));
        memory.keep(any_key(1), &first);
        memory.pass(any_key(1), 77);
        let slot = memory.find(&any_key(1)).unwrap();
        assert_eq!((slot.variants.len(), slot.pass_until), (1, 77));
        let second = Arc::new(stored("2"));
        memory.keep(any_key(1), &second);
        let slot = memory.find(&any_key(1)).unwrap();
        assert_eq!((slot.variants.len(), slot.pass_until), (1, 0));
        memory.replace(any_key(1), &first, &Arc::new(stored("3")));
        assert!(Arc::ptr_eq(&memory.find(&any_key(1)).unwrap().variants[0], &second), "the old one is gone already");
    }
}
