//! One endpoint: what is in flight, and its health. Everything is an atomic; it outlives reloads.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::hash::MILLION;
use super::latency::Latency;
use super::window::{FailureWindow, Recent};
use super::{Ejection, EndpointState, Outcome, ProbeThresholds};

/// Proven: requests go to it.
const IN: u8 = 0;
/// Ejected, or the ejection has ended and nobody has tried yet.
const RETURNING: u8 = 1;
/// One request is trying.
const TRIAL: u8 = 2;

/// Doublings after which the time of an ejection grows no further, whatever the maximum.
const MAX_DOUBLINGS: u32 = 20;

/// The share of its share that a returned endpoint begins with, in millionths: a tenth, as Envoy has it.
const FIRST_SHARE: u64 = MILLION / 10;

/// Times are in milliseconds since `epoch`, from 1; 0 means never.
///
/// What every choice and every answer touches stands first and fills one cache line, shared with no other endpoint.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Endpoint {
    standing: AtomicU8,
    probe_down: AtomicBool,
    consecutive_failures: AtomicU32,
    consecutive_connect_failures: AtomicU32,
    /// Failures and errors of its own since the last good answer, within the window of the share of failures.
    ill_in_a_row: AtomicU32,
    pub(super) in_flight: AtomicUsize,
    pub(super) requests_total: AtomicU64,
    returned_at: AtomicU64,
    recent: FailureWindow,
    pub(super) latency: Latency,
    /// Its current weight in the smooth round robin; written under the lock of that.
    pub(super) current_weight: AtomicI64,
    epoch: Instant,
    pub(super) address: SocketAddr,
    ejected_at: AtomicU64,
    ejected_until: AtomicU64,
    /// The length of the last ejection in milliseconds.
    ejected_for: AtomicU64,
    /// Ejections that followed each other soon.
    ejection_run: AtomicU32,
    /// Whether good probes end the ejection: they have seen, or would have seen, what was wrong.
    probes_end_ejection: AtomicBool,
    /// Good probes in a row since then.
    good_probes: AtomicU32,
    /// Probes in a row that contradict `probe_down`.
    probe_streak: AtomicU32,
    pub(super) failures_total: AtomicU64,
    pub(super) ejections_total: AtomicU64,
    pub(super) early_returns_total: AtomicU64,
}

/// Why an endpoint is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// No connection could be made, which a probe would notice, too.
    Connection,
    /// Requests failed, which a probe need not notice.
    Requests,
}

impl From<Outcome> for Cause {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::ConnectFailed | Outcome::ConnectTimedOut => Self::Connection,
            _ => Self::Requests,
        }
    }
}

/// Failures in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct InARow {
    pub(super) failures: u32,
    pub(super) connect_failures: u32,
}

