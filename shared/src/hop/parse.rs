//! Taking the hop header apart: strict, in the one order in which its version is written.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use super::{LIFETIME_MS, Scheme, VerifiedHop, path_of};
use crate::id::RequestId;
use crate::problem::{self, Reason};

/// Why a hop is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HopError {
    /// Not what the protocol defines.
    #[error("malformed hop")]
    Malformed,
    /// A version this tier does not speak.
    #[error("hop of an unsupported version")]
    Version,
    /// Signed with a key that is not live here.
    #[error("hop signed with an unknown key")]
    UnknownKey,
    /// The signature does not match the request.
    #[error("hop with a wrong signature")]
    Signature,
    /// Older than its lifetime and the allowed skew.
    #[error("expired hop")]
    Expired,
    /// Further in the future than its lifetime and the allowed skew.
    #[error("hop from the future")]
    FromTheFuture,
}

impl HopError {
    /// What the client is told.
    #[must_use]
    pub fn reason(self) -> &'static Reason {
        match self {
            HopError::Malformed | HopError::Version => &problem::HOP_MALFORMED,
            HopError::UnknownKey => &problem::HOP_KEY_UNKNOWN,
            HopError::Signature => &problem::HOP_INVALID,
            HopError::Expired | HopError::FromTheFuture => &problem::HOP_EXPIRED,
        }
    }
}

/// What a hop begins with: its version and the name of its key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening<'t> {
    pub(super) version: Version,
    pub(super) key_id: &'t str,
    /// Where the other fields begin.
    pub(super) length: usize,
}

/// The versions that are read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Version {
    /// The one of edges that are not upgraded yet.
    One,
    Two,
}

impl Version {
    /// What stands between the fields and the signature.
    pub(super) const fn signature_start(self) -> &'static str {
        match self {
            Self::One => ", sig=:",
            Self::Two => ",sig=:",
        }
    }

    /// Bytes of the signature.
    pub(super) const fn signature_bytes(self) -> usize {
        match self {
            Self::One => 32,
            Self::Two => 16,
        }
    }

    /// Characters of the header from the start of the signature on: its bytes in base64 with padding, and a colon.
    pub(super) const fn signature_length(self) -> usize {
        self.signature_start().len() + self.signature_bytes().div_ceil(3) * 4 + 1
    }
}

/// Reads what the header begins with.
pub(super) fn parse_opening(text: &str) -> Result<Opening<'_>, HopError> {
    let mut cursor = Cursor(text);
    cursor.take("v=")?;
    let (version, next) = match cursor.number()? {
        1 => (Version::One, ", kid=\""),
        2 => (Version::Two, ",kid=\""),
        _ => return Err(HopError::Version),
    };
    cursor.take(next)?;
    let key_id = cursor.until_quote()?;
    Ok(Opening { version, key_id, length: text.len() - cursor.0.len() })
}

/// Everything after the opening and up to the signature, which has been verified.
pub(super) fn parse_fields(version: Version, fields: &str, raw_target: &str) -> Result<VerifiedHop, HopError> {
    let mut cursor = Cursor(fields);
    let hop = match version {
        Version::One => cursor.first_version(),
        Version::Two => cursor.second_version(raw_target),
    }?;
    if cursor.0.is_empty() { Ok(hop) } else { Err(HopError::Malformed) }
}

/// What is left to read; all of it is ASCII.
struct Cursor<'t>(&'t str);

impl<'t> Cursor<'t> {
    fn first_version(&mut self) -> Result<VerifiedHop, HopError> {
        self.take(", exp=")?;
        let expires_unix_ms = self.number()?;
        self.take(", rid=\"")?;
        let request_id = self.request_id()?;
        self.take(", client=\"")?;
        let client = self.address()?;
        self.take(", scheme=")?;
        let scheme = if self.has("https") {
            Scheme::Https
        } else {
            self.take("http")?;
            Scheme::Http
        };
        let tls = self.optional(", tls=\"", Cursor::string)?;
        let subject = self.optional(", subject=%\"", Cursor::display_string)?;
        let fingerprint = self.optional(", fp=\"", Cursor::string)?;
        self.take(", path=\"")?;
        let path = self.string()?;
        self.take(", left=")?;
        let left = Duration::from_millis(self.number()?);
        self.take(", edge=\"")?;
        let edge = self.string()?;
        let held = self.has(", held");
        Ok(VerifiedHop {
            request_id,
            client,
            scheme,
            tls,
            subject,
            fingerprint,
            path,
            left,
            edge,
            expires_unix_ms,
            held,
        })
    }

