//! Copies of calls for another service: which are made, what they carry, and that no call waits for them or fails with them.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use crate::support::client::{Edge, Protocol, by_hand, empty, full, request};
use crate::support::service::Service;
use crate::support::{Site, until};

/// An API of the service `main`, mirrored to `shadow` as `mirror` says.
fn catalog(main: SocketAddr, shadow: SocketAddr, mirror: &str) -> String {
    format!(
        "[[service]]\nname = \"main\"\nendpoints = [\"{main}\"]\n[[service]]\nname = \"shadow\"\nendpoints = [\"{shadow}\"]\n\
         retry_percent = 0\nretry_min_per_second = 0\n\
         [[api]]\nname = \"orders\"\naccess = \"open\"\nschemes = []\nservice = \"main\"\npath = \"/{{*rest}}\"\n\
         mirror = {{ service = \"shadow\", {mirror} }}\n"
    )
}

/// The value of a metric of copies.
fn metric(site: &Site, name: &str, labels: &str) -> u64 {
    let text = site.gateway.metrics.render();
    let start = format!("gatehouse_business_mirror_{name}{{api=\"orders\"{labels}}} ");
    let line = text.lines().find(|line| line.starts_with(&start));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

async fn until_metric(site: &Site, name: &str, labels: &str, expected: u64) {
    until(&format!("{name} {labels} of {expected}"), || (metric(site, name, labels) == expected).then_some(())).await;
}

#[tokio::test]
async fn safe_calls_are_copied_and_marked_and_answers_thrown_away() {
    let (main, shadow) = (Service::start().await, Service::start().await);
    let site = Site::start(&catalog(main.address, shadow.address, "percent = 100")).await;
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    // Nobody can make a call look like a copy.
    let call = request("GET", "/a?b=c").header("x-gatehouse-mirror", "forged").header("x-ledger-id", "one");
    let answer = edge.exchange(call.body(empty()).unwrap()).await;
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains("x-gatehouse-mirror"), "{}", answer.text());
    until_metric(&site, "answers_total", ",status=\"2xx\"", 1).await;
    assert_eq!(shadow.executed(), ["one"]);
    assert_eq!(main.executed(), ["one"]);

    let answer = edge.exchange(request("POST", "/a").header("x-ledger-id", "two").body(full("x")).unwrap()).await;
    assert_eq!(answer.status, 200);
    // A copy of a later call is there, so that of an earlier one would be.
    edge.get("/status?of=500").await;
    until_metric(&site, "answers_total", ",status=\"5xx\"", 1).await;
    assert_eq!(shadow.executed(), ["one"], "a call that changes something is not made twice");
    assert_eq!((metric(&site, "sent_total", ""), shadow.requests()), (2, 2));
}

#[tokio::test]
async fn a_copy_tells_the_service_that_it_is_one() {
    let (main, shadow) = (Service::start().await, heads().await);
    let site = Site::start(&catalog(main.address, shadow.address, "percent = 100")).await;
    let mut edge = Edge::connect(site.address, Protocol::H2c).await;
    assert_eq!(edge.get("/a?b=c").await.status, 200);
    let head = until("head of a copy", || shadow.heads.lock().unwrap().first().cloned()).await;
    assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nx-gatehouse-mirror: orders\r\n"), "{head}");
    assert!(head.contains("\r\nx-forwarded-for: 203.0.113.9\r\n") && !head.contains("x-gatehouse-hop"), "{head}");
}

