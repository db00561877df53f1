//! The table of keys: exact, bounded, sharded; used by every kind of limit.
//!
//! A key is *idle* when its state says no more than that of a key never seen. Idle keys make room for new ones; a key
//! that is not idle is never given up, so when a table is full of such keys a new one is refused as [`Full`].
//!
//! Each shard is behind a `std` mutex: uncontended it costs two atomic operations (about 10 ns), and it is held for one
//! look-up and some arithmetic. New keys make it longer: each time a shard has grown by a sixth it is rebuilt, which takes
//! 50 to 100 µs for the 4,096 keys that a shard has at most in a full table. Counters in atomics would save the lock but not the look-up, and no
//! algorithm here fits in one word.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::index::Index;
use super::key::Key;

/// The least and the most keys in a shard of a full table, about: few, so that threads seldom meet and a rebuild is short;
/// but not so few that shards cost more than keys, or that a table with few keys is spread over a lot of memory.
const KEYS_PER_SHARD: (usize, usize) = (16, 4_096);
/// Shards of a table that is neither very small nor very large.
const SHARDS: usize = 256;
/// How often a full shard is swept within the time after which keys become idle.
const SWEEPS: u64 = 16;

/// What a table keeps for one key. The default is the state of a key that was never seen. Times are whatever unit the
/// user of the table counts in.
pub(super) trait State: Copy + Debug + Default {
    /// What the configuration says about every key, in the terms of the state.
    type Rule: Debug;

    /// Whether the state says no more than the default, from `now` on.
    fn is_idle(&self, rule: &Self::Rule, now: u64) -> bool;

    /// Says the same in the terms of another rule.
    fn convert(&mut self, from: &Self::Rule, to: &Self::Rule, now: u64);
}

/// What one generation of the configuration says about a table. The newest one that touches a shard converts it.
#[derive(Debug)]
pub(super) struct Generation<R> {
    pub(super) number: u64,
    pub(super) rule: R,
    pub(super) max_keys: usize,
    /// The least time between two sweeps of a shard.
    sweep_every: u64,
}

impl<R> Generation<R> {
    /// `idle_after` is the time after which a key that nobody uses is usually idle.
    pub(super) fn new(rule: R, max_keys: usize, idle_after: u64) -> Arc<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { number, rule, max_keys, sweep_every: idle_after / SWEEPS })
    }
}

/// The table is full of keys in use: the key that was asked for is counted nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the table of keys is full")]
pub struct Full;

/// How full a table is, and how often it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// Keys in it, idle ones included.
    pub keys: usize,
    /// Bytes it occupies, all in.
    pub bytes: usize,
    /// Idle keys that made room, since it was first configured.
    pub reclaimed_total: u64,
    /// New keys that were refused because it was full.
    pub full_total: u64,
}

#[derive(Debug)]
pub(super) struct Table<S: State> {
    shards: Shards<S>,
    keys: AtomicUsize,
    /// Which shard a full table looks through next, besides that of the key.
    hand: AtomicUsize,
    /// Until when a round over all shards is taken to find nothing.
    barren_until: AtomicU64,
    reclaimed_total: AtomicU64,
    full_total: AtomicU64,
    /// What is told how many have passed when the table is gone.
    passed_before: OnceLock<Arc<AtomicU64>>,
}

/// The keys of a table, spread by hash.
#[derive(Debug)]
pub(super) struct Shards<S: State>(Arc<[Line<Mutex<Shard<S>>>]>);

/// Keeps neighbours out of one cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Line<T>(T);

/// With its lock one cache line.
#[derive(Debug)]
struct Shard<S: State> {
    generation: Arc<Generation<S::Rule>>,
    /// The generation's, again, because most requests need no more of it.
    number: u64,
    index: Index<S>,
    sweep_at: u64,
    /// How many have passed by [`Shards::pass`].
    passed: u64,
}

impl<S: State> Table<S> {
    pub(super) fn new(generation: &Arc<Generation<S::Rule>>) -> Self {
        let (least, most) = KEYS_PER_SHARD;
        let count = SHARDS.clamp(generation.max_keys / most, (generation.max_keys / least).max(1));
        let shard = |_| Shard {
            generation: Arc::clone(generation),
            number: generation.number,
            index: Index::with_room(0),
            sweep_at: 0,
            passed: 0,
        };
        Self {
            shards: Shards((0..count).map(shard).map(Mutex::new).map(Line).collect()),
            keys: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
            barren_until: AtomicU64::new(0),
            reclaimed_total: AtomicU64::new(0),
            full_total: AtomicU64::new(0),
            passed_before: OnceLock::new(),
        }
    }

