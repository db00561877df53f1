//! `htmlEntityDecode`: character references of HTML.

use memchr::memchr;

use super::escape::{self, Meaning};
use super::{Changed, hex};

/// `&lt;&#97;&#x62` → `<ab`.
///
/// Decimal and hexadecimal numbers of any length, and the names `quot`, `amp`, `lt`, `gt` and `nbsp` in any case; the
/// semicolon may be missing. Up to 255 a number is a byte, above it a character in UTF-8, and U+FFFD if there is none.
pub(super) fn decode(value: &[u8], out: &mut Vec<u8>) -> Changed {
    escape::decode(
        value,
        out,
        |input| memchr(b'&', input),
        |input| match input {
            [_, b'#', b'x' | b'X', digits @ ..] => number(digits, 16, 3),
            [_, b'#', digits @ ..] => number(digits, 10, 2),
            [_, name @ ..] => named(name),
            [] => None,
        },
    )
}

/// A number of digits that follow a prefix of so many bytes.
fn number(input: &[u8], base: u8, prefix: usize) -> Option<(usize, Meaning<'_>)> {
    let mut code = 0u32;
    let mut length = 0;
    for digit in input.iter().map_while(|byte| hex::digit(*byte).filter(|digit| *digit < base)) {
        code = code.saturating_mul(u32::from(base)).saturating_add(u32::from(digit));
        length += 1;
    }
    if length == 0 {
        return None;
    }
    let meaning = match u8::try_from(code) {
        Ok(byte) => Meaning::Byte(byte),
        Err(_) => Meaning::Char(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)),
    };
    Some((prefix + length + semicolon(input.get(length..)), meaning))
}

fn named(input: &[u8]) -> Option<(usize, Meaning<'_>)> {
    const NAMES: [(&[u8], u8); 5] = [(b"quot", b'"'), (b"amp", b'&'), (b"lt", b'<'), (b"gt", b'>'), (b"nbsp", 0xa0)];
    // No name is longer than four letters; a fifth one says that it is another name.
    let length = input.iter().take(5).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let name = input.get(..length)?;
    let (_, byte) = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some((1 + length + semicolon(input.get(length..)), Meaning::Byte(*byte)))
}

fn semicolon(input: Option<&[u8]>) -> usize {
    usize::from(matches!(input, Some([b';', ..])))
}
