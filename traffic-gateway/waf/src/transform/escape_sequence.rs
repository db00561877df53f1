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
            if let Some((length, byte)) = escape::octal(after, 3) {
                return Some((1 + length, Meaning::Byte(byte)));
            }
            let (letter, _) = after.split_first()?;
            Some((2, Meaning::Byte(control(*letter).unwrap_or(*letter))))
        },
    )
}

/// The control character a letter stands for.
pub(super) const fn control(letter: u8) -> Option<u8> {
    match letter {
        b'a' => Some(0x07),
        b'b' => Some(0x08),
        b'f' => Some(0x0c),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        b'v' => Some(0x0b),
        _ => None,
    }
}
