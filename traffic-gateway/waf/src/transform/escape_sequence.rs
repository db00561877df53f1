//! `escapeSeqDecode`: escape sequences of ANSI C.

use memchr::memchr;

use super::escape::{self, Meaning};
use super::{Changed, hex};

/// `\a`, `\b`, `\f`, `\n`, `\r`, `\t`, `\v`, `\xHH` and one to three octal digits; before any other byte the backslash
/// vanishes, at the end it stays. `\x41\n` → `A` and a line feed.
pub(super) fn decode(value: &[u8], out: &mut Vec<u8>) -> Changed {
    escape::decode(
        value,
        out,
        |input| memchr(b'\\', input),
        |input| {
            let [_, after @ ..] = input else { return None };
            if let [b'x' | b'X', high, low, ..] = after
                && let Some(byte) = hex::byte(*high, *low)
            {
                return Some((4, Meaning::Byte(byte)));
            }
            escape::octal_or_letter(after, 3)
        },
    )
}
