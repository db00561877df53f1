//! The request as a service gets it: what is taken away, what is added, and which target it has.
//!
//! Taken away: hop-by-hop headers (RFC 9110 section 7.6.1), everything of the `x-gatehouse-` family. Added: `x-request-id`,
//! who calls (`x-gatehouse-app`, `-scheme`, `-user`, `-scopes`), `traceparent` with a span of this tier, and before every try `x-request-deadline-ms`. `X-Forwarded-For`, `-Proto`, `-Host`
//! and `X-Real-IP` are made from the hop, so that a service believes nothing that was not signed; `Host` is the authority
//! that the client named. In between the API may change path, query, header fields and host ([`super::rewrite`]).

mod sink;

use std::borrow::Cow;

use gatehouse_shared::hop::{self, VerifiedHop};
use gatehouse_shared::telemetry::access_log::push_ip;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Uri, Version};

use self::sink::{Sink, Text};
use super::rewrite::Rewrite;
use super::upstream::pool::Protocol;
use super::upstream::{Form, Head, Http1Head};
use crate::admit::api::PathToService;
use crate::admit::caller::Caller;

/// Milliseconds that the service may still use.
pub const DEADLINE_HEADER: HeaderName = HeaderName::from_static("x-request-deadline-ms");
/// The request id.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// W3C trace context.
pub const TRACEPARENT_HEADER: HeaderName = HeaderName::from_static("traceparent");

/// The application that calls.
pub const APP_HEADER: HeaderName = HeaderName::from_static("x-gatehouse-app");
/// The scheme in which it has proven itself.
pub const SCHEME_HEADER: HeaderName = HeaderName::from_static("x-gatehouse-scheme");
/// The user it acts for.
pub const USER_HEADER: HeaderName = HeaderName::from_static("x-gatehouse-user");
/// What the user or the issuer of a token allows, with spaces in between.
pub const SCOPES_HEADER: HeaderName = HeaderName::from_static("x-gatehouse-scopes");

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// Headers put on by [`rewrite`] and [`super`].
const OWN_HEADERS: usize = 11;

/// Why a request cannot be written down for a service.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The canonical path of the hop is not a path.
    #[error("the canonical path is not a request target")]
    Path(#[source] http::uri::InvalidUri),
    /// The authority cannot be sent over HTTP/2.
    #[error("the authority is not valid")]
    Authority(#[source] http::Error),
    /// What the API makes of the path is none.
    #[error("the rewritten path is not a path")]
    Rewritten,
}

/// What a service is told beside the request itself.
#[derive(Debug, Clone, Copy)]
pub struct Notes<'a> {
    /// The authority that the client named.
    pub authority: &'a str,
    /// What the edge says of the call.
    pub hop: &'a VerifiedHop,
    /// Who calls.
    pub caller: &'a Caller,
    /// Which of the two paths the service wants.
    pub path_to_service: PathToService,
    /// What the API changes of it.
    pub rewrite: Option<&'a Rewrite>,
    /// The trace, with this tier's span as the parent.
    pub traceparent: &'a str,
}

/// Header fields of a branch, which replace what the call says under the same names; none of them is one of the tiers' own.
pub type Marks<'a> = &'a [(HeaderName, HeaderValue)];

/// Writes the head of a request for a service that speaks `protocol`. `parts` are changed where the API says so, and no more.
///
/// # Errors
/// When the target cannot be expressed.
pub fn head(
    parts: &mut Parts,
    notes: &Notes<'_>,
    protocol: Protocol,
    body_length: Option<u64>,
    marks: Marks<'_>,
) -> Result<Head, TargetError> {
    let method = parts.method.clone();
    let rewritten = rewrite(parts, notes)?;
    let target = rewritten.map_or_else(|| target(&parts.uri, notes), |target| Ok(Cow::Owned(target)))?;
    let form = match protocol {
        Protocol::Http1 => {
            let mut text = Text::begin(&method, &target);
            fields(parts, notes, protocol, body_length, marks, &mut text);
            Form::Http1(Http1Head { text: text.into_bytes(), body_length })
        }
        Protocol::H2c => {
            let (mut sent, ()) = Request::new(()).into_parts();
            sent.version = Version::HTTP_2;
            sent.uri = http2_uri(target.into_owned(), notes)?;
            fields(parts, notes, protocol, body_length, marks, &mut sent.headers);
            sent.method = method.clone();
            Form::Http2(Box::new(sent))
        }
    };
    Ok(Head { method, form })
}

