//! How one call will be carried: to which service, for how long, and how often it may be tried.

use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Request, Uri, Version};

use super::service::Service;
use super::upstream::ServiceRequest;
use crate::accept::body::Upload;
use crate::admit::api::Api;

/// Tries of one call, the first included. Three endpoints that cannot be reached are enough to say so.
pub const MAX_TRIES: u32 = 3;

/// The plan of one call.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Who answers.
    pub service: &'a Service,
    /// When the call began.
    pub began: Instant,
    /// When the call ends, whatever it is waiting for; given by the edge. It counts to the head of the answer.
    pub deadline: Instant,
    /// From the end of the request's body to the head of the answer, for each try.
    pub response_timeout: Duration,
}

impl<'a> Plan<'a> {
    /// The plan for a call to `api`.
    #[must_use]
    pub fn new(api: &'a Api, began: Instant, deadline: Instant) -> Self {
        Self { service: &api.service, began, deadline, response_timeout: api.timeout }
    }
}

/// The head of a request that may be sent a second time although the service may have seen the first: the method is idempotent
/// (RFC 9110 section 9.2.2) and there is no body.
#[derive(Debug)]
pub struct Spare {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
}

impl Spare {
    /// Keeps the head of `request` if it may be repeated.
    #[must_use]
    pub fn of(request: &ServiceRequest, service: &Service) -> Option<Self> {
        let may_be_repeated =
            service.retries.is_open() && request.method().is_idempotent() && matches!(request.body(), Upload::Empty);
        may_be_repeated.then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: request.headers().clone(),
        })
    }

    /// The request once more.
    #[must_use]
    pub fn again(&self) -> ServiceRequest {
        let mut request = Request::new(Upload::Empty);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.clone();
        request
    }
}
