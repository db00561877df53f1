//! Windows: which one a moment belongs to, and when it ends. Pure arithmetic over Unix milliseconds.
//!
//! Days and months are those of a time zone: a day in which clocks are set back has 25 hours, and one that a zone skipped does
//! not exist. Windows have numbers that people can read where there is a calendar: `20261122`, `202611`.

use arc_swap::ArcSwap;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::sync::Arc;

use super::rate::Span;

/// One window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Tells it apart from all others of the limit.
    pub number: u64,
    /// Its first millisecond.
    pub begins: u64,
    /// The first millisecond of the next one.
    pub ends: u64,
}

impl Window {
    /// Whether a moment belongs to it.
    #[must_use]
    pub fn contains(&self, unix_ms: u64) -> bool {
        (self.begins..self.ends).contains(&unix_ms)
    }

    /// Whole seconds until it ends, rounded up, at least one.
    #[must_use]
    pub fn seconds_left(&self, unix_ms: u64) -> u64 {
        self.ends.saturating_sub(unix_ms).div_ceil(1_000).max(1)
    }

    /// Its length in milliseconds.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.ends.saturating_sub(self.begins).max(1)
    }
}

/// The windows of a limit. Remembers the last one, so that the calendar is asked once for each.
#[derive(Debug)]
pub struct Windows {
    span: Span,
    zone: TimeZone,
    last: ArcSwap<Window>,
}

impl Windows {
    /// Windows of a kind, in a time zone.
    #[must_use]
    pub fn new(span: Span, zone: TimeZone) -> Self {
        Self { span, zone, last: ArcSwap::new(Arc::new(Window { number: 0, begins: 0, ends: 0 })) }
    }

    /// The window of a moment.
    #[must_use]
    pub fn at(&self, unix_ms: u64) -> Window {
        let last = **self.last.load();
        if last.contains(unix_ms) {
            return last;
        }
        let window = self.calculate(unix_ms);
        self.last.store(Arc::new(window));
        window
    }

    /// What a window is.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span
    }

    #[cold]
    fn calculate(&self, unix_ms: u64) -> Window {
        match self.span {
            Span::Fixed(length) => fixed(u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(1), unix_ms),
            // Only a time that is thousands of years away is outside the calendar.
            Span::Day => self.day(unix_ms).unwrap_or_else(|| fixed(86_400_000, unix_ms)),
            Span::Month => self.month(unix_ms).unwrap_or_else(|| fixed(30 * 86_400_000, unix_ms)),
        }
    }

    fn day(&self, unix_ms: u64) -> Option<Window> {
        let begins = self.local(unix_ms)?.start_of_day().ok()?;
        let ends = begins.tomorrow().ok()?.start_of_day().ok()?;
        let number = (number(begins.year().into())? * 100 + number(begins.month().into())?) * 100;
        let number = number + self::number(begins.day().into())?;
        Some(Window { number, begins: millis(&begins)?, ends: millis(&ends)? }).filter(|day| day.contains(unix_ms))
    }

    fn month(&self, unix_ms: u64) -> Option<Window> {
        let begins = self.local(unix_ms)?.first_of_month().ok()?.start_of_day().ok()?;
        let ends = begins.last_of_month().ok()?.tomorrow().ok()?.start_of_day().ok()?;
        let number = number(begins.year().into())? * 100 + number(begins.month().into())?;
        Some(Window { number, begins: millis(&begins)?, ends: millis(&ends)? }).filter(|month| month.contains(unix_ms))
    }

    fn local(&self, unix_ms: u64) -> Option<jiff::Zoned> {
        let time = Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()?;
        Some(time.to_zoned(self.zone.clone()))
    }
}

fn fixed(length: u64, unix_ms: u64) -> Window {
    let number = unix_ms / length;
    let begins = number * length;
    Window { number, begins, ends: begins.saturating_add(length) }
}

fn number(part: i64) -> Option<u64> {
    u64::try_from(part).ok()
}

fn millis(time: &jiff::Zoned) -> Option<u64> {
    u64::try_from(time.timestamp().as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gatehouse_shared::clock::parse_rfc3339;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn windows(span: Span, zone: &str) -> Windows {
        Windows::new(span, TimeZone::get(zone).unwrap())
    }

    fn ms(text: &str) -> u64 {
        parse_rfc3339(text).unwrap()
    }

    #[test]
    fn a_day_is_a_calendar_day_of_the_zone() {
        for (zone, now, number, begins, ends) in [
            ("UTC", "2026-11-22T04:00:00Z", 20_261_122, "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"),
            ("Asia/Shanghai", "2026-11-22T16:00:00Z", 20_261_123, "2026-11-22T16:00:00Z", "2026-11-23T16:00:00Z"),
            // 25 hours, and 23.
            ("Europe/Berlin", "2026-10-25T12:00:00Z", 20_261_025, "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            ("Europe/Berlin", "2026-03-29T12:00:00Z", 20_260_329, "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            // There was no 30 December 2011 in Samoa.
            ("Pacific/Apia", "2011-12-30T09:59:59Z", 20_111_229, "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"),
            ("Pacific/Apia", "2011-12-30T10:00:00Z", 20_111_231, "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"),
        ] {
            let window = windows(Span::Day, zone).at(ms(now));
            assert_eq!(window, Window { number, begins: ms(begins), ends: ms(ends) }, "{zone} at {now}");
        }
    }

    #[test]
    fn a_month_is_a_calendar_month_of_the_zone() {
        let window = windows(Span::Month, "Europe/Berlin").at(ms("2026-03-31T21:59:59Z"));
        assert_eq!(window.number, 202_603);
        assert_eq!((window.begins, window.ends), (ms("2026-02-28T23:00:00Z"), ms("2026-03-31T22:00:00Z")));
        assert_eq!(windows(Span::Month, "UTC").at(ms("2026-12-31T23:59:59Z")).ends, ms("2027-01-01T00:00:00Z"));
    }

    #[test]
    fn what_is_left_of_a_window_is_at_least_a_second() {
        let minute = windows(Span::Fixed(Duration::from_secs(60)), "UTC").at(ms("2026-11-22T04:00:59.999Z"));
        assert_eq!(minute.begins, ms("2026-11-22T04:00:00Z"));
        assert_eq!((minute.seconds_left(minute.begins), minute.seconds_left(minute.ends - 1)), (60, 1));
        assert_eq!(minute.seconds_left(minute.ends + 5_000), 1);
    }

    proptest! {
        #[test]
        fn every_moment_is_in_one_window_and_windows_have_no_gaps(
            unix_ms in 0_u64..4_102_444_800_000,
            zone in proptest::sample::select(vec!["UTC", "Asia/Kolkata", "America/New_York", "Pacific/Apia", "Africa/Cairo", "America/Sao_Paulo"]),
            span in proptest::sample::select(vec![Span::Day, Span::Month, Span::Fixed(Duration::from_secs(3_600))]),
        ) {
            let windows = windows(span, zone);
            let window = windows.at(unix_ms);
            prop_assert!(window.contains(unix_ms), "{window:?}");
            let next = windows.at(window.ends);
            prop_assert_eq!(next.begins, window.ends);
            prop_assert!(next.number > window.number);
            prop_assert_eq!(windows.at(unix_ms), window, "asked again");
        }
    }
}
