//! Where a call goes: an endpoint of the API's service, another one if that cannot be reached, and back.
//!
//! - [`batch`]: many calls in one
//! - [`plan`]: how the call will be carried
//! - [`request`]: the request as the service gets it
//! - [`target`]: who answers the calls of an API
//! - [`aggregate`]: several calls in the place of one
//! - [`split`]: which of several services answers
//! - [`mirror`]: copies of calls for another service
//! - [`service`]: a service and its endpoints
//! - [`upstream`]: the connections to one endpoint
//! - [`wait`]: how long a try may take
//! - [`counters`]: what is counted of a service
//! - [`upkeep`]: probes and parked connections, in the background
//!
//! What may be sent twice: everything of which no byte was sent (the connection could not be opened, or ended before it took
//! the request), and idempotent calls without a body of which no byte of an answer came, within the budget
//! ([`gatehouse_shared::balance::RetryBudget`]). What was not sent is outside of the budget: sent elsewhere it loads the
//! service no more than it would have anyway. An answer that has begun is never replaced.

pub mod aggregate;
pub mod batch;
pub mod counters;
pub mod mirror;
pub mod plan;
pub mod request;
pub mod service;
pub mod split;
pub mod target;
pub mod upkeep;
pub mod upstream;
pub mod wait;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatehouse_shared::balance::{Lease, Outcome};
use gatehouse_shared::clock;
use gatehouse_shared::config::{ConfigErrors, HumanDuration, Positions};
use http::{HeaderValue, Response, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;

use self::plan::{MAX_TRIES, Plan, Spare};
use self::service::Service;
use self::upstream::download::Download;
use self::upstream::{Connection, Lost, ServiceRequest, Unreachable};
use self::wait::{Elapsed, Wait, until};
use crate::accept::body::{Progress, UploadError};

/// `[upstream]`: connections to services, where a service does not say otherwise.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// To open a connection to an endpoint. Default: `"1s"`.
    pub connect_timeout: HumanDuration,
    /// From the end of the request's body to the head of the answer. Default: `"10s"`.
    pub timeout: HumanDuration,
    /// How long a connection may be parked; less than the services' own keepalive. Default: `"30s"`.
    pub idle_timeout: HumanDuration,
    /// How long a connection is used before it is replaced. Default: `"10m"`.
    pub max_age: HumanDuration,
    /// Connections to one endpoint at a time; a request that finds none free waits for one until its deadline. Default: 256.
    pub connections_max: usize,
    /// Requests on one HTTP/2 connection at a time. Default: 100.
    pub streams_max: usize,
    /// Retries of calls the service may have seen, in hundredths of all calls, over ten seconds; 0 for none. Default: 20.
    pub retry_percent: u32,
    /// Retries on top of that, each second: for services with few calls. Default: 10.
    pub retry_min_per_second: u32,
    /// Between two pieces of an answer's body. Default: `"30s"`.
    pub body_idle_timeout: HumanDuration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_timeout: HumanDuration::from_secs(1),
            timeout: HumanDuration::from_secs(10),
            idle_timeout: HumanDuration::from_secs(30),
            max_age: HumanDuration::from_secs(600),
            connections_max: 256,
            streams_max: 100,
            retry_percent: 20,
            retry_min_per_second: 10,
            body_idle_timeout: HumanDuration::from_secs(30),
        }
    }
}

impl Config {
    /// Checks what would make every call fail.
    ///
    /// # Errors
    /// Everything that cannot work.
    pub fn check(&self, positions: &Positions) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut check = |holds: bool, key: &str, message: &str, remedy: &str| {
            if !holds {
                errors.push(positions.error(&format!("upstream.{key}"), message, Some(remedy.to_owned())));
            }
        };
        for (key, duration) in [
            ("connect_timeout", self.connect_timeout),
            ("timeout", self.timeout),
            ("idle_timeout", self.idle_timeout),
            ("max_age", self.max_age),
            ("body_idle_timeout", self.body_idle_timeout),
        ] {
            check(!duration.get().is_zero(), key, "a time of nothing fails every call", "write at least \"1ms\"");
        }
        check(self.connections_max > 0, "connections_max", "no connection, so no call", "write at least 1");
        check(self.streams_max > 0, "streams_max", "no request on a connection, so no call", "write at least 1");
        check(self.retry_percent <= 100, "retry_percent", "more retries than calls", "write 0 to 100");
        errors.into_result(())
    }
}

