//! Quotas of three nodes over a real Redis, which is killed, stopped and emptied meanwhile.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use business_gateway::admit::quota::{
    Charge, Headers, Limit, Limits, Quotas, Refusal, Settings, Subject, charge, refill, show,
};
use business_gateway::store::catalog::CatalogConfig;
use gatehouse_shared::clock::{self, Clock, ManualClock};
use gatehouse_shared::config::{SourceFile, parse};
use gatehouse_shared::limit::KeyHasher;
use gatehouse_shared::problem;
use gatehouse_store::quota::Accounts;
use gatehouse_store::{Batch, Command, Fleet, Key, Redis};
use tokio::task::AbortHandle;

use crate::support::SOON;
use crate::support::redis::RedisServer;

/// One node of a fleet in one process, with a connection of its own.
struct Node {
    quotas: Arc<Quotas>,
    limits: Arc<Limits>,
    settings: Settings,
    fleet: Arc<Fleet>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

fn compile(catalog: &str) -> Arc<Limits> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("catalog.toml"), catalog).unwrap();
    let document = parse::<CatalogConfig>(&SourceFile::read(dir.path(), "catalog.toml").unwrap()).unwrap();
    let CatalogConfig { limit, plan, .. } = &document.value;
    let limits =
        Limits::compile(limit, plan, &document.positions, &|_text: &str| Err("there are none here".to_owned()), None);
    Arc::new(limits.unwrap_or_else(|errors| panic!("{errors}")))
}

impl Node {
    /// One of three nodes, which hears of the others before it begins.
    async fn start(server: &RedisServer, name: &str, catalog: &str, clock: Clock) -> Self {
        let redis = Arc::new(server.client());
        let fleet = Arc::new(Fleet::new(Some(Arc::clone(&redis)), name));
        fleet.beat().await.unwrap();
        let quotas = Quotas::new(Accounts::in_redis(redis, name), Arc::clone(&fleet), clock);
        let settings = Settings {
            headers: Headers::Off,
            // Long, so that a slow machine does not decide.
            refill_wait: Duration::from_millis(500),
            first_wait: SOON,
            nodes: 3,
            fleet: KeyHasher::of_fleet([7; 16]),
        };
        let beats = tokio::spawn({
            let fleet = Arc::clone(&fleet);
            async move {
                loop {
                    let _away = fleet.beat().await.is_err();
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        });
        Self { quotas, limits: compile(catalog), settings, fleet, tasks: vec![beats.abort_handle()] }
    }

    /// Makes rounds by itself.
    fn run(&mut self) {
        let (quotas, limits) = (Arc::clone(&self.quotas), Arc::clone(&self.limits));
        let rounds = tokio::spawn(async move { refill::run_with(&quotas, || (Arc::clone(&limits), 3)).await });
        self.tasks.push(rounds.abort_handle());
    }

    async fn call(&self, name: &str) -> Result<Charge, Refusal> {
        let limit: &Arc<Limit> = self.limits.find(name).unwrap();
        charge(&self.quotas, &self.settings, std::iter::once((limit, limit.cost)), &subject(), clock::now()).await
    }

    async fn used(&self, name: &str) -> serde_json::Value {
        let question = show::Question { limit: Some(name.to_owned()), app: Some("shop".into()), ..Default::default() };
        let shown = show::show(&self.quotas, &self.limits, &self.settings, &question).await;
        shown.map_or(serde_json::Value::Null, |shown| shown["quotas"][0].clone())
    }
}

fn subject() -> Subject<'static> {
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Subject { api: "orders", app: Some("shop"), plan: None, user: None, client, head: None }
}

async fn fleet(server: &RedisServer, catalog: &str) -> Vec<Arc<Node>> {
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(Node::start(server, name, catalog, Clock::System).await);
    }
    nodes
        .into_iter()
        .map(|mut node| {
            node.run();
            Arc::new(node)
        })
        .collect()
}

/// What was admitted, by window, and what was refused, by code.
#[derive(Default)]
struct Tally {
    admitted: HashMap<u64, u64>,
    refused: HashMap<&'static str, u64>,
}

