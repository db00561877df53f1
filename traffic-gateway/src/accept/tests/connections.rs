use super::harness::{Edge, code, header, load, status, until};
use tokio::io::AsyncWriteExt;

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

fn listener(from: &str) -> String {
    format!("proxy_protocol = {{ from = [\"{from}\"] }}\n[accept]\nproxy_protocol_timeout = \"300ms\"\n")
}

#[tokio::test]
async fn believes_proxy_protocol_headers_from_configured_sources() {
    let edge = Edge::start(&listener("127.0.0.0/8")).await;
    let answer = edge.answer(format!("PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n{GET}")).await;
    assert_eq!((header(&answer, "x-source"), header(&answer, "x-peer")), ("192.0.2.7:4711", "127.0.0.1"));
    let mut binary =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x10\xc0\x00\x02\x08\xc6\x33\x64\x01\x00\x50\x01\xbb\xee\x00\x01\x07"
            .to_vec();
    binary.extend_from_slice(GET.as_bytes());
    assert_eq!(header(&edge.answer(&binary).await, "x-source"), "192.0.2.8:80");
    let local = [b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00".as_slice(), GET.as_bytes()].concat();
    assert!(header(&edge.answer(&local).await, "x-source").starts_with("127.0.0.1:"));
    let unknown = format!("PROXY UNKNOWN\r\n{GET}");
    assert!(header(&edge.answer(unknown).await, "x-source").starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn a_proxy_protocol_header_may_come_in_pieces() {
    let edge = Edge::start(&listener("127.0.0.1")).await;
    let mut client = edge.connect().await;
    for byte in format!("PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n{GET}").bytes() {
        client.send([byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(header(&client.rest().await, "x-source"), "[2001:db8::1]:1");
}

#[tokio::test]
async fn closes_on_garbage_silence_and_strangers_where_the_proxy_protocol_is_required() {
    let edge = Edge::start(&listener("127.0.0.1")).await;
    let mut garbage = edge.connect().await;
    garbage.send("G").await;
    assert_eq!(garbage.rest().await, "");
    assert_eq!(edge.connect().await.rest().await, "");
    let mut slow = edge.connect().await;
    slow.send("PROXY TCP4 1.2.3.4").await;
    assert_eq!(slow.rest().await, "");
    assert_eq!(edge.refused(), ["proxy_protocol_invalid"; 3]);
    let edge = Edge::start(&listener("10.0.0.0/8")).await;
    assert_eq!(edge.connect().await.rest().await, "");
    assert_eq!(edge.refused(), ["proxy_protocol_invalid"]);
}

#[tokio::test]
async fn caps_the_connections_of_one_client() {
    let edge = Edge::start("[accept]\nconnections_per_client = 2\n").await;
    let first = edge.connect().await;
    let mut second = edge.connect().await;
    until("both are counted", || edge.connections.open() == 2).await;
    assert_eq!(edge.connect().await.rest().await, "");
    assert_eq!(edge.refused(), ["too_many_connections_of_client"]);
    drop(first);
    until("the first is released", || edge.connections.open() == 1).await;
    second.send(GET).await;
    assert_eq!(status(&second.rest().await), "200");
    until("all are released", || edge.connections.open() == 0).await;
}

#[tokio::test]
async fn one_client_may_have_an_eighth_of_all_connections_unless_told_otherwise_and_trusted_proxies_any_number() {
    let share = |rest: &str| load(tempfile::tempdir().unwrap().path(), rest, None).accept.connections_per_client;
    let all = crate::server::limits::connections(None).unwrap();
    assert_eq!(share("") as usize, (all / 8).max(64));
    assert_eq!(share("[accept]\nconnections_per_client = 0\n"), 0);
    let edge =
        Edge::start("[accept]\nconnections_per_client = 1\n[client]\ntrusted_proxies = [\"127.0.0.0/8\"]\n").await;
    let connections = [edge.connect().await, edge.connect().await, edge.connect().await];
    until("all are open", || edge.connections.open() == 3).await;
    for mut connection in connections {
        connection.send(GET).await;
        assert_eq!(status(&connection.rest().await), "200");
    }
}

#[tokio::test]
async fn parked_connections_close_at_shutdown_and_active_ones_finish() {
    let edge = Edge::start("").await;
    let mut fresh = edge.connect().await;
    let mut parked = edge.connect().await;
    parked.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(status(&parked.answer().await), "200");
    let mut active = edge.connect().await;
    active.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n").await;
    until("the request is at the service", || edge.upstream.received().contains("/held")).await;
    edge.shut_down();
    assert_eq!(parked.rest().await, "");
    assert_eq!(fresh.rest().await, "");
    edge.upstream.release();
    let answer = active.rest().await;
    assert_eq!(status(&answer), "200", "{answer}");
    until("all are released", || edge.connections.open() == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_a_half_sent_head_is_forgotten() {
    let edge = Edge::start("").await;
    let mut client = edge.connect().await;
    client.send("GET / HT").await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.rest().await, "");
    until("it is released", || edge.connections.open() == 0).await;
}

#[tokio::test]
async fn refusals_are_reported_with_their_code() {
    let edge = Edge::start("").await;
    assert_eq!(code(&edge.answer("GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n").await), "target_fragment");
    assert_eq!(code(&edge.answer("GET /%252e HTTP/1.1\r\nHost: x\r\n\r\n").await), "path_double_encoded");
    assert_eq!(edge.refused(), ["target_fragment", "path_double_encoded"]);
}
