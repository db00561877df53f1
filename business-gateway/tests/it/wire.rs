//! HTTP/1.1 with services, byte for byte: what they get, and what becomes of whatever they answer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::client::{BOTH, Edge, Protocol, by_hand, empty, full, read, request};
use crate::support::{Site, catalog, until};

/// What a service does with a request once it has read all of it.
#[derive(Debug, Clone, Default)]
struct Act {
    /// What it writes, piece by piece.
    pieces: Vec<Vec<u8>>,
    /// Whether it closes the connection then.
    closes: bool,
    /// Whether it answers before it has read the body, and then reads no more.
    is_early: bool,
}

impl Act {
    fn says(text: &str) -> Self {
        Self { pieces: vec![text.as_bytes().to_vec()], ..Self::default() }
    }

    fn and_closes(self) -> Self {
        Self { closes: true, ..self }
    }
}

/// A service that does what it is told, and remembers what it got.
#[derive(Clone)]
struct Told {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Told {
    /// `act` is asked what to do with each request; it is given the head.
    async fn start(act: impl Fn(&str) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let told = Self { address: listener.local_addr().unwrap(), heard: Arc::default(), connections: Arc::default() };
        let (serving, act) = (told.clone(), Arc::new(act));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::Relaxed);
                stream.set_nodelay(true).unwrap();
                let (told, act) = (serving.clone(), Arc::clone(&act));
                tokio::spawn(async move { told.serve(stream, &*act).await });
            }
        });
        told
    }

    async fn serve(&self, mut stream: TcpStream, act: &(impl Fn(&str) -> Act + Send + Sync)) {
        let mut text = String::new();
        loop {
            while !text.contains("\r\n\r\n") {
                if !more(&mut stream, &mut text).await {
                    return;
                }
            }
            let head = text.split_inclusive("\r\n\r\n").next().unwrap().to_owned();
            let act = act(&head);
            if !act.is_early {
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
                let length: usize = length.map_or(0, |length| length.parse().unwrap());
                let is_chunked = head.contains("transfer-encoding: chunked");
                while text.len() < head.len() + length || (is_chunked && !text.ends_with("0\r\n\r\n")) {
                    if !more(&mut stream, &mut text).await {
                        return;
                    }
                }
            }
            self.heard.lock().unwrap().push(std::mem::take(&mut text));
            for piece in &act.pieces {
                if stream.write_all(piece).await.is_err() {
                    return;
                }
            }
            if act.closes {
                return;
            }
        }
    }

    fn heard(&self) -> String {
        self.heard.lock().unwrap().last().cloned().unwrap_or_default()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn more(stream: &mut TcpStream, text: &mut String) -> bool {
    let mut bytes = [0; 4096];
    let length = stream.read(&mut bytes).await.unwrap_or(0);
    text.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
    length > 0
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The lines of a head that are the same every time.
fn lines(head: &str) -> Vec<&str> {
    let varying = ["traceparent", "x-request-id", "x-request-deadline-ms"];
    let head = head.split("\r\n\r\n").next().unwrap();
    for name in varying {
        assert_eq!(head.matches(&format!("\r\n{name}: ")).count(), 1, "{head}");
    }
    let is_varying = |line: &&str| varying.iter().any(|name| line.starts_with(name));
    let mut lines: Vec<_> = head.split("\r\n").filter(|line| !is_varying(line)).collect();
    lines[1..].sort_unstable();
    lines
}

#[tokio::test]
async fn a_service_gets_what_the_client_sent_and_what_the_gate_says() {
    let told = Told::start(|_| Act::says(OK)).await;
    let site = Site::start(&catalog(&[told.address], "")).await;
    let common = [
        "host: shop.example",
        "x-forwarded-for: 203.0.113.9",
        "x-forwarded-host: shop.example",
        "x-forwarded-proto: http",
        "x-real-ip: 203.0.113.9",
    ];
    let expected = |line: &'static str, more: &[&'static str]| {
        let mut lines = [&common[..], more].concat();
        lines.sort_unstable();
        [vec![line], lines].concat()
    };
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        edge.get("/a?b=%20c").await;
        let heard = told.heard();
        assert_eq!(lines(&heard), expected("GET /a?b=%20c HTTP/1.1", &[]), "{protocol:?}");
        assert!(heard.ends_with("\r\n\r\n"), "{heard}");

        let spoofed = request("GET", "/a")
            .header("x-real-ip", "6.6.6.6")
            .header("x-forwarded-for", "6.6.6.6")
            .header("x-request-deadline-ms", "1")
            .header("x-gatehouse-app", "me")
            .header("traceparent", "00-1")
            .header("x-own", "kept")
            .header("x-own", "twice")
            .header("cookie", "a=1")
            .header("cookie", "b=2");
        edge.exchange(spoofed.body(empty()).unwrap()).await;
        // HTTP/2 may split cookies, HTTP/1 may not.
        let cookies: &[_] = match protocol {
            Protocol::H2c => &["cookie: a=1; b=2", "x-own: kept", "x-own: twice"],
            Protocol::Http1 => &["cookie: a=1", "cookie: b=2", "x-own: kept", "x-own: twice"],
        };
        assert_eq!(lines(&told.heard()), expected("GET /a HTTP/1.1", cookies), "{protocol:?}");

        edge.exchange(request("POST", "/a").body(full("abc")).unwrap()).await;
        let heard = told.heard();
        assert_eq!(lines(&heard), expected("POST /a HTTP/1.1", &["content-length: 3"]), "{protocol:?}");
        assert!(heard.ends_with("\r\n\r\nabc"), "{heard}");

        edge.exchange(request("POST", "/a").body(empty()).unwrap()).await;
        assert_eq!(lines(&told.heard()), expected("POST /a HTTP/1.1", &["content-length: 0"]), "{protocol:?}");

        let (sender, body) = by_hand();
        let call = request("PUT", "/a").body(body).unwrap();
        let sending = async {
            sender.send("first".into()).await.unwrap();
            sender.send("second piece".into()).await.unwrap();
            drop(sender);
        };
        tokio::join!(edge.exchange(call), sending);
        let heard = told.heard();
        assert_eq!(lines(&heard), expected("PUT /a HTTP/1.1", &["transfer-encoding: chunked"]), "{protocol:?}");
        assert!(heard.ends_with("\r\n\r\n5\r\nfirst\r\nc\r\nsecond piece\r\n0\r\n\r\n"), "{heard}");
    }
    assert_eq!(told.connections(), 1);
}

