//! Raw attacks on HTTP/2: each gets its stated answer, nothing of it reaches tier two, the edge's memory stays bounded,
//! and a client beside them notices nothing.

mod attacks;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::Context as _;
use gatehouse_tests::client::Frames;
use gatehouse_tests::client::frames::{
    DATA, END_STREAM, HEADERS, PING, PREFACE, SETTINGS, frame, headers, literal, request,
};
use gatehouse_tests::load::Load;
use gatehouse_tests::process::peak_resident_bytes;
use gatehouse_tests::recorder::Recorder;
use gatehouse_tests::site::{Handoff, Site};
use gatehouse_tests::until::SOON;
use tokio::time::{Instant, timeout};

use crate::Passed;
use attacks::{
    Attack, CANCEL, ENHANCE_YOUR_CALM, Ends, LISTENER, PROTOCOL_ERROR, SECRET, STREAM_CLOSED, floods, malformed_fields,
    malformed_pseudo_headers, misused_streams,
};

/// Where attackers come from.
const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Where the innocent client comes from.
const INNOCENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// What all attacks together may add to the edge's resident memory at its peak.
const GROWTH_MAX: u64 = 64 << 20;
/// How an attack ended, as seen by the attacker.
fn ended(frames: &Frames) -> Option<Ends> {
    let seen = &frames.seen;
    if let Some(code) = seen.goaway.filter(|code| *code != 0) {
        return Some(Ends::GoAway(code));
    }
    if let Some(status) = seen.statuses.get(&1).filter(|_| seen.ended.contains(&1)) {
        return Some(Ends::Answered(*status));
    }
    seen.resets.get(&1).map(|code| Ends::Reset(*code)).or(seen.end.map(|_| Ends::Closed))
}

/// Carries out one attack; returns what differs from what is stated.
async fn carry_out((name, bytes, ends, code): &Attack, site: &Site) -> anyhow::Result<Option<String>> {
    let mut frames = Frames::open(&site.target().from(ATTACKER)).await?;
    let is_last = matches!(ends, Ends::GoAway(_) | Ends::Closed);
    frames
        .exchange(bytes, |seen| if is_last { seen.end.is_some() } else { seen.is_over(1) || seen.goaway.is_some() })
        .await?;
    let seen = ended(&frames);
    if seen != Some(*ends) {
        return Ok(Some(format!("{name}: {seen:?} instead of {ends:?}: {:?}", frames.seen)));
    }
    if matches!(ends, Ends::Answered(_))
        && !["http2_request_invalid", "head_too_large"].contains(code)
        && frames.seen.code(1) != *code
    {
        return Ok(Some(format!("{name}: {} instead of {code}", frames.seen.code(1))));
    }
    if !is_last {
        frames.exchange(&request(101, END_STREAM, "GET", "/products", &[]), |seen| seen.is_over(101)).await?;
        if frames.seen.statuses.get(&101) != Some(&200) {
            return Ok(Some(format!("{name}: the next request: {:?}", frames.seen)));
        }
    }
    Ok(None)
}

/// Refusals for `code` that are counted, once there are at least so many.
async fn refusals(site: &Site, code: &str, least: f64) -> anyhow::Result<f64> {
    site.edges[0].admin()?.counted("gatehouse_edge_refused_total", &[("reason", code)], least..).await
}

