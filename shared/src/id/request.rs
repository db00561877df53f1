//! The id of a request.

use std::fmt;

use super::{read_hex, write_hex};

/// 32 lower-case hexadecimal digits: 48 bits of Unix milliseconds, so that ids sort by time, and 80 random bits.
///
/// The random bits come from a fast generator seeded by the operating system: unique (a collision within a millisecond
/// has a chance of 2⁻⁸⁰ per pair), but no secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId([u8; 32]);

/// A request id that is not 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request id is 32 lower-case hexadecimal digits")]
pub struct InvalidRequestId;

/// Digits of the time, at the front.
const TIME_DIGITS: usize = 12;

impl RequestId {
    /// A new id for a request that arrived at this time.
    #[must_use]
    pub fn new(unix_ms: u64) -> Self {
        let value = u128::from(unix_ms & 0xffff_ffff_ffff) << 80 | fastrand::u128(..) >> 48;
        let mut text = [0; 32];
        write_hex(&value.to_be_bytes(), &mut text);
        Self(text)
    }

    /// Reads an id that another tier made.
    ///
    /// # Errors
    /// When it is not exactly 32 lower-case hexadecimal digits.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidRequestId> {
        read_hex::<16>(text).ok_or(InvalidRequestId)?;
        text.try_into().map(Self).map_err(|_error| InvalidRequestId)
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The 16 bytes that the digits stand for.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 16] {
        read_hex(&self.0).unwrap_or_default()
    }

    /// When the request arrived where it got the id, in Unix milliseconds.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        let (time, _) = self.0.split_at(TIME_DIGITS);
        read_hex::<{ TIME_DIGITS / 2 }>(time)
            .map_or(0, |bytes| bytes.iter().fold(0, |time, byte| time << 8 | u64::from(*byte)))
    }

    /// The digits as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_differ() {
        let ids: Vec<RequestId> = [1_000, 1_000, 2_000, 1 << 47].map(RequestId::new).into();
        assert_ne!(ids[0], ids[1]);
        assert!(ids[1] < ids[2] && ids[2] < ids[3]);
        assert!(ids[2].as_str().starts_with("0000000007d0"));
        assert_eq!(ids.iter().map(RequestId::unix_ms).collect::<Vec<_>>(), [1_000, 1_000, 2_000, 1 << 47]);
        assert_eq!(RequestId::parse(ids[2].as_bytes()), Ok(ids[2]));
    }

    #[test]
    fn refuses_what_is_not_an_id() {
        for wrong in ["", "0", &"0".repeat(31), &"0".repeat(33), &"A".repeat(32), &"g".repeat(32), &"é".repeat(16)] {
            assert_eq!(RequestId::parse(wrong.as_bytes()), Err(InvalidRequestId), "{wrong}");
        }
    }
}
