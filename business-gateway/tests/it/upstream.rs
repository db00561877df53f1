//! Connections to services: bounded, reused, replaced, spread; retries only where they are safe.

use std::time::Duration;

use gatehouse_shared::hop::Retry;

use crate::support::client::{BOTH, Edge, Said, empty, full, request, request_as};
use crate::support::service::Service;
use crate::support::{Site, catalog, until};

/// Free, and nobody listens.
async fn dead_port() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn simultaneous_first_requests_open_no_more_connections_than_the_bound() {
    for (protocol, bound, most) in [("http1", 8, 8), ("h2c", 8, 1)] {
        let service = Service::start().await;
        let more = format!("protocol = \"{protocol}\"\nconnections_max = {bound}");
        let site = Site::start(&catalog(&[service.address], &more)).await;
        let mut edges = Vec::new();
        for _ in 0..64 {
            edges.push(Edge::connect(site.address, BOTH[0]).await);
        }
        let calls = edges.into_iter().map(|mut edge| tokio::spawn(async move { edge.get("/slow?ms=20").await.status }));
        for call in calls.collect::<Vec<_>>() {
            assert_eq!(call.await.unwrap(), 200);
        }
        assert!(service.connections() <= most, "{protocol}: {} connections", service.connections());
        let sample = site.service("sample");
        assert_eq!(usize::try_from(sample.counters.opened.get()).unwrap(), service.connections(), "the counter agrees");
        assert_eq!(sample.counters.answered.get(), 64);
    }
}

#[tokio::test]
async fn one_client_reuses_one_connection() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&[service.address], "")).await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        for number in 0..200 {
            let answer = match number % 3 {
                0 => edge.get("/chunked").await,
                1 => edge.exchange(request("POST", "/upload").body(full("abc")).unwrap()).await,
                _ => edge.exchange(request("HEAD", "/x").body(empty()).unwrap()).await,
            };
            assert_eq!(answer.status, 200);
        }
    }
    assert_eq!(service.connections(), 1);
    assert!(site.gateway.metrics.render().contains("gatehouse_business_upstream_reuse_ratio{service=\"sample\"} 400"));
}

#[tokio::test]
async fn calls_spread_evenly_over_endpoints() {
    let services = [Service::start().await, Service::start().await, Service::start().await];
    let addresses: Vec<_> = services.iter().map(|service| service.address).collect();
    let site = Site::start(&catalog(&addresses, "")).await;
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    for _ in 0..300 {
        assert_eq!(edge.get("/x").await.status, 200);
    }
    for service in &services {
        assert!((95..=105).contains(&service.requests()), "{}", service.requests());
    }
}

#[tokio::test]
async fn a_call_goes_elsewhere_when_an_endpoint_cannot_be_reached() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&[dead_port().await, service.address], "")).await;
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    for number in 0..20 {
        let post = request("POST", "/upload").header("x-ledger-id", number.to_string()).body(full("abc")).unwrap();
        assert_eq!(edge.exchange(post).await.status, 200);
    }
    let executed: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(service.executed(), executed);
    assert!(site.service("sample").counters.connect_failures.get() <= 2, "the dead one is ejected");
}

#[tokio::test]
async fn an_unreachable_service_is_a_502_that_may_be_repeated() {
    let site = Site::start(&catalog(&[dead_port().await, dead_port().await], "")).await;
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    let answer = edge.get("/x").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "service_connect_failed"));
    let result = answer.result();
    assert_eq!((result.retry, result.node, result.cost), (Retry::Safe, false, 0));
}

#[tokio::test]
async fn connections_that_the_service_closed_are_replaced_without_anybody_noticing() {
    for protocol in ["http1", "h2c"] {
        let service = Service::start().await;
        let site = Site::start(&catalog(&[service.address], &format!("protocol = \"{protocol}\""))).await;
        let mut edge = Edge::connect(site.address, BOTH[0]).await;
        for number in 0..10 {
            let post = request("POST", "/upload").header("x-ledger-id", number.to_string()).body(full("abc")).unwrap();
            let answer = edge.exchange(post).await;
            assert_eq!(answer.status, 200, "{protocol}: {}", answer.text());
            service.close_connections();
            // The end of a connection needs a moment to arrive.
            let open = || site.service("sample").members.now().endpoints[0].sweep(gatehouse_shared::clock::now());
            until("closed connection", || {
                open();
                (site.service("sample").counters.open() == 0).then_some(())
            })
            .await;
        }
        let executed: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        assert_eq!(service.executed(), executed, "{protocol}");
    }
}

#[tokio::test]
async fn a_lost_get_is_repeated_and_a_lost_post_is_not() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&[service.address], "")).await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let before = service.connections();
        let get = edge.get("/raw/close").await;
        assert_eq!((get.status, get.code().as_str()), (502, "service_reset"), "{protocol:?}");
        assert_eq!(service.connections() - before, 3, "{protocol:?}: three tries");
        let before = service.connections();
        let post = edge.exchange(request("POST", "/raw/close").body(full("x")).unwrap()).await;
        assert_eq!((post.status, post.code().as_str()), (502, "service_reset"), "{protocol:?}");
        assert_eq!(post.result().retry, Retry::Never);
        assert_eq!(service.connections() - before, 1, "{protocol:?}: one try");
    }
}

#[tokio::test]
async fn retries_stop_when_the_budget_is_used_up() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&[service.address], "retry_percent = 0")).await;
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    assert_eq!(edge.get("/raw/close").await.status, 502);
    assert_eq!(service.connections(), 1);
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_502() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&[service.address], "")).await;
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    let post = edge.exchange(request("POST", "/raw/garbage").body(full("x")).unwrap()).await;
    assert_eq!((post.status, post.code().as_str()), (502, "service_protocol_error"));
}

#[tokio::test]
async fn at_the_bound_a_call_waits_for_its_turn_until_its_deadline() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&[service.address], "connections_max = 1")).await;
    let address = site.address;
    let hanging = tokio::spawn(async move {
        let said = Said { left: Duration::from_secs(2), ..Said::default() };
        let mut edge = Edge::connect(address, BOTH[0]).await;
        edge.exchange(request_as("GET", "/hang", said).body(empty()).unwrap()).await.status
    });
    until("the first call", || (service.requests() == 1).then_some(())).await;
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    let said = Said { left: Duration::from_millis(100), ..Said::default() };
    let answer = edge.exchange(request_as("POST", "/x", said).body(empty()).unwrap()).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "service_busy"));
    assert_eq!(answer.result().retry, Retry::Safe);
    assert_eq!(edge.get("/x").await.status, 200, "as soon as the first one is given up");
    assert_eq!(hanging.await.unwrap(), 504);
}

#[tokio::test]
async fn a_probe_takes_an_ill_endpoint_out_and_brings_it_back() {
    let (first, second) = (Service::start().await, Service::start().await);
    let more = "probe = { path = \"/status?code=200\", interval = \"20ms\", timeout = \"1s\", rise = 1, fall = 1 }\n";
    let site = Site::start(&catalog(&[first.address, second.address], more)).await;
    let address = second.address;
    second.stop();
    let usable = || site.service("sample").members.now().balance.usable(gatehouse_shared::clock::now());
    until("one endpoint out", || (usable() == 1).then_some(())).await;
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    for _ in 0..10 {
        assert_eq!(edge.get("/x").await.status, 200);
    }
    assert_eq!(site.service("sample").counters.connect_failures.get(), 0);
    let _second = Service::at(address).await;
    until("both endpoints", || (usable() == 2).then_some(())).await;
}
