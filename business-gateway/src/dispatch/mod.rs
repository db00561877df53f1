//! Where a call goes: an endpoint of the API's service, another one if that cannot be reached, and back.
//!
//! - [`cache`]: answers that are kept, so that the call goes nowhere
//! - [`batch`]: many calls in one
//! - [`plan`]: how the call will be carried
//! - [`request`]: the request as the service gets it
//! - [`rewrite`]: what an API changes of it
//! - [`target`]: who answers the calls of an API
//! - [`aggregate`]: several calls in the place of one
//! - [`of_api`]: what an API says of sending them
//! - [`split`]: which of several services answers
//! - [`mirror`]: copies of calls for another service
//! - [`service`]: a service and its endpoints
//! - [`members`]: its endpoints as they are now
//! - [`discovery`]: where they are found, in the background
//! - [`breaker`]: whether anything is sent to it at all
//! - [`upstream`]: the connections to one endpoint
//! - [`wait`]: how long a try may take
//! - [`attempts`]: what became of each try
//! - [`counters`], [`metrics`]: what is counted of a service
//! - [`upkeep`]: probes and parked connections, in the background
//!
//! What may be sent twice: everything of which no byte was sent (the connection could not be opened, or ended before it took
//! the request), and idempotent calls without a body of which no byte of an answer came, within the budget
//! ([`gatehouse_shared::balance::RetryBudget`]). What was not sent is outside of the budget: sent elsewhere it loads the
//! service no more than it would have anyway. An answer whose head went on to the edge is never replaced.
//!
//! An endpoint without room passes a call on to another healthy one; when nobody has room the call waits at one of them.

