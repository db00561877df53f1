//! What one request carries from hook to hook.
//!
//! Made by Pingora before anything is known, filled by [`Context::arrive`], released in `logging`. When a request's
//! future is dropped instead (a reset stream, a deadline), dropping the context writes the access record and releases
//! what was held, so that no request goes uncounted.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use gatehouse_shared::{
    clock,
    hop::HopResult,
    id::{RequestId, TraceContext},
    problem::Reason,
    shutdown::InFlightGuard,
};
use http::{HeaderName, HeaderValue};
use pingora::{Error, http::ResponseHeader, proxy::Session};

use crate::{
    accept::{Arrival, Body, Bounds, Connection},
    admit::{
        Admitted, Denial, Ended,
        limit::Receipt,
        waf::{self, Inspection},
    },
    balance::{Attempt, Route},
    forward::request::unindexed,
    observe::{Observer, Recorded},
};

/// Fields that tell clients where they stand (draft-ietf-httpapi-ratelimit-headers-10).
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The longest that a request is held back by a limit that delays.
pub const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// The state of one request.
pub struct Context {
    /// What the way in knows of the request; `None` until it arrived.
    pub arrival: Option<Box<Arrival>>,
    /// When Pingora had read its head, Unix milliseconds.
    pub started_unix_ms: u64,
    /// Its id, told to the client and to tier two.
    pub request_id: RequestId,
    /// Its place in the trace that its client has begun. A trace that begins here has the request's id, and tier two makes it
    /// of that.
    pub trace: Option<TraceContext>,
    /// The client as derived.
    pub client: SocketAddr,
    /// Where it goes.
    pub route: Option<Arc<Route>>,
    /// What the stages of admission granted it.
    pub admitted: Admitted,
    /// What the limits said of it.
    pub receipt: Receipt,
    /// What the rules know of it; `None` where they do not look.
    pub inspection: Option<Box<Inspection>>,
    /// When its head was judged; good enough for whatever follows without waiting.
    pub now: Instant,
    /// When the wait for the head of the response ends.
    pub deadline: Instant,
    /// Its cookies are taken away, because its answer may be kept for others.
    pub drops_cookies: bool,
    /// The nodes it tries.
    pub attempt: Attempt,
    /// What became of it.
    pub outcome: Outcome,
    observer: Arc<Observer>,
    continue_sent: bool,
    in_flight: Option<InFlightGuard>,
}

/// What became of a request, as far as it is known.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Why this gate answered itself.
    pub reason: Option<&'static Reason>,
    /// The page that [`crate::forward::failure`] is to render.
    pub denial: Option<Denial>,
    /// The denial that was answered, or left without an answer.
    pub denied: Option<Denial>,
    /// Denials that had no effect because their rules only observe.
    pub observed: Vec<Denial>,
    /// The client was left without an answer on purpose.
    pub is_dropped: bool,
    /// What tier two said beside its answer.
    pub result: Option<HopResult>,
    /// When the head of the answer came.
    pub upstream_head: Option<Instant>,
    /// When the last of the request's body went to the node.
    pub body_handed_on: Option<Instant>,
    /// When the request was handed on.
    pub handed_on: Option<Instant>,
    /// The last internal cause, for operators.
    pub cause: Option<String>,
    /// The client left before it was answered.
    pub client_gone: bool,
    /// The answer broke off after it had begun.
    pub truncated: bool,
}

impl Outcome {
    /// Keeps the cause of a failed attempt for the access log.
    pub fn note(&mut self, error: &Error) {
        let mut cause = String::new();
        #[expect(clippy::let_underscore_must_use, reason = "writing to a string cannot fail")]
        let _ = write!(cause, "{error}");
        self.cause = Some(cause);
    }
}

impl Context {
    /// The context of a request that has not arrived yet.
    #[must_use]
    pub fn new(observer: &Arc<Observer>) -> Self {
        let started_unix_ms = clock::unix_ms();
        // Until the request arrives.
        let now = observer.started();
        Self {
            arrival: None,
            request_id: RequestId::new(started_unix_ms),
            started_unix_ms,
            trace: None,
            client: SocketAddr::from(([0, 0, 0, 0], 0)),
            route: None,
            admitted: Admitted::default(),
            receipt: Receipt::default(),
            inspection: None,
            now,
            deadline: now,
            drops_cookies: false,
            attempt: Attempt::default(),
            outcome: Outcome::default(),
            observer: Arc::clone(observer),
            continue_sent: false,
            in_flight: None,
        }
    }

    /// The request is here: from now on it counts as in flight and will be recorded.
    pub fn arrive(&mut self, arrival: Box<Arrival>) {
        self.in_flight = Some(self.observer.begin());
        self.client = arrival.connection.source;
        self.now = arrival.received_at;
        self.arrival = Some(arrival);
    }

    /// The client connection; `None` until the request arrived.
    #[must_use]
    pub fn connection(&self) -> Option<&Connection> {
        self.arrival.as_deref().map(|arrival| &*arrival.connection)
    }

