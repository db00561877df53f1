//! How many of the recent requests failed.

use std::sync::atomic::{AtomicU64, Ordering};

/// Requests in the low half of a count, failures in the high half.
const FAILURE: u64 = 1 << 32;

/// Requests and failures over a sliding window, in two halves of it: what is asked for spans between one half and both.
///
/// Without a lock: when a half begins, one caller moves the counts, and those that count at that very moment may count into
/// the half before or lose their one count.
#[derive(Debug, Default)]
pub struct FailureWindow {
    /// The number of the present half.
    half: AtomicU64,
    present: AtomicU64,
    past: AtomicU64,
}

/// Counts of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recent {
    /// All requests.
    pub requests: u64,
    /// Those that failed.
    pub failed: u64,
}

impl FailureWindow {
    /// Counts a request that went well. The window's length and `now` are in milliseconds.
    pub fn succeeded(&self, now: u64, window: u64) {
        self.slide(now, window);
        self.present.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that failed, and tells how many of the recent ones did.
    pub fn failed(&self, now: u64, window: u64) -> Recent {
        self.slide(now, window);
        let present = self.present.fetch_add(1 + FAILURE, Ordering::Relaxed) + 1 + FAILURE;
        let past = self.past.load(Ordering::Relaxed);
        Recent { requests: present % FAILURE + past % FAILURE, failed: present / FAILURE + past / FAILURE }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.past.store(0, Ordering::Relaxed);
        self.present.store(0, Ordering::Relaxed);
    }

    fn slide(&self, now: u64, window: u64) {
        let half = now / (window / 2).max(1);
        let before = self.half.load(Ordering::Relaxed);
        if half <= before {
            return;
        }
        if self.half.compare_exchange(before, half, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let present = self.present.swap(0, Ordering::Relaxed);
            self.past.store(if half == before + 1 { present } else { 0 }, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_recent_requests_only() {
        let window = FailureWindow::default();
        for now in 1..=10 {
            window.succeeded(now * 100, 2_000);
        }
        // 1000 begins the second half.
        assert_eq!(window.failed(1_000, 2_000), Recent { requests: 11, failed: 1 });
        assert_eq!(window.failed(1_999, 2_000), Recent { requests: 12, failed: 2 });
        assert_eq!(window.failed(2_000, 2_000), Recent { requests: 4, failed: 3 }, "the first half is over");
        assert_eq!(window.failed(9_000, 2_000), Recent { requests: 1, failed: 1 }, "so is all of it");
        window.clear();
        assert_eq!(window.failed(9_000, 2_000), Recent { requests: 1, failed: 1 });
    }

    #[test]
    fn loses_nothing_within_a_half() {
        let window = FailureWindow::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|_| window.succeeded(7, 10_000)));
            }
        });
        assert_eq!(window.failed(7, 10_000), Recent { requests: 4_001, failed: 1 });
    }
}
