//! When calls come: a span of time, and hours of the day in a time zone.

use std::fmt;

use gatehouse_shared::clock;
use gatehouse_shared::config::ConfigErrors;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::store::catalog::At;

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// `when.daily`: hours of the day in a time zone.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DailyConfig {
    /// The first minute, such as `"08:00"`. Default: `"00:00"`.
    #[serde(default = "midnight")]
    pub from: String,
    /// The first minute that is too late, such as `"18:00"`; one before `from` is on the next day. Default: `"24:00"`.
    #[serde(default = "end_of_day")]
    pub to: String,
    /// The time zone, by its IANA name. Default: `"UTC"`.
    #[serde(default = "utc")]
    pub zone: String,
    /// The days on which the hours begin. Default: every day. Example: `["monday", "friday"]`.
    #[serde(default)]
    pub weekdays: Vec<Weekday>,
}

fn midnight() -> String {
    "00:00".to_owned()
}

fn end_of_day() -> String {
    "24:00".to_owned()
}

fn utc() -> String {
    "UTC".to_owned()
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Weekday {
    /// Monday.
    Monday,
    /// Tuesday.
    Tuesday,
    /// Wednesday.
    Wednesday,
    /// Thursday.
    Thursday,
    /// Friday.
    Friday,
    /// Saturday.
    Saturday,
    /// Sunday.
    Sunday,
}

impl Weekday {
    const ALL: [Self; 7] =
        [Self::Monday, Self::Tuesday, Self::Wednesday, Self::Thursday, Self::Friday, Self::Saturday, Self::Sunday];
}

/// A span of time: Unix milliseconds, the first and the first that is too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    after: u64,
    before: u64,
}

impl Span {
    /// Compiles `after`, `before` and `between`; `None` without any of them.
    ///
    /// # Errors
    /// Times that are none, and spans that hold none.
    pub fn compile(
        after: Option<&str>,
        before: Option<&str>,
        between: Option<&[String; 2]>,
        at: &At<'_>,
    ) -> Result<Option<Self>, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut instant = |key: &str, text: &str| {
            let time = clock::parse_rfc3339(text);
            if time.is_none() {
                let remedy = "write it as in \"2026-01-31T23:59:00Z\" or \"2026-01-31T23:59:00+01:00\"";
                errors.push(at.error(key, format!("{text:?} is not a time"), remedy));
            }
            time.unwrap_or_default()
        };
        let mut span = Self { after: 0, before: u64::MAX };
        if let Some(text) = after {
            span.after = instant("when.after", text);
        }
        if let Some(text) = before {
            span.before = instant("when.before", text);
        }
        if let Some([from, to]) = between {
            span = Self { after: instant("when.between[0]", from), before: instant("when.between[1]", to) };
            if after.is_some() || before.is_some() {
                let remedy = "write between alone, or after and before";
                errors.push(at.error("when.between", "the same said twice", remedy));
            }
        }
        if after.is_none() && before.is_none() && between.is_none() {
            return errors.into_result(None);
        }
        if errors.is_empty() && span.after >= span.before {
            let key = if between.is_some() { "when.between" } else { "when.before" };
            errors.push(at.error(key, "it ends before it begins, so no call fits", "put the earlier time first"));
        }
        errors.into_result(Some(span))
    }

    /// Whether a time is in it.
    #[must_use]
    pub fn contains(&self, unix_ms: u64) -> bool {
        (self.after..self.before).contains(&unix_ms)
    }

    /// Whether no time is in both.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        self.after.max(other.after) >= self.before.min(other.before)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("time")?;
        if self.after > 0 {
            write!(out, " from {}", clock::rfc3339(self.after))?;
        }
        if self.before < u64::MAX {
            write!(out, " before {}", clock::rfc3339(self.before))?;
        }
        Ok(())
    }
}

/// Hours of the day.
#[derive(Debug, Clone)]
pub struct Daily {
    from: u16,
    /// At most that of the next day.
    to: u16,
    /// By day of the week, Monday first.
    days: [bool; 7],
    zone: TimeZone,
    /// As written.
    text: Box<str>,
}

