//! The request as a service gets it: what is taken away, what is added, and which target it has.
//!
//! Taken away: hop-by-hop headers (RFC 9110 section 7.6.1), everything of the `x-gatehouse-` family. Added: `x-request-id`,
//! who calls (`x-gatehouse-app`, `-scheme`, `-user`, `-scopes`), `traceparent` with a span of this tier, and before every try `x-request-deadline-ms`. `X-Forwarded-For`, `-Proto`, `-Host`
//! and `X-Real-IP` are made from the hop, so that a service believes nothing that was not signed; `Host` is the authority
//! that the client named. In between the API may change path, query, header fields and host ([`super::rewrite`]).

use std::borrow::Cow;

use gatehouse_shared::hop::{self, VerifiedHop};
use gatehouse_shared::telemetry::access_log::push_ip;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Uri, Version};

use super::rewrite::Rewrite;
use super::upstream::pool::Protocol;
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

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// Headers put on by [`rewrite`] and [`super`].
const OWN_HEADERS: usize = 11;

const HOP: HeaderName = HeaderName::from_static(hop::HOP_HEADER);

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

/// Rewrites the head of a request for a service that speaks `protocol`.
///
/// # Errors
/// When the target cannot be expressed.
pub fn rewrite(
    parts: &mut Parts,
    notes: &Notes<'_>,
    protocol: Protocol,
    body_length: Option<u64>,
) -> Result<(), TargetError> {
    let from_http2 = parts.version == Version::HTTP_2;
    let wants_trailers = parts.headers.get(header::TE).is_some_and(|value| value.as_bytes() == b"trailers");
    strip(&mut parts.headers);
    if from_http2 {
        join_cookies(&mut parts.headers);
    }
    let mut target = target(&mut parts.uri, notes)?;
    if let Some(rewrite) = notes.rewrite {
        target = rewrite.apply(target, &parts.method, &mut parts.headers, notes)?;
    }
    let host = notes.rewrite.and_then(Rewrite::host);
    match protocol {
        Protocol::Http1 => {
            parts.version = Version::HTTP_11;
            parts.uri = Uri::from(target);
            if !parts.headers.contains_key(header::HOST)
                && let Ok(host) = HeaderValue::from_str(notes.authority)
            {
                parts.headers.insert(header::HOST, host);
            }
            // hyper takes a GET without a length for one without a body; with this it frames every body there is.
            if body_length.is_none() && !parts.headers.contains_key(header::CONTENT_LENGTH) {
                parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
        }
        Protocol::H2c => {
            parts.version = Version::HTTP_2;
            parts.headers.remove(header::HOST);
            if wants_trailers {
                parts.headers.insert(header::TE, HeaderValue::from_static("trailers"));
            }
            let authority: Authority = match host {
                Some(host) => host.authority.clone(),
                None => {
                    let parsed = notes.authority.parse();
                    parsed.map_err(|error: http::uri::InvalidUri| TargetError::Authority(error.into()))?
                }
            };
            let uri = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(target).build();
            parts.uri = uri.map_err(TargetError::Authority)?;
        }
    }
    parts.headers.reserve(OWN_HEADERS);
    introduce(&mut parts.headers, notes);
    if let (Some(host), Protocol::Http1) = (host, protocol) {
        parts.headers.insert(header::HOST, host.header.clone());
    }
    name(&mut parts.headers, notes.caller);
    set(&mut parts.headers, REQUEST_ID_HEADER, notes.hop.request_id.as_str());
    set(&mut parts.headers, TRACEPARENT_HEADER, notes.traceparent);
    Ok(())
}

/// Says where the call came from, by the headers that services know. Nothing is left of what a client may have written there.
fn introduce(headers: &mut HeaderMap, notes: &Notes<'_>) {
    let mut client = String::with_capacity("255.255.255.255".len());
    push_ip(&mut client, notes.hop.client.ip());
    if let Ok(client) = HeaderValue::try_from(client) {
        headers.insert(FORWARDED_FOR, client.clone());
        headers.insert(REAL_IP, client);
    }
    let host = match headers.get(header::HOST) {
        Some(host) => Some(host.clone()),
        None => HeaderValue::from_str(notes.authority).ok(),
    };
    if let Some(host) = host {
        headers.insert(FORWARDED_HOST, host);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(notes.hop.scheme.as_str()));
}

/// Says who calls, as it was proven. [`strip`] has removed whatever a client may have written there.
fn name(headers: &mut HeaderMap, caller: &Caller) {
    let Some(app) = &caller.app else { return };
    set(headers, APP_HEADER, &app.key);
    if let Some(scheme) = caller.scheme {
        headers.insert(SCHEME_HEADER, HeaderValue::from_static(scheme.as_str()));
    }
    if let Some(user) = &caller.user {
        set(headers, USER_HEADER, &visible(user));
    }
    if let Some(scopes) = caller.scopes.as_deref().filter(|scopes| !scopes.is_empty()) {
        let scopes: Vec<_> = scopes.iter().map(|scope| visible(scope)).collect();
        set(headers, SCOPES_HEADER, &scopes.join(" "));
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

/// Removes what belongs to one connection or to the tiers only.
pub fn strip(headers: &mut HeaderMap) {
    // There in every request, so the list below is usually empty.
    headers.remove(HOP);
    let mut doomed: Vec<HeaderName> = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        let tokens = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let names = tokens.filter_map(|token| HeaderName::from_bytes(token).ok());
        doomed.extend(names.filter(|name| !is_end_to_end(name)));
    }
    doomed.extend(headers.keys().filter(|name| must_go(name)).cloned());
    for name in doomed {
        headers.remove(name);
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

fn target(uri: &mut Uri, notes: &Notes<'_>) -> Result<PathAndQuery, TargetError> {
    let is_canonical = uri.path() == &*notes.hop.path;
    let written = std::mem::take(uri).into_parts().path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
    if is_canonical || notes.path_to_service == PathToService::Raw {
        return Ok(written);
    }
    let rewritten = match written.query() {
        Some(query) => format!("{}?{query}", notes.hop.path),
        None => notes.hop.path.to_string(),
    };
    PathAndQuery::from_maybe_shared(bytes::Bytes::from(rewritten)).map_err(TargetError::Path)
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if headers.get(&name).is_some_and(|known| known.as_bytes() == value.as_bytes()) {
        return;
    }
    if let Ok(mut value) = HeaderValue::from_str(value) {
        // No other request has it, so HTTP/2 need not keep it in its table.
        value.set_sensitive(true);
        headers.insert(name, value);
    }
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
        rewrite(&mut parts, &notes(&hop()), Protocol::Http1, Some(0)).unwrap();
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
        rewrite(&mut canonical, &notes(&hop()), Protocol::Http1, Some(0)).unwrap();
        assert_eq!(canonical.uri, "/a/b?c=%41");
        let mut raw = parts("/a/./b?c=%41", Version::HTTP_11, &[]);
        rewrite(&mut raw, &Notes { path_to_service: PathToService::Raw, ..notes(&hop()) }, Protocol::Http1, Some(0))
            .unwrap();
        assert_eq!(raw.uri, "/a/./b?c=%41");
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
        rewrite(&mut parts, &notes(&hop()), Protocol::Http1, None).unwrap();
        assert_eq!((parts.version, parts.uri.to_string().as_str()), (Version::HTTP_11, "/a/b?c"));
        assert_eq!(parts.headers[header::HOST], "shop.example");
        assert_eq!(parts.headers[header::TRANSFER_ENCODING], "chunked");
        let cookies: Vec<_> = parts.headers.get_all(header::COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn an_http2_service_gets_the_authority_and_may_send_trailers() {
        let mut parts = parts("/a/b", Version::HTTP_11, &[("host", "shop.example"), ("te", "trailers")]);
        rewrite(&mut parts, &notes(&hop()), Protocol::H2c, None).unwrap();
        assert_eq!((parts.version, parts.uri.to_string().as_str()), (Version::HTTP_2, "http://shop.example/a/b"));
        assert!(!parts.headers.contains_key(header::HOST));
        assert_eq!(parts.headers[header::TE], "trailers");
        assert!(!parts.headers.contains_key(header::TRANSFER_ENCODING));
    }
}
