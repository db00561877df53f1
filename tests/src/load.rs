//! Load: requests sent at a fixed pace, whatever becomes of the earlier ones, each with an id for the ledger.
//!
//! Request `i` of a load is due `i ÷ rate` after its start and is sent by client `i mod clients`; its latency counts from
//! when it was due. A client keeps its connection, as browsers do; when the connection turns out to be over it opens
//! another, and a `GET` that was cut off *before any byte of its answer, on a connection used before* is sent once more
//! there (RFC 9110, 9.2.2). Such repetitions are counted apart. Nothing else is ever repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::client::{Answer, Body, Connection, Target, empty, full};
use crate::sample::{LEDGER_ID, SERVED_BY};

/// No request is waited for longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers loads, so that ids of different loads differ.
static LOADS: AtomicU64 = AtomicU64::new(1);

/// What to send, where and how fast.
#[derive(Debug, Clone)]
pub struct Load {
    /// Clients are spread over these in turn.
    pub targets: Vec<Target>,
    /// Clients, each with at most one request under way.
    pub clients: usize,
    /// Requests a second, by all clients together.
    pub rate: u32,
    /// Every n-th request is a `POST` with a small body; 0 for none.
    pub post_every: u64,
    /// The path requested.
    pub path: String,
    /// Requests in all; `None` until stopped.
    pub total: Option<u64>,
    /// Whether a client keeps its connection for its next request.
    pub keeps_connections: bool,
}

impl Load {
    /// `GET path` by `clients` clients, `rate` times a second in all.
    #[must_use]
    pub fn new(target: Target, clients: usize, rate: u32, path: &str) -> Self {
        Self {
            targets: vec![target],
            clients,
            rate,
            post_every: 0,
            path: path.to_owned(),
            total: None,
            keeps_connections: true,
        }
    }

    /// The same with every n-th request a `POST`.
    #[must_use]
    pub fn post_every(mut self, n: u64) -> Self {
        self.post_every = n;
        self
    }

    /// The same with a number of requests after which it ends by itself.
    #[must_use]
    pub fn total(mut self, total: u64) -> Self {
        self.total = Some(total);
        self
    }

    /// The same with a new connection for every request.
    #[must_use]
    pub fn without_keepalive(mut self) -> Self {
        self.keeps_connections = false;
        self
    }

    /// The same with the clients spread over `targets` in turn.
    #[must_use]
    pub fn over(mut self, targets: Vec<Target>) -> Self {
        self.targets = targets;
        self
    }

    /// Starts sending.
    #[must_use]
    pub fn start(self) -> Running {
        let plan = Arc::new(Plan {
            number: LOADS.fetch_add(1, Ordering::Relaxed),
            start: Instant::now(),
            stop: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            load: self,
        });
        let mut clients = JoinSet::new();
        for client in 0..plan.load.clients {
            clients.spawn(run_client(Arc::clone(&plan), client));
        }
        Running { plan, clients }
    }
}

/// A load under way. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    plan: Arc<Plan>,
    clients: JoinSet<Vec<Sent>>,
}

#[derive(Debug)]
struct Plan {
    number: u64,
    start: Instant,
    stop: AtomicBool,
    answered: AtomicU64,
    load: Load,
}

impl Running {
    /// Requests answered so far.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.plan.answered.load(Ordering::Relaxed)
    }

    /// Waits until `more` further requests were answered.
    ///
    /// # Errors
    /// They were not within a minute.
    pub async fn answers(&self, more: u64) -> anyhow::Result<()> {
        let wanted = self.answered() + more;
        let seen = async || (self.answered() >= wanted).then_some(());
        crate::until::until(format!("{more} more answers"), PATIENCE, seen).await
    }

    /// Sends nothing new, waits for what is under way and reports.
    pub async fn stop(self) -> Report {
        self.plan.stop.store(true, Ordering::Relaxed);
        self.finish().await
    }

    /// Waits until the load has sent its total, and reports.
    pub async fn finish(self) -> Report {
        let sent = self.clients.join_all().await.into_iter().flatten().collect();
        Report { sent }
    }
}

/// What became of one request.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its id in the ledger.
    pub id: String,
    /// Its method.
    pub method: Method,
    /// From when it was due to when its answer was whole.
    pub latency: Duration,
    /// The status, or what went wrong.
    pub outcome: Result<u16, Failure>,
    /// The service process that answered.
    pub served_by: String,
    /// Whether it was sent once more after its connection turned out to be over.
    pub repeated: bool,
}

/// Why there is no whole answer.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Whether the answer's head had come.
    pub had_begun: bool,
    /// What the client saw.
    pub cause: String,
}

/// What became of all requests.
#[derive(Debug, Clone)]
pub struct Report {
    /// Every request.
    pub sent: Vec<Sent>,
}

impl Report {
    /// Requests without a whole answer or with a status outside `200..400`.
    pub fn failed(&self) -> impl Iterator<Item = &Sent> {
        self.sent.iter().filter(|sent| !matches!(sent.outcome, Ok(200..400)))
    }

