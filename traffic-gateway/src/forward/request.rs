//! The head that tier two receives, made from the client's.
//!
//! What a client can write and tier two would believe is removed first: the `x-gatehouse-` family in every spelling,
//! every forwarding header, Expect (answered here) and, over HTTP/2, what belongs to one connection. Then our own facts
//! are put on: the signed hop, which says who is calling, how, and under which request id, and the trace context. Tier two
//! makes the forwarding headers of a service from the hop, and from nothing else. The raw target and the original
//! authority stay as they are, because clients sign them.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use gatehouse_shared::{
    clock,
    hop::{self, Hop, Scheme},
    id::TraceContext,
    message::forwarding::is_forwarding,
    problem,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header, uri::PathAndQuery};
use pingora::{Error, ErrorType, OrErr, Result, http::RequestHeader, proxy::Session};

use super::REFUSED;
use crate::{
    accept::Message,
    admit::{Denial, waf::Inspection},
    context::Context,
    policy::Policy,
};

const HOP: HeaderName = HeaderName::from_static("x-gatehouse-hop");
/// The W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Turns the copy of the client's head into the head of the hand-off, for Pingora to send.
///
/// # Errors
///
/// The deadline has passed, or the request never came through [`crate::accept`], which cannot happen.
pub fn prepare(context: &mut Context, head: &mut RequestHeader) -> Result<()> {
    // Without the map of original spellings, which Pingora would otherwise keep in step with every change below.
    let blank = RequestHeader::from(http::Request::new(()).into_parts().0);
    let mut parts: http::request::Parts = std::mem::replace(head, blank).into();
    let has_host = dress(context, &parts.method, &mut parts.headers, |_, _| false)?.has_host;
    if let (false, Some(arrival)) = (has_host, context.arrival.as_deref()) {
        parts.headers.insert(header::HOST, value_of(arrival.message.authority())?);
    }
    *head = RequestHeader::from(parts);
    Ok(())
}

/// The head of the hand-off over h2c, made of the client's, and the time that is left for its answer.
///
/// # Errors
///
/// As [`prepare`].
pub fn for_h2c(context: &mut Context, head: &RequestHeader) -> Result<(http::Request<()>, Duration)> {
    let mut request = http::Request::new(());
    *request.method_mut() = head.method.clone();
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = head.headers.clone();
    // A client of HTTP/2 has nothing to say of its connection, but that it takes trailers.
    let is_http2 = head.version == Version::HTTP_2;
    let is_of_connection = |name: &HeaderName, value: &HeaderValue| match *name == header::TE {
        true => !is_http2 || value.as_bytes() != b"trailers",
        false => is_of_connection(name),
    };
    let left = dress(context, &head.method, request.headers_mut(), is_of_connection)?.left;
    if let Some(arrival) = context.arrival.as_deref() {
        *request.uri_mut() = target_of_h2c(&arrival.message, head)?;
    }
    Ok((request, left))
}

fn target_of_h2c(message: &Message, head: &RequestHeader) -> Result<Uri> {
    let raw = message.raw_target();
    let parsed = head.uri.path_and_query().filter(|_| raw.starts_with('/') || raw == "*");
    let target = match parsed {
        Some(parsed) => Ok(parsed.clone()),
        None => PathAndQuery::try_from(&*target_of(message)),
    };
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(http::uri::Scheme::HTTP);
    parts.authority = Some(message.authority().parse().or_err(ErrorType::InternalError, "not an authority")?);
    parts.path_and_query = Some(target.or_err(ErrorType::InternalError, "not a target")?);
    Uri::from_parts(parts).or_err(ErrorType::InternalError, "not a target of HTTP/2")
}

/// What is known of a head that was made ready.
struct Dressed {
    /// There is a Host, and none that says anything but the authority.
    has_host: bool,
    /// The time left for the answer.
    left: Duration,
}