#[tokio::test]
async fn an_answer_is_read_as_it_is_framed_and_nothing_behind_it() {
    // What the service says, what the client gets, and whether the connection goes on.
    let table: [(&str, u16, &str, bool); 14] = [
        (OK, 200, "ok", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n", 200, "ok", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n", 200, "ok", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, "", true),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200\r\ncontent-length: 0\r\n\r\n",
            200,
            "",
            true,
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok", 200, "ok", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, "ok", false),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            200,
            "ok",
            false,
        ),
        // A second answer that nobody asked for is nobody's answer.
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged",
            200,
            "ok",
            false,
        ),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok", 204, "", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", 502, "service_protocol_error", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok", 502, "service_protocol_error", false),
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", 502, "service_protocol_error", false),
        ("ICY 200 OK\r\n\r\n", 502, "service_protocol_error", false),
    ];
    let told = Told::start(move |head| {
        let number: usize = head.split('/').nth(2).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap();
        let text = table[number % 100].0;
        match number / 100 {
            0 => Act::says(text),
            // Byte by byte.
            _ => Act { pieces: text.bytes().map(|byte| vec![byte]).collect(), ..Act::default() },
        }
    });
    let told = told.await;
    let site = Site::start(&catalog(&[told.address], "retry_percent = 0\nretry_min_per_second = 0")).await;
    for (protocol, first) in [(BOTH[0], 0), (BOTH[1], 0), (BOTH[1], 100)] {
        let mut edge = Edge::connect(site.address, protocol).await;
        for (number, (text, status, body, goes_on)) in table.iter().enumerate() {
            assert_eq!(edge.get("/x/0").await.text(), "ok");
            let before = told.connections();
            let answer = edge.get(&format!("/x/{}", first + number)).await;
            let said = if *status == 502 { answer.code() } else { answer.text() };
            assert_eq!((answer.status, said.as_str()), (*status, *body), "{protocol:?} {text:?}");
            assert!(!answer.headers.contains_key("transfer-encoding") || protocol == Protocol::Http1);
            let next = edge.get("/x/0").await;
            assert_eq!((next.status, next.text().as_str()), (200, "ok"), "after {text:?}");
            assert_eq!(told.connections() == before, *goes_on, "{protocol:?} {text:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_without_a_length_ends_with_its_connection() {
    let long = "x".repeat(100_000);
    let text = format!("HTTP/1.1 200 OK\r\n\r\n{long}");
    let told = Told::start(move |_| Act::says(&text).and_closes()).await;
    let site = Site::start(&catalog(&[told.address], "")).await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        assert_eq!(edge.get("/a").await.body.len(), long.len(), "{protocol:?}");
    }
}

#[tokio::test]
async fn long_bodies_pass_in_both_directions_at_once() {
    let body = "0123456789abcdef".repeat(64 * 1024);
    let length = body.len();
    let chunks: String = body
        .as_bytes()
        .chunks(70_000)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap()))
        .collect();
    let answers = [
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"),
    ];
    let told = Told::start(move |head| Act::says(&answers[usize::from(head.contains("/1 "))])).await;
    let site = Site::start(&catalog(&[told.address], "")).await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        for path in ["/0", "/1"] {
            let answer = edge.exchange(request("POST", path).body(full(body.clone())).unwrap()).await;
            assert!(answer.text() == body, "{protocol:?} {path}: {} bytes", answer.body.len());
            assert!(told.heard().ends_with(&body), "{protocol:?} {path}");
            assert_eq!(told.heard().len() - told.heard().find("\r\n\r\n").unwrap(), length + 4);
        }
    }
    assert_eq!(told.connections(), 1);
}

