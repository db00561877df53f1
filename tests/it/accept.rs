//! Slow and hostile clients get the stated answer at the stated time, and an innocent one notices nothing.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use gatehouse_tests::client::Raw;
use gatehouse_tests::client::raw::{End, RawAnswer};
use gatehouse_tests::load::Load;
use gatehouse_tests::site::Site;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::Passed;

/// Where attackers come from.
const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Where the innocent client comes from.
const INNOCENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// Attacks of one kind at the same time.
const AT_ONCE: usize = 40;

/// The head deadline in these tests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// What a client that does something wrong sees.
struct Seen {
    answer: RawAnswer,
    after: Duration,
    end: End,
}

/// What would be waited for a head where an answer must come at once: longer than any machine is busy.
const LONG_TIMEOUT: Duration = Duration::from_secs(20);

async fn site(head_timeout: Duration) -> anyhow::Result<Site> {
    let settings = format!("[accept]\nhead_timeout = \"{}s\"\n", head_timeout.as_secs());
    Site::plan().edge(settings).alone().start().await
}

/// Sends a head a byte at a time, much too slowly, and reads what the edge says.
async fn drip(mut raw: Raw) -> anyhow::Result<Seen> {
    let start = Instant::now();
    for byte in b"GET /products HTTP/1.1\r\nHost: shop.test\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
        if raw.write([*byte]).await.is_err() || start.elapsed() > 2 * HEAD_TIMEOUT {
            break;
        }
        sleep(Duration::from_millis(100)).await;
        if start.elapsed() > HEAD_TIMEOUT + Duration::from_millis(300) {
            break;
        }
    }
    read(raw, start).await
}

/// Sends `bytes` at once and reads what the edge says.
async fn send(mut raw: Raw, bytes: Vec<u8>) -> anyhow::Result<Seen> {
    let start = Instant::now();
    // The edge may stop reading before the end.
    drop(raw.write(&bytes).await);
    read(raw, start).await
}

async fn read(mut raw: Raw, start: Instant) -> anyhow::Result<Seen> {
    let answer = raw.answer().await?;
    let after = start.elapsed();
    let (_, end) = raw.rest().await?;
    Ok(Seen { answer, after, end })
}

/// Runs `AT_ONCE` attacks beside an innocent client and checks that this one notices nothing.
async fn beside_an_innocent_client<F>(site: &Site, attack: impl Fn(Raw) -> F) -> anyhow::Result<Vec<Seen>>
where
    F: Future<Output = anyhow::Result<Seen>> + Send + 'static,
{
    let innocent = site.target().from(INNOCENT);
    let load = Load::new(innocent, 1, 100, "/products").start();
    load.answers(5).await?;
    let mut attacks = JoinSet::new();
    for _ in 0..AT_ONCE {
        attacks.spawn(attack(Raw::open(&site.target().from(ATTACKER)).await?));
    }
    let seen = attacks.join_all().await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    load.answers(5).await?;
    let during = load.stop().await;
    assert_eq!(during.failed().count(), 0, "the innocent client: {}", during.failures());
    assert_eq!(during.repeated(), 0, "the innocent client had to try again");
    // Who had to wait for the attackers would wait for as long as they may take.
    let usual = during.quantile(0.5);
    assert!(usual < HEAD_TIMEOUT / 2, "the innocent client usually waited for {usual:?}");
    Ok(seen)
}

