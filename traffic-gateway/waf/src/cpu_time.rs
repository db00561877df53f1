//! What work costs, for tests: time of this thread on a processor, so that a busy machine does not change the verdict.

use std::fs;
use std::time::Duration;

/// Tries of which one has to show linear cost: caches and the other thread of a core disturb single ones.
const TRIES: usize = 5;

/// How much dearer work on four times the bytes may be: linear work is four times as dear, quadratic work sixteen times.
const ALLOWED: u32 = 6;

/// Work that costs less is lost in what starting it costs.
const LEAST: Duration = Duration::from_micros(50);

/// Time that this thread has spent on a processor.
fn spent() -> Duration {
    // The account is brought up to date when a thread leaves its processor, which one that sleeps long enough does.
    std::thread::sleep(Duration::from_micros(100));
    let account = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(account.split(' ').next().unwrap().parse().unwrap())
}

/// What `work` costs this thread once.
pub(crate) fn cost(work: impl FnOnce()) -> Duration {
    let before = spent();
    work();
    spent() - before
}

/// What the cheapest of some runs of `work` costs.
pub(crate) fn least_cost(runs: usize, mut work: impl FnMut()) -> Duration {
    (0..runs).map(|_| cost(&mut work)).min().unwrap_or_default()
}

/// Asserts that `work` on `4 * size` bytes is about four times as dear as on `size` bytes in one of some tries, and gives
/// what the larger one cost.
#[track_caller]
pub(crate) fn assert_linear(what: &str, size: usize, mut work: impl FnMut(usize)) -> Duration {
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let (small, large) = (cost(|| work(size)), cost(|| work(4 * size)));
        if large <= small.max(LEAST) * ALLOWED {
            return large;
        }
        seen.push((small, large));
    }
    panic!("{what}: {size} bytes, and four times as many, cost {seen:?}");
}

#[test]
fn quadratic_work_is_told_from_linear_work() {
    let steps = |count: usize| {
        std::hint::black_box((0..count).map(std::hint::black_box).sum::<usize>());
    };
    assert_linear("linear", 100_000, steps);
    let quadratic = std::panic::catch_unwind(|| assert_linear("quadratic", 1_000, |size| steps(size * size)));
    assert!(quadratic.is_err());
}
