//! Ending in order.

use std::time::Duration;

use business_gateway::config::Drain;
use gatehouse_shared::config::HumanDuration;

use crate::support::client::{BOTH, Edge};
use crate::support::service::Service;
use crate::support::{Site, catalog, until};

fn drain(delay_ms: u64, deadline_ms: u64) -> Drain {
    Drain { delay: HumanDuration::from_millis(delay_ms), deadline: HumanDuration::from_millis(deadline_ms) }
}

#[tokio::test]
async fn parked_connections_do_not_delay_a_drain() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&[service.address], "")).await;
    let mut edges = Vec::new();
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        assert_eq!(edge.get("/x").await.status, 200);
        edges.push(edge);
    }
    let _silent = tokio::net::TcpStream::connect(site.address).await.unwrap();
    until("three connections", || (site.server.connections() == 3).then_some(())).await;
    let began = tokio::time::Instant::now();
    assert!(site.server.drain(&drain(0, 30_000)).await);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(!site.gateway.is_ready());
}

#[tokio::test]
async fn what_is_under_way_is_finished() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&[service.address], "")).await;
    for protocol in BOTH {
        let address = site.address;
        let call = tokio::spawn(async move { Edge::connect(address, protocol).await.get("/slow?ms=300").await });
        until("the call", || (service.requests() > 0).then_some(())).await;
        if protocol == BOTH[1] {
            until("both calls", || (site.gateway.in_flight.count() == 2).then_some(())).await;
            assert!(site.server.drain(&drain(0, 30_000)).await);
            assert_eq!(call.await.unwrap().text(), "slow");
        } else {
            tokio::spawn(async move { assert_eq!(call.await.unwrap().text(), "slow") });
        }
    }
}

#[tokio::test]
async fn connections_are_told_to_go_elsewhere_before_the_listener_closes() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&[service.address], "")).await;
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    assert_eq!(edge.get("/x").await.header("connection"), "");
    let server = std::sync::Arc::clone(&site.server);
    let draining = tokio::spawn(async move { server.drain(&drain(20_000, 1_000)).await });
    until("draining", || (!site.gateway.is_ready()).then_some(())).await;
    let last = edge.get("/x").await;
    assert_eq!((last.status, last.header("connection")), (200, "close"));
    assert!(draining.await.unwrap(), "ends at once when the last connection has gone");
}

#[tokio::test]
async fn what_does_not_end_is_cut_off_at_the_deadline() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&[service.address], "")).await;
    let address = site.address;
    let _call = tokio::spawn(async move { Edge::connect(address, BOTH[1]).await.get("/hang").await });
    until("the call", || (service.requests() == 1).then_some(())).await;
    assert!(!site.server.drain(&drain(0, 100)).await);
}
