//! Nothing passes without a valid hop, and readiness needs none.

use http::Request;

use crate::support::client::{AUTHORITY, BOTH, Edge, Said, by_hand, empty, request, sign};
use crate::support::service::Service;
use crate::support::{Site, catalog};

#[tokio::test]
async fn without_a_valid_hop_nothing_passes() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&[service.address], "")).await;
    for protocol in BOTH {
        let said = Said::default();
        for (hop, code) in [
            (None, "hop_missing"),
            (Some("nonsense".to_owned()), "hop_malformed"),
            (Some(sign("GET", "/other", said)), "hop_invalid"),
            (Some(sign("POST", "/x", said)), "hop_invalid"),
        ] {
            let mut edge = Edge::connect(site.address, protocol).await;
            let mut request = Request::builder().uri("/x").header("host", AUTHORITY);
            if let Some(hop) = hop {
                request = request.header("x-gatehouse-hop", hop);
            }
            let answer = edge.exchange(request.body(empty()).unwrap()).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, code), "{protocol:?}");
            assert_eq!(answer.header("content-type"), "application/problem+json");
        }
    }
    assert_eq!(service.requests(), 0);
    let line = site.line(|line| line["reason"] == "hop_missing").await;
    assert_eq!((&line["path"], &line["status"]), (&"/x".into(), &401.into()));
    let metrics = site.gateway.metrics.render();
    assert!(metrics.contains("gatehouse_business_refused_total{code=\"hop_missing\"} 2"), "{metrics}");
}

#[tokio::test]
async fn a_refusal_does_not_wait_for_the_body() {
    let site = Site::start(&catalog(&["127.0.0.1:9".parse().unwrap()], "")).await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let (_sender, body) = by_hand();
        let request = Request::builder().method("POST").uri("/x").header("host", AUTHORITY).body(body).unwrap();
        assert_eq!(edge.send(request).await.unwrap().status(), 401, "{protocol:?}");
    }
}

#[tokio::test]
async fn readiness_needs_no_hop_and_says_when_the_node_drains() {
    let site = Site::start(&catalog(&["127.0.0.1:9".parse().unwrap()], "")).await;
    let ready = || Request::builder().uri("/.gatehouse/ready").header("host", "x").body(empty()).unwrap();
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        assert_eq!(edge.exchange(ready()).await.status, 200);
    }
    site.gateway.shutdown.enter(gatehouse_shared::shutdown::Phase::Draining);
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        assert_eq!(edge.exchange(ready()).await.status, 503, "{protocol:?}");
    }
}

#[tokio::test]
async fn two_hops_are_none() {
    let site = Site::start(&catalog(&["127.0.0.1:9".parse().unwrap()], "")).await;
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    let request = request("GET", "/x").header("x-gatehouse-hop", sign("GET", "/x", Said::default()));
    let answer = edge.exchange(request.body(empty()).unwrap()).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "hop_malformed"));
}
