//! Bodies of every shape, over both hand-offs.

use std::time::Duration;

use gatehouse_tests::client::{Answer, Connection, Raw, full, streamed};
use gatehouse_tests::process::peak_resident_bytes;
use gatehouse_tests::recorder::{HandedOn, Recorder};
use gatehouse_tests::sample::bodies::{hex, pattern};
use gatehouse_tests::site::{Handoff, Site};
use gatehouse_tests::until::SOON;
use http::{Method, header};
use http_body_util::BodyExt as _;
use ring::digest;
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout};

use crate::Passed;

/// What "a gigabyte" is here.
const GIGABYTE: u64 = 1_000_000_000;

/// What a process may grow by while a gigabyte passes.
const GROWTH: u64 = 64 << 20;

/// The peaks of memory of both gates.
fn peaks(site: &Site) -> anyhow::Result<[u64; 2]> {
    Ok([peak_resident_bytes(site.edges[0].process.id())?, peak_resident_bytes(site.business[0].process.id())?])
}

fn assert_flat(what: &str, before: [u64; 2], after: [u64; 2]) {
    for (gate, (before, after)) in ["edge", "business"].iter().zip(before.into_iter().zip(after)) {
        let growth = after.saturating_sub(before);
        assert!(growth < GROWTH, "{what}: the {gate} grew by {} MiB", growth >> 20);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gigabyte_streams_down_with_flat_memory() -> Passed {
    for handoff in Handoff::BOTH {
        let site = Site::plan().handoff(handoff).alone().start().await?;
        let target = site.target();
        target.get("/products").await?;
        let before = peaks(&site)?;
        let mut connection = Connection::open(&target).await?;
        let request = target.request(Method::GET, &format!("/stream/{GIGABYTE}"))?;
        let response = connection.send(request.body(full(""))?).await.map_err(|error| error.into_error())?;
        assert_eq!(response.headers()[header::CONTENT_LENGTH], GIGABYTE.to_string());
        let mut body = response.into_body();
        let (mut length, pattern) = (0_u64, pattern());
        while let Some(frame) = body.frame().await {
            let data = frame?.into_data().unwrap_or_default();
            let mut rest = &data[..];
            while !rest.is_empty() {
                let start = usize::try_from(length % 251)?;
                let piece = rest.len().min(pattern.len() - start);
                assert!(rest[..piece] == pattern[start..start + piece], "{handoff:?}: other bytes near {length}");
                length += piece as u64;
                rest = &rest[piece..];
            }
        }
        assert_eq!(length, GIGABYTE);
        assert_flat(&format!("{handoff:?} down"), before, peaks(&site)?);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gigabyte_streams_up_with_flat_memory() -> Passed {
    for handoff in Handoff::BOTH {
        let site = Site::plan().handoff(handoff).alone().start().await?;
        let target = site.target();
        target.get("/products").await?;
        let before = peaks(&site)?;
        let (sender, body) = streamed();
        let request = target.request(Method::POST, "/upload")?.header(header::CONTENT_LENGTH, GIGABYTE).body(body)?;
        let answer = tokio::spawn(async move { target.exchange(request).await });
        let (mut left, pattern) = (GIGABYTE, pattern());
        let mut sha256 = digest::Context::new(&digest::SHA256);
        while left > 0 {
            let piece = pattern.slice(..pattern.len().min(usize::try_from(left)?));
            left -= piece.len() as u64;
            sha256.update(&piece);
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        drop(sender);
        let answer = answer.await??;
        assert_eq!(answer.status, 200, "{handoff:?}: {}", answer.text());
        let seen = answer.json()?;
        assert_eq!(seen["length"], GIGABYTE);
        assert_eq!(seen["sha256"], hex(sha256.finish().as_ref()));
        assert_flat(&format!("{handoff:?} up"), before, peaks(&site)?);
    }
    Ok(())
}

#[tokio::test]
async fn chunked_bodies_pass_both_ways_at_once() -> Passed {
    for handoff in Handoff::BOTH {
        let site = Site::plan().handoff(handoff).start().await?;
        let mut raw = Raw::open(&site.target()).await?;
        for _ in 0..2 {
            raw.write("POST /mirror HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
                .await?;
            let answer = raw.exchange("7\r\n, world\r\n0\r\n\r\n").await?;
            assert_eq!((answer.status, answer.text().as_str()), (200, "hello, world"), "{handoff:?}");
            assert_eq!(answer.header("transfer-encoding"), Some("chunked"), "{handoff:?}");
            // The answer begins before the request has ended; where that makes the edge end the connection, it says so.
            if answer.header("connection") == Some("close") {
                raw = Raw::open(&site.target()).await?;
            }
        }
        let answer =
            raw.exchange("GET /stream/100000?chunked=1&piece=1000 HTTP/1.1\r\nHost: shop.test\r\n\r\n").await?;
        assert_eq!(answer.body, pattern_of(100_000), "{handoff:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_an_unchunked_answer_and_the_end_of_the_connection() -> Passed {
    let site = Site::plan().start().await?;
    let mut raw = Raw::open(&site.target()).await?;
    raw.write("GET /stream/1000?chunked=1 HTTP/1.0\r\nHost: shop.test\r\n\r\n").await?;
    let answer = raw.answer().await?;
    assert_eq!((answer.status, answer.header("transfer-encoding")), (200, None));
    assert_eq!(answer.body, pattern_of(1000));
    Ok(())
}

#[tokio::test]
async fn a_client_that_expects_100_continue_gets_it_and_then_its_answer() -> Passed {
    for handoff in Handoff::BOTH {
        let site = Site::plan().handoff(handoff).start().await?;
        let mut raw = Raw::open(&site.target()).await?;
        for framing in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
            let head = format!("POST /echo HTTP/1.1\r\nHost: shop.test\r\n{framing}\r\nExpect: 100-continue\r\n\r\n");
            raw.write(head).await?;
            let interim = timeout(SOON, raw.answer()).await??;
            assert_eq!(interim.status, 100, "{handoff:?}, {framing}");
            let body = if framing.starts_with('C') { "hello" } else { "5\r\nhello\r\n0\r\n\r\n" };
            let answer = raw.exchange(body).await?;
            assert_eq!(answer.status, 200, "{handoff:?}, {framing}: {}", answer.text());
            let echo: Value = serde_json::from_slice(&answer.body)?;
            assert_eq!(echo["body"]["length"], 5, "{handoff:?}, {framing}");
            assert!(!echo["headers"].to_string().contains("expect"), "the expectation was met at the edge");
        }
    }
    Ok(())
}

#[tokio::test]
async fn answers_without_a_body_leave_the_connection_usable() -> Passed {
    for handoff in Handoff::BOTH {
        let site = Site::plan().handoff(handoff).start().await?;
        let length = site.target().get("/products").await?.header("content-length").to_owned();
        let mut raw = Raw::open(&site.target()).await?;
        raw.write("HEAD /products HTTP/1.1\r\nHost: shop.test\r\n\r\n").await?;
        let answer = raw.head().await?;
        assert_eq!((answer.status, answer.header("content-length")), (200, Some(length.as_str())), "{handoff:?}");
        for status in [204, 304] {
            let answer = raw.exchange(format!("GET /status/{status} HTTP/1.1\r\nHost: shop.test\r\n\r\n")).await?;
            assert_eq!((answer.status, answer.header("transfer-encoding")), (status, None), "{handoff:?}");
            assert!(raw.unread().is_empty(), "{handoff:?}: {status} came with a body");
        }
        let answer = raw.exchange("GET /users/1 HTTP/1.1\r\nHost: shop.test\r\n\r\n").await?;
        assert!(answer.text().contains("Ada"), "{handoff:?}: {}", answer.text());
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_given_before_the_body_was_read_reaches_the_client() -> Passed {
    for handoff in Handoff::BOTH {
        let site = Site::plan().handoff(handoff).start().await?;
        // The client goes on sending after the answer, as most do.
        for size in [1_000, 300_000, 20_000_000] {
            let mut raw = Raw::open(&site.target()).await?;
            raw.write(format!("POST /early?status=413 HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {size}\r\n\r\n"))
                .await?;
            let body = vec![b'x'; size];
            for piece in body.chunks(1000) {
                if raw.write(piece).await.is_err() {
                    break;
                }
            }
            let answer = timeout(SOON, raw.final_answer()).await?;
            let answer = answer.map_err(|error| anyhow::anyhow!("{handoff:?}, {size} bytes: {error:#}"))?;
            assert_eq!((answer.status, answer.text().as_str()), (413, "{\"status\":413}"), "{handoff:?}, {size} bytes");
            if handoff == Handoff::H2c && size == 20_000_000 {
                assert_eq!(answer.header("connection"), Some("close"), "a client must know that its body is not read");
            }
        }
        assert_eq!(site.target().get("/products").await?.status, 200);
    }
    Ok(())
}

#[tokio::test]
async fn a_small_body_that_the_service_did_not_read_does_not_cost_the_next_request() -> Passed {
    for handoff in Handoff::BOTH {
        let site = Site::plan().handoff(handoff).start().await?;
        for number in 0..100 {
            let mut raw = Raw::open(&site.target()).await?;
            raw.write("POST /early?status=200 HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 6\r\n\r\n").await?;
            if number % 2 == 0 {
                tokio::task::yield_now().await;
            }
            let answer = raw.exchange("ledger").await?;
            assert_eq!(answer.status, 200, "{handoff:?}");
            if answer.header("connection") != Some("close") {
                let next = raw.exchange("GET /products HTTP/1.1\r\nHost: shop.test\r\n\r\n").await;
                let next = next
                    .map_err(|error| anyhow::anyhow!("{handoff:?}, {number}: the edge promised to go on: {error:#}"))?;
                assert_eq!(next.status, 200, "{handoff:?}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_upload_slower_than_the_response_timeout_is_answered() -> Passed {
    for handoff in Handoff::BOTH {
        let site = Site::plan()
            .handoff(handoff)
            .edge("[[route]]\npath_prefix = \"/\"\ncluster = \"business\"\ntimeout = \"1s\"\n")
            .start()
            .await?;
        for length in [Some(30_u64), None] {
            let target = site.target();
            let (sender, body) = streamed();
            let mut request = target.request(Method::POST, "/upload")?;
            if let Some(length) = length {
                request = request.header(header::CONTENT_LENGTH, length);
            }
            let answer = tokio::spawn({
                let request = request.body(body)?;
                async move { target.exchange(request).await }
            });
            let start = Instant::now();
            for tick in 0..30_u32 {
                sleep_until(start + Duration::from_millis(100) * tick).await;
                if sender.send("x".into()).await.is_err() {
                    break;
                }
            }
            drop(sender);
            let answer: Answer = answer.await??;
            assert_eq!(answer.status, 200, "{handoff:?}, {length:?}: {}", answer.text());
            assert_eq!(answer.json()?["length"], 30);
        }
        let answer = site.target().get("/slow?ms=20000").await?;
        assert_eq!(answer.status, 504, "without an upload the timeout counts: {}", answer.text());
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_whole() -> Passed {
    for handoff in Handoff::BOTH {
        let site = Site::plan().handoff(handoff).start().await?;
        for path in
            ["/stream/100000?cut=50000", "/stream/100000?cut=50000&chunked=1", "/stream/100000?cut=50000&with=close"]
        {
            for target in [site.target()] {
                let outcome = target.get(path).await;
                let whole = outcome.as_ref().is_ok_and(|answer| answer.status == 200);
                assert!(!whole, "{handoff:?}, {path}: half an answer was delivered as a whole one");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn nothing_follows_a_body_whose_last_frame_is_empty() -> Passed {
    for handoff in Handoff::BOTH {
        let plan = Site::plan().edge("[[process.listener]]\naddress = \"127.0.0.1:0\"\nh2c = true\n");
        let (site, recorder) = Recorder::between_tiers(plan, handoff).await?;
        let mut expected = HandedOn::default();
        for target in [site.target(), site.target().http2()] {
            for pieces in [0, 1, 7] {
                let (sender, body) = streamed();
                let request = target.request(Method::POST, "/echo")?.body(body)?;
                let feed = async {
                    for _ in 0..pieces {
                        sender.send("0123456789".into()).await?;
                    }
                    // The end comes on its own: an empty DATA frame over HTTP/2.
                    drop(sender);
                    anyhow::Ok(())
                };
                let (answer, fed) = tokio::join!(target.exchange(request), feed);
                fed?;
                let answer = answer?;
                assert_eq!(answer.status, 200, "{handoff:?}, {pieces}: {}", answer.text());
                assert_eq!(answer.json()?["body"]["length"], 10 * pieces, "{handoff:?}");
                expected.heads += 1;
                expected.body_bytes += 10 * pieces;
                // What followed would be read as the head of another request.
                assert_eq!(recorder.handed_on(), expected, "{handoff:?}, {pieces} pieces, {:?}", target.protocol);
            }
        }
    }
    Ok(())
}

fn pattern_of(length: usize) -> Vec<u8> {
    (0..=250_u8).cycle().take(length).collect()
}