    /// The failures as text: each kind once, with its number.
    #[must_use]
    pub fn failures(&self) -> String {
        let mut kinds = std::collections::BTreeMap::<String, usize>::new();
        for sent in self.failed() {
            *kinds.entry(format!("{} {:?}", sent.method, sent.outcome)).or_default() += 1;
        }
        kinds.iter().map(|(kind, count)| format!("{count} × {kind}")).collect::<Vec<_>>().join("\n")
    }

    /// Requests that were sent once more.
    #[must_use]
    pub fn repeated(&self) -> usize {
        self.sent.iter().filter(|sent| sent.repeated).count()
    }

    /// The latency that `share` (0 to 1) of the requests stayed within.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let mut latencies: Vec<Duration> = self.sent.iter().map(|sent| sent.latency).collect();
        latencies.sort_unstable();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index within the list")]
        let index = (latencies.len().saturating_sub(1) as f64 * share.clamp(0.0, 1.0)).round() as usize;
        latencies.get(index).copied().unwrap_or_default()
    }

    /// How many requests each service process answered.
    #[must_use]
    pub fn by_service(&self) -> std::collections::BTreeMap<String, usize> {
        self.sent.iter().fold(std::collections::BTreeMap::new(), |mut counts, sent| {
            *counts.entry(sent.served_by.clone()).or_default() += 1;
            counts
        })
    }
}

async fn run_client(plan: Arc<Plan>, client: usize) -> Vec<Sent> {
    let Some(target) = plan.load.targets.get(client % plan.load.targets.len().max(1)) else {
        return Vec::new();
    };
    let mut sent = Vec::new();
    let mut connection = None;
    let mut index = client as u64;
    while plan.load.total.is_none_or(|total| index < total) {
        let due = plan.start + Duration::from_secs_f64(index as f64 / f64::from(plan.load.rate.max(1)));
        sleep_until(due).await;
        if plan.stop.load(Ordering::Relaxed) {
            break;
        }
        let method = match plan.load.post_every {
            n if n > 0 && index % n == n - 1 => Method::POST,
            _ => Method::GET,
        };
        let id = format!("{}-{index}", plan.number);
        let mut exchange = Exchange { target, path: &plan.load.path, method, id, repeated: false };
        let done = timeout(PATIENCE, exchange.run(&mut connection)).await;
        let (outcome, served_by) = match done {
            Ok(Ok(answer)) => (Ok(answer.status.as_u16()), answer.header(SERVED_BY.as_str()).to_owned()),
            Ok(Err(failure)) => (Err(failure), String::new()),
            Err(_elapsed) => (Err(Failure { had_begun: false, cause: "no answer in a minute".into() }), String::new()),
        };
        if outcome.is_err() || !plan.load.keeps_connections {
            connection = None;
        }
        plan.answered.fetch_add(1, Ordering::Relaxed);
        let Exchange { method, id, repeated, .. } = exchange;
        sent.push(Sent { id, method, latency: due.elapsed(), outcome, served_by, repeated });
        index += plan.load.clients as u64;
    }
    sent
}

/// One request on its way.
struct Exchange<'a> {
    target: &'a Target,
    path: &'a str,
    method: Method,
    id: String,
    repeated: bool,
}

impl Exchange<'_> {
    async fn run(&mut self, kept: &mut Option<Connection>) -> Result<Answer, Failure> {
        if let Some(connection) = kept.as_mut().filter(|connection| !connection.is_closed()) {
            match connection.send(self.request()?).await {
                Ok(response) => {
                    return Answer::read(response).await.map_err(|error| Failure::after_head(&error));
                }
                Err(error) if error.message().is_some() => {}
                Err(_cut_off) if self.method == Method::GET => self.repeated = true,
                Err(error) => return Err(Failure::before_head(&error.into_error().into())),
            }
        }
        let mut fresh = Connection::open(self.target).await.map_err(|error| Failure::before_head(&error))?;
        let response = fresh.send(self.request()?).await;
        let response = response.map_err(|error| Failure::before_head(&error.into_error().into()))?;
        *kept = Some(fresh);
        Answer::read(response).await.map_err(|error| Failure::after_head(&error))
    }

    fn request(&self) -> Result<Request<Body>, Failure> {
        let body = if self.method == Method::POST { full(Bytes::from_static(b"ledger")) } else { empty() };
        let builder =
            self.target.request(self.method.clone(), self.path).map_err(|error| Failure::before_head(&error))?;
        builder.header(LEDGER_ID, &self.id).body(body).map_err(|error| Failure::before_head(&error.into()))
    }
}

impl Failure {
    fn before_head(error: &anyhow::Error) -> Self {
        Self { had_begun: false, cause: format!("{error:#}") }
    }

    fn after_head(error: &anyhow::Error) -> Self {
        Self { had_begun: true, cause: format!("{error:#}") }
    }
}
