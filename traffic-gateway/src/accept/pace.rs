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

#[cfg(test)]
mod tests {
    use gatehouse_shared::clock;

    use super::*;

    const FOREVER: Duration = Duration::MAX;

    fn pace(idle: u64, total: u64, rate: u64) -> Pace {
        Pace {
            idle: Duration::from_secs(idle),
            total: Duration::from_secs(total),
            rate,
            received: 0,
            waited: Duration::ZERO,
            waiting_since: None,
        }
    }

    #[test]
    fn only_time_spent_waiting_for_the_client_counts() {
        let (start, mut pace) = (clock::now(), pace(30, 100, 0));
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(pace.deadline(at(0), FOREVER), at(30));
        pace.came(1, || at(20));
        assert_eq!(pace.deadline(at(1_000), FOREVER), at(1_030), "a slow service in between is not the client's fault");
        pace.came(1, || at(1_020));
        pace.deadline(at(1_020), FOREVER);
        pace.came(1, || at(1_045));
        assert_eq!(pace.deadline(at(2_000), FOREVER), at(2_030));
        pace.came(1, || at(2_020));
        assert_eq!(pace.deadline(at(3_000), FOREVER), at(3_015), "85 of 100 seconds are used up");
        assert_eq!(pace.reason().code, "body_timeout");
        assert_eq!(pace.deadline(at(3_000), Duration::from_secs(5)), at(3_005));
    }

    #[test]
    fn a_body_below_the_minimum_rate_is_too_slow_after_its_grace() {
        let (start, mut pace) = (clock::now(), pace(30, 300, 100));
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(pace.deadline(at(0), FOREVER), at(5));
        pace.came(200, || at(4));
        assert_eq!(pace.deadline(at(4), FOREVER), at(7), "5 seconds of grace and 2 earned, 4 used");
        assert_eq!(pace.reason().code, "body_too_slow");
    }
}
