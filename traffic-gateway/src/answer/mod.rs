//! Answered here: the pages of refusals and failures, as `application/problem+json` (RFC 9457) with the request id.

use std::time::Duration;

use bytes::Bytes;
use gatehouse_shared::problem;
use http::{HeaderName, Method, header};
use pingora::{Result, http::ResponseHeader, proxy::Session};

use crate::{admit::Denial, context::Context};

/// Name of the header that carries the request id, in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest time a client may go on sending a body that nobody wants, so that it reads the answer instead of a reset.
const DRAIN: Duration = Duration::from_secs(2);

/// Most bytes of such a body that are read and thrown away.
const DRAIN_BYTES: usize = 1 << 20;

/// Writes the page of a denial and says so in the context.
///
/// A body that the client has begun to send is read away within bounds; afterwards the connection is closed, because
/// what follows on it could not be told from the rest of that body.
///
/// # Errors
///
/// The client is gone.
pub async fn deny(session: &mut Session, context: &mut Context, denial: Denial) -> Result<()> {
    let reason = denial.reason;
    context.outcome.reason = Some(reason);
    let body = Bytes::from(problem::json(reason, context.request_id.as_str(), denial.detail.as_deref()));
    let mut head = ResponseHeader::build_no_case(reason.status, Some(6))?;
    head.insert_header(header::CONTENT_TYPE, "application/problem+json")?;
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    head.insert_header(REQUEST_ID, context.id_value())?;
    if let Some(delay) = denial.retry_after {
        head.insert_header(header::RETRY_AFTER, delay.as_secs().max(1))?;
    }
    for (name, value) in &denial.headers {
        head.insert_header(name.clone(), value.clone())?;
    }
    context.outcome.denied = Some(denial);
    let body_pending = !session.as_mut().is_body_done();
    if body_pending {
        session.set_keepalive(None);
    }
    let has_body = session.req_header().method != Method::HEAD;
    session.write_response_header(Box::new(head), !has_body).await?;
    if has_body {
        session.write_response_body(Some(body), true).await?;
    }
    if body_pending && !context.awaits_continue() {
        session.as_mut().finish_body().await?;
        drain(session).await;
    }
    Ok(())
}

/// Reads what the client is still sending, so that closing the connection does not reset it before the answer is read.
async fn drain(session: &mut Session) {
    let read_away = async {
        let mut read = 0;
        while read < DRAIN_BYTES {
            match session.downstream_session.read_request_body().await {
                Ok(Some(piece)) => read += piece.len(),
                Ok(None) | Err(_) => break,
            }
        }
    };
    if tokio::time::timeout(DRAIN, read_away).await.is_err() {
        tracing::debug!("client kept sending a refused body");
    }
}
