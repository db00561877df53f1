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
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use pingora::{Error, ErrorType, OrErr, Result, http::RequestHeader};

use super::REFUSED;
use crate::{accept::Message, admit::waf::Inspection, context::Context, policy::Policy};

const HOP: HeaderName = HeaderName::from_static("x-gatehouse-hop");
/// The W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Turns the copy of the client's head into the head of the hand-off.
///
/// # Errors
///
/// The deadline has passed, or the request never came through [`crate::accept`], which cannot happen.
pub fn prepare(context: &mut Context, head: &mut RequestHeader) -> Result<()> {
    if let Some(inspection) = context.inspection.as_deref_mut().filter(|_| !context.attempt.is_fresh()) {
        inspection.restart();
    }
    let Some(arrival) = context.arrival.as_deref() else {
        return Error::e_explain(ErrorType::InternalError, "request without arrival");
    };
    // A reading of the clock costs as much as a header.
    let (now, unix_ms) = match context.attempt.is_fresh() {
        true => (context.now, context.started_unix_ms),
        false => (clock::now(), clock::unix_ms()),
    };
    let left = context.deadline.saturating_duration_since(now);
    if left.is_zero() {
        return Error::e_explain(ErrorType::ReadTimedout, "deadline passed before the request was handed on");
    }
    let message = &arrival.message;
    let policy = &arrival.policy.value;
    // Pingora asks with GET for an answer that it may keep.
    let hop = signed_hop(context, policy, message, &head.method, left, unix_ms)?;
    // Without the map of original spellings, which Pingora would otherwise keep in step with every change below.
    let blank = RequestHeader::from(http::Request::new(()).into_parts().0);
    let mut parts: http::request::Parts = std::mem::replace(head, blank).into();
    let headers = &mut parts.headers;
    let has_host = strip(headers, message.authority(), context.trace.as_ref());
    if context.drops_cookies {
        headers.remove(header::COOKIE);
    }
    headers.insert(HOP, hop);
    if !has_host {
        headers.insert(header::HOST, value_of(message.authority())?);
    }
    if policy.admission.waf().is_some_and(|waf| waf.looks_at_answers()) {
        // What is packed cannot be looked at.
        headers.remove(header::ACCEPT_ENCODING);
    }
    if let Some(trace) = &context.trace {
        headers.insert(TRACEPARENT, unindexed(value_of(trace.to_header().as_str())?));
    }
    *head = RequestHeader::from(parts);
    Ok(())
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
fn strip(headers: &mut HeaderMap, authority: &str, trace: Option<&TraceContext>) -> bool {
    let (mut has_host, mut has_another) = (false, false);
    let mut unwelcome: Vec<HeaderName> = Vec::new();
    for (name, value) in &*headers {
        if is_unwelcome(name, trace) {
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
        strip(&mut headers, "a.example", None);
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
            assert!(strip(&mut headers, "a.example", trace));
            assert_eq!(headers.len(), left);
            assert!(!strip(&mut headers, "b.example", trace));
        }
    }
}
