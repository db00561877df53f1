//! The security log: one line for every denial, in the names that were asked for, and never at the cost of a request.

use std::fs;
use std::io::Read as _;
use std::process::Command;
use std::time::Duration;

use gatehouse_tests::client::raw::RawAnswer;
use gatehouse_tests::client::{Connection, Raw, Target, empty, streamed};
use gatehouse_tests::site::Site;
use gatehouse_tests::until::{SOON, until};
use http::Method;
use serde_json::Value;
use tokio::time::Instant;

use crate::Passed;

/// Messages that are refused, each for a reason of its own; the last ones by the gateway.
const REFUSED: [(&str, &str, &str); 12] = [
    (
        "accept",
        "framing_conflict",
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("accept", "content_length_invalid", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello"),
    ("accept", "bare_line_feed", "GET /a HTTP/1.1\nHost: a\n\n\r\n\r\n"),
    ("accept", "header_folded", "GET /a HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n"),
    ("accept", "host_missing", "GET /a HTTP/1.1\r\n\r\n"),
    ("accept", "path_double_encoded", "GET /%252e%252e/a HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("accept", "path_above_root", "GET /../a HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("accept", "method_not_allowed", "TRACE /a HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("accept", "leading_empty_lines", "\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("accept", "body_too_large", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n"),
    (
        "accept",
        "chunk_size_invalid",
        "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "protocol",
        "upgrade_unsupported",
        "GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ),
];

async fn refuse(target: &Target, bytes: &str) -> anyhow::Result<RawAnswer> {
    Raw::open(target).await?.exchange(bytes).await
}

#[tokio::test]
async fn every_denial_is_one_line_that_its_request_id_finds() -> Passed {
    let site = Site::plan().edge("[accept]\nbody_max = \"1MiB\"\n").start().await?;
    let mut ids = Vec::new();
    for (stage, code, bytes) in REFUSED {
        let answer = refuse(&site.target(), bytes).await?;
        assert_eq!(answer.code(), code, "{}", answer.text());
        let id = answer.header("x-request-id").unwrap_or_default().to_owned();
        let line = site.edges[0].security_line(code, |line| line["request_id"] == id.as_str()).await?;
        assert_eq!((line["stage"].as_str(), line["reason"].as_str()), (Some(stage), Some(code)), "{line}");
        assert_eq!((line["event"].as_str(), line["node"].as_str()), (Some("denial"), Some("edge-1")), "{line}");
        assert_eq!((line["mode"].as_str(), line["action"].as_str()), (Some("enforce"), Some("page")), "{line}");
        assert_eq!(line["status"].as_u64(), Some(u64::from(answer.status)), "{line}");
        assert!(line["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.1:")), "{line}");
        ids.push(id);
    }
    assert_eq!(site.target().get("/products").await?.status, 200);
    let answer = site.target().get("/no/such/page").await?;
    assert_ne!(answer.header("content-type"), "application/problem+json", "what a service answers is no denial");
    let lines = site.edges[0].security_log()?;
    assert_eq!(lines.len(), REFUSED.len(), "one line each and none for what was served: {lines:#?}");
    for id in ids {
        assert_eq!(lines.iter().filter(|line| line["request_id"] == id.as_str()).count(), 1, "{id}");
    }
    Ok(())
}

#[tokio::test]
async fn what_was_asked_for_is_in_the_line_bounded_and_escaped() -> Passed {
    let site = Site::plan().start().await?;
    let long = "a".repeat(3_000);
    let bytes = format!("GET /{long} HTTP/1.1\r\nHost: a\r\nUser-Agent: x\",\"mode\":\"observe\r\nHost: b\r\n\r\n");
    let answer = refuse(&site.target(), &bytes).await?;
    let id = answer.header("x-request-id").unwrap_or_default().to_owned();
    let line = site.edges[0].security_line("it", |line| line["request_id"] == id.as_str()).await?;
    assert_eq!((line["reason"].as_str(), line["mode"].as_str()), (Some("host_repeated"), Some("enforce")), "{line}");
    assert_eq!(line["target"].as_str().map(str::len), Some(1_024), "{line}");
    assert_eq!(line["method"], "GET");
    let bytes = "GET /%252e HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: x\",\"mode\":\"observe\r\n\r\n";
    let answer = refuse(&site.target(), bytes).await?;
    let id = answer.header("x-request-id").unwrap_or_default().to_owned();
    let line = site.edges[0].security_line("it", |line| line["request_id"] == id.as_str()).await?;
    assert_eq!((line["host"].as_str(), line["target"].as_str()), (Some("shop.test"), Some("/%252e")), "{line}");
    assert_eq!(line["user_agent"], "x\",\"mode\":\"observe", "{line}");
    Ok(())
}

#[tokio::test]
async fn http2_denials_are_written_too() -> Passed {
    let site = Site::plan().edge("[[process.listener]]\naddress = \"127.0.0.1:0\"\nh2c = true\n").start().await?;
    let target = site.target().http2().authority("shop.test");
    let request = target.request(Method::GET, "/%252e")?.header("user-agent", "h2-client").body(empty())?;
    let answer = target.exchange(request).await?;
    let id = answer.header("x-request-id").to_owned();
    let line = site.edges[0].security_line("it", |line| line["request_id"] == id.as_str()).await?;
    assert_eq!((line["reason"].as_str(), line["protocol"].as_str()), (Some("path_double_encoded"), Some("HTTP/2")));
    assert_eq!((line["host"].as_str(), line["user_agent"].as_str()), (Some("shop.test"), Some("h2-client")), "{line}");
    Ok(())
}

#[tokio::test]
async fn an_http2_upload_that_is_reset_for_its_pause_is_written() -> Passed {
    let settings =
        "[[process.listener]]\naddress = \"127.0.0.1:0\"\nh2c = true\n[accept]\nbody_idle_timeout = \"500ms\"\n";
    let site = Site::plan().edge(settings).start().await?;
    let target = site.target().http2();
    let mut connection = Connection::open(&target).await?;
    let (_unused, body) = streamed();
    assert!(connection.send(target.request(Method::POST, "/upload")?.body(body)?).await.is_err());
    let line = site.edges[0].security_line("it", |line| line["reason"] == "body_timeout").await?;
    assert_eq!((line["stage"].as_str(), line["action"].as_str()), (Some("accept"), Some("drop")), "{line}");
    assert_eq!((line["target"].as_str(), line["protocol"].as_str()), (Some("/upload"), Some("HTTP/2")), "{line}");
    Ok(())
}

#[tokio::test]
async fn unknown_routes_are_written_when_asked_for() -> Passed {
    let routes = "[[route]]\npath_prefix = \"/products\"\ncluster = \"business\"\n";
    let mut site = Site::plan().edge(routes).start().await?;
    assert_eq!(site.target().get("/nothing").await?.status, 404);
    site.edge_mut()?.reconfigure("[security_log]\nunknown_routes = true\n").await?;
    // The log follows a new generation a moment after it is in force.
    let line = until("a line about an unknown route", SOON, async || {
        let answer = site.target().get("/nothing").await.ok()?;
        let id = answer.header("x-request-id").to_owned();
        let lines = site.edges[0].security_log().ok()?;
        lines.into_iter().find(|line| line["reason"] == "route_not_found" && line["request_id"] != id.as_str())
    })
    .await?;
    assert_eq!((line["stage"].as_str(), line["status"].as_u64()), (Some("route"), Some(404)), "{line}");
    Ok(())
}

#[tokio::test]
async fn refused_connections_are_counted_into_a_few_lines() -> Passed {
    let settings = "[accept]\nconnections_per_client = 2\n[security_log]\nrepeat_window = \"1s\"\n";
    let site = Site::plan().edge(settings).start().await?;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut raw = Raw::open(&site.target()).await?;
        assert_eq!(raw.exchange("GET /products HTTP/1.1\r\nHost: a\r\n\r\n").await?.status, 200);
        held.push(raw);
    }
    until("both lines of the access log", SOON, async || (site.edges[0].access_log().ok()?.len() == 2).then_some(()))
        .await?;
    for _ in 0..50 {
        let (bytes, _) = Raw::open(&site.target()).await?.rest().await?;
        assert_eq!(bytes, b"");
    }
    let of_reason = |line: &&Value| line["reason"] == "too_many_connections_of_client";
    let counted = until("all fifty to be counted", SOON, async || {
        let lines = site.edges[0].security_log().ok()?;
        let lines: Vec<Value> = lines.iter().filter(of_reason).cloned().collect();
        let sum: u64 = lines.iter().map(|line| line["count"].as_u64().unwrap_or(1)).sum();
        (sum == 50).then_some(lines)
    })
    .await?;
    // The window may have ended once in between.
    assert!((2..=4).contains(&counted.len()), "{counted:#?}");
    assert!(counted.iter().all(|line| line["status"] == 0 && line["action"] == "drop"), "{counted:#?}");
    assert!(counted[1]["since"].is_string(), "{counted:#?}");
    assert_eq!(site.edges[0].access_log()?.len(), 2, "a refused connection is no request");
    let admin = site.edge()?.admin()?;
    let reason = [("reason", "too_many_connections_of_client")];
    admin.counted("gatehouse_edge_refused_total", &reason, 50.0..=50.0).await?;
    admin.counted("gatehouse_security_log_repeated_total", &[], 46.0..).await?;
    Ok(())
}

#[tokio::test]
async fn a_blocked_sink_delays_no_request_and_its_losses_are_counted() -> Passed {
    const DENIED: usize = 300;
    let directory = tempfile::tempdir()?;
    let pipe = directory.path().join("security.pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status()?.success());
    let sink = format!("[security_log]\nsink = \"{}\"\nqueue = 10\n", pipe.display());
    let site = Site::plan().edge(sink).start().await?;
    let target = site.target();
    let mut slowest = Duration::ZERO;
    for _ in 0..DENIED {
        let start = Instant::now();
        assert_eq!(refuse(&target, REFUSED[11].2).await?.status, 501);
        assert_eq!(target.get("/products").await?.status, 200);
        slowest = slowest.max(start.elapsed());
    }
    assert!(slowest < SOON, "a denied and a served request took {slowest:?}");
    let lost = "gatehouse_security_log_dropped_total";
    // The queue and one batch that the writer holds.
    let dropped = site.edge()?.admin()?.counted(lost, &[], (DENIED - 20) as f64..).await?;
    assert!(dropped < DENIED as f64, "{dropped} of {DENIED} were lost");
    // A reader comes: what was kept is written, and the log goes on.
    let reader = std::thread::spawn(move || -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; 64 * 1024];
        let count = fs::File::open(pipe)?.read(&mut bytes)?;
        bytes.truncate(count);
        Ok(bytes)
    });
    let bytes = tokio::task::spawn_blocking(move || reader.join()).await?.unwrap()?;
    let text = String::from_utf8(bytes)?;
    let first: Value = serde_json::from_str(text.lines().next().unwrap_or_default())?;
    assert_eq!(first["reason"], "upgrade_unsupported");
    Ok(())
}

#[tokio::test]
async fn the_names_of_other_wafs_are_used_when_asked_for() -> Passed {
    for (format, code, id) in [
        ("modsecurity", "/transaction/messages/0/details/ruleId", "/transaction/unique_id"),
        ("ecs", "/event/code", "/http/request/id"),
    ] {
        let site = Site::plan().edge(format!("[security_log]\nformat = \"{format}\"\n")).start().await?;
        let answer = refuse(&site.target(), REFUSED[5].2).await?;
        let wanted = answer.header("x-request-id").unwrap_or_default().to_owned();
        let found = |line: &Value| line.pointer(id).and_then(Value::as_str) == Some(&wanted);
        let line = site.edges[0].security_line(format, found).await?;
        assert_eq!(line.pointer(code).and_then(Value::as_str), Some("path_double_encoded"), "{line}");
    }
    Ok(())
}

#[tokio::test]
async fn the_file_is_opened_again_on_sighup() -> Passed {
    let site = Site::plan().start().await?;
    let log = site.edge()?.state().with_file_name("security.log");
    refuse(&site.target(), REFUSED[5].2).await?;
    site.edges[0].security_line("the first", |line| line["reason"] == "path_double_encoded").await?;
    fs::rename(&log, log.with_extension("1"))?;
    site.edge()?.poke()?;
    until("a line in the new file", SOON, async || {
        refuse(&site.target(), REFUSED[6].2).await.ok()?;
        site.edges[0].security_log().ok()?.into_iter().find(|line| line["reason"] == "path_above_root")
    })
    .await?;
    Ok(())
}
