//! What is counted of a limit; it outlives reloads and is copied into metrics when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted of a limit.
#[derive(Debug, Default)]
pub struct Counters {
    /// Calls that it let pass.
    pub admitted: Counter,
    /// Calls that it refused.
    pub denied: Counter,
    /// Calls that it would have refused, had it been obeyed.
    pub observed: Counter,
    /// Calls that got their tokens back.
    pub refunded: Counter,
    /// Times the store was asked for tokens.
    pub refills: Counter,
    /// Calls that waited for the store.
    pub waits: Counter,
    /// Calls that met a limit whose tokens were used up while the store was away.
    pub store_failures: Counter,
    /// Newcomers for whom there was no room.
    pub full: Counter,
}
