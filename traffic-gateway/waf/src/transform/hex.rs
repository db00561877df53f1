//! `hexDecode`, `hexEncode` and `sqlHexDecode`, and the digits that other transformations read.

use memchr::memchr;

use super::Changed;
use super::escape::{self, Meaning};

/// `54657374` → `Test`. A value that is not made of pairs of digits stands as it is: a single odd byte must not be
/// enough to hide the rest.
pub(super) fn decode(value: &[u8], out: &mut Vec<u8>) -> Changed {
    if value.is_empty() || !value.len().is_multiple_of(2) || !value.iter().all(u8::is_ascii_hexdigit) {
        return Changed::No;
    }
    out.extend(pairs(value));
    Changed::Yes
}

/// `Test` → `54657374`.
pub(super) fn encode(value: &[u8], out: &mut Vec<u8>) -> Changed {
    if value.is_empty() {
        return Changed::No;
    }
    out.extend(value.iter().flat_map(|byte| [letter(byte >> 4), letter(byte & 0xf)]));
    Changed::Yes
}

/// `0x414243` → `ABC`, wherever in the value; an odd digit at the end of one stays.
pub(super) fn decode_sql(value: &[u8], out: &mut Vec<u8>) -> Changed {
    escape::decode(
        value,
        out,
        |input| memchr(b'0', input),
        |input| {
            let [b'0', b'x' | b'X', digits @ ..] = input else { return None };
            let count = digits.iter().take_while(|byte| byte.is_ascii_hexdigit()).count() & !1;
            let digits = digits.get(..count)?;
            (count > 0).then_some((count + 2, Meaning::HexPairs(digits)))
        },
    )
}

/// The bytes written by pairs of digits, up to the first pair that is none.
pub(super) fn pairs(digits: &[u8]) -> impl Iterator<Item = u8> {
    digits.chunks_exact(2).map_while(pair)
}

/// The byte written by exactly two digits.
pub(crate) fn pair(digits: &[u8]) -> Option<u8> {
    match digits {
        [high, low] => byte(*high, *low),
        _ => None,
    }
}

/// The byte two digits write.
pub(super) fn byte(high: u8, low: u8) -> Option<u8> {
    Some((digit(high)? << 4) | digit(low)?)
}

/// The code unit four digits write.
pub(super) fn unit(digits: [u8; 4]) -> Option<u16> {
    let [a, b, c, d] = digits;
    Some(u16::from_be_bytes([byte(a, b)?, byte(c, d)?]))
}

/// The value of a hexadecimal digit.
pub(super) const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The digit of a value below 16, in lower case.
pub(super) const fn letter(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}