    /// The keys, for those who only ask whether something may pass.
    pub(super) fn shards(&self) -> Shards<S> {
        self.shards.clone()
    }

    /// How many have passed by [`Shards::pass`]. Locks one shard after the other.
    pub(super) fn passed(&self) -> u64 {
        self.shards.0.iter().map(|Line(shard)| lock(shard).passed).sum()
    }

    /// Has this told how many have passed when the table is gone.
    pub(super) fn tell_passed(&self, total: &Arc<AtomicU64>) {
        self.passed_before.get_or_init(|| Arc::clone(total));
    }

    /// Changes the state of a key. A new key gets a place unless its state is idle afterwards.
    ///
    /// The rule that `change` sees is the newest one that the key's shard knows, which is `generation`'s or a later one.
    pub(super) fn update<T>(
        &self,
        key: Key,
        generation: &Arc<Generation<S::Rule>>,
        now: u64,
        change: impl FnOnce(&mut S, &S::Rule) -> T,
    ) -> Result<T, Full> {
        let mut shard = self.shard(key).ok_or(Full)?;
        shard.adopt(generation, now);
        let Shard { generation, index, .. } = &mut *shard;
        if let Some(state) = index.get_mut(key) {
            return Ok(change(state, &generation.rule));
        }
        let mut state = S::default();
        let result = change(&mut state, &generation.rule);
        if !state.is_idle(&generation.rule, now) {
            self.insert(&mut shard, key, state, now)?;
        }
        Ok(result)
    }

    /// Looks at the state of a key; at the default when it is new.
    pub(super) fn read<T>(
        &self,
        key: Key,
        generation: &Arc<Generation<S::Rule>>,
        now: u64,
        look: impl FnOnce(&S, &S::Rule) -> T,
    ) -> T {
        let Some(mut shard) = self.shard(key) else { return look(&S::default(), &generation.rule) };
        shard.adopt(generation, now);
        look(shard.index.get(key).unwrap_or(&S::default()), &shard.generation.rule)
    }

    /// Changes the state of a key that has a place.
    pub(super) fn change<T>(&self, key: Key, change: impl FnOnce(&mut S) -> T) -> Option<T> {
        self.shard(key)?.index.get_mut(key).map(change)
    }

    /// Gives the places of all idle keys back. Takes one shard at a time, about 10 ns a key.
    pub(super) fn reclaim(&self, now: u64) {
        for Line(shard) in &*self.shards.0 {
            self.sweep(&mut lock(shard), now);
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let indexes: usize = self.shards.0.iter().map(|Line(shard)| lock(shard).index.bytes()).sum();
        Usage {
            keys: self.keys.load(Ordering::Relaxed),
            bytes: size_of::<Self>() + size_of_val(&*self.shards.0) + indexes,
            reclaimed_total: self.reclaimed_total.load(Ordering::Relaxed),
            full_total: self.full_total.load(Ordering::Relaxed),
        }
    }

    fn shard(&self, key: Key) -> Option<MutexGuard<'_, Shard<S>>> {
        self.shards.of(key)
    }

