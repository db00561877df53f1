//! `base64Decode`, `base64DecodeExt` and `base64Encode` (RFC 4648, section 4).

use super::Changed;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `VGVzdA==` → `Test`. Line breaks are passed over, padding may be missing, and the first byte that belongs neither to
/// the alphabet nor to a line break ends the text.
pub(super) fn decode(value: &[u8], out: &mut Vec<u8>) -> Changed {
    decode_digits(value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).map_while(|byte| digit(*byte)), value, out)
}

/// `V.GVzdA==` → `Test`. Every byte outside the alphabet is passed over.
pub(super) fn decode_forgiving(value: &[u8], out: &mut Vec<u8>) -> Changed {
    decode_digits(value.iter().filter_map(|byte| digit(*byte)), value, out)
}

/// `Test` → `VGVzdA==`.
pub(super) fn encode(value: &[u8], out: &mut Vec<u8>) -> Changed {
    if value.is_empty() {
        return Changed::No;
    }
    out.reserve(value.len().div_ceil(3) * 4);
    for chunk in value.chunks(3) {
        let (bits, digits) = match *chunk {
            [a, b, c] => (u32::from_be_bytes([0, a, b, c]), 4),
            [a, b] => (u32::from_be_bytes([0, a, b, 0]), 3),
            [a] => (u32::from_be_bytes([0, a, 0, 0]), 2),
            _ => break,
        };
        for place in 0..4 {
            let index = usize::try_from((bits >> (18 - 6 * place)) & 0x3f).unwrap_or_default();
            let letter = if place < digits { ALPHABET.get(index).copied() } else { None };
            out.push(letter.unwrap_or(b'='));
        }
    }
    Changed::Yes
}

/// Joins digits of six bits each; bits that do not fill a byte at the end are dropped.
fn decode_digits(digits: impl Iterator<Item = u8>, value: &[u8], out: &mut Vec<u8>) -> Changed {
    if value.is_empty() {
        return Changed::No;
    }
    out.reserve(value.len().div_ceil(4) * 3);
    let mut bits = 0u16;
    let mut count = 0u8;
    for digit in digits {
        bits = (bits << 6) | u16::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            let [_, byte] = (bits >> count).to_be_bytes();
            out.push(byte);
        }
    }
    Changed::Yes
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}
