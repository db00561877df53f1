//! How many calls in which window, as people write it: `"1000/1s"`, `"100000/1d"`, `"2000000/month"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use gatehouse_shared::config;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The shortest window; shorter ones are the business of the edge.
const SHORTEST: Duration = Duration::from_secs(1);
/// The most calls in a window: what a script of Redis counts exactly is below 2^53.
pub(super) const COUNT_MAX: u64 = 1_000_000_000_000_000;
/// One day.
const DAY: Duration = Duration::from_secs(86_400);

/// So many in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many; 1 to 10^15.
    pub count: u64,
    /// In what.
    pub span: Span,
}

/// What a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// So long, from a second to less than a day; windows begin at multiples of it since 1970-01-01T00:00:00Z.
    Fixed(Duration),
    /// A calendar day, from midnight to midnight where the limit says.
    Day,
    /// A calendar month.
    Month,
}

/// Why a text is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a rate of calls (1 to 10^15, a slash and a window, such as \"1000/1s\", \"6000/1m\", \"100000/1d\" or \"2000000/month\")"
)]
pub struct RateError(String);

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let error = || RateError(text.chars().take(40).collect());
        let (_, window) = text.split_once('/').ok_or_else(error)?;
        let month = text.strip_suffix("/month").or_else(|| text.strip_suffix("/1month"));
        // The count is read by the same rules whatever the window.
        let plain = month.map_or_else(|| text.to_owned(), |count| format!("{count}/1s"));
        let config::Rate { count, per } = plain.parse().map_err(|_unclear| error())?;
        let span = match per {
            _ if month.is_some() => Span::Month,
            DAY if window.ends_with('d') => Span::Day,
            per if (SHORTEST..DAY).contains(&per) => Span::Fixed(per),
            _ => return Err(error()),
        };
        if !(1..=COUNT_MAX).contains(&count) {
            return Err(error());
        }
        Ok(Self { count, span })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.span {
            Span::Fixed(per) => config::Rate { count: self.count, per }.fmt(out),
            Span::Day => write!(out, "{}/1d", self.count),
            Span::Month => write!(out, "{}/month", self.count),
        }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CallRate".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "rate", "pattern": "^[0-9]+/((([0-9]+ ?)?(s|m|h))|[0-9]+|1?d|1?month)$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::proptest;

    #[test]
    fn reads_and_writes_rates() {
        let fixed = |seconds| Span::Fixed(Duration::from_secs(seconds));
        for (text, count, span, again) in [
            ("1000/1s", 1_000, fixed(1), "1000/1s"),
            ("6000/m", 6_000, fixed(60), "6000/1m"),
            ("100/60", 100, fixed(60), "100/1m"),
            ("5/2h", 5, fixed(7_200), "5/2h"),
            ("100000/1d", 100_000, Span::Day, "100000/1d"),
            ("7/d", 7, Span::Day, "7/1d"),
            ("9/month", 9, Span::Month, "9/month"),
            ("9/1month", 9, Span::Month, "9/month"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.count, rate.span), (count, span), "{text}");
            assert_eq!(rate.to_string(), again);
            assert_eq!(again.parse(), Ok(rate));
        }
    }

    #[test]
    fn refuses_what_is_no_rate() {
        for text in [
            "",
            "5",
            "5/",
            "/1d",
            "0/1d",
            "0/month",
            "/month",
            "-1/month",
            "5/500ms",
            "5/2d",
            "5/24h",
            "5/86400",
            "5/2month",
            "1000000000000001/1s",
            "1000000000000001/month",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_a_rate_panic(text: String, almost in "[0-9]{0,20}/[0-9]{0,3}(d|s|month)?") {
            let _any = (text.parse::<Rate>(), almost.parse::<Rate>());
        }
    }
}
