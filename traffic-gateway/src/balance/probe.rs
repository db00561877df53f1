//! Asks every business node whether it is ready, on its data port, and tells the balancer.
//!
//! One background task serves all generations: it looks at the current clusters, probes what is due, and reports to the
//! pools, which outlive reloads. The exchange itself is Pingora's HTTP health check; what several answers in a row mean
//! is decided by [`gatehouse_shared::balance`].

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use gatehouse_shared::{
    balance::ProbeThresholds,
    clock,
    config::{ConfigErrors, HumanDuration, Positions},
    live::Live,
};
use pingora::{http::RequestHeader, server::ShutdownWatch, services::background::BackgroundService};
use pingora_load_balancing::{
    Backend,
    health_check::{HealthCheck, HttpHealthCheck},
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::Cluster;
use crate::policy::Policy;

/// How often the task looks for probes that are due.
const TICK: Duration = Duration::from_millis(50);

/// Probes under way at once.
const MOST_AT_ONCE: usize = 64;

/// `[cluster.probe]`: how nodes are asked whether they are ready.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether nodes are probed at all; without, only failing requests tell.
    pub enabled: bool,
    /// Path asked for on the data port; a node is ready when it answers 200.
    pub path: String,
    /// Time between two probes of a node.
    pub interval: HumanDuration,
    /// Longest wait for an answer.
    pub timeout: HumanDuration,
    /// Good answers in a row after which a node is used again.
    pub rise: u32,
    /// Bad answers in a row after which a node is left out.
    pub fall: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            path: "/.gatehouse/ready".to_owned(),
            interval: HumanDuration::from_secs(1),
            timeout: HumanDuration::from_secs(1),
            rise: 2,
            fall: 2,
        }
    }
}

/// A compiled probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    path: Box<str>,
    interval: Duration,
    timeout: Duration,
    /// What several answers in a row mean.
    pub thresholds: ProbeThresholds,
}

impl Probe {
    /// Compiles the probe of one cluster; `None` when it is switched off.
    ///
    /// # Errors
    ///
    /// Every value that cannot work.
    pub fn compile(config: &Config, positions: &Positions, path: &str) -> Result<Option<Self>, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut expect = |holds: bool, field: &str, message: &str| {
            if !holds {
                errors.push(positions.error(&format!("{path}.{field}"), message, None));
            }
        };
        let is_target = config.path.starts_with('/') && config.path.bytes().all(|byte| byte.is_ascii_graphic());
        expect(is_target, "path", "path must start with a slash and contain no white space");
        expect(config.interval.get() >= Duration::from_millis(100), "interval", "interval must be at least 100ms");
        expect(!config.timeout.get().is_zero(), "timeout", "timeout must be above zero");
        expect(config.rise > 0, "rise", "rise must be at least 1");
        expect(config.fall > 0, "fall", "fall must be at least 1");
        errors.into_result(config.enabled.then(|| Self {
            path: config.path.as_str().into(),
            interval: config.interval.get(),
            timeout: config.timeout.get(),
            thresholds: ProbeThresholds { rise: config.rise, fall: config.fall },
        }))
    }
}

/// The background task.
pub struct Prober {
    live: Arc<Live<Policy>>,
    room: Arc<Semaphore>,
}

/// What the task keeps between two looks at the clusters.
#[derive(Default)]
struct Schedule {
    due: HashMap<(Box<str>, SocketAddr), Instant>,
    checks: HashMap<Box<str>, (Probe, Arc<HttpHealthCheck>)>,
}

impl Prober {
    /// A prober for whatever generation is current.
    #[must_use]
    pub fn new(live: Arc<Live<Policy>>) -> Self {
        Self { live, room: Arc::new(Semaphore::new(MOST_AT_ONCE)) }
    }

    fn probe_what_is_due(&self, schedule: &mut Schedule) {
        let policy = self.live.current();
        let now = clock::now();
        let mut due = HashMap::with_capacity(schedule.due.len());
        for cluster in &policy.value.clusters {
            let Some(probe) = &cluster.probe else { continue };
            let check = schedule.check_for(&cluster.name, probe);
            for (index, node) in cluster.nodes().iter().enumerate() {
                let key = (cluster.name.clone(), node.address);
                let mut next = schedule.due.get(&key).copied().unwrap_or(now);
                if next <= now
                    && let Ok(permit) = Arc::clone(&self.room).try_acquire_owned()
                {
                    next = now + spread(probe.interval, node.address);
                    let (cluster, check, address) = (Arc::clone(cluster), Arc::clone(&check), node.address);
                    tokio::spawn(async move {
                        probe_node(&cluster, index, address, &check).await;
                        drop(permit);
                    });
                }
                due.insert(key, next);
            }
        }
        schedule.due = due;
        schedule.checks.retain(|name, _| policy.value.clusters.iter().any(|cluster| cluster.name == *name));
    }
}

impl Schedule {
    /// The health check of a cluster, which keeps its connections; made anew only when the probe has changed.
    fn check_for(&mut self, cluster: &str, probe: &Probe) -> Arc<HttpHealthCheck> {
        if let Some((known, check)) = self.checks.get(cluster)
            && known == probe
        {
            return Arc::clone(check);
        }
        let check = Arc::new(health_check(probe));
        self.checks.insert(cluster.into(), (probe.clone(), Arc::clone(&check)));
        check
    }
}

#[async_trait]
impl BackgroundService for Prober {
    async fn start(&self, shutdown: ShutdownWatch) {
        let mut schedule = Schedule::default();
        let mut tick = tokio::time::interval(TICK);
        while !*shutdown.borrow() {
            tick.tick().await;
            self.probe_what_is_due(&mut schedule);
        }
    }
}

async fn probe_node(cluster: &Cluster, index: usize, address: SocketAddr, check: &HttpHealthCheck) {
    let backend = match Backend::new(&address.to_string()) {
        Ok(backend) => backend,
        Err(error) => {
            tracing::error!(%error, %address, "node cannot be probed");
            return;
        }
    };
    let sent = clock::now();
    let result = check.check(&backend).await;
    if let Some(change) = cluster.pool.probed(index, result.is_ok(), sent) {
        let cause = result.err().map(|error| error.to_string()).unwrap_or_default();
        let (is_ready, ended_ejection) = (change.is_healthy, change.ended_ejection);
        tracing::warn!(cluster = %cluster.name, node = %address, is_ready, ended_ejection, cause, "node judged anew");
    }
}

fn health_check(probe: &Probe) -> HttpHealthCheck {
    let mut check = HttpHealthCheck::new("gatehouse", false);
    if let Ok(mut request) = RequestHeader::build("GET", probe.path.as_bytes(), Some(1))
        && request.insert_header("Host", "gatehouse").is_ok()
    {
        check.req = request;
    }
    check.reuse_connection = true;
    let options = &mut check.peer_template.options;
    options.connection_timeout = Some(probe.timeout);
    options.total_connection_timeout = Some(probe.timeout);
    options.read_timeout = Some(probe.timeout);
    options.write_timeout = Some(probe.timeout);
    options.idle_timeout = Some(probe.interval.saturating_mul(4));
    check
}

/// The interval, up to a tenth shorter by address, so that a fleet of nodes is not asked in one burst.
fn spread(interval: Duration, address: SocketAddr) -> Duration {
    let share = u32::from(address.port()) % 10;
    interval - interval / 100 * share
}