    /// The request id as a header value.
    #[must_use]
    pub fn id_value(&self) -> HeaderValue {
        let id = HeaderValue::from_bytes(self.request_id.as_bytes());
        unindexed(id.unwrap_or(HeaderValue::from_static("unknown")))
    }

    /// Where the client stands by the limits that it is told about, as fields of an answer.
    #[must_use]
    pub fn limit_fields(&self) -> Option<[(HeaderName, HeaderValue); 2]> {
        let limits = self.arrival.as_deref()?.policy.value.admission.limits()?;
        let (standing, policy) = limits.fields(&self.receipt)?;
        Some([(RATE_LIMIT, standing), (RATE_LIMIT_POLICY, policy)])
    }

    /// Adds to an answer where the client stands by the limits that it is told about.
    pub fn tell_limits(&self, head: &mut ResponseHeader) {
        for (name, value) in self.limit_fields().into_iter().flatten() {
            if let Err(error) = head.append_header(name, value) {
                tracing::debug!(%error, "an answer has no room for its limits");
            }
        }
    }

    /// Sets the deadline: the route's timeout, and before it the time that the upload may take.
    ///
    /// The connection's own bounds end an upload that is too slow; a short body gets no more than those would give it.
    pub fn begin_waiting(&mut self) {
        let (Some(arrival), Some(route)) = (self.arrival.as_deref(), self.route.as_deref()) else { return };
        let upload = upload_time(arrival.message.body, &arrival.policy.value.accept);
        self.deadline = self.now + route.timeout + upload;
    }

    /// Holds the request back for as long as the stages asked for, at most [`LONGEST_DELAY`].
    pub async fn wait(&mut self) {
        if !self.admitted.delay.is_zero() {
            tokio::time::sleep(self.admitted.delay.min(LONGEST_DELAY)).await;
            self.now = clock::now();
        }
    }

    /// Whether the client still waits for `100 Continue` before it sends its body.
    #[must_use]
    pub fn awaits_continue(&self) -> bool {
        !self.continue_sent && self.arrival.as_deref().is_some_and(|arrival| arrival.message.expects_continue)
    }

    /// Whether the request has a body.
    #[must_use]
    pub fn has_body(&self) -> bool {
        self.arrival.as_deref().is_some_and(|arrival| arrival.message.body != Body::None)
    }

    /// `100 Continue` was sent.
    pub fn continued(&mut self) {
        self.continue_sent = true;
    }

    /// Writes the access record and counts the request; only the first call does.
    pub fn record(&mut self, session: Option<&mut Session>) {
        if let Some(in_flight) = self.in_flight.take() {
            self.conclude();
            let observer = Arc::clone(&self.observer);
            if let Some(recorded) = observer.record(self, session) {
                self.finish(&recorded);
            }
            drop(in_flight);
        }
    }
}

impl Context {
    /// Asks the rules what they have found.
    fn conclude(&mut self) {
        let (Some(inspection), Some(arrival)) = (self.inspection.take(), self.arrival.as_deref()) else { return };
        let took = clock::now().saturating_duration_since(arrival.received_at);
        let observed_before = self.outcome.observed.len();
        inspection.conclude(took, self.outcome.denied.as_mut(), &mut self.outcome.observed);
        let verdicts = self.observer.metrics().verdicts();
        for denial in self.outcome.observed.iter().skip(observed_before) {
            verdicts.count(waf::NAME, "observe", denial.reason);
        }
        if let Some(denial) = self.outcome.denied.as_ref().filter(|denial| denial.stage == Some(waf::NAME)) {
            verdicts.count(waf::NAME, "deny", denial.reason);
        }
    }

    /// Tells the stages of admission how the request ended.
    fn finish(&self, recorded: &Recorded) {
        let Some(arrival) = self.arrival.as_deref() else { return };
        let result = self.outcome.result.as_ref();
        let ended = Ended {
            message: &arrival.message,
            connection: &arrival.connection,
            client: self.client,
            route: self.route.as_deref(),
            status: recorded.status,
            reason: recorded.reason,
            refused: self.outcome.denied.as_ref().and_then(|denial| denial.stage),
            auth: result.map(|result| result.auth),
            cost: result.map(|result| result.cost),
            receipt: &self.receipt,
        };
        arrival.policy.value.admission.finish(&ended, recorded.at);
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.record(None);
    }
}

/// The longest that a body may take by the bounds of the way in: all of the body timeout when its length is unknown.
fn upload_time(body: Body, bounds: &Bounds) -> Duration {
    match body {
        Body::None => Duration::ZERO,
        Body::Chunked => bounds.body_timeout,
        Body::Length(length) => {
            let at_min_rate = length.checked_div(bounds.body_min_rate).map_or(bounds.body_timeout, Duration::from_secs);
            bounds.body_timeout.min(bounds.body_idle_timeout.saturating_add(at_min_rate))
        }
    }
}