/// The same as [`head`], as one sees it: `parts` become what the service gets.
///
/// # Errors
/// When the target cannot be expressed.
pub fn show(
    parts: &mut Parts,
    notes: &Notes<'_>,
    protocol: Protocol,
    body_length: Option<u64>,
    marks: Marks<'_>,
) -> Result<(), TargetError> {
    let rewritten = rewrite(parts, notes)?;
    let target = rewritten.map_or_else(|| target(&parts.uri, notes), |target| Ok(Cow::Owned(target)))?.into_owned();
    let mut sent = HeaderMap::new();
    fields(parts, notes, protocol, body_length, marks, &mut sent);
    parts.headers = sent;
    (parts.version, parts.uri) = match protocol {
        Protocol::Http1 => (Version::HTTP_11, Uri::from(target)),
        Protocol::H2c => (Version::HTTP_2, http2_uri(target, notes)?),
    };
    Ok(())
}

/// What the API changes of a request; returns the target that it makes of it.
fn rewrite(parts: &mut Parts, notes: &Notes<'_>) -> Result<Option<PathAndQuery>, TargetError> {
    let Some(rewrite) = notes.rewrite else { return Ok(None) };
    strip(&mut parts.headers);
    if parts.version == Version::HTTP_2 {
        join_cookies(&mut parts.headers);
    }
    let target = target(&parts.uri, notes)?.into_owned();
    rewrite.apply(target, &parts.method, &mut parts.headers, notes).map(Some)
}

/// Gives `sink` the fields of a request, one after the other: those of the client that may pass, and what is said of it here.
fn fields<S: Sink>(
    parts: &Parts,
    notes: &Notes<'_>,
    protocol: Protocol,
    body_length: Option<u64>,
    marks: Marks<'_>,
    sink: &mut S,
) {
    let headers = &parts.headers;
    sink.reserve(headers.len() + OWN_HEADERS);
    let client_host = headers.get(header::HOST);
    if protocol == Protocol::Http1 {
        match (notes.rewrite.and_then(Rewrite::host), client_host) {
            (Some(host), _) => sink.value(&header::HOST, &host.header),
            (None, Some(host)) => sink.value(&header::HOST, host),
            (None, None) => sink.text(&header::HOST, notes.authority),
        }
    }
    let named = named_by_connection(headers);
    let joins_cookies = parts.version == Version::HTTP_2;
    let (mut has_cookies, mut client_length) = (false, None);
    for (name, value) in headers {
        let is_replaced = || marks.iter().any(|(mark, _)| mark == name);
        if stays_here(name) {
            if *name == header::CONTENT_LENGTH {
                client_length = Some(value);
            }
            continue;
        }
        if named.contains(name) || is_replaced() {
            continue;
        }
        if joins_cookies && *name == header::COOKIE {
            // The values of one name come one after the other.
            if !std::mem::replace(&mut has_cookies, true) {
                sink.joined(name, headers.get_all(name).iter());
            }
            continue;
        }
        sink.value(name, value);
    }
    frame(parts, protocol, client_length, body_length, sink);
    introduce(client_host, notes, sink);
    name(notes.caller, sink);
    sink.plain(&REQUEST_ID_HEADER, notes.hop.request_id.as_bytes());
    sink.plain(&TRACEPARENT_HEADER, notes.traceparent.as_bytes());
    for (name, value) in marks {
        sink.value(name, value);
    }
}

/// Says how the body is framed, and which trailers are welcome.
fn frame<S: Sink>(
    parts: &Parts,
    protocol: Protocol,
    client_length: Option<&HeaderValue>,
    body_length: Option<u64>,
    sink: &mut S,
) {
    match body_length {
        Some(0) => {
            // RFC 9110 section 8.6: methods that usually have a body say that there is none.
            let wants_body = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
            let is_said = protocol == Protocol::Http1 && wants_body;
            if is_said || client_length.is_some() {
                sink.number(&header::CONTENT_LENGTH, 0);
            }
        }
        Some(length) => sink.number(&header::CONTENT_LENGTH, length),
        None if protocol == Protocol::Http1 => sink.fixed(&header::TRANSFER_ENCODING, "chunked"),
        None => {}
    }
    let wants_trailers = || parts.headers.get(header::TE).is_some_and(|value| value.as_bytes() == b"trailers");
    if protocol == Protocol::H2c && wants_trailers() {
        sink.fixed(&header::TE, "trailers");
    }
}

