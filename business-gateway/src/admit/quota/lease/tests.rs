use std::collections::HashMap;

use gatehouse_store::quota::{Account, Answer, Ask, Ledger};
use proptest::prelude::{Strategy, any, prop_assert, prop_oneof, proptest};

use super::*;

const START: u64 = 1_700_000_040_000;

fn minute(now: u64) -> Window {
    let number = now / 60_000;
    Window { number, begins: number * 60_000, ends: (number + 1) * 60_000 }
}

fn stored(request: &Request, nodes: u32) -> Ask {
    Ask {
        account: Account { limit: "a".into(), subject: "all".into(), window: request.window.number },
        span: (request.window.begins, request.window.ends),
        holder: request.holder,
        number: request.number,
        known: request.known,
        target: request.target,
        used: request.used,
        need: request.need,
        limit: request.limit,
        nodes,
    }
}

/// The store: one ledger for each window.
#[derive(Default)]
struct Store(HashMap<u64, Ledger>);

impl Store {
    fn ask(&mut self, request: &Request, nodes: u32, now: u64) -> Option<Reply> {
        let ledger = self.0.entry(request.window.number).or_default();
        match ledger.ask(&format!("{}", request.holder), &stored(request, nodes), now) {
            Answer::Leased { total, free, .. } => Some(Reply { total, free }),
            Answer::Stale | Answer::Early => None,
        }
    }
}

/// A fleet of nodes with one account.
struct Fleet {
    store: Store,
    nodes: Vec<Lease>,
    holders: u64,
    limit: u64,
    now: u64,
    admitted: HashMap<u64, u64>,
    rounds: u32,
}

impl Fleet {
    fn new(nodes: usize, limit: u64) -> Self {
        let lease = |holder| Lease::new(minute(START), holder, START);
        Self {
            store: Store::default(),
            nodes: (0..nodes as u64).map(lease).collect(),
            holders: nodes as u64,
            limit,
            now: START,
            admitted: HashMap::new(),
            rounds: 0,
        }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.nodes.len()).unwrap()
    }

    fn roll(&mut self, node: usize) {
        let holders = &mut self.holders;
        self.nodes[node].roll(&minute(self.now), self.now, || {
            *holders += 1;
            *holders
        });
    }

    fn take(&mut self, node: usize, cost: u64) -> (Take, Wish) {
        self.roll(node);
        let (take, wish) = self.nodes[node].take(cost, self.limit, self.now);
        if take == Take::Taken {
            *self.admitted.entry(self.nodes[node].window.number).or_default() += cost;
        }
        (take, wish)
    }

    /// A round that works.
    fn round(&mut self, node: usize) {
        let count = self.count();
        let (closing, request) = self.nodes[node].ask(count, self.now);
        for request in closing.iter().chain(&request) {
            self.rounds += 1;
            if let Some(reply) = self.store.ask(request, count, self.now) {
                self.nodes[node].hear(request.holder, request.number, reply, count, self.now);
            }
        }
    }

    /// A request that waits for a round when it has to.
    fn call(&mut self, node: usize) -> bool {
        self.call_of(node, 1)
    }

    fn call_of(&mut self, node: usize, cost: u64) -> bool {
        let (mut take, wish) = self.take(node, cost);
        if matches!(wish, Wish::Now | Wish::Hurry) {
            self.round(node);
            if matches!(take, Take::Empty | Take::New) {
                take = self.take(node, cost).0;
            }
        }
        take == Take::Taken
    }

    /// Every 200 milliseconds.
    fn tick(&mut self) {
        let count = self.count();
        for node in 0..self.nodes.len() {
            if self.nodes[node].is_queued || self.nodes[node].is_due(count, self.now) {
                self.round(node);
            }
        }
    }
}

#[test]
fn a_call_that_costs_more_gets_what_is_missing_and_no_less() {
    for cost in 1..=7 {
        let mut fleet = Fleet::new(1, 60);
        let admitted = (0..100).filter(|_| fleet.call_of(0, cost)).count();
        assert_eq!(u64::try_from(admitted).unwrap(), 60 / cost, "at {cost} a call");
    }
}

