//! Strict HTTP: judges one request head and says what it means, once, for every later stage.
//!
//! Decides what RFC 9112 leaves to the recipient in the strict way: whatever two parsers could read differently is refused,
//! each time with a reason of its own. The order of checks follows the head from its first byte to its last. What it
//! does not decide: how long the head may take (`head`), what the body looks like on the wire (`wire`), who may ask for
//! what (later steps).

use std::net::SocketAddr;
use std::ops::Range;

use gatehouse_shared::message::bytes::{are_value, is_query, is_token, trim};
use gatehouse_shared::message::path::canonicalise;
use gatehouse_shared::problem::{self, Reason};
use http::Method;
use memchr::memchr;
use pingora::http::RequestHeader;

use super::authority::host_length;
use super::config::Bounds;
use super::field::{Known, Seen, asks_for_upgrade, check_connection, content_length, known};

/// How a request's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// Exactly this many bytes, at least one.
    Length(u64),
    /// Of unknown length: chunked on HTTP/1, without Content-Length on HTTP/2.
    Chunked,
}

/// One well-formed request head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The method, one of the configured ones.
    pub method: Method,
    /// How the body is framed.
    pub body: Body,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the client asks for another protocol (anything but cleartext HTTP/2) on this connection.
    pub upgrade: bool,
    text: Text,
}

/// All texts of a message in one allocation: raw target, then authority, then what differs from them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Text {
    bytes: Box<str>,
    target: Span,
    path: Span,
    canonical: Span,
    query: Option<Span>,
    authority: Span,
    host: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

impl Message {
    /// The request target as it was sent, byte for byte: what clients sign and what travels on.
    #[must_use]
    pub fn raw_target(&self) -> &str {
        self.text.at(self.text.target)
    }

    /// The path part of the target as it was sent.
    #[must_use]
    pub fn raw_path(&self) -> &str {
        self.text.at(self.text.path)
    }

    /// The one path that routing, permission and every rule look at; `*` for an asterisk-form target.
    #[must_use]
    pub fn canonical_path(&self) -> &str {
        self.text.at(self.text.canonical)
    }

    /// The query as it was sent, without its `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.text.query.map(|span| self.text.at(span))
    }

    /// The authority as it was sent. A HTTP/1.0 request without Host has the address it was sent to.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.text.at(self.text.authority)
    }

    /// The host part of the authority for comparing: lower case, without port and without a final dot.
    #[must_use]
    pub fn host(&self) -> &str {
        self.text.at(self.text.host)
    }
}

impl Text {
    fn at(&self, span: Span) -> &str {
        self.bytes.get(span.start as usize..span.end as usize).unwrap_or_default()
    }
}

/// A judged HTTP/1 head.
#[derive(Debug)]
pub(super) struct Head1 {
    pub(super) message: Message,
    /// A HTTP/1.0 request without Host: Pingora has to be given one.
    pub(super) lacks_host: bool,
}

/// Judges a complete HTTP/1 head, its final empty line included; `local` is the authority of last resort.
///
/// # Errors
/// The reason to refuse it for; the connection must be closed, because where the message ends is no longer certain.
pub(super) fn http1(head: &[u8], bounds: &Bounds, local: SocketAddr) -> Result<Head1, &'static Reason> {
    let mut lines = Lines { rest: head };
    let first = lines.next()?;
    if first.is_empty() {
        return Err(&problem::LEADING_EMPTY_LINES);
    }
    let line = RequestLine::parse(first, bounds)?;
    let fields = Fields::parse(&mut lines, bounds)?;
    let method = accepted_method(line.method, bounds)?;

    let chunked = match fields.transfer_encoding {
        None => false,
        Some(_) if fields.content_length.is_some() => return Err(&problem::FRAMING_CONFLICT),
        Some(_) if line.is_http10 => return Err(&problem::TRANSFER_ENCODING_HTTP10),
        Some(value) if value.eq_ignore_ascii_case(b"chunked") => true,
        Some(_) => return Err(&problem::TRANSFER_ENCODING_INVALID),
    };
    let body = match fields.content_length.map(content_length).transpose()? {
        Some(length) if length > bounds.body_max => return Err(&problem::BODY_TOO_LARGE),
        Some(0) | None if !chunked => Body::None,
        Some(length) => Body::Length(length),
        None => Body::Chunked,
    };
    let upgrade = fields.upgrade;
    if upgrade && body != Body::None {
        return Err(&problem::UPGRADE_WITH_BODY);
    }
    if fields.expects && !fields.expects_continue {
        return Err(&problem::EXPECTATION_UNSUPPORTED);
    }
    let lacks_host = fields.host.is_none() && line.is_http10;
    let fallback = if lacks_host { local.to_string() } else { String::new() };
    let authority = match fields.host {
        Some(host) => host,
        None if lacks_host => fallback.as_bytes(),
        None => return Err(&problem::HOST_MISSING),
    };
    let text = text(line.target, &method, authority, bounds)?;
    let expects_continue = fields.expects_continue && !line.is_http10 && body != Body::None;
    Ok(Head1 { message: Message { method, body, expects_continue, upgrade, text }, lacks_host })
}

