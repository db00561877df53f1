//! How one call will be carried: to which service, for how long, and how often it may be tried.

use std::time::{Duration, Instant};

use gatehouse_shared::balance::Call;

use super::service::Service;

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