/// Says where the call came from, by the headers that services know. Nothing is left of what a client may have written there.
fn introduce<S: Sink>(client_host: Option<&HeaderValue>, notes: &Notes<'_>, sink: &mut S) {
    let mut client = String::with_capacity("255.255.255.255".len());
    push_ip(&mut client, notes.hop.client.ip());
    sink.plain(&FORWARDED_FOR, client.as_bytes());
    sink.plain(&REAL_IP, client.as_bytes());
    match client_host {
        Some(host) => sink.value(&FORWARDED_HOST, host),
        None => sink.text(&FORWARDED_HOST, notes.authority),
    }
    sink.fixed(&FORWARDED_PROTO, notes.hop.scheme.as_str());
}

/// Says who calls, as it was proven. Nothing is left of what a client may have written there.
fn name<S: Sink>(caller: &Caller, sink: &mut S) {
    let Some(app) = &caller.app else { return };
    sink.text(&APP_HEADER, &app.key);
    if let Some(scheme) = caller.scheme {
        sink.fixed(&SCHEME_HEADER, scheme.as_str());
    }
    if let Some(user) = &caller.user {
        sink.text(&USER_HEADER, &visible(user));
    }
    if let Some(scopes) = caller.scopes.as_deref().filter(|scopes| !scopes.is_empty()) {
        let scopes: Vec<_> = scopes.iter().map(|scope| visible(scope)).collect();
        sink.text(&SCOPES_HEADER, &scopes.join(" "));
    }
}

/// The text with everything percent-encoded that cannot stand in a header or would end a word of a list, and `%` itself.
fn visible(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| matches!(byte, b'!'..=b'~') && byte != b'%';
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match is_plain(byte) {
            true => encoded.push(char::from(byte)),
            false => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    Cow::Owned(encoded)
}

/// Removes what belongs to one connection or to the tiers only. To look at every name costs less than to hash one that is rarely
/// there.
pub fn strip(headers: &mut HeaderMap) {
    let mut doomed = named_by_connection(headers);
    doomed.extend(headers.keys().filter(|name| must_go(name)).cloned());
    for name in doomed {
        headers.remove(name);
    }
}

/// What `Connection` names, as far as it can be taken away.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut named = Vec::new();
    if !headers.keys().any(|name| *name == header::CONNECTION) {
        return named;
    }
    for value in headers.get_all(header::CONNECTION) {
        let tokens = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let names = tokens.filter_map(|token| HeaderName::from_bytes(token).ok());
        named.extend(names.filter(|name| !is_end_to_end(name)));
    }
    named
}

/// Whether a header of a request is not copied: it belongs to one connection or to the tiers, or is said anew here.
fn stays_here(name: &HeaderName) -> bool {
    if must_go(name) {
        return true;
    }
    let name = name.as_str();
    match name.as_bytes().first() {
        Some(b'c') => name == "content-length",
        Some(b'h') => name == "host",
        Some(b't') => name == "traceparent",
        Some(b'x') => matches!(
            name,
            "x-forwarded-for"
                | "x-forwarded-host"
                | "x-forwarded-proto"
                | "x-real-ip"
                | "x-request-id"
                | "x-request-deadline-ms"
        ),
        _ => false,
    }
}

/// Whether a header belongs to one connection or to the tiers. Most names are told apart by their first letter.
fn must_go(name: &HeaderName) -> bool {
    let name = name.as_str();
    match name.as_bytes().first() {
        Some(b'c') => name == "connection",
        Some(b'k') => name == "keep-alive",
        Some(b'p') => matches!(name, "proxy-connection" | "proxy-authenticate" | "proxy-authorization"),
        Some(b't') => matches!(name, "te" | "transfer-encoding"),
        Some(b'u') => name == "upgrade",
        Some(b'x') => hop::is_internal(name),
        _ => false,
    }
}

