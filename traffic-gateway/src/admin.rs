//! The private listener: what operators and their tools ask this node.
//!
//! | path | role | answer |
//! |---|---|---|
//! | `/livez` | none | 200 while the process runs |
//! | `/readyz` | none | 200 while it wants traffic: a configuration is loaded and it does not drain; never depends on tier two |
//! | `/metrics` | `read` | Prometheus text |
//! | `/policy` | `read` | the generation, its lists, routes, clusters and their nodes, the last failed reload, as JSON |
//! | `/waf/rules` | `read` | the rules with their counters; see `admin/waf` |
//! | `/routes…` | `read`, `operate` | see `admin/routes` |
//! | `/cache…` | `read`, `operate` | see `admin/cache` |
//! | `/blocklist…` | `read`, `operate` | see `admin/blocklist` |
//!
//! It is a Pingora service, so that its socket is passed on at an upgrade like the others. One request a connection, which
//! takes ten seconds at most, a body of 1 MiB at most, few connections at once. The Host must be this listener (or one of `admin_hosts`),
//! so that no web page can reach it by DNS rebinding.

mod blocklist;
mod body;
mod cache;
mod routes;
mod waf;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use gatehouse_shared::{
    admin::{self, Answer, Role, Tokens, Who},
    clock,
    live::Live,
    problem,
    process::Ports,
    shutdown::{InFlight, Shutdown},
    telemetry::metrics,
};
use http::{HeaderName, Method, header};
use pingora::{
    apps::{HttpServerApp, ReusedHttpStream},
    http::{RequestHeader, ResponseHeader},
    protocols::http::ServerSession,
    server::ShutdownWatch,
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    admit::{blocklist::Keeper, cut},
    answer::cache::Store,
    observe::Observer,
    policy::Policy,
};

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
    keepers: Keepers,
    room: Semaphore,
}

/// What can be changed here.
#[derive(Debug, Clone)]
pub struct Keepers {
    /// The dynamic blocklist.
    pub blocklist: Arc<Keeper>,
    /// Stopped routes.
    pub cuts: Arc<cut::Keeper>,
    /// The answers that are kept.
    pub answers: &'static Store,
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
        keepers: Keepers,
    ) -> Self {
        Self { live, tokens, ports, shutdown, in_flight, observer, keepers, room: Semaphore::new(MOST_CONNECTIONS) }
    }

    async fn answer(&self, session: &mut ServerSession) -> pingora::Result<Answer> {
        let who = match self.admitted(session) {
            Ok(Some(who)) => who,
            Ok(None) => return Ok(self.health(session.req_header().uri.path())),
            Err(refused) => return Ok(refused),
        };
        let path = session.req_header().uri.path();
        if path == "/policy" {
            return Ok(Answer::json(&self.policy()));
        }
        if path == "/metrics" {
            let body = self.observer.metrics().render();
            return Ok(Answer::new(200, metrics::CONTENT_TYPE, body));
        }
        if waf::methods(path).is_some() {
            return Ok(Answer::json(&waf::rules(&self.live.current().value)));
        }
        let body = match body::read(session).await? {
            Ok(body) => body,
            Err(refused) => return Ok(refused),
        };
        let (head, policy) = (session.req_header(), self.live.current());
        if routes::methods(head.uri.path()).is_some() {
            let call = routes::Call {
                keeper: &self.keepers.cuts,
                policy: &policy.value,
                path: head.uri.path(),
                who: &who,
                from: peer_of(session),
                body: &body,
            };
            return Ok(routes::serve(&call, &head.method).await);
        }
        if cache::methods(head.uri.path()).is_some() {
            let call = cache::Call {
                store: self.keepers.answers,
                audit: self.keepers.blocklist.audit(),
                node: &policy.value.node,
                path: head.uri.path(),
                who: &who,
                from: peer_of(session),
                body: &body,
            };
            return Ok(cache::serve(&call, &head.method));
        }
        let call = blocklist::Call {
            keeper: &self.keepers.blocklist,
            policy: &policy.value,
            method: &head.method,
            path: head.uri.path(),
            query: head.uri.query(),
            if_match: text_of(head, &header::IF_MATCH),
            who: &who,
            from: peer_of(session),
            body: &body,
        };
        Ok(blocklist::serve(&call).await)
    }

    /// Who calls, and may; `None` for what needs no token.
    fn admitted(&self, session: &ServerSession) -> Result<Option<Who>, Answer> {
        let head = session.req_header();
        let policy = self.live.current();
        let host = text_of(head, &header::HOST).unwrap_or_default();
        if !admin::host_is_allowed(host, self.ports.admin, &policy.value.process.admin_hosts) {
            return Err(Answer::problem(&problem::ADMIN_HOST_REFUSED));
        }
        if !admin::origin_is_allowed(text_of(head, &header::ORIGIN), host) {
            return Err(Answer::problem(&problem::ADMIN_ORIGIN_REFUSED));
        }
        let path = head.uri.path();
        let allowed = match path {
            "/livez" | "/readyz" | "/metrics" | "/policy" => Some("GET, HEAD"),
            _ => blocklist::methods(path)
                .or_else(|| routes::methods(path))
                .or_else(|| waf::methods(path))
                .or_else(|| cache::methods(path)),
        };
        let Some(allowed) = allowed else { return Err(Answer::problem(&problem::ADMIN_NOT_FOUND)) };
        if !allowed.split(", ").any(|method| method == head.method.as_str()) {
            return Err(Answer::not_allowed(allowed));
        }
        let role = match path {
            "/livez" | "/readyz" => return Ok(None),
            "/metrics" | "/policy" => Role::Read,
            _ => blocklist::role(&head.method),
        };
        let token = text_of(head, &header::AUTHORIZATION);
        let who = self.tokens.authorize(token, role, peer_of(session), clock::now());
        who.map(Some)
            .map_err(|denial| Answer { retry_after: denial.retry_after_seconds(), ..Answer::problem(denial.reason()) })
    }

    fn health(&self, path: &str) -> Answer {
        match path {
            "/readyz" if self.shutdown.is_draining() => Answer::text(503, "draining\n"),
            "/readyz" => Answer::text(200, "ready\n"),
            _ => Answer::text(200, "ok\n"),
        }
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
            "blocklist": self.keepers.blocklist.status(),
            "audit": self.keepers.blocklist.audit().head(),
            "lists": policy.admission.access().map_or(&[][..], |access| access.overviews()),
            "waf": policy.admission.waf().map(|waf| waf.describe()),
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
        let answer = self.answer(session).await?;
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
        if let Some(revision) = answer.revision {
            head.insert_header(header::ETAG, format!("\"{revision}\""))?;
        }
        if let Some(allow) = answer.allow {
            head.insert_header(header::ALLOW, allow)?;
        }
        let has_body = session.req_header().method != Method::HEAD;
        session.write_response_header(Box::new(head)).await?;
        if has_body {
            session.write_response_body(answer.body.into(), true).await?;
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

fn text_of<'h>(head: &'h RequestHeader, name: &HeaderName) -> Option<&'h str> {
    head.headers.get(name).and_then(|value| value.to_str().ok())
}

fn peer_of(session: &ServerSession) -> IpAddr {
    let address: Option<SocketAddr> = session.client_addr().and_then(|address| address.as_inet()).copied();
    address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip())
}
