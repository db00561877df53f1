//! A signed call counts once: on the node that took it, and in the fleet where the API says so.

use std::time::Duration;

use super::{Made, SECRET, outcome, start};
use crate::support::client::{BOTH, Edge};
use crate::support::redis::RedisServer;
use crate::support::service::Service;

fn call(method: &'static str, nonce: &str) -> Made {
    Made::new(method, "/any", &[], "").signed("shop", SECRET, nonce, 0)
}

fn ok() -> (u16, String) {
    (200, "ok".to_owned())
}

fn replayed() -> (u16, String) {
    (401, "signature_replayed".to_owned())
}

#[tokio::test]
async fn the_same_node_takes_a_call_once() {
    let service = Service::start().await;
    let site = start(&service, "replay = \"node\"", "").await;
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    let first = call("GET", "once");
    assert_eq!(outcome(&first.send(&mut edge).await), ok());
    assert_eq!(outcome(&first.send(&mut edge).await), replayed());
    assert_eq!(outcome(&call("POST", "once").send(&mut edge).await), replayed(), "the nonce, not the call");
    assert_eq!(outcome(&call("GET", "twice").send(&mut edge).await), ok());
    let text = std::fs::read_to_string(site.config().join("catalog.toml")).unwrap();
    site.write("catalog.toml", &(text + "\n# changed\n"));
    site.gateway.live.reload();
    assert_eq!(outcome(&first.send(&mut edge).await), replayed(), "a reload forgets nothing");
    assert!(site.gateway.metrics.render().contains("gatehouse_business_nonces 2"));
    assert_eq!(service.requests(), 2);
}

#[tokio::test]
async fn a_node_that_remembers_as_much_as_it_may_refuses() {
    let service = Service::start().await;
    let site = start(&service, "", "[credentials]\nnonces_max = 2\n").await;
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    for nonce in ["1", "2"] {
        assert_eq!(outcome(&call("GET", nonce).send(&mut edge).await), ok());
    }
    assert_eq!(outcome(&call("GET", "3").send(&mut edge).await), (503, "replay_unavailable".to_owned()));
    assert_eq!(outcome(&call("GET", "1").send(&mut edge).await), replayed());
    assert!(site.gateway.metrics.render().contains("gatehouse_business_nonces_full_total 1"));
}

#[tokio::test]
async fn an_api_may_take_calls_again() {
    let service = Service::start().await;
    let site = start(&service, "replay = \"off\"", "").await;
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    let again = call("POST", "n");
    for _ in 0..3 {
        assert_eq!(outcome(&again.send(&mut edge).await), ok());
    }
}

#[tokio::test]
async fn another_node_of_the_fleet_refuses_what_one_took() {
    let service = Service::start().await;
    let dir = tempfile::tempdir().unwrap();
    let redis = RedisServer::start(dir.path()).await;
    let one = start(&service, "", &redis.toml()).await;
    let two = start(&service, "", &redis.toml()).await;
    let mut first = Edge::connect(one.address, BOTH[0]).await;
    let mut second = Edge::connect(two.address, BOTH[1]).await;
    // What changes something is remembered by the fleet without being told to.
    let change = call("POST", "change");
    assert_eq!(outcome(&change.send(&mut first).await), ok());
    assert_eq!(outcome(&change.send(&mut second).await), replayed());
    assert_eq!(outcome(&change.send(&mut first).await), replayed());
    let read = call("GET", "read");
    assert_eq!(outcome(&read.send(&mut first).await), ok());
    assert_eq!(outcome(&read.send(&mut first).await), replayed());
    assert_eq!(outcome(&read.send(&mut second).await), ok(), "by the node alone");
}

#[tokio::test]
async fn without_the_store_an_api_is_closed_or_open_as_it_says() {
    let service = Service::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut redis = RedisServer::start(dir.path()).await;
    let settings = format!("{}command_timeout = \"100ms\"\n", redis.toml());
    let closed = start(&service, "replay = \"fleet\"", &settings).await;
    let open = start(&service, "replay = \"fleet\"\nreplay_on_store_failure = \"open\"", &settings).await;
    let mut to_closed = Edge::connect(closed.address, BOTH[0]).await;
    let mut to_open = Edge::connect(open.address, BOTH[0]).await;
    assert_eq!(outcome(&call("GET", "1").send(&mut to_closed).await), ok());
    redis.kill();
    let refused = call("GET", "2").send(&mut to_closed).await;
    assert_eq!(outcome(&refused), (503, "replay_unavailable".to_owned()));
    let alone = call("GET", "3");
    assert_eq!(outcome(&alone.send(&mut to_open).await), ok());
    assert_eq!(outcome(&alone.send(&mut to_open).await), replayed(), "the node remembers it");
    redis.restart().await;
    // The breaker lets it try again after a while.
    let deadline = tokio::time::Instant::now() + crate::support::SOON;
    let mut number = 0;
    loop {
        number += 1;
        if outcome(&call("GET", &format!("later-{number}")).send(&mut to_closed).await) == ok() {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the store stays away");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_fleet_without_a_store_is_a_mistake_that_check_names() {
    let service = Service::start().await;
    let site = start(&service, "", "").await;
    let text = std::fs::read_to_string(site.config().join("catalog.toml")).unwrap();
    site.write("catalog.toml", &text.replacen("path = \"/any\"", "path = \"/any\"\nreplay = \"fleet\"", 1));
    let gatehouse_shared::live::ReloadOutcome::Failed(errors) = site.gateway.live.reload() else { panic!("loaded") };
    assert!(errors.to_string().contains("there is no store that the fleet shares"), "{errors}");
}
