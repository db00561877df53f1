//! Connections from the edge: many requests on one, bounded in number and in time.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::{AUTHORITY, BOTH, Edge, Said, empty, request, sign};
use crate::support::service::Service;
use crate::support::{Site, catalog, until};

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&[service.address], "")).await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let mut text = String::new();
    for target in ["/slow?ms=50", "/a?n=2", "/a?n=3"] {
        let hop = sign("GET", target, Said::default());
        let close = if target.ends_with('3') { "connection: close\r\n" } else { "" };
        text.push_str(&format!("GET {target} HTTP/1.1\r\nhost: {AUTHORITY}\r\nx-gatehouse-hop: {hop}\r\n{close}\r\n"));
    }
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    let places: Vec<usize> = ["slow", "n=2", "n=3"].iter().map(|text| answers.find(text).unwrap()).collect();
    assert!(places.is_sorted(), "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3);
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_off_and_a_parked_connection_is_not() {
    let service = Service::start().await;
    let site =
        Site::with(&catalog(&[service.address], ""), "[accept]\nhead_timeout = \"100ms\"\nkeepalive = \"60s\"\n").await;
    let mut patient = Edge::connect(site.address, BOTH[0]).await;
    let mut multiplexed = Edge::connect(site.address, BOTH[1]).await;
    assert_eq!(patient.get("/x").await.status, 200);
    assert_eq!(multiplexed.get("/x").await.status, 200);
    for beginning in ["G", "GET / HTTP/1.1\r\nhost: x\r\n", "PRI * HTTP/2.0\r\n"] {
        let mut slow = TcpStream::connect(site.address).await.unwrap();
        slow.write_all(beginning.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), slow.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "{beginning:?}");
    }
    assert_eq!(patient.get("/x").await.status, 200);
    assert_eq!(multiplexed.get("/x").await.status, 200);
}

#[tokio::test]
async fn a_second_head_is_timed_too() {
    let service = Service::start().await;
    let site =
        Site::with(&catalog(&[service.address], ""), "[accept]\nhead_timeout = \"100ms\"\nkeepalive = \"60s\"\n").await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let hop = sign("GET", "/x", Said::default());
    let head = format!("GET /x HTTP/1.1\r\nhost: {AUTHORITY}\r\nx-gatehouse-hop: {hop}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 65_536];
    assert!(stream.read(&mut answer).await.unwrap() > 0);
    stream.write_all(b"GET /y HTT").await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok());
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let service = Service::start().await;
    let site = Site::with(&catalog(&[service.address], ""), "[accept]\nkeepalive = \"150ms\"\n").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        assert_eq!(edge.get("/slow?ms=300").await.status, 200, "{protocol:?}: a busy one is not idle");
        until("closed connection", || edge.is_closed().then_some(())).await;
    }
    until("end of all connections", || (site.server.connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_at_once() {
    let service = Service::start().await;
    let site = Site::with(&catalog(&[service.address], ""), "[process]\nmax_connections = 2\n").await;
    let mut first = Edge::connect(site.address, BOTH[0]).await;
    let mut second = Edge::connect(site.address, BOTH[1]).await;
    assert_eq!((first.get("/x").await.status, second.get("/x").await.status), (200, 200));
    let mut third = TcpStream::connect(site.address).await.unwrap();
    let mut nothing = Vec::new();
    // A reset is as good as an end.
    drop(third.read_to_end(&mut nothing).await);
    assert!(nothing.is_empty());
    drop(second);
    until("room", || (site.server.connections() == 1).then_some(())).await;
    let mut fourth = Edge::connect(site.address, BOTH[0]).await;
    assert_eq!(fourth.get("/x").await.status, 200);
}

#[tokio::test]
async fn many_fields_pass() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&[service.address], "")).await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let mut request = request("GET", "/x");
        for number in 0..108 {
            request = request.header(format!("x-{number}"), "1");
        }
        assert_eq!(edge.exchange(request.body(empty()).unwrap()).await.status, 200, "{protocol:?}");
    }
}

#[tokio::test]
async fn resets_of_some_streams_leave_the_others_alone() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&[service.address], "")).await;
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    for _ in 0..300 {
        let given_up = edge.send(request("GET", "/hang").body(empty()).unwrap());
        assert!(tokio::time::timeout(Duration::from_micros(300), given_up).await.is_err());
    }
    assert_eq!(edge.get("/x").await.status, 200);
    until("nothing under way", || (site.gateway.in_flight.count() == 0).then_some(())).await;
    until("the last line", || {
        let lines = site.lines();
        let abandoned = lines.iter().filter(|line| line["end"] == "abandoned" && line["status"] == 499).count();
        (lines.len() >= 2 && abandoned == lines.len() - 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_probe_keeps_its_connection_open() {
    let site = Site::with(&catalog(&["127.0.0.1:9".parse().unwrap()], ""), "[accept]\nkeepalive = \"300ms\"\n").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let began = tokio::time::Instant::now();
        while began.elapsed() < Duration::from_millis(900) {
            let ready = http::Request::builder().uri("/.gatehouse/ready").header("host", "x").body(empty()).unwrap();
            assert_eq!(edge.exchange(ready).await.status, 200, "{protocol:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
