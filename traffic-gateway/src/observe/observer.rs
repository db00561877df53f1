//! Records each request once: one access-log line, a few counters.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use gatehouse_shared::{
    clock,
    hop::{Auth, Origin},
    id::RequestId,
    problem::{self, Reason},
    shutdown::{InFlight, InFlightGuard},
    telemetry::access_log::{self, LineWriter},
};
use http::header;
use pingora::proxy::Session;

use super::{access_log::Entry, metrics::Metrics};
use crate::{
    accept::{Connection, Refusals},
    context::Context,
};

/// Where requests are recorded.
pub struct Observer {
    node: Box<str>,
    log: LineWriter,
    logs: AtomicBool,
    in_flight: InFlight,
    metrics: Metrics,
    started: Instant,
}

impl Observer {
    /// An observer for the node of this name.
    ///
    /// # Errors
    ///
    /// The access log cannot be opened.
    pub fn start(
        node: Box<str>,
        log: &access_log::Config,
        in_flight: InFlight,
        metrics: Metrics,
    ) -> io::Result<Arc<Self>> {
        let writer = LineWriter::start(log)?;
        Ok(Arc::new(Self {
            node,
            log: writer,
            logs: AtomicBool::new(is_on(log)),
            in_flight,
            metrics,
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

    /// Counts a request in until the guard is dropped.
    pub fn begin(&self) -> InFlightGuard {
        self.in_flight.enter()
    }

    /// The writer of the access log.
    #[must_use]
    pub fn log(&self) -> &LineWriter {
        &self.log
    }

    /// The configuration of the access log has changed.
    pub fn retarget(&self, log: &access_log::Config) {
        self.log.retarget(log);
        self.logs.store(is_on(log), Ordering::Relaxed);
    }

    /// Writes what is still queued; nothing is recorded afterwards.
    pub fn close(&self) {
        self.log.close();
    }

    /// Whether lines are put together at all.
    fn logs(&self) -> bool {
        self.logs.load(Ordering::Relaxed)
    }

    /// Records a request that arrived; without a session its future was cancelled.
    pub fn record(&self, context: &Context, session: Option<&mut Session>) {
        let Some(arrival) = context.arrival.as_deref() else { return };
        let now = clock::now();
        let duration = now.saturating_duration_since(arrival.received_at);
        let mut sent = Sent::default();
        if let Some(session) = session {
            sent.status = session.response_written().map_or(0, |head| head.status.as_u16());
            sent.is_http_1_0 = session.req_header().version == http::Version::HTTP_10;
            sent.bytes_in = session.body_bytes_read() as u64;
            sent.bytes_out = session.body_bytes_sent() as u64;
            if self.logs() {
                sent.user_agent = session.req_header().headers.get(header::USER_AGENT).cloned();
            }
        }
        let outcome = &context.outcome;
        let mut reason = outcome.reason.or(arrival.cut_short());
        if sent.status < 200 {
            reason = reason.or(Some(&problem::CLIENT_CLOSED));
            sent.status = arrival.cut_short().unwrap_or(&problem::CLIENT_CLOSED).status;
        }
        self.metrics.request(context.route.as_deref(), sent.status, reason, duration);
        self.metrics.attempts(context.attempt.count());
        if !self.logs() {
            return;
        }
        let connection = &arrival.connection;
        let trace_id = context.trace.as_ref().map(gatehouse_shared::id::TraceContext::trace_id);
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
            origin: outcome.result.as_ref().map(|result| origin(result.origin)),
            auth: outcome.result.as_ref().map(|result| auth(result.auth)),
            error: outcome.cause.as_deref(),
        };
        self.log.push(entry.to_line());
    }
}

impl Refusals for Observer {
    fn refused(&self, connection: &Connection, reason: &'static Reason, request_id: RequestId, head: &[u8]) {
        let status = reason.status;
        self.metrics.request(None, status, Some(reason), std::time::Duration::ZERO);
        if !self.logs() {
            return;
        }
        let text = String::from_utf8_lossy(head);
        let mut words = text.lines().next().unwrap_or_default().split(' ');
        let entry = Entry {
            time_unix_ms: clock::unix_ms(),
            request_id: request_id.as_str(),
            trace_id: None,
            node: &self.node,
            client: connection.source,
            peer: (connection.peer != connection.source).then_some(connection.peer),
            protocol: protocol(connection, words.next_back() == Some("HTTP/1.0")),
            tls: connection.tls.as_deref().map(|tls| tls.version),
            method: words.next().unwrap_or_default(),
            host: "",
            target: words.next().unwrap_or_default(),
            user_agent: None,
            status,
            reason: Some(reason.code),
            bytes_in: 0,
            bytes_out: 0,
            duration: std::time::Duration::ZERO,
            upstream: None,
            route: None,
            cluster: None,
            upstream_address: None::<SocketAddr>,
            attempts: 0,
            origin: None,
            auth: None,
            error: None,
        };
        self.log.push(entry.to_line());
    }
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
}

fn protocol(connection: &Connection, is_http_1_0: bool) -> &'static str {
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
