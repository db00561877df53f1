//! The private listener: what operators and their tools ask this node.
//!
//! | path | role | answer |
//! |---|---|---|
//! | `/livez` | none | 200 while the process runs |
//! | `/readyz` | none | 200 while it takes requests: a configuration is loaded and it does not drain; services have no say |
//! | `/metrics` | `read` | Prometheus text |
//! | `/openapi.json` | `read` | everything that is served here, as an OpenAPI document |
//! | `/policy` | `read` | the generation, its services and their endpoints, its APIs, the last failed reload, as JSON |
//!
//! What can be changed is listed in [`RESOURCES`], one file each.
//!
//! One request a connection, few connections at once, everything within ten seconds, a body of 1 MiB at most. `Host` must be
//! this listener or one of `admin_hosts`, so that no web page can reach it by DNS rebinding. It stays open during a drain.

mod body;
mod call;
mod quota;
mod groups;
mod cache;
mod registry;
mod splits;
mod resource;
pub mod openapi;
pub mod catalog;
mod apps;
mod routes;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gatehouse_shared::admin::{Answer, Role, Tokens, Who, host_is_allowed, origin_is_allowed};
use gatehouse_shared::clock;
use gatehouse_shared::problem;
use gatehouse_shared::process::Ports;
use gatehouse_shared::telemetry::metrics::CONTENT_TYPE;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

pub use self::call::{Call, invalid};
pub use self::resource::{RESOURCES, Resource, Served};
use crate::dispatch::service::Service;
use crate::gateway::Gateway;

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
                let answer = admin.answer(request, peer);
                async move { Ok::<_, Infallible>(on_the_wire(answer.await)) }
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

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Answer {
        let (head, body) = request.into_parts();
        let admitted = match self.admitted(&head, peer) {
            Ok(admitted) => admitted,
            Err(refused) => return refused,
        };
        let (who, resource) = match admitted {
            Admitted::Health(answer) => return answer,
            Admitted::State if head.uri.path() == "/policy" => return Answer::json(&self.policy()),
            Admitted::State => return Answer::new(200, CONTENT_TYPE, self.gateway.metrics.render()),
            Admitted::Call(who, resource) => (who, resource),
        };
        let body = match body::read(body).await {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        let call = Call {
            gateway: &self.gateway,
            method: &head.method,
            path: head.uri.path(),
            query: head.uri.query(),
            if_match: text_of(&head, &header::IF_MATCH),
            who: &who,
            from: peer.ip(),
            body: &body,
        };
        (resource.serve)(call).await.unwrap_or_else(|refused| refused)
    }

    /// Who calls, and may.
    fn admitted(&self, head: &Parts, peer: SocketAddr) -> Result<Admitted, Answer> {
        let generation = self.gateway.live.current();
        let host = text_of(head, &header::HOST).unwrap_or_default();
        if !host_is_allowed(host, self.ports.admin, &generation.value.process.admin_hosts) {
            return Err(Answer::problem(&problem::ADMIN_HOST_REFUSED));
        }
        if !origin_is_allowed(text_of(head, &header::ORIGIN), host) {
            return Err(Answer::problem(&problem::ADMIN_ORIGIN_REFUSED));
        }
        let path = head.uri.path();
        let found = RESOURCES.iter().find_map(|resource| Some((resource, (resource.methods)(path)?)));
        let allowed = match (path, found) {
            ("/livez" | "/readyz" | "/metrics" | "/policy", _) => "GET, HEAD",
            (_, Some((_, allowed))) => allowed,
            _ => return Err(Answer::problem(&problem::ADMIN_NOT_FOUND)),
        };
        if !allowed.split(", ").any(|method| method == head.method.as_str()) {
            return Err(Answer::not_allowed(allowed));
        }
        let role = match (path, found) {
            ("/livez", _) => return Ok(Admitted::Health(Answer::text(200, "ok\n"))),
            ("/readyz", _) if self.gateway.is_ready() => return Ok(Admitted::Health(Answer::text(200, "ready\n"))),
            ("/readyz", _) => return Ok(Admitted::Health(Answer::text(503, "draining\n"))),
            (_, Some((resource, _))) => (resource.role)(&head.method, path),
            _ => Role::Read,
        };
        let token = text_of(head, &header::AUTHORIZATION);
        match self.tokens.authorize(token, role, peer.ip(), clock::now()) {
            Ok(who) => Ok(found.map_or(Admitted::State, |(resource, _)| Admitted::Call(who, resource))),
            Err(denial) => {
                Err(Answer { retry_after: denial.retry_after_seconds(), ..Answer::problem(denial.reason()) })
            }
        }
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
            "catalog": gateway.revisions.status(),
            "services": catalog.services.values().map(|service| describe(service)).collect::<Vec<_>>(),
            "apis": catalog.apis.iter().map(|api| json!({
                "name": &*api.name,
                "batchable": api.batchable,
                "service": api.target.service().map(|service| &*service.name),
                "aggregate": api.target.aggregate().map(|aggregate| &*aggregate.name),
                "hosts": api.hosts,
                "methods": api.methods.iter().map(Method::as_str).collect::<Vec<_>>(),
                "path": api.path.to_string(),
                "timeout_ms": api.timeout.or(api.target.service().map(|service| service.timeout)).map(millis),
            })).collect::<Vec<_>>(),
        })
    }
}

fn describe(service: &Service) -> Value {
    let now = clock::now();
    let set = service.members.now();
    json!({
        "name": &*service.name,
        "protocol": service.protocol.as_str(),
        "timeout_ms": millis(service.timeout),
        "connections_open": service.counters.open(),
        "connections_opened": service.counters.opened.get(),
        "answered": service.counters.answered.get(),
        "strategy": set.balance.strategy(),
        "totals": set.balance.totals(),
        "retries_left": service.retries.left(now),
        "retries_exhausted": service.retries.exhausted(),
        "breaker": service.breaker.as_ref().map(|breaker| breaker.state(now).as_str()),
        "found_in": service.discovered.as_ref().map(|(source, _)| source.describe()),
        "found_seconds_ago": service.discovered.as_ref().map(|(_, status)| status.age(now).as_secs()),
        "endpoints": set.balance.status(now),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What may be answered.
enum Admitted {
    /// Whether the process runs and is ready: anybody may know.
    Health(Answer),
    /// What is in force, or the metrics.
    State,
    /// A call of a resource.
    Call(Who, &'static Resource),
}

fn text_of<'h>(head: &'h Parts, name: &HeaderName) -> Option<&'h str> {
    head.headers.get(name).and_then(|value| value.to_str().ok())
}

fn on_the_wire(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = answer.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(etag) = answer.revision.and_then(|revision| HeaderValue::try_from(format!("\"{revision}\"")).ok()) {
        headers.insert(header::ETAG, etag);
    }
    if let Some(allow) = answer.allow {
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    response
}
