//! How looking for the endpoints of a service goes. It outlives reloads that look in the same place.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::dispatch::counters::Count;

/// What is counted of it.
#[derive(Debug)]
pub struct Discovered {
    epoch: Instant,
    /// When the last good answer came, in milliseconds since `epoch`, from 1; 0: never.
    answered_at: AtomicU64,
    /// Good answers.
    pub answers: Count,
    /// Questions that were not answered.
    pub failures: Count,
    /// Answers without endpoints that were not taken over.
    pub empty: Count,
    /// Endpoints in answers that are not where endpoints may be, or cannot be read.
    pub refused: Count,
    /// Endpoints in answers beyond the bound.
    pub cut: Count,
    /// Times the endpoints have changed.
    pub changes: Count,
}

impl Discovered {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            answered_at: AtomicU64::new(0),
            answers: Count::default(),
            failures: Count::default(),
            empty: Count::default(),
            refused: Count::default(),
            cut: Count::default(),
            changes: Count::default(),
        }
    }

    /// A good answer came.
    pub fn answered(&self, now: Instant) {
        self.answers.add();
        let millis = u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX);
        self.answered_at.store(millis.saturating_add(1), Ordering::Relaxed);
    }

    /// Whether any answer ever came.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.answered_at.load(Ordering::Relaxed) > 0
    }

    /// How old the last good answer is; without one, how long none came.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        let at = Duration::from_millis(self.answered_at.load(Ordering::Relaxed).saturating_sub(1));
        now.saturating_duration_since(self.epoch + at)
    }
}
