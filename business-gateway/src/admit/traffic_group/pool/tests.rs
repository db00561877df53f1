use std::collections::HashMap;

use gatehouse_shared::clock;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use super::*;

fn shape(ratios: &[(&str, u32)], reserve_percent: u8, queue_max: usize) -> Shape {
    let groups = ratios.iter().map(|(name, ratio)| (Arc::from(*name), *ratio)).collect();
    Shape { groups, reserve_percent, queue_max }
}

fn three() -> Shape {
    shape(&[("core", 60), ("real-time", 30), ("rest", 10)], 10, 1_000)
}

const LONG: Duration = Duration::from_secs(1_000);

/// A pool, and calls that are told apart by numbers.
struct Scene {
    pool: Pool<u32>,
    now: Instant,
}

impl Scene {
    fn new(shape: &Shape, size: usize) -> Self {
        Self { pool: Pool::new(shape, size), now: clock::now() }
    }

    fn enter(&mut self, group: &str, call: u32) -> Entry {
        self.pool.enter(&group.into(), self.now, self.now + LONG, || call)
    }

    fn go(&mut self, group: &str, count: u32) {
        for _ in 0..count {
            assert_eq!(self.enter(group, 0), Entry::Go);
        }
    }

    fn wait(&mut self, group: &str, call: u32) {
        assert!(matches!(self.enter(group, call), Entry::Wait(_)), "{group} {call}");
    }

    /// Gives a slot of `group` back; returns who goes next.
    fn leave(&mut self, group: &str) -> Vec<(String, u32)> {
        self.pool.leave(&group.into(), None, self.now);
        self.woken()
    }

    fn woken(&mut self) -> Vec<(String, u32)> {
        std::iter::from_fn(|| self.pool.next(self.now))
            .map(|woken| match woken {
                Woken::Granted(group, call) => (group.to_string(), call),
                Woken::Expired(call) => ("expired".to_owned(), call),
            })
            .collect()
    }
}

fn granted(group: &str, call: u32) -> Vec<(String, u32)> {
    vec![(group.to_owned(), call)]
}

#[test]
fn anyone_may_use_the_whole_pool_while_it_is_idle_but_the_lowest_group_the_reserve() {
    let mut scene = Scene::new(&three(), 32);
    scene.go("core", 32);
    scene.wait("core", 1);
    let mut scene = Scene::new(&three(), 32);
    scene.go("real-time", 32);
    scene.wait("real-time", 1);
    let mut scene = Scene::new(&three(), 32);
    scene.go("rest", 29);
    scene.wait("rest", 1);
    scene.go("core", 3);
    assert_eq!(scene.leave("core"), [], "the reserve stays closed to it");
    assert_eq!(scene.leave("rest"), granted("rest", 1));
}

#[test]
fn the_lowest_group_has_its_share_whatever_the_reserve_is() {
    let mut scene = Scene::new(&shape(&[("core", 1), ("rest", 4)], 50, 10), 10);
    scene.go("rest", 8);
    scene.wait("rest", 1);
    assert_eq!(scene.leave("rest"), granted("rest", 1));
}

#[test]
fn a_group_under_its_share_goes_before_one_over_it() {
    let mut scene = Scene::new(&three(), 10);
    scene.go("core", 5);
    scene.go("real-time", 4);
    scene.go("rest", 0);
    scene.go("core", 1);
    scene.wait("core", 1);
    scene.wait("real-time", 2);
    scene.wait("rest", 3);
    scene.wait("rest", 4);
    // Shares 6, 3, 1; core has 6 and real-time 4, so only rest is under its share.
    assert_eq!(scene.leave("real-time"), granted("rest", 3));
    // Now all have their share: core 6, real-time 3, rest 1. One of real-time leaves.
    assert_eq!(scene.leave("real-time"), granted("real-time", 2));
    assert_eq!(scene.leave("core"), granted("core", 1));
    assert_eq!(scene.leave("core"), granted("rest", 4), "nobody else wants it");
}

