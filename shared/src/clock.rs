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

/// A wall-clock time as people and log tools read it: `2026-11-20T10:15:30.250Z`, always in UTC.
#[must_use]
pub fn rfc3339(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let (year, month, day) = date_of(days);
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", ms % 1_000)
}

/// The Gregorian date of a day since 1970-01-01. Years are counted from March, so that a leap day is a year's last day:
/// a 400-year era has 146,097 days and the months from March on have 153 days every five.
fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_since_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months_since_march + 2) / 5 + 1;
    let month = if months_since_march < 10 { months_since_march + 3 } else { months_since_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
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
    fn times_are_written_in_utc() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_250, "2024-02-29T23:59:59.250Z"),
            (1_798_761_599_001, "2026-12-31T23:59:59.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(unix_ms), text);
        }
    }

    #[test]
    fn the_wall_clock_is_after_2020() {
        assert!(unix_ms() > 1_577_836_800_000);
    }
}
