//! Values with units: sizes, durations and rates, written as strings in configuration files.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a value with a unit does not parse; the text names what was expected and gives an example.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{given}\" is not {expected}")]
pub struct UnitError {
    given: String,
    expected: &'static str,
}

impl UnitError {
    fn new(given: &str, expected: &'static str) -> Self {
        Self { given: given.chars().take(40).collect(), expected }
    }
}

/// A number of bytes, written `"512B"`, `"64KiB"`, `"1MiB"` or `"2GiB"`.
///
/// Units are powers of 1024. A bare number is refused, because it does not say what it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const SIZE_EXPECTED: &str = "a size (a whole number with B, KiB, MiB or GiB, such as \"64KiB\")";

impl ByteSize {
    /// A size of this many KiB.
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// A size of this many MiB.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of bytes for lengths in memory; saturates where memory is narrower than 64 bits.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError::new(text, SIZE_EXPECTED);
        let (number, unit) = split_number(text).ok_or_else(error)?;
        let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
        number.checked_mul(*factor).map(Self).ok_or_else(error)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = SIZE_UNITS.iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor));
        let (name, factor) = whole.unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / factor)
    }
}

/// A duration, written `"250ms"`, `"10s"`, `"5m"`, `"1h"` or `"1d"`; one unit, whole numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(Duration);

const DURATION_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const DURATION_EXPECTED: &str = "a duration (a whole number with ms, s, m, h or d, such as \"250ms\")";

impl HumanDuration {
    /// A duration of this many milliseconds.
    #[must_use]
    pub const fn from_millis(count: u64) -> Self {
        Self(Duration::from_millis(count))
    }

    /// A duration of this many seconds.
    #[must_use]
    pub const fn from_secs(count: u64) -> Self {
        Self(Duration::from_secs(count))
    }

    /// The duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<HumanDuration> for Duration {
    fn from(duration: HumanDuration) -> Self {
        duration.0
    }
}

impl FromStr for HumanDuration {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError::new(text, DURATION_EXPECTED);
        let (number, unit) = split_number(text).ok_or_else(error)?;
        let (_, factor) = DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
        let ms = number.checked_mul(*factor).ok_or_else(error)?;
        Ok(Self(Duration::from_millis(ms)))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if ms == 0 {
            return f.write_str("0s");
        }
        let (name, factor) = DURATION_UNITS.iter().find(|(_, factor)| ms.is_multiple_of(*factor)).unwrap_or(&("ms", 1));
        write!(f, "{}{name}", ms / factor)
    }
}

/// A number of events in a time, written `"100/60s"`, `"50/s"` or `"6000/m"`.
///
/// A time without its unit is in seconds, as operators have always written limits on requests: `"100/60"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many.
    pub count: u64,
    /// In which time; never zero when parsed.
    pub per: Duration,
}

const RATE_EXPECTED: &str =
    "a rate (a whole number, a slash and a time above zero, such as \"100/60s\", \"50/s\" or \"6000/m\")";

impl Rate {
    /// This many a second.
    #[must_use]
    pub const fn per_second(count: u64) -> Self {
        Self { count, per: Duration::from_secs(1) }
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError::new(text, RATE_EXPECTED);
        let (count, per) = text.split_once('/').ok_or_else(error)?;
        let count = whole_number(count).ok_or_else(error)?;
        let per = rate_time(per).filter(|per| !per.is_zero()).ok_or_else(error)?;
        Ok(Self { count, per })
    }
}

/// A duration, a unit alone, or seconds without their unit.
fn rate_time(text: &str) -> Option<Duration> {
    if let Some((_, ms)) = DURATION_UNITS.iter().find(|(name, _)| *name == text) {
        return Some(Duration::from_millis(*ms));
    }
    match whole_number(text) {
        Some(seconds) => seconds.checked_mul(1_000).map(Duration::from_millis),
        None => text.parse::<HumanDuration>().ok().map(HumanDuration::get),
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, HumanDuration(self.per))
    }
}

/// Digits only: no sign, no white space, no digit separators.
fn whole_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// `"64KiB"` into 64 and `"KiB"`; one space between them is allowed.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    Some((whole_number(number)?, unit.strip_prefix(' ').unwrap_or(unit)))
}

