//! The answer of tier two on its way back: the result of the hop is read and taken off, the request id put on.

use gatehouse_shared::hop::{self, HopResult, Origin};
use http::{HeaderMap, HeaderName};
use pingora::{Result, http::ResponseHeader};

use crate::{answer::REQUEST_ID, context::Context};
use gatehouse_shared::{balance::Outcome, clock};

/// Prepares the head of an answer for the client and notes what it says about the node.
///
/// # Errors
///
/// None in practice: the headers set here are valid by construction.
pub fn receive(context: &mut Context, head: &mut ResponseHeader) -> Result<()> {
    if head.status.is_informational() {
        return Ok(());
    }
    let result = head.headers.get(hop::RESULT_HEADER).and_then(|value| HopResult::parse(value.as_bytes()));
    let node_is_at_fault = result.as_ref().is_some_and(|result| {
        result.node && result.origin == Origin::Gateway && matches!(head.status.as_u16(), 502..=504)
    });
    let now = clock::now();
    context.attempt.answered(if node_is_at_fault { Outcome::GatewayFailed } else { Outcome::Ok }, now);
    context.outcome.upstream_head = Some(now);
    context.outcome.result = result;
    for name in internal_names(&head.headers) {
        head.remove_header(&name);
    }
    head.insert_header(REQUEST_ID, context.id_value())
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
