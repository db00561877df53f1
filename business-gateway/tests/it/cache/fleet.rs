//! Two nodes and one Redis.

use super::*;
use crate::support::SOON;
use crate::support::process::Process;
use crate::support::redis::RedisServer;

struct Nodes {
    redis: RedisServer,
    first: Process,
    second: Process,
    _dir: tempfile::TempDir,
}

impl Nodes {
    async fn start(origin: &Origin, cache: &str, settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let redis = RedisServer::start(&dir.path().join("redis")).await;
        let catalog = origin.catalog(cache, "");
        let settings = format!("{settings}\n{}", redis.toml());
        let first = Process::start(&dir.path().join("a"), "a", &catalog, &settings).await;
        let second = Process::start(&dir.path().join("b"), "b", &catalog, &settings).await;
        for node in [&first, &second] {
            let has_heard = || node.command(&["cache", "stats"]).out.contains("heard of purges").then_some(());
            until("node that has heard of purges", has_heard).await;
        }
        Self { redis, first, second, _dir: dir }
    }
}

async fn get(node: &Process, target: &str) -> Answer {
    let mut edge = Edge::connect(node.address, Protocol::Http1).await;
    let answer = send(&mut edge, "GET", target, &[("accept-language", "de")]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// Calls until the body is this.
async fn until_body(node: &Process, target: &str, body: &str) {
    let deadline = tokio::time::Instant::now() + SOON;
    while get(node, target).await.text() != body {
        assert!(tokio::time::Instant::now() < deadline, "{target} is not answered with {body}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// The count of the fleet's level at a node.
fn counted(node: &Process, name: &str) -> u64 {
    let stats = node.command(&["cache", "stats"]).out;
    let line = stats.lines().find(|line| line.starts_with("fleet\t")).unwrap();
    let count = line.split('\t').find_map(|column| column.strip_suffix(name)?.trim().parse().ok());
    count.unwrap_or(0)
}

async fn until_counted(node: &Process, name: &str, count: u64) {
    until(&format!("{count} {name}"), || (counted(node, name) >= count).then_some(())).await;
}

const FLEET: &str = "lifetime = \"1h\", fleet = true, tags = [\"{kind}\"], status = \"always\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_has_asked_for_the_other_one_has() {
    let origin = Origin::start(&[("vary", "accept-language"), ("content-type", "text/plain")]).await;
    origin.say(|script| script.body = Some(Bytes::from("one and the same, ".repeat(2_000))));
    let nodes = Nodes::start(&origin, FLEET, "").await;
    let asked = get(&nodes.first, "/shoes/7").await;
    until_counted(&nodes.first, "written", 1).await;
    let read = get(&nodes.second, "/shoes/7").await;
    assert_eq!((&read.body, origin.count()), (&asked.body, 1));
    assert!(read.header("cache-status").contains("detail=fleet"), "{}", read.header("cache-status"));
    assert!(get(&nodes.second, "/shoes/7").await.header("cache-status").starts_with("gatehouse; hit; ttl="));
    assert_eq!(counted(&nodes.second, "hit"), 1);
    // Another kind of client.
    let mut edge = Edge::connect(nodes.second.address, Protocol::Http1).await;
    send(&mut edge, "GET", "/shoes/7", &[("accept-language", "en")]).await;
    assert_eq!(origin.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_counts_on_all_nodes_and_for_what_they_have_left() {
    let origin = Origin::start(&[]).await;
    let nodes = Nodes::start(&origin, FLEET, "").await;
    assert_eq!(get(&nodes.first, "/shoes/7").await.text(), "1");
    until_counted(&nodes.first, "written", 1).await;
    assert_eq!(get(&nodes.second, "/shoes/7").await.text(), "1");
    assert_eq!(get(&nodes.second, "/hats/7").await.text(), "2");
    let purged = nodes.first.command(&["cache", "purge", "--tag", "shoes"]);
    assert_eq!(purged.code, Some(0), "{purged:?}");
    assert_eq!(get(&nodes.first, "/shoes/7").await.text(), "3", "at once where it was said");
    until_body(&nodes.second, "/shoes/7", "3").await;
    assert_eq!(get(&nodes.second, "/hats/7").await.text(), "2");
    assert_eq!(origin.count(), 3, "and the new one is shared again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_while_the_store_is_away_reaches_the_others_later() {
    let origin = Origin::start(&[]).await;
    let mut nodes = Nodes::start(&origin, FLEET, "").await;
    assert_eq!(get(&nodes.first, "/shoes/7").await.text(), "1");
    until_counted(&nodes.first, "written", 1).await;
    assert_eq!(get(&nodes.second, "/shoes/7").await.text(), "1");
    nodes.redis.kill();
    let alone = nodes.first.command(&["cache", "purge", "--tag", "shoes"]);
    assert_eq!(alone.code, Some(3), "{alone:?}");
    assert!(alone.error.contains("in force on this node only"), "{alone:?}");
    assert_eq!(get(&nodes.first, "/shoes/7").await.text(), "2");
    assert_eq!(get(&nodes.second, "/shoes/7").await.text(), "1", "it cannot know yet");
    nodes.redis.restart().await;
    // The second hears of the purge, or that Redis has lost what it knew; either way it asks anew.
    let deadline = tokio::time::Instant::now() + SOON;
    while get(&nodes.second, "/shoes/7").await.text() == "1" {
        assert!(tokio::time::Instant::now() < deadline, "the purge never comes");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_hear_of_purges_gives_nothing_that_is_older_than_allowed() {
    let origin = Origin::start(&[]).await;
    let mut nodes = Nodes::start(&origin, FLEET, "[cache]\nblind_max = \"1s\"").await;
    assert_eq!(get(&nodes.first, "/shoes/7").await.text(), "1");
    nodes.redis.kill();
    until_body(&nodes.first, "/shoes/7", "2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_stands_still_holds_nobody_up() {
    let origin = Origin::start(&[]).await;
    let nodes = Nodes::start(&origin, FLEET, "").await;
    assert_eq!(get(&nodes.first, "/shoes/1").await.text(), "1");
    nodes.redis.signal("STOP");
    for number in 2..12 {
        assert_eq!(get(&nodes.first, &format!("/shoes/{number}")).await.text(), number.to_string());
        assert_eq!(get(&nodes.first, &format!("/shoes/{number}")).await.text(), number.to_string());
    }
    assert_eq!(get(&nodes.first, "/shoes/1").await.text(), "1");
    let waited = ["late", "failed"].iter().map(|name| counted(&nodes.first, name)).sum::<u64>();
    assert!(waited <= 10, "{waited}");
    nodes.redis.signal("CONT");
}
