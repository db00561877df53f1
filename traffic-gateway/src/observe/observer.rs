//! Records each request once: one access-log line, a few counters.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use gatehouse_shared::{
    clock,
    hop::{Auth, Origin},
    id::TraceContext,
    problem::{self, Reason},
    shutdown::{InFlight, InFlightGuard},
    telemetry::access_log::{self, LineWriter},
};
use http::header;
use pingora::proxy::Session;

use super::{
    access_log::Entry,
    metrics::Metrics,
    security_log::{Record, SecurityLog, Settings, record::Asked},
};
use crate::{
    accept::{self, Arrival, Connection},
    admit::{Action, Denial, Mode, blocklist::suggest::Refused},
    answer::cache,
    context::Context,
};

/// Where requests are recorded.
pub struct Observer {
    pub(super) node: Box<str>,
    pub(super) log: LineWriter,
    logs: AtomicBool,
    pub(super) security: Arc<SecurityLog>,
    in_flight: InFlight,
    pub(super) metrics: Metrics,
    /// Where refused clients are counted, once the blocklist is there.
    pub(super) refused: OnceLock<Arc<Refused>>,
    started: Instant,
}

impl Observer {
    /// An observer for the node of this name.
    ///
    /// # Errors
    ///
    /// A log cannot be opened.
    pub fn start(
        node: Box<str>,
        log: &access_log::Config,
        security: Settings,
        in_flight: InFlight,
        metrics: Metrics,
    ) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            log: LineWriter::start(log)?,
            logs: AtomicBool::new(is_on(log)),
            security: Arc::new(SecurityLog::start(node.clone(), security)?),
            node,
            in_flight,
            metrics,
            refused: OnceLock::new(),
            started: clock::now(),
        }))
    }

    /// When the process started.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// From now on counts clients whose messages the way in refuses, as candidates for the blocklist.
    pub fn count_refused(&self, refused: &Arc<Refused>) {
        self.refused.get_or_init(|| Arc::clone(refused));
    }

    /// Counts a request in until the guard is dropped.
    pub fn begin(&self) -> InFlightGuard {
        self.in_flight.enter()
    }

    /// The writer of the access log.
    #[must_use]
    pub fn log(&self) -> &LineWriter {
        &self.log
    }

    /// The security log.
    #[must_use]
    pub fn security(&self) -> &Arc<SecurityLog> {
        &self.security
    }

    /// Opens the files of the logs anew.
    pub fn reopen(&self) {
        self.log.reopen();
        self.security.writer().reopen();
    }

    /// The configuration of the access log has changed.
    pub fn retarget(&self, log: &access_log::Config) {
        self.log.retarget(log);
        self.logs.store(is_on(log), Ordering::Relaxed);
    }

    /// Writes what is still queued; nothing is recorded afterwards.
    pub fn close(&self) {
        self.log.close();
        self.security.close();
    }

    /// Whether lines of the access log are put together at all.
    pub(super) fn logs(&self) -> bool {
        self.logs.load(Ordering::Relaxed)
    }

    /// Records a request that arrived; without a session its future was cancelled.
    pub fn record(&self, context: &Context, session: Option<&mut Session>) -> Option<Recorded> {
        let arrival = context.arrival.as_deref()?;
        let now = clock::now();
        let duration = now.saturating_duration_since(arrival.received_at);
        let outcome = &context.outcome;
        let wants_agent = self.logs() || outcome.denied.is_some() || !outcome.observed.is_empty();
        let mut sent = session.map(|session| Sent::of(session, wants_agent)).unwrap_or_default();
        let mut reason = outcome.reason.or(arrival.cut_short());
        if outcome.is_dropped {
            sent.status = 0;
        } else if sent.status < 200 {
            reason = reason.or(Some(&problem::CLIENT_CLOSED));
            sent.status = arrival.cut_short().unwrap_or(&problem::CLIENT_CLOSED).status;
        }
        // What was dropped counts by the status it would have had.
        let counted = if sent.status == 0 { reason.map_or(0, |reason| reason.status) } else { sent.status };
        self.metrics.request(context.route.as_deref(), counted, reason, duration);
        if let Some(outcome) = sent.cache {
            self.metrics.cache(outcome);
        }
        self.metrics.attempts(context.attempt.count());
        for denial in outcome.observed.iter().chain(&outcome.denied).chain(&cut_short(context, arrival)) {
            if self.security.wants(denial) {
                self.write_denial(context, arrival, denial, &sent);
            }
        }
        if self.logs() {
            self.write_access(context, arrival, &sent, reason, duration);
        }
        Some(Recorded { status: sent.status, reason, at: now })
    }

    fn write_access(
        &self,
        context: &Context,
        arrival: &Arrival,
        sent: &Sent,
        reason: Option<&'static Reason>,
        duration: Duration,
    ) {
        let (connection, outcome) = (&arrival.connection, &context.outcome);
        let trace_id = context.trace.as_ref().map(TraceContext::trace_id);
        let entry = Entry {
            time_unix_ms: context.started_unix_ms,
            request_id: context.request_id.as_str(),
            trace_id: trace_id.as_deref(),
            node: &self.node,
            client: context.client,
            peer: (connection.peer != context.client).then_some(connection.peer),
            protocol: protocol(connection, sent.is_http_1_0),
            tls: connection.tls.as_deref().map(|tls| tls.version),
            method: arrival.message.method.as_str(),
            host: arrival.message.authority(),
            target: arrival.message.raw_target(),
            user_agent: sent.user_agent.as_ref().map(http::HeaderValue::as_bytes),
            status: sent.status,
            reason: reason.map(|reason| reason.code),
            bytes_in: sent.bytes_in,
            bytes_out: sent.bytes_out,
            duration,
            upstream: outcome.upstream_head.zip(outcome.handed_on).map(|(head, on)| head.saturating_duration_since(on)),
            route: context.route.as_deref().map(|route| &*route.name),
            cluster: context.route.as_deref().map(|route| &*route.cluster.name),
            upstream_address: context.attempt.address(),
            attempts: context.attempt.count(),
            cache: sent.cache,
            origin: outcome.result.as_ref().map(|result| origin(result.origin)),
            auth: outcome.result.as_ref().map(|result| auth(result.auth)),
            error: outcome.cause.as_deref(),
        };
        self.log.push(entry.to_line());
    }

    /// The line of the security log about one denial of a request that arrived.
    fn write_denial(&self, context: &Context, arrival: &Arrival, denial: &Denial, sent: &Sent) {
        let (connection, message) = (&arrival.connection, &arrival.message);
        let answers = &arrival.policy.value.answers;
        let path = Some(message.canonical_path());
        let trace_id = context.trace.as_ref().map(TraceContext::trace_id);
        self.security.write(&Record {
            unix_ms: context.started_unix_ms,
            request_id: Some(context.request_id.as_str()),
            trace_id: trace_id.as_deref(),
            node: &self.node,
            client: Some(context.client),
            peer: (connection.peer != context.client).then_some(connection.peer),
            local: connection.local,
            protocol: Some(protocol(connection, sent.is_http_1_0)),
            tls: connection.tls.as_deref().map(|tls| tls.version),
            asked: Some(Asked {
                method: message.method.as_str().as_bytes(),
                host: message.authority().as_bytes(),
                target: message.raw_target().as_bytes(),
                user_agent: sent.user_agent.as_ref().map(http::HeaderValue::as_bytes),
            }),
            route: context.route.as_deref().map(|route| &*route.name),
            stage: denial.stage.unwrap_or_default(),
            reason: denial.reason,
            detail: denial.detail.as_deref(),
            mode: denial.mode,
            action: match denial.mode {
                Mode::Enforce => denial.action.unwrap_or_default(),
                Mode::Observe => answers.action(denial.reason, denial.action, path),
            },
            status: sent.status,
            evidence: denial.evidence.as_deref(),
            repeated: None,
        });
    }
}

