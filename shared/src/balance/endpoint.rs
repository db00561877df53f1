//! One endpoint: what is in flight, and its health. Everything is an atomic; it outlives reloads.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::config::Ejection;

/// Proven: requests go to it.
const IN: u8 = 0;
/// Ejected, or the ejection has ended and nobody has tried yet.
const RETURNING: u8 = 1;
/// One request is trying.
const TRIAL: u8 = 2;

/// Doublings after which the time of an ejection grows no further, whatever the maximum.
const MAX_DOUBLINGS: u32 = 20;

#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    pub(super) in_flight: AtomicUsize,
    /// What the times below count from.
    epoch: Instant,
    standing: AtomicU8,
    /// Milliseconds since `epoch`; 0 when never ejected.
    ejected_until: AtomicU64,
    /// The length of the last ejection in milliseconds.
    ejected_for: AtomicU64,
    /// Ejections that followed each other soon.
    ejection_run: AtomicU32,
    consecutive_failures: AtomicU32,
    probe_down: AtomicBool,
    /// Probes in a row that contradict `probe_down`.
    probe_streak: AtomicU32,
    pub(super) requests_total: AtomicU64,
    pub(super) failures_total: AtomicU64,
    pub(super) ejections_total: AtomicU64,
}

/// The health of an endpoint at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// Takes requests.
    Up,
    /// The probe says it does not work.
    Down,
    /// Left alone because requests to it failed.
    Ejected,
    /// The ejection has ended; one request at a time tries it.
    Returning,
}

/// An endpoint as shown at `/policy` and in metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndpointStatus {
    /// Its address.
    pub address: SocketAddr,
    /// Its health.
    pub state: EndpointState,
    /// Requests in flight.
    pub in_flight: usize,
    /// Requests sent to it since it was first configured.
    pub requests_total: u64,
    /// Those that failed by its fault.
    pub failures_total: u64,
    /// How often it was ejected.
    pub ejections_total: u64,
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, now: Instant) -> Self {
        Self {
            address,
            in_flight: AtomicUsize::new(0),
            epoch: now,
            standing: AtomicU8::new(IN),
            ejected_until: AtomicU64::new(0),
            ejected_for: AtomicU64::new(0),
            ejection_run: AtomicU32::new(0),
            consecutive_failures: AtomicU32::new(0),
            probe_down: AtomicBool::new(false),
            probe_streak: AtomicU32::new(0),
            requests_total: AtomicU64::new(0),
            failures_total: AtomicU64::new(0),
            ejections_total: AtomicU64::new(0),
        }
    }

    /// Whether the probe says it does not work.
    pub(super) fn is_down(&self) -> bool {
        self.probe_down.load(Ordering::Relaxed)
    }

    /// Whether it is not ejected and no trial is under way. In the usual case one load.
    pub(super) fn is_standing(&self, now: Instant) -> bool {
        match self.standing.load(Ordering::Acquire) {
            IN => true,
            RETURNING => self.ejected_until.load(Ordering::Relaxed) <= self.millis(now),
            _ => false,
        }
    }

    /// Whether it is ejected, or was and is not proven again.
    pub(super) fn is_unproven(&self) -> bool {
        self.standing.load(Ordering::Acquire) != IN
    }

    /// Claims it for a request: for a returning one only the first caller succeeds, and its request is the trial.
    pub(super) fn claim(&self) -> Option<IsTrial> {
        if self.standing.load(Ordering::Acquire) == IN {
            return Some(IsTrial(false));
        }
        let claimed = self.standing.compare_exchange(RETURNING, TRIAL, Ordering::AcqRel, Ordering::Acquire);
        claimed.ok().map(|_returning| IsTrial(true))
    }

    /// A trial ended without telling whether the endpoint works.
    pub(super) fn abandon_trial(&self) {
        // Fails when the trial has been decided meanwhile, which is as good.
        let _abandoned = self.standing.compare_exchange(TRIAL, RETURNING, Ordering::AcqRel, Ordering::Acquire).is_ok();
    }

    /// It answered; `is_proof` when the request was sent after it was put out.
    pub(super) fn succeeded(&self, is_proof: bool) {
        if self.consecutive_failures.load(Ordering::Relaxed) != 0 {
            self.consecutive_failures.store(0, Ordering::Relaxed);
        }
        if is_proof {
            self.put_in();
        }
    }

    /// Counts a failure; gives the failures in a row.
    pub(super) fn failed(&self) -> u32 {
        self.failures_total.fetch_add(1, Ordering::Relaxed);
        self.consecutive_failures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Leaves it alone for a while. The caller holds the lock of the pool.
    pub(super) fn eject(&self, config: &Ejection, now: Instant) {
        let now = self.millis(now);
        let base = millis(config.time.get()).max(1);
        let since_last = now.saturating_sub(self.ejected_until.load(Ordering::Relaxed));
        let last = self.ejected_for.load(Ordering::Relaxed);
        // It follows soon when the endpoint has worked for less time than it was out.
        let run = if last > 0 && since_last < last { self.ejection_run.load(Ordering::Relaxed) + 1 } else { 0 };
        let time = base.saturating_mul(1 << run.min(MAX_DOUBLINGS)).min(millis(config.time_max.get()).max(base));
        self.ejection_run.store(run.min(MAX_DOUBLINGS), Ordering::Relaxed);
        self.ejected_for.store(time, Ordering::Relaxed);
        self.ejected_until.store(now.saturating_add(time), Ordering::Relaxed);
        self.consecutive_failures.store(0, Ordering::Relaxed);
        self.ejections_total.fetch_add(1, Ordering::Relaxed);
        self.standing.store(RETURNING, Ordering::Release);
    }

    /// Ends an ejection at once.
    pub(super) fn put_in(&self) {
        self.standing.store(IN, Ordering::Release);
    }

    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.standing.load(Ordering::Acquire) == RETURNING
            && self.ejected_until.load(Ordering::Relaxed) > self.millis(now)
    }

    /// Takes a probe result in; the new health when it changes. One prober at a time calls this.
    pub(super) fn probed(&self, is_healthy: bool, rise: u32, fall: u32) -> Option<bool> {
        let down = self.probe_down.load(Ordering::Relaxed);
        if is_healthy != down {
            self.probe_streak.store(0, Ordering::Relaxed);
            return None;
        }
        let streak = self.probe_streak.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if streak < if down { rise } else { fall } {
            return None;
        }
        self.probe_streak.store(0, Ordering::Relaxed);
        self.probe_down.store(!down, Ordering::Relaxed);
        if down {
            self.put_in();
        }
        Some(is_healthy)
    }

    /// Its state when nobody probes, or the probe has nothing against it.
    pub(super) fn state(&self, now: Instant) -> EndpointState {
        match self.standing.load(Ordering::Acquire) {
            IN => EndpointState::Up,
            _ if self.is_ejected(now) => EndpointState::Ejected,
            _ => EndpointState::Returning,
        }
    }

    pub(super) fn status(&self, state: EndpointState) -> EndpointStatus {
        EndpointStatus {
            address: self.address,
            state,
            in_flight: self.in_flight.load(Ordering::Relaxed),
            requests_total: self.requests_total.load(Ordering::Relaxed),
            failures_total: self.failures_total.load(Ordering::Relaxed),
            ejections_total: self.ejections_total.load(Ordering::Relaxed),
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.epoch))
    }
}

/// Whether a request is the one that tries a returning endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IsTrial(pub(super) bool);

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
