//! The endpoints of one cluster or service, and the choice among them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

use super::Outcome;
use super::config::{PoolConfig, Strategy};
use super::endpoint::{Endpoint, EndpointState, EndpointStatus, IsTrial};

/// The endpoints of one cluster or service.
#[derive(Debug)]
pub struct Pool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: PoolConfig,
    endpoints: Box<[Arc<Endpoint>]>,
    shared: Arc<Shared>,
}

/// What all generations of a pool have in common.
#[derive(Debug, Default)]
struct Shared {
    cursor: AtomicUsize,
    panics_total: AtomicU64,
    floor_total: AtomicU64,
    /// Held while an endpoint is ejected, so that two failures at once cannot break the floor; only failures take it.
    ejecting: Mutex<()>,
}

/// How often the rules of a pool had to bend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PoolTotals {
    /// Requests sent although nobody was healthy.
    pub panics: u64,
    /// Ejections that the floor prevented.
    pub floor: u64,
}

/// A probe changed the health of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeChange {
    /// The endpoint.
    pub address: SocketAddr,
    /// Whether it is healthy now.
    pub is_healthy: bool,
}

impl Pool {
    /// A pool of these endpoints; health, counts and requests in flight of those that `before` also had carry over.
    ///
    /// It changes nothing of `before`, so that a load that fails later leaves no trace.
    #[must_use]
    pub fn compile(config: &PoolConfig, addresses: &[SocketAddr], before: Option<&Pool>, now: Instant) -> Self {
        let known = |address: &SocketAddr| {
            before.and_then(|pool| pool.inner.endpoints.iter().find(|endpoint| endpoint.address == *address))
        };
        let endpoints: Box<[_]> = addresses
            .iter()
            .map(|address| known(address).map_or_else(|| Arc::new(Endpoint::new(*address, now)), Arc::clone))
            .collect();
        let shared = before.map_or_else(Arc::default, |pool| Arc::clone(&pool.inner.shared));
        Self { inner: Arc::new(Inner { config: config.clone(), endpoints, shared }) }
    }

    /// Chooses an endpoint that is not among those `tried` before (by index).
    ///
    /// When nobody is healthy, any that was not tried is chosen. `None` when all were tried or the pool is empty. The
    /// counts it reads may change while it reads them: with `c` callers at once, the least-connections choice is at most
    /// `c - 1` requests off.
    #[must_use]
    pub fn choose(&self, tried: &[usize], now: Instant) -> Option<Lease> {
        let inner = &*self.inner;
        let turn = inner.shared.cursor.fetch_add(1, Ordering::Relaxed);
        // A second round only when another request has just claimed the returning endpoint we chose.
        for _ in 0..2 {
            let usable =
                |(index, endpoint): &(usize, &Arc<Endpoint>)| inner.is_usable(endpoint, now) && !tried.contains(index);
            let Some((index, endpoint)) = inner.pick(turn, usable) else { break };
            if let Some(trial) = endpoint.claim() {
                return Some(self.lease(
                    index,
                    endpoint,
                    if trial == IsTrial(true) { Kind::Trial } else { Kind::Usual },
                ));
            }
        }
        let (index, endpoint) = inner.pick(turn, |(index, _)| !tried.contains(index))?;
        inner.shared.panics_total.fetch_add(1, Ordering::Relaxed);
        Some(self.lease(index, endpoint, Kind::Panic))
    }

    fn lease(&self, index: usize, endpoint: &Arc<Endpoint>, kind: Kind) -> Lease {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        endpoint.requests_total.fetch_add(1, Ordering::Relaxed);
        Lease { pool: Arc::clone(&self.inner), endpoint: Arc::clone(endpoint), index, kind }
    }

    /// Takes in what a probe of the endpoint with this index found; one prober at a time for each endpoint.
    pub fn probed(&self, index: usize, is_healthy: bool) -> Option<ProbeChange> {
        let thresholds = self.inner.config.probe?;
        let endpoint = self.inner.endpoints.get(index)?;
        let is_healthy = endpoint.probed(is_healthy, thresholds.rise.max(1), thresholds.fall.max(1))?;
        Some(ProbeChange { address: endpoint.address, is_healthy })
    }