/// Takes off what a client must not say to tier two, with what `is_of_connection` names, and puts on what we say.
fn dress(
    context: &mut Context,
    method: &Method,
    headers: &mut HeaderMap,
    is_of_connection: impl Fn(&HeaderName, &HeaderValue) -> bool,
) -> Result<Dressed> {
    if let Some(inspection) = context.inspection.as_deref_mut().filter(|_| !context.attempt.is_fresh()) {
        inspection.restart();
    }
    // A reading of the clock costs as much as a header.
    let (now, unix_ms) = match context.attempt.is_fresh() {
        true => (context.now, context.started_unix_ms),
        false => (clock::now(), clock::unix_ms()),
    };
    let left = context.deadline.saturating_duration_since(now);
    if left.is_zero() {
        context.outcome.denial = Some(Denial::from(&problem::DEADLINE_EXCEEDED));
        return Error::e_explain(ErrorType::HTTPStatus(504), "deadline passed before the request was handed on");
    }
    let Some(arrival) = context.arrival.as_deref() else {
        return Error::e_explain(ErrorType::InternalError, "request without arrival");
    };
    let message = &arrival.message;
    let policy = &arrival.policy.value;
    // Pingora asks with GET for an answer that it may keep.
    let hop = signed_hop(context, policy, message, method, left, unix_ms)?;
    let has_host = strip(headers, message.authority(), context.trace.as_ref(), is_of_connection);
    if context.drops_cookies {
        headers.remove(header::COOKIE);
    }
    headers.insert(HOP, hop);
    if policy.admission.waf().is_some_and(|waf| waf.looks_at_answers()) {
        // What is packed cannot be looked at.
        headers.remove(header::ACCEPT_ENCODING);
    }
    if let Some(trace) = &context.trace {
        headers.insert(TRACEPARENT, unindexed(value_of(trace.to_header().as_str())?));
    }
    Ok(Dressed { has_host, left })
}

/// What [`crate::accept`] bounds of a piece of a body: that it is not too much.
///
/// # Errors
///
/// The body is longer than bodies may be.
pub fn bound(context: &Context, session: &Session, is_end: bool) -> Result<()> {
    context.arrival.as_deref().map_or(Ok(()), |arrival| arrival.bound_body(session, is_end))
}

/// Lets a piece of a request's body go on, as far as it may.
///
/// # Errors
///
/// The body is too long, or the rules refuse it; the denial waits in the context to be answered.
pub async fn pass(context: &mut Context, session: &Session, body: &mut Option<Bytes>, is_end: bool) -> Result<()> {
    bound(context, session, is_end)?;
    hold(context, body, is_end).await?;
    hand_on(context, body, is_end);
    Ok(())
}

/// A piece of a request's body goes on.
pub fn hand_on(context: &mut Context, body: &mut Option<Bytes>, is_end: bool) {
    if is_end {
        // Pingora writes an empty piece as a last chunk, and then the last chunk: the second one would be read as the
        // beginning of the next request on the connection.
        body.take_if(|piece| piece.is_empty());
    }
    if is_end && context.has_body() {
        let now = clock::now();
        context.outcome.body_handed_on = Some(now);
        context.attempt.body_sent(now);
    }
}

/// Lets of a piece of the body go on what the rules have judged.
///
/// # Errors
///
/// They refuse the request; the denial waits in the context to be answered.
pub async fn hold(context: &mut Context, body: &mut Option<Bytes>, is_end: bool) -> Result<()> {
    let Some(inspection) = context.inspection.as_deref_mut() else { return Ok(()) };
    let Err(denial) = inspection.filter(body, is_end).await else { return Ok(()) };
    context.outcome.denial = Some(denial);
    Err(Error::new_down(REFUSED))
}

fn signed_hop(
    context: &Context,
    policy: &Policy,
    message: &Message,
    method: &Method,
    left: Duration,
    unix_ms: u64,
) -> Result<HeaderValue> {
    let connection = context.connection();
    let tls = connection.and_then(|connection| connection.tls.as_deref());
    let certificate = tls.and_then(|tls| tls.client.as_ref());
    let hop = Hop {
        request_id: context.request_id,
        client: context.client,
        scheme: if tls.is_some() { Scheme::Https } else { Scheme::Http },
        tls: tls.map(|tls| tls.version),
        subject: certificate.map(|certificate| &*certificate.subject),
        fingerprint: certificate.map(|certificate| &*certificate.fingerprint),
        path: message.canonical_path(),
        left,
        edge: &policy.node,
        held: context.inspection.as_deref().is_some_and(Inspection::holds_body),
    };
    let text = policy.hop.sign(&hop, method.as_str(), message.authority(), &target_of(message), unix_ms);
    HeaderValue::try_from(text).map(unindexed).or_err(ErrorType::InternalError, "hop is not a header value")
}

