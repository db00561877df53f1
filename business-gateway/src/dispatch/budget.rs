//! How much may be repeated: a share of the calls, so that retries cannot multiply the load of a service in trouble.

use std::sync::atomic::{AtomicU32, Ordering};

/// Hundredths of a retry; every call puts some in, every retry takes [`RETRY`] out.
const RETRY: u32 = 100;
/// What may be saved up: ten retries, so that a service with little traffic has some too.
const MAX: u32 = 10 * RETRY;

/// The retries that one service still has.
#[derive(Debug)]
pub struct RetryBudget {
    saved: AtomicU32,
    percent: u32,
}

impl RetryBudget {
    /// A full budget; every call earns `percent` hundredths of a retry.
    #[must_use]
    pub fn new(percent: u32) -> Self {
        Self { saved: AtomicU32::new(if percent == 0 { 0 } else { MAX }), percent }
    }

    /// Whether anything may ever be repeated.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.percent > 0
    }

    /// A call came in. Two calls at a time may lose one of their two deposits, never a withdrawal.
    pub fn deposit(&self) {
        let saved = self.saved.load(Ordering::Relaxed);
        if saved < MAX && self.percent > 0 {
            let more = saved.saturating_add(self.percent).min(MAX);
            let _raced = self.saved.compare_exchange(saved, more, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Takes one retry out; false when there is none.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| saved.checked_sub(RETRY)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_calls_may_be_repeated() {
        let budget = RetryBudget::new(10);
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 10, "what was saved up");
        let repeated = (0..1_000).filter(|_| {
            budget.deposit();
            budget.withdraw()
        });
        assert_eq!(repeated.count(), 100);
    }

    #[test]
    fn nothing_is_repeated_without_a_budget() {
        let budget = RetryBudget::new(0);
        budget.deposit();
        assert!(!budget.is_open() && !budget.withdraw());
    }
}