#[test]
fn who_had_less_than_its_share_may_have_a_quarter_more_until_that_is_spent() {
    let mut scene = Scene::new(&three(), 20);
    // Shares 12, 6, 2. For half a second core has 10 of its 12.
    scene.go("core", 10);
    scene.go("real-time", 8);
    scene.go("rest", 2);
    scene.now += Duration::from_millis(500);
    (1..=7).for_each(|call| scene.wait("core", call));
    (11..=18).for_each(|call| scene.wait("real-time", call));
    for call in 1..=4 {
        assert_eq!(scene.leave("real-time"), granted("core", call), "real-time has had more than its share");
    }
    assert_eq!(scene.leave("real-time"), granted("core", 5), "although real-time has 4 of 6");
    assert_eq!(scene.leave("real-time"), granted("real-time", 11), "core has a quarter more than its share");
    assert_eq!(scene.leave("core"), granted("core", 6));
    // Saved were 2 slots for 500 ms, and 3 more than the share spend them in 333.
    scene.now += Duration::from_millis(334);
    assert_eq!(scene.leave("core"), granted("real-time", 12));
    assert_eq!(scene.leave("core"), granted("real-time", 13));
    assert_eq!(scene.leave("core"), granted("real-time", 14), "which has saved itself");
}

#[test]
fn the_only_group_has_no_reserve_against_it() {
    let mut scene = Scene::new(&shape(&[("all", 1)], 50, 10), 10);
    scene.go("all", 10);
}

#[test]
fn inside_a_group_the_oldest_goes_first_and_who_gave_up_is_passed_over() {
    let mut scene = Scene::new(&three(), 1);
    scene.go("core", 1);
    scene.wait("core", 1);
    let Entry::Wait(second) = scene.enter("core", 2) else { panic!() };
    scene.wait("core", 3);
    scene.pool.give_up(&"core".into(), second);
    assert_eq!(scene.leave("core"), granted("core", 1));
    assert_eq!(scene.leave("core"), granted("core", 3));
    assert_eq!(scene.leave("core"), []);
    assert_eq!(scene.pool.in_flight(), 0);
}

#[test]
fn a_full_queue_and_a_hopeless_wait_are_refused_at_once() {
    let mut scene = Scene::new(&shape(&[("core", 3), ("rest", 1)], 0, 2), 4);
    scene.go("core", 4);
    scene.pool.leave(&"core".into(), Some(Duration::from_millis(100)), scene.now);
    scene.go("core", 1);
    let core: Arc<str> = "core".into();
    let mut enter = |ms| scene.pool.enter(&core, scene.now, scene.now + Duration::from_millis(ms), || 1);
    // First in line: 100 ms a slot, and core holds 4, which is more than its share of 3.
    let hopeless = Entry::Refuse(Refusal { why: Why::Hopeless, after: Duration::from_millis(25) });
    assert_eq!(enter(24), hopeless);
    assert!(matches!(enter(25), Entry::Wait(_)));
    assert!(matches!(enter(49), Entry::Refuse(Refusal { why: Why::Hopeless, .. })));
    assert!(matches!(enter(50), Entry::Wait(_)));
    assert!(matches!(enter(1_000), Entry::Refuse(Refusal { why: Why::QueueFull, .. })));
    let rest: Arc<str> = "rest".into();
    let mut enter = |ms| scene.pool.enter(&rest, scene.now, scene.now + Duration::from_millis(ms), || 1);
    // Nothing in flight, a share of 1.
    assert!(matches!(enter(99), Entry::Refuse(Refusal { why: Why::Hopeless, .. })));
    assert!(matches!(enter(100), Entry::Wait(_)));
}

