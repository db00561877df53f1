//! Short bodies are collected before a request is handed on.
//!
//! A client that sends its body slowly then occupies its own connection and nothing else: no stream to a node, and no
//! place in tier two. Bodies that are longer, or of unknown length, are handed on as they come; what bounds them is their
//! minimum rate and, where clients come without a balancer in front, `connections_per_client`.

use pingora::{Result, proxy::Session};

use crate::{accept::Body, admit::Denial, context::Context};

/// Longest body that is collected, in bytes: what Pingora keeps for a second attempt, and sends on from there.
const COLLECTED_MAX: u64 = 64 * 1024;

/// Reads the body of a request to its end if it is short, and asks the rules about it.
///
/// # Errors
///
/// The client sent something malformed, was too slow, or left; inside, the rules refuse it.
pub async fn collect(session: &mut Session, context: &mut Context) -> Result<Result<(), Denial>> {
    let Some(arrival) = context.arrival.as_deref() else { return Ok(Ok(())) };
    if !matches!(arrival.message.body, Body::Length(length) if length <= COLLECTED_MAX) {
        return Ok(Ok(()));
    }
    session.as_mut().enable_retry_buffering();
    while !session.as_mut().is_body_done() {
        let piece = session.as_mut().read_request_body().await.map_err(|error| error.into_down())?;
        arrival.bound_body(session, piece.is_none())?;
        let Some(piece) = piece else { break };
        if let Some(inspection) = context.inspection.as_deref_mut()
            && let Err(denial) = inspection.see(&piece)
        {
            return Ok(Err(denial));
        }
    }
    match context.inspection.as_deref_mut() {
        Some(inspection) => Ok(inspection.judge_body().await),
        None => Ok(Ok(())),
    }
}
