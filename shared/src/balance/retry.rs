//! How much may be repeated: a share of the calls, so that retries cannot multiply the load of a service in trouble.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Over how many seconds calls and retries are weighed against each other.
const WINDOW: u64 = 10;
/// Slices of the window, of a second each.
const SLICES: usize = 10;
/// A retry in hundredths of one; every call brings in `percent` of them.
const RETRY: i64 = 100;

/// The retries that one service still has.
///
/// At every retry, the retries of the ten seconds up to it are at most `percent` hundredths of the calls in these ten seconds,
/// and ten times `per_second` on top, so that a service with little traffic has some, too: the retry budget of Finagle, whose
/// usual values are 20 % and 10. What was not used is lost after ten seconds. Time counts in whole seconds.
///
/// Without a lock. Callers at the same time may keep each other from the last retry, but never get one too many.
#[derive(Debug)]
pub struct RetryBudget {
    percent: u32,
    per_second: u32,
    epoch: Instant,
    slices: [Slice; SLICES],
    exhausted_total: AtomicU64,
}

/// What one second brought in and took out: the second in the high half, the balance as an `i32` in the low one.
#[derive(Debug, Default)]
struct Slice(AtomicU64);

impl RetryBudget {
    /// A budget in which every call earns `percent` hundredths of a retry and every second `per_second` retries. With
    /// `percent` 0 nothing is ever repeated.
    #[must_use]
    pub fn new(percent: u32, per_second: u32, now: Instant) -> Self {
        Self { percent, per_second, epoch: now, slices: Default::default(), exhausted_total: AtomicU64::new(0) }
    }

    /// Whether it was made with these values.
    #[must_use]
    pub fn is_for(&self, percent: u32, per_second: u32) -> bool {
        self.percent == percent && self.per_second == per_second
    }

    /// Whether anything may ever be repeated.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.percent > 0
    }

    /// A call came in.
    pub fn deposit(&self, now: Instant) {
        if self.percent > 0 {
            self.add(i64::from(self.percent), self.second(now));
        }
    }

    /// Takes one retry out; false when there is none.
    #[must_use]
    pub fn withdraw(&self, now: Instant) -> bool {
        if self.percent == 0 {
            return false;
        }
        let second = self.second(now);
        self.add(-RETRY, second);
        if self.hundredths(second) >= 0 {
            return true;
        }
        self.add(RETRY, second);
        self.exhausted_total.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Retries that could be made now.
    #[must_use]
    pub fn left(&self, now: Instant) -> u64 {
        if self.percent == 0 {
            return 0;
        }
        u64::try_from(self.hundredths(self.second(now)) / RETRY).unwrap_or(0)
    }

    /// Retries that were not made because there was none left.
    #[must_use]
    pub fn exhausted(&self) -> u64 {
        self.exhausted_total.load(Ordering::Relaxed)
    }

    /// Seconds since the beginning, from the length of the window on, so that an untouched slice is an old one.
    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_secs() + WINDOW
    }

    fn add(&self, hundredths: i64, second: u64) {
        let slice = usize::try_from(second % WINDOW).ok().and_then(|index| self.slices.get(index));
        if let Some(slice) = slice {
            slice.add(hundredths, second);
        }
    }

    fn hundredths(&self, second: u64) -> i64 {
        let reserve = i64::from(self.per_second) * i64::try_from(WINDOW).unwrap_or_default() * RETRY;
        self.slices.iter().fold(reserve, |sum, slice| sum + slice.balance(second))
    }
}

impl Slice {
    fn add(&self, hundredths: i64, second: u64) {
        let mut state = self.0.load(Ordering::Relaxed);
        loop {
            // A caller that has been held up counts into what has begun meanwhile.
            let second = second.max(state >> 32);
            let balance = if state >> 32 == second { balance_of(state) } else { 0 };
            let balance = (i64::from(balance) + hundredths).clamp(i64::from(i32::MIN), i64::from(i32::MAX));
            let low = u32::from_ne_bytes(i32::try_from(balance).unwrap_or_default().to_ne_bytes());
            let next = second << 32 | u64::from(low);
            match self.0.compare_exchange_weak(state, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(changed) => state = changed,
            }
        }
    }