    #[cold]
    fn insert(&self, shard: &mut Shard<S>, key: Key, state: S, now: u64) -> Result<(), Full> {
        let generation = Arc::clone(&shard.generation);
        let is_idle = |state: &S| state.is_idle(&generation.rule, now);
        if !self.reserve(generation.max_keys) {
            if shard.index.replace(key, state, is_idle) {
                self.reclaimed_total.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            self.make_room(shard, now);
            if !self.reserve(generation.max_keys) {
                self.full_total.fetch_add(1, Ordering::Relaxed);
                return Err(Full);
            }
        }
        if !shard.index.has_room() {
            self.release(shard.index.rebuild(is_idle));
        }
        shard.index.insert(key, state);
        Ok(())
    }

    /// Counts one more key, unless there are as many as there may be.
    fn reserve(&self, max_keys: usize) -> bool {
        let one_more = |keys: usize| (keys < max_keys).then_some(keys + 1);
        self.keys.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    fn release(&self, keys: usize) {
        self.keys.fetch_sub(keys, Ordering::Relaxed);
        self.reclaimed_total.fetch_add(keys as u64, Ordering::Relaxed);
    }

    /// Sweeps the shard and, when that gives nothing, the others in turn until one does; each at most `SWEEPS` times within
    /// the time after which keys become idle. A round that found nothing is not repeated before, so that a flood of new keys
    /// does not go round for every one of them.
    fn make_room(&self, shard: &mut Shard<S>, now: u64) {
        if shard.is_due(now) && self.sweep(shard, now) > 0 || now < self.barren_until.load(Ordering::Relaxed) {
            return;
        }
        let shards = &self.shards.0;
        for _ in 0..shards.len() {
            let turn = self.hand.fetch_add(1, Ordering::Relaxed) % shards.len().max(1);
            // Whoever holds it may be waiting for ours, so it is left out when it is taken (ours is taken by ourselves).
            if let Some(Ok(mut other)) = shards.get(turn).map(|Line(shard)| shard.try_lock())
                && other.is_due(now)
                && self.sweep(&mut other, now) > 0
            {
                return;
            }
        }
        self.barren_until.store(now.saturating_add(shard.generation.sweep_every), Ordering::Relaxed);
    }

    /// Gives the places of idle keys of a shard back.
    fn sweep(&self, shard: &mut Shard<S>, now: u64) -> usize {
        let Shard { generation, index, sweep_at, .. } = shard;
        *sweep_at = now.saturating_add(generation.sweep_every);
        let is_idle = |state: &S| state.is_idle(&generation.rule, now);
        if !index.states().any(is_idle) {
            return 0;
        }
        let gone = index.rebuild(is_idle);
        self.release(gone);
        gone
    }
}

impl<S: State> Drop for Table<S> {
    fn drop(&mut self) {
        if let Some(total) = self.passed_before.get() {
            total.fetch_add(self.passed(), Ordering::Relaxed);
        }
    }
}

impl<S: State> Shards<S> {
    /// Lets `take` change the state of a key and counts that it has passed if `take` says so. `false`, and nothing has
    /// changed, unless the key has a place and its shard knows just the generation with this number.
    #[inline]
    pub(super) fn pass(&self, key: Key, number: u64, take: impl FnOnce(&mut S) -> bool) -> bool {
        let Some(mut shard) = self.of(key) else { return false };
        let Shard { number: known, index, passed, .. } = &mut *shard;
        let may_pass = *known == number && index.get_mut(key).is_some_and(take);
        *passed += u64::from(may_pass);
        may_pass
    }

    /// The shard of a key. There always is one: a table has shards, and keys are spread over as many.
    #[inline]
    fn of(&self, key: Key) -> Option<MutexGuard<'_, Shard<S>>> {
        self.0.get(key.shard(self.0.len())).map(|Line(shard)| lock(shard))
    }
}

impl<S: State> Clone for Shards<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: State> Shard<S> {
    /// Goes over to a newer generation.
    #[inline]
    fn adopt(&mut self, generation: &Arc<Generation<S::Rule>>, now: u64) {
        if self.number < generation.number {
            self.convert(generation, now);
        }
    }

    #[cold]
    fn convert(&mut self, generation: &Arc<Generation<S::Rule>>, now: u64) {
        let before = std::mem::replace(&mut self.generation, Arc::clone(generation));
        self.number = generation.number;
        self.index.states_mut().for_each(|state| state.convert(&before.rule, &generation.rule, now));
        self.sweep_at = now;
    }

    fn is_due(&self, now: u64) -> bool {
        self.sweep_at <= now
    }
}

/// Nothing panics while it holds a shard except by a bug; then its keys stay as they are.
#[inline]
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::KeyHasher;

    /// In use until a time.
    #[derive(Clone, Copy, Debug, Default)]
    struct Until(u64);

    impl State for Until {
        type Rule = u64;

        fn is_idle(&self, _: &u64, now: u64) -> bool {
            self.0 <= now
        }

        fn convert(&mut self, from: &u64, to: &u64, _: u64) {
            self.0 = self.0 * to / from;
        }
    }

    fn key(n: u64) -> Key {
        KeyHasher::of_process().key().bytes(&n.to_le_bytes()).finish()
    }

    /// Sets until when a key is in use.
    fn set(table: &Table<Until>, generation: &Arc<Generation<u64>>, n: u64, until: u64, now: u64) -> Result<(), Full> {
        table.update(key(n), generation, now, |state, _| state.0 = until)
    }

