//! Text that a case describes instead of writing it down.

use super::Mistake;

/// Bytes of generated text a case may have: twice what any test needs, and too few to fill a machine.
pub const LONGEST: usize = 16 << 20;

/// Replaces `{{NAME:"TEXT"}}` in `text` and, with `escapes`, `\xHH` and `\\`.
pub(super) fn expand(text: &[u8], escapes: Escapes) -> Result<Vec<u8>, Mistake> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, behind)) = rest.split_first() {
        if let Some(call) = rest.strip_prefix(b"{{").and_then(names) {
            rest = generate(&call, &mut bytes)?;
        } else if first == b'\\' && escapes == Escapes::Read {
            rest = escape(behind, &mut bytes)?;
        } else {
            bytes.push(first);
            rest = behind;
        }
        if bytes.len() > LONGEST {
            return Err(Mistake::TooLong);
        }
    }
    Ok(bytes)
}

/// Whether a backslash begins an escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escapes {
    /// It does.
    Read,
    /// It is a backslash.
    Literal,
}

/// The beginning of generated text: what is done with the text, and the rest from its quote on.
struct Call<'a> {
    names: Vec<Name>,
    rest: &'a [u8],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Repeat,
    Base64,
    Base64Url,
    Hex,
    Url,
}

/// Reads `NAME:NAME:"`; anything else is not generated text.
fn names(mut rest: &[u8]) -> Option<Call<'_>> {
    let mut names = Vec::new();
    while !rest.starts_with(b"\"") {
        let colon = memchr::memchr(b':', rest.get(..10.min(rest.len()))?)?;
        let (name, behind) = rest.split_at_checked(colon)?;
        names.push(match name {
            b"repeat" => Name::Repeat,
            b"base64" => Name::Base64,
            b"base64url" => Name::Base64Url,
            b"hex" => Name::Hex,
            b"url" => Name::Url,
            _ => return None,
        });
        rest = behind.get(1..)?;
    }
    (!names.is_empty()).then_some(Call { names, rest })
}

/// Writes what a call stands for; gives what is behind it.
fn generate<'a>(call: &Call<'a>, bytes: &mut Vec<u8>) -> Result<&'a [u8], Mistake> {
    let (mut text, mut rest) = quoted(call.rest)?;
    for name in call.names.iter().rev() {
        text = match name {
            Name::Repeat => {
                let times;
                (times, rest) = number(rest)?;
                if text.len().saturating_mul(times) > LONGEST {
                    return Err(Mistake::TooLong);
                }
                text.repeat(times)
            }
            Name::Base64 => base64(&text, *b"+/", Padding::Written),
            Name::Base64Url => base64(&text, *b"-_", Padding::Omitted),
            Name::Hex => text.iter().flat_map(|&byte| digits(byte, b"0123456789abcdef")).collect(),
            Name::Url => percent(&text),
        };
    }
    bytes.append(&mut text);
    rest.strip_prefix(b"}}").ok_or(Mistake::Generated)
}

/// Reads text in quotes; gives what is behind it.
fn quoted(text: &[u8]) -> Result<(Vec<u8>, &[u8]), Mistake> {
    let mut bytes = Vec::new();
    let mut rest = text.strip_prefix(b"\"").ok_or(Mistake::Generated)?;
    while let Some((&first, behind)) = rest.split_first() {
        match first {
            b'"' => return Ok((bytes, behind)),
            b'\n' => break,
            b'\\' => rest = escape(behind, &mut bytes)?,
            _ => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    Err(Mistake::Generated)
}

/// Reads an escape behind its backslash.
fn escape<'a>(text: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], Mistake> {
    let (&first, rest) = text.split_first().ok_or(Mistake::Escape)?;
    let byte = match first {
        b'\\' | b'"' => first,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'x' => {
            let (pair, rest) = rest.split_at_checked(2).ok_or(Mistake::Escape)?;
            let pair = std::str::from_utf8(pair).map_err(|_no_text| Mistake::Escape)?;
            bytes.push(u8::from_str_radix(pair, 16).map_err(|_no_digits| Mistake::Escape)?);
            return Ok(rest);
        }
        _ => return Err(Mistake::Escape),
    };
    bytes.push(byte);
    Ok(rest)
}

/// Reads `:NUMBER`.
fn number(text: &[u8]) -> Result<(usize, &[u8]), Mistake> {
    let text = text.strip_prefix(b":").ok_or(Mistake::Generated)?;
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(length).ok_or(Mistake::Generated)?;
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    Ok((number.ok_or(Mistake::Generated)?, rest))
}

/// The two hexadecimal digits of a byte.
fn digits(byte: u8, alphabet: &[u8; 16]) -> [u8; 2] {
    let digit = |value: u8| alphabet.get(usize::from(value)).copied().unwrap_or_default();
    [digit(byte >> 4), digit(byte & 15)]
}

fn percent(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            bytes.push(byte);
        } else {
            bytes.push(b'%');
            bytes.extend_from_slice(&digits(byte, b"0123456789ABCDEF"));
        }
    }
    bytes
}

/// Whether `=` fills the last group of Base64.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Padding {
    Written,
    Omitted,
}

fn base64(text: &[u8], last_two: [u8; 2], padding: Padding) -> Vec<u8> {
    let letters: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(last_two).collect();
    let mut bytes = Vec::with_capacity(text.len() / 3 * 4 + 4);
    for group in text.chunks(3) {
        let bits = group.iter().chain(&[0; 2]).take(3).fold(0_usize, |bits, &byte| (bits << 8) | usize::from(byte));
        for place in 0..4 {
            if place <= group.len() {
                bytes.extend(letters.get((bits >> (18 - 6 * place)) & 63));
            } else if padding == Padding::Written {
                bytes.push(b'=');
            }
        }
    }
    bytes
}