    /// The balance, if it belongs to the window that ends with `second`.
    fn balance(&self, second: u64) -> i64 {
        let state = self.0.load(Ordering::Relaxed);
        if second.saturating_sub(state >> 32) < WINDOW { i64::from(balance_of(state)) } else { 0 }
    }
}

fn balance_of(state: u64) -> i32 {
    i32::from_ne_bytes(u32::try_from(state & u64::from(u32::MAX)).unwrap_or_default().to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{any, proptest};

    use super::*;
    use crate::clock;

    fn after(now: Instant, ms: u64) -> Instant {
        now + Duration::from_millis(ms)
    }

    #[test]
    fn a_share_of_the_calls_may_be_repeated_and_some_more() {
        let now = clock::now();
        let budget = RetryBudget::new(20, 3, now);
        assert_eq!(budget.left(now), 30);
        assert_eq!((0..100).filter(|_| budget.withdraw(now)).count(), 30, "what every ten seconds bring");
        assert_eq!(budget.exhausted(), 70);
        (0..1_000).for_each(|_| budget.deposit(now));
        assert_eq!((0..1_000).filter(|_| budget.withdraw(now)).count(), 200);
    }

    #[test]
    fn what_was_not_used_is_lost_and_what_was_used_is_forgiven_after_ten_seconds() {
        let now = clock::now();
        let budget = RetryBudget::new(20, 1, now);
        (0..1_000).for_each(|_| budget.deposit(now));
        assert_eq!(budget.left(after(now, 9_999)), 210);
        assert_eq!(budget.left(after(now, 10_000)), 10);
        let now = after(now, 60_500);
        assert!((0..10).all(|_| budget.withdraw(now)) && !budget.withdraw(now));
        assert!(!budget.withdraw(after(now, 9_000)));
        assert_eq!(budget.left(after(now, 10_000)), 10);
    }

    #[test]
    fn nothing_is_repeated_without_a_budget() {
        let now = clock::now();
        let budget = RetryBudget::new(0, 10, now);
        budget.deposit(now);
        assert!(!budget.is_open() && !budget.withdraw(now));
        assert_eq!((budget.left(now), budget.exhausted()), (0, 0));
    }

    #[test]
    fn callers_at_once_never_get_one_too_many() {
        let now = clock::now();
        let budget = RetryBudget::new(10, 0, now);
        let made: usize = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let calls = (0..1_000).map(|_| {
                            budget.deposit(now);
                            usize::from(budget.withdraw(now))
                        });
                        calls.sum::<usize>()
                    })
                })
                .collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).sum()
        });
        assert!((390..=400).contains(&made), "{made}");
    }

    proptest! {
        #[test]
        fn no_retry_is_one_more_than_the_calls_and_seconds_before_it_allow(
            percent in 1u32..=100,
            per_second in 0u32..5,
            steps in proptest::collection::vec((0u64..200, any::<bool>()), 1..300),
        ) {
            let start = clock::now();
            let budget = RetryBudget::new(percent, per_second, start);
            let (mut ms, mut calls, mut retries) = (0, Vec::new(), Vec::new());
            for (pause, wants_retry) in steps {
                ms += pause;
                let now = after(start, ms);
                calls.push(ms);
                budget.deposit(now);
                // The ten whole seconds that end with this one.
                let from = (ms / 1_000).saturating_sub(WINDOW - 1) * 1_000;
                let recent = |times: &[u64]| u32::try_from(times.iter().filter(|time| **time >= from).count()).unwrap();
                let allowed = recent(&calls) * percent + per_second * 1_000;
                if wants_retry {
                    let would_be = (recent(&retries) + 1) * 100;
                    assert_eq!(budget.withdraw(now), would_be <= allowed, "{would_be} of {allowed}");
                    if would_be <= allowed {
                        retries.push(ms);
                    }
                }
            }
        }
    }
}
