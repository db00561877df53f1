//! The endpoints of one cluster or service, and the choice among them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::endpoint::{Cause, Endpoint, IsTrial};
use super::hash::{MILLION, of_address};
use super::lease::{Kind, Lease};
use super::status::{EndpointState, EndpointStatus, PoolTotals, ProbeChange};
use super::strategy::locality::Homes;
use super::strategy::{Among, Choice};
use super::{Call, EndpointSpec, Outcome, PoolConfig, Strategy, zone};

/// The endpoints of one cluster or service.
#[derive(Debug)]
pub struct Pool {
    inner: Arc<Inner>,
}

/// One generation of a pool.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) config: PoolConfig,
    pub(super) members: Box<[Member]>,
    /// The sum of all weights.
    weight: u64,
    /// Whether everybody has the same weight.
    pub(super) weighs_alike: bool,
    /// The weight in the own zone, where that makes a difference.
    pub(super) own_weight: Option<u64>,
    /// For the strategies that keep authorities at home.
    pub(super) homes: Option<Arc<Homes>>,
    pub(super) shared: Arc<Shared>,
}

/// An endpoint in this generation.
#[derive(Debug)]
pub(super) struct Member {
    /// What outlives it.
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) weight: u32,
    pub(super) zone: Option<Box<str>>,
    pub(super) is_in_own_zone: bool,
    /// What it is called in hashes.
    pub(super) identity: u64,
}

/// What all generations of a pool have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) seed: u64,
    turn: AtomicU64,
    panics_total: AtomicU64,
    floor_total: AtomicU64,
    zone_overflow_total: AtomicU64,
    /// Held while an endpoint is ejected, so that two failures at once cannot break the floor; only failures take it.
    ejecting: Mutex<()>,
    /// Held for a choice by smooth weighted round robin, see [`Choice::weighted_round_robin`].
    pub(super) turns: Mutex<()>,
}

impl Pool {
    /// A pool of these endpoints; health, counts and requests in flight of those that `before` also had carry over.
    ///
    /// It changes nothing of `before`, so that a load that fails later leaves no trace.
    #[must_use]
    pub fn compile(config: &PoolConfig, endpoints: &[EndpointSpec], before: Option<&Pool>, now: Instant) -> Self {
        let before = before.map(|pool| &*pool.inner);
        let members: Box<[Member]> = endpoints.iter().map(|spec| Member::compile(config, spec, before, now)).collect();
        let keeps_homes = matches!(config.strategy, Strategy::Locality | Strategy::LocalityReplicated);
        let homes = || before.and_then(|before| before.homes.clone()).unwrap_or_default();
        let first = members.first().map(|member| member.weight);
        let inner = Inner {
            weight: members.iter().map(|member| u64::from(member.weight)).sum(),
            weighs_alike: members.iter().all(|member| Some(member.weight) == first),
            own_weight: zone::own_weight(&members),
            homes: keeps_homes.then(homes),
            shared: before.map_or_else(|| Arc::new(Shared::new(config.seed)), |before| Arc::clone(&before.shared)),
            config: config.clone(),
            members,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Chooses an endpoint for `call` that is not among those `tried` before (by index).
    ///
    /// When nobody is healthy, any that was not tried is chosen. `None` when all were tried or the pool is empty. No
    /// allocation; and no lock, but for the weighted strategies (see their own words) and those that keep authorities at
    /// home.
    #[must_use]
    pub fn choose(&self, call: &Call<'_>, tried: &[usize], now: Instant) -> Option<Lease> {
        let mut choice = self.begin(call, tried, now);
        if let Some(lease) = self.choose_usable(&mut choice) {
            return Some(lease);
        }
        choice.among = Among::All;
        let lease = self.lease(choice.pick()?, Kind::Panic, now)?;
        self.inner.shared.panics_total.fetch_add(1, Ordering::Relaxed);
        Some(lease)
    }

    /// The same, but `None` when nobody else is healthy: for what can also stay where it is.
    #[must_use]
    pub fn choose_healthy(&self, call: &Call<'_>, tried: &[usize], now: Instant) -> Option<Lease> {
        self.choose_usable(&mut self.begin(call, tried, now))
    }

    fn begin<'a>(&'a self, call: &'a Call<'a>, tried: &'a [usize], now: Instant) -> Choice<'a> {
        let pool = &*self.inner;
        let turn = &pool.shared.turn;
        // Another try of the same call takes nobody's turn: with two endpoints every call would begin at the same one.
        let turn = if tried.is_empty() { turn.fetch_add(1, Ordering::Relaxed) } else { turn.load(Ordering::Relaxed) };
        Choice { pool, call, tried, now, turn, among: Among::Usable }
    }

    fn choose_usable(&self, choice: &mut Choice<'_>) -> Option<Lease> {
        // A second round only when another request has just claimed the returning endpoint we chose.
        for _ in 0..2 {
            let index = choice.pick_usable()?;
            if let Some(trial) = choice.pool.members.get(index).and_then(|member| member.endpoint.claim()) {
                let kind = if trial == IsTrial(true) { Kind::Trial } else { Kind::Usual };
                return self.lease(index, kind, choice.now);
            }
        }
        None
    }

    /// Whether an endpoint beside the one `chosen` and those `tried` (by index) can take a request now.
    #[must_use]
    pub fn has_others(&self, tried: &[usize], chosen: usize, now: Instant) -> bool {
        let mut others = self.inner.members.iter().enumerate().filter(|(index, _)| *index != chosen);
        others.any(|(index, member)| !tried.contains(&index) && self.inner.is_usable(member, now))
    }

    fn lease(&self, index: usize, kind: Kind, now: Instant) -> Option<Lease> {
        let member = self.inner.members.get(index)?;
        if self.inner.own_weight.is_some() && !member.is_in_own_zone {
            self.inner.shared.zone_overflow_total.fetch_add(1, Ordering::Relaxed);
        }
        Some(Lease::new(&self.inner, member, index, kind, now))
    }

    /// Takes in what a probe of the endpoint with this index found that was sent at `sent`; one prober at a time for each
    /// endpoint.
    ///
    /// Apart from its health, good probes in a row end the ejection of an endpoint: when it could not be connected to, or
    /// when probes were bad during the ejection, too. Where requests fail and probes do not, the ejection takes its time.
    pub fn probed(&self, index: usize, is_healthy: bool, sent: Instant) -> Option<ProbeChange> {
        let thresholds = self.inner.config.probe?;
        let endpoint = &self.inner.members.get(index)?.endpoint;
        let probed = endpoint.probed(is_healthy, sent, thresholds);
        (probed.health.is_some() || probed.ended_ejection).then_some(ProbeChange {
            address: endpoint.address,
            is_healthy,
            ended_ejection: probed.ended_ejection,
        })
    }

    /// How an endpoint is chosen.
    #[must_use]
    pub fn strategy(&self) -> Strategy {
        self.inner.config.strategy
    }

    /// How many endpoints there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.members.len()
    }

    /// Whether there is no endpoint.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.members.is_empty()
    }