impl Daily {
    /// Compiles `when.daily`.
    ///
    /// # Errors
    /// Hours that are none, or an unknown zone.
    pub fn compile(written: &DailyConfig, at: &At<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut minute = |key: &str, text: &str| {
            let minute = minute_of(text);
            if minute.is_none() {
                let remedy = "write hours and minutes, as in \"08:30\"";
                errors.push(at.error(&format!("when.daily.{key}"), format!("{text:?} is not a time of day"), remedy));
            }
            minute.unwrap_or_default()
        };
        let (from, to) = (minute("from", &written.from), minute("to", &written.to));
        let zone = TimeZone::get(&written.zone);
        if zone.is_err() {
            let message = format!("no time zone {:?}", written.zone);
            errors.push(at.error("when.daily.zone", message, "use an IANA name, as in \"Europe/Berlin\""));
        }
        if errors.is_empty() && from == to {
            errors.push(at.error("when.daily.to", "it ends when it begins", "leave both out for the whole day"));
        }
        if from == DAY {
            errors.push(at.error("when.daily.from", "no minute of a day", "write \"00:00\""));
        }
        let of_day = |day: &Weekday| written.weekdays.is_empty() || written.weekdays.contains(day);
        let days = Weekday::ALL.map(|day| of_day(&day));
        let names: Vec<String> =
            Weekday::ALL.iter().filter(|day| of_day(day)).map(|day| format!("{day:?}").to_lowercase()).collect();
        let named = if written.weekdays.is_empty() { String::new() } else { format!(" on {}", names.join(", ")) };
        let text = format!("from {} to {} in {}{named}", written.from, written.to, written.zone).into();
        let to = if to < from { to + DAY } else { to };
        errors.into_result(Self { from, to, days, zone: zone.unwrap_or(TimeZone::UTC), text })
    }

    /// Whether a time is in it.
    #[must_use]
    pub fn contains(&self, unix_ms: u64) -> bool {
        let Some(time) = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()) else {
            return false;
        };
        let local = self.zone.to_offset(time).to_datetime(time);
        let (Ok(day), Ok(hour), Ok(minute)) = (
            usize::try_from(local.date().weekday().to_monday_zero_offset()),
            u16::try_from(local.hour()),
            u16::try_from(local.minute()),
        ) else {
            return false;
        };
        self.contains_minute(day, hour * 60 + minute)
    }

    /// Whether a minute of a day of the week is in it, counted from Monday; the hours may have begun on the day before.
    fn contains_minute(&self, day: usize, minute: u16) -> bool {
        let begins_on = |day: usize| self.days.get(day % 7).copied().unwrap_or_default();
        let is_within = |minute: u16| (self.from..self.to).contains(&minute);
        (begins_on(day) && is_within(minute)) || (begins_on(day + 6) && is_within(minute + DAY))
    }

    /// Whether no time is in both, as far as that can be said: in the same zone.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        let both = |day: usize, minute: u16| self.contains_minute(day, minute) && other.contains_minute(day, minute);
        self.zone == other.zone && !(0..7).any(|day| (0..DAY).any(|minute| both(day, minute)))
    }
}

impl fmt::Display for Daily {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "daily {}", self.text)
    }
}

