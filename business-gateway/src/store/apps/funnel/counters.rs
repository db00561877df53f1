//! What a funnel counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count that only goes up.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(in super::super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The count.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What became of look-ups, level by level, and of reads.
#[derive(Debug, Default)]
pub struct Counters {
    /// Answered from memory, fresh.
    pub fresh: Count,
    /// Answered from memory, stale, while it is read again.
    pub stale: Count,
    /// Known to be unknown.
    pub negative: Count,
    /// The filter says that there is no such key.
    pub filtered: Count,
    /// The checksum of the key is wrong, or it is no key at all.
    pub forged: Count,
    /// Read from the store.
    pub read: Count,
    /// Not in the store.
    pub unknown: Count,
    /// Nobody can say.
    pub unavailable: Count,
    /// Look-ups that waited for a read that was under way.
    pub joined: Count,
    /// Reads, those in the background included.
    pub reads: Count,
    /// Reads that failed.
    pub failed: Count,
    /// Reads refused because too many were under way.
    pub crowded: Count,
    /// Answers of the store that were older than what was known, and not taken.
    pub older: Count,
    /// Records that could not be opened or understood.
    pub damaged: Count,
    /// Entries dropped because a change was announced.
    pub overtaken: Count,
    /// Values that were read and not kept, since what is in memory is used more often.
    pub passed: Count,
}

impl Counters {
    /// Look-ups of values that exist.
    pub(super) fn look_ups(&self) -> u64 {
        self.fresh.get().saturating_add(self.stale.get()).saturating_add(self.read.get())
    }
}