/// Judges the fields of an HTTP/2 request that the protocol library has accepted; `has_body` is whether the stream is
/// still open on the client's side.
///
/// # Errors
/// The reason to refuse it for; only this stream is concerned.
pub(super) fn http2(request: &RequestHeader, has_body: bool, bounds: &Bounds) -> Result<Message, &'static Reason> {
    let mut count = 0_usize;
    let mut seen = Seen::default();
    let mut host = None;
    let mut length = None;
    let mut expects_continue = false;
    for (name, value) in &request.headers {
        count += 1;
        if count > bounds.fields_max {
            return Err(&problem::TOO_MANY_FIELDS);
        }
        let name = name.as_str().as_bytes();
        if !bounds.header_underscores && name.contains(&b'_') {
            return Err(&problem::HEADER_NAME_UNDERSCORE);
        }
        let value = value.as_bytes();
        if !are_value(value) {
            return Err(&problem::CONTROL_BYTE);
        }
        if trim(value).len() < value.len() {
            return Err(&problem::HEADER_VALUE_PADDED);
        }
        let Some(field) = known(name) else { continue };
        seen.once(field)?;
        match field {
            Known::Host => host = Some(value),
            Known::ContentLength => length = Some(content_length(value)?),
            Known::Expect if value.eq_ignore_ascii_case(b"100-continue") => expects_continue = true,
            Known::Expect => return Err(&problem::EXPECTATION_UNSUPPORTED),
            // The protocol library refuses them; nothing of theirs may pass in any case (RFC 9113, 8.2.2).
            Known::TransferEncoding | Known::Connection | Known::Upgrade => {
                return Err(&problem::CONNECTION_HEADER_FORBIDDEN);
            }
            Known::Single(_) => {}
        }
    }
    let method = accepted_method(request.method.as_str().as_bytes(), bounds)?;
    let authority = match (request.uri.authority(), host) {
        (Some(authority), Some(host)) if authority.as_str().as_bytes() != host => return Err(&problem::HOST_CONFLICT),
        (Some(authority), _) => authority.as_str().as_bytes(),
        (None, Some(host)) => host,
        (None, None) => return Err(&problem::HOST_MISSING),
    };
    let body = match (has_body, length) {
        (_, Some(length)) if length > bounds.body_max => return Err(&problem::BODY_TOO_LARGE),
        (false, None | Some(0)) => Body::None,
        (false, Some(_)) => return Err(&problem::CONTENT_LENGTH_MISMATCH),
        (true, Some(0)) => Body::None,
        (true, Some(length)) => Body::Length(length),
        (true, None) => Body::Chunked,
    };
    let target = request.raw_path();
    if target.len() > bounds.target_max {
        return Err(&problem::TARGET_TOO_LONG);
    }
    if !matches!(target, [b'/', ..] | b"*") {
        return Err(&problem::TARGET_FORM_INVALID);
    }
    let text = text(target, &method, authority, bounds)?;
    Ok(Message { method, body, expects_continue: expects_continue && body != Body::None, upgrade: false, text })
}

fn accepted_method(method: &[u8], bounds: &Bounds) -> Result<Method, &'static Reason> {
    let accepted = bounds.methods.iter().find(|accepted| accepted.as_str().as_bytes() == method);
    match accepted {
        Some(method) => Ok(method.clone()),
        None if method == b"CONNECT" => Err(&problem::CONNECT_UNSUPPORTED),
        None => Err(&problem::METHOD_NOT_ALLOWED),
    }
}

