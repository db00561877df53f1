//! The leases of a limit by subject: sharded and bounded.
//!
//! A shard is locked for a look-up (about 20 ns); the lease itself has a lock of its own, held for some arithmetic. A subject whose
//! lease is in use is never given up: when there are as many as there may be, idle ones make room, and if there is none a
//! newcomer gets no place.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gatehouse_shared::limit::Key;
use tokio::sync::Notify;

use super::counters::Counters;
use super::lease::Lease;

const SHARDS: usize = 64;
/// A full table is not swept more often than this, in milliseconds.
const SWEEP_EVERY: u64 = 1_000;

/// The leases of a limit.
#[derive(Debug)]
pub(super) struct Table {
    shards: Box<[Mutex<Shard>]>,
    held: AtomicUsize,
    swept_at: AtomicU64,
}

type Shard = HashMap<Key, Arc<Held>, BuildHasherDefault<Hashed>>;

/// What is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forget {
    /// Leases whose window is over.
    Over,
    /// These, and those that have given everything back.
    Idle,
}

/// What a node holds of one subject.
#[derive(Debug)]
pub(super) struct Held {
    /// The name of the limit, and the subject as the store knows it.
    pub(super) limit: Arc<str>,
    pub(super) subject: Arc<str>,
    /// Locked for some arithmetic.
    lease: Mutex<Lease>,
    /// Those who wait for an answer of the store.
    pub(super) heard: Notify,
    pub(super) counters: Arc<Counters>,
}

impl Held {
    pub(super) fn new(limit: Arc<str>, subject: Arc<str>, lease: Lease, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self { limit, subject, lease: Mutex::new(lease), heard: Notify::new(), counters })
    }

    /// The lease. Nothing panics while it is held except by a bug; then it stays as it is.
    #[inline]
    pub(super) fn lease(&self) -> MutexGuard<'_, Lease> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, held: AtomicUsize::new(0), swept_at: AtomicU64::new(0) }
    }

    /// What is held of a subject.
    #[inline]
    pub(super) fn find(&self, key: Key) -> Option<Arc<Held>> {
        self.shard(key)?.get(&key).map(Arc::clone)
    }

    /// What is held of a subject, made when there is room for it.
    pub(super) fn find_or_make(
        &self,
        key: Key,
        most: usize,
        now: u64,
        make: impl FnOnce() -> Arc<Held>,
    ) -> Option<Arc<Held>> {
        if self.held.load(Ordering::Relaxed) >= most {
            self.make_room(now);
        }
        let mut shard = self.shard(key)?;
        if let Some(held) = shard.get(&key) {
            return Some(Arc::clone(held));
        }
        let one_more = |held: usize| (held < most).then_some(held + 1);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        let held = make();
        shard.insert(key, Arc::clone(&held));
        Some(held)
    }

    /// How many subjects are held.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Looks at everything that is held, one shard at a time.
    pub(super) fn each(&self, mut look: impl FnMut(&Arc<Held>)) {
        for shard in &self.shards {
            lock(shard).values().for_each(&mut look);
        }
    }

    /// Forgets whose window is over; where room is needed, also who has given everything back. The others are kept so that the
    /// store can be told again what it has lost.
    pub(super) fn sweep(&self, now: u64, forget: Forget) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            let before = shard.len();
            // Whoever else has it (a call under way, the queue) goes on with it.
            shard.retain(|_, held| Arc::strong_count(held) > 1 || !held.lease().is_idle(now, forget));
            let gone = before - shard.len();
            if gone > before / 2 {
                shard.shrink_to_fit();
            }
            self.held.fetch_sub(gone, Ordering::Relaxed);
        }
    }

    #[cold]
    fn make_room(&self, now: u64) {
        let swept_at = self.swept_at.load(Ordering::Relaxed);
        let is_due = now.abs_diff(swept_at) >= SWEEP_EVERY;
        let exchange = || self.swept_at.compare_exchange(swept_at, now, Ordering::Relaxed, Ordering::Relaxed);
        if is_due && exchange().is_ok() {
            self.sweep(now, Forget::Idle);
        }
    }

    #[inline]
    fn shard(&self, key: Key) -> Option<MutexGuard<'_, Shard>> {
        let [first, ..] = key.to_bytes();
        self.shards.get(usize::from(first) % SHARDS).map(lock)
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The hash of a key, which is one already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = self.0.rotate_left(32) ^ number;
    }
}

#[cfg(test)]
mod tests {
    use super::super::window::Window;
    use super::*;
    use gatehouse_shared::limit::KeyHasher;

    fn key(n: u32) -> Key {
        KeyHasher::of_process().key().bytes(&n.to_le_bytes()).finish()
    }

    fn make() -> Arc<Held> {
        let window = Window { number: 1, begins: 60_000, ends: 120_000 };
        Held::new("a".into(), "all".into(), Lease::new(window, 1, 60_000), Arc::default())
    }

    #[test]
    fn holds_as_many_as_it_may_and_lets_idle_ones_make_room() {
        let table = Table::new();
        let kept: Vec<Arc<Held>> = (0..3).map(|n| table.find_or_make(key(n), 3, 60_000, make).unwrap()).collect();
        assert!(table.find_or_make(key(3), 3, 60_000, make).is_none());
        assert!(Arc::ptr_eq(&table.find(key(1)).unwrap(), &kept[1]));
        assert!(table.find(key(3)).is_none());
        drop(kept);
        // All are idle since their window is over.
        assert!(table.find_or_make(key(3), 3, 200_000, make).is_some());
        assert_eq!(table.held(), 1);
    }
}