/// `08:30`, and `24:00` for the end of a day.
fn minute_of(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, most: u16| {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|number| is_plain && *number <= most)
    };
    let minute = number(hours, 24)? * 60 + number(minutes, 59)?;
    Some(minute).filter(|minute| *minute <= DAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_shared::config::Positions;

    fn at<T>(compile: impl Fn(&At<'_>) -> Result<T, ConfigErrors>) -> Result<T, String> {
        let positions = Positions::default();
        compile(&At { positions: &positions, path: "api[0]".to_owned() }).map_err(|errors| errors.to_string())
    }

    fn daily(text: &str) -> Result<Daily, String> {
        let written: DailyConfig = toml::from_str(text).unwrap();
        at(|at| Daily::compile(&written, at))
    }

    fn ms(text: &str) -> u64 {
        clock::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn a_span_holds_its_beginning_and_not_its_end() {
        let span = |after, before| at(|at| Span::compile(after, before, None, at)).unwrap().unwrap();
        let january = span(Some("2026-01-01T00:00:00+01:00"), Some("2026-02-01T00:00:00Z"));
        assert!(january.contains(ms("2025-12-31T23:00:00Z")) && !january.contains(ms("2025-12-31T22:59:59Z")));
        assert!(january.contains(ms("2026-01-31T23:59:59Z")) && !january.contains(ms("2026-02-01T00:00:00Z")));
        assert!(january.excludes(&span(Some("2026-02-01T00:00:00Z"), None)));
        assert!(!january.excludes(&span(Some("2026-01-31T23:59:59Z"), None)));
        assert!(january.excludes(&span(None, Some("2025-12-31T23:00:00Z"))));
        assert_eq!(at(|at| Span::compile(None, None, None, at)), Ok(None));
    }

    #[test]
    fn spans_that_hold_nothing_are_refused() {
        let compile = |after, before, between: Option<[&str; 2]>| {
            let between = between.map(|pair| pair.map(str::to_owned));
            at(|at| Span::compile(after, before, between.as_ref(), at)).unwrap_err()
        };
        let (one, two) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        assert!(compile(Some("yesterday"), None, None).contains("\"yesterday\" is not a time"));
        assert!(compile(Some(two), Some(one), None).contains("ends before it begins"));
        assert!(compile(None, None, Some([two, one])).contains("ends before it begins"));
        assert!(compile(Some(one), None, Some([one, two])).contains("the same said twice"));
    }

    #[test]
    fn hours_follow_the_clock_of_their_zone() {
        let office =
            daily("from = \"09:00\"\nto = \"17:00\"\nzone = \"Europe/Berlin\"\nweekdays = [\"monday\"]").unwrap();
        // A Monday in winter and one in summer: an hour apart in UTC.
        assert!(!office.contains(ms("2026-01-05T07:59:59Z")) && office.contains(ms("2026-01-05T08:00:00Z")));
        assert!(office.contains(ms("2026-07-06T07:00:00Z")) && !office.contains(ms("2026-07-06T15:00:00Z")));
        assert!(!office.contains(ms("2026-01-06T10:00:00Z")), "a Tuesday");
    }

    #[test]
    fn hours_over_midnight_belong_to_the_day_on_which_they_begin() {
        let night = daily("from = \"22:00\"\nto = \"06:00\"\nweekdays = [\"sunday\"]").unwrap();
        // 2026-01-04 is a Sunday.
        for (time, expected) in [
            ("2026-01-04T21:59:00Z", false),
            ("2026-01-04T22:00:00Z", true),
            ("2026-01-05T05:59:00Z", true),
            ("2026-01-05T06:00:00Z", false),
            ("2026-01-05T22:00:00Z", false),
            ("2026-01-04T05:00:00Z", false),
        ] {
            assert_eq!(night.contains(ms(time)), expected, "{time}");
        }
    }

    #[test]
    fn hours_exclude_each_other_when_they_do_not_meet() {
        let day = daily("from = \"06:00\"\nto = \"22:00\"").unwrap();
        let night = daily("from = \"22:00\"\nto = \"06:00\"").unwrap();
        let weekend = daily("weekdays = [\"saturday\", \"sunday\"]").unwrap();
        let week = daily("weekdays = [\"monday\", \"tuesday\", \"wednesday\", \"thursday\", \"friday\"]").unwrap();
        assert!(day.excludes(&night) && night.excludes(&day) && week.excludes(&weekend));
        assert!(!day.excludes(&week) && !day.excludes(&day));
        let elsewhere = daily("from = \"22:00\"\nto = \"06:00\"\nzone = \"Asia/Tokyo\"").unwrap();
        assert!(!day.excludes(&elsewhere), "nothing is said of other zones");
    }

    #[test]
    fn hours_that_are_none_are_refused() {
        for (text, expected) in [
            ("from = \"8:00\"", "\"8:00\" is not a time of day"),
            ("to = \"24:01\"", "\"24:01\" is not a time of day"),
            ("from = \"+8:00\"", "is not a time of day"),
            ("from = \"24:00\"\nto = \"01:00\"", "no minute of a day"),
            ("from = \"08:00\"\nto = \"08:00\"", "it ends when it begins"),
            ("zone = \"Berlin\"", "no time zone \"Berlin\""),
        ] {
            let error = daily(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