/// What a probe changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Probed {
    /// The new health, when it is another one.
    pub(super) health: Option<bool>,
    pub(super) ended_ejection: bool,
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, now: Instant) -> Self {
        Self {
            address,
            in_flight: AtomicUsize::new(0),
            epoch: now,
            standing: AtomicU8::new(IN),
            ejected_at: AtomicU64::new(0),
            ejected_until: AtomicU64::new(0),
            ejected_for: AtomicU64::new(0),
            ejection_run: AtomicU32::new(0),
            probes_end_ejection: AtomicBool::new(false),
            good_probes: AtomicU32::new(0),
            returned_at: AtomicU64::new(0),
            consecutive_failures: AtomicU32::new(0),
            consecutive_connect_failures: AtomicU32::new(0),
            ill_in_a_row: AtomicU32::new(0),
            recent: FailureWindow::default(),
            latency: Latency::default(),
            current_weight: AtomicI64::new(0),
            probe_down: AtomicBool::new(false),
            probe_streak: AtomicU32::new(0),
            requests_total: AtomicU64::new(0),
            failures_total: AtomicU64::new(0),
            ejections_total: AtomicU64::new(0),
            early_returns_total: AtomicU64::new(0),
        }
    }

    /// An endpoint that comes to others that are there already: its slow start begins now.
    pub(super) fn added(address: SocketAddr, now: Instant) -> Self {
        let endpoint = Self::new(address, now);
        endpoint.returned_at.store(endpoint.millis(now), Ordering::Relaxed);
        endpoint
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

    /// How much of its share it gets, in millionths: all of it, but less for a time after its return.
    pub(super) fn share(&self, slow_start: Duration, now: Instant) -> u64 {
        let returned_at = self.returned_at.load(Ordering::Relaxed);
        if returned_at == 0 {
            return MILLION;
        }
        let elapsed = self.millis(now).saturating_sub(returned_at);
        let share = elapsed.saturating_mul(MILLION).checked_div(millis(slow_start)).unwrap_or(MILLION);
        share.clamp(FIRST_SHARE, MILLION)
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

    /// It answered.
    pub(super) fn answered(&self) {
        for in_a_row in [&self.consecutive_failures, &self.consecutive_connect_failures] {
            if in_a_row.load(Ordering::Relaxed) != 0 {
                in_a_row.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Counts a failure; gives the failures in a row.
    pub(super) fn failed(&self, outcome: Outcome) -> InARow {
        self.failures_total.fetch_add(1, Ordering::Relaxed);
        let failures = self.consecutive_failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let refused = &self.consecutive_connect_failures;
        let connect_failures = match outcome {
            Outcome::ConnectFailed => refused.fetch_add(1, Ordering::Relaxed).saturating_add(1),
            Outcome::ConnectTimedOut => refused.load(Ordering::Relaxed),
            // There was a connection.
            _ => {
                refused.store(0, Ordering::Relaxed);
                0
            }
        };
        InARow { failures, connect_failures }
    }

    /// Counts a request for the share of failures.
    pub(super) fn note_success(&self, window: Duration, now: Instant) {
        self.recent.succeeded(self.millis(now), millis(window));
        if self.ill_in_a_row.load(Ordering::Relaxed) != 0 {
            self.ill_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Counts a failed request for the share of failures, and tells about the recent ones: of the window, or only of those since
    /// the last good one, whichever looks worse. So one that answers nothing but errors is not spared for what it did before.
    pub(super) fn note_failure(&self, window: Duration, now: Instant) -> [Recent; 2] {
        let recent = self.recent.failed(self.millis(now), millis(window));
        // The only one that the window knows: whatever went before is forgotten.
        let before = if recent.requests == 1 { 0 } else { self.ill_in_a_row.load(Ordering::Relaxed) };
        // Two that count at the same moment may count once.
        let run = before.saturating_add(1);
        self.ill_in_a_row.store(run, Ordering::Relaxed);
        [recent, Recent { requests: run.into(), failed: run.into() }]
    }

    /// Leaves it alone for a while. The caller holds the lock of the pool.
    pub(super) fn eject(&self, config: &Ejection, cause: Cause, now: Instant) {
        let now = self.millis(now);
        let base = millis(config.time.get()).max(1);
        let since_last = now.saturating_sub(self.ejected_until.load(Ordering::Relaxed));
        let last = self.ejected_for.load(Ordering::Relaxed);
        // It follows soon when the endpoint has worked for less time than it was out.
        let run = if last > 0 && since_last < last { self.ejection_run.load(Ordering::Relaxed) + 1 } else { 0 };
        let time = base.saturating_mul(1 << run.min(MAX_DOUBLINGS)).min(millis(config.time_max.get()).max(base));
        self.ejection_run.store(run.min(MAX_DOUBLINGS), Ordering::Relaxed);
        self.ejected_at.store(now, Ordering::Relaxed);
        self.ejected_for.store(time, Ordering::Relaxed);
        self.ejected_until.store(now.saturating_add(time), Ordering::Relaxed);
        self.probes_end_ejection.store(cause == Cause::Connection, Ordering::Relaxed);
        self.good_probes.store(0, Ordering::Relaxed);
        self.answered();
        self.recent.clear();
        self.ill_in_a_row.store(0, Ordering::Relaxed);
        self.ejections_total.fetch_add(1, Ordering::Relaxed);
        self.standing.store(RETURNING, Ordering::Release);
    }

    /// Ends an ejection, if there is one, and begins its slow start.
    pub(super) fn put_in(&self, now: Instant) {
        if self.standing.swap(IN, Ordering::AcqRel) != IN {
            self.returned_at.store(self.millis(now), Ordering::Relaxed);
        }
    }

    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.standing.load(Ordering::Acquire) == RETURNING
            && self.ejected_until.load(Ordering::Relaxed) > self.millis(now)
    }

    /// Takes a probe result in. One prober at a time calls this.
    pub(super) fn probed(&self, is_healthy: bool, sent: Instant, thresholds: ProbeThresholds) -> Probed {
        let ended_ejection = self.ends_ejection(is_healthy, self.millis(sent), thresholds.rise.max(1));
        let down = self.probe_down.load(Ordering::Relaxed);
        if is_healthy != down {
            self.probe_streak.store(0, Ordering::Relaxed);
            return Probed { health: None, ended_ejection };
        }
        let streak = self.probe_streak.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if streak < if down { thresholds.rise.max(1) } else { thresholds.fall.max(1) } {
            return Probed { health: None, ended_ejection };
        }
        self.probe_streak.store(0, Ordering::Relaxed);
        if down {
            self.put_in(sent);
            self.returned_at.store(self.millis(sent), Ordering::Relaxed);
        }
        self.probe_down.store(!down, Ordering::Relaxed);
        Probed { health: Some(is_healthy), ended_ejection }
    }

    /// Whether this probe ends an ejection. A probe that was sent before the ejection says nothing about it, and where
    /// requests failed while probes were good all the time, good probes say nothing either: they do once one was bad.
    fn ends_ejection(&self, is_healthy: bool, sent: u64, rise: u32) -> bool {
        if self.standing.load(Ordering::Acquire) != RETURNING || sent <= self.ejected_at.load(Ordering::Relaxed) {
            return false;
        }
        if !is_healthy {
            self.probes_end_ejection.store(true, Ordering::Relaxed);
            self.good_probes.store(0, Ordering::Relaxed);
            return false;
        }
        if !self.probes_end_ejection.load(Ordering::Relaxed)
            || self.good_probes.fetch_add(1, Ordering::Relaxed).saturating_add(1) < rise
            || self.standing.compare_exchange(RETURNING, IN, Ordering::AcqRel, Ordering::Acquire).is_err()
        {
            return false;
        }
        self.returned_at.store(sent, Ordering::Relaxed);
        if self.ejected_until.load(Ordering::Relaxed) > sent {
            let out_for = sent.saturating_sub(self.ejected_at.load(Ordering::Relaxed)).max(1);
            self.ejected_until.store(sent, Ordering::Relaxed);
            self.ejected_for.store(out_for, Ordering::Relaxed);
            self.early_returns_total.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// Its state when nobody probes, or the probe has nothing against it.
    pub(super) fn state(&self, now: Instant) -> EndpointState {
        match self.standing.load(Ordering::Acquire) {
            IN => EndpointState::Up,
            _ if self.is_ejected(now) => EndpointState::Ejected,
            _ => EndpointState::Returning,
        }
    }

    /// A time of this endpoint.
    pub(super) fn millis(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.epoch)).saturating_add(1)
    }
}

/// Whether a request is the one that tries a returning endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IsTrial(pub(super) bool);

fn millis(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000).saturating_add(u64::from(duration.subsec_millis()))
}
