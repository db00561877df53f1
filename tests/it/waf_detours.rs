//! Attacks that come a special way: their first node dies, they wait to be told to go on, they ask for another protocol.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use gatehouse_tests::client::frames::{SETTINGS, frame};
use gatehouse_tests::client::{Answer, Raw, Target, streamed};
use gatehouse_tests::recorder::{HandedOn, Recorder};
use gatehouse_tests::sample::{LEDGER_ID, bodies};
use gatehouse_tests::site::{Handoff, Plan, Site};
use gatehouse_tests::until::{SOON, until};
use http::{Method, header};
use ring::digest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::Passed;

/// What is looked for occurs nowhere else.
const RULES: &str = r#"
SecRule ARGS "@contains evil-payload" "id:10001,phase:2,deny,status:403"
SecRule REQUEST_URI "@contains evil-path" "id:10002,phase:1,deny,status:403"
"#;

/// An attack in two parts, of which neither is one alone.
const ATTACK: [&str; 2] = ["marker-of-body&a=evil-", "payload&b=c"];

/// 100 KiB, more than what is collected before a request is handed on.
const LONG: usize = 100 * 1024;

const FORM: &str = "application/x-www-form-urlencoded";

fn plan() -> Plan {
    Site::plan()
        .edge("[[process.listener]]\naddress = \"127.0.0.1:0\"\nh2c = true\n[waf]\nrules = [\"rules.conf\"]\n")
        .edge_file("rules.conf", RULES)
}

/// A business node that takes the head of a request and dies of it, each time.
struct DyingNode {
    address: SocketAddr,
    deaths: Arc<AtomicUsize>,
}

impl DyingNode {
    async fn start(handoff: Handoff) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let deaths: Arc<AtomicUsize> = Arc::default();
        let counted = Arc::clone(&deaths);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    if take_head(stream, handoff).await.is_some() {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Ok(Self { address, deaths })
    }
}

