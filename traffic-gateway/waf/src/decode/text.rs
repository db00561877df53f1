//! Whole texts behind an encoding: base64, hexadecimal, UTF-7, NULs. Each reads from a value and appends to a buffer.

use crate::classes::Classes;

/// Shortest text that is worth decoding; below it words of any language pass for base64.
pub(super) const SHORTEST: usize = 12;

/// What base64 is made of in either alphabet, with what may stand around it.
const BASE64: Classes = Classes::LETTER
    .or(Classes::DIGIT)
    .or(Classes::PLUS)
    .or(Classes::SLASH)
    .or(Classes::DASH)
    .or(Classes::UNDERSCORE)
    .or(Classes::EQUALS)
    .or(Classes::SPACE)
    .or(Classes::NEWLINE);

/// What hexadecimal digits and what stands before them are made of.
const HEXADECIMAL: Classes = Classes::in_text(b"0123456789abcdefx\\");

/// Whether a value is long enough for [`base64`] and made of nothing else.
pub(super) fn may_be_base64(value: &[u8], classes: Classes) -> bool {
    value.len() >= SHORTEST && !classes.any(BASE64.but())
}

/// Whether a value is long enough for [`hexadecimal`] and made of nothing else.
pub(super) fn may_be_hexadecimal(value: &[u8], classes: Classes) -> bool {
    value.len() >= SHORTEST && !classes.any(HEXADECIMAL.but())
}

/// The value of a base64 digit in either alphabet. A space is a `+` that went through a form.
pub(crate) fn base64_digit(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' | b' ' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

/// Decodes a value that is base64 of text. Gives up at the first byte that is not text, which for names, tokens and
/// pictures is among the first few.
pub(super) fn base64(value: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let value = value.trim_ascii();
    let padding = value.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    let digits = value.get(..value.len() - padding).unwrap_or_default();
    if digits.len() < SHORTEST || digits.len() % 4 == 1 || (padding > 0 && !value.len().is_multiple_of(4)) {
        return false;
    }
    let (mut bits, mut held) = (0_u32, 0_u32);
    for &byte in digits {
        let Some(six) = base64_digit(byte) else {
            if matches!(byte, b'\r' | b'\n') {
                continue;
            }
            return false;
        };
        bits = (bits << 6 | u32::from(six)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            let [byte, ..] = (bits >> held).to_le_bytes();
            if !is_text(byte) {
                return false;
            }
            out.push(byte);
        }
    }
    is_judged(out)
}

/// Decodes a value that is nothing but hexadecimal digits of text.
pub(super) fn hexadecimal(value: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let digits = value
        .strip_prefix(b"0x")
        .or_else(|| value.strip_prefix(b"0X"))
        .or_else(|| value.strip_prefix(b"\\x"))
        .unwrap_or(value);
    if digits.len() < SHORTEST || !digits.len().is_multiple_of(2) {
        return false;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    for pair in digits.chunks_exact(2) {
        let [high, low] = pair else { return false };
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { return false };
        let byte = high << 4 | low;
        if !is_text(byte) {
            return false;
        }
        out.push(byte);
    }
    is_judged(out)
}

/// Bytes of text: printable ASCII, white space, and what UTF-8 is made of.
const fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0xc2..=0xf4 | 0x80..=0xbf)
}

/// Whether a decoded text is text at all and holds something a grammar may ask for.
fn is_judged(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok() && text.iter().any(|byte| !byte.is_ascii_alphanumeric())
}

/// Decodes the runs of UTF-7 (`+ADw-`); whether there were any.
pub(super) fn utf7(value: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let Some(first) = memchr::memmem::find(value, b"+A") else { return false };
    let mut found = false;
    let mut rest = value.get(first..).unwrap_or_default();
    out.extend_from_slice(value.get(..first).unwrap_or_default());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'+' {
            out.push(byte);
            continue;
        }
        let length =
            after.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')).count();
        let run = after.get(..length).unwrap_or_default();
        let start = out.len();
        if !run.starts_with(b"A") || !utf16(run, out) {
            out.truncate(start);
            out.push(byte);
            continue;
        }
        found = true;
        rest = after.get(length..).unwrap_or_default();
        rest = rest.strip_prefix(b"-").unwrap_or(rest);
    }
    found
}

/// Appends the ASCII characters of base64 of UTF-16; `false` when there are others.
fn utf16(run: &[u8], out: &mut Vec<u8>) -> bool {
    let (mut bits, mut held, mut unit_count) = (0_u32, 0_u32, 0);
    for &byte in run {
        let Some(six) = base64_digit(byte) else { return false };
        bits = (bits << 6 | u32::from(six)) & 0xff_ffff;
        held += 6;
        if held >= 16 {
            held -= 16;
            let unit = bits >> held & 0xffff;
            let Some(byte) = u8::try_from(unit).ok().filter(u8::is_ascii) else { return false };
            out.push(byte);
            unit_count += 1;
        }
    }
    unit_count > 0
}

/// Leaves out the NULs; whether there were any.
pub(super) fn without_nuls(value: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    if memchr::memchr(0, value).is_none() {
        return false;
    }
    out.extend(value.iter().copied().filter(|byte| *byte != 0));
    true
}
