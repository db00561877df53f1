//! How one call will be carried: to which service, for how long, and how often it may be tried.

use std::time::{Duration, Instant};

use gatehouse_shared::balance::Call;
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version};

use super::service::Service;
use super::upstream::ServiceRequest;
use crate::accept::body::Upload;

/// Tries of one call, the first included. Three endpoints that cannot be reached are enough to say so.
pub const MAX_TRIES: u32 = 3;

/// The plan of one call.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Who answers.
    pub service: &'a Service,
    /// What the balance may want to know.
    pub call: Call<'a>,
    /// When the call began.
    pub began: Instant,
    /// When the call ends, whatever it is waiting for; given by the edge. It counts to the head of the answer.
    pub deadline: Instant,
    /// From the end of the request's body to the head of the answer: for each try, or for all together where `try_timeout` is
    /// set and the call may be repeated.
    pub response_timeout: Duration,
    /// After which a call that may be repeated is tried elsewhere.
    pub try_timeout: Option<Duration>,
}

impl<'a> Plan<'a> {
    /// The plan for a call; `timeout` is that of its API, where it has one.
    #[must_use]
    pub fn new(
        service: &'a Service,
        timeout: Option<Duration>,
        call: Call<'a>,
        began: Instant,
        deadline: Instant,
    ) -> Self {
        let response_timeout = timeout.unwrap_or(service.timeout);
        Self { service, call, began, deadline, response_timeout, try_timeout: service.try_timeout }
    }

    /// The same with the time of a try that its API has, where it has one.
    #[must_use]
    pub fn trying_for(self, try_timeout: Option<Duration>) -> Self {
        Self { try_timeout: try_timeout.or(self.try_timeout), ..self }
    }
}

/// The head of a request that may be sent a second time although the service may have seen the first: the method is idempotent
/// (RFC 9110 section 9.2.2) and there is no body.
///
/// Nearly every head kept is thrown away again, so the headers are kept as bytes in one piece: a copy of the map would count
/// references up and down for every name and value.
#[derive(Debug)]
pub struct Spare {
    method: Method,
    uri: Uri,
    version: Version,
    headers: Vec<u8>,
    /// Lengths of names and values, in turn.
    lengths: Vec<u32>,
}

impl Spare {
    /// Keeps the head of `request` if it may be repeated.
    #[must_use]
    pub fn of(request: &ServiceRequest, service: &Service) -> Option<Self> {
        let may_be_repeated =
            service.retries.is_open() && request.method().is_idempotent() && matches!(request.body(), Upload::Empty);
        if !may_be_repeated {
            return None;
        }
        let mut headers = Vec::with_capacity(1024);
        let mut lengths = Vec::with_capacity(request.headers().len() * 2);
        for (name, value) in request.headers() {
            for bytes in [name.as_str().as_bytes(), value.as_bytes()] {
                headers.extend_from_slice(bytes);
                lengths.push(u32::try_from(bytes.len()).ok()?);
            }
        }
        let (method, uri) = (request.method().clone(), request.uri().clone());
        Some(Self { method, uri, version: request.version(), headers, lengths })
    }

    /// The request once more.
    #[must_use]
    pub fn again(&self) -> ServiceRequest {
        let mut request = Request::new(Upload::Empty);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        let headers = request.headers_mut();
        let mut rest = self.headers.as_slice();
        let mut next = |length: &u32| {
            let (bytes, after) = rest.split_at_checked(usize::try_from(*length).ok()?)?;
            rest = after;
            Some(bytes)
        };
        for pair in self.lengths.chunks_exact(2) {
            let [name, value] = pair else { continue };
            let (name, value) = (next(name), next(value));
            if let Some(name) = name.and_then(|bytes| HeaderName::from_bytes(bytes).ok())
                && let Some(value) = value.and_then(|bytes| HeaderValue::from_bytes(bytes).ok())
            {
                headers.append(name, value);
            }
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_is_kept_is_the_same_again() {
        let dir = tempfile::tempdir().unwrap();
        let service = crate::store::catalog::tests::service(dir.path(), "");
        let mut request = Request::new(Upload::Empty);
        *request.uri_mut() = "/a?b".parse().unwrap();
        for (name, value) in [("host", "x"), ("accept", "a"), ("accept", "b"), ("empty", ""), ("x-bytes", "\u{e4}")] {
            request.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let again = Spare::of(&request, &service).unwrap().again();
        assert_eq!((again.uri(), again.headers()), (request.uri(), request.headers()));
        *request.method_mut() = Method::POST;
        assert!(Spare::of(&request, &service).is_none());
    }
}