    /// How many endpoints can take a request now.
    #[must_use]
    pub fn usable(&self, now: Instant) -> usize {
        self.inner.members.iter().filter(|member| self.inner.is_usable(member, now)).count()
    }

    /// Every endpoint as it is now, by index.
    #[must_use]
    pub fn status(&self, now: Instant) -> Vec<EndpointStatus> {
        self.inner.members.iter().map(|member| self.inner.status(member, now)).collect()
    }

    /// How many authorities have a home.
    #[cfg(test)]
    pub(super) fn authorities_at_home(&self) -> usize {
        self.inner.homes.as_ref().map_or(0, |homes| homes.len())
    }

    /// How often the rules had to bend, over all generations.
    #[must_use]
    pub fn totals(&self) -> PoolTotals {
        let shared = &self.inner.shared;
        PoolTotals {
            panics: shared.panics_total.load(Ordering::Relaxed),
            floor: shared.floor_total.load(Ordering::Relaxed),
            zone_overflow: shared.zone_overflow_total.load(Ordering::Relaxed),
        }
    }
}

impl Member {
    fn compile(config: &PoolConfig, spec: &EndpointSpec, before: Option<&Inner>, now: Instant) -> Self {
        let known = before.and_then(|before| {
            before.members.iter().map(|member| &member.endpoint).find(|endpoint| endpoint.address == spec.address)
        });
        let endpoint = match (known, before) {
            (Some(endpoint), _) => Arc::clone(endpoint),
            (None, Some(before)) if !before.members.is_empty() => Arc::new(Endpoint::added(spec.address, now)),
            (None, _) => Arc::new(Endpoint::new(spec.address, now)),
        };
        let is_in_own_zone = config.tuning.prefer_own_zone && spec.zone.is_some() && spec.zone == config.zone;
        Self {
            endpoint,
            weight: spec.weight.max(1),
            zone: spec.zone.clone(),
            is_in_own_zone,
            identity: of_address(spec.address),
        }
    }
}

impl Shared {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            turn: AtomicU64::new(0),
            panics_total: AtomicU64::new(0),
            floor_total: AtomicU64::new(0),
            zone_overflow_total: AtomicU64::new(0),
            ejecting: Mutex::new(()),
            turns: Mutex::new(()),
        }
    }
}

