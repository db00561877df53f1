//! What became of the calls of a branch on this node since the split says what it says: by this a canary is judged.
//!
//! Times are counted in 8 classes for each doubling, so a quantile is right to an eighth of itself and never too low.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Doublings of a microsecond that are told apart: up to 19 hours.
const DOUBLINGS: usize = 36;
/// Classes of each, as a power of two.
const CLASS_BITS: u32 = 3;
const CLASSES: usize = DOUBLINGS << CLASS_BITS;

/// The counts of one branch.
#[derive(Debug)]
pub struct Counts {
    /// Since when, in Unix milliseconds.
    pub since_unix_ms: u64,
    requests: AtomicU64,
    errors: AtomicU64,
    times: Box<[AtomicU64]>,
}

/// The counts at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Calls sent to the service of the branch.
    pub requests: u64,
    /// Those that it failed.
    pub errors: u64,
    /// The time to the head of the answer that half of the calls did not exceed; `None` without calls.
    pub half: Option<Duration>,
    /// The time that 99 of a hundred did not exceed.
    pub most: Option<Duration>,
}

impl Counts {
    /// Nothing yet.
    #[must_use]
    pub fn since(unix_ms: u64) -> Self {
        Self {
            since_unix_ms: unix_ms,
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            times: (0..CLASSES).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Counts a call; `waited` is `None` where nobody waited for the answer to the end.
    pub fn add(&self, waited: Option<Duration>, is_error: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if is_error {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(times) = waited.and_then(|waited| self.times.get(class(waited))) {
            times.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How it stands. Calls that end meanwhile may be in one figure and not yet in another.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let times: Vec<u64> = self.times.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Standing {
            requests: self.requests.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            half: quantile(&times, 50),
            most: quantile(&times, 99),
        }
    }
}

/// The class of a time.
fn class(time: Duration) -> usize {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
    let doubling = micros.ilog2();
    // The bits behind the leading one.
    let rest = match doubling.checked_sub(CLASS_BITS) {
        Some(more) => micros >> more,
        None => micros << (CLASS_BITS - doubling),
    } & ((1 << CLASS_BITS) - 1);
    let doubling = usize::try_from(doubling).unwrap_or(usize::MAX).min(DOUBLINGS - 1);
    (doubling << CLASS_BITS) | usize::try_from(rest).unwrap_or_default()
}

/// The time at which a class ends.
fn end(class: usize) -> Duration {
    let (doubling, rest) = (class >> CLASS_BITS, class & ((1 << CLASS_BITS) - 1));
    let micros = (1_u64 << doubling).saturating_mul(u64::try_from(rest + 1 + (1 << CLASS_BITS)).unwrap_or(u64::MAX));
    Duration::from_micros(micros >> CLASS_BITS)
}

/// The time that so many of a hundred did not exceed.
fn quantile(times: &[u64], percent: u64) -> Option<Duration> {
    let count: u64 = times.iter().sum();
    let wanted = count.saturating_mul(percent).div_ceil(100);
    let mut sum = 0;
    let found = times.iter().position(|times| {
        sum += times;
        sum >= wanted && sum > 0
    });
    found.map(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_calls() {
        let counts = Counts::since(0);
        assert_eq!(counts.standing(), Standing { requests: 0, errors: 0, half: None, most: None });
        for millis in 1..=1_000_u64 {
            counts.add(Some(Duration::from_millis(millis)), millis > 990);
        }
        counts.add(None, false);
        let standing = counts.standing();
        assert_eq!((standing.requests, standing.errors), (1_001, 10));
        for (found, exact) in [(standing.half, 500), (standing.most, 990)] {
            let found = found.unwrap();
            let exact = Duration::from_millis(exact);
            assert!(found >= exact && found <= exact * 9 / 8, "{found:?} for {exact:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_class_ends_behind_its_times_by_an_eighth_at_most(micros in 8..(1_u64 << 35)) {
            let time = Duration::from_micros(micros);
            let end = end(class(time));
            proptest::prop_assert!(end >= time && end <= time * 9 / 8 + Duration::from_micros(1));
        }

        #[test]
        fn every_time_has_a_class(micros: u64) {
            proptest::prop_assert!(class(Duration::from_micros(micros)) < CLASSES);
        }
    }
}
