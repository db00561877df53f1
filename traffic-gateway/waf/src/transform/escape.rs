//! The walk that all decoders of escapes share.

use super::{Changed, hex};

/// What an escape stands for.
#[derive(Clone, Copy)]
pub(super) enum Meaning<'a> {
    /// Nothing at all.
    Nothing,
    /// One byte.
    Byte(u8),
    /// A character, written as UTF-8.
    Char(char),
    /// The bytes these pairs of hexadecimal digits write.
    HexPairs(&'a [u8]),
    /// A code point, written as `%uHHHH`.
    PercentU(u32),
}

/// Replaces every escape of `value` by what it stands for.
///
/// `find` says where the next byte stands that may begin an escape. `read` gets the input from there on and returns the
/// length of the escape and its meaning, or nothing when it is none. Nothing is written before the first escape.
/// Linear as long as `read` looks at no more than it consumes, but for a constant.
pub(super) fn decode<'a>(
    value: &'a [u8],
    out: &mut Vec<u8>,
    find: impl Fn(&[u8]) -> Option<usize>,
    read: impl Fn(&'a [u8]) -> Option<(usize, Meaning<'a>)>,
) -> Changed {
    let mut changed = Changed::No;
    let mut rest = value;
    let mut from = 0;
    while let Some(at) = rest.get(from..).and_then(&find) {
        let Some((plain, tail)) = rest.split_at_checked(from + at) else { break };
        let Some((length, meaning)) = read(tail) else {
            from += at + 1;
            continue;
        };
        if changed == Changed::No {
            out.reserve(value.len());
            changed = Changed::Yes;
        }
        out.extend_from_slice(plain);
        push(meaning, out);
        rest = tail.get(length..).unwrap_or_default();
        from = 0;
    }
    if changed == Changed::Yes {
        out.extend_from_slice(rest);
    }
    changed
}

fn push(meaning: Meaning<'_>, out: &mut Vec<u8>) {
    match meaning {
        Meaning::Nothing => {}
        Meaning::Byte(byte) => out.push(byte),
        Meaning::Char(char) => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        Meaning::HexPairs(digits) => out.extend(hex::pairs(digits)),
        Meaning::PercentU(code) => {
            out.extend_from_slice(b"%u");
            let [_, third, second, first] = code.to_be_bytes();
            let digits = [third >> 4, third & 0xf, second >> 4, second & 0xf, first >> 4, first & 0xf];
            let unneeded = digits.iter().take(2).take_while(|digit| **digit == 0).count();
            out.extend(digits.iter().skip(unneeded).map(|digit| hex::letter(*digit)));
        }
    }
}

/// What follows the backslash of a C or JavaScript escape that is none in hexadecimal: up to `longest` octal digits, the
/// letter of a control character, or any other byte, before which the backslash vanishes. With the length of the escape.
pub(super) fn octal_or_letter(after: &[u8], longest: usize) -> Option<(usize, Meaning<'_>)> {
    if let Some((length, byte)) = octal(after, longest) {
        return Some((1 + length, Meaning::Byte(byte)));
    }
    let (letter, _) = after.split_first()?;
    Some((2, Meaning::Byte(control(*letter).unwrap_or(*letter))))
}

/// The control character a letter stands for.
const fn control(letter: u8) -> Option<u8> {
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

/// What up to three octal digits write, and how many there are; values above 255 lose their high bits.
fn octal(input: &[u8], longest: usize) -> Option<(usize, u8)> {
    let digits = input.iter().take(longest).take_while(|byte| matches!(byte, b'0'..=b'7'));
    let (length, value) = digits.fold((0, 0u8), |(length, value), digit| (length + 1, (value << 3) | (digit - b'0')));
    (length > 0).then_some((length, value))
}

/// The byte a 16-bit code unit is taken for: full-width forms (U+FF01 to U+FF5E) become the ASCII they look like,
/// everything else keeps its low byte.
pub(super) fn narrow(code: u16) -> u8 {
    match code.to_be_bytes() {
        [0xff, low @ 0x01..=0x5e] => low + 0x20,
        [_, low] => low,
    }
}
