//! Three nodes that meet in memory.

use std::{collections::HashMap, sync::Mutex};

use super::*;
use crate::admit::limit::fleet::{Exchange, ExchangeError, Heard, TOLD_MAX, Told};

/// A limit, a window and a key.
type Place = (Arc<str>, u64, [u8; 16]);

/// Where nodes meet: what each said last.
#[derive(Default)]
struct Meeting(Mutex<HashMap<Place, HashMap<u32, u32>>>);

/// The way of one node to the meeting.
struct Way {
    meeting: Arc<Meeting>,
    node: u32,
    nodes: u32,
    is_cut: std::sync::atomic::AtomicBool,
}

#[async_trait::async_trait]
impl Exchange for Way {
    async fn exchange(&self, told: &[Told]) -> Result<Heard, ExchangeError> {
        if self.is_cut.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(ExchangeError("cut".into()));
        }
        let mut meeting = self.meeting.0.lock().unwrap();
        let others = told.iter().map(|told| {
            let counts = meeting.entry((Arc::clone(&told.limit), told.window, told.key.to_bytes())).or_default();
            counts.insert(self.node, told.total);
            counts.iter().filter(|(node, _)| **node != self.node).map(|(_, count)| u64::from(*count)).sum()
        });
        Ok(Heard { others: others.collect(), live_nodes: self.nodes })
    }
}

/// A fleet whose nodes get 70, 20 and 10 % of the load.
struct Fleet {
    nodes: Vec<(Gate, Way, u64)>,
    admitted: HashMap<u64, u32>,
    asked: u64,
}

const PARTS: [u64; 3] = [7, 2, 1];
const LIMIT: &str =
    "[limits]\nnodes = 3\n[[limit]]\nname = \"all\"\nkey = [\"client\"]\nrate = \"1000/10s\"\nscope = \"fleet\"\n";

impl Fleet {
    fn new() -> Self {
        let meeting = Arc::new(Meeting::default());
        let node = |node| {
            let way = Way { meeting: Arc::clone(&meeting), node, nodes: 3, is_cut: false.into() };
            (Gate::new(LIMIT), way, u64::from(node) * 50)
        };
        Self { nodes: (0..3).map(node).collect(), admitted: HashMap::new(), asked: 0 }
    }

    /// Lets time pass: `load` times the limit is asked for, by one client.
    async fn run(&mut self, from_ms: u64, to_ms: u64, load: u64) {
        let mut sample = Sample::get("/", &[]);
        for ms in from_ms..to_ms {
            for (gate, way, exchange_at) in &mut self.nodes {
                gate.ms = ms;
                if *exchange_at <= ms {
                    *exchange_at = ms + 150;
                    let told = gate.limits.tell();
                    match way.exchange(&told).await {
                        Ok(heard) => gate.limits.hear(&told, &heard, START + ms),
                        Err(_) => gate.limits.put_back(&told),
                    }
                }
            }
            // 100 a second are the limit; each tenth request goes to the third node.
            while self.asked < ms * load / 10 {
                let turn = self.asked % 10;
                self.asked += 1;
                let node = if turn < PARTS[0] {
                    0
                } else if turn < PARTS[0] + PARTS[1] {
                    1
                } else {
                    2
                };
                let gate = &self.nodes[node].0;
                sample.unix_ms = START + ms;
                let passed = gate.limits.check(&sample.view(), gate.now()) == Verdict::Pass;
                *self.admitted.entry((START + ms) / 10_000).or_default() += u32::from(passed);
            }
        }
    }
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the figures are worth knowing")]
async fn three_nodes_keep_a_limit_together() {
    let mut fleet = Fleet::new();
    fleet.run(0, 60_000, 2).await;
    let total: u32 = fleet.admitted.values().sum();
    println!("three nodes at twice the limit: {total} of 6000 in a minute, by window {:?}", fleet.admitted);
    assert!((5_820..=6_180).contains(&total), "{total}: {:?}", fleet.admitted);
    assert!(fleet.admitted.values().all(|admitted| *admitted <= 1_100), "{:?}", fleet.admitted);
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the figures are worth knowing")]
async fn without_the_exchange_each_keeps_its_share() {
    let mut fleet = Fleet::new();
    fleet.run(0, 33_000, 2).await;
    fleet.nodes.iter().for_each(|(_, way, _)| way.is_cut.store(true, std::sync::atomic::Ordering::Relaxed));
    fleet.run(33_000, 60_000, 2).await;
    println!("the exchange gone after 33 s: {:?}", fleet.admitted);
    assert!(fleet.admitted.values().all(|admitted| *admitted <= 1_100), "{:?}", fleet.admitted);
    // Two nodes use up their thirds, the third is asked for less.
    assert!(fleet.admitted.values().all(|admitted| *admitted >= 850), "{:?}", fleet.admitted);
    fleet.nodes.iter().for_each(|(_, way, _)| way.is_cut.store(false, std::sync::atomic::Ordering::Relaxed));
    fleet.admitted.clear();
    fleet.run(60_000, 90_000, 2).await;
    let total: u32 = fleet.admitted.values().sum();
    assert!((2_910..=3_200).contains(&total), "back again: {total}");
}

#[tokio::test]
async fn nodes_make_the_same_keys_and_a_load_below_the_limit_is_never_refused() {
    let mut fleet = Fleet::new();
    fleet.run(0, 30_000, 1).await;
    let total: u32 = fleet.admitted.values().sum();
    assert!(total >= 2_910, "{total}: {:?}", fleet.admitted);
    let keys: std::collections::HashSet<_> = {
        let meeting = fleet.nodes[0].1.meeting.0.lock().unwrap();
        meeting.keys().map(|(_, _, key)| *key).collect()
    };
    assert_eq!(keys.len(), 1, "all three mean the same by the client");
}

#[test]
fn one_exchange_tells_a_bounded_number_of_keys() {
    let gate = Gate::new(&format!("{LIMIT}[[limit]]\nname = \"other\"\nrate = \"1000000/10s\"\nscope = \"fleet\"\n"));
    assert!(gate.limits.has_fleet());
    let mut sample = Sample::get("/", &[]);
    sample.unix_ms = START;
    for n in 0..10_000_u32 {
        sample.client = (std::net::Ipv4Addr::from_bits(n), 1).into();
        // A client is told of once it has had 1/32 of a node's share.
        for _ in 0..11 {
            let _verdict = gate.limits.check(&sample.view(), gate.start);
        }
    }
    let told = gate.limits.tell();
    assert!((TOLD_MAX / 2..=TOLD_MAX).contains(&told.len()), "{}", told.len());
    assert!(told.iter().any(|told| &*told.limit == "other"));
    assert!(told.iter().all(|told| told.window_end_unix_ms == START + 10_000));
    gate.limits.put_back(&told);
    assert!(!gate.limits.tell().is_empty());
}

#[test]
fn a_limit_of_the_fleet_bans_too_and_survives_a_reload() {
    let text = "[[limit]]\nname = \"all\"\nkey = [\"client\"]\nrate = \"2/10s\"\nscope = \"fleet\"\naction = \"ban\"\nban = \"1m\"\n";
    let mut gate = Gate::new(text);
    assert!(gate.get(A).passed());
    gate.reload(text);
    assert!(gate.get(A).passed());
    assert_eq!(gate.get(A).refused(), ("rate_limit_exceeded", "all"));
    assert_eq!(gate.get(A).refused(), ("client_banned", "all"));
}