/// Reads until there is a head; the connection ends with the return.
async fn take_head(mut stream: TcpStream, handoff: Handoff) -> Option<()> {
    if handoff == Handoff::H2c {
        stream.write_all(&frame(SETTINGS, 0, 0, b"")).await.ok()?;
    }
    let mut read = Vec::new();
    while HandedOn::of_connection(&read).heads == 0 {
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
    Some(())
}

/// An edge with two nodes: it tries `first`, which dies, before `second`.
struct Fleet {
    site: Site,
    dying: DyingNode,
    first: Recorder,
    second: Recorder,
}

impl Fleet {
    async fn start(handoff: Handoff) -> anyhow::Result<Self> {
        let dying = DyingNode::start(handoff).await?;
        let (first, second) = (Recorder::start().await?, Recorder::start().await?);
        first.relay_to(dying.address);
        // The own zone goes first; nothing but a failed attempt may turn requests away from it.
        let cluster = format!(
            "[process]\nzone = \"a\"\n[[cluster]]\nname = \"business\"\nprotocol = \"{}\"\n\
             nodes = [{{ address = \"{}\", zone = \"a\" }}, {{ address = \"{}\", zone = \"b\" }}]\n\
             ejection = {{ max_percent = 0 }}\nprobe = {{ enabled = false }}\n",
            handoff.name(),
            first.address,
            second.address
        );
        let site = plan().handoff(handoff).edge(cluster).start().await?;
        second.relay_to(site.business[0].address()?);
        Ok(Self { site, dying, first, second })
    }

    fn deaths(&self) -> usize {
        self.dying.deaths.load(Ordering::Relaxed)
    }

    /// Sends `pieces` of a body, the first before the death of the first node, the others once the second has the request.
    async fn send_around_a_death(
        &self,
        target: &Target,
        method: Method,
        id: &str,
        length: Option<usize>,
        pieces: &[Bytes],
    ) -> anyhow::Result<Answer> {
        let (sender, body) = streamed();
        let mut request = target.request(method, "/echo")?.header(header::CONTENT_TYPE, FORM).header(LEDGER_ID, id);
        if let Some(length) = length {
            request = request.header(header::CONTENT_LENGTH, length);
        }
        let (deaths, seen) = (self.deaths(), self.second.handed_on().heads);
        let exchange = target.exchange(request.body(body)?);
        let feed = async {
            let mut pieces = pieces.iter().cloned();
            if let Some(piece) = pieces.next() {
                sender.send(piece).await?;
            }
            until("the second node to get the request", SOON, async || {
                (self.deaths() > deaths && self.second.handed_on().heads > seen).then_some(())
            })
            .await?;
            for piece in pieces {
                // It fails once the edge has refused it.
                drop(sender.send(piece).await);
            }
            drop(sender);
            anyhow::Ok(())
        };
        let (answer, fed) = tokio::join!(exchange, feed);
        fed?;
        answer
    }
}

#[tokio::test]
async fn an_attack_whose_first_node_dies_reaches_neither_node() -> Passed {
    let pieces = ATTACK.map(|piece| Bytes::from_static(piece.as_bytes()));
    for handoff in Handoff::BOTH {
        let fleet = Fleet::start(handoff).await?;
        for target in [fleet.site.target(), fleet.site.target().http2()] {
            let length = ATTACK.concat().len();
            let refused = fleet.send_around_a_death(&target, Method::PUT, "attack", None, &pieces).await?;
            assert_eq!((refused.status.as_u16(), refused.code().as_str()), (403, "waf_denied"), "{handoff:?}");
            let id = refused.header("x-request-id").to_owned();
            let line = fleet.site.edges[0].access_line("the refusal", |line| line["request_id"] == id.as_str()).await?;
            assert_eq!((&line["attempts"], &line["bytes_in"]), (&2.into(), &length.into()), "{line}");
            // One whose length is known is refused before any node is asked.
            let deaths = fleet.deaths();
            let request = target.request(Method::PUT, "/echo")?.header(header::CONTENT_TYPE, FORM);
            let whole = gatehouse_tests::client::full(ATTACK.concat());
            assert_eq!(target.exchange(request.body(whole)?).await?.code(), "waf_denied", "{handoff:?}");
            assert_eq!(fleet.deaths(), deaths, "{handoff:?}: it was handed on");
        }
        for recorder in [&fleet.first, &fleet.second] {
            let handed_on = recorder.handed_on();
            assert_eq!(handed_on, HandedOn { heads: 2, body_bytes: 0 }, "{handoff:?}");
            assert!(!recorder.has("marker-of-body"), "{handoff:?}: a byte of a body got through");
        }
        assert_eq!(fleet.site.services[0].stats().await?.requests, 0, "{handoff:?}: the service saw a request");
    }
    Ok(())
}

#[tokio::test]
async fn a_body_that_waits_while_its_first_node_dies_arrives_whole_once() -> Passed {
    let body = Bytes::from([b"a=".as_slice(), &b"0123456789".repeat(LONG / 10)].concat()).slice(..LONG);
    let sha256 = bodies::hex(digest::digest(&digest::SHA256, &body).as_ref());
    let pieces: Vec<Bytes> = body.chunks(10_000).map(Bytes::copy_from_slice).collect();
    for handoff in Handoff::BOTH {
        let fleet = Fleet::start(handoff).await?;
        let mut ids = Vec::new();
        for target in [fleet.site.target(), fleet.site.target().http2()] {
            for length in [None, Some(LONG)] {
                let id = format!("long-{}", ids.len());
                let answer = fleet.send_around_a_death(&target, Method::PUT, &id, length, &pieces).await?;
                assert_eq!(answer.status, 200, "{handoff:?}, {length:?}: {}", answer.text());
                let seen = answer.json()?["body"].clone();
                assert_eq!((&seen["length"], &seen["sha256"]), (&LONG.into(), &sha256.as_str().into()), "{handoff:?}");
                ids.push(id);
            }
        }
        assert_eq!(fleet.first.handed_on(), HandedOn { heads: ids.len(), body_bytes: 0 }, "{handoff:?}");
        let expected = HandedOn { heads: ids.len(), body_bytes: ids.len() * LONG };
        assert_eq!(fleet.second.handed_on(), expected, "{handoff:?}");
        let executions = fleet.site.executions().await?;
        assert_eq!(executions.len(), ids.len(), "{executions:?}");
        assert!(ids.iter().all(|id| executions.get(id) == Some(&1)), "{handoff:?}: {executions:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_attack_that_expects_100_continue_reaches_nobody() -> Passed {
    let long = format!("x={}&{}", "y".repeat(70_000), ATTACK.concat());
    for handoff in Handoff::BOTH {
        let (site, recorder) = Recorder::between_tiers(plan(), handoff).await?;
        for (framing, body) in [
            (format!("Content-Length: {}", ATTACK.concat().len()), ATTACK.concat()),
            (format!("Content-Length: {}", long.len()), long.clone()),
            ("Transfer-Encoding: chunked".to_owned(), ATTACK.map(chunk).concat() + "0\r\n\r\n"),
        ] {
            let mut raw = Raw::open(&site.target()).await?;
            raw.write(format!(
                "PUT /echo HTTP/1.1\r\nHost: shop.test\r\nContent-Type: {FORM}\r\n{framing}\r\nExpect: 100-continue\r\n\r\n"
            ))
            .await?;
            assert_eq!(raw.answer().await?.status, 100, "{handoff:?}, {framing}");
            let refused = raw.exchange(body).await?;
            assert_eq!((refused.status, refused.code().as_str()), (403, "waf_denied"), "{handoff:?}, {framing}");
        }
        assert_eq!(recorder.handed_on().body_bytes, 0, "{handoff:?}");
        assert!(!recorder.has("marker-of-body"), "{handoff:?}: a byte of a body got through");
        assert_eq!(site.services[0].stats().await?.requests, 0, "{handoff:?}: the service saw a request");
        // An attack in the head is not asked to go on. In a site of its own, whose recorder has nothing else to see.
        let (site, recorder) = Recorder::between_tiers(plan(), handoff).await?;
        let mut raw = Raw::open(&site.target()).await?;
        let head =
            "POST /echo/evil-path HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
        raw.write(head).await?;
        let refused = raw.answer().await?;
        assert_eq!((refused.status, refused.code().as_str()), (403, "waf_denied"), "{handoff:?}");
        assert_eq!(recorder.handed_on().heads, 0, "{handoff:?}: it was handed on");
        assert_eq!(site.services[0].stats().await?.requests, 0, "{handoff:?}: the service saw a request");
    }
    Ok(())
}

/// A chunk of a body.
fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

#[tokio::test]
async fn an_attack_behind_upgrade_reaches_nobody() -> Passed {
    let body = ATTACK.concat();
    for handoff in Handoff::BOTH {
        let (site, recorder) = Recorder::between_tiers(plan(), handoff).await?;
        let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
        // A WebSocket is not carried, whatever is said in it; an offer of h2c is not taken up, and the request judged.
        for (upgrade, code, code_with_body) in
            [(websocket, "upgrade_unsupported", "upgrade_with_body"), (h2c, "waf_denied", "waf_denied")]
        {
            let length = format!("Content-Type: {FORM}\r\nContent-Length: {}\r\n", body.len());
            let chunked = format!("Content-Type: {FORM}\r\nTransfer-Encoding: chunked\r\n");
            for (request, code) in [
                (format!("GET /echo?{body} HTTP/1.1\r\nHost: shop.test\r\n{upgrade}\r\n"), code),
                (format!("POST /echo HTTP/1.1\r\nHost: shop.test\r\n{upgrade}{length}\r\n{body}"), code_with_body),
                (
                    format!(
                        "POST /echo HTTP/1.1\r\nHost: shop.test\r\n{upgrade}{chunked}\r\n{}0\r\n\r\n",
                        chunk(&body)
                    ),
                    code_with_body,
                ),
            ] {
                let mut raw = Raw::open(&site.target()).await?;
                let refused = raw.exchange(&request).await?;
                assert_eq!(refused.code(), code, "{handoff:?}: {request}");
                // Nothing that follows is taken for part of another protocol.
                drop(raw.write(&body).await);
                drop(raw.finish().await);
                let (rest, _) = raw.rest().await?;
                assert!(!String::from_utf8_lossy(&rest).contains("200"), "{handoff:?}: {request}");
            }
        }
        assert_eq!(recorder.handed_on().body_bytes, 0, "{handoff:?}");
        assert!(!recorder.has("marker-of-body"), "{handoff:?}: a byte of an attack got through");
        assert_eq!(site.services[0].stats().await?.requests, 0, "{handoff:?}: the service saw a request");
    }
    Ok(())
}
