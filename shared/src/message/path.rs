//! The one canonical path of a request.
//!
//! Every later stage and the next tier look at this path only, so that no two of them can read one target in two ways:
//! percent-encoded unreserved characters are decoded and all other encodings written in upper case, dot segments are
//! resolved, repeated slashes are one, path parameters (`;…`) are dropped. What has no single meaning is refused: broken
//! or double encodings, control bytes, overlong UTF-8, a path that climbs above the root, and, unless configured, encoded
//! slashes. The result is stable: the canonical path of a canonical path is itself (a property test holds it to that).

use schemars::JsonSchema;
use serde::Deserialize;

use super::bytes::{hex_value, is_path, is_tolerated_in_path, is_unreserved};
use crate::problem::{self, Reason};

/// What happens to `%2F` and `%5C` in a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncodedSlash {
    /// The request is refused with 400 `path_encoded_slash`.
    #[default]
    Refuse,
    /// They stay encoded: part of a segment, never a separator.
    Keep,
    /// `%2F` separates segments like a plain slash; `%5C` is refused.
    Decode,
}

/// Appends the canonical form of `raw`, the path part of a target (it begins with a slash and holds no `?`), to `out`.
/// Returns `false`, and appends nothing, when `raw` is canonical already.
///
/// # Errors
/// The reason to refuse the request for; then part of a path may have been appended.
pub fn canonicalise(raw: &[u8], slashes: EncodedSlash, out: &mut Vec<u8>) -> Result<bool, &'static Reason> {
    if is_plain(raw) {
        return Ok(false);
    }
    let mut path = Path { base: out.len(), segment: out.len(), out };
    let mut rest = match raw {
        [b'/', rest @ ..] => rest,
        _ => return Err(&problem::TARGET_FORM_INVALID),
    };
    path.out.push(b'/');
    path.segment += 1;
    let mut in_parameter = false;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match *byte {
            b'/' => {
                path.end_segment()?;
                in_parameter = false;
            }
            b';' => {
                if matches!(path.segment(), b"." | b"..") {
                    return Err(&problem::PATH_PARAMETER_DOT_SEGMENT);
                }
                in_parameter = true;
            }
            b'\\' => return Err(&problem::PATH_ENCODED_SLASH),
            b'%' => {
                let [high, low, tail @ ..] = rest else { return Err(&problem::PATH_ENCODING_INVALID) };
                let (Some(high), Some(low)) = (hex_value(*high), hex_value(*low)) else {
                    return Err(&problem::PATH_ENCODING_INVALID);
                };
                rest = tail;
                let decoded = high << 4 | low;
                match (decoded, slashes) {
                    (b'/' | b'\\', EncodedSlash::Refuse) | (b'\\', EncodedSlash::Decode) => {
                        return Err(&problem::PATH_ENCODED_SLASH);
                    }
                    (b'/', EncodedSlash::Decode) => {
                        path.end_segment()?;
                        in_parameter = false;
                    }
                    (0..=0x1f | 0x7f, _) => return Err(&problem::PATH_NUL),
                    _ if is_overlong(decoded, rest) => return Err(&problem::PATH_OVERLONG_ENCODING),
                    _ if in_parameter => {}
                    _ if is_unreserved(decoded) => path.push(decoded)?,
                    _ => path.push_encoded(decoded),
                }
            }
            byte if is_path(byte) => {
                if !in_parameter {
                    path.push(byte)?;
                }
            }
            byte if is_tolerated_in_path(byte) => {
                if !in_parameter {
                    path.push_encoded(byte);
                }
            }
            _ => return Err(&problem::TARGET_INVALID),
        }
    }
    path.end()?;
    Ok(true)
}

/// Whether a path is canonical, encoded slashes apart, which have no single meaning.
#[must_use]
pub fn is_canonical(raw: &str) -> bool {
    let mut canonical = Vec::new();
    match canonicalise(raw.as_bytes(), EncodedSlash::Refuse, &mut canonical) {
        Ok(is_changed) => !is_changed || canonical == raw.as_bytes(),
        Err(_reason) => false,
    }
}

