//! Quotas through the whole gateway: what callers see, and what operators see.

use std::time::Duration;

use gatehouse_shared::hop::Retry;

use crate::support::client::{BOTH, Edge, Protocol};
use crate::support::redis::RedisServer;
use crate::support::service::Service;
use crate::support::{Site, catalog, until};

/// The API `all` names `limits`, which are written in `tables`.
fn limited(service: &Service, limits: &str, tables: &str) -> String {
    format!("{}limits = [{limits}]\n{tables}", catalog(&[service.address], ""))
}

const DAY: &str = "[[limit]]\nname = \"api-day\"\nby = [\"api\"]\nrate = \"3/1d\"\n";

#[tokio::test]
async fn calls_above_a_limit_are_refused_until_its_window_ends() {
    for protocol in BOTH {
        let service = Service::start().await;
        let site = Site::start(&limited(&service, "\"api-day\"", DAY)).await;
        let mut edge = Edge::connect(site.address, protocol).await;
        for left in [2, 1, 0] {
            let answer = edge.get("/echo").await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!(answer.header("ratelimit").starts_with(&format!("\"api-day\";r={left};t=")));
            assert_eq!(answer.header("ratelimit-policy"), "\"api-day\";q=3;w=86400");
        }
        let refused = edge.get("/echo").await;
        assert_eq!((refused.status, refused.code().as_str()), (429, "quota_api"));
        let problem: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!(problem["sub_code"], "accesscontrol.limited-by-api-access-count");
        let seconds: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=86_400).contains(&seconds));
        assert_eq!(problem["retry_after"], seconds);
        assert!(refused.header("ratelimit").starts_with("\"api-day\";r=0;t="));
        assert_eq!(refused.result().retry, Retry::Safe);
        assert_eq!(service.requests(), 3);
        let line = site.line(|line| line["reason"] == "quota_api").await;
        assert_eq!((line["limit"].as_str(), line["status"].as_u64()), (Some("api-day"), Some(429)));
        let metrics = site.gateway.metrics.render();
        for line in [
            "gatehouse_business_quota_calls_total{limit=\"api-day\",verdict=\"admitted\"} 3",
            "gatehouse_business_quota_calls_total{limit=\"api-day\",verdict=\"denied\"} 1",
            "gatehouse_business_quota_keys{limit=\"api-day\"} 1",
        ] {
            assert!(metrics.contains(line), "{line} is not in\n{metrics}");
        }
    }
}

#[tokio::test]
async fn a_call_that_reaches_no_service_costs_nothing() {
    let service = Service::start().await;
    let address = service.address;
    let site = Site::start(&limited(&service, "\"api-day\"", DAY)).await;
    service.stop();
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    for _ in 0..10 {
        assert_eq!(edge.get("/echo").await.status, 502);
    }
    let service = Service::at(address).await;
    let counters = &site.gateway.live.current().value.catalog.limits.find("api-day").unwrap().counters.clone();
    assert_eq!(counters.refunded.get(), 10);
    let mut served = 0;
    until("three answers", || Some(())).await;
    for _ in 0..20 {
        match edge.get("/echo").await.status {
            200 => served += 1,
            429 => break,
            // The endpoint is still taken to be down.
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    assert!(served <= 3 && service.requests() == served, "{served}");
}

#[tokio::test]
async fn without_its_store_a_node_answers_as_each_limit_says_and_never_401_or_500() {
    let dir = tempfile::tempdir().unwrap();
    let mut redis = RedisServer::start(dir.path()).await;
    let service = Service::start().await;
    let open = "[[limit]]\nname = \"open\"\nby = [\"client\"]\nrate = \"1000/1d\"\n";
    let closed = "[[limit]]\nname = \"closed\"\nby = [\"user\"]\nrate = \"1000/1d\"\non_store_failure = \"closed\"\n";
    let site = Site::with(&limited(&service, "\"open\"", &format!("{open}{closed}")), &redis.toml()).await;
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    redis.kill();
    assert_eq!(edge.get("/echo").await.status, 200);
    site.write("catalog.toml", &limited(&service, "\"open\", \"closed\"", &format!("{open}{closed}")));
    site.gateway.live.reload();
    let refused = edge.get("/echo").await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "quota_unavailable"));
    assert_eq!(refused.header("retry-after"), "1");
    redis.restart().await;
    let deadline = tokio::time::Instant::now() + crate::support::SOON;
    loop {
        let answer = edge.get("/echo").await;
        if answer.status == 200 {
            break;
        }
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(tokio::time::Instant::now() < deadline, "the store stays away");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn counts_go_on_over_a_reload() {
    let service = Service::start().await;
    let site = Site::with(&limited(&service, "\"api-day\"", DAY), "[quota]\nheaders = \"classic\"\n").await;
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    assert_eq!(edge.get("/echo").await.header("x-ratelimit-remaining"), "2");
    site.write("catalog.toml", &limited(&service, "\"api-day\"", &DAY.replace("3/1d", "2/1d")));
    site.gateway.live.reload();
    assert_eq!(edge.get("/echo").await.status, 200);
    assert_eq!(edge.get("/echo").await.status, 429);
    site.write("catalog.toml", &limited(&service, "\"api-day\"", &DAY.replace("3/1d", "5/1d")));
    site.gateway.live.reload();
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(edge.get("/echo").await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
}
