//! `jsDecode`: escapes of JavaScript strings.

use memchr::memchr;

use super::escape::{self, Meaning};
use super::{Changed, hex};

/// `\x3c\u0061\12` → `<a` and a line feed.
///
/// `\uHHHH` becomes the ASCII of a full-width form, else its low byte; octal escapes end at `\377`; before any other
/// byte the backslash vanishes, at the end it stays.
pub(super) fn decode(value: &[u8], out: &mut Vec<u8>) -> Changed {
    escape::decode(
        value,
        out,
        |input| memchr(b'\\', input),
        |input| {
            let [_, after @ ..] = input else { return None };
            if let [b'u', a, b, c, d, ..] = after
                && let Some(unit) = hex::unit([*a, *b, *c, *d])
            {
                return Some((6, Meaning::Byte(escape::narrow(unit))));
            }
            if let [b'x', high, low, ..] = after
                && let Some(byte) = hex::byte(*high, *low)
            {
                return Some((4, Meaning::Byte(byte)));
            }
            let longest = if matches!(after, [b'4'..=b'7', ..]) { 2 } else { 3 };
            escape::octal_or_letter(after, longest)
        },
    )
}
