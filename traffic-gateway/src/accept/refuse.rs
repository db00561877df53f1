//! Answers of the way in itself, before the gateway has seen the request.

use gatehouse_shared::id::RequestId;
use gatehouse_shared::problem::Reason;
use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::date::get_cached_date;
use pingora::protocols::http::v2::server::HttpSession;

use crate::answer::{REQUEST_ID, Written};

/// Most of a refused head that is recorded.
pub(super) const RECORDED_MAX: usize = 2_048;

/// What is said about an answer, its framing apart.
type Fields<'a> = Vec<(HeaderName, &'a str)>;

/// Status, fields and body of an answer; `None` where there is to be none.
fn parts<'a>(
    written: &'a Written,
    reason: &'static Reason,
    request_id: &'a RequestId,
    allow: &'a str,
) -> Option<(u16, Fields<'a>, &'a [u8])> {
    let (first, body) = match written {
        Written::Nothing => return None,
        Written::Redirect { location, .. } => ((header::LOCATION, location.as_str()), [].as_slice()),
        Written::Page { content_type, body } => ((header::CONTENT_TYPE, *content_type), body.as_slice()),
    };
    let mut fields = vec![first, (header::CACHE_CONTROL, "no-store"), (REQUEST_ID, request_id.as_str())];
    if reason.status == 405 {
        fields.push((header::ALLOW, allow));
    }
    Some((written.status(reason), fields, body))
}

/// The values of the fields called `name` in a refused head, however malformed the rest of it is.
pub fn fields_of<'h>(head: &'h [u8], name: &'static str) -> impl Iterator<Item = &'h [u8]> {
    head.split(|byte| *byte == b'\n').filter_map(move |line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (own, value) = (line.get(..colon)?, line.get(colon + 1..)?);
        own.eq_ignore_ascii_case(name.as_bytes()).then_some(value.trim_ascii())
    })
}

/// What is recorded of a refused HTTP/2 request, in the form of an HTTP/1 head.
pub(super) fn head_of(session: &HttpSession) -> Vec<u8> {
    let request = session.req_header();
    let mut head = [request.method.as_str().as_bytes(), b" ", request.raw_path(), b" HTTP/2\r\n"].concat();
    let authority = request.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = authority.or_else(|| request.headers.get(header::HOST).map(HeaderValue::as_bytes));
    let agent = request.headers.get(header::USER_AGENT).map(HeaderValue::as_bytes);
    for (name, value) in [("host", host), ("user-agent", agent)] {
        if let Some(value) = value {
            head.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
    }
    head
}

/// A whole HTTP/1 answer, behind which the connection closes; `None` where there is to be none. `allow` is for 405.
pub(super) fn http1(
    written: &Written,
    reason: &'static Reason,
    request_id: &RequestId,
    allow: &str,
    head: &[u8],
) -> Option<Vec<u8>> {
    let (status, fields, body) = parts(written, reason, request_id, allow)?;
    let phrase = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
    let date = get_cached_date();
    let mut answer = Vec::with_capacity(512 + body.len());
    answer.extend_from_slice(format!("HTTP/1.1 {status} {phrase}\r\ndate: ").as_bytes());
    answer.extend_from_slice(date.as_bytes());
    for (name, value) in fields {
        answer.extend_from_slice(format!("\r\n{name}: {value}").as_bytes());
    }
    answer.extend_from_slice(format!("\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len()).as_bytes());
    if !head.starts_with(b"HEAD ") {
        answer.extend_from_slice(body);
    }
    Some(answer)
}

/// Answers one HTTP/2 stream, or resets it where there is to be no answer. `allow` is for 405.
///
/// # Errors
/// What the protocol library reports; the stream is gone then.
pub(super) async fn http2(
    session: &mut HttpSession,
    written: &Written,
    reason: &'static Reason,
    request_id: &RequestId,
    allow: &str,
) -> pingora::Result<()> {
    let Some((status, fields, body)) = parts(written, reason, request_id, allow) else {
        session.shutdown_with_reason(h2::Reason::CANCEL);
        return Ok(());
    };
    let mut head = ResponseHeader::build_no_case(status, Some(6))?;
    for (name, value) in fields {
        head.insert_header(name, value)?;
    }
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    let has_body = session.req_header().method != http::Method::HEAD && !body.is_empty();
    session.write_response_header(Box::new(head), !has_body)?;
    if has_body { session.write_body(body.to_vec().into(), true).await } else { Ok(()) }
}

/// The `Accept` fields of an HTTP/2 request.
pub(super) fn accept_of(session: &HttpSession) -> impl Iterator<Item = &[u8]> {
    session.req_header().headers.get_all(header::ACCEPT).iter().map(HeaderValue::as_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_fields_in_a_malformed_head() {
        let head = b"GET / HTTP/1.1\nACCEPT: text/html\r\nX\r\nAccept:a/b\r\n accept: c/d\r\nAccept-Language: de";
        assert_eq!(fields_of(head, "accept").collect::<Vec<_>>(), [b"text/html".as_slice(), b"a/b"]);
        assert_eq!(fields_of(b"", "accept").count(), 0);
    }
}
