//! How long an endpoint took to answer of late: a moving average that forgets by time, in one atomic.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The time after which a latency counts 1/e of what it counted: ten seconds, as the peak-EWMA balancer of Finagle and its
/// descendants in linkerd and ingress-nginx have it.
const DECAY_MS: f32 = 10_000.0;

/// The exponentially weighted moving average of an endpoint's latency.
///
/// A new latency `x` after a pause of `t` makes of the average `a`: `a · w + x · (1 - w)` with `w = exp(-t / 10 s)`. Read, it
/// decays by the same `w` towards 0, so that an endpoint that was slow, and is therefore left alone, is tried again.
#[derive(Debug, Default)]
pub(super) struct Latency {
    /// The bits of the average in microseconds (`f32`) above the 32 low bits of the millisecond it was made at; 0 before the
    /// first latency.
    state: AtomicU64,
}

impl Latency {
    /// Takes in that an answer took so long; `now` in milliseconds.
    pub(super) fn answered(&self, after: Duration, now: u64) {
        self.update(now, |_average| micros(after));
    }

    /// Takes in that a request failed after so long. Failing fast is no merit: the average does not fall by it.
    pub(super) fn failed(&self, after: Duration, now: u64) {
        self.update(now, |average| average.max(micros(after)));
    }

    /// The average in microseconds; `None` before the first latency.
    pub(super) fn average(&self, now: u64) -> Option<f32> {
        let (average, stamp) = unpack(self.state.load(Ordering::Relaxed))?;
        Some(average * weight(stamp, now))
    }

    fn update(&self, now: u64, sample: impl Fn(f32) -> f32) {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let average = match unpack(state) {
                None => sample(0.0),
                Some((average, stamp)) => {
                    let weight = weight(stamp, now);
                    average * weight + sample(average) * (1.0 - weight)
                }
            };
            let next = pack(average, now);
            match self.state.compare_exchange_weak(state, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(changed) => state = changed,
            }
        }
    }
}

fn weight(stamp: u32, now: u64) -> f32 {
    // Wraps after 49 days, and so does the difference.
    let elapsed = low(now).wrapping_sub(stamp);
    // Two threads may read the clock in one order and come here in the other.
    if elapsed > u32::MAX / 2 { 1.0 } else { (-(elapsed as f32) / DECAY_MS).exp() }
}

/// At least one microsecond, so that a packed average is never 0.
fn micros(duration: Duration) -> f32 {
    (duration.as_secs_f32() * 1e6).max(1.0)
}

fn pack(average: f32, now: u64) -> u64 {
    u64::from(average.max(f32::MIN_POSITIVE).to_bits()) << 32 | u64::from(low(now))
}

fn unpack(state: u64) -> Option<(f32, u32)> {
    let bits = u32::try_from(state >> 32).ok().filter(|bits| *bits != 0)?;
    Some((f32::from_bits(bits), low(state)))
}

fn low(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn average_ms(latency: &Latency, now: u64) -> f32 {
        latency.average(now).unwrap() / 1000.0
    }

    #[test]
    fn moves_by_the_time_between_two_answers() {
        let latency = Latency::default();
        assert_eq!(latency.average(5), None);
        latency.answered(ms(100), 1_000);
        assert!((average_ms(&latency, 1_000) - 100.0).abs() < 0.01);
        latency.answered(ms(200), 11_000);
        let expected = 100.0 * (-1.0_f32).exp() + 200.0 * (1.0 - (-1.0_f32).exp());
        assert!((average_ms(&latency, 11_000) - expected).abs() < 0.01, "{}", average_ms(&latency, 11_000));
        assert!((average_ms(&latency, 21_000) - expected * (-1.0_f32).exp()).abs() < 0.01, "it decays when read");
    }

    #[test]
    fn a_fast_failure_does_not_make_an_endpoint_fast() {
        let latency = Latency::default();
        latency.answered(ms(100), 1_000);
        latency.failed(ms(1), 2_000);
        assert!((average_ms(&latency, 2_000) - 100.0).abs() < 0.01);
        latency.failed(ms(1_000), 12_000);
        assert!(average_ms(&latency, 12_000) > 600.0);
    }

    #[test]
    fn time_that_wraps_or_runs_backwards_does_no_harm() {
        let latency = Latency::default();
        latency.answered(ms(100), u64::from(u32::MAX));
        assert!((average_ms(&latency, u64::from(u32::MAX) + 10) - 100.0).abs() < 0.2);
        latency.answered(ms(50), u64::from(u32::MAX) - 10);
        assert!(average_ms(&latency, u64::from(u32::MAX)) > 99.0);
        assert!(latency.average(u64::from(u32::MAX) + 1_000_000_000).unwrap() >= 0.0);
    }
}
