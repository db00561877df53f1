//! `cssDecode`: escapes of CSS 2.1, section 4.1.3.

use memchr::memchr;

use super::escape::{self, Meaning};
use super::{Changed, hex};

/// `ja\76ascript` → `javascript`.
///
/// A backslash takes one to six hexadecimal digits and one white space after them; full-width forms become ASCII,
/// numbers that are no character U+FFFD, zero a NUL byte. Before a line break it vanishes with it, before anything else
/// and at the end it vanishes alone.
pub(super) fn decode(value: &[u8], out: &mut Vec<u8>) -> Changed {
    escape::decode(
        value,
        out,
        |input| memchr(b'\\', input),
        |input| match input {
            [_, b'\r', b'\n', ..] => Some((3, Meaning::Nothing)),
            [_] => Some((1, Meaning::Nothing)),
            [_, b'\n' | b'\r' | b'\x0c', ..] => Some((2, Meaning::Nothing)),
            [_, first, ..] if !first.is_ascii_hexdigit() => Some((2, Meaning::Byte(*first))),
            [_, digits @ ..] => Some(code_point(digits)),
            [] => None,
        },
    )
}

/// Length (with the backslash) and meaning of an escape in digits.
fn code_point(input: &[u8]) -> (usize, Meaning<'_>) {
    let mut code = 0u32;
    let mut length = 0;
    for digit in input.iter().take(6).map_while(|byte| hex::digit(*byte)) {
        code = (code << 4) | u32::from(digit);
        length += 1;
    }
    let space = match input.get(length..) {
        Some([b'\r', b'\n', ..]) => 2,
        Some([b' ' | b'\t' | b'\n' | b'\r' | b'\x0c', ..]) => 1,
        _ => 0,
    };
    let code = if matches!(code, 0xff01..=0xff5e) { code - 0xfee0 } else { code };
    (1 + length + space, Meaning::Char(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)))
}
