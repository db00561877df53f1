//! The head that tier two receives, made from the client's.
//!
//! What a client can write and tier two would believe is removed first: the `x-gatehouse-` family in every spelling,
//! every forwarding header, Expect (answered here) and, over HTTP/2, what belongs to one connection. Then our own facts
//! are put on: the signed hop, the request id, the trace context and the forwarding headers. The raw target and the
//! original authority stay as they are, because clients sign them.

use std::{borrow::Cow, time::Duration};

use gatehouse_shared::{
    clock,
    hop::{self, Hop, Scheme},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use pingora::{Error, ErrorType, OkOrErr, OrErr, Result, http::RequestHeader};

use crate::{accept::Message, answer::REQUEST_ID, context::Context, policy::Policy};

const HOP: HeaderName = HeaderName::from_static("x-gatehouse-hop");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Turns the copy of the client's head into the head of the hand-off.
///
/// # Errors
///
/// The deadline has passed, or the request never came through [`crate::accept`], which cannot happen.
pub fn prepare(context: &mut Context, head: &mut RequestHeader) -> Result<()> {
    let arrival = context.arrival.as_deref().or_err(ErrorType::InternalError, "request without arrival")?;
    let left = context.deadline.saturating_duration_since(clock::now());
    if left.is_zero() {
        return Error::e_explain(ErrorType::ReadTimedout, "deadline passed before the request was handed on");
    }
    let message = &arrival.message;
    let hop = signed_hop(context, &arrival.policy.value, message, left)?;
    // Without the map of original spellings, which Pingora would otherwise keep in step with every change below.
    let blank = RequestHeader::build_no_case(Method::GET, b"/", Some(0))?;
    let mut parts: http::request::Parts = std::mem::replace(head, blank).into();
    strip(&mut parts.headers);
    let headers = &mut parts.headers;
    headers.insert(HOP, hop);
    let host = match headers.get(header::HOST) {
        Some(host) if host.as_bytes() == message.authority().as_bytes() => host.clone(),
        _ => value_of(message.authority())?,
    };
    headers.insert(FORWARDED_HOST, host.clone());
    headers.insert(header::HOST, host);
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme_name(context)));
    let client = context.client_address_value()?;
    headers.insert(FORWARDED_FOR, client.clone());
    headers.insert(REAL_IP, client);
    headers.insert(REQUEST_ID, context.id_value());
    if let Some(trace) = &context.trace {
        if !trace.is_continued() {
            headers.remove(TRACESTATE);
        }
        headers.insert(TRACEPARENT, value_of(trace.to_header().as_str())?);
    }
    *head = RequestHeader::from(parts);
    Ok(())
}

fn signed_hop(context: &Context, policy: &Policy, message: &Message, left: Duration) -> Result<HeaderValue> {
    let now = clock::unix_ms();
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
        held: false,
    };
    let text = policy.hop.sign(&hop, message.method.as_str(), message.authority(), &target_of(message), now);
    HeaderValue::try_from(text).or_err(ErrorType::InternalError, "hop is not a header value")
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

/// Removes what a client must not be able to say to tier two.
fn strip(headers: &mut HeaderMap) {
    let is_unwelcome = |name: &&HeaderName| hop::is_internal(name.as_str()) || is_forwarding(name.as_str());
    let unwelcome: Vec<HeaderName> = headers.keys().filter(is_unwelcome).cloned().collect();
    for name in unwelcome {
        headers.remove(name);
    }
    for name in [header::EXPECT, header::CONNECTION, header::UPGRADE] {
        headers.remove(name);
    }
}

/// The headers by which proxies tell where a request came from, `_` counting as `-`.
fn is_forwarding(name: &str) -> bool {
    const PREFIX: &str = "x-forwarded-";
    let is_like = |other: &str| {
        name.len() == other.len()
            && name
                .bytes()
                .zip(other.bytes())
                .all(|(byte, expected)| byte == expected || (byte == b'_' && expected == b'-'))
    };
    name.starts_with(['x', 'f', 'c', 't'])
        && (name.get(..PREFIX.len()).is_some_and(|start| {
            start
                .bytes()
                .zip(PREFIX.bytes())
                .all(|(byte, expected)| byte == expected || (byte == b'_' && expected == b'-'))
        }) || [
            "forwarded",
            "x-forwarded",
            "x-real-ip",
            "x-client-ip",
            "x-cluster-client-ip",
            "client-ip",
            "true-client-ip",
        ]
        .iter()
        .any(|other| is_like(other)))
}

fn scheme_name(context: &Context) -> &'static str {
    if context.connection().is_some_and(crate::accept::Connection::is_tls) { "https" } else { "http" }
}

fn value_of(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).or_err(ErrorType::InternalError, "not a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_forwarding_headers_in_both_spellings() {
        for name in
            ["forwarded", "x-forwarded-for", "x_forwarded_for", "x-forwarded-anything", "x-real-ip", "x-real_ip"]
        {
            assert!(is_forwarding(name), "{name}");
        }
        for name in ["x-request-id", "x-forward", "forward", "from", "content-type", "te"] {
            assert!(!is_forwarding(name), "{name}");
        }
    }

    #[test]
    fn strips_the_hop_family_in_every_spelling() {
        let mut headers = HeaderMap::new();
        for name in ["x-gatehouse-hop", "x_gatehouse_hop", "x-gatehouse_result", "x-gatehouse-anything", "expect"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("spoofed"));
        }
        headers.insert("x-gate", HeaderValue::from_static("kept"));
        strip(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-gate"]);
    }
}
