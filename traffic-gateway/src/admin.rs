//! The private listener: what operators and their tools ask this node.
//!
//! | path | role | answer |
//! |---|---|---|
//! | `/livez` | none | 200 while the process runs |
//! | `/readyz` | none | 200 while it wants traffic: a configuration is loaded and it does not drain; never depends on tier two |
//! | `/metrics` | `read` | Prometheus text |
//! | `/policy` | `read` | the generation, its lists, routes, clusters and their nodes, the last failed reload, as JSON |
//!
//! It is a Pingora service, so that its socket is passed on at an upgrade like the others. One request a connection, a
//! head within ten seconds, no body, few connections at once. The Host must be this listener (or one of `admin_hosts`),
//! so that no web page can reach it by DNS rebinding.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use gatehouse_shared::{
    admin::{self, Role, Tokens},
    clock,
    id::RequestId,
    live::Live,
    problem::{self, Reason},
    process::Ports,
    shutdown::{InFlight, Shutdown},
    telemetry::metrics,
};
use http::{Method, header};
use pingora::{
    apps::{HttpServerApp, ReusedHttpStream},
    http::ResponseHeader,
    protocols::http::ServerSession,
    server::ShutdownWatch,
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{observe::Observer, policy::Policy};

/// Connections served at once; more are closed unanswered.
const MOST_CONNECTIONS: usize = 64;

/// Longest wait for a head, and for the client to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The admin listener.
pub struct Admin {
    live: Arc<Live<Policy>>,
    tokens: Tokens,
    ports: Ports,
    shutdown: Shutdown,
    in_flight: InFlight,
    observer: Arc<Observer>,
    room: Semaphore,
}

/// One answer.
struct Answer {
    status: u16,
    content_type: &'static str,
    body: Bytes,
    retry_after: Option<u64>,
}

impl Answer {
    fn text(status: u16, body: &'static str) -> Self {
        Self { status, content_type: "text/plain", body: Bytes::from_static(body.as_bytes()), retry_after: None }
    }

    fn json(value: &Value) -> Self {
        let body = format!("{value:#}\n").into();
        Self { status: 200, content_type: "application/json", body, retry_after: None }
    }

    fn problem(reason: &Reason) -> Self {
        let id = RequestId::new(clock::unix_ms());
        let body = problem::json(reason, id.as_str(), None).into();
        Self { status: reason.status, content_type: problem::CONTENT_TYPE, body, retry_after: None }
    }
}

impl Admin {
    /// The admin listener of a process that listens on `ports`.
    #[must_use]
    pub fn new(
        live: Arc<Live<Policy>>,
        tokens: Tokens,
        ports: Ports,
        shutdown: Shutdown,
        in_flight: InFlight,
        observer: Arc<Observer>,
    ) -> Self {
        Self { live, tokens, ports, shutdown, in_flight, observer, room: Semaphore::new(MOST_CONNECTIONS) }
    }

    fn answer(&self, session: &ServerSession) -> Answer {
        let head = session.req_header();
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let policy = self.live.current();
        let host = text(header::HOST).unwrap_or_default();
        if !admin::host_is_allowed(host, self.ports.admin, &policy.value.process.admin_hosts) {
            return Answer::problem(&problem::ADMIN_HOST_REFUSED);
        }
        if !admin::origin_is_allowed(text(header::ORIGIN), host) {
            return Answer::problem(&problem::ADMIN_ORIGIN_REFUSED);
        }
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return Answer::problem(&problem::ADMIN_METHOD_NOT_ALLOWED);
        }
        let path = head.uri.path();
        match path {
            "/livez" => return Answer::text(200, "ok\n"),
            "/readyz" if self.shutdown.is_draining() => return Answer::text(503, "draining\n"),
            "/readyz" => return Answer::text(200, "ready\n"),
            "/metrics" | "/policy" => {}
            _ => return Answer::problem(&problem::ADMIN_NOT_FOUND),
        }
        if let Err(denial) =
            self.tokens.authorize(text(header::AUTHORIZATION), Role::Read, peer_of(session), clock::now())
        {
            return Answer { retry_after: denial.retry_after_seconds(), ..Answer::problem(denial.reason()) };
        }
        if path == "/policy" {
            return Answer::json(&self.policy());
        }
        let body = self.observer.metrics().render().into();
        Answer { status: 200, content_type: metrics::CONTENT_TYPE, body, retry_after: None }
    }

    fn policy(&self) -> Value {
        let generation = self.live.current();
        let policy = &generation.value;
        let status = self.live.status();
        let now = clock::now();
        json!({
            "tier": "edge",
            "node": policy.node,
            "zone": policy.zone,
            "version": env!("CARGO_PKG_VERSION"),
            "pid": self.ports.pid,
            "generation": generation.number,
            "source_hash": generation.source_hash,
            "loaded_unix_ms": generation.loaded_unix_ms,
            "reload": status,
            "last_failure": status.last_failure,
            "draining": self.shutdown.is_draining(),
            "in_flight": self.in_flight.count(),
            "listeners": self.ports.listeners,
            "admin": self.ports.admin,
            "lists": policy.admission.access().map_or(&[][..], |access| access.overviews()),
            "routes": policy.routes.all().iter().map(|route| json!({
                "name": route.name,
                "cluster": route.cluster.name,
                "timeout_ms": u64::try_from(route.timeout.as_millis()).unwrap_or(u64::MAX),
            })).collect::<Vec<_>>(),
            "clusters": policy.clusters.iter().map(|cluster| cluster.describe(now)).collect::<Vec<_>>(),
        })
    }

    async fn serve(&self, session: &mut ServerSession) -> pingora::Result<()> {
        if !session.read_request().await? {
            return Ok(());
        }
        session.set_keepalive(None);
        let answer = self.answer(session);
        let mut head = ResponseHeader::build_no_case(answer.status, Some(6))?;
        head.insert_header(header::CONTENT_TYPE, answer.content_type)?;
        head.insert_header(header::CONTENT_LENGTH, answer.body.len())?;
        head.insert_header(header::CACHE_CONTROL, "no-store")?;
        head.insert_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")?;
        if answer.status == 401 {
            head.insert_header(header::WWW_AUTHENTICATE, "Bearer")?;
        }
        if let Some(delay) = answer.retry_after {
            head.insert_header(header::RETRY_AFTER, delay)?;
        }
        let has_body = session.req_header().method != Method::HEAD;
        session.write_response_header(Box::new(head)).await?;
        if has_body {
            session.write_response_body(answer.body, true).await?;
        }
        session.finish_body().await
    }
}

#[async_trait]
impl HttpServerApp for Admin {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let Ok(_room) = self.room.try_acquire() else {
            tracing::warn!("admin connection closed: {MOST_CONNECTIONS} are being served");
            return None;
        };
        match tokio::time::timeout(PATIENCE, self.serve(&mut session)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "admin request failed"),
            Err(_) => tracing::debug!("admin request took too long"),
        }
        session.shutdown().await;
        None
    }
}

fn peer_of(session: &ServerSession) -> IpAddr {
    let address: Option<SocketAddr> = session.client_addr().and_then(|address| address.as_inet()).copied();
    address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip())
}