/// What nobody can take away by naming it in `Connection` (RFC 9110 section 7.6.1 forbids to name end-to-end headers there).
fn is_end_to_end(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded-")
        || matches!(
            name,
            "host" | "content-length" | "content-type" | "authorization" | "cookie" | "set-cookie" | "cache-control"
        )
        || matches!(name, "forwarded" | "x-real-ip" | "x-request-id" | "traceparent" | "tracestate")
}

/// RFC 9113 section 8.2.3: HTTP/2 may split cookies, HTTP/1 may not.
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        headers.insert(header::COOKIE, joined);
    }
}

/// The target: as it was written, or with the canonical path.
fn target<'a>(uri: &'a Uri, notes: &Notes<'_>) -> Result<Cow<'a, PathAndQuery>, TargetError> {
    let is_canonical = uri.path() == &*notes.hop.path;
    if is_canonical || notes.path_to_service == PathToService::Raw {
        let written = uri.path_and_query().map(Cow::Borrowed);
        return Ok(written.unwrap_or_else(|| Cow::Owned(PathAndQuery::from_static("/"))));
    }
    let rewritten = match uri.query() {
        Some(query) => format!("{}?{query}", notes.hop.path),
        None => notes.hop.path.to_string(),
    };
    PathAndQuery::from_maybe_shared(bytes::Bytes::from(rewritten)).map(Cow::Owned).map_err(TargetError::Path)
}