/// The target in the form that both hand-off protocols carry: origin-form or `*`. Absolute-form is cut to what follows
/// the authority, byte for byte.
fn target_of(message: &Message) -> Cow<'_, str> {
    let raw = message.raw_target();
    if raw.starts_with('/') || raw == "*" {
        return Cow::Borrowed(raw);
    }
    let rest = raw.split_once("://").map_or(raw, |(_, rest)| rest);
    match rest.find(['/', '?']).and_then(|start| rest.get(start..)) {
        None => Cow::Borrowed("/"),
        Some(path) if path.starts_with('/') => Cow::Borrowed(path),
        Some(query) => Cow::Owned(format!("/{query}")),
    }
}

/// Removes what a client must not be able to say to tier two, and what belongs to its connection, in one look at each name.
/// Returns whether there is a Host, and none that says anything but `authority`.
fn strip(
    headers: &mut HeaderMap,
    authority: &str,
    trace: Option<&TraceContext>,
    is_of_connection: impl Fn(&HeaderName, &HeaderValue) -> bool,
) -> bool {
    let (mut has_host, mut has_another) = (false, false);
    let mut unwelcome: Vec<HeaderName> = Vec::new();
    for (name, value) in &*headers {
        if is_unwelcome(name, trace) || is_of_connection(name, value) {
            unwelcome.push(name.clone());
        } else if *name == header::HOST {
            has_host = true;
            has_another |= value.as_bytes() != authority.as_bytes();
        }
    }
    for name in unwelcome {
        headers.remove(name);
    }
    has_host && !has_another
}

/// Most names are settled by their first letter. A trace that is not continued must not be taken for one that is.
fn is_unwelcome(name: &HeaderName, trace: Option<&TraceContext>) -> bool {
    let text = name.as_str();
    match text.as_bytes().first() {
        Some(b'x') => hop::is_internal(text) || is_forwarding(text),
        Some(b'c') => *name == header::CONNECTION || is_forwarding(text),
        Some(b'f') => is_forwarding(text),
        Some(b't') => is_forwarding(text) || (trace.is_none() && (*name == TRACEPARENT || *name == TRACESTATE)),
        Some(b'e') => *name == header::EXPECT,
        Some(b'u') => *name == header::UPGRADE,
        _ => false,
    }
}

/// What HTTP/1 says about a connection besides `Connection`, `Upgrade` and TE, and the host, which HTTP/2 says otherwise.
fn is_of_connection(name: &HeaderName) -> bool {
    let text = name.as_str();
    match text.as_bytes().first() {
        Some(b'h') => *name == header::HOST || text == "http2-settings",
        Some(b'k') => text == "keep-alive",
        Some(b'p') => {
            text == "proxy-connection" || *name == header::PROXY_AUTHENTICATE || *name == header::PROXY_AUTHORIZATION
        }
        Some(b't') => *name == header::TRAILER || *name == header::TRANSFER_ENCODING,
        _ => false,
    }
}

/// A value that no other request has: HTTP/2 then does not push values out of its table that others do have.
#[must_use]
pub fn unindexed(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

fn value_of(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).or_err(ErrorType::InternalError, "not a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_the_hop_family_in_every_spelling() {
        let mut headers = HeaderMap::new();
        for name in ["x-gatehouse-hop", "x_gatehouse_hop", "x-gatehouse_result", "x-gatehouse-anything", "expect"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("spoofed"));
        }
        headers.insert("x-gate", HeaderValue::from_static("kept"));
        strip(&mut headers, "a.example", None, |_, _| false);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-gate"]);
    }

    #[test]
    fn a_trace_is_kept_only_where_it_is_continued() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = TraceContext::continue_from(parent.as_bytes()).unwrap();
        for (trace, left) in [(None, 1), (Some(&trace), 4)] {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT, parent.parse().unwrap());
            headers.append(TRACESTATE, HeaderValue::from_static("a=1"));
            headers.append(TRACESTATE, HeaderValue::from_static("b=2"));
            headers.insert("host", HeaderValue::from_static("a.example"));
            assert!(strip(&mut headers, "a.example", trace, |_, _| false));
            assert_eq!(headers.len(), left);
            assert!(!strip(&mut headers, "b.example", trace, |_, _| false));
        }
    }
}