#[test]
fn an_uneven_load_uses_up_the_limit_and_not_one_more() {
    for (limit, load) in [(6_000, 12_000), (600, 60_000), (100, 1_000), (10, 1_000), (60_000, 66_000)] {
        let mut fleet = Fleet::new(3, limit);
        let mut random = fastrand::Rng::with_seed(7);
        let window = START / 60_000;
        for step in 0..60_000_u64 {
            fleet.now = START + step;
            if step.is_multiple_of(200) {
                fleet.tick();
            }
            for _ in 0..(load * (step + 1) / 60_000 - load * step / 60_000) {
                let node = match random.u32(0..10) {
                    0..7 => 0,
                    7..9 => 1,
                    _ => 2,
                };
                fleet.call(node);
            }
        }
        let admitted = fleet.admitted[&window];
        let unused = limit - admitted;
        eprintln!("quota_lease_limit_{limit} = admitted {admitted}, unused {unused}, rounds {}", fleet.rounds);
        assert!(unused <= (limit * 3 / 100).max(3), "{unused} of {limit} are unused");
    }
}

#[test]
fn steady_use_costs_a_round_every_second_and_no_wait() {
    let mut fleet = Fleet::new(1, 1_000_000);
    assert!(fleet.call(0));
    let mut waits = 0;
    for step in 0..30_000_u64 {
        fleet.now = START + step;
        if step.is_multiple_of(200) {
            fleet.tick();
        }
        if step == 1_000 {
            fleet.rounds = 0;
        }
        let (take, _) = fleet.take(0, 1);
        waits += u32::from(take != Take::Taken);
    }
    assert_eq!(waits, 0);
    assert!(fleet.rounds <= 5 * 29, "{} rounds for 29,000 requests", fleet.rounds);
}

#[test]
fn what_is_not_used_comes_back_to_those_who_need_it() {
    let mut fleet = Fleet::new(2, 1_000);
    for _ in 0..100 {
        assert!(fleet.call(0));
    }
    fleet.now += 4_000;
    fleet.tick();
    let (_, used, leased) = fleet.nodes[0].standing();
    assert_eq!((used, leased), (100, 105), "it keeps the smallest batch");
    fleet.now += 20_000;
    fleet.tick();
    assert_eq!(fleet.nodes[0].standing().2, 100);
    assert!(fleet.nodes[0].is_idle(fleet.now, Forget::Idle));
    let statement = fleet.store.0[&(START / 60_000)].statement();
    assert_eq!((statement.leased, statement.holdings[0].used), (100, 100));
    let admitted = (0..2_000).filter(|_| fleet.call(1)).count();
    assert_eq!(admitted, 900);
}

#[test]
fn after_nothing_is_left_a_node_denies_by_itself_and_asks_again_seldom() {
    let mut fleet = Fleet::new(2, 10);
    assert_eq!((0..30).filter(|_| fleet.call(0)).count(), 10);
    fleet.rounds = 0;
    for step in 0..10_000 {
        fleet.now = START + step;
        assert!(!fleet.call(0));
        if step.is_multiple_of(200) {
            fleet.tick();
        }
    }
    assert!(fleet.rounds <= 10, "{}", fleet.rounds);
}

#[test]
fn a_refund_counts_in_its_own_window_only() {
    let mut fleet = Fleet::new(1, 1_000);
    assert!(fleet.call(0) && fleet.call(0));
    let window = START / 60_000;
    fleet.nodes[0].give_back(1, window);
    assert_eq!(fleet.nodes[0].standing().1, 1);
    fleet.now += 60_000;
    assert!(fleet.call(0));
    fleet.nodes[0].give_back(1, window);
    assert_eq!(fleet.nodes[0].standing().1, 1);
}

#[test]
fn the_end_of_a_window_is_told_once() {
    let mut fleet = Fleet::new(1, 1_000);
    for _ in 0..7 {
        assert!(fleet.call(0));
    }
    fleet.now += 60_000;
    assert!(fleet.call(0), "the round for the new window tells of the old one, too");
    let before = fleet.store.0[&(START / 60_000)].statement();
    assert_eq!((before.leased, before.holdings[0].used), (7, 7));
    // And when nobody comes any more, by itself.
    fleet.now += 60_000;
    assert!(fleet.nodes[0].is_due(1, fleet.now));
    fleet.tick();
    let after = fleet.store.0[&(START / 60_000 + 1)].statement();
    assert_eq!((after.leased, after.holdings[0].used), (1, 1));
    assert!(!fleet.nodes[0].is_due(1, fleet.now));
}

#[test]
fn a_node_alone_has_its_part_of_what_was_left() {
    let mut lease = Lease::new(minute(START), 1, START);
    let terms = Terms { limit: 90, nodes: 3 };
    assert_eq!(lease.take(1, 90, START), (Take::New, Wish::Now));
    assert_eq!((0..90).filter(|_| lease.overdraw(1, terms, START)).count(), 30);
    let request = lease.ask(3, START).1.unwrap();
    assert_eq!((request.known, request.used), (30, 30), "the store hears of it");
    lease.hear(1, request.number, Reply { total: 32, free: 9 }, 3, START);
    assert_eq!(lease.take(2, 90, START).0, Take::Taken);
    assert_eq!((0..90).filter(|_| lease.overdraw(1, terms, START)).count(), 3);
}

