//! Answered here: what a client reads, or does not, when this gate refuses its request or cannot serve it.
//!
//! [`answers`] knows for every reason what is answered: a page, a redirect, or nothing. [`negotiate`] chooses between HTML
//! and a problem document by `Accept`; [`template`] fills an operator's page. This file writes it to the client. What is
//! refused before Pingora sees it is answered by [`crate::accept`] with the same texts.

pub mod config;
pub mod cache;
pub mod negotiate;
pub mod template;
pub mod redirect;
pub mod answers;
mod compile;

use std::time::Duration;

use bytes::Bytes;
use gatehouse_shared::problem;
use http::{HeaderName, HeaderValue, Method, header};
use pingora::{Result, http::ResponseHeader, proxy::Session};

pub use answers::{Answers, Written};
pub use config::Config;
pub use negotiate::{Media, preferred};
pub use template::Facts;

use crate::{admit::Denial, context::Context};

/// Name of the header that carries the request id, in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Fields of an answer, those of its denial apart.
const FIELDS: usize = 6;

/// Longest time a client may go on sending a body that nobody wants, so that it reads the answer instead of a reset.
const DRAIN: Duration = Duration::from_secs(2);

/// Most bytes of such a body that are read and thrown away.
const DRAIN_BYTES: usize = 1 << 20;

/// Answers a denial as `[answer]` and the rule behind it say, and notes it in the context.
///
/// A body that the client has begun to send is read away within bounds; afterwards the connection is closed, because
/// what follows on it could not be told from the rest of that body. A client that is to be left without an answer is
/// left at once: its HTTP/1 connection is closed, its HTTP/2 stream reset (its neighbours on the connection may belong to
/// others, where a proxy stands between).
///
/// # Errors
///
/// The client is gone.
pub async fn deny(session: &mut Session, context: &mut Context, mut denial: Denial) -> Result<()> {
    let written = write(session, context, &denial);
    context.outcome.reason = Some(denial.reason);
    denial.action = Some(written.action());
    let (mut head, body) = match written {
        Written::Nothing => {
            context.outcome.denied = Some(denial);
            context.outcome.is_dropped = true;
            session.set_keepalive(None);
            session.as_mut().shutdown_with_reason(h2::Reason::CANCEL);
            return Ok(());
        }
        Written::Redirect { status, location } => {
            let mut head = ResponseHeader::build_no_case(status, Some(FIELDS))?;
            head.insert_header(header::LOCATION, location)?;
            (head, Bytes::new())
        }
        Written::Page { content_type, body } => {
            let mut head = ResponseHeader::build_no_case(denial.status(), Some(FIELDS + denial.headers.len()))?;
            head.insert_header(header::CONTENT_TYPE, content_type)?;
            (head, Bytes::from(body))
        }
    };
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    head.insert_header(REQUEST_ID, context.id_value())?;
    if let Some(delay) = denial.retry_after {
        head.insert_header(header::RETRY_AFTER, whole_seconds(delay))?;
    }
    context.tell_limits(&mut head);
    for (name, value) in denial.headers.drain(..) {
        head.insert_header(name, value)?;
    }
    context.outcome.denied = Some(denial);
    send(session, context, head, body).await
}

/// The answer to a denial in the form that the client asked for.
fn write(session: &Session, context: &Context, denial: &Denial) -> Written {
    let facts = Facts {
        reason: denial.reason,
        status: denial.status(),
        detail: denial.detail.as_deref(),
        request_id: context.request_id.as_str(),
        client: context.client.ip(),
        retry_after: denial.retry_after.map(whole_seconds),
        unix_ms: context.started_unix_ms,
    };
    let Some(arrival) = context.arrival.as_deref() else {
        let body = problem::json(facts.reason, facts.request_id, facts.detail);
        return Written::Page { content_type: problem::CONTENT_TYPE, body };
    };
    let answers = &arrival.policy.value.answers;
    let action = answers.action(denial.reason, denial.action, Some(arrival.message.canonical_path()));
    let accept = session.req_header().headers.get_all(header::ACCEPT);
    answers.write(action, preferred(accept.iter().map(HeaderValue::as_bytes)), &facts)
}

/// Whole seconds, rounded up, at least one: a client that comes back then is not too early.
fn whole_seconds(delay: Duration) -> u64 {
    delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0)).max(1)
}

async fn send(session: &mut Session, context: &Context, head: ResponseHeader, body: Bytes) -> Result<()> {
    let body_pending = !session.as_mut().is_body_done();
    if body_pending {
        session.set_keepalive(None);
    }
    let has_body = session.req_header().method != Method::HEAD && !body.is_empty();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up_and_never_zero() {
        let seconds = [0, 1, 999, 1_000, 1_001, 2_000].map(|ms| whole_seconds(Duration::from_millis(ms)));
        assert_eq!(seconds, [1, 1, 1, 1, 2, 2]);
    }
}