#[test]
fn who_waited_too_long_is_told_and_takes_no_slot() {
    let mut scene = Scene::new(&three(), 1);
    scene.go("core", 1);
    scene.pool.enter(&"core".into(), scene.now, scene.now + Duration::from_secs(1), || 1);
    scene.wait("core", 2);
    scene.now += Duration::from_secs(1);
    let woken = scene.leave("core");
    assert_eq!(woken, [("expired".to_owned(), 1), ("core".to_owned(), 2)]);
}

#[test]
fn slots_outlive_a_change_of_groups() {
    let mut scene = Scene::new(&three(), 4);
    scene.go("rest", 4);
    scene.wait("rest", 1);
    scene.wait("core", 2);
    scene.pool.reshape(&shape(&[("first", 1), ("core", 1)], 0, 10), 4);
    assert_eq!(scene.pool.in_flight(), 4);
    scene.wait("first", 3);
    assert_eq!(scene.leave("rest"), granted("first", 3));
    assert_eq!(scene.leave("rest"), granted("core", 2));
    assert_eq!(scene.leave("rest"), granted("rest", 1), "what is gone goes last, but goes");
    assert_eq!(scene.leave("rest"), []);
    assert_eq!(scene.leave("rest"), []);
    let names: Vec<_> = scene.pool.groups().map(|group| group.name.to_string()).collect();
    assert_eq!(names, ["first", "core"], "and is forgotten");
    scene.go("late", 1);
    assert_eq!(scene.leave("late"), []);
    assert_eq!(scene.pool.in_flight(), 2);
}

#[test]
fn a_pool_that_grows_lets_as_many_go() {
    let mut scene = Scene::new(&three(), 1);
    scene.go("core", 1);
    (1..=4).for_each(|call| scene.wait("core", call));
    scene.pool.reshape(&three(), 4);
    assert_eq!(scene.woken().len(), 3);
    scene.pool.reshape(&three(), 2);
    assert_eq!(scene.leave("core"), []);
    assert_eq!(scene.leave("core"), []);
    assert_eq!(scene.leave("core"), granted("core", 4));
}

#[derive(Debug, Clone)]
enum Act {
    Enter { group: usize, patience_ms: u64 },
    Leave(usize),
    GiveUp(usize),
    Pass(u64),
    Reshape { size: usize, shape: usize },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0usize..4, prop_oneof![Just(1u64), Just(30), Just(100_000)])
            .prop_map(|(group, patience_ms)| Act::Enter { group, patience_ms }),
        5 => any::<usize>().prop_map(Act::Leave),
        1 => any::<usize>().prop_map(Act::GiveUp),
        2 => (0u64..40).prop_map(Act::Pass),
        1 => (1usize..24, 0usize..3).prop_map(|(size, shape)| Act::Reshape { size, shape }),
    ]
}

/// What the pool should know, kept the simple way.
#[derive(Default)]
struct Model {
    running: Vec<Arc<str>>,
    /// Call, group, ticket, start by.
    waiting: Vec<(u32, Arc<str>, u64, Instant)>,
    last_granted: HashMap<Arc<str>, u32>,
}

impl Model {
    /// Takes every wake-up and checks each against the rules.
    fn settle(&mut self, pool: &mut Pool<u32>, now: Instant) {
        loop {
            let before: Vec<GroupStatus> = pool.groups().collect();
            let in_flight = pool.in_flight();
            match pool.next(now) {
                None => break,
                Some(Woken::Expired(call)) => {
                    let index = self.waiting.iter().position(|waiting| waiting.0 == call).unwrap();
                    assert!(self.waiting.remove(index).3 <= now);
                }
                Some(Woken::Granted(group, call)) => {
                    assert!(in_flight < pool.size(), "never above the size");
                    let index =
                        self.waiting.iter().position(|waiting| waiting.0 == call).expect("a wake-up for nobody");
                    let (_, named, _, start_by) = self.waiting.remove(index);
                    assert_eq!(named, group);
                    assert!(start_by > now);
                    if let Some(last) = self.last_granted.insert(Arc::clone(&group), call) {
                        assert!(last < call, "first in, first out");
                    }
                    let its = before.iter().find(|status| status.name == group).unwrap();
                    let had_saved = pool.groups.iter().any(|known| known.name == group && known.saved > 0.0);
                    let more = if had_saved { its.share.div_ceil(4) } else { 0 };
                    if its.in_flight >= its.share + more {
                        let passed_over = before
                            .iter()
                            .enumerate()
                            .find(|(_, other)| other.waiting > 0 && other.in_flight < other.share);
                        assert_eq!(passed_over, None, "{group} has no claim");
                    }
                    self.running.push(group);
                }
            }
        }
        self.check(pool);
    }