/// The lines of a head, each ended by CR LF and by nothing else.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<&'a [u8], &'static Reason> {
        let end = memchr(b'\n', self.rest).ok_or(&problem::HEADER_INVALID)?;
        let (line, rest) = self.rest.split_at_checked(end + 1).ok_or(&problem::HEADER_INVALID)?;
        self.rest = rest;
        match line {
            [line @ .., b'\r', b'\n'] => Ok(line),
            _ => Err(&problem::BARE_LINE_FEED),
        }
    }
}

struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    is_http10: bool,
}

impl<'a> RequestLine<'a> {
    /// `METHOD SP TARGET SP VERSION`, one space each.
    fn parse(line: &'a [u8], bounds: &Bounds) -> Result<Self, &'static Reason> {
        let (method, rest) = split_at_space(line).ok_or(&problem::REQUEST_LINE_INVALID)?;
        if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
            return Err(&problem::METHOD_INVALID);
        }
        let (target, version) = split_at_space(rest).ok_or(&problem::REQUEST_LINE_INVALID)?;
        if target.is_empty() {
            return Err(&problem::REQUEST_LINE_INVALID);
        }
        if target.len() > bounds.target_max {
            return Err(&problem::TARGET_TOO_LONG);
        }
        if line.contains(&b'\r') {
            return Err(&problem::BARE_CARRIAGE_RETURN);
        }
        let is_http10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
                return Err(&problem::VERSION_UNSUPPORTED);
            }
            _ if version.contains(&b' ') => return Err(&problem::REQUEST_LINE_INVALID),
            _ => return Err(&problem::VERSION_INVALID),
        };
        Ok(Self { method, target, is_http10 })
    }
}

fn split_at_space(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = memchr(b' ', bytes)?;
    Some((bytes.get(..space)?, bytes.get(space + 1..)?))
}

/// What the field lines of a head say.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    transfer_encoding: Option<&'a [u8]>,
    upgrade: bool,
    expects: bool,
    expects_continue: bool,
}

impl<'a> Fields<'a> {
    fn parse(lines: &mut Lines<'a>, bounds: &Bounds) -> Result<Self, &'static Reason> {
        let mut fields = Self::default();
        let mut seen = Seen::default();
        let mut count = 0_usize;
        loop {
            let line = lines.next()?;
            if line.is_empty() {
                break;
            }
            count += 1;
            if count > bounds.fields_max {
                return Err(&problem::TOO_MANY_FIELDS);
            }
            let (name, value) = field_line(line, bounds.header_underscores)?;
            let Some(field) = known(name) else { continue };
            seen.once(field)?;
            match field {
                Known::Host => fields.host = Some(value),
                Known::ContentLength => fields.content_length = Some(value),
                Known::TransferEncoding => fields.transfer_encoding = Some(value),
                Known::Connection => check_connection(value)?,
                Known::Upgrade => fields.upgrade |= asks_for_upgrade(value),
                Known::Expect => {
                    fields.expects = true;
                    fields.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
                }
                Known::Single(_) => {}
            }
        }
        if lines.rest.is_empty() { Ok(fields) } else { Err(&problem::HEADER_INVALID) }
    }
}

/// Splits one field line; the value comes without the white space around it. Also judges trailers.
pub(super) fn field_line(line: &[u8], underscores: bool) -> Result<(&[u8], &[u8]), &'static Reason> {
    if let [b' ' | b'\t', ..] = line {
        return Err(&problem::HEADER_FOLDED);
    }
    let length = line.iter().position(|byte| !is_token(*byte)).ok_or(&problem::HEADER_COLON_MISSING)?;
    let (name, rest) = line.split_at_checked(length).ok_or(&problem::HEADER_NAME_INVALID)?;
    let value = match rest {
        [b':', value @ ..] if !name.is_empty() => value,
        [b' ' | b'\t', ..] if !name.is_empty() => return Err(space_behind_name(rest)),
        [b'\r', ..] => return Err(&problem::BARE_CARRIAGE_RETURN),
        _ => return Err(&problem::HEADER_NAME_INVALID),
    };
    if !underscores && name.contains(&b'_') {
        return Err(&problem::HEADER_NAME_UNDERSCORE);
    }
    if are_value(value) {
        Ok((name, trim(value)))
    } else if value.contains(&b'\r') {
        Err(&problem::BARE_CARRIAGE_RETURN)
    } else {
        Err(&problem::CONTROL_BYTE)
    }
}

