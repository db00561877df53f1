//! What a node knows of its fleet, over a real Redis.

use std::sync::Arc;
use std::time::Duration;

use gatehouse_store::Fleet;

use crate::support::redis::RedisServer;
use crate::support::service::Service;
use crate::support::{SOON, Site, catalog};

#[tokio::test]
async fn nodes_of_a_fleet_hear_of_each_other_and_keep_that_while_the_store_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut redis = RedisServer::start(dir.path()).await;
    let client = Arc::new(redis.client());
    let nodes: Vec<Fleet> = ["a", "b", "c"].map(|name| Fleet::new(Some(Arc::clone(&client)), name)).into();
    for (node, alive) in nodes.iter().zip(1..) {
        node.beat().await.unwrap();
        assert_eq!(node.live_nodes(), alive);
    }
    redis.kill();
    assert!(nodes[2].beat().await.is_err());
    assert_eq!(nodes[2].live_nodes(), 3);
}

#[tokio::test]
async fn a_node_goes_on_when_its_store_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut redis = RedisServer::start(dir.path()).await;
    let service = Service::start().await;
    let site = Site::with(&catalog(&[service.address], ""), &redis.toml()).await;
    let fleet = &site.gateway.fleet;
    fleet.beat().await.unwrap();
    redis.signal("STOP");
    assert!(fleet.beat().await.is_err());
    redis.signal("CONT");
    recovers(fleet).await;
    redis.kill();
    assert!(fleet.beat().await.is_err());
    redis.restart().await;
    recovers(fleet).await;
}

/// The breaker lets it try again after a while.
async fn recovers(fleet: &Fleet) {
    let deadline = tokio::time::Instant::now() + SOON;
    while fleet.beat().await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "the store stays away");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
