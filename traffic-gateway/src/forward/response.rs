//! The answer of tier two on its way back: the result of the hop is read and taken off, the request id put on.

use std::{any::Any, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use gatehouse_shared::{
    balance::Outcome,
    clock,
    hop::{self, HopResult, Origin},
};
use http::{HeaderMap, HeaderName, StatusCode, Version, header};
use pingora::{
    Error, ErrorType, Result,
    http::ResponseHeader,
    modules::http::{HttpModule, HttpModuleBuilder, Module},
    proxy::Session,
};

use super::REFUSED;
use crate::{answer::REQUEST_ID, context::Context, server::drain::Leaving};

const RESULT: HeaderName = HeaderName::from_static(hop::RESULT_HEADER);

/// An answer sooner than this after the last of the body was made without it: the way to tier two and back is longer.
const EARLY: Duration = Duration::from_micros(100);

/// Prepares the head of an answer that came Pingora's way.
///
/// # Errors
///
/// The rules refuse it: the denial waits in the context to be answered instead.
pub fn receive(
    leaving: &Leaving,
    session: &mut Session,
    context: &mut Context,
    head: &mut ResponseHeader,
) -> Result<()> {
    if head.status.is_informational() {
        return Ok(());
    }
    if head.has_case() {
        let internal = internal_names(&head.headers);
        note(context, head.status, &head.headers, &internal);
        for name in internal {
            head.remove_header(&name);
        }
        context.tell_limits(head);
        head.insert_header(REQUEST_ID, context.id_value())?;
    } else {
        // Pingora would parse every name that is put on, for a map of spellings that answers over HTTP/2 do not have.
        let blank = ResponseHeader::from(http::Response::new(()).into_parts().0);
        let mut parts: http::response::Parts = std::mem::replace(head, blank).into();
        let marked = mark(context, parts.status, &mut parts.headers);
        *head = ResponseHeader::from(parts);
        marked?;
    }
    judge(context, head.status, &head.headers)?;
    if let Some(arrival) = context.arrival.as_deref() {
        arrival.answered();
    }
    let version = session.req_header().version;
    if leaving.has_begun() || is_early(context) || ends_with_connection(version, &head.headers) {
        session.set_keepalive(None);
    }
    Ok(())
}

/// Notes what the head of an answer says about the node, takes off what is not for the client, and puts on the request id and
/// where the client stands by its limits.
///
/// # Errors
///
/// The head has too many fields for one more.
pub fn mark(context: &mut Context, status: StatusCode, headers: &mut HeaderMap) -> Result<()> {
    let internal = internal_names(headers);
    note(context, status, headers, &internal);
    for name in internal {
        headers.remove(name);
    }
    for (name, value) in context.limit_fields().into_iter().flatten() {
        if let Err(error) = headers.try_append(name, value) {
            tracing::debug!(%error, "an answer has no room for its limits");
        }
    }
    match headers.try_insert(REQUEST_ID, context.id_value()) {
        Ok(_) => Ok(()),
        Err(error) => Error::e_because(ErrorType::InternalError, "an answer has no room for its request id", error),
    }
}

/// What the head of an answer says about the node.
fn note(context: &mut Context, status: StatusCode, headers: &HeaderMap, internal: &[HeaderName]) {
    // To look for it where there is none costs more than to look at all names.
    let result = internal.contains(&RESULT).then(|| headers.get(RESULT)).flatten();
    let result = result.and_then(|value| HopResult::parse(value.as_bytes()));
    let node_is_at_fault = result
        .as_ref()
        .is_some_and(|result| result.node && result.origin == Origin::Gateway && matches!(status.as_u16(), 502..=504));
    let now = clock::now();
    context.attempt.answered(if node_is_at_fault { Outcome::GatewayFailed } else { Outcome::Ok }, now);
    context.outcome.upstream_head = Some(now);
    context.outcome.result = result;
}

/// Prepares the head of an answer that was kept.
///
/// # Errors
///
/// None in practice: the headers set here are valid by construction.
pub fn from_memory(context: &mut Context, head: &mut ResponseHeader) -> Result<()> {
    if let Some(arrival) = context.arrival.as_deref() {
        arrival.answered();
    }
    context.tell_limits(head);
    head.insert_header(REQUEST_ID, context.id_value())
}

/// Shows the head of an answer to the rules.
///
/// # Errors
///
/// They refuse it; the denial waits in the context to be answered instead.
pub fn judge(context: &mut Context, status: StatusCode, headers: &HeaderMap) -> Result<()> {
    let Some(inspection) = context.inspection.as_deref_mut() else { return Ok(()) };
    let Err(denial) = inspection.judge_answer_head(status, headers) else { return Ok(()) };
    context.outcome.denial = Some(denial);
    Err(Error::explain(REFUSED, "the rules refuse the head of the answer").into_in())
}

/// Shows a piece of an answer's body to the rules.
///
/// # Errors
///
/// They refuse it: its client gets a page instead, or what was begun breaks off.
pub fn see(context: &mut Context, piece: Option<&Bytes>, is_end: bool) -> Result<()> {
    let Some(inspection) = context.inspection.as_deref_mut() else { return Ok(()) };
    let Err(denial) = inspection.see_answer(piece, is_end) else { return Ok(()) };
    context.outcome.denial = Some(denial);
    Err(Error::explain(REFUSED, "the rules refuse the body of the answer").into_in())
}

/// Whether an answer ends with its client's connection: a HTTP/1.0 client learns of the end of a body of unstated length in
/// no other way.
#[must_use]
pub fn ends_with_connection(version: Version, headers: &HeaderMap) -> bool {
    version == Version::HTTP_10 && !headers.contains_key(header::CONTENT_LENGTH)
}

/// Whether an answer was there before the request's body had been handed on Pingora's way: tier two has reset the stream,
/// Pingora takes the failed write for a failure of the client's connection and closes it, so the answer must say so. The
/// moment tells: what answers a body takes longer than `EARLY` to come back.
fn is_early(context: &Context) -> bool {
    let answered = context.outcome.body_handed_on.zip(context.outcome.upstream_head);
    answered.is_some_and(|(body, head)| head.saturating_duration_since(body) < EARLY)
}

/// Makes answers readable for HTTP/1.0 clients, who know no chunks: Pingora adds `Transfer-Encoding` after every hook.
pub struct Unchunk;

impl HttpModuleBuilder for Unchunk {
    fn init(&self) -> Module {
        Box::new(Self)
    }
}

#[async_trait]
impl HttpModule for Unchunk {
    async fn response_header_filter(&mut self, head: &mut ResponseHeader, _end_of_stream: bool) -> Result<()> {
        head.remove_header(&header::TRANSFER_ENCODING);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// Trailers are the service's own; only the names of the hop are taken out.
pub fn receive_trailers(trailers: &mut HeaderMap) {
    for name in internal_names(trailers) {
        trailers.remove(&name);
    }
}

/// The names of the `x-gatehouse-` family that occur; empty, and without an allocation, for most messages.
fn internal_names(headers: &HeaderMap) -> Vec<HeaderName> {
    headers.keys().filter(|name| hop::is_internal(name.as_str())).cloned().collect()
}