    /// The addresses, by index.
    pub fn addresses(&self) -> impl ExactSizeIterator<Item = SocketAddr> + '_ {
        self.inner.endpoints.iter().map(|endpoint| endpoint.address)
    }

    /// How many endpoints there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.endpoints.len()
    }

    /// Whether there is no endpoint.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.endpoints.is_empty()
    }

    /// How many endpoints can take a request now.
    #[must_use]
    pub fn usable(&self, now: Instant) -> usize {
        self.inner.endpoints.iter().filter(|endpoint| self.inner.is_usable(endpoint, now)).count()
    }

    /// Every endpoint as it is now, by index.
    #[must_use]
    pub fn status(&self, now: Instant) -> Vec<EndpointStatus> {
        let state = |endpoint: &Endpoint| {
            if self.inner.is_down(endpoint) { EndpointState::Down } else { endpoint.state(now) }
        };
        self.inner.endpoints.iter().map(|endpoint| endpoint.status(state(endpoint))).collect()
    }

    /// How often the rules had to bend, over all generations.
    #[must_use]
    pub fn totals(&self) -> PoolTotals {
        let shared = &self.inner.shared;
        PoolTotals {
            panics: shared.panics_total.load(Ordering::Relaxed),
            floor: shared.floor_total.load(Ordering::Relaxed),
        }
    }
}

impl Inner {
    /// Whether the probe is against it; what an earlier generation's probes said counts only while there are probes.
    fn is_down(&self, endpoint: &Endpoint) -> bool {
        self.config.probe.is_some() && endpoint.is_down()
    }

    /// Whether the next request may go there.
    fn is_usable(&self, endpoint: &Endpoint, now: Instant) -> bool {
        endpoint.is_standing(now) && !self.is_down(endpoint)
    }

    /// Chooses among the endpoints that qualify, by the strategy; `turn` decides where to begin.
    fn pick<'a>(
        &'a self,
        turn: usize,
        qualifies: impl Fn(&(usize, &'a Arc<Endpoint>)) -> bool,
    ) -> Option<(usize, &'a Arc<Endpoint>)> {
        let candidates = || self.endpoints.iter().enumerate().filter(&qualifies);
        // The turn counts candidates, not places: the neighbour of one that is out does not get its share too.
        let skip = turn.checked_rem(candidates().count())?;
        // The endpoints may change while we look; then the first that still qualifies does.
        let rotated = || candidates().skip(skip).chain(candidates().take(skip));
        match self.config.strategy {
            Strategy::RoundRobin => rotated().next(),
            Strategy::LeastConnections => {
                rotated().min_by_key(|(_, endpoint)| endpoint.in_flight.load(Ordering::Relaxed))
            }
        }
    }

    fn failed(&self, endpoint: &Endpoint, is_fatal: bool, now: Instant) {
        let in_a_row = endpoint.failed();
        if is_fatal || in_a_row >= self.config.ejection.consecutive_failures {
            self.eject(endpoint, now);
        }
    }

    fn eject(&self, endpoint: &Endpoint, now: Instant) {
        let _one_at_a_time = self.shared.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        if endpoint.is_ejected(now) {
            return;
        }
        let is_other = |other: &&Arc<Endpoint>| !std::ptr::eq(Arc::as_ptr(other), endpoint);
        let out =
            self.endpoints.iter().filter(is_other).filter(|other| other.is_unproven() || self.is_down(other)).count()
                + 1;
        if out * 100 > self.endpoints.len() * usize::from(self.config.ejection.max_percent) {
            self.shared.floor_total.fetch_add(1, Ordering::Relaxed);
            endpoint.put_in();
            return;
        }
        endpoint.eject(&self.config.ejection, now);
    }
}

/// Why an endpoint was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Usual,
    Trial,
    Panic,
}

/// A request on its way to an endpoint: in flight until this is dropped.
#[derive(Debug)]
#[must_use = "a lease that is dropped counts nothing"]
pub struct Lease {
    pool: Arc<Inner>,
    endpoint: Arc<Endpoint>,
    index: usize,
    kind: Kind,
}

impl Lease {
    /// The index of the endpoint, for `tried` of the next [`Pool::choose`].
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// The address of the endpoint.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// Tells how the request ended. A request whose end says nothing about the endpoint (the client went away, our own
    /// denial, a timeout during an upload) is not reported.
    pub fn report(&self, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Ok => self.endpoint.succeeded(self.kind != Kind::Usual),
            Outcome::ConnectFailed => self.pool.failed(&self.endpoint, true, now),
            Outcome::ConnectTimedOut | Outcome::TransportFailed | Outcome::GatewayFailed => {
                self.pool.failed(&self.endpoint, self.kind == Kind::Trial, now);
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.kind == Kind::Trial {
            self.endpoint.abandon_trial();
        }
    }
}
