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

/// The Unix milliseconds of a time as RFC 3339 writes it: `2026-11-20T10:15:30Z`, with or without a fraction of a second, of
/// which milliseconds are kept, in UTC or with an offset such as `+02:00`.
///
/// `None` for anything else, for times before 1970 and for leap seconds, which Unix time does not know.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let mut text = Digits(text.as_bytes());
    let (year, month, day) = (text.number(4)?, text.after(b"-")?.number(2)?, text.after(b"-")?.number(2)?);
    let (hours, minutes) = (text.after(b"Tt")?.number(2)?, text.after(b":")?.number(2)?);
    let seconds = text.after(b":")?.number(2)?;
    let ms = if text.after(b".").is_some() { text.fraction()? } else { 0 };
    let offset = text.offset_seconds()?;
    let is_time = hours < 24 && minutes < 60 && seconds < 60;
    let days = day_of(year, month, day).filter(|_| is_time)?;
    let local = ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
    Some(local.checked_add_signed(-offset)? * 1_000 + ms)
}

/// What is left of a time that is read.
struct Digits<'t>(&'t [u8]);

impl Digits<'_> {
    /// Passes one of these bytes.
    fn after(&mut self, any: &[u8]) -> Option<&mut Self> {
        let (_, rest) = self.0.split_first().filter(|(first, _)| any.contains(first))?;
        self.0 = rest;
        Some(self)
    }

    /// A number of exactly so many digits.
    fn number(&mut self, digits: usize) -> Option<u64> {
        let (digits, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
        digits.iter().try_fold(0, |number, byte| Some(number * 10 + digit(byte)?))
    }

    /// The milliseconds of the digits of a fraction, at least one.
    fn fraction(&mut self) -> Option<u64> {
        let end = self.0.iter().position(|byte| !byte.is_ascii_digit()).filter(|end| *end > 0)?;
        let (digits, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        let digits = digits.iter().chain(b"00").take(3);
        Some(digits.fold(0, |ms, byte| ms * 10 + u64::from(byte - b'0')))
    }

    /// How far the zone is ahead of UTC: the end of a time.
    fn offset_seconds(&mut self) -> Option<i64> {
        let sign = match self.0 {
            b"Z" | b"z" => return Some(0),
            [b'+', ..] => 1,
            [b'-', ..] => -1,
            _ => return None,
        };
        let (hours, minutes) = (self.after(b"+-")?.number(2)?, self.after(b":")?.number(2)?);
        let is_offset = hours < 24 && minutes < 60 && self.0.is_empty();
        is_offset.then(|| sign * i64::try_from((hours * 60 + minutes) * 60).unwrap_or(0))
    }
}

/// The days from 1970-01-01 to a Gregorian date, the inverse of [`date_of`]; `None` where there is no such date or it is
/// before that.
fn day_of(year: u64, month: u64, day: u64) -> Option<u64> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=length).contains(&day) || year < 1970 {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
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
    use proptest::prelude::proptest;

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
    fn times_are_read_as_rfc_3339_writes_them() {
        for (text, unix_ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400_000),
            ("2026-12-31T23:59:59.001999Z", 1_798_761_599_001),
            ("2026-12-31T23:59:59.5z", 1_798_761_599_500),
            ("2027-01-01t01:59:59+02:00", 1_798_761_599_000),
            ("2026-12-31T16:29:59-07:30", 1_798_761_599_000),
        ] {
            assert_eq!(parse_rfc3339(text), Some(unix_ms), "{text}");
        }
        for wrong in [
            "",
            "2026-12-31",
            "2026-12-31T23:59:59",
            "2026-12-31 23:59:59Z",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2016-12-31T23:59:60Z",
            "2026-1-01T00:00:00Z",
            "+026-01-01T00:00:00Z",
            "2026-01-01-01T00:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+2:00",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+02:00:00",
            "2026-01-01T00:00:00.5",
            "2026-01-01T00:00:00Zx",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "2026-01-01T0ä:00:00Z",
        ] {
            assert_eq!(parse_rfc3339(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn reading_a_time_that_was_written_gives_it_back(unix_ms in 0u64..253_402_300_800_000) {
            assert_eq!(parse_rfc3339(&rfc3339(unix_ms)), Some(unix_ms));
        }

        #[test]
        fn no_text_makes_reading_a_time_panic(text: String, almost in "[0-9+.:TZ-]{10,30}") {
            let _any = (parse_rfc3339(&text), parse_rfc3339(&almost));
        }
    }

    #[test]
    fn the_wall_clock_is_after_2020() {
        assert!(unix_ms() > 1_577_836_800_000);
    }
}
