//! Bodies in both directions: streamed, bounded, never ended cleanly when they are not whole.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;

use crate::support::client::{BOTH, Edge, Protocol, Said, by_hand, empty, full, read, request, request_as};
use crate::support::service::Service;
use crate::support::{Site, catalog};

async fn site(more: &str, settings: &str) -> (Service, Site) {
    let service = Service::start().await;
    let site = Site::with(&catalog(&[service.address], more), settings).await;
    (service, site)
}

#[tokio::test]
async fn an_upload_streams_and_may_take_longer_than_the_response_timeout() {
    let (_service, site) = site("timeout = \"100ms\"", "").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let (sender, body) = by_hand();
        let sending = tokio::spawn(async move {
            for _ in 0..6 {
                sender.send(Bytes::from_static(b"0123456789")).await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let answer = edge.exchange(request("POST", "/upload").body(body).unwrap()).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "60"), "{protocol:?}");
        sending.await.unwrap();
        let slow = edge.get("/slow?ms=2000").await;
        assert_eq!((slow.status, slow.code().as_str()), (504, "service_timeout"), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_get_with_a_body_of_unknown_length_keeps_it() {
    let (_service, site) = site("", "").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let (sender, body) = by_hand();
        tokio::spawn(async move { sender.send(Bytes::from_static(b"0123456789")).await });
        let mut request = request("GET", "/upload");
        if protocol == Protocol::Http1 {
            request = request.header("transfer-encoding", "chunked");
        }
        let answer = edge.exchange(request.body(body).unwrap()).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "10"), "{protocol:?}");
    }
}

#[tokio::test]
async fn the_deadline_ends_every_wait() {
    let (_service, site) = site("", "").await;
    let said = Said { left: Duration::from_millis(100), ..Said::default() };
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let answer = edge.exchange(request_as("GET", "/hang", said).body(empty()).unwrap()).await;
        assert_eq!((answer.status, answer.code().as_str()), (504, "deadline_exceeded"), "{protocol:?}");
        let (_sender, body) = by_hand();
        let answer = edge.exchange(request_as("POST", "/upload", said).body(body).unwrap()).await;
        assert_eq!((answer.status, answer.code().as_str()), (504, "deadline_exceeded"), "{protocol:?}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_wait_for_the_body_arrives() {
    let (_service, site) = site("", "").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let (sender, body) = by_hand();
        let sending = tokio::spawn(async move {
            // Until nobody reads any more, or 4 MiB.
            for _ in 0..64 {
                if sender.send(Bytes::from(vec![b'x'; 65_536])).await.is_err() {
                    break;
                }
            }
        });
        let answer = edge.exchange(request("POST", "/early").body(body).unwrap()).await;
        assert_eq!((answer.status, answer.text().as_str()), (413, "enough"), "{protocol:?}");
        sending.await.unwrap();
        // On HTTP/1.1 a connection whose request was not read to its end may be closed behind the answer.
        if protocol == Protocol::H2c {
            assert_eq!(edge.get("/x").await.status, 200, "the connection goes on");
        }
    }
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_refused() {
    let (_service, site) = site("", "[accept]\nbody_max = \"1KiB\"\n").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let answer = edge.exchange(request("POST", "/upload").body(full(vec![0; 1025])).unwrap()).await;
        assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"), "{protocol:?}");
        let mut edge = Edge::connect(site.address, protocol).await;
        let (sender, body) = by_hand();
        tokio::spawn(async move { while sender.send(Bytes::from_static(&[0; 600])).await.is_ok() {} });
        let answer = edge.exchange(request("POST", "/upload").body(body).unwrap()).await;
        assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_caller_that_stops_sending_is_not_waited_for() {
    let (_service, site) = site("", "[accept]\nbody_idle_timeout = \"100ms\"\n").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let (sender, body) = by_hand();
        sender.send(Bytes::from_static(b"abc")).await.unwrap();
        let answer = edge.exchange(request("POST", "/upload").body(body).unwrap()).await;
        assert_eq!((answer.status, answer.code().as_str()), (408, "body_timeout"), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_held_body_costs_the_service_nothing_before_it_flows() {
    let (service, site) = site("", "").await;
    for protocol in BOTH {
        let before = service.connections();
        let mut edge = Edge::connect(site.address, protocol).await;
        let (sender, body) = by_hand();
        let said = Said { held: true, ..Said::default() };
        let mut answer = Box::pin(edge.exchange(request_as("POST", "/upload", said).body(body).unwrap()));
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut answer).await.is_err());
        assert_eq!(service.connections(), before, "{protocol:?}");
        sender.send(Bytes::from_static(b"abc")).await.unwrap();
        drop(sender);
        assert_eq!(answer.await.text(), "3", "{protocol:?}");
        site.service("sample").members.now().endpoints[0]
            .sweep(gatehouse_shared::clock::now() + Duration::from_secs(3600));
    }
}

#[tokio::test]
async fn an_answer_that_ends_early_is_never_whole() {
    let (_service, site) = site("", "").await;
    for protocol in BOTH {
        for path in ["/raw/short-length", "/raw/short-chunked"] {
            let mut edge = Edge::connect(site.address, protocol).await;
            let answer = edge.send(request("GET", path).body(empty()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), 200);
            assert!(read(answer).await.is_err(), "{protocol:?} {path}");
        }
    }
    let line = site.line(|line| line["end"] == "broken").await;
    assert_eq!(line["status"], 200);
}

#[tokio::test]
async fn an_answer_that_stalls_is_broken_off() {
    let (_service, site) = site("", "[upstream]\nbody_idle_timeout = \"100ms\"\n").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let answer = edge.send(request("GET", "/stall").body(empty()).unwrap()).await.unwrap();
        assert!(answer.into_body().collect().await.is_err(), "{protocol:?}");
    }
}

#[tokio::test]
async fn answers_without_a_body_are_right() {
    let (service, site) = site("", "").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        for status in [204, 304, 200, 404] {
            let answer = edge.get(&format!("/status?code={status}")).await;
            assert_eq!((answer.status, answer.body.len()), (status, 0), "{protocol:?}");
        }
        let head = edge.exchange(request("HEAD", "/chunked").body(empty()).unwrap()).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        let head = edge.exchange(request("HEAD", "/x").body(empty()).unwrap()).await;
        let length: usize = head.header("content-length").parse().unwrap();
        assert!(length > 100, "{protocol:?}: the length that GET would have, not {length}");
        assert_eq!(edge.get("/chunked").await.text(), "one two three");
    }
    assert!(service.connections() <= 2, "connections go on after answers without a body");
}

#[tokio::test]
async fn trailers_pass_from_an_http2_service() {
    let (_service, site) = site("protocol = \"h2c\"", "").await;
    let mut edge = Edge::connect(site.address, Protocol::H2c).await;
    let answer = edge.exchange(request("POST", "/trailers").header("te", "trailers").body(full("x")).unwrap()).await;
    assert_eq!(answer.text(), "data");
    assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
}
