//! From an item as it was written to a request. An item is judged as strictly as the edge judges the head of a request, since
//! the edge has seen it only as a value in a body: its path must be canonical already, and it cannot say what only the edge, the
//! gate or the connection say.

use std::borrow::Cow;

use bytes::Bytes;
use gatehouse_shared::hop;
use gatehouse_shared::message::bytes::is_query;
use gatehouse_shared::message::forwarding::is_forwarding;
use gatehouse_shared::message::path::is_canonical;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};

use super::asked::{Asked, Content, Unfit};
use super::json::unescaped;
use crate::admit::app::platform;

/// The longest target, in bytes: what the edge takes where its configuration does not say otherwise.
const TARGET_MAX: usize = 8 * 1024;
/// What an item can do. `OPTIONS` would answer nothing in a batch.
const METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// The request of an item for `authority`. `source` is the body of the batch, which the item was read from.
///
/// # Errors
/// [`Unfit`] when it is none.
pub fn prepare(asked: &Asked<'_>, authority: &HeaderValue, source: &Bytes) -> Result<Request<Bytes>, Unfit> {
    let method = METHODS.into_iter().find(|method| method.as_str() == asked.method);
    let method = method.ok_or("the method is none of GET, HEAD, POST, PUT, PATCH and DELETE")?;
    let target = target(&asked.target)?;
    let mut headers = headers(&asked.headers)?;
    let body = body(&asked.body, &mut headers, source)?;
    headers.insert(header::HOST, authority.clone());
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(target);
    *request.headers_mut() = headers;
    Ok(request)
}

fn target(written: &str) -> Result<PathAndQuery, Unfit> {
    if written.len() > TARGET_MAX {
        return Err("the path is longer than 8 KiB".into());
    }
    let (path, query) = match written.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (written, None),
    };
    if !is_canonical(path) {
        return Err(
            "the path is not in its canonical form: it begins with one slash, and has no dot segments, repeated or \
                    encoded slashes, parameters, or encodings of what need not be encoded"
                .into(),
        );
    }
    if let Some(query) = query {
        if !query.bytes().all(is_query) {
            return Err("the query holds a byte that must be percent-encoded".into());
        }
        if platform::is_signed(query) {
            return Err("the query holds credentials; those of the batch count for all its items".into());
        }
    }
    PathAndQuery::try_from(written).map_err(|_error| Unfit::from("the path is not a request target"))
}

fn headers(written: &[(impl AsRef<str>, impl AsRef<str>)]) -> Result<HeaderMap, Unfit> {
    // With room for those that are put on here.
    let mut headers = HeaderMap::with_capacity(written.len() + 2);
    for (name, value) in written {
        let (name, value) = (name.as_ref(), value.as_ref());
        let about = |what: &str| Unfit::Invalid(format!("the header {name:?} {what}").into());
        let lower = HeaderName::from_bytes(name.as_bytes()).ok().filter(|_| !name.contains('_'));
        let lower = lower.ok_or_else(|| about("has no name that may be used"))?;
        if is_reserved(lower.as_str()) {
            return Err(about("cannot be set by an item"));
        }
        let is_padded = value.trim_matches([' ', '\t']).len() < value.len();
        let value = HeaderValue::from_str(value).ok().filter(|_| value.is_ascii() && !is_padded);
        let value =
            value.ok_or_else(|| about("has a value that is not printable ASCII, or has white space around it"))?;
        if headers.insert(lower, value).is_some() {
            return Err(about("is there twice"));
        }
    }
    Ok(headers)
}

/// Whether a header is not an item's to say: what belongs to a connection, says where a call came from or who makes it, would
/// have a service do something else than what was admitted, or what browsers keep for themselves.
fn is_reserved(name: &str) -> bool {
    hop::is_internal(name)
        || is_forwarding(name)
        || ["proxy-", "sec-", "x-ca-", "access-control-"].iter().any(|family| name.starts_with(family))
        || match name {
            // The connection, and how the message is framed and packed.
            "connection" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade" | "http2-settings" => true,
            "content-length" | "content-encoding" | "accept-encoding" | "host" | "expect" | "via" => true,
            // Who calls.
            "authorization" | "cookie" | "cookie2" | "x-api-key" | "x-session-token" => true,
            "signature" | "signature-input" | "content-digest" | "digest" | "content-md5" => true,
            // What the gates say.
            "x-request-id" | "traceparent" | "tracestate" | "x-request-deadline-ms" => true,
            // Another method, path or host than was admitted.
            "x-http-method" | "x-http-method-override" | "x-method-override" | "x-host" | "x-original-host" => true,
            "x-original-url" | "x-original-uri" | "x-rewrite-url" => true,
            // What browsers keep for themselves.
            "origin" | "referer" | "date" | "dnt" => true,
            _ => false,
        }
}

fn body(content: &Content<'_>, headers: &mut HeaderMap, source: &Bytes) -> Result<Bytes, Unfit> {
    let raw = match content {
        Content::Nothing => return Ok(Bytes::new()),
        Content::Form(form) => {
            let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(header::CONTENT_TYPE, kind);
            return without_credentials(Bytes::from(form.clone()));
        }
        Content::Json(raw) => *raw,
    };
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return Ok(source.slice_ref(raw.as_bytes()));
    };
    if is_json(kind) {
        return Ok(source.slice_ref(raw.as_bytes()));
    }
    if !raw.starts_with('"') {
        return Err("a body of this content type is written as a string".into());
    }
    let is_form = essence(kind).eq_ignore_ascii_case("application/x-www-form-urlencoded");
    let text = unescaped(raw).map_err(Unfit::from)?;
    let body = match text {
        Cow::Borrowed(text) => source.slice_ref(text.as_bytes()),
        Cow::Owned(text) => Bytes::from(text),
    };
    if is_form { without_credentials(body) } else { Ok(body) }
}

fn without_credentials(form: Bytes) -> Result<Bytes, Unfit> {
    let is_signed = std::str::from_utf8(&form).is_ok_and(platform::is_signed);
    if is_signed {
        Err("the form holds credentials; those of the batch count for all its items".into())
    } else {
        Ok(form)
    }
}

/// Whether a content type is JSON.
pub(super) fn is_json(kind: &HeaderValue) -> bool {
    let kind = essence(kind);
    let ends_in_json =
        kind.len() > 5 && kind.get(kind.len() - 5..).is_some_and(|end| end.eq_ignore_ascii_case("+json"));
    kind.eq_ignore_ascii_case("application/json") || ends_in_json
}

/// A media type without its parameters.
pub(super) fn essence(kind: &HeaderValue) -> &str {
    kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests;