/// The target over HTTP/2: with the host that the service is asked for.
fn http2_uri(target: PathAndQuery, notes: &Notes<'_>) -> Result<Uri, TargetError> {
    let authority: Authority = match notes.rewrite.and_then(Rewrite::host) {
        Some(host) => host.authority.clone(),
        None => {
            let parsed = notes.authority.parse();
            parsed.map_err(|error: http::uri::InvalidUri| TargetError::Authority(error.into()))?
        }
    };
    let uri = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(target).build();
    uri.map_err(TargetError::Authority)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gatehouse_shared::id::RequestId;
    use http::Request;

    use super::*;

    fn parts(uri: &str, version: Version, headers: &[(&'static str, &'static str)]) -> Parts {
        let mut request = Request::builder().uri(uri).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn hop() -> VerifiedHop {
        VerifiedHop {
            request_id: RequestId::new(0),
            client: "[2001:db8::7]:4711".parse().unwrap(),
            scheme: hop::Scheme::Https,
            tls: None,
            subject: None,
            fingerprint: None,
            path: "/a/b".into(),
            left: Duration::from_secs(1),
            edge: "edge".into(),
            expires_unix_ms: 0,
            held: false,
        }
    }

    fn notes(hop: &VerifiedHop) -> Notes<'_> {
        const NOBODY: &Caller = &Caller { app: None, scheme: None, user: None, scopes: None };
        Notes {
            authority: "shop.example",
            hop,
            caller: NOBODY,
            path_to_service: PathToService::Canonical,
            rewrite: None,
            traceparent: "00-1-2-00",
        }
    }

    #[test]
    fn takes_away_what_belongs_to_a_connection_or_to_the_tiers() {
        let mut parts = parts(
            "/a/b?c=d",
            Version::HTTP_11,
            &[
                ("host", "shop.example"),
                ("connection", "close, X-Private, x-forwarded-for"),
                ("x-private", "1"),
                ("keep-alive", "timeout=5"),
                ("te", "trailers"),
                ("upgrade", "websocket"),
                ("x-gatehouse-hop", "x"),
                ("x-gatehouse-anything", "x"),
                ("x-forwarded-for", "203.0.113.9"),
                ("authorization", "Bearer x"),
            ],
        );
        show(&mut parts, &notes(&hop()), Protocol::Http1, Some(0), &[]).unwrap();
        let mut names: Vec<&str> = parts.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let forwarding = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];
        let mut expected = [&["authorization", "host", "traceparent"], &forwarding[..], &["x-request-id"]].concat();
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(parts.headers["x-forwarded-for"], "2001:db8::7");
        assert_eq!(parts.headers["x-real-ip"], "2001:db8::7");
        assert_eq!(parts.headers["x-forwarded-host"], "shop.example");
        assert_eq!(parts.headers["x-forwarded-proto"], "https");
        assert_eq!(parts.uri, "/a/b?c=d");
    }

    #[test]
    fn the_service_gets_the_canonical_path_unless_it_wants_the_raw_one() {
        let mut canonical = parts("/a/./b?c=%41", Version::HTTP_11, &[]);
        show(&mut canonical, &notes(&hop()), Protocol::Http1, Some(0), &[]).unwrap();
        assert_eq!(canonical.uri, "/a/b?c=%41");
        let mut raw = parts("/a/./b?c=%41", Version::HTTP_11, &[]);
        show(&mut raw, &Notes { path_to_service: PathToService::Raw, ..notes(&hop()) }, Protocol::Http1, Some(0), &[])
            .unwrap();
        assert_eq!(raw.uri, "/a/./b?c=%41");
    }

    #[test]
    fn an_empty_body_is_announced_where_the_caller_does_or_usually_would() {
        let length = |parts: &mut Parts| {
            show(parts, &notes(&hop()), Protocol::Http1, Some(0), &[]).unwrap();
            parts.headers.get(header::CONTENT_LENGTH).cloned()
        };
        assert_eq!(length(&mut parts("/a/b", Version::HTTP_11, &[])), None);
        assert_eq!(length(&mut parts("/a/b", Version::HTTP_11, &[("content-length", "0")])).unwrap(), "0");
        let mut post = parts("/a/b", Version::HTTP_11, &[]);
        post.method = Method::POST;
        assert_eq!(length(&mut post).unwrap(), "0");
    }

    #[test]
    fn the_text_of_a_head_has_what_a_map_has() {
        let mut parts = parts("/a/b?c", Version::HTTP_11, &[("host", "shop.example"), ("accept", "*/*")]);
        let head = head(&mut parts, &notes(&hop()), Protocol::Http1, Some(120), &[]).unwrap();
        let Form::Http1(head) = head.form else { panic!("not HTTP/1.1") };
        let text = format!(
            "GET /a/b?c HTTP/1.1\r\nhost: shop.example\r\naccept: */*\r\ncontent-length: 120\r\n\
             x-forwarded-for: 2001:db8::7\r\nx-real-ip: 2001:db8::7\r\nx-forwarded-host: shop.example\r\n\
             x-forwarded-proto: https\r\nx-request-id: {}\r\ntraceparent: 00-1-2-00\r\n",
            hop().request_id
        );
        let without_id = |text: &str| text.lines().filter(|line| !line.starts_with("x-request-id")).collect::<String>();
        assert_eq!(without_id(std::str::from_utf8(&head.text).unwrap()), without_id(&text));
    }

    #[test]
    fn text_of_users_becomes_one_word_of_a_header() {
        for (text, expected) in [("alice@shop", "alice@shop"), ("a b", "a%20b"), ("50%", "50%25"), ("ü\n", "%C3%BC%0A")]
        {
            assert_eq!(visible(text), expected);
        }
    }

    #[test]
    fn turns_http2_back_into_http1() {
        let mut parts = parts(
            "http://shop.example/a/b?c",
            Version::HTTP_2,
            &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")],
        );
        show(&mut parts, &notes(&hop()), Protocol::Http1, None, &[]).unwrap();
        assert_eq!((parts.version, parts.uri.to_string().as_str()), (Version::HTTP_11, "/a/b?c"));
        assert_eq!(parts.headers[header::HOST], "shop.example");
        assert_eq!(parts.headers[header::TRANSFER_ENCODING], "chunked");
        let cookies: Vec<_> = parts.headers.get_all(header::COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn an_http2_service_gets_the_authority_and_may_send_trailers() {
        let mut parts = parts("/a/b", Version::HTTP_11, &[("host", "shop.example"), ("te", "trailers")]);
        show(&mut parts, &notes(&hop()), Protocol::H2c, None, &[]).unwrap();
        assert_eq!((parts.version, parts.uri.to_string().as_str()), (Version::HTTP_2, "http://shop.example/a/b"));
        assert!(!parts.headers.contains_key(header::HOST));
        assert_eq!(parts.headers[header::TE], "trailers");
        assert!(!parts.headers.contains_key(header::TRANSFER_ENCODING));
    }
}
