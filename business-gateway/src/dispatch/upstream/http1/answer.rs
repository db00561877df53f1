//! The head of an answer over HTTP/1.1: status, fields, and how its body is framed (RFC 9112 section 6).
//!
//! What could be read in two ways is refused: lengths that differ, codings nobody asked for. An answer with both a length and
//! chunks is read as chunks, as the RFC says, and its connection is not used again.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

use super::chunked::Decoder;

/// Bytes of a head.
pub const HEAD_MAX: usize = 64 * 1024;
/// Fields of a head.
const FIELDS_MAX: usize = 128;
/// Fields that the gate adds to an answer in the usual case: the result for the edge, where the caller stands with its limits (three
/// at most), and one more. With room for them from the start the fields need not be hashed and moved a second time.
const ADDED: usize = 5;

/// Why what a service sent is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnswer {
    /// Status line or fields are malformed, or there are more than 128 fields.
    #[error("the head of the answer is malformed")]
    Head(#[source] httparse::Error),
    /// The head is longer than [`HEAD_MAX`].
    #[error("the head of the answer is longer than 64 KiB")]
    HeadTooLong,
    /// A status outside of 100 to 999.
    #[error("the answer has a status that is none")]
    Status,
    /// Content-Length is not a number, or there are several that differ.
    #[error("the answer has no plain Content-Length")]
    Length,
    /// A transfer coding other than `chunked`.
    #[error("the answer has a transfer coding other than chunked")]
    Coding,
    /// Interim answers without end.
    #[error("the answer never comes after interim ones")]
    Interim,
    /// The size of a chunk, or what ends it, is malformed.
    #[error("a chunk of the answer is malformed")]
    Chunk,
    /// The fields after the last chunk are malformed, or too long.
    #[error("the trailers of the answer are malformed")]
    Trailers,
}

/// How what is left of a body is framed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framing {
    /// Nothing is left.
    Nothing,
    /// So many bytes; never 0.
    Length(u64),
    /// In chunks.
    Chunked(Decoder),
    /// Everything until the connection ends.
    ToTheEnd,
}

/// A head.
#[derive(Debug)]
pub struct AnswerHead {
    /// Status and fields.
    pub answer: Response<()>,
    /// The body that follows.
    pub framing: Framing,
    /// Whether the service lets the connection be used again.
    pub keeps: bool,
}

impl AnswerHead {
    /// Whether the real answer is still to come (RFC 9110 section 15.2). A change of protocol is an answer: what follows is no
    /// HTTP any more.
    #[must_use]
    pub fn is_interim(&self) -> bool {
        self.answer.status().is_informational() && self.answer.status() != StatusCode::SWITCHING_PROTOCOLS
    }
}

/// Whether what was added after the first `known` bytes may have brought the empty line that ends a head.
#[must_use]
pub fn may_end_after(bytes: &[u8], known: usize) -> bool {
    let added = bytes.get(known.saturating_sub(3)..).unwrap_or_default();
    let mut lines = added.split(|byte| *byte == b'\n');
    lines.next();
    // What stands between two line feeds is an empty line, or nothing is.
    let mut between = lines.peekable();
    while let Some(line) = between.next() {
        if between.peek().is_some() && matches!(line, b"" | b"\r") {
            return true;
        }
    }
    false
}