fn assert_all(seen: &[Seen], status: u16, code: &str, earliest: Duration, latest: Duration) {
    for seen in seen {
        assert_eq!((seen.answer.status, seen.answer.code().as_str()), (status, code), "{}", seen.answer.text());
        assert_eq!(seen.answer.header("connection"), Some("close"));
        assert!(seen.after >= earliest && seen.after <= latest, "{code} came after {:?}", seen.after);
        assert_eq!(seen.end, End::Closed, "{code} was followed by a reset");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_drips_is_answered_408_at_the_deadline() -> Passed {
    let site = site(HEAD_TIMEOUT).await?;
    let seen = beside_an_innocent_client(&site, drip).await?;
    assert_all(&seen, 408, "head_timeout", HEAD_TIMEOUT, 2 * HEAD_TIMEOUT);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_head_is_answered_431_at_once_and_the_client_can_read_it() -> Passed {
    let site = site(LONG_TIMEOUT).await?;
    let mut head = b"GET /products HTTP/1.1\r\nHost: shop.test\r\n".to_vec();
    for number in 0..50 {
        head.extend(format!("X-Filler-{number}: {}\r\n", "a".repeat(1900)).into_bytes());
    }
    head.extend(b"\r\n");
    let seen = beside_an_innocent_client(&site, |raw| send(raw, head.clone())).await?;
    assert_all(&seen, 431, "head_too_large", Duration::ZERO, LONG_TIMEOUT);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_with_101_fields_is_answered_431_and_one_with_90_passes() -> Passed {
    let site = site(LONG_TIMEOUT).await?;
    let head = |fields: usize| {
        let mut head = b"GET /products HTTP/1.1\r\nHost: shop.test\r\n".to_vec();
        head.extend((1..fields).flat_map(|number| format!("X-Field-{number}: 1\r\n").into_bytes()));
        head.extend(b"\r\n");
        head
    };
    let seen = beside_an_innocent_client(&site, |raw| send(raw, head(101))).await?;
    assert_all(&seen, 431, "too_many_fields", Duration::ZERO, LONG_TIMEOUT);
    // The gates add a few of their own, and the sample service takes no more than 100 either.
    let answer = Raw::open(&site.target()).await?.exchange(head(90)).await?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_behind_leading_empty_lines_is_refused_whatever_follows() -> Passed {
    let site = site(LONG_TIMEOUT).await?;
    for lines in ["\r\n", "\r\n\r\n", "\r\n\r\n\r\n\r\n"] {
        let bytes = format!("{lines}GET /products HTTP/1.1\r\nHost: shop.test\r\n\r\n").into_bytes();
        let seen = beside_an_innocent_client(&site, |raw| send(raw, bytes.clone())).await?;
        assert_all(&seen, 400, "leading_empty_lines", Duration::ZERO, LONG_TIMEOUT);
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go_at_the_idle_timeout() -> Passed {
    let site = Site::plan().edge("[accept]\nidle_timeout = \"1s\"\n").start().await?;
    let start = Instant::now();
    let mut silent = Raw::open(&site.target()).await?;
    let mut parked = Raw::open(&site.target()).await?;
    assert_eq!(parked.exchange("GET /products HTTP/1.1\r\nHost: shop.test\r\n\r\n").await?.status, 200);
    for raw in [&mut silent, &mut parked] {
        let (bytes, end) = raw.rest().await?;
        assert!(bytes.is_empty(), "{}", String::from_utf8_lossy(&bytes));
        assert_eq!(end, End::Closed);
    }
    let after = start.elapsed();
    assert!(after >= Duration::from_secs(1) && after < Duration::from_secs(20), "{after:?}");
    Ok(())
}

#[tokio::test]
async fn a_body_that_drips_is_cut_off() -> Passed {
    let site = Site::plan().edge("[accept]\nbody_idle_timeout = \"1s\"\n").start().await?;
    let mut raw = Raw::open(&site.target()).await?;
    let start = Instant::now();
    let answer = raw.exchange("POST /upload HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 100\r\n\r\nx").await?;
    let after = start.elapsed();
    assert_eq!(answer.status, 408, "{}", answer.text());
    assert!(["body_timeout", "body_too_slow"].contains(&answer.code().as_str()), "{}", answer.text());
    assert!(after >= Duration::from_secs(1) && after < Duration::from_secs(15), "{after:?}");
    Ok(())
}

#[tokio::test]
async fn messages_that_two_readers_could_read_differently_are_refused() -> Passed {
    let site = Site::plan().start().await?;
    let cases = [
        (
            "framing_conflict",
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("transfer_encoding_invalid", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        ("content_length_invalid", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello"),
        (
            "content_length_repeated",
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        ),
        ("bare_line_feed", "GET /echo HTTP/1.1\nHost: a\n\n\r\n\r\n"),
        ("header_folded", "GET /echo HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n"),
        ("header_space_before_colon", "GET /echo HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n"),
        ("header_name_underscore", "GET /echo HTTP/1.1\r\nHost: a\r\nX_A: b\r\n\r\n"),
        ("host_missing", "GET /echo HTTP/1.1\r\n\r\n"),
        ("host_repeated", "GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("host_conflict", "GET http://b/echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("target_fragment", "GET /echo#fragment HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("path_double_encoded", "GET /%252e%252e/echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("path_encoded_slash", "GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("path_above_root", "GET /../echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            "chunk_size_invalid",
            "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        ),
    ];
    for (code, bytes) in cases {
        let answer = Raw::open(&site.target()).await?.exchange(bytes).await?;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{bytes:?}: {}", answer.text());
        let id = answer.header("x-request-id").unwrap_or_default().to_owned();
        assert_eq!(id.len(), 32, "{code}: no request id in {:?}", answer.headers);
        let line = site.edges[0].access_line(&id, |line| line["request_id"] == id.as_str()).await?;
        assert_eq!((line["status"].as_u64(), line["reason"].as_str()), (Some(400), Some(code)), "{line}");
    }
    assert_eq!(site.services[0].stats().await?.requests, 0, "a refused request reached the service");
    Ok(())
}

#[tokio::test]
async fn an_upgrade_is_answered_501() -> Passed {
    let site = Site::plan().start().await?;
    let head = "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let answer = Raw::open(&site.target()).await?.exchange(head).await?;
    assert_eq!((answer.status, answer.code().as_str()), (501, "upgrade_unsupported"), "{}", answer.text());
    Ok(())
}
