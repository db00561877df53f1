use super::*;
use gatehouse_shared::clock;
use proptest::prelude::{prop_assert, proptest};

const BOUNDS: Bounds = Bounds { min: 4, max: 200, window: Duration::from_millis(100) };

/// A pool before a service that answers as it is told.
struct Scene {
    adaptive: Adaptive,
    now: Instant,
}

impl Scene {
    /// One that has its first window behind it.
    fn new() -> Self {
        Self::in_fleet(1)
    }

    fn in_fleet(nodes: u32) -> Self {
        let now = clock::now();
        let mut scene = Self { adaptive: Adaptive::new(BOUNDS, Fleet { nodes, epoch: now }, now), now };
        scene.window(1, 1_000);
        assert_eq!(scene.adaptive.baseline(), None, "who answers late has not answered yet");
        scene
    }

    /// One window in which so many calls were in flight and each answer took so long.
    fn window(&mut self, in_flight: usize, ms: u64) -> usize {
        self.adaptive.saw(in_flight);
        let answers = 100 * in_flight as u64 / ms.max(1);
        (0..answers.max(10).max(in_flight as u64 / 2)).for_each(|_| self.adaptive.answered(Duration::from_millis(ms)));
        self.now += BOUNDS.window;
        self.adaptive.judge(self.now, in_flight);
        self.adaptive.size()
    }

    /// Windows in which all is used of a service that works on so many calls at a time and takes so long for one.
    fn full(&mut self, windows: u32, workers: u64, ms: u64) {
        for _ in 0..windows {
            let size = self.adaptive.size() as u64;
            self.window(self.adaptive.size(), ms * size.max(workers) / workers);
        }
    }

    fn baseline_ms(&self) -> u64 {
        u64::try_from(self.adaptive.baseline().unwrap().as_millis()).unwrap()
    }
}

fn rebound(adaptive: &mut Adaptive, bounds: Bounds) {
    let fleet = adaptive.fleet;
    adaptive.rebound(bounds, fleet);
}

#[test]
fn it_stays_where_it_is_while_little_is_in_flight() {
    let mut scene = Scene::new();
    for ms in [20, 21, 19, 22] {
        assert_eq!(scene.window(50, ms), 200);
    }
    scene.window(20, 20);
    rebound(&mut scene.adaptive, Bounds { max: 60, ..BOUNDS });
    assert_eq!(scene.adaptive.size(), 60);
    rebound(&mut scene.adaptive, BOUNDS);
    assert_eq!(scene.window(29, 20), 60, "half of it is not used");
    assert!(scene.window(31, 20) > 60);
}

#[test]
fn it_shrinks_in_proportion_and_by_half_at_most() {
    let mut scene = Scene::new();
    scene.window(4, 20);
    assert_eq!(scene.baseline_ms(), 20);
    assert_eq!(scene.window(200, 23), 200, "15 % more is well");
    // 200 × 1.15 × 20 ÷ 25 + 2 = 186, a fifth of the way.
    assert_eq!(scene.window(200, 25), 197);
    // 197.2 × 0.5 + 2 = 100.6, a fifth of the way.
    assert_eq!(scene.window(200, 1_000), 178);
}

#[test]
fn too_much_for_the_service_counts_where_the_pool_is_not_full_too() {
    let mut scene = Scene::new();
    scene.window(4, 20);
    assert_eq!(scene.window(90, 60), 200, "once is chance");
    assert_eq!(scene.window(90, 60), 200);
    assert_eq!(scene.window(90, 60), 90, "what is in use");
    // 90 × 0.5 + 2 = 47, a fifth of the way.
    assert_eq!(scene.window(90, 60), 81);
    let mut scene = Scene::new();
    scene.window(4, 20);
    (0..10).for_each(|_| assert_eq!(scene.window(5, 50), 200, "so few do not say much"));
}

#[test]
fn the_baseline_follows_both_ways_while_nothing_can_wait_and_down_else() {
    let mut scene = Scene::new();
    scene.window(150, 40);
    assert_eq!(scene.baseline_ms(), 40, "for want of a better one");
    scene.window(150, 20);
    assert_eq!(scene.baseline_ms(), 36, "a fifth of the way");
    scene.window(150, 90);
    assert_eq!(scene.baseline_ms(), 36);
    (0..20).for_each(|_| _ = scene.window(4, 38));
    assert_eq!(scene.baseline_ms(), 37, "min never waits");
}

#[test]
fn the_first_full_pool_is_tried_until_less_is_answered() {
    let mut scene = Scene::new();
    scene.full(40, 32, 20);
    assert_eq!(scene.baseline_ms(), 20);
    assert!((36..=40).contains(&scene.adaptive.size()), "{}", scene.adaptive.size());
    assert!(scene.adaptive.trial.is_none(), "it is known");
}

#[test]
fn a_pool_that_stays_full_is_tried_again_and_loses_nothing_by_it() {
    let mut scene = Scene::new();
    scene.full(40, 32, 20);
    let (size, mut trials) = (scene.adaptive.size(), 0);
    for _ in 0..300 {
        let was_tried = scene.adaptive.trial.is_some();
        scene.full(1, 32, 20);
        trials += u32::from(!was_tried && scene.adaptive.trial.is_some());
    }
    assert_eq!((trials, scene.baseline_ms()), (3, 20), "in 30 s");
    assert!(scene.adaptive.size().abs_diff(size) <= 2);
}