/// A name is followed by white space: is there a colon behind it?
fn space_behind_name(rest: &[u8]) -> &'static Reason {
    if trim(rest).first() == Some(&b':') { &problem::HEADER_SPACE_BEFORE_COLON } else { &problem::HEADER_NAME_INVALID }
}

/// Where the parts of a target lie in it.
struct TargetParts {
    authority: Option<Range<usize>>,
    path: Range<usize>,
    query: Option<Range<usize>>,
}

fn target_parts(target: &[u8]) -> Result<TargetParts, &'static Reason> {
    if target.contains(&b'#') {
        return Err(&problem::TARGET_FRAGMENT);
    }
    if target == b"*" {
        return Ok(TargetParts { authority: None, path: 0..1, query: None });
    }
    let (authority, start) = if target.first() == Some(&b'/') {
        (None, 0)
    } else {
        let scheme = [b"http://".as_slice(), b"https://"]
            .into_iter()
            .find(|scheme| target.get(..scheme.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(scheme)))
            .ok_or(&problem::TARGET_FORM_INVALID)?;
        let rest = target.get(scheme.len()..).unwrap_or_default();
        let length = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        (Some(scheme.len()..scheme.len() + length), scheme.len() + length)
    };
    let question = target.iter().position(|byte| *byte == b'?');
    let query = question.map(|question| question + 1..target.len());
    if let Some(query) = &query
        && !target.get(query.clone()).unwrap_or_default().iter().all(|byte| is_query(*byte))
    {
        return Err(&problem::TARGET_INVALID);
    }
    Ok(TargetParts { authority, path: start..question.unwrap_or(target.len()), query })
}

/// Builds the texts of a message and judges target and authority on the way.
fn text(target: &[u8], method: &Method, authority: &[u8], bounds: &Bounds) -> Result<Text, &'static Reason> {
    let parts = target_parts(target)?;
    if let Some(range) = &parts.authority {
        let stated = target.get(range.clone()).unwrap_or_default();
        host_length(stated)?;
        if stated != authority {
            return Err(&problem::HOST_CONFLICT);
        }
    }
    let host_length = host_length(authority)?;
    let path = target.get(parts.path.clone()).unwrap_or_default();
    let mut bytes = Vec::with_capacity(target.len() + authority.len());
    bytes.extend_from_slice(target);
    bytes.extend_from_slice(authority);

    let path_span = span(parts.path);
    let start = bytes.len();
    let canonical = if path == b"*" {
        if *method != Method::OPTIONS {
            return Err(&problem::TARGET_FORM_INVALID);
        }
        path_span
    } else if path.is_empty() {
        bytes.push(b'/');
        span(start..start + 1)
    } else if canonicalise(path, bounds.encoded_slash, &mut bytes)? {
        span(start..bytes.len())
    } else {
        path_span
    };
    let host = authority.get(..host_length).unwrap_or_default();
    let host = host.strip_suffix(b".").unwrap_or(host);
    let host_start = if host.iter().any(u8::is_ascii_uppercase) {
        let start = bytes.len();
        bytes.extend(host.iter().map(u8::to_ascii_lowercase));
        start
    } else {
        target.len()
    };
    // Everything in here was found to be ASCII above: path, query, scheme and authority each by its own set.
    let bytes = String::from_utf8(bytes).map_err(|_not_ascii| &problem::TARGET_INVALID)?.into_boxed_str();
    Ok(Text {
        bytes,
        target: span(0..target.len()),
        path: path_span,
        canonical,
        query: parts.query.map(span),
        authority: span(target.len()..target.len() + authority.len()),
        host: span(host_start..host_start + host.len()),
    })
}

/// Texts are bounded by the head's size, far below 4 GiB.
fn span(range: Range<usize>) -> Span {
    let narrow = |position: usize| u32::try_from(position).unwrap_or(u32::MAX);
    Span { start: narrow(range.start), end: narrow(range.end) }
}

#[cfg(test)]
#[path = "normalize_tests.rs"]
mod tests;
