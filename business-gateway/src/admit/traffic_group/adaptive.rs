//! The size of a pool that nobody measured: found from how long the service takes to begin its answers.
//!
//! Every window the mean time to the *head* of an answer is compared with a baseline. Slots say nothing here: clients that read
//! slowly hold them longer. The baseline is what the service takes when it has little to do, so it is learned only while less
//! than half of the limit is in flight; until there was such a window the shortest mean seen has to do.
//!
//! A service that takes up to [`TOLERANCE`] of its baseline is taken to be well: the limit grows by [`STEP`] a window, of which
//! [`SMOOTHING`] is taken over at once. Beyond that it shrinks in proportion, by half at most. It never grows while less than
//! half of it is used: that would say nothing about the service. Gradient limits as in Netflix's concurrency-limits.

use std::time::{Duration, Instant};

/// How much longer than its baseline a service may take before the limit shrinks, in thousandths of the baseline.
const TOLERANCE: u64 = 1_150;
/// How much of the limit is left after the worst of windows, before smoothing, in thousandths.
const WORST: u64 = 500;
/// By how many slots the limit grows in a good window, before smoothing; also the queue at the service that is worth having.
const STEP: u64 = 4;
/// Of a new limit, or a new baseline, this part is taken over at once: a fifth.
const SMOOTHING: u32 = 5;
/// Answers without which a window goes on.
const LEAST_ANSWERS: u32 = 10;
/// The limit is kept in thousandths of a slot.
const ONE: u64 = 1_000;

/// Between which sizes, and how often it is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) min: u32,
    pub(super) max: u32,
    pub(super) window: Duration,
}

/// The size of a pool by what its service shows.
#[derive(Debug)]
pub(super) struct Adaptive {
    bounds: Bounds,
    /// In thousandths of a slot.
    limit: u64,
    baseline: Option<Duration>,
    /// Whether the baseline is from a window with little to do.
    is_learned: bool,
    window: Window,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    waited: Duration,
    answers: u32,
    /// Most in flight.
    peak: usize,
}

impl Window {
    fn new(began: Instant, in_flight: usize) -> Self {
        Self { began, waited: Duration::ZERO, answers: 0, peak: in_flight }
    }
}

impl Adaptive {
    /// Begins at the largest size: a node that starts anew must not turn away what the service can take.
    pub(super) fn new(bounds: Bounds, now: Instant) -> Self {
        let limit = u64::from(bounds.max) * ONE;
        Self { bounds, limit, baseline: None, is_learned: false, window: Window::new(now, 0) }
    }

    /// Takes other bounds over and keeps what was learned.
    pub(super) fn rebound(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        self.limit = self.bounded(self.limit);
    }

    /// Between which sizes.
    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The size now.
    pub(super) fn size(&self) -> usize {
        usize::try_from((self.limit + ONE / 2) / ONE).unwrap_or(usize::MAX)
    }

    /// What the service takes when it has little to do, as far as it is known.
    pub(super) fn baseline(&self) -> Option<Duration> {
        self.baseline
    }

    /// So much is in flight.
    pub(super) fn saw(&mut self, in_flight: usize) {
        self.window.peak = self.window.peak.max(in_flight);
    }

    /// An answer began after so long.
    pub(super) fn answered(&mut self, took: Duration) {
        self.window.waited = self.window.waited.saturating_add(took);
        self.window.answers = self.window.answers.saturating_add(1);
    }

    /// A call ended without an answer after so long. That counts only when it is more than answers take: who gives up early
    /// says nothing about the service.
    pub(super) fn gave_up(&mut self, after: Duration) {
        if self.baseline.is_some_and(|baseline| after > baseline) {
            self.answered(after);
        }
    }

    /// Looks at the window if it is over; returns whether the size may have changed.
    pub(super) fn judge(&mut self, now: Instant, in_flight: usize) -> bool {
        let Window { began, waited, answers, peak } = self.window;
        if answers < LEAST_ANSWERS || now.saturating_duration_since(began) < self.bounds.window {
            return false;
        }
        self.window = Window::new(now, in_flight);
        let recent = waited / answers;
        let is_idle = u64::try_from(peak).unwrap_or(u64::MAX).saturating_mul(2 * ONE) < self.limit;
        self.learn(recent, is_idle);
        let gradient = self.baseline.map_or(ONE, |baseline| {
            let kept = baseline.as_nanos() * u128::from(TOLERANCE) / recent.as_nanos().max(1);
            u64::try_from(kept).unwrap_or(ONE).clamp(WORST, ONE)
        });
        let wanted = self.limit * gradient / ONE + STEP * ONE;
        if is_idle && wanted > self.limit {
            return false;
        }
        self.limit = self.bounded(
            self.limit.saturating_add_signed((wanted.cast_signed() - self.limit.cast_signed()) / i64::from(SMOOTHING)),
        );
        true
    }