/// Serde and schema for a type that is written as a string.
macro_rules! written_as_string {
    ($type:ty, $name:literal, $format:literal, $pattern:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(FromText(std::marker::PhantomData))
            }
        }

        impl Expected for $type {
            const FORMAT: &'static str = $format;
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format, "pattern": $pattern })
            }
        }
    };
}

written_as_string!(ByteSize, "ByteSize", "size", "^[0-9]+ ?(B|KiB|MiB|GiB)$");
written_as_string!(HumanDuration, "Duration", "duration", "^[0-9]+ ?(ms|s|m|h|d)$");
written_as_string!(Rate, "Rate", "rate", "^[0-9]+/([0-9]+|([0-9]+ ?)?(ms|s|m|h|d))$");

/// What a value of the type is called in "expected …".
trait Expected {
    const FORMAT: &'static str;
}

struct FromText<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = UnitError> + Expected> serde::de::Visitor<'_> for FromText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} with its unit, as a string", T::FORMAT)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn reads_sizes() {
        assert_eq!("64KiB".parse(), Ok(ByteSize(65_536)));
        assert_eq!("0B".parse(), Ok(ByteSize(0)));
        assert_eq!("1 MiB".parse(), Ok(ByteSize::mib(1)));
        for wrong in ["", "64", "KiB", "64KB", "64kib", "-1B", "+1B", "1.5MiB", " 1B", "1B ", "99999999999GiB", "1  B"]
        {
            assert!(wrong.parse::<ByteSize>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn reads_durations() {
        assert_eq!("250ms".parse(), Ok(HumanDuration::from_millis(250)));
        assert_eq!("5m".parse(), Ok(HumanDuration::from_secs(300)));
        for wrong in ["", "10", "s", "1.5s", "-1s", "10 sec", "99999999999999999d", "1h30m"] {
            assert!(wrong.parse::<HumanDuration>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn reads_rates() {
        for (text, count, ms) in [
            ("100/60s", 100, 60_000),
            ("100/60", 100, 60_000),
            ("100/1m", 100, 60_000),
            ("50/s", 50, 1_000),
            ("6000/m", 6_000, 60_000),
            ("1/250 ms", 1, 250),
            ("0/ms", 0, 1),
        ] {
            assert_eq!(text.parse(), Ok(Rate { count, per: Duration::from_millis(ms) }), "{text}");
        }
        for wrong in [
            "100",
            "100/",
            "100/0s",
            "100/0",
            "/1s",
            "/s",
            "1e3/1s",
            "100//1s",
            "100/ s",
            "100/60 ",
            "-1/s",
            "1/-1",
            "1/1.5s",
            "1/s2",
            "1/18446744073709551615",
            "18446744073709551616/s",
        ] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong:?}");
        }
        assert_eq!(
            "100/min".parse::<Rate>().unwrap_err().to_string(),
            "\"100/min\" is not a rate (a whole number, a slash and a time above zero, such as \"100/60s\", \"50/s\" or \
             \"6000/m\")"
        );
    }

    #[test]
    fn errors_say_what_was_expected() {
        let error = "64KB".parse::<ByteSize>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"64KB\" is not a size (a whole number with B, KiB, MiB or GiB, such as \"64KiB\")"
        );
    }

    proptest! {
        #[test]
        fn printing_and_parsing_a_size_is_the_identity(bytes in any::<u64>()) {
            let size = ByteSize(bytes);
            assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn printing_and_parsing_a_duration_is_the_identity(ms in any::<u64>()) {
            let duration = HumanDuration::from_millis(ms);
            assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn printing_and_parsing_a_rate_is_the_identity(count in any::<u64>(), ms in 1..u64::MAX) {
            let rate = Rate { count, per: Duration::from_millis(ms) };
            assert_eq!(rate.to_string().parse(), Ok(rate));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,20}") {
            let _size = text.parse::<ByteSize>();
            let _duration = text.parse::<HumanDuration>();
            let _rate = text.parse::<Rate>();
        }
    }
}
