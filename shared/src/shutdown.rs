//! Ending in order: readiness goes false first, then nothing new is accepted, then what is in flight may finish.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::{Notify, watch};

/// Where a process is in its life. Phases only go forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Everything is served.
    Running,
    /// Readiness is false; requests are still served, connections are asked to go elsewhere.
    Draining,
    /// Listeners are closed and parked connections end; what is in flight may finish.
    Stopping,
}

/// The phase of this process, shared by all its parts.
#[derive(Clone, Debug)]
pub struct Shutdown {
    phase: Arc<watch::Sender<Phase>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// A running process.
    #[must_use]
    pub fn new() -> Self {
        Self { phase: Arc::new(watch::Sender::new(Phase::Running)) }
    }

    /// The current phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Whether new work should go to another node: what readiness answers.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.phase() >= Phase::Draining
    }

    /// Moves on to a phase; going back is ignored.
    pub fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let forward = phase > *current;
            if forward {
                *current = phase;
            }
            forward
        });
    }

    /// Waits until the process is in this phase or a later one.
    pub async fn reached(&self, phase: Phase) {
        let mut phases = self.phase.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _reached = phases.wait_for(|current| *current >= phase).await.is_ok();
    }

    /// A receiver for code that selects on changes itself.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }
}

/// How many requests (or connections) are in flight.
#[derive(Clone, Debug, Default)]
pub struct InFlight {
    inner: Arc<Counter>,
}

#[derive(Debug, Default)]
struct Counter {
    count: AtomicUsize,
    idle: Notify,
}

impl InFlight {
    /// Nothing in flight.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one in until the guard is dropped.
    pub fn enter(&self) -> InFlightGuard {
        self.inner.count.fetch_add(1, Ordering::AcqRel);
        InFlightGuard { inner: Arc::clone(&self.inner) }
    }

    /// How many are in flight now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.inner.count.load(Ordering::Acquire)
    }

    /// Waits until nothing is in flight; false when the deadline came first.
    pub async fn wait_idle(&self, deadline: Instant) -> bool {
        loop {
            // Registered before the count is read, so that the last one to leave is not missed.
            let mut idle = std::pin::pin!(self.inner.idle.notified());
            idle.as_mut().enable();
            if self.count() == 0 {
                return true;
            }
            if tokio::time::timeout_at(deadline.into(), idle).await.is_err() {
                return self.count() == 0;
            }
        }
    }
}

/// One in flight; dropping it counts it out.
#[derive(Debug)]
#[must_use = "dropping the guard at once counts nothing"]
pub struct InFlightGuard {
    inner: Arc<Counter>,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if self.inner.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.inner.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use std::time::Duration;

    #[tokio::test]
    async fn phases_only_go_forward() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.is_draining());
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.reached(Phase::Stopping).await }
        });
        shutdown.enter(Phase::Draining);
        assert!(shutdown.is_draining());
        shutdown.enter(Phase::Stopping);
        shutdown.enter(Phase::Running);
        assert_eq!(shutdown.phase(), Phase::Stopping);
        waiting.await.unwrap();
        shutdown.reached(Phase::Draining).await;
    }

    #[tokio::test]
    async fn waits_for_the_last_one_to_leave() {
        let in_flight = InFlight::new();
        assert!(in_flight.wait_idle(clock::now()).await);
        let (first, second) = (in_flight.enter(), in_flight.enter());
        assert_eq!(in_flight.count(), 2);
        assert!(!in_flight.wait_idle(clock::now()).await);
        let waiting = tokio::spawn({
            let in_flight = in_flight.clone();
            async move { in_flight.wait_idle(clock::now() + Duration::from_secs(30)).await }
        });
        drop(first);
        tokio::task::yield_now().await;
        drop(second);
        assert!(waiting.await.unwrap());
    }
}
