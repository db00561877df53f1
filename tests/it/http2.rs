//! HTTP/2 from the client to the service.

use bytes::Bytes;
use gatehouse_tests::client::{Connection, full, streamed};
use gatehouse_tests::site::plan::Plan;
use gatehouse_tests::site::{Handoff, Site};
use gatehouse_tests::until::SOON;
use http::Method;
use http_body_util::BodyExt as _;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Passed;

/// An edge that takes h2c from clients, and a service that is spoken to over h2c.
fn plan(handoff: Handoff) -> Plan {
    Site::plan().handoff(handoff).edge("[[process.listener]]\naddress = \"127.0.0.1:0\"\nh2c = true\n").catalog(
        "[[service]]\nname = \"sample\"\nendpoints = {endpoints}\nprotocol = \"h2c\"\n\
             [[api]]\nname = \"all\"\naccess = \"open\"\nservice = \"sample\"\nmethods = [\"GET\", \"POST\"]\npath = \"/{*rest}\"\n",
    )
}

#[tokio::test]
async fn a_grpc_style_call_gets_its_trailers() -> Passed {
    let site = plan(Handoff::H2c).start().await?;
    let target = site.target().http2();
    let request = target.request(Method::POST, "/trailers")?;
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    let answer = target.exchange(request.body(full("a message"))?).await?;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "a message"));
    let trailers = answer.trailers.unwrap_or_default();
    assert_eq!(trailers.get("grpc-status").map(http::HeaderValue::as_bytes), Some(&b"0"[..]), "{trailers:?}");
    assert_eq!(trailers.get("x-body-bytes").map(http::HeaderValue::as_bytes), Some(&b"9"[..]), "{trailers:?}");
    Ok(())
}

#[tokio::test]
async fn messages_go_both_ways_before_the_call_ends() -> Passed {
    for handoff in Handoff::BOTH {
        let site = plan(handoff).start().await?;
        let target = site.target().http2();
        let mut connection = Connection::open(&target).await?;
        let (sender, body) = streamed();
        let request = target.request(Method::POST, "/trailers")?.header("te", "trailers").body(body)?;
        let response = timeout(SOON, connection.send(request)).await?;
        let mut answer = response.map_err(|error| error.into_error())?.into_body();
        for message in ["first", "second", "third"] {
            sender.send(Bytes::from_static(message.as_bytes())).await?;
            let frame = timeout(SOON, answer.frame()).await?;
            let data = frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default())).transpose()?;
            assert_eq!(data.as_deref(), Some(message.as_bytes()), "{handoff:?}");
        }
        drop(sender);
        assert!(timeout(SOON, answer.collect()).await?.is_ok(), "{handoff:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_hundred_streams_share_one_connection() -> Passed {
    for handoff in Handoff::BOTH {
        let site = plan(handoff).start().await?;
        let target = site.target().http2();
        let connection = Connection::open(&target).await?;
        let mut streams = JoinSet::new();
        for number in 0..100 {
            let mut stream = connection.another().unwrap();
            let request = target.request(Method::POST, &format!("/echo/{number}"))?.body(full(vec![b'x'; 1000]))?;
            streams.spawn(async move { (number, stream.fetch(request).await) });
        }
        while let Some(done) = streams.join_next().await {
            let (number, answer) = done?;
            let echo = answer?.json()?;
            assert_eq!(echo["path"], format!("/echo/{number}"), "{handoff:?}");
            assert_eq!(echo["body"]["length"], 1000, "{handoff:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_that_nobody_reads_does_not_hold_up_its_neighbours() -> Passed {
    for handoff in Handoff::BOTH {
        let site = plan(handoff).start().await?;
        let target = site.target().http2();
        let mut reader = Connection::open(&target).await?;
        let request = target.request(Method::GET, "/stream/50000000")?.body(full(""))?;
        let unread = reader.send(request).await.map_err(|error| error.into_error())?;
        // Another client's calls share the hand-off connections with it.
        let other = site.target();
        for _ in 0..20 {
            let answer = timeout(SOON, other.get("/stream/100000")).await??;
            assert_eq!(answer.body.len(), 100_000, "{handoff:?}");
        }
        drop(unread);
    }
    Ok(())
}