#[tokio::test]
async fn an_answer_before_the_body_arrives_although_the_service_reads_no_more() {
    let text = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 6\r\n\r\nenough";
    let told = Told::start(move |_| Act { is_early: true, ..Act::says(text).and_closes() }).await;
    let site = Site::start(&catalog(&[told.address], "")).await;
    for protocol in BOTH {
        for _ in 0..20 {
            let mut edge = Edge::connect(site.address, protocol).await;
            let answer = edge.exchange(request("POST", "/a").body(full(vec![b'x'; 300_000])).unwrap()).await;
            assert_eq!((answer.status, answer.text().as_str()), (413, "enough"), "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn a_request_that_grows_or_ends_short_is_never_whole_for_the_service() {
    let told = Told::start(|_| Act::says(OK)).await;
    let site = Site::start(&catalog(&[told.address], "")).await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let (sender, body) = by_hand();
        let call = request("POST", "/a").header("content-length", "10").body(body).unwrap();
        let sending = async {
            sender.send(Bytes::from_static(b"12345")).await.unwrap();
            drop(sender);
        };
        let (answer, ()) = tokio::join!(edge.send(call), sending);
        if let Ok(answer) = answer {
            assert_ne!(read(answer).await.map(|answer| answer.status).unwrap_or_default(), 200, "{protocol:?}");
        }
    }
    assert!(told.heard.lock().unwrap().is_empty(), "the service waited for ten bytes");
}

#[tokio::test]
async fn a_connection_on_which_the_service_spoke_unasked_is_not_used() {
    let told = Told::start(|head| {
        if !head.contains("/unasked") {
            return Act::says(OK);
        }
        // The second answer comes on its own, after the first one was read.
        Act { pieces: vec![OK.into(), b"HTTP/1.1 408 Request Timeout\r\n\r\n".to_vec()], ..Act::default() }
    });
    let told = told.await;
    let site = Site::start(&catalog(&[told.address], "")).await;
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    for round in 1..5 {
        assert_eq!(edge.get("/unasked").await.text(), "ok");
        let service = site.service("sample");
        let sweep = || service.members.now().endpoints[0].sweep(gatehouse_shared::clock::now());
        until("no connection", || {
            sweep();
            (service.counters.open() == 0).then_some(())
        })
        .await;
        assert_eq!(edge.get("/a").await.text(), "ok");
        assert_eq!(told.connections(), 1 + round, "the next call has another one");
    }
}