/// Whether nothing would change, by one look at each byte; a dot at the head of a segment takes the long way.
fn is_plain(raw: &[u8]) -> bool {
    let mut after_slash = false;
    for (index, &byte) in raw.iter().enumerate() {
        if byte == b'/' {
            if after_slash {
                return false;
            }
            after_slash = true;
        } else {
            if !is_path(byte) || index == 0 || (after_slash && byte == b'.') {
                return false;
            }
            after_slash = false;
        }
    }
    !raw.is_empty()
}

/// The first byte of a UTF-8 sequence that spells a character in more bytes than it needs, an old way to hide one.
fn is_overlong(first: u8, rest: &[u8]) -> bool {
    let second = match rest {
        [b'%', high, low, ..] => match (hex_value(*high), hex_value(*low)) {
            (Some(high), Some(low)) => Some(high << 4 | low),
            _ => None,
        },
        _ => None,
    };
    match first {
        0xc0 | 0xc1 => matches!(second, Some(0x80..=0xbf)),
        0xe0 => matches!(second, Some(0x80..=0x9f)),
        0xf0 => matches!(second, Some(0x80..=0x8f)),
        _ => false,
    }
}

/// A canonical path under construction at the end of `out`.
struct Path<'a> {
    /// Where the path begins in `out`.
    base: usize,
    /// Where the current segment begins in `out`, just behind a slash.
    segment: usize,
    out: &'a mut Vec<u8>,
}

impl Path<'_> {
    /// What the current segment is so far.
    fn segment(&self) -> &[u8] {
        self.out.get(self.segment..).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) -> Result<(), &'static Reason> {
        self.out.push(byte);
        // Judged on what comes out, so that `%25%32%46` is caught like `%252F`.
        if let [.., b'%', b'2', b'5', high, low] = self.segment()
            && hex_value(*high).is_some()
            && hex_value(*low).is_some()
        {
            return Err(&problem::PATH_DOUBLE_ENCODED);
        }
        Ok(())
    }

    fn push_encoded(&mut self, byte: u8) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or(b'0');
        self.out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
    }

    /// A slash came: settles the segment before it.
    fn end_segment(&mut self) -> Result<(), &'static Reason> {
        match self.segment() {
            b"" => {}
            b"." => self.out.truncate(self.segment),
            b".." => self.pop()?,
            _ => {
                self.out.push(b'/');
                self.segment = self.out.len();
            }
        }
        Ok(())
    }

    /// The path ended: settles its last segment.
    fn end(&mut self) -> Result<(), &'static Reason> {
        match self.segment() {
            b"." => self.out.truncate(self.segment),
            b".." => self.pop()?,
            _ => {}
        }
        Ok(())
    }

    /// Removes the current segment (`..`) and the one before it.
    fn pop(&mut self) -> Result<(), &'static Reason> {
        // The path so far is `/a/b/`; without its last slash, `b` begins behind the slash before that.
        let before = self.out.get(self.base..self.segment.saturating_sub(1)).unwrap_or_default();
        let Some(slash) = before.iter().rposition(|byte| *byte == b'/') else {
            return Err(&problem::PATH_ABOVE_ROOT);
        };
        self.segment = self.base + slash + 1;
        self.out.truncate(self.segment);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_canonical_path_from_any_other_spelling() {
        for path in ["/", "/a", "/a/", "/.well-known/a", "/a/..b", "/caf%C3%A9", "/a%20b", "/a%3Bb", "/~a"] {
            assert!(is_canonical(path), "{path}");
        }
        for path in [
            "",
            "a",
            "*",
            "http://a/b",
            "//a",
            "/a//b",
            "/a/./b",
            "/a/../b",
            "/..",
            "/a/.",
            "/%61",
            "/%2e%2e/a",
            "/a%2Fb",
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
            "/a;b=c",
            "/caf%c3%a9",
            "/café",
            "/a b",
            "/a%",
            "/a%zz",
            "/a%00",
            "/a%252Fb",
            "/[a]",
            "/a?b",
            "/a#b",
            "/%C0%AE",
        ] {
            assert!(!is_canonical(path), "{path}");
        }
    }
}
