//! A service's answer as the edge gets it: hop-by-hop headers and whatever only the tiers may say are taken away, the result
//! header is added.

use std::time::Duration;

use gatehouse_shared::hop::{Auth, HopResult, RESULT_HEADER};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Response, Version};

use super::body::Outgoing;
use crate::dispatch::request::strip;
use crate::dispatch::upstream::download::Download;

/// The name of the result header.
pub(crate) const RESULT: HeaderName = HeaderName::from_static(RESULT_HEADER);

/// Shapes the answer of a service to a call of `auth`. `idle` bounds the wait between two pieces of its body.
#[must_use]
pub fn shape(answer: Response<Download>, idle: Duration, auth: Auth) -> Response<Outgoing> {
    let (mut parts, body) = answer.into_parts();
    strip(&mut parts.headers);
    parts.headers.insert(RESULT, result(&HopResult { auth, ..HopResult::SERVICE }));
    // hyper answers in the version of the request; what a service spoke with us is nobody's business.
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    let outgoing = Outgoing::service(body, idle);
    Response::from_parts(parts, outgoing)
}

/// Tells the edge about an answer that was made here.
pub fn tell(headers: &mut HeaderMap, about: &HopResult) {
    headers.insert(RESULT, result(about));
}

/// The value of the result header.
pub(crate) fn result(result: &HopResult) -> HeaderValue {
    match result.to_header() {
        std::borrow::Cow::Borrowed(text) => HeaderValue::from_static(text),
        std::borrow::Cow::Owned(text) => {
            HeaderValue::try_from(text).unwrap_or_else(|_error| HeaderValue::from_static("v=1"))
        }
    }
}
