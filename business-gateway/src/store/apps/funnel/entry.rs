//! What a node remembers of one key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::super::rule::Terms;

/// How many entries there are, and what they weigh.
#[derive(Debug, Default)]
pub struct Gauge {
    entries: AtomicU64,
    bytes: AtomicU64,
}

impl Gauge {
    /// Entries in memory.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Their weight in bytes, about.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// A value that was read, and when. Times are milliseconds since the start of the funnel.
#[derive(Debug)]
pub(super) struct Entry<V> {
    pub(super) value: Arc<V>,
    pub(super) version: u64,
    /// When the read began: what changed later may be missing.
    read_at: u64,
    /// Thousandths of the time to live by which it ends earlier, so that what was read together is not read again together.
    earlier: u16,
    /// How often it was used, and those before it of the same key.
    uses: AtomicU8,
    /// How often counts had been halved when it came.
    born: u64,
    /// Before this time nobody else reads it again.
    again_at: AtomicU64,
    gauge: Arc<Gauge>,
    weight: u64,
}

/// What a read has brought.
#[derive(Debug)]
pub(super) struct Read<V> {
    pub(super) value: Arc<V>,
    pub(super) version: u64,
    /// When it began.
    pub(super) read_at: u64,
}

/// How an entry may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// As it is.
    Fresh,
    /// As it is, while it is read again.
    Stale,
    /// Not at all.
    Expired,
}

/// Most that chance takes off a time to live, in thousandths.
const MOST_EARLIER: u16 = 100;
/// A stale entry is read again at most so often, in milliseconds; the rest of the time it may be that the store is away.
const AGAIN: u64 = 1_000;

impl<V> Entry<V> {
    /// `weight` is that of key and value; `uses` how often the key was used at this `age`.
    pub(super) fn new(read: Read<V>, (uses, age): (u8, u64), weight: usize, gauge: &Arc<Gauge>) -> Self {
        let Read { value, version, read_at } = read;
        let weight = u64::try_from(weight.saturating_add(size_of::<Self>())).unwrap_or(u64::MAX);
        gauge.entries.fetch_add(1, Ordering::Relaxed);
        gauge.bytes.fetch_add(weight, Ordering::Relaxed);
        let earlier = fastrand::u16(0..=MOST_EARLIER);
        Self {
            value,
            version,
            read_at,
            earlier,
            uses: AtomicU8::new(uses),
            born: age,
            again_at: AtomicU64::new(0),
            gauge: Arc::clone(gauge),
            weight,
        }
    }

    /// It was looked up.
    pub(super) fn used(&self) {
        let uses = self.uses.load(Ordering::Relaxed);
        if uses < u8::MAX {
            // Two at once may count as one.
            self.uses.store(uses + 1, Ordering::Relaxed);
        }
    }

    /// How often it was used, when counts have been halved so often by now.
    pub(super) fn uses(&self, age: u64) -> u8 {
        let halved = u32::try_from(age.saturating_sub(self.born)).unwrap_or(u32::MAX);
        self.uses.load(Ordering::Relaxed).checked_shr(halved).unwrap_or(0)
    }

    /// What may be done with it at `now`. What was read before `stale_before` is stale at once.
    pub(super) fn state(&self, terms: &Terms, now: u64, stale_before: u64) -> State {
        let age = now.saturating_sub(self.read_at);
        let ttl = millis(terms.ttl);
        let fresh = ttl.saturating_sub(ttl / 1_000 * u64::from(self.earlier));
        if age >= ttl.saturating_add(millis(terms.stale)) {
            State::Expired
        } else if age >= fresh || self.read_at < stale_before {
            State::Stale
        } else {
            State::Fresh
        }
    }

    /// Whether the caller is the one who reads it again. One is, once in a while.
    pub(super) fn takes_turn(&self, now: u64) -> bool {
        let at = self.again_at.load(Ordering::Relaxed);
        let next = now.saturating_add(AGAIN);
        now >= at && self.again_at.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl<V> Drop for Entry<V> {
    fn drop(&mut self) {
        self.gauge.entries.fetch_sub(1, Ordering::Relaxed);
        self.gauge.bytes.fetch_sub(self.weight, Ordering::Relaxed);
    }
}

pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