    #[test]
    fn holds_exactly_as_many_keys_as_it_may() {
        for max_keys in [1, 7, 100, 5_000] {
            let generation = Generation::new(1, max_keys, 0);
            let table = Table::new(&generation);
            let max = max_keys as u64;
            assert!((0..max).all(|n| set(&table, &generation, n, 10, 0).is_ok()));
            assert!((max..max + 100).all(|n| set(&table, &generation, n, 10, 9) == Err(Full)));
            assert_eq!((table.usage().keys, table.usage().full_total), (max_keys, 100));
            assert!((0..max).all(|n| table.read(key(n), &generation, 9, |state, _| state.0) == 10), "all are there");
            // At 10 all are idle, wherever they are.
            assert!((max..2 * max).all(|n| set(&table, &generation, n, 20, 10).is_ok()), "{max_keys}");
            assert_eq!(table.usage().keys, max_keys);
            assert!((max..2 * max).all(|n| table.read(key(n), &generation, 10, |state, _| state.0) == 20));
        }
    }

    #[test]
    fn only_idle_keys_make_room() {
        let generation = Generation::new(1, 2_000, 0);
        let table = Table::new(&generation);
        for n in 0..2_000 {
            set(&table, &generation, n, if n % 4 == 0 { 10 } else { 100 }, 0).unwrap();
        }
        let placed = (10_000..20_000).filter(|n| set(&table, &generation, *n, 100, 50).is_ok()).count();
        assert_eq!(placed, 500, "as many as were idle");
        assert!((0..2_000).all(|n| table.read(key(n), &generation, 50, |state, _| state.0 == 100) == (n % 4 != 0)));
        assert_eq!(table.usage().reclaimed_total, 500);
    }

    #[test]
    fn a_key_that_is_idle_afterwards_takes_no_place() {
        let generation = Generation::new(1, 10, 0);
        let table = Table::new(&generation);
        set(&table, &generation, 1, 5, 5).unwrap();
        assert_eq!(table.usage().keys, 0);
        assert_eq!(table.change(key(1), |state| state.0), None);
    }

    #[test]
    fn a_flood_that_is_over_gives_its_memory_back() {
        let generation = Generation::new(1, 100_000, 0);
        let table = Table::new(&generation);
        let empty = table.usage().bytes;
        (0..50_000).for_each(|n| set(&table, &generation, n, 10, 0).unwrap());
        set(&table, &generation, 50_000, 20, 0).unwrap();
        let full = table.usage().bytes;
        table.reclaim(10);
        assert_eq!(table.usage().keys, 1);
        // An empty shard keeps room for a few keys.
        assert!(table.usage().bytes < empty + full / 10);
        assert_eq!(table.read(key(50_000), &generation, 10, |state, _| state.0), 20);
    }

    #[test]
    fn keys_that_come_and_go_do_not_make_it_grow() {
        let generation = Generation::new(1, 1_000_000, 0);
        let table = Table::new(&generation);
        for n in 0..100_000 {
            set(&table, &generation, n, n + 1_000, n).unwrap();
        }
        assert!(table.usage().keys < 20_000, "{:?}", table.usage());
    }

    #[test]
    fn what_has_passed_is_counted_and_outlives_the_table() {
        let generation = Generation::new(1, 10, 0);
        let (table, total) = (Table::new(&generation), Arc::new(AtomicU64::new(5)));
        table.tell_passed(&total);
        let shards = table.shards();
        let pass = |n, number, says| {
            shards.pass(key(n), number, |state: &mut Until| {
                state.0 += 1;
                says
            })
        };
        assert!(!pass(1, generation.number, true), "it has no place");
        set(&table, &generation, 1, 10, 0).unwrap();
        assert!(!pass(1, generation.number + 1, true), "another generation");
        assert!(pass(1, generation.number, true) && !pass(1, generation.number, false));
        assert_eq!((table.passed(), table.read(key(1), &generation, 0, |state, _| state.0)), (1, 12));
        drop(table);
        assert_eq!(total.load(Ordering::Relaxed), 6);
    }

    #[test]
    fn a_shard_is_one_cache_line() {
        assert_eq!(size_of::<Line<Mutex<Shard<Until>>>>(), 64);
    }

    #[test]
    fn the_newest_generation_that_was_used_counts() {
        let old = Generation::new(1, 10, 0);
        let table = Table::new(&old);
        set(&table, &old, 1, 100, 0).unwrap();
        let new = Generation::new(3, 10, 0);
        assert_eq!(table.read(key(1), &old, 0, |state, rule| (state.0, *rule)), (100, 1), "not used yet");
        assert_eq!(table.read(key(1), &new, 0, |state, rule| (state.0, *rule)), (300, 3));
        assert_eq!(table.read(key(1), &old, 0, |state, rule| (state.0, *rule)), (300, 3));
    }
}