/// What is noted of a call for the log.
#[derive(Debug, Default)]
pub struct Notes {
    /// Who was to answer.
    pub service: Option<Arc<str>>,
    /// The endpoint tried last.
    pub endpoint: Option<SocketAddr>,
    /// Tries after the first.
    pub retries: u32,
    /// From the first try to the head of the answer, or to giving up.
    pub waited: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// No endpoint could be reached; nothing was executed.
    #[error("no endpoint could be reached")]
    Unreachable(#[source] Unreachable),
    /// The service has no endpoints.
    #[error("the service has no endpoint")]
    NoEndpoint,
    /// Every connection was in use until the deadline; nothing was executed.
    #[error("every connection was in use until the deadline")]
    Saturated,
    /// The connection ended after the request was sent, before an answer.
    #[error("the connection ended before an answer")]
    Broken(#[source] hyper::Error),
    /// What the service answered is not HTTP.
    #[error("the answer is not HTTP")]
    Invalid(#[source] hyper::Error),
    /// No answer within the API's timeout.
    #[error("no answer within the timeout")]
    Timeout,
    /// No answer before the deadline that the edge gave.
    #[error("no answer before the deadline")]
    Deadline,
    /// The request's body failed.
    #[error("the request's body failed")]
    Upload(#[source] UploadError),
    /// The service changed the protocol, which nobody asked for.
    #[error("the service answered with 101")]
    Upgrade,
}

/// Sends `request` and returns the answer as soon as its head is there.
///
/// # Errors
/// [`DispatchError`] when no try gave an answer.
pub async fn run(
    plan: Plan<'_>,
    mut request: ServiceRequest,
    notes: &mut Notes,
) -> Result<Response<Download>, DispatchError> {
    let mut now = plan.began;
    notes.service = Some(Arc::clone(&plan.service.name));
    let upload = request.body().progress();
    let spare = Spare::of(&request, plan.service);
    plan.service.retries.deposit(now);
    let mut tried = Vec::new();
    let mut tries = 1;
    let outcome = loop {
        let Some(lease) = plan.service.balance.choose(&plan.call, &tried, now) else {
            break Err(DispatchError::NoEndpoint);
        };
        notes.endpoint = Some(lease.address());
        let index = lease.index();
        let (outcome, ended) = pin!(attempt(&plan, lease, request, upload.as_ref(), now)).await;
        now = ended;
        match outcome {
            Ok(answer) => break Ok(answer),
            Err(Failed::Final(error)) => break Err(error),
            Err(Failed::Unsent(unsent, cause)) => {
                tried.push(index);
                if tries >= MAX_TRIES || tried.len() >= plan.service.endpoints.len() {
                    break Err(DispatchError::Unreachable(cause));
                }
                request = *unsent;
            }
            Err(Failed::Broken(error, connection)) => {
                let Some(spare) = spare.as_ref().filter(|_| tries < MAX_TRIES && plan.service.retries.withdraw(now))
                else {
                    break Err(DispatchError::Broken(error));
                };
                // A reused connection says nothing against the endpoint; a fresh one does, if there is another endpoint.
                if connection == Connection::Fresh && tried.len() + 1 < plan.service.endpoints.len() {
                    tried.push(index);
                }
                request = spare.again();
            }
        }
        tries += 1;
        notes.retries += 1;
        plan.service.counters.retries.add();
    };
    notes.waited = now.saturating_duration_since(plan.began);
    outcome
}

/// Why one try failed.
enum Failed {
    /// Nothing was sent: the request can go elsewhere.
    Unsent(Box<ServiceRequest>, Unreachable),
    /// The service may have seen it.
    Broken(hyper::Error, Connection),
    /// Another try would not help.
    Final(DispatchError),
}

/// One try. Also tells when it ended.
async fn attempt(
    plan: &Plan<'_>,
    lease: Lease,
    mut request: ServiceRequest,
    upload: Option<&Arc<Progress>>,
    mut now: Instant,
) -> (Result<Response<Download>, Failed>, Instant) {
    let service = plan.service;
    let Some(endpoint) = service.endpoints.get(lease.index()) else {
        return (Err(Failed::Final(DispatchError::NoEndpoint)), now);
    };
    let place = match endpoint.try_enter() {
        Some(place) => place,
        None => {
            service.counters.waited.add();
            let place = until(plan.deadline, endpoint.enter()).await;
            now = clock::now();
            match place {
                Ok(place) => place,
                Err(_elapsed) => return (Err(Failed::Final(DispatchError::Saturated)), now),
            }
        }
    };
    let left = plan.deadline.saturating_duration_since(now);
    let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    request.headers_mut().insert(request::DEADLINE_HEADER, HeaderValue::from(left));
    let wait = Wait { began: now, deadline: plan.deadline, response_timeout: plan.response_timeout, upload };
    let outcome = wait.on(pin!(place.exchange(request, now))).await;
    let now = clock::now();
    (judge(service, lease, outcome, upload, now), now)
}

/// What became of a try, for the balance and for the next one.
fn judge(
    service: &Service,
    mut lease: Lease,
    outcome: Result<Result<Response<Download>, Lost>, Elapsed>,
    upload: Option<&Arc<Progress>>,
    now: Instant,
) -> Result<Response<Download>, Failed> {
    if let Some(ended) = upload.and_then(|upload| upload.ended_at()) {
        lease.sent(ended);
    }
    match outcome {
        Ok(Ok(answer)) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
            Err(Failed::Final(DispatchError::Upgrade))
        }
        Ok(Ok(mut answer)) => {
            lease.report(service.outcome_of(answer.status()), now);
            answer.body_mut().belongs_to(upload.cloned(), lease);
            Ok(answer)
        }
        Ok(Err(Lost::Unsent(unsent, cause))) => {
            match cause {
                Unreachable::Connect(_) => lease.report(Outcome::ConnectFailed, now),
                Unreachable::Timeout => lease.report(Outcome::ConnectTimedOut, now),
                // A new one: parked connections that the service has closed meanwhile are replaced below.
                Unreachable::Closed(_) => lease.report(Outcome::TransportFailed, now),
            }
            service.counters.connect_failures.add();
            Err(Failed::Unsent(unsent, cause))
        }
        Ok(Err(Lost::Sent(error, connection))) => {
            if let Some(fault) = upload.and_then(|upload| upload.fault()) {
                return Err(Failed::Final(DispatchError::Upload(fault)));
            }
            service.counters.broken.add();
            let is_parse = error.is_parse();
            // A reused connection may have been closing just then, which says nothing against the endpoint.
            if is_parse || connection == Connection::Fresh {
                lease.report(Outcome::TransportFailed, now);
            }
            Err(if is_parse { Failed::Final(DispatchError::Invalid(error)) } else { Failed::Broken(error, connection) })
        }
        Err(elapsed) => {
            // A deadline that is over may be the caller's doing: a slow upload, or little time left.
            if elapsed == Elapsed::Response {
                lease.report(Outcome::TransportFailed, now);
            }
            Err(Failed::Final(elapsed.into()))
        }
    }
}

impl From<Elapsed> for DispatchError {
    fn from(elapsed: Elapsed) -> Self {
        match elapsed {
            Elapsed::Response => Self::Timeout,
            Elapsed::Deadline => Self::Deadline,
        }
    }
}
