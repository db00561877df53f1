//! Strings, numbers and words, across the seams of pieces.

use super::super::outcome::Progress;
use super::super::urlencoded::hex;
use super::Malformed;

/// A token: what earlier pieces held of it, unescaped, and where in an escape the last one ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    bytes: Vec<u8>,
    escape: Escape,
    /// A high surrogate whose other half must come next.
    high: Option<u16>,
    /// Set when a token has been handed out and `bytes` may be used again.
    used: bool,
}

/// Where in an escape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// Behind the backslash.
    Backslash,
    /// Behind `\u` and so many digits with this value.
    Unicode(u8, u16),
}

impl Text {
    /// Reads on in a string. At its end what is left of it and what is behind the quote; otherwise all was kept.
    pub(super) fn string<'a>(&mut self, bytes: &'a [u8], progress: &mut Progress) -> Option<(&'a [u8], &'a [u8])> {
        self.reuse();
        let mut bytes = bytes;
        loop {
            if self.escape != Escape::None {
                bytes = self.escape(bytes, progress)?;
                continue;
            }
            let end = string_end(bytes);
            let (run, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
            if self.high.is_some() && (!run.is_empty() || rest.first() == Some(&b'"')) {
                self.lone(progress);
            }
            if run.iter().any(|byte| *byte < 0x20) {
                progress.fail(Malformed::ControlCharacter);
            }
            match rest.split_first() {
                Some((b'"', rest)) => return Some((run, rest)),
                Some((_, rest)) => {
                    self.bytes.extend_from_slice(run);
                    self.escape = Escape::Backslash;
                    bytes = rest;
                }
                None => {
                    self.bytes.extend_from_slice(run);
                    return None;
                }
            }
        }
    }

    /// Reads on in a token of certain bytes. At its end what is left of it and what follows; otherwise all was kept.
    pub(super) fn run<'a>(&mut self, bytes: &'a [u8], part: impl Fn(&u8) -> bool) -> Option<(&'a [u8], &'a [u8])> {
        self.reuse();
        let end = bytes.iter().position(|byte| !part(byte));
        if end.is_none() {
            self.bytes.extend_from_slice(bytes);
        }
        bytes.split_at_checked(end?)
    }

    /// The whole token, whose last bytes are `run`. The next call begins a new one.
    pub(super) fn end<'a>(&'a mut self, run: &'a [u8], progress: &mut Progress) -> &'a [u8] {
        self.reuse();
        if self.high.is_some() {
            self.lone(progress);
        }
        self.escape = Escape::None;
        if self.bytes.is_empty() {
            return run;
        }
        self.bytes.extend_from_slice(run);
        self.used = true;
        &self.bytes
    }

    fn reuse(&mut self) {
        if self.used {
            self.bytes.clear();
            self.used = false;
        }
    }

    /// Reads one byte of an escape.
    fn escape<'a>(&mut self, bytes: &'a [u8], progress: &mut Progress) -> Option<&'a [u8]> {
        let (&byte, rest) = bytes.split_first()?;
        let Escape::Unicode(digits, value) = self.escape else {
            self.escape = Escape::None;
            if byte == b'u' {
                self.escape = Escape::Unicode(0, 0);
            } else {
                self.single(byte, progress);
            }
            return Some(rest);
        };
        let Some(digit) = hex(byte) else {
            self.incomplete(digits, value, progress);
            return Some(bytes);
        };
        let value = value << 4 | u16::from(digit);
        if digits < 3 {
            self.escape = Escape::Unicode(digits + 1, value);
        } else {
            self.escape = Escape::None;
            self.unit(value, progress);
        }
        Some(rest)
    }

    /// The byte behind a backslash. An unknown one is kept with its backslash.
    fn single(&mut self, byte: u8, progress: &mut Progress) {
        if self.high.is_some() {
            self.lone(progress);
        }
        let plain = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            _ => {
                progress.fail(Malformed::Escape);
                self.bytes.push(b'\\');
                byte
            }
        };
        self.bytes.push(plain);
    }

    /// `\u` without four digits is kept as it stands.
    fn incomplete(&mut self, digits: u8, value: u16, progress: &mut Progress) {
        if self.high.is_some() {
            self.lone(progress);
        }
        progress.fail(Malformed::Escape);
        self.escape = Escape::None;
        self.bytes.extend_from_slice(b"\\u");
        for place in (0..digits).rev() {
            let digit = u32::from(value >> (4 * u16::from(place)) & 0xF);
            self.bytes.extend(char::from_digit(digit, 16).and_then(|digit| u8::try_from(digit).ok()));
        }
    }

    /// A UTF-16 unit.
    fn unit(&mut self, unit: u16, progress: &mut Progress) {
        let decoded = match self.high.take() {
            Some(high) => match char::decode_utf16([high, unit]).next() {
                Some(Ok(pair)) => Some(pair),
                _ => {
                    self.replace(progress);
                    char::from_u32(u32::from(unit))
                }
            },
            None => char::from_u32(u32::from(unit)),
        };
        match decoded {
            Some(decoded) => self.bytes.extend_from_slice(decoded.encode_utf8(&mut [0; 4]).as_bytes()),
            None if (0xD800..0xDC00).contains(&unit) => self.high = Some(unit),
            None => self.replace(progress),
        }
    }

    /// Half a surrogate pair is all there is.
    fn lone(&mut self, progress: &mut Progress) {
        self.high = None;
        self.replace(progress);
    }

    fn replace(&mut self, progress: &mut Progress) {
        progress.fail(Malformed::LoneSurrogate);
        self.bytes.extend_from_slice("\u{FFFD}".as_bytes());
    }
}

/// Where the next quote or backslash is, or the length. Most strings are short, where a search set up for long ones
/// costs more than it finds.
fn string_end(bytes: &[u8]) -> usize {
    const SHORT: usize = 16;
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\');
    if let Some(end) = bytes.iter().take(SHORT).position(ends) {
        return end;
    }
    let far = bytes.get(SHORT..).and_then(|far| memchr::memchr2(b'"', b'\\', far));
    far.map_or(bytes.len(), |end| end + SHORT)
}

/// Whether the bytes are a number of RFC 8259.
pub(super) fn is_number(text: &[u8]) -> bool {
    let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(text);
    if whole == 0 || (whole > 1 && text.first() == Some(&b'0')) {
        return false;
    }
    let mut text = text.get(whole..).unwrap_or_default();
    if let Some(fraction) = text.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        text = fraction.get(count..).unwrap_or_default();
    }
    let Some((b'e' | b'E', exponent)) = text.split_first() else { return text.is_empty() };
    let exponent = exponent.strip_prefix(b"-").or(exponent.strip_prefix(b"+")).unwrap_or(exponent);
    !exponent.is_empty() && digits(exponent) == exponent.len()
}
