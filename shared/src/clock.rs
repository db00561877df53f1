//! The only place that reads clocks.
//!
//! Durations and deadlines use [`now`], which never jumps; signatures, calendar windows and logs use [`unix_ms`], which
//! may. Functions of the request path take the time as a parameter, so that tests can choose it; long-lived parts hold
//! a [`Clock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The monotonic time.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the monotonic clock")]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970-01-01T00:00:00Z by the wall clock; 0 for a clock set before that.
#[must_use]
pub fn unix_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A source of time for parts that outlive a call: the machine's clocks, or a [`ManualClock`] in tests.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clocks.
    #[default]
    System,
    /// A clock that a test moves.
    Manual(Arc<ManualClock>),
}

impl Clock {
    /// The monotonic time of this clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        match self {
            Clock::System => now(),
            Clock::Manual(clock) => clock.now(),
        }
    }

    /// The wall-clock time of this clock, in milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        match self {
            Clock::System => unix_ms(),
            Clock::Manual(clock) => clock.unix_ms(),
        }
    }
}

/// A clock that stands still until it is told to move; monotonic and wall-clock time move together.
#[derive(Debug)]
pub struct ManualClock {
    start: Instant,
    start_unix_ms: u64,
    elapsed_ms: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at `unix_ms`.
    #[must_use]
    pub fn starting_at(unix_ms: u64) -> Arc<Self> {
        Arc::new(Self { start: now(), start_unix_ms: unix_ms, elapsed_ms: AtomicU64::new(0) })
    }

    /// Moves both times forward, by whole milliseconds.
    pub fn advance(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.elapsed_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// The monotonic time this clock stands at.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.elapsed_ms.load(Ordering::SeqCst))
    }

    /// The wall-clock time this clock stands at, in milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        self.start_unix_ms.saturating_add(self.elapsed_ms.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let manual = ManualClock::starting_at(1_000);
        let clock = Clock::Manual(Arc::clone(&manual));
        let before = clock.now();
        manual.advance(Duration::from_millis(250));
        assert_eq!(clock.now() - before, Duration::from_millis(250));
        assert_eq!(clock.unix_ms(), 1_250);
        assert_eq!(clock.unix_ms(), 1_250);
    }

    #[test]
    fn the_wall_clock_is_after_2020() {
        assert!(unix_ms() > 1_577_836_800_000);
    }
}
