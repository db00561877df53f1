//! Answers of the way in itself: problem documents, before the gateway has seen the request.

use gatehouse_shared::id::RequestId;
use gatehouse_shared::problem::{self, Reason};
use http::StatusCode;
use pingora::http::ResponseHeader;
use pingora::protocols::http::date::get_cached_date;
use pingora::protocols::http::v2::server::HttpSession;

use super::config::Bounds;

/// Most of a refused head that is recorded.
pub(super) const RECORDED_MAX: usize = 2_048;

/// A whole HTTP/1 answer; the connection closes behind it.
pub(super) fn page(reason: &Reason, request_id: &RequestId, bounds: &Bounds, head: &[u8]) -> Vec<u8> {
    let body = problem::json(reason, request_id.as_str(), None);
    let mut page = Vec::with_capacity(512 + body.len());
    let phrase =
        StatusCode::from_u16(reason.status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
    let date = get_cached_date();
    page.extend_from_slice(format!("HTTP/1.1 {} {phrase}\r\ndate: ", reason.status).as_bytes());
    page.extend_from_slice(date.as_bytes());
    let fields = format!(
        "\r\ncontent-type: {}\r\ncontent-length: {}\r\ncache-control: no-store\r\nx-request-id: {}\r\nconnection: close\r\n",
        problem::CONTENT_TYPE,
        body.len(),
        request_id.as_str()
    );
    page.extend_from_slice(fields.as_bytes());
    if reason.status == 405 {
        page.extend_from_slice(format!("allow: {}\r\n", bounds.allow).as_bytes());
    }
    page.extend_from_slice(b"\r\n");
    if !head.starts_with(b"HEAD ") {
        page.extend_from_slice(&body);
    }
    page
}

/// Answers one HTTP/2 stream.
///
/// # Errors
/// What the protocol library reports; the stream is gone then.
pub(super) async fn answer_stream(
    session: &mut HttpSession,
    reason: &'static Reason,
    request_id: &RequestId,
    allow: Option<&str>,
) -> pingora::Result<()> {
    let body = problem::json(reason, request_id.as_str(), None);
    let mut head = ResponseHeader::build_no_case(reason.status, Some(6))?;
    head.insert_header("content-type", problem::CONTENT_TYPE)?;
    head.insert_header("content-length", body.len().to_string())?;
    head.insert_header("cache-control", "no-store")?;
    head.insert_header("x-request-id", request_id.as_str())?;
    if let Some(allow) = allow {
        head.insert_header("allow", allow)?;
    }
    let is_head = session.req_header().method == http::Method::HEAD;
    session.write_response_header(Box::new(head), is_head)?;
    if is_head { Ok(()) } else { session.write_body(body.into(), true).await }
}