    fn bounded(&self, limit: u64) -> u64 {
        limit.clamp(u64::from(self.bounds.min) * ONE, u64::from(self.bounds.max) * ONE)
    }

    fn learn(&mut self, recent: Duration, is_idle: bool) {
        let baseline = match self.baseline {
            Some(baseline) if is_idle && self.is_learned => (baseline * (SMOOTHING - 1) + recent) / SMOOTHING,
            Some(baseline) if !is_idle && self.is_learned => baseline,
            Some(baseline) if !is_idle => baseline.min(recent),
            _ => recent,
        };
        self.baseline = Some(baseline);
        self.is_learned |= is_idle;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_shared::clock;
    use proptest::prelude::{prop_assert, proptest};

    const BOUNDS: Bounds = Bounds { min: 4, max: 200, window: Duration::from_millis(100) };

    struct Scene {
        adaptive: Adaptive,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let now = clock::now();
            Self { adaptive: Adaptive::new(BOUNDS, now), now }
        }

        /// One window in which so many calls were in flight and each answer took so long.
        fn window(&mut self, in_flight: usize, ms: u64) -> usize {
            self.adaptive.saw(in_flight);
            (0..20).for_each(|_| self.adaptive.answered(Duration::from_millis(ms)));
            self.now += BOUNDS.window;
            self.adaptive.judge(self.now, 0);
            self.adaptive.size()
        }
    }

    #[test]
    fn it_stays_where_it_is_while_little_is_in_flight() {
        let mut scene = Scene::new();
        for ms in [20, 21, 19, 22] {
            assert_eq!(scene.window(50, ms), 200);
        }
        scene.adaptive.rebound(Bounds { max: 60, ..BOUNDS });
        assert_eq!(scene.adaptive.size(), 60);
        scene.adaptive.rebound(BOUNDS);
        assert_eq!(scene.window(29, 20), 60, "half of it is not used");
        assert_eq!(scene.window(30, 20), 61, "now it is: 4 more, a fifth of it at once");
    }

    #[test]
    fn it_shrinks_in_proportion_and_by_half_at_most() {
        let mut scene = Scene::new();
        scene.window(10, 20);
        assert_eq!(scene.adaptive.baseline(), Some(Duration::from_millis(20)));
        // 200 × 1.15 × 20 ÷ 23 + 4 is above the largest size.
        assert_eq!(scene.window(200, 23), 200);
        // 200 × 1.15 × 20 ÷ 25 + 4 = 188, a fifth of the way.
        assert_eq!(scene.window(200, 25), 198);
        // 197.6 × 0.5 + 4 = 102.8, a fifth of the way.
        assert_eq!(scene.window(200, 1_000), 179);
        for _ in 0..100 {
            scene.window(200, 1_000);
        }
        assert_eq!(scene.adaptive.size(), 8, "where half of it is what it grows by");
    }

    #[test]
    fn the_baseline_is_learned_only_while_little_is_in_flight() {
        let mut scene = Scene::new();
        scene.window(150, 40);
        assert_eq!(scene.adaptive.baseline(), Some(Duration::from_millis(40)), "for want of a better one");
        scene.window(150, 30);
        scene.window(150, 50);
        assert_eq!(scene.adaptive.baseline(), Some(Duration::from_millis(30)), "the shortest");
        scene.window(5, 45);
        assert_eq!(scene.adaptive.baseline(), Some(Duration::from_millis(45)), "learned");
        scene.window(199, 10);
        assert_eq!(scene.adaptive.baseline(), Some(Duration::from_millis(45)));
        scene.window(5, 20);
        assert_eq!(scene.adaptive.baseline(), Some(Duration::from_millis(40)), "a fifth of the way");
    }

    #[test]
    fn a_window_without_answers_goes_on_and_hanging_calls_count_when_they_end() {
        let mut scene = Scene::new();
        scene.window(10, 20);
        scene.adaptive.saw(200);
        scene.now += BOUNDS.window * 5;
        assert!(!scene.adaptive.judge(scene.now, 200), "nothing is known");
        (0..20).for_each(|_| scene.adaptive.gave_up(Duration::from_millis(5)));
        assert!(!scene.adaptive.judge(scene.now, 200), "callers that went away early say nothing");
        (0..20).for_each(|_| scene.adaptive.gave_up(Duration::from_secs(10)));
        assert!(scene.adaptive.judge(scene.now, 200));
        assert_eq!(scene.adaptive.size(), 181);
    }

    proptest! {
        #[test]
        fn it_never_leaves_its_bounds(windows in proptest::collection::vec((0usize..300, 0u64..100_000), 1..200)) {
            let mut scene = Scene::new();
            for (in_flight, ms) in windows {
                let size = scene.window(in_flight, ms);
                prop_assert!((4..=200).contains(&size));
            }
        }
    }
}
