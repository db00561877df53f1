//! What is counted of one service. The counts outlive reloads, so that nothing is lost and nothing jumps back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The counts of one service, over all its endpoints.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections opened.
    pub opened: Count,
    /// Requests sent that got an answer.
    pub answered: Count,
    /// Tries after the first.
    pub retries: Count,
    /// Connections that could not be opened, or ended before they took a request.
    pub connect_failures: Count,
    /// Connections that ended after they took a request and before an answer.
    pub broken: Count,
    /// Calls that waited for a connection because as many as allowed were in use.
    pub waited: Count,
    /// Calls that were given up at an endpoint and tried at another one because no answer came in time.
    pub slow_tries: Count,
    /// Answers that were given up for another try because of their status.
    pub replaced: Count,
    /// Calls that an endpoint without room passed on to another one.
    pub passed_on: Count,
    /// Calls that were refused because as many as allowed were waiting.
    pub queue_full: Count,
    /// Probes that were answered well.
    pub probes_well: Count,
    /// Probes that were not.
    pub probes_ill: Count,
    open: AtomicUsize,
}

impl Counters {
    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
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

/// Counts a connection as open for as long as it lives.
#[derive(Debug)]
pub struct Open(Arc<Counters>);

impl Open {
    /// A connection was opened.
    #[must_use]
    pub fn new(counters: &Arc<Counters>) -> Self {
        counters.opened.add();
        counters.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counters))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