pub mod cache;
pub mod aggregate;
pub mod attempts;
pub mod batch;
pub mod breaker;
pub mod counters;
pub mod discovery;
pub mod members;
pub mod metrics;
pub mod mirror;
pub mod of_api;
pub mod plan;
pub mod request;
pub mod rewrite;
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
use http::{Response, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;

use self::attempts::{Attempt, Attempts};
use self::breaker::Verdict;
use self::members::Set;
use self::plan::{MAX_TRIES, Plan};
use self::service::Service;
use self::upstream::download::Download;
use self::upstream::{Connection, ExchangeError, Head, Lost, ServiceRequest, Unreachable};
use self::wait::{Elapsed, TryEnd, Wait, until};
use crate::accept::body::{Progress, Upload, UploadError};

/// `[upstream]`: connections to services, where a service does not say otherwise.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// To open a connection to an endpoint. Default: `"1s"`.
    pub connect_timeout: HumanDuration,
    /// From the end of the request's body to the head of the answer. Default: `"10s"`.
    pub timeout: HumanDuration,
    /// After which an idempotent call without a body is tried at another healthy endpoint, within the retry budget. Default:
    /// never. Example: `"300ms"`.
    pub try_timeout: Option<HumanDuration>,
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
    /// Applications that are granted the package of this name may ask for the timings of their calls, with the header
    /// `x-request-timings: 1`. Default: none may.
    pub timings_package: Option<String>,
    /// Where endpoints are looked for that the catalog does not list.
    pub discovery: discovery::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_timeout: HumanDuration::from_secs(1),
            timeout: HumanDuration::from_secs(10),
            try_timeout: None,
            idle_timeout: HumanDuration::from_secs(30),
            max_age: HumanDuration::from_secs(600),
            connections_max: 256,
            streams_max: 100,
            retry_percent: 20,
            retry_min_per_second: 10,
            body_idle_timeout: HumanDuration::from_secs(30),
            timings_package: None,
            discovery: discovery::Config::default(),
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
        let has_time = self.try_timeout.is_none_or(|time| !time.get().is_zero());
        check(has_time, "try_timeout", "no endpoint answers in no time", "write at least \"1ms\", or leave it out");
        errors.collect(self.discovery.check(positions));
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
    /// The tries, where there were several.
    pub attempts: Attempts,
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
    /// As many calls as allowed wait for the endpoint; nothing was executed.
    #[error("as many calls as allowed wait for the endpoint")]
    QueueFull,
    /// The service is out of order, so nothing was sent.
    #[error(transparent)]
    Open(#[from] breaker::Open),
    /// The connection ended after the request was sent, before an answer.
    #[error("the connection ended before an answer")]
    Broken(#[source] ExchangeError),
    /// What the service answered is not HTTP.
    #[error("the answer is not HTTP")]
    Invalid(#[source] ExchangeError),
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

impl DispatchError {
    /// What it says about the service. No room is not a failure, and a deadline that is over may be the caller's doing.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Unreachable(_) | Self::Broken(_) | Self::Invalid(_) | Self::Timeout | Self::Upgrade => Verdict::Ill,
            Self::NoEndpoint | Self::Saturated | Self::QueueFull => Verdict::Unknown,
            Self::Open(_) | Self::Deadline | Self::Upload(_) => Verdict::Unknown,
        }
    }
}

/// Sends `request` and returns the answer as soon as its head is there.
///
/// # Errors
/// [`DispatchError`] when no try gave an answer.
pub async fn run(
    plan: &Plan<'_>,
    request: ServiceRequest,
    notes: &mut Notes,
) -> Result<Response<Download>, DispatchError> {
    let mut now = plan.began;
    let service = plan.service;
    notes.service = Some(Arc::clone(&service.name));
    let pass = match &service.breaker {
        Some(breaker) => Some(breaker.enter(now)?),
        None => None,
    };
    let ServiceRequest { head, mut body } = request;
    let upload = body.progress();
    service.retries.deposit(now);
    let set = service.members.now();
    // The method is idempotent (RFC 9110 section 9.2.2) and there is no body.
    let is_repeatable = service.retries.is_open() && head.method.is_idempotent() && matches!(body, Upload::Empty);
    let mut tries = Tries::new(&set, is_repeatable);
    let outcome = loop {
        let Some(lease) = tries.choose(plan, &set, now) else {
            break Err(DispatchError::NoEndpoint);
        };
        let (endpoint, index, began) = (lease.address(), lease.index(), now);
        notes.endpoint = Some(endpoint);
        let (outcome, ended) = pin!(attempt(plan, &set, &tries, lease, (&head, body), upload.as_ref(), now)).await;
        now = ended;
        let said = said(&outcome);
        let next = tries.next(plan, &set, outcome, index, now);
        let attempt =
            |outcome| Attempt { endpoint, number: index + 1, outcome, took: now.saturating_duration_since(began) };
        match next {
            Next::Done(outcome) => {
                notes.attempts.ended(attempt(said));
                break outcome;
            }
            Next::Elsewhere(again) => body = again,
            Next::Again(again) => {
                notes.attempts.failed(attempt(said.not_taken()));
                body = again;
                notes.retries += 1;
                service.counters.retries.add();
            }
        }
    };
    if let Some(pass) = pass {
        pass.report(service.verdict(&outcome), now);
    }
    notes.waited = now.saturating_duration_since(plan.began);
    outcome
}

/// The tries of one call so far.
struct Tries {
    /// Whether the call may be sent again although a service may have seen it.
    is_repeatable: bool,
    /// Tries so far, the one under way included.
    count: u32,
    /// Endpoints that are not tried again.
    tried: Vec<usize>,
    /// Endpoints that had no room.
    full: Vec<usize>,
    /// Whether the call waits where there is no room: nobody else has any.
    waits: bool,
}

/// What to do after a try.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one, and is moved once")]
enum Next {
    /// That was the last one.
    Done(Result<Response<Download>, DispatchError>),
    /// It was none: the endpoint had no room.
    Elsewhere(Upload),
    /// Another one.
    Again(Upload),
}

impl Tries {
    fn new(set: &Set, is_repeatable: bool) -> Self {
        Self { is_repeatable, count: 1, tried: Vec::new(), full: Vec::new(), waits: set.endpoints.len() < 2 }
    }

    fn choose(&mut self, plan: &Plan<'_>, set: &Set, now: Instant) -> Option<Lease> {
        if !self.full.is_empty() && !self.waits {
            let skipped = [self.tried.as_slice(), &self.full].concat();
            if let Some(lease) = set.balance.choose_healthy(&plan.call, &skipped, now) {
                plan.service.counters.passed_on.add();
                return Some(lease);
            }
            self.waits = true;
        }
        set.balance.choose(&plan.call, &self.tried, now)
    }

    /// Whether the call may be sent to another healthy endpoint although this one may have seen it; takes it from the budget.
    fn may_repeat(&self, service: &Service, set: &Set, index: usize, now: Instant) -> bool {
        self.is_repeatable
            && self.count < MAX_TRIES
            && set.balance.has_others(&self.tried, index, now)
            && service.retries.withdraw(now)
    }

    fn next(
        &mut self,
        plan: &Plan<'_>,
        set: &Set,
        outcome: Result<Response<Download>, Failed>,
        index: usize,
        now: Instant,
    ) -> Next {
        let service = plan.service;
        let again = match outcome {
            Ok(answer) => {
                let is_taken = service.retry_statuses.is_empty()
                    || !service.retry_statuses.contains(&answer.status())
                    || !self.may_repeat(service, set, index, now);
                if is_taken {
                    return Next::Done(Ok(answer));
                }
                service.counters.replaced.add();
                self.tried.push(index);
                None
            }
            Err(Failed::Full(unsent)) => {
                self.full.push(index);
                return Next::Elsewhere(unsent);
            }
            Err(Failed::Final(error)) => return Next::Done(Err(error)),
            Err(Failed::Unsent(unsent, cause)) => {
                self.tried.push(index);
                if self.count >= MAX_TRIES || self.tried.len() >= set.endpoints.len() {
                    return Next::Done(Err(DispatchError::Unreachable(cause)));
                }
                Some(unsent)
            }
            Err(Failed::Slow) => {
                service.counters.slow_tries.add();
                self.tried.push(index);
                None
            }
            Err(Failed::Broken(error, connection)) => {
                if !self.is_repeatable || self.count >= MAX_TRIES || !service.retries.withdraw(now) {
                    return Next::Done(Err(DispatchError::Broken(error)));
                }
                // A reused connection says nothing against the endpoint; a fresh one does, if there is another endpoint.
                if connection == Connection::Fresh && self.tried.len() + 1 < set.endpoints.len() {
                    self.tried.push(index);
                }
                None
            }
        };
        self.count += 1;
        match again.or_else(|| self.is_repeatable.then_some(Upload::Empty)) {
            Some(body) => Next::Again(body),
            // Nothing else is repeated.
            None => Next::Done(Err(DispatchError::Timeout)),
        }
    }
}

/// Why one try failed.
enum Failed {
    /// The endpoint has no room, and others may have.
    Full(Upload),
    /// Nothing was sent: the request can go elsewhere.
    Unsent(Upload, Unreachable),
    /// The service may have seen it.
    Broken(ExchangeError, Connection),
    /// No answer came in the time of a try, and there may be another one: it is taken from the budget already.
    Slow,
    /// Another try would not help.
    Final(DispatchError),
}

/// How a try ended, for the log.
fn said(outcome: &Result<Response<Download>, Failed>) -> attempts::Outcome {
    match outcome {
        Ok(answer) => attempts::Outcome::Answered(answer.status().as_u16()),
        Err(Failed::Unsent(..)) => attempts::Outcome::Unreachable,
        Err(Failed::Broken(..)) => attempts::Outcome::Broken,
        Err(Failed::Slow) => attempts::Outcome::Slow,
        Err(Failed::Full(_) | Failed::Final(_)) => attempts::Outcome::Failed,
    }
}

/// One try. Also tells when it ended.
async fn attempt(
    plan: &Plan<'_>,
    set: &Set,
    tries: &Tries,
    lease: Lease,
    (head, body): (&Head, Upload),
    upload: Option<&Arc<Progress>>,
    mut now: Instant,
) -> (Result<Response<Download>, Failed>, Instant) {
    let service = plan.service;
    let index = lease.index();
    let Some(endpoint) = set.endpoints.get(index) else {
        return (Err(Failed::Final(DispatchError::NoEndpoint)), now);
    };
    let place = match endpoint.try_enter() {
        Some(place) => place,
        None if !tries.waits => return (Err(Failed::Full(body)), now),
        None => {
            let Some(_queued) = endpoint.queue() else {
                service.counters.queue_full.add();
                return (Err(Failed::Final(DispatchError::QueueFull)), now);
            };
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
    let may_repeat = |now| tries.may_repeat(service, set, index, now);
    // What may be repeated has no body, so the time for all tries begins with the call.
    let try_timeout = plan.try_timeout.filter(|_| tries.is_repeatable);
    let response_timeout = match try_timeout {
        Some(_) => (plan.began + plan.response_timeout).saturating_duration_since(now),
        None => plan.response_timeout,
    };
    let try_end = try_timeout.map(|time| TryEnd { at: now + time, may_repeat: &may_repeat });
    let wait = Wait { began: now, deadline: plan.deadline, response_timeout, upload, try_end };
    let outcome = wait.on(pin!(place.exchange(head, body, Some(left), now))).await;
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
            let is_invalid = error.is_invalid();
            // A reused connection may have been closing just then, which says nothing against the endpoint.
            if is_invalid || connection == Connection::Fresh {
                lease.report(Outcome::TransportFailed, now);
            }
            Err(if is_invalid {
                Failed::Final(DispatchError::Invalid(error))
            } else {
                Failed::Broken(error, connection)
            })
        }
        Err(elapsed) => {
            // A deadline that is over may be the caller's doing: a slow upload, or little time left.
            if elapsed != Elapsed::Deadline {
                lease.report(Outcome::TransportFailed, now);
            }
            Err(match elapsed {
                Elapsed::Response => Failed::Final(DispatchError::Timeout),
                Elapsed::Deadline => Failed::Final(DispatchError::Deadline),
                Elapsed::Try => Failed::Slow,
            })
        }
    }
}