    fn check(&self, pool: &Pool<u32>) {
        let groups: Vec<GroupStatus> = pool.groups().collect();
        assert_eq!(pool.in_flight(), self.running.len());
        assert_eq!(groups.iter().map(|group| group.waiting).sum::<usize>(), self.waiting.len());
        assert_eq!(groups.iter().map(|group| group.share).sum::<usize>(), pool.size());
        for (index, group) in groups.iter().enumerate() {
            assert_eq!(group.in_flight, self.running.iter().filter(|name| **name == group.name).count());
            if group.waiting > 0 && pool.in_flight() < pool.size() {
                assert_eq!(index + 1, pool.known, "{} waits although a slot is free", group.name);
                let most = (pool.size() - pool.reserve()).max(group.share);
                assert!(group.in_flight >= most, "only the reserve is closed to it");
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_rules_hold(acts in proptest::collection::vec(act(), 1..300), size in 1usize..24) {
        let names: Vec<Arc<str>> = ["a", "b", "c", "d"].map(Arc::from).to_vec();
        let shapes = [
            shape(&[("a", 60), ("b", 30), ("c", 10)], 10, 6),
            shape(&[("b", 1), ("a", 1)], 40, 6),
            shape(&[("d", 7)], 0, 6),
        ];
        let mut pool = Pool::new(&shapes[0], size);
        let mut now = clock::now();
        let mut model = Model::default();
        for (call, act) in acts.into_iter().enumerate() {
            let call = u32::try_from(call).unwrap();
            match act {
                Act::Enter { group, patience_ms } => {
                    let start_by = now + Duration::from_millis(patience_ms);
                    let before = pool.in_flight();
                    match pool.enter(&names[group], now, start_by, || call) {
                        Entry::Go => {
                            assert!(before < pool.size());
                            assert!(model.waiting.iter().all(|waiting| waiting.1 != names[group]), "it did not jump the queue");
                            model.running.push(Arc::clone(&names[group]));
                        }
                        Entry::Wait(ticket) => model.waiting.push((call, Arc::clone(&names[group]), ticket, start_by)),
                        Entry::Refuse(refusal) => if refusal.why == Why::QueueFull {
                            let waiting = model.waiting.iter().filter(|waiting| waiting.1 == names[group]).count();
                            assert_eq!(waiting, 6);
                        },
                    }
                }
                Act::Leave(nth) => if !model.running.is_empty() {
                    let group = model.running.swap_remove(nth % model.running.len());
                    pool.leave(&group, Some(Duration::from_millis(20)), now);
                },
                Act::GiveUp(nth) => if !model.waiting.is_empty() {
                    let (_, group, ticket, _) = model.waiting.remove(nth % model.waiting.len());
                    pool.give_up(&group, ticket);
                },
                Act::Pass(ms) => now += Duration::from_millis(ms),
                Act::Reshape { size, shape } => pool.reshape(&shapes[shape], size),
            }
            model.settle(&mut pool, now);
        }
        // In the end everybody who still waits gets his turn.
        while let Some(group) = model.running.pop() {
            pool.leave(&group, None, now);
            model.settle(&mut pool, now);
        }
        assert!(model.waiting.is_empty(), "nobody is forgotten");
    }
}
