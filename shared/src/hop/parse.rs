//! Taking the hop header apart: strict, in the one order in which it is written.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Scheme, VerifiedHop};
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

/// The name of the key, from the start of the header.
pub(super) fn parse_key_id(signed: &str) -> Result<&str, HopError> {
    Cursor(signed).version_and_key()
}

/// Everything up to the signature, which has been verified.
pub(super) fn parse_fields(signed: &str) -> Result<VerifiedHop, HopError> {
    let mut cursor = Cursor(signed);
    cursor.version_and_key()?;
    cursor.take(", exp=")?;
    let expires_unix_ms = cursor.number()?;
    cursor.take(", rid=\"")?;
    let request_id = RequestId::parse(cursor.until_quote()?.as_bytes()).map_err(|_error| HopError::Malformed)?;
    cursor.take(", client=\"")?;
    let client: SocketAddr = cursor.until_quote()?.parse().map_err(|_error| HopError::Malformed)?;
    cursor.take(", scheme=")?;
    let scheme = if cursor.has("https") {
        Scheme::Https
    } else {
        cursor.take("http")?;
        Scheme::Http
    };
    let tls = cursor.optional(", tls=\"", Cursor::string)?;
    let subject = cursor.optional(", subject=%\"", Cursor::display_string)?;
    let fingerprint = cursor.optional(", fp=\"", Cursor::string)?;
    cursor.take(", path=\"")?;
    let path = cursor.string()?;
    cursor.take(", left=")?;
    let left = Duration::from_millis(cursor.number()?);
    cursor.take(", edge=\"")?;
    let edge = cursor.string()?;
    let held = cursor.has(", held");
    if !cursor.0.is_empty() {
        return Err(HopError::Malformed);
    }
    Ok(VerifiedHop { request_id, client, scheme, tls, subject, fingerprint, path, left, edge, expires_unix_ms, held })
}

/// What is left to read; all of it is ASCII.
struct Cursor<'t>(&'t str);

impl<'t> Cursor<'t> {
    fn version_and_key(&mut self) -> Result<&'t str, HopError> {
        self.take("v=")?;
        if self.number()? != u64::from(super::VERSION) {
            return Err(HopError::Version);
        }
        self.take(", kid=\"")?;
        self.until_quote()
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

    fn optional(
        &mut self,
        start: &str,
        value: impl FnOnce(&mut Self) -> Result<Box<str>, HopError>,
    ) -> Result<Option<Box<str>>, HopError> {
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
