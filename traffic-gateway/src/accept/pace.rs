//! How fast a body has to come.
//!
//! Only time spent waiting for the client counts: a slow service behind the edge does not make a client slow.

use std::time::{Duration, Instant};

use gatehouse_shared::problem::{self, Reason};

use super::config::{BODY_GRACE, Bounds};

/// The pace of one body.
#[derive(Debug)]
pub(super) struct Pace {
    idle: Duration,
    total: Duration,
    rate: u64,
    received: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
}

impl Pace {
    pub(super) fn new(bounds: &Bounds) -> Self {
        Self {
            idle: bounds.body_idle_timeout,
            total: bounds.body_timeout,
            rate: bounds.body_min_rate,
            received: 0,
            waited: Duration::ZERO,
            waiting_since: None,
        }
    }

    /// When the client is too late, if nothing comes from now on; a pause may last `idle_max` at most.
    pub(super) fn deadline(&mut self, now: Instant, idle_max: Duration) -> Instant {
        let since = *self.waiting_since.get_or_insert(now);
        let left = self.total.min(self.allowance()).saturating_sub(self.waited);
        since + left.min(self.idle).min(idle_max)
    }

    /// Whether anything came since the last [`Pace::deadline`]; `now` is asked for only then.
    pub(super) fn came(&mut self, bytes: u64, now: impl FnOnce() -> Instant) {
        self.received = self.received.saturating_add(bytes);
        if let Some(since) = self.waiting_since.take() {
            self.waited += now().saturating_duration_since(since);
        }
    }

    /// What the client was too late for.
    pub(super) fn reason(&self) -> &'static Reason {
        let is_slow = self.received > 0
            && self.allowance() < self.total
            && self.allowance().saturating_sub(self.waited) < self.idle;
        if is_slow { &problem::BODY_TOO_SLOW } else { &problem::BODY_TIMEOUT }
    }

    /// How long the bytes so far may have taken by the minimum rate.
    fn allowance(&self) -> Duration {
        match self.received.checked_div(self.rate) {
            Some(seconds) => BODY_GRACE.saturating_add(Duration::from_secs(seconds)),
            None => Duration::MAX,
        }
    }
}