    fn second_version(&mut self, raw_target: &str) -> Result<VerifiedHop, HopError> {
        self.take(",rid=\"")?;
        let request_id = self.request_id()?;
        let age_ms = self.optional(",age=", Cursor::number)?.unwrap_or_default();
        let signed_unix_ms = request_id.unix_ms().saturating_add(age_ms);
        self.take(",client=\"")?;
        let client = self.address()?;
        let scheme = if self.has(",https") { Scheme::Https } else { Scheme::Http };
        let tls = self.optional(",tls=\"", Cursor::string)?;
        let subject = self.optional(",subject=%\"", Cursor::display_string)?;
        let fingerprint = self.optional(",fp=\"", Cursor::string)?;
        let path = self.optional(",path=\"", Cursor::string)?.unwrap_or_else(|| path_of(raw_target).into());
        self.take(",left=")?;
        let left = Duration::from_millis(self.number()?);
        self.take(",edge=\"")?;
        let edge = self.string()?;
        let held = self.has(",held");
        let expires_unix_ms = signed_unix_ms.saturating_add(LIFETIME_MS);
        Ok(VerifiedHop {
            request_id,
            client,
            scheme,
            tls,
            subject,
            fingerprint,
            path,
            left,
            edge,
            expires_unix_ms,
            held,
        })
    }

    fn request_id(&mut self) -> Result<RequestId, HopError> {
        RequestId::parse(self.until_quote()?.as_bytes()).map_err(|_error| HopError::Malformed)
    }

    fn address(&mut self) -> Result<SocketAddr, HopError> {
        self.until_quote()?.parse().map_err(|_error| HopError::Malformed)
    }

    /// Whether the text goes on like this; if so, it is taken.
    fn has(&mut self, text: &str) -> bool {
        match self.0.strip_prefix(text) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn take(&mut self, text: &str) -> Result<(), HopError> {
        if self.has(text) { Ok(()) } else { Err(HopError::Malformed) }
    }

    /// What comes before the next quote, which is taken, too.
    fn until_quote(&mut self) -> Result<&'t str, HopError> {
        // The texts are short: looking at each byte is quicker than preparing a search.
        let end = self.0.bytes().position(|byte| byte == b'"').ok_or(HopError::Malformed)?;
        let (before, after) = self.0.split_at_checked(end).ok_or(HopError::Malformed)?;
        self.0 = after.strip_prefix('"').ok_or(HopError::Malformed)?;
        Ok(before)
    }

    /// Decimal digits, at most 15 as RFC 9651 allows, no leading zero.
    fn number(&mut self) -> Result<u64, HopError> {
        let length = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at_checked(length).ok_or(HopError::Malformed)?;
        if length > 15 || (length > 1 && digits.starts_with('0')) {
            return Err(HopError::Malformed);
        }
        self.0 = rest;
        digits.parse().map_err(|_error| HopError::Malformed)
    }

    fn optional<T>(
        &mut self,
        start: &str,
        value: impl FnOnce(&mut Self) -> Result<T, HopError>,
    ) -> Result<Option<T>, HopError> {
        if self.has(start) { value(self).map(Some) } else { Ok(None) }
    }

    /// A quoted string whose opening quote has been taken.
    fn string(&mut self) -> Result<Box<str>, HopError> {
        let mut bytes = self.0.bytes().enumerate();
        let mut is_escaped = false;
        let end = loop {
            match bytes.next().ok_or(HopError::Malformed)? {
                (end, b'"') => break end,
                (_, b'\\') => match bytes.next() {
                    Some((_, b'"' | b'\\')) => is_escaped = true,
                    _ => return Err(HopError::Malformed),
                },
                (_, b' '..=b'~') => {}
                _ => return Err(HopError::Malformed),
            }
        };
        let (text, rest) = self.0.split_at_checked(end).ok_or(HopError::Malformed)?;
        self.0 = rest.strip_prefix('"').ok_or(HopError::Malformed)?;
        let text = if is_escaped { Cow::Owned(unescaped(text)) } else { Cow::Borrowed(text) };
        Ok(text.into())
    }

    /// A display string whose opening quote has been taken.
    fn display_string(&mut self) -> Result<Box<str>, HopError> {
        let text = self.until_quote()?;
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            match byte {
                b'%' => {
                    let high = rest.next().and_then(hex_digit).ok_or(HopError::Malformed)?;
                    let low = rest.next().and_then(hex_digit).ok_or(HopError::Malformed)?;
                    bytes.push(high << 4 | low);
                }
                b' '..=b'~' => bytes.push(byte),
                _ => return Err(HopError::Malformed),
            }
        }
        String::from_utf8(bytes).map(String::into_boxed_str).map_err(|_error| HopError::Malformed)
    }
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        plain.push(if c == '\\' { characters.next().unwrap_or(c) } else { c });
    }
    plain
}

/// Lower case only, as RFC 9651 demands.
fn hex_digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}
