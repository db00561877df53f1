//! What happens beside the calls: endpoints are looked for and asked whether they are well, parked connections that are too old, or that the
//! service has closed, are closed here too, and the access log follows the configuration.
//!
//! One task looks at the current generation again and again, so a reload changes what it does without a restart of anything.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatehouse_shared::clock;
use gatehouse_shared::shutdown::Phase;
use http::{Method, Request, Version, header};
use tokio::task::JoinSet;

use super::discovery::Discovery;
use super::service::{ProbeConfig, Service};
use super::upstream::pool::{Endpoint, Limits, Protocol};
use super::upstream::{Form, Head, Http1Head};
use crate::accept::body::Upload;
use crate::gateway::Gateway;

/// How often the task looks whether something is due; a probe is late by this much at most.
const TICK: Duration = Duration::from_millis(100);
/// Between two looks at the parked connections.
const SWEEP: Duration = Duration::from_secs(2);

/// As what a probe introduces itself.
const AGENT: &str = "gatehouse-probe";

type Key = (Arc<str>, SocketAddr);

/// Runs until the process stops.
pub async fn run(gateway: Arc<Gateway>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut swept = clock::now();
    let mut probes = Probes::default();
    let mut discovery = Discovery::new(gateway.store.clone());
    let mut access_log = gateway.live.current().value.access_log.clone();
    while gateway.shutdown.phase() < Phase::Stopping {
        ticks.tick().await;
        let now = clock::now();
        let generation = gateway.live.current();
        if generation.value.access_log != access_log {
            access_log = generation.value.access_log.clone();
            gateway.log.retarget(&access_log);
        }
        let services = &generation.value.catalog.services;
        generation.value.issuers.tend(clock::unix_ms());
        discovery.tend(&generation.value, now);
        probes.collect();
        probes.forget_all_but(services.values());
        for service in services.values() {
            probes.begin(service, now);
        }
        if now.saturating_duration_since(swept) >= SWEEP {
            swept = now;
            gateway.identity.nonces.sweep(clock::unix_ms() / 1000);
            for service in services.values() {
                service.members.now().endpoints.iter().for_each(|endpoint| endpoint.sweep(now));
            }
        }
    }
}

/// When each endpoint was asked last, and who is being asked now.
#[derive(Default)]
struct Probes {
    due: HashMap<Key, Due>,
    running: JoinSet<Key>,
}

struct Due {
    next: Instant,
    is_running: bool,
}

impl Probes {
    fn collect(&mut self) {
        while let Some(ended) = self.running.try_join_next() {
            if let Ok(key) = ended
                && let Some(due) = self.due.get_mut(&key)
            {
                due.is_running = false;
            }
        }
    }

    fn forget_all_but<'a>(&mut self, services: impl Iterator<Item = &'a Arc<Service>>) {
        if self.due.is_empty() {
            return;
        }
        let known: std::collections::HashSet<Key> = services
            .filter(|service| service.probe.is_some())
            .flat_map(|service| {
                let set = service.members.now();
                let keys = set.endpoints.iter().map(|endpoint| (Arc::clone(&service.name), endpoint.address()));
                keys.collect::<Vec<_>>()
            })
            .collect();
        self.due.retain(|key, due| due.is_running || known.contains(key));
    }

    fn begin(&mut self, service: &Arc<Service>, now: Instant) {
        let Some(probe) = &service.probe else { return };
        let set = service.members.now();
        for endpoint in &set.endpoints {
            let key = (Arc::clone(&service.name), endpoint.address());
            let due = self.due.entry(key.clone()).or_insert(Due { next: now, is_running: false });
            if due.is_running || now < due.next {
                continue;
            }
            due.is_running = true;
            due.next = now + probe.interval.get();
            let service = Arc::clone(service);
            let (address, probe) = (endpoint.address(), probe.clone());
            self.running.spawn(async move {
                let sent = clock::now();
                let is_well = ask(address, service.protocol, &probe).await;
                let counters = &service.counters;
                if is_well { counters.probes_well.add() } else { counters.probes_ill.add() }
                let set = service.members.now();
                let index = set.endpoints.iter().position(|endpoint| endpoint.address() == address);
                if let Some(change) = index.and_then(|index| set.balance.probed(index, is_well, sent)) {
                    let (healthy, ended_ejection) = (change.is_healthy, change.ended_ejection);
                    tracing::info!(service = %service.name, endpoint = %change.address, healthy, ended_ejection, "probe");
                }
                key
            });
        }
    }
}

/// Asks one endpoint over a connection of its own, so that a full pool says nothing about health.
async fn ask(address: SocketAddr, protocol: Protocol, probe: &ProbeConfig) -> bool {
    let timeout = probe.timeout.get();
    let limits = Limits {
        connections: 1,
        streams: 1,
        requests: None,
        queue: None,
        connect_timeout: timeout,
        idle_timeout: timeout,
        max_age: timeout,
    };
    let endpoint = Arc::new(Endpoint::new(address, protocol, limits, Arc::default()));
    let form = match protocol {
        Protocol::Http1 => {
            let path = &probe.path;
            let text = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: {AGENT}\r\n").into_bytes();
            Form::Http1(Http1Head { text, body_length: Some(0) })
        }
        Protocol::H2c => {
            let uri = format!("http://{address}{}", probe.path);
            let request = Request::get(uri).version(Version::HTTP_2).header(header::USER_AGENT, AGENT).body(());
            let Ok(request) = request else { return false };
            Form::Http2(Box::new(request.into_parts().0))
        }
    };
    let head = Head { method: Method::GET, form };
    let answer = async { endpoint.enter().await.exchange(&head, Upload::Empty, None, clock::now()).await };
    match tokio::time::timeout(timeout, answer).await {
        Ok(Ok(answer)) => answer.status().is_success() || answer.status().is_redirection(),
        _ => false,
    }
}