/// Carries out all of `attacks` beside an innocent client.
async fn withstands(attacks: Vec<Attack>) -> anyhow::Result<()> {
    let (site, recorder) = Recorder::between_tiers(Site::plan().edge(LISTENER), Handoff::Http1).await?;
    let innocent = Load::new(site.target().from(INNOCENT).http2(), 2, 100, "/products").start();
    innocent.answers(5).await?;
    let pid = site.edges[0].serving_pid();
    let before = peak_resident_bytes(pid)?;
    let mut different = Vec::new();
    for attack in &attacks {
        let recorded = refusals(&site, attack.3, 0.0).await?;
        different.extend(carry_out(attack, &site).await?);
        if refusals(&site, attack.3, recorded + 1.0).await.is_err() {
            different.push(format!("{}: not recorded as {}", attack.0, attack.3));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    let growth = peak_resident_bytes(pid)?.saturating_sub(before);
    assert!(growth <= GROWTH_MAX, "{growth} bytes more than before");
    innocent.answers(5).await?;
    let report = innocent.stop().await;
    assert_eq!((report.failed().count(), report.repeated()), (0, 0), "{}", report.failures());
    assert!(!recorder.has(SECRET), "a body that was refused reached tier two");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_are_refused_one_by_one() -> Passed {
    withstands([malformed_fields(), malformed_pseudo_headers()].concat()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn misused_streams_and_frames_end_in_the_stated_way() -> Passed {
    withstands(misused_streams()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_and_bombs_are_told_to_calm_down() -> Passed {
    withstands(floods()).await?;
    Ok(())
}

/// What a client that is too slow sees, and after which time.
async fn waits(mut frames: Frames, bytes: &[u8]) -> anyhow::Result<(Option<Ends>, Duration)> {
    let start = Instant::now();
    frames.exchange(bytes, |seen| seen.end.is_some() || seen.is_over(1)).await?;
    Ok((ended(&frames), start.elapsed()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_are_let_go_at_their_deadlines() -> Passed {
    let bounds = "[accept]\nhead_timeout = \"1s\"\nbody_idle_timeout = \"1s\"\nbody_min_rate = \"1000/1s\"\n\
                  [accept.http2]\nhandshake_timeout = \"1s\"\n";
    let site = Site::plan().edge(LISTENER).edge(bounds).start().await?;
    let target = site.target().from(ATTACKER);
    let settings = frame(SETTINGS, 0, 0, b"");
    let upload = request(1, 0, "POST", "/upload", &[]);
    let greeting = [PREFACE, &settings].concat();
    let greeted = |more: &[u8]| [&greeting, more].concat();
    let calm = Ends::GoAway(ENHANCE_YOUR_CALM);
    let cases: [(&str, Vec<u8>, Ends, u64, &str); 7] = [
        ("half a preface", PREFACE[..20].to_vec(), Ends::Closed, 1, "head_timeout"),
        ("a preface and no settings", PREFACE.to_vec(), calm, 1, "head_timeout"),
        ("half a frame head", greeted(&settings[..5]), calm, 1, "head_timeout"),
        ("half a frame", greeted(&frame(PING, 0, 0, &[0; 8])[..12]), calm, 1, "head_timeout"),
        (
            "HEADERS without their end",
            greeted(&frame(HEADERS, END_STREAM, 1, &literal("x-a", "b"))),
            calm,
            1,
            "head_timeout",
        ),
        ("a body that does not come", greeted(&upload), Ends::Reset(CANCEL), 2, "body_timeout"),
        (
            "a body that stops",
            greeted(&[upload.clone(), frame(DATA, 0, 1, &[b'x'; 10_000])].concat()),
            Ends::Reset(CANCEL),
            2,
            "body_timeout",
        ),
    ];
    let mut clients = tokio::task::JoinSet::new();
    for (name, bytes, ends, seconds, code) in cases {
        let before = refusals(&site, code, 0.0).await?;
        let frames = Frames::connect(&target).await?;
        clients.spawn(async move { (name, ends, seconds, code, before, waits(frames, &bytes).await) });
    }
    while let Some(done) = clients.join_next().await {
        let (name, ends, seconds, code, before, waited) = done?;
        let (seen, after) = waited?;
        assert_eq!(seen, Some(ends), "{name}");
        assert!(after >= Duration::from_secs(seconds) && after < Duration::from_secs(seconds + 7), "{name}: {after:?}");
        refusals(&site, code, before + 1.0).await.with_context(|| format!("{name}: not recorded as {code}"))?;
    }
    let line = site.edges[0].access_line("an upload", |line| line["reason"] == "body_timeout").await?;
    assert_eq!(line["status"], 408, "{line}");
    Ok(())
}

#[tokio::test]
async fn a_body_that_drips_is_cut_off_and_one_with_pauses_is_not() -> Passed {
    let site = Site::plan().edge(LISTENER).edge("[accept]\nbody_idle_timeout = \"2s\"\n").start().await?;
    let mut dripping = Frames::open(&site.target()).await?;
    dripping.write(&request(1, 0, "POST", "/upload", &[])).await?;
    let drips = async {
        while !dripping.seen.is_over(1) {
            drop(dripping.write(&frame(DATA, 0, 1, b"x")).await);
            drop(timeout(Duration::from_millis(100), dripping.read_until(|seen| seen.is_over(1))).await);
        }
    };
    timeout(SOON, drips).await?;
    assert_eq!(ended(&dripping), Some(Ends::Reset(CANCEL)), "{:?}", dripping.seen);
    site.edges[0].access_line("a slow upload", |line| line["reason"] == "body_too_slow").await?;

    let mut pausing = Frames::open(&site.target()).await?;
    pausing.write(&request(1, 0, "POST", "/upload", &[])).await?;
    pausing.write(&frame(DATA, 0, 1, &[b'x'; 10_000])).await?;
    // Longer than a pause on HTTP/1 may be, shorter than one here.
    drop(timeout(Duration::from_millis(2_500), pausing.read_until(|seen| seen.is_over(1))).await);
    pausing.exchange(&frame(DATA, END_STREAM, 1, b"end"), |seen| seen.is_over(1)).await?;
    assert_eq!(ended(&pausing), Some(Ends::Answered(200)), "{:?}", pausing.seen);
    Ok(())
}

#[tokio::test]
async fn data_on_a_stream_that_is_over_harms_nobody() -> Passed {
    let site = Site::plan().edge(LISTENER).start().await?;
    let mut frames = Frames::open(&site.target()).await?;
    frames.exchange(&request(1, END_STREAM, "GET", "/products", &[]), |seen| seen.is_over(1)).await?;
    frames.exchange(&frame(DATA, 0, 1, b"x"), |seen| seen.resets.contains_key(&1) || seen.goaway.is_some()).await?;
    let seen = (frames.seen.resets.get(&1).copied(), frames.seen.goaway);
    assert!(
        matches!(seen, (Some(STREAM_CLOSED), None) | (None, Some(STREAM_CLOSED | PROTOCOL_ERROR))),
        "{:?}",
        frames.seen
    );
    assert_eq!(site.target().get("/products").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn what_is_not_http2_on_a_connection_that_is_gets_no_answer() -> Passed {
    let site = Site::plan().edge(LISTENER).start().await?;
    // The first line of the preface says HTTP/2, the second something else.
    let mut frames = Frames::connect(&site.target()).await?;
    frames.exchange(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", |seen| seen.end.is_some()).await?;
    assert_eq!(ended(&frames), Some(Ends::Closed), "{:?}", frames.seen);
    let mut frames = Frames::connect(&site.target()).await?;
    frames
        .exchange(&[PREFACE, &request(1, END_STREAM, "GET", "/echo", &[])].concat(), |seen| seen.end.is_some())
        .await?;
    assert_eq!(ended(&frames), Some(Ends::GoAway(PROTOCOL_ERROR)), "{:?}", frames.seen);
    refusals(&site, "http2_connection_invalid", 2.0).await?;
    assert_eq!(site.services[0].stats().await?.requests, 0);
    Ok(())
}

/// Two rules that the protocol library bends: it cuts what it should refuse, before anything looks at the request.
#[tokio::test]
async fn fragments_and_pseudo_headers_in_trailers_are_cut_off_before_tier_two() -> Passed {
    let (site, recorder) = Recorder::between_tiers(Site::plan().edge(LISTENER), Handoff::Http1).await?;
    let mut frames = Frames::open(&site.target()).await?;
    frames.exchange(&request(1, END_STREAM, "GET", "/echo#fragment", &[]), |seen| seen.is_over(1)).await?;
    let echo: serde_json::Value = serde_json::from_slice(&frames.seen.bodies[&1])?;
    assert_eq!(echo["target"], "/echo");
    let upload = [
        request(3, 0, "POST", "/upload", &[]),
        frame(DATA, 0, 3, b"x"),
        headers(3, END_STREAM, &[(":path", "/inner"), ("x-trailer", "y")]),
    ];
    frames.exchange(&upload.concat(), |seen| seen.is_over(3)).await?;
    assert!(frames.seen.is_over(3));
    for text in ["fragment", "/inner", "x-trailer"] {
        assert!(!recorder.has(text), "{text}");
    }
    Ok(())
}