#[tokio::test]
async fn bodies_are_copied_while_they_go_by_up_to_a_bound() {
    let (main, shadow) = (Service::start().await, heads().await);
    let mirror = "percent = 100, methods = [\"POST\"], body_max = \"8B\"";
    let site = Site::start(&catalog(main.address, shadow.address, mirror)).await;
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    for (body, sum) in [("12345678", "8"), ("123456789", "9")] {
        let answer = edge.exchange(request("POST", "/upload").body(full(body)).unwrap()).await;
        assert_eq!((answer.status, &*answer.text()), (200, sum));
    }
    until_metric(&site, "skipped_total", ",reason=\"body_too_large\"", 1).await;

    // A body whose length nobody knows before its end.
    for (pieces, reason) in [(["1234", "56"], None), (["1234", "56789"], Some("body_too_large"))] {
        let (sender, body) = by_hand();
        let call = request("POST", "/upload").body(body).unwrap();
        let sending = async {
            for piece in pieces {
                sender.send(piece.into()).await.unwrap();
            }
            drop(sender);
        };
        let (answer, ()) = tokio::join!(edge.exchange(call), sending);
        assert_eq!((answer.status, answer.text()), (200, pieces.concat().len().to_string()));
        if let Some(reason) = reason {
            until_metric(&site, "skipped_total", &format!(",reason=\"{reason}\""), 2).await;
        }
    }
    let all = until("both copies", || {
        let heads = shadow.heads.lock().unwrap().concat();
        (heads.contains("12345678") && heads.contains("123456\r\n")).then_some(heads)
    });
    let all = all.await;
    assert_eq!(all.matches("POST /upload").count(), 2, "{all}");
    assert_eq!(metric(&site, "sent_total", ""), 2);

    // The service answers before the body is over: what was copied of it is worth nothing.
    let (sender, body) = by_hand();
    let call = request("POST", "/early").body(body).unwrap();
    sender.send("12".into()).await.unwrap();
    assert_eq!(edge.send(call).await.unwrap().status(), 413);
    drop(sender);
    until_metric(&site, "skipped_total", ",reason=\"body_cut\"", 1).await;
    assert_eq!(site.gateway.identity.room.used(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_hangs_delays_nothing_and_fills_only_its_own_places() {
    const CALLS: usize = 40;
    let (main, shadow) = (Service::start().await, silent().await);
    let mirror = "percent = 100, concurrency = 4, timeout = \"1m\"";
    let site = Site::start(&catalog(main.address, shadow.address, mirror)).await;
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    // Every copy that has a place hangs for a minute; were a call to wait for one, none of these would end in time.
    let all = async {
        for _ in 0..CALLS {
            assert_eq!(edge.get("/x").await.status, 200);
        }
    };
    tokio::time::timeout(crate::support::SOON, all).await.unwrap();
    assert_eq!(main.requests(), CALLS);
    until_metric(&site, "under_way", "", 4).await;
    assert_eq!(metric(&site, "skipped_total", ",reason=\"busy\""), 36);
    // The places are those of the API, whatever generation a copy began in.
    let text = std::fs::read_to_string(site.config().join("catalog.toml")).unwrap();
    site.write("catalog.toml", &text.replace("timeout = \"1m\"", "timeout = \"50s\""));
    site.gateway.live.reload();
    assert_eq!(edge.get("/x").await.status, 200);
    assert_eq!(metric(&site, "skipped_total", ",reason=\"busy\""), 37);
}

#[tokio::test]
async fn a_mirror_that_is_away_or_breaks_off_fails_no_call() {
    let (main, shadow) = (Service::start().await, Service::start().await);
    let site = Site::start(&catalog(main.address, shadow.address, "percent = 100, timeout = \"500ms\"")).await;
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    // Both services misbehave; a call fails with its own service alone.
    assert_eq!(edge.get("/raw/garbage").await.status, 502);
    until_metric(&site, "failed_total", ",reason=\"broken\"", 1).await;
    shadow.stop();
    assert_eq!(edge.get("/x").await.status, 200);
    until_metric(&site, "failed_total", ",reason=\"unreachable\"", 1).await;
    assert_eq!(main.seen.under_way.load(Ordering::SeqCst), 0);

    let silent = silent().await;
    site.write("catalog.toml", &catalog(main.address, silent.address, "percent = 100, timeout = \"20ms\""));
    site.gateway.live.reload();
    assert_eq!(edge.get("/x").await.status, 200);
    until_metric(&site, "failed_total", ",reason=\"timeout\"", 1).await;
    until_metric(&site, "under_way", "", 0).await;
}

#[tokio::test]
async fn a_share_is_always_the_same_callers() {
    let (main, shadow) = (Service::start().await, Service::start().await);
    let mirror = "percent = 30, key = \"header:x-caller\", concurrency = 1000";
    let site = Site::start(&catalog(main.address, shadow.address, mirror)).await;
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    let mut seen = Vec::new();
    for round in 0..2_u64 {
        let before = metric(&site, "sent_total", "");
        for caller in 0..100 {
            let id = format!("{round}-{caller}");
            let call = request("GET", "/x").header("x-caller", format!("c{caller}")).header("x-ledger-id", id);
            assert_eq!(edge.exchange(call.body(empty()).unwrap()).await.status, 200);
        }
        // Who does not say who calls is not copied.
        assert_eq!(edge.get("/x").await.status, 200);
        let copied = until("answers to all copies", || {
            let sent = metric(&site, "sent_total", "");
            let is_over = sent > before && metric(&site, "answers_total", ",status=\"2xx\"") == sent;
            (is_over && metric(&site, "under_way", "") == 0).then(|| sent - before)
        });
        assert!((15..=45).contains(&copied.await));
        let start = format!("{round}-");
        let mut callers: Vec<String> =
            shadow.executed().iter().filter_map(|id| id.strip_prefix(&start)).map(str::to_owned).collect();
        callers.sort();
        seen.push(callers);
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn what_cannot_be_mirrored_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let site =
        Site::start(&catalog("127.0.0.1:9".parse().unwrap(), "127.0.0.1:10".parse().unwrap(), "percent = 1")).await;
    let wrong =
        "percent = 101, key = \"usr\", methods = [\"get\"], concurrency = 0, body_max = \"17MiB\", timeout = \"2m\"";
    let wrong = catalog("127.0.0.1:9".parse().unwrap(), "127.0.0.1:10".parse().unwrap(), wrong);
    for file in ["business.toml", "hop.key"] {
        std::fs::copy(site.config().join(file), dir.path().join(file)).unwrap();
    }
    std::fs::write(dir.path().join("catalog.toml"), wrong.replace("service = \"shadow\"", "service = \"shadwo\""))
        .unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_business-gateway"))
        .args(["check", "--config"])
        .arg(dir.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{errors}");
    for expected in [
        "no service \"shadwo\" (did you mean \"shadow\"?)",
        "101 is no share (write 0 to 100)",
        "\"usr\" is nothing of a call (did you mean \"user\"?)",
        "\"get\" is not a method",
        "out of bounds (write 1 to 10000)",
        "out of bounds (write at most \"16MiB\")",
        "out of bounds (write \"1ms\" to \"1m\")",
    ] {
        assert!(errors.contains(expected), "{expected}\nis not in\n{errors}");
    }
}

/// A service that keeps what it reads and answers at once, or never.
struct Raw {
    address: SocketAddr,
    heads: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
    accepting: tokio::task::AbortHandle,
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A service that keeps what it reads and answers each connection's first request.
async fn heads() -> Raw {
    raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await
}

/// A service that reads and never answers.
async fn silent() -> Raw {
    raw(b"").await
}

async fn raw(answer: &'static [u8]) -> Raw {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = std::sync::Arc::clone(&heads);
    let accepting = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let kept = std::sync::Arc::clone(&kept);
            tokio::spawn(async move {
                let mut all = Vec::new();
                let mut piece = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut piece).await {
                    all.extend_from_slice(&piece[..count]);
                    let text = String::from_utf8_lossy(&all).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    let is_whole = match length {
                        Some(length) => body.len() >= length.parse::<usize>().unwrap(),
                        None => !head.contains("transfer-encoding") || body.ends_with("0\r\n\r\n"),
                    };
                    if is_whole {
                        kept.lock().unwrap().push(text);
                        drop(stream.write_all(answer).await);
                        if !answer.is_empty() {
                            return;
                        }
                    }
                }
            });
        }
    });
    Raw { address, heads, accepting: accepting.abort_handle() }
}