/// Calls the three nodes at 7 to 2 to 1, `each_ms` a millisecond together, until told to stop.
async fn load(nodes: &[Arc<Node>], name: &'static str, each_ms: u64, time: Duration) -> Tally {
    let tally = Arc::new(Mutex::new(Tally::default()));
    let ends = tokio::time::Instant::now() + time;
    let callers: Vec<_> = [7, 2, 1]
        .into_iter()
        .zip(nodes)
        .flat_map(|(part, node)| (0..part).map(move |_| Arc::clone(node)))
        .map(|node| {
            let tally = Arc::clone(&tally);
            tokio::spawn(async move {
                while tokio::time::Instant::now() < ends {
                    for _ in 0..each_ms {
                        match node.call(name).await {
                            Ok(mut charge) => {
                                let window = charge.windows().next().unwrap();
                                charge.keep();
                                *tally.lock().unwrap().admitted.entry(window).or_default() += 1;
                            }
                            Err(refusal) => *tally.lock().unwrap().refused.entry(refusal.reason.code).or_default() += 1,
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    Arc::into_inner(tally).unwrap().into_inner().unwrap()
}

impl Tally {
    fn admitted(&self) -> u64 {
        self.admitted.values().sum()
    }

    fn and(mut self, other: &Self) -> Self {
        for (window, count) in &other.admitted {
            *self.admitted.entry(*window).or_default() += count;
        }
        for (code, count) in &other.refused {
            *self.refused.entry(code).or_default() += count;
        }
        self
    }
}

const DAY: &str = "[[limit]]\nname = \"day\"\nby = [\"app\"]\nrate = \"3000/1d\"\n";

fn closed(catalog: &str) -> String {
    format!("{catalog}on_store_failure = \"closed\"\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_is_used_up_by_uneven_nodes_and_not_one_call_more_and_show_is_exact() {
    let dir = tempfile::tempdir().unwrap();
    let server = RedisServer::start(dir.path()).await;
    let nodes = fleet(&server, DAY).await;
    let half = load(&nodes, "day", 2, Duration::from_millis(500)).await;
    // Quiet: what everybody used is known to the store, and so to each node.
    for node in &nodes {
        let deadline = tokio::time::Instant::now() + SOON;
        loop {
            let shown = node.used("day").await;
            if shown["used"] == half.admitted() {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{shown} after {}", half.admitted());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let mut all = half;
    let deadline = tokio::time::Instant::now() + SOON;
    while all.refused.is_empty() || all.admitted() < 2_910 {
        assert!(tokio::time::Instant::now() < deadline, "{} are unused", 3_000 - all.admitted());
        all = all.and(&load(&nodes, "day", 5, Duration::from_millis(500)).await);
    }
    eprintln!("quota_day_unused = {} of 3000", 3_000 - all.admitted());
    assert!(all.admitted() <= 3_000, "{}", all.admitted());
    assert_eq!(all.refused.keys().copied().collect::<Vec<_>>(), ["quota_app"]);
    let rounds: u64 = nodes.iter().map(|node| node.quotas.totals.rounds.get()).sum();
    eprintln!("quota_day_rounds = {rounds}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_of_ten_seconds_never_get_more_than_their_limit() {
    let dir = tempfile::tempdir().unwrap();
    let server = RedisServer::start(dir.path()).await;
    let nodes = fleet(&server, "[[limit]]\nname = \"ten\"\nby = [\"app\"]\nrate = \"2000/10s\"\n").await;
    let tally = load(&nodes, "ten", 4, Duration::from_secs(12)).await;
    let mut windows: Vec<(&u64, &u64)> = tally.admitted.iter().collect();
    windows.sort();
    eprintln!("quota_ten_seconds = {windows:?} of 2000");
    assert!(windows.len() >= 2);
    assert!(windows.iter().all(|(_, admitted)| **admitted <= 2_000), "{windows:?}");
}

/// What becomes of Redis in the middle.
async fn disturbed(name: &'static str, catalog: &str, disturb: impl AsyncFnOnce(&mut RedisServer)) -> (Tally, u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut server = RedisServer::start(dir.path()).await;
    let nodes = fleet(&server, catalog).await;
    let before = load(&nodes, "day", 1, Duration::from_millis(500)).await;
    let used = before.admitted();
    let under_way = {
        let nodes = nodes.clone();
        tokio::spawn(async move { load(&nodes, "day", 1, Duration::from_millis(1_500)).await })
    };
    disturb(&mut server).await;
    let mut all = before.and(&under_way.await.unwrap());
    // Until it is used up, and everybody is heard again.
    let deadline = tokio::time::Instant::now() + SOON;
    while all.admitted() < 2_910 && tokio::time::Instant::now() < deadline {
        all = all.and(&load(&nodes, "day", 5, Duration::from_millis(500)).await);
    }
    all = all.and(&load(&nodes, "day", 5, Duration::from_millis(500)).await);
    let failed: u64 = nodes.iter().map(|node| node.quotas.totals.failed_rounds.get()).sum();
    let healed: u64 = nodes.iter().map(|node| node.quotas.totals.healed.get()).sum();
    eprintln!(
        "quota_{name} = {} of 3000 ({used} used before, {failed} rounds failed, {healed} accounts healed, refused {:?})",
        all.admitted(),
        all.refused
    );
    let codes = [problem::QUOTA_APP.code, problem::QUOTA_UNAVAILABLE.code];
    assert!(all.refused.keys().all(|code| codes.contains(code)), "{:?}", all.refused);
    assert!(all.admitted() >= 2_910, "{} are unused", 3_000 - all.admitted());
    (all, used)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_stopped_for_five_seconds_costs_nothing() {
    let stop = async |server: &mut RedisServer| {
        server.signal("STOP");
        tokio::time::sleep(Duration::from_secs(5)).await;
        server.signal("CONT");
    };
    let (all, _) = disturbed("stopped", &closed(DAY), stop).await;
    assert!(all.admitted() <= 3_000, "{}", all.admitted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_and_starts_empty_costs_at_most_what_was_unspent() {
    let kill = async |server: &mut RedisServer| {
        server.kill();
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.restart().await;
    };
    let (all, used) = disturbed("killed", &closed(DAY), kill).await;
    assert!(all.admitted() <= 3_000 + (3_000 - used), "{}", all.admitted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_emptied_costs_at_most_what_was_unspent() {
    let flush = async |server: &mut RedisServer| {
        // On another key than any it has: the command takes none.
        let flush = Command::script("return redis.call('FLUSHALL')", &[&Key::catalog()]);
        server.client().run(&Batch::new().with(flush)).await.unwrap();
    };
    let (all, used) = disturbed("emptied", &closed(DAY), flush).await;
    assert!(all.admitted() <= 3_000 + (3_000 - used), "{}", all.admitted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_limit_goes_on_with_its_part_while_redis_is_away() {
    let kill = async |server: &mut RedisServer| {
        server.kill();
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        server.restart().await;
    };
    let (all, used) = disturbed("open_killed", DAY, kill).await;
    assert!(!all.refused.contains_key(problem::QUOTA_UNAVAILABLE.code));
    assert!(all.admitted() <= 3_000 + 2 * (3_000 - used), "{}", all.admitted());
}

/// A second of a limit by the second on three nodes, on a clock that the test moves: 60 of them.
#[tokio::test]
async fn a_limit_by_the_second_is_kept_within_three_percent() {
    let dir = tempfile::tempdir().unwrap();
    let server = RedisServer::start(dir.path()).await;
    let manual = ManualClock::starting_at(1_700_000_040_000);
    let catalog = "[[limit]]\nname = \"second\"\nby = [\"app\"]\nrate = \"1000/1s\"\n";
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(Node::start(&server, name, catalog, Clock::Manual(Arc::clone(&manual))).await);
    }
    // Each hears of all three before it begins.
    for node in &nodes {
        node.fleet.beat().await.unwrap();
        assert_eq!(node.quotas.nodes(1), 3);
    }
    let mut random = fastrand::Rng::with_seed(5);
    let mut next = [17_u64, 83, 141];
    let (mut admitted, mut rounds) = (0_u64, 0);
    for ms in 0..60_000_u64 {
        for (node, next) in nodes.iter().zip(&mut next) {
            if ms == *next {
                *next = ms + random.u64(100..=200);
                assert!(refill::round(&node.quotas, &node.limits, 3, true).await);
                rounds += 1;
            }
        }
        // Twice the limit.
        for _ in 0..2 {
            let node = &nodes[match random.u32(0..10) {
                0..7 => 0,
                7..9 => 1,
                _ => 2,
            }];
            let limit = node.limits.find("second").unwrap();
            let limits = std::iter::once((limit, 1));
            if let Ok(mut charge) = charge(&node.quotas, &node.settings, limits, &subject(), manual.now()).await {
                charge.keep();
                admitted += 1;
            }
        }
        manual.advance(Duration::from_millis(1));
    }
    let share = admitted as f64 / 60_000.0;
    eprintln!("quota_second_share = {share:.4} of 1000/1s over a minute, {rounds} rounds");
    assert!((0.97..=1.03).contains(&share), "{share}");
}

#[tokio::test]
async fn redis_is_named_by_whoever_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = RedisServer::start(dir.path()).await;
    let node = Node::start(&server, "a", DAY, Clock::System).await;
    let redis: Redis = server.client();
    let limit = node.limits.find("day").unwrap();
    let limits = std::iter::once((limit, 1));
    let subject = subject();
    let charged = charge(&node.quotas, &node.settings, limits, &subject, clock::now());
    let rounds = async {
        loop {
            refill::round(&node.quotas, &node.limits, 3, false).await;
            tokio::task::yield_now().await;
        }
    };
    let mut charge = tokio::select! { charge = charged => charge.unwrap(), () = rounds => unreachable!() };
    let window = charge.windows().next().unwrap();
    charge.keep();
    let key = Key::quota("day", "app=shop", window).unwrap();
    let leased: u64 = redis.one(Command::on("HGET", &key).arg("total")).await.unwrap();
    assert!((1..=30).contains(&leased), "{leased}");
}
