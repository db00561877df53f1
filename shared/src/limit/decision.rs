//! Answers of a limit, and the header fields that tell clients about them.

use std::io::{self, Write};
use std::time::{Duration, Instant};

/// What a limit says about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decision {
    /// Whether it may pass.
    pub allowed: bool,
    /// How many more may pass at once.
    pub remaining: u64,
    /// The time until the whole limit is available again, if nothing is counted until then.
    pub reset_after: Duration,
    /// The time until what was refused may pass, if nothing is counted until then; `None` when it was not refused. For a
    /// cost above the limit, which never may, the time until as much as possible may.
    pub retry_after: Option<Duration>,
    /// The end of the ban, when the key is banned.
    pub banned_until: Option<Instant>,
}

impl Decision {
    /// The value of `Retry-After` (RFC 9110 section 10.2.3) for a refused request: whole seconds, rounded up, at least 1.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|time| whole_seconds(time).max(1))
    }

    /// The member of the field `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10 section 4) for the policy of this name:
    /// `"name";r=12;t=30`, with what remains and the seconds until the whole limit is available, rounded up.
    #[must_use]
    pub fn field(&self, name: &str) -> String {
        let mut field = Vec::new();
        let written = write_field(&mut field, name, self.remaining, self.reset_seconds());
        written.ok().and_then(|()| String::from_utf8(field).ok()).unwrap_or_default()
    }

    /// Seconds until the whole limit is available again, rounded up.
    #[must_use]
    pub fn reset_seconds(&self) -> u64 {
        whole_seconds(self.reset_after)
    }
}

/// Writes what [`Decision::field`] is for these numbers: with a name of 64 bytes and numbers below 2³² at most 92 bytes.
///
/// # Errors
/// Those of writing; there are none into memory that is large enough.
#[inline]
pub fn write_field(out: &mut impl Write, name: &str, remaining: u64, reset_seconds: u64) -> io::Result<()> {
    out.write_all(b"\"")?;
    out.write_all(name.as_bytes())?;
    out.write_all(b"\";r=")?;
    write_number(out, remaining)?;
    out.write_all(b";t=")?;
    write_number(out, reset_seconds)
}

/// Writes the member of the field `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10 section 3): `"name";q=100;w=60`, with
/// the quota and the seconds of its window.
///
/// # Errors
/// Those of writing; there are none into memory that is large enough.
#[inline]
pub fn write_policy_field(out: &mut impl Write, name: &str, quota: u64, window_s: u64) -> io::Result<()> {
    out.write_all(b"\"")?;
    out.write_all(name.as_bytes())?;
    out.write_all(b"\";q=")?;
    write_number(out, quota)?;
    out.write_all(b";w=")?;
    write_number(out, window_s)
}

/// Writes a number in decimal.
///
/// # Errors
/// Those of writing; there are none into memory that is large enough.
#[inline]
pub fn write_number(out: &mut impl Write, mut number: u64) -> io::Result<()> {
    let mut digits = [0; 20];
    let mut count = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        count += 1;
        if number == 0 {
            break;
        }
    }
    out.write_all(digits.get(digits.len() - count..).unwrap_or_default())
}

/// What [`write_policy_field`] writes, with the seconds of the window rounded up.
pub(super) fn policy_field(name: &str, quota: u64, window: Duration) -> Box<str> {
    let mut field = Vec::new();
    let written = write_policy_field(&mut field, name, quota, whole_seconds(window));
    written.ok().and_then(|()| String::from_utf8(field).ok()).unwrap_or_default().into()
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up() {
        let decision = Decision {
            allowed: false,
            remaining: 0,
            reset_after: Duration::from_millis(59_001),
            retry_after: Some(Duration::from_millis(1)),
            banned_until: None,
        };
        assert_eq!(decision.retry_after_seconds(), Some(1));
        assert_eq!(Decision { retry_after: Some(Duration::ZERO), ..decision }.retry_after_seconds(), Some(1));
        assert_eq!(Decision { retry_after: Some(Duration::from_secs(7)), ..decision }.retry_after_seconds(), Some(7));
        assert_eq!(Decision { retry_after: None, ..decision }.retry_after_seconds(), None);
        assert_eq!(decision.field("client"), "\"client\";r=0;t=60");
        let mut longest = Vec::new();
        write_field(&mut longest, "a", u64::MAX, 10).unwrap();
        assert_eq!(longest, b"\"a\";r=18446744073709551615;t=10");
        assert_eq!(&*policy_field("client", 100, Duration::from_millis(500)), "\"client\";q=100;w=1");
    }
}