/// The denial of a request whose stream the way in has reset for what its client did, unless it was denied before.
fn cut_short(context: &Context, arrival: &Arrival) -> Option<Denial> {
    let is_new = context.outcome.denied.is_none();
    let reason = arrival.cut_short().filter(|reason| is_new && reason.status < 500)?;
    Some(Denial { action: Some(Action::Drop), ..Denial::from(reason).by(accept::STAGE) })
}

/// What was recorded of a request.
#[derive(Debug, Clone, Copy)]
pub struct Recorded {
    /// The status sent, 499 when the client left before, 0 when it was dropped without an answer.
    pub status: u16,
    /// Why this gate answered itself.
    pub reason: Option<&'static Reason>,
    /// When it ended.
    pub at: Instant,
}

fn is_on(log: &access_log::Config) -> bool {
    log.sink != "off"
}

/// What the session knows of the exchange with the client.
#[derive(Default)]
struct Sent {
    status: u16,
    is_http_1_0: bool,
    bytes_in: u64,
    bytes_out: u64,
    user_agent: Option<http::HeaderValue>,
    cache: Option<&'static str>,
}

impl Sent {
    fn of(session: &Session, wants_agent: bool) -> Self {
        let head = session.req_header();
        Self {
            status: session.response_written().map_or(0, |head| head.status.as_u16()),
            is_http_1_0: head.version == http::Version::HTTP_10,
            bytes_in: session.body_bytes_read() as u64,
            bytes_out: session.body_bytes_sent() as u64,
            user_agent: head.headers.get(header::USER_AGENT).filter(|_| wants_agent).cloned(),
            cache: cache::outcome(session),
        }
    }
}

/// The protocol of a request, for logs.
pub(super) fn protocol(connection: &Connection, is_http_1_0: bool) -> &'static str {
    match (connection.is_http2, is_http_1_0) {
        (true, _) => "HTTP/2",
        (false, true) => "HTTP/1.0",
        (false, false) => "HTTP/1.1",
    }
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Gateway => "gateway",
        Origin::Service => "service",
    }
}

fn auth(auth: Auth) -> &'static str {
    match auth {
        Auth::Anonymous => "anonymous",
        Auth::App => "app",
        Auth::Failed => "failed",
    }
}
