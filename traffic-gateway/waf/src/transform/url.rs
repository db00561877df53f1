//! `urlDecode`, `urlDecodeUni` and `urlEncode`: percent-encoding as forms use it.

use memchr::memchr2;

use super::escape::{self, Meaning};
use super::{Changed, best_fit, hex};

/// `a+b%3c` → `a b<`. An escape that is not complete stands as it is.
pub(super) fn decode(value: &[u8], out: &mut Vec<u8>) -> Changed {
    escape::decode(value, out, |input| memchr2(b'%', b'+', input), percent)
}

/// `%u0041%u201c%uff1c` → `A"<`. As `urlDecode`, and `%uHHHH` becomes the ASCII that character is commonly folded to
/// (full-width forms, letters with accents, typographic quotes), else its low byte.
pub(super) fn decode_unicode(value: &[u8], out: &mut Vec<u8>) -> Changed {
    escape::decode(
        value,
        out,
        |input| memchr2(b'%', b'+', input),
        |input| {
            let [b'%', b'u' | b'U', a, b, c, d, ..] = input else { return percent(input) };
            let unit = hex::unit([*a, *b, *c, *d])?;
            Some((6, Meaning::Byte(best_fit::ascii(unit).unwrap_or_else(|| escape::narrow(unit)))))
        },
    )
}

/// `a b<` → `a+b%3c`: letters, digits and `*` stand.
pub(super) fn encode(value: &[u8], out: &mut Vec<u8>) -> Changed {
    if value.iter().all(|byte| is_unreserved(*byte)) {
        return Changed::No;
    }
    out.reserve(value.len() * 3);
    for byte in value {
        match byte {
            b' ' => out.push(b'+'),
            _ if is_unreserved(*byte) => out.push(*byte),
            _ => out.extend_from_slice(&[b'%', hex::letter(byte >> 4), hex::letter(byte & 0xf)]),
        }
    }
    Changed::Yes
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'*'
}

fn percent(input: &[u8]) -> Option<(usize, Meaning<'_>)> {
    match input {
        [b'+', ..] => Some((1, Meaning::Byte(b' '))),
        [b'%', high, low, ..] => Some((3, Meaning::Byte(hex::byte(*high, *low)?))),
        _ => None,
    }
}