#[test]
fn a_service_that_has_become_slower_or_faster_is_told_from_overload() {
    for (workers, ms) in [(32, 60), (32, 7), (96, 20), (8, 20)] {
        let mut scene = Scene::new();
        scene.full(40, 32, 20);
        scene.full(500, workers, ms);
        assert!(scene.baseline_ms().abs_diff(ms) <= 1, "{} instead of {ms}", scene.baseline_ms());
        let size = scene.adaptive.size() as u64;
        assert!((workers..=workers * 5 / 4 + 3).contains(&size), "{size} for {workers}");
    }
}

#[test]
fn a_service_without_a_limit_of_its_own_is_not_throttled() {
    let mut scene = Scene::new();
    for _ in 0..500 {
        scene.full(1, 10_000, 20);
        assert!(scene.adaptive.size() >= 100, "only while it is tried");
    }
    assert_eq!(scene.baseline_ms(), 20);
    assert_eq!(scene.adaptive.trial.map_or(scene.adaptive.limit, |trial| trial.limit), 200 * ONE);
}

#[test]
fn a_trial_ends_when_nobody_wants_more() {
    let mut scene = Scene::new();
    scene.full(3, 32, 20);
    assert!(scene.adaptive.trial.is_some());
    // Everything is answered, and then a call comes now and then.
    (0..60).for_each(|_| _ = scene.window(1, 20));
    assert!(scene.adaptive.trial.is_none());
    assert!(scene.adaptive.size() > 100, "as before it: {}", scene.adaptive.size());
}

#[test]
fn the_nodes_of_a_fleet_try_at_the_same_time() {
    let epoch = clock::now();
    let fleet = Fleet { nodes: 3, epoch };
    let at = |ms| epoch + Duration::from_millis(ms);
    assert_eq!(fleet.next(at(1), TRIAL_EVERY), at(10_000));
    assert_eq!(fleet.next(at(9_999), TRIAL_EVERY), at(10_000));
    assert_eq!(fleet.next(at(10_000), TRIAL_EVERY), at(20_000));
    assert_eq!(fleet.next(at(12_345), TRIAL_SOON), at(13_000));
    assert_eq!(Fleet { nodes: 1, epoch }.next(at(12_345), TRIAL_EVERY), at(12_345));
    let mut scene = Scene::in_fleet(3);
    let mut began = Vec::new();
    for _ in 0..600 {
        let was_tried = scene.adaptive.trial.is_some();
        scene.full(1, 32, 20);
        if let Some(trial) = scene.adaptive.trial.as_ref().filter(|_| !was_tried) {
            began.push(trial.began - scene.adaptive.fleet.epoch);
        }
    }
    assert!(began.len() > 5, "{began:?}");
    assert!(began.iter().all(|began| began.subsec_millis() <= 100), "{began:?}");
    assert!(began.iter().rev().take(3).all(|began| began.as_secs().is_multiple_of(10)), "{began:?}");
}

#[test]
fn a_window_without_answers_goes_on_and_hanging_calls_count_when_they_end() {
    let mut scene = Scene::new();
    scene.window(4, 20);
    scene.adaptive.saw(200);
    scene.now += BOUNDS.window * 20;
    assert!(!scene.adaptive.judge(scene.now, 200), "nothing is known");
    (0..100).for_each(|_| scene.adaptive.gave_up(Duration::from_millis(5)));
    assert!(!scene.adaptive.judge(scene.now, 200), "callers that went away early say nothing");
    (0..99).for_each(|_| scene.adaptive.gave_up(Duration::from_secs(10)));
    assert!(!scene.adaptive.judge(scene.now, 200), "half of what is in flight must have been answered");
    scene.adaptive.gave_up(Duration::from_secs(10));
    assert!(scene.adaptive.judge(scene.now, 200));
    assert_eq!(scene.adaptive.size(), 180);
}

#[test]
fn a_window_goes_on_until_its_mean_is_known_but_not_for_ever() {
    let mut window = Window::new(clock::now(), 0);
    let (began, least) = (clock::now(), Duration::from_millis(100));
    for n in 0..100 {
        window.answered(Duration::from_millis(if n % 20 == 0 { 400 } else { 1 }));
    }
    assert!(window.seen(began + least * 2, least).is_none(), "few calls take most of the time");
    let seen = window.seen(began + least * (LONGEST + 1), least).unwrap();
    assert_eq!(seen.mean, Duration::from_micros(20_950));
    (0..400).for_each(|_| window.answered(Duration::from_millis(400)));
    assert!(window.seen(began + least * 2, least).is_some());
}

proptest! {
    #[test]
    fn it_never_leaves_its_bounds(windows in proptest::collection::vec((0usize..300, 0u64..10_000), 1..200), nodes in 0u32..3) {
        let mut scene = Scene::in_fleet(nodes);
        for (in_flight, ms) in windows {
            let size = scene.window(in_flight, ms);
            prop_assert!((4..=200).contains(&size));
        }
    }
}