impl Choice<'_> {
    /// One of those who can take a request: of the zone and in the share that they should, or else of all.
    fn pick_usable(&mut self) -> Option<usize> {
        if self.pool.own_weight.is_some() || self.pool.starts_slowly() {
            self.among = Among::Preferred(self.side());
            if let Some(index) = self.pick() {
                return Some(index);
            }
        }
        self.among = Among::Usable;
        self.pick()
    }
}

impl Inner {
    /// Whether the probe is against it; what an earlier generation's probes said counts only while there are probes.
    fn is_down(&self, endpoint: &Endpoint) -> bool {
        self.config.probe.is_some() && endpoint.is_down()
    }

    /// Whether the next request may go there.
    pub(super) fn is_usable(&self, member: &Member, now: Instant) -> bool {
        member.endpoint.is_standing(now) && !self.is_down(&member.endpoint)
    }

    /// Whether endpoints that return come up slowly.
    pub(super) fn starts_slowly(&self) -> bool {
        !self.config.tuning.slow_start.get().is_zero()
    }

    /// The share of an endpoint's weight in all weight, in millionths.
    pub(super) fn fair_share(&self, member: &Member) -> u64 {
        (u64::from(member.weight) * MILLION).checked_div(self.weight).unwrap_or(MILLION)
    }

    fn status(&self, member: &Member, now: Instant) -> EndpointStatus {
        let endpoint = &member.endpoint;
        let count = |total: &AtomicU64| total.load(Ordering::Relaxed);
        let latency = endpoint.latency.average(endpoint.millis(now));
        EndpointStatus {
            address: endpoint.address,
            weight: member.weight,
            zone: member.zone.clone(),
            state: if self.is_down(endpoint) { EndpointState::Down } else { endpoint.state(now) },
            share_percent: endpoint.share(self.config.tuning.slow_start.get(), now) * 100 / MILLION,
            in_flight: endpoint.in_flight.load(Ordering::Relaxed),
            latency_us: latency.map(whole_micros),
            requests_total: count(&endpoint.requests_total),
            failures_total: count(&endpoint.failures_total),
            ejections_total: count(&endpoint.ejections_total),
            early_returns_total: count(&endpoint.early_returns_total),
        }
    }

    /// A request to this endpoint was answered, well or with an error of its own.
    pub(super) fn answered(&self, endpoint: &Endpoint, outcome: Outcome, kind: Kind, now: Instant) {
        endpoint.answered();
        let window = self.config.ejection.failure_window.get();
        if outcome == Outcome::ServerError {
            endpoint.failures_total.fetch_add(1, Ordering::Relaxed);
            if self.config.ejection.failure_percent > 0 {
                let recent = endpoint.note_failure(window, now);
                if recent.iter().any(|recent| self.config.ejection.is_too_often(recent.failed, recent.requests)) {
                    self.eject(endpoint, Cause::Requests, now);
                }
            }
            return;
        }
        if self.config.ejection.failure_percent > 0 {
            endpoint.note_success(window, now);
        }
        if kind != Kind::Usual {
            endpoint.put_in(now);
        }
    }

    /// A request to this endpoint failed.
    pub(super) fn failed(&self, endpoint: &Endpoint, outcome: Outcome, kind: Kind, now: Instant) {
        let config = &self.config.ejection;
        let in_a_row = endpoint.failed(outcome);
        let is_too_often = config.failure_percent > 0 && {
            let recent = endpoint.note_failure(config.failure_window.get(), now);
            recent.iter().any(|recent| config.is_too_often(recent.failed, recent.requests))
        };
        if kind == Kind::Trial
            || in_a_row.failures >= config.consecutive_failures
            || in_a_row.connect_failures >= config.consecutive_connect_failures
            || is_too_often
        {
            self.eject(endpoint, outcome.into(), now);
        }
    }

    /// Ejects an endpoint unless too many are out: those of this generation, so that a request that began before a reload
    /// may still take out one more.
    fn eject(&self, endpoint: &Endpoint, cause: Cause, now: Instant) {
        let _one_at_a_time = self.shared.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        if endpoint.is_ejected(now) {
            return;
        }
        let others =
            self.members.iter().map(|member| &*member.endpoint).filter(|other| !std::ptr::eq(*other, endpoint));
        let out = others.filter(|other| other.is_unproven() || self.is_down(other)).count() + 1;
        if out * 100 > self.members.len() * usize::from(self.config.ejection.max_percent) {
            self.shared.floor_total.fetch_add(1, Ordering::Relaxed);
            endpoint.put_in(now);
            return;
        }
        endpoint.eject(&self.config.ejection, cause, now);
    }
}

/// A latency as a whole number of microseconds; a day at most.
fn whole_micros(latency: f32) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and a day")]
    let micros = latency.clamp(0.0, 86_400e6) as u64;
    micros
}