#[test]
fn a_clock_that_steps_back_a_little_changes_nothing() {
    let mut lease = Lease::new(minute(START), 1, START);
    lease.roll(&minute(START - 1), START - 1, || 2);
    assert_eq!(lease.standing().0, minute(START));
    lease.roll(&minute(START - 3_600_000), START - 3_600_000, || 2);
    assert_eq!(lease.standing().0, minute(START - 3_600_000));
}

/// What may happen to a fleet.
#[derive(Clone, Debug)]
enum Event {
    Take {
        node: usize,
        cost: u64,
    },
    GiveBack {
        node: usize,
    },
    /// A node asks; what it says is on its way.
    Ask {
        node: usize,
    },
    /// Something that is on its way arrives, and so does the answer, or not.
    Arrive {
        which: usize,
        is_heard: bool,
    },
    /// Something on its way is given up by its node, but may still arrive.
    GiveUp {
        which: usize,
    },
    Crash {
        node: usize,
    },
    Pass {
        ms: u64,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let node = || 0..3_usize;
    prop_oneof![
        8 => (node(), 1..4_u64).prop_map(|(node, cost)| Event::Take { node, cost }),
        1 => node().prop_map(|node| Event::GiveBack { node }),
        4 => node().prop_map(|node| Event::Ask { node }),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(which, is_heard)| Event::Arrive { which, is_heard }),
        2 => any::<usize>().prop_map(|which| Event::GiveUp { which }),
        1 => node().prop_map(|node| Event::Crash { node }),
        2 => (0..9_000_u64).prop_map(|ms| Event::Pass { ms }),
    ]
}

proptest! {
    /// Whatever is lost, late, twice or out of order, and whoever crashes: no window gets more than the limit.
    #[test]
    fn never_more_is_admitted_than_the_limit(limit in 1..60_u64, events in proptest::collection::vec(event(), 1..400)) {
        let mut fleet = Fleet::new(3, limit);
        let mut on_the_way: Vec<(usize, Request, bool)> = Vec::new();
        let mut kept: Vec<Vec<(u64, u64)>> = vec![Vec::new(); 3];
        for event in events {
            match event {
                Event::Take { node, cost } => {
                    if fleet.take(node, cost).0 == Take::Taken {
                        kept[node].push((fleet.nodes[node].window.number, cost));
                    }
                }
                Event::GiveBack { node } => {
                    if let Some((window, cost)) = kept[node].pop() {
                        fleet.nodes[node].give_back(cost, window);
                        *fleet.admitted.get_mut(&window).unwrap() -= cost;
                    }
                }
                Event::Ask { node } => {
                    let (closing, request) = fleet.nodes[node].ask(3, fleet.now);
                    on_the_way.extend(closing.into_iter().chain(request).map(|request| (node, request, true)));
                }
                Event::Arrive { which, is_heard } if !on_the_way.is_empty() => {
                    let (node, request, is_waited_for) = on_the_way.swap_remove(which % on_the_way.len());
                    let reply = fleet.store.ask(&request, 3, fleet.now);
                    match reply {
                        Some(reply) if is_heard && is_waited_for => {
                            fleet.nodes[node].hear(request.holder, request.number, reply, 3, fleet.now);
                        }
                        _ if is_waited_for => fleet.nodes[node].fail(request.holder, request.number),
                        _ => {}
                    }
                }
                Event::GiveUp { which } if !on_the_way.is_empty() => {
                    let which = which % on_the_way.len();
                    let (node, request, is_waited_for) = &mut on_the_way[which];
                    if std::mem::replace(is_waited_for, false) {
                        fleet.nodes[*node].fail(request.holder, request.number);
                    }
                }
                Event::Crash { node } => {
                    fleet.holders += 1;
                    fleet.nodes[node] = Lease::new(minute(fleet.now), fleet.holders, fleet.now);
                    // Nobody is left to give anything back, or to hear answers.
                    kept[node].clear();
                    on_the_way.iter_mut().filter(|(of, ..)| *of == node).for_each(|(_, _, is_waited_for)| *is_waited_for = false);
                }
                Event::Pass { ms } => fleet.now += ms,
                Event::Arrive { .. } | Event::GiveUp { .. } => {}
            }
            for (window, admitted) in &fleet.admitted {
                prop_assert!(*admitted <= limit, "{admitted} of {limit} in {window}");
            }
        }
    }
}
