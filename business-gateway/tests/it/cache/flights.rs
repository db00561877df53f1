//! Of those who want the same one asks, and the others wait.

use business_gateway::dispatch::cache::tag::Purge;

use super::*;
use crate::support::client::{Said, request_as};

/// Calls the same address so often at the same time, each over a stream of its own.
async fn all_at_once(address: SocketAddr, target: &str, times: usize) -> tokio::task::JoinSet<Answer> {
    const CONNECTIONS: usize = 10;
    let mut calls = tokio::task::JoinSet::new();
    for connection in 0..CONNECTIONS {
        let Edge::H2c(sender) = Edge::connect(address, Protocol::H2c).await else { panic!() };
        for _ in 0..(times + connection) / CONNECTIONS {
            let (mut edge, target) = (Edge::H2c(sender.clone()), target.to_owned());
            calls.spawn(async move { edge.get(&target).await });
        }
    }
    assert_eq!(calls.len(), times);
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_who_wait_cause_one_call() {
    let origin = Origin::start(&[]).await;
    let (site, _edge) = start(&origin, FRESH, "").await;
    origin.hold(true);
    let calls = all_at_once(site.address, "/a/cold", 1_000).await;
    until("thousand calls under way", || (site.gateway.in_flight.count() == 1_000).then_some(())).await;
    origin.until_asked(1).await;
    origin.hold(false);
    for answer in calls.join_all().await {
        assert_eq!((answer.status, answer.text()), (200, "1".to_owned()));
    }
    assert_eq!(origin.count(), 1);
    let outcomes = outcomes(&site, 1_000).await;
    let count = |wanted: &str| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    assert_eq!((count("miss"), count("miss") + count("collapsed") + count("hit")), (1, 1_000));
    assert_eq!(site.gateway.cache.flights.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_wait_share_the_failure_of_the_service() {
    let origin = Origin::start(&[]).await;
    let (site, _edge) = start(&origin, FRESH, "").await;
    origin.say(|script| script.breaks = true);
    origin.hold(true);
    let calls = all_at_once(site.address, "/a/cold", 50).await;
    until("all calls under way", || (site.gateway.in_flight.count() == 50).then_some(())).await;
    origin.until_asked(1).await;
    origin.hold(false);
    for answer in calls.join_all().await {
        assert_eq!((answer.status, &*answer.code()), (502, "service_reset"));
    }
    // A call is tried three times at most; calls that came when it was over may have asked again.
    assert!(origin.count() <= 6, "{}", origin.count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_for_one_alone_lets_the_others_go_side_by_side() {
    let origin = Origin::start(&[("cache-control", "no-store")]).await;
    let (site, _edge) = start(&origin, FRESH, "").await;
    origin.hold(true);
    let calls = all_at_once(site.address, "/a/cold", 20).await;
    until("all calls under way", || (site.gateway.in_flight.count() == 20).then_some(())).await;
    origin.until_asked(1).await;
    origin.hold(false);
    let mut answers: Vec<usize> = calls.join_all().await.iter().map(|answer| answer.text().parse().unwrap()).collect();
    answers.sort_unstable();
    assert_eq!(answers, (1..=20).collect::<Vec<_>>(), "to each its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_one_goes_away_another_one_asks() {
    let origin = Origin::start(&[]).await;
    let (site, _edge) = start(&origin, FRESH, "").await;
    origin.hold(true);
    let address = site.address;
    let first = tokio::spawn(async move {
        let mut edge = Edge::connect(address, Protocol::Http1).await;
        send(&mut edge, "GET", "/a/cold", &[]).await
    });
    origin.until_asked(1).await;
    let calls = all_at_once(site.address, "/a/cold", 10).await;
    until("all calls under way", || (site.gateway.in_flight.count() == 11).then_some(())).await;
    first.abort();
    origin.until_asked(2).await;
    origin.hold(false);
    for answer in calls.join_all().await {
        assert_eq!((answer.status, answer.text()), (200, "2".to_owned()));
    }
    assert_eq!(origin.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_longer_than_its_deadline_and_the_deadline_of_the_one_is_its_own() {
    let origin = Origin::start(&[]).await;
    let (site, mut edge) = start(&origin, FRESH, "").await;
    origin.hold(true);
    let address = site.address;
    let soon = std::time::Duration::from_millis(300);
    let hasty = tokio::spawn(async move {
        let mut edge = Edge::connect(address, Protocol::Http1).await;
        let said = Said { left: soon, ..Said::default() };
        edge.exchange(request_as("GET", "/a/cold", said).body(empty()).unwrap()).await
    });
    origin.until_asked(1).await;
    let patient = tokio::spawn(async move {
        let mut edge = Edge::connect(address, Protocol::Http1).await;
        send(&mut edge, "GET", "/a/cold", &[]).await
    });
    until("two calls under way", || (site.gateway.in_flight.count() == 2).then_some(())).await;
    assert_eq!(hasty.await.unwrap().code(), "deadline_exceeded");
    // The duty has gone to the other one.
    origin.until_asked(2).await;
    let said = Said { left: soon, ..Said::default() };
    let waiting = edge.exchange(request_as("GET", "/a/cold", said).body(empty()).unwrap()).await;
    assert_eq!(waiting.code(), "deadline_exceeded");
    origin.hold(false);
    assert_eq!(patient.await.unwrap().text(), "2");
    assert_eq!(origin.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_purged_on_its_way_is_not_kept() {
    let origin = Origin::start(&[]).await;
    let (site, mut edge) = start(&origin, "lifetime = \"1h\", tags = [\"{kind}\"]", "").await;
    origin.hold(true);
    let address = site.address;
    let asking = tokio::spawn(async move {
        let mut edge = Edge::connect(address, Protocol::Http1).await;
        send(&mut edge, "GET", "/shoes/7", &[]).await.text()
    });
    origin.until_asked(1).await;
    site.gateway.cache.purge(&Purge::Tag("shoes".to_owned())).await.unwrap();
    origin.hold(false);
    assert_eq!(asking.await.unwrap(), "1");
    assert_eq!(send(&mut edge, "GET", "/shoes/7", &[]).await.text(), "2");
    assert_eq!(send(&mut edge, "GET", "/shoes/7", &[]).await.text(), "2");
}
