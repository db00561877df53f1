//! Keeps calls from waiting for a Redis that is away.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{StoreError, StoreStatus};

/// The first delay after a failure; each further one doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest delay: so long may it take until a Redis that is back is noticed.
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// Closed while calls succeed; open for a while after each failure.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Held while a few fields are read or written.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Failures since the last success.
    failures: u32,
    failures_total: u64,
    retry_at: Option<Instant>,
    last_error: Option<Arc<str>>,
}

impl Breaker {
    /// Whether a call may be tried now.
    pub(super) fn check(&self, now: Instant) -> Result<(), StoreError> {
        let state = self.lock();
        match (state.retry_at, &state.last_error) {
            (Some(at), Some(error)) if at > now => Err(StoreError::Away(Arc::clone(error))),
            _ => Ok(()),
        }
    }

    /// A call was answered.
    pub(super) fn succeeded(&self) {
        let mut state = self.lock();
        if state.failures > 0 {
            tracing::info!(failures = state.failures, "Redis answers again");
        }
        *state = State { failures_total: state.failures_total, ..State::default() };
    }

    /// A connection could not be made, or was lost.
    pub(super) fn failed(&self, now: Instant, error: &Arc<str>) {
        let mut state = self.lock();
        if state.failures == 0 {
            tracing::warn!(%error, "Redis is away");
        }
        let doubled = FIRST_DELAY.saturating_mul(1 << state.failures.min(10));
        state.retry_at = Some(now + jittered(doubled.min(LONGEST_DELAY)));
        state.failures = state.failures.saturating_add(1);
        state.failures_total = state.failures_total.saturating_add(1);
        state.last_error = Some(Arc::clone(error));
    }

    pub(super) fn status(&self) -> StoreStatus {
        let state = self.lock();
        StoreStatus {
            is_up: state.failures == 0,
            failures_total: state.failures_total,
            last_error: state.last_error.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between half of it and all of it, so that the nodes of a fleet do not come back at the same moment.
fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::clock;

    use super::*;

    #[test]
    fn opens_for_longer_and_longer_up_to_its_bound_and_closes_at_the_first_success() {
        let breaker = Breaker::default();
        let mut now = clock::now();
        let error: Arc<str> = "connection refused".into();
        assert_eq!(breaker.check(now), Ok(()));
        assert!(breaker.status().is_up);
        for round in 0..20_u32 {
            breaker.failed(now, &error);
            let most = FIRST_DELAY.saturating_mul(1 << round.min(10)).min(LONGEST_DELAY);
            assert_eq!(breaker.check(now + most / 2 - Duration::from_millis(1)), Err(StoreError::Away(error.clone())));
            now += most;
            assert_eq!(breaker.check(now), Ok(()), "round {round}");
        }
        let status = breaker.status();
        assert_eq!((status.is_up, status.failures_total, status.last_error), (false, 20, Some(error)));
        breaker.succeeded();
        assert_eq!(breaker.check(now), Ok(()));
        assert_eq!(breaker.status(), StoreStatus { is_up: true, failures_total: 20, last_error: None });
    }
}
