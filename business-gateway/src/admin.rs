//! The private listener: what operators and their tools ask this node.
//!
//! | path | role | answer |
//! |---|---|---|
//! | `/livez` | none | 200 while the process runs |
//! | `/readyz` | none | 200 while it takes requests: a configuration is loaded and it does not drain; services have no say |
//! | `/metrics` | `read` | Prometheus text |
//! | `/policy` | `read` | the generation, its services and their endpoints, its APIs, the last failed reload, as JSON |
//!
//! One request a connection, few connections at once, everything within ten seconds, no body is read. `Host` must be this
//! listener or one of `admin_hosts`, so that no web page can reach it by DNS rebinding. It stays open during a drain.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gatehouse_shared::admin::{Role, Tokens, host_is_allowed, origin_is_allowed};
use gatehouse_shared::clock;
use gatehouse_shared::id::RequestId;
use gatehouse_shared::problem::{self, Reason};
use gatehouse_shared::process::Ports;
use gatehouse_shared::telemetry::metrics::CONTENT_TYPE;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::dispatch::service::Service;
use crate::pipeline::Gateway;

/// Connections served at once; more are closed unanswered.
const MOST_CONNECTIONS: usize = 64;
/// For a whole connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest head.
const HEAD_MAX: usize = 16 * 1024;
/// After an error of accept, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The admin listener.
#[derive(Debug)]
pub struct Admin {
    gateway: Arc<Gateway>,
    tokens: Tokens,
    ports: Ports,
    room: Arc<Semaphore>,
}

type Answer = Response<Full<Bytes>>;

impl Admin {
    /// The admin listener of a process that listens on `ports`.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, tokens: Tokens, ports: Ports) -> Arc<Self> {
        Arc::new(Self { gateway, tokens, ports, room: Arc::new(Semaphore::new(MOST_CONNECTIONS)) })
    }

    /// Serves until the task is dropped.
    pub async fn run(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) => {
                    tracing::debug!(%error, "cannot accept admin connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else { return };
        let admin = Arc::clone(self);
        tokio::spawn(async move {
            let _room = room;
            let service = service_fn(|request: Request<Incoming>| {
                let answer = admin.answer(&request, peer);
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false).max_buf_size(HEAD_MAX);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            match tokio::time::timeout(PATIENCE, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "admin connection ended"),
                Err(_elapsed) => tracing::debug!("admin connection took too long"),
            }
        });
    }

    fn answer(&self, request: &Request<Incoming>, peer: SocketAddr) -> Answer {
        let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
        let generation = self.gateway.live.current();
        let host = text(header::HOST).unwrap_or_default();
        if !host_is_allowed(host, self.ports.admin, &generation.value.process.admin_hosts) {
            return refusal(&problem::ADMIN_HOST_REFUSED);
        }
        if !origin_is_allowed(text(header::ORIGIN), host) {
            return refusal(&problem::ADMIN_ORIGIN_REFUSED);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return refusal(&problem::ADMIN_METHOD_NOT_ALLOWED);
        }
        match request.uri().path() {
            "/livez" => return plain(StatusCode::OK, "ok\n"),
            "/readyz" if self.gateway.is_ready() => return plain(StatusCode::OK, "ready\n"),
            "/readyz" => return plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            "/metrics" | "/policy" => {}
            _ => return refusal(&problem::ADMIN_NOT_FOUND),
        }
        if let Err(denial) = self.tokens.authorize(text(header::AUTHORIZATION), Role::Read, peer.ip(), clock::now()) {
            let mut answer = refusal(denial.reason());
            if let Some(seconds) = denial.retry_after_seconds() {
                answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            return answer;
        }
        if request.uri().path() == "/policy" {
            return answer(StatusCode::OK, "application/json", format!("{:#}\n", self.policy()));
        }
        answer(StatusCode::OK, CONTENT_TYPE, self.gateway.metrics.render())
    }

    /// What is in force, without any secret.
    fn policy(&self) -> Value {
        let gateway = &self.gateway;
        let generation = gateway.live.current();
        let status = gateway.live.status();
        let catalog = &generation.value.catalog;
        json!({
            "tier": "business",
            "node": gateway.node,
            "zone": generation.value.zone,
            "version": env!("CARGO_PKG_VERSION"),
            "pid": self.ports.pid,
            "generation": generation.number,
            "source_hash": generation.source_hash,
            "loaded_unix_ms": generation.loaded_unix_ms,
            "last_failure": status.last_failure,
            "reload": status,
            "draining": gateway.shutdown.is_draining(),
            "in_flight": gateway.in_flight.count(),
            "listeners": self.ports.listeners,
            "admin": self.ports.admin,
            "services": catalog.services.values().map(|service| describe(service)).collect::<Vec<_>>(),
            "apis": catalog.apis.iter().map(|api| json!({
                "name": &*api.name,
                "service": &*api.service.name,
                "hosts": api.hosts,
                "methods": api.methods.iter().map(Method::as_str).collect::<Vec<_>>(),
                "path": api.path.to_string(),
                "timeout_ms": millis(api.timeout),
            })).collect::<Vec<_>>(),
        })
    }
}

fn describe(service: &Service) -> Value {
    let now = clock::now();
    json!({
        "name": &*service.name,
        "protocol": service.protocol.as_str(),
        "timeout_ms": millis(service.timeout),
        "connections_open": service.counters.open(),
        "connections_opened": service.counters.opened.get(),
        "answered": service.counters.answered.get(),
        "strategy": service.balance.strategy(),
        "totals": service.balance.totals(),
        "retries_left": service.retries.left(now),
        "retries_exhausted": service.retries.exhausted(),
        "endpoints": service.balance.status(now),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    answer(status, "text/plain; charset=utf-8", text)
}

fn refusal(reason: &Reason) -> Answer {
    let request_id = RequestId::new(clock::unix_ms());
    let status = StatusCode::from_u16(reason.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut refusal = answer(status, problem::CONTENT_TYPE, problem::json(reason, request_id.as_str(), None));
    if status == StatusCode::UNAUTHORIZED {
        refusal.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    refusal
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
