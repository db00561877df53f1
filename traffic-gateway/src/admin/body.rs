//! The body of a call, bounded.

use bytes::{Bytes, BytesMut};
use gatehouse_shared::admin::Answer;
use gatehouse_shared::problem;
use http::header;
use pingora::protocols::http::ServerSession;

/// Longest body.
pub(super) const LONGEST: usize = 1 << 20;

/// Bytes of a longer one that are read on and thrown away: whoever is still sending does not read the answer.
const DISCARDED: usize = 8 << 20;

/// Reads the body; an answer where it is too long.
pub(super) async fn read(session: &mut ServerSession) -> pingora::Result<Result<Bytes, Answer>> {
    let head = session.req_header();
    let stated = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let is_too_long = stated.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > LONGEST));
    if head.headers.contains_key(header::EXPECT) {
        if is_too_long {
            return Ok(Err(Answer::problem(&problem::ADMIN_BODY_TOO_LARGE)));
        }
        session.write_continue_response().await?;
    }
    if is_too_long {
        return too_long(session).await;
    }
    let mut body = BytesMut::new();
    while let Some(part) = session.read_request_body().await? {
        if body.len() + part.len() > LONGEST {
            return too_long(session).await;
        }
        body.extend_from_slice(&part);
    }
    Ok(Ok(body.freeze()))
}

async fn too_long(session: &mut ServerSession) -> pingora::Result<Result<Bytes, Answer>> {
    let mut left = DISCARDED;
    while left > 0
        && let Some(part) = session.read_request_body().await?
    {
        left = left.saturating_sub(part.len());
    }
    Ok(Err(Answer::problem(&problem::ADMIN_BODY_TOO_LARGE)))
}