/// Reads the head at the beginning of `bytes`, the answer to a request of `method`. Returns how long it is, too; `None` when it
/// is not whole.
///
/// # Errors
/// [`InvalidAnswer`] when it will never be one.
pub fn parse(bytes: &[u8], method: &Method) -> Result<Option<(usize, AnswerHead)>, InvalidAnswer> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(InvalidAnswer::Head(error)),
    };
    if length > HEAD_MAX {
        return Err(InvalidAnswer::HeadTooLong);
    }
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(InvalidAnswer::Status)?;
    let is_http_1_1 = parsed.version == Some(1);
    // One copy for all values, which then share it.
    let copy = Bytes::copy_from_slice(bytes.get(..length).unwrap_or_default());
    let mut answer = Response::new(());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.reserve(parsed.headers.len() + ADDED);
    let (mut body_length, mut is_chunked, mut closes, mut keeps_alive) = (None, None, false, false);
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_error| HEADER_NAME)?;
        let start = field.value.as_ptr().addr() - bytes.as_ptr().addr();
        let value = HeaderValue::from_maybe_shared(copy.slice(start..start + field.value.len()));
        let value = value.map_err(|_error| HEADER_VALUE)?;
        if name == header::CONTENT_LENGTH {
            let said = content_length(field.value).ok_or(InvalidAnswer::Length)?;
            if body_length.replace(said).is_some_and(|before| before != said) {
                return Err(InvalidAnswer::Length);
            }
            headers.insert(name, value);
            continue;
        }
        if name == header::TRANSFER_ENCODING {
            is_chunked = Some(is_chunked.is_none() && field.value.eq_ignore_ascii_case(b"chunked"));
        } else if name == header::CONNECTION {
            closes |= has_token(field.value, b"close");
            keeps_alive |= has_token(field.value, b"keep-alive");
        }
        headers.append(name, value);
    }
    let mut keeps = !closes && (is_http_1_1 || keeps_alive);
    let has_no_body = *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framing = match (has_no_body, is_chunked, body_length) {
        (true, _, _) => Framing::Nothing,
        (false, Some(false), _) => return Err(InvalidAnswer::Coding),
        (false, Some(true), said) => {
            if said.is_some() {
                headers.remove(header::CONTENT_LENGTH);
            }
            keeps &= said.is_none() && is_http_1_1;
            Framing::Chunked(Decoder::new())
        }
        (false, None, Some(0)) => Framing::Nothing,
        (false, None, Some(length)) => Framing::Length(length),
        (false, None, None) => {
            keeps = false;
            Framing::ToTheEnd
        }
    };
    keeps &= status != StatusCode::SWITCHING_PROTOCOLS;
    Ok(Some((length, AnswerHead { answer, framing, keeps })))
}

const HEADER_NAME: InvalidAnswer = InvalidAnswer::Head(httparse::Error::HeaderName);
const HEADER_VALUE: InvalidAnswer = InvalidAnswer::Head(httparse::Error::HeaderValue);

/// The value of Content-Length: digits, or the same ones several times (RFC 9110 section 8.6).
fn content_length(value: &[u8]) -> Option<u64> {
    let mut all = value.split(|byte| *byte == b',').map(|digits| digits.trim_ascii());
    let first = number(all.next()?)?;
    all.all(|digits| number(digits) == Some(first)).then_some(first)
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(token))
}

/// The fields after the last chunk, without those that only a head may carry (RFC 9110 section 6.5.1).
pub(super) fn trailers(fields: &[httparse::Header<'_>]) -> Result<HeaderMap, InvalidAnswer> {
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_error| InvalidAnswer::Trailers)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_error| InvalidAnswer::Trailers)?;
        if may_be_trailer(&name) {
            trailers.append(name, value);
        }
    }
    Ok(trailers)
}

/// Whether a field may come after a body: none that frames or routes a message, or that decides about it.
pub(super) fn may_be_trailer(name: &HeaderName) -> bool {
    !matches!(
        *name,
        header::AUTHORIZATION
            | header::CACHE_CONTROL
            | header::CONNECTION
            | header::CONTENT_ENCODING
            | header::CONTENT_LENGTH
            | header::CONTENT_RANGE
            | header::CONTENT_TYPE
            | header::COOKIE
            | header::EXPECT
            | header::HOST
            | header::MAX_FORWARDS
            | header::PROXY_AUTHENTICATE
            | header::PROXY_AUTHORIZATION
            | header::RANGE
            | header::SET_COOKIE
            | header::TE
            | header::TRAILER
            | header::TRANSFER_ENCODING
            | header::UPGRADE
            | header::WWW_AUTHENTICATE
    ) && !gatehouse_shared::hop::is_internal(name.as_str())
}

#[cfg(test)]
mod tests;
