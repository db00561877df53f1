use super::harness::{Edge, code, header, status};
use gatehouse_shared::clock;
use std::time::Duration;

#[tokio::test]
async fn relays_a_request_with_what_was_found_out() {
    let edge = Edge::start("").await;
    let mut client = edge.connect().await;
    client.send("GET /a/../b//c?x=1 HTTP/1.1\r\nHost: Example.COM:80\r\n\r\n").await;
    let answer = client.answer().await;
    assert!(answer.ends_with("GET /a/../b//c?x=1 0"), "{answer}");
    assert_eq!((header(&answer, "x-path"), header(&answer, "x-host")), ("/b/c", "example.com"));
    assert_eq!((header(&answer, "x-index"), header(&answer, "x-generation")), ("1", "1"));
    client.send("GET /2 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(header(&client.answer().await, "x-index"), "2");
}

#[tokio::test]
async fn a_dripping_head_gets_408_at_the_deadline() {
    let edge = Edge::start("[accept]\nhead_timeout = \"300ms\"\n").await;
    let begun = clock::now();
    let mut client = edge.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: x\r\nX-").await;
    let dripping = async {
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        while tokio::io::AsyncWriteExt::write_all(&mut client.stream, b"a").await.is_ok() {
            let mut byte = [0; 1];
            tokio::select! {
                _ = pause.tick() => {}
                read = tokio::io::AsyncReadExt::read(&mut client.stream, &mut byte) => { read.unwrap(); break; }
            }
        }
    };
    dripping.await;
    let took = clock::now() - begun;
    assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&took), "{took:?}");
    let answer = client.rest().await;
    assert!(answer.starts_with("TTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert_eq!(code(&answer), "head_timeout");
    assert_eq!(edge.refused(), ["head_timeout"]);
}

#[tokio::test]
async fn an_oversized_head_gets_its_answer_and_the_client_reads_it() {
    let edge = Edge::start("").await;
    for _ in 0..30 {
        let answer = edge.answer(format!("GET / HTTP/1.1\r\nHost: x\r\nX-Big: {}\r\n\r\n", "a".repeat(40_000))).await;
        assert_eq!((status(&answer), code(&answer)), ("431", "head_too_large"));
        assert_eq!(header(&answer, "connection"), "close");
        assert_eq!(header(&answer, "x-request-id").len(), 32);
    }
    let answer = edge.answer(format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(40_000))).await;
    assert_eq!((status(&answer), code(&answer)), ("414", "target_too_long"));
    let answer = edge.answer(format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(9_000))).await;
    assert_eq!((status(&answer), code(&answer)), ("414", "target_too_long"));
}

#[tokio::test]
async fn a_hundred_fields_pass_and_one_more_does_not() {
    let edge = Edge::start("").await;
    let request = |count: usize| {
        format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n", "X: y\r\n".repeat(count - 2))
    };
    assert_eq!(status(&edge.answer(request(100)).await), "200");
    let answer = edge.answer(request(101)).await;
    assert_eq!((status(&answer), code(&answer)), ("431", "too_many_fields"));
    assert_eq!(edge.upstream.received().matches("GET").count(), 1);
}

#[tokio::test]
async fn leading_empty_lines_open_no_way_around_the_bounds() {
    let edge = Edge::start("").await;
    for start in ["\r\n\r\n", "\r\n", "\n", "\r"] {
        let answer =
            edge.answer(format!("{start}GET / HTTP/1.1\r\nHost: x\r\nX-Big: {}\r\n\r\n", "a".repeat(100_000))).await;
        assert_eq!((status(&answer), code(&answer)), ("400", "leading_empty_lines"), "{start:?}");
    }
    assert_eq!(edge.upstream.received(), "");
}

#[tokio::test]
async fn what_is_no_http_is_refused_at_its_first_byte() {
    let edge = Edge::start("").await;
    for bytes in [b"\x16\x03\x01\x02\x00".as_slice(), b"\0", b" GET / HTTP/1.1\r\n", b"{}"] {
        let mut client = edge.connect().await;
        client.send(bytes).await;
        assert_eq!(code(&client.rest().await), "request_line_invalid", "{bytes:?}");
    }
    assert_eq!(code(&edge.answer("GET / HTTP/1.1\nHost: x\n\n").await), "bare_line_feed");
    assert_eq!(code(&edge.answer("GET / HTTP/2.0\r\nHost: x\r\n\r\n").await), "version_unsupported");
    assert_eq!(status(&edge.answer("GET / HTTP/3.0\r\nHost: x\r\n\r\n").await), "505");
    assert_eq!(status(&edge.answer("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await), "505");
}

#[tokio::test]
async fn a_method_outside_the_set_gets_405_with_the_set() {
    let edge = Edge::start("[accept]\nmethods = [\"GET\", \"HEAD\"]\n").await;
    let answer = edge.answer("POST / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((status(&answer), header(&answer, "allow")), ("405", "GET, HEAD"));
    assert_eq!(code(&edge.answer("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n").await), "connect_unsupported");
}

#[tokio::test]
async fn http_1_0_works_without_host_and_closes() {
    let edge = Edge::start("h2c = true\n").await;
    let request = "GET / HTTP/1.0\r\n\r\n";
    assert_eq!(request.len(), 18);
    let answer = edge.answer(request).await;
    assert_eq!((status(&answer), header(&answer, "connection")), ("200", "close"));
    assert_eq!(header(&answer, "x-host"), "127.0.0.1");
    assert!(edge.upstream.received().to_ascii_lowercase().contains(&format!("host: {}\r\n", edge.address)));
    let answer = edge.answer("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!((status(&answer), code(&answer)), ("400", "host_missing"));
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_an_answer() {
    let edge = Edge::start("[accept]\nidle_timeout = \"200ms\"\n").await;
    assert_eq!(edge.connect().await.rest().await, "");
    let mut client = edge.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(status(&client.answer().await), "200");
    assert_eq!(client.rest().await, "");
    assert_eq!(edge.refused(), [""; 0]);
}

#[tokio::test]
async fn a_connection_closes_in_good_order_after_its_requests() {
    let edge = Edge::start("[accept]\nrequests_per_connection = 2\n").await;
    let mut client = edge.connect().await;
    let request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    client.send(request).await;
    assert_eq!(header(&client.answer().await, "connection"), "keep-alive");
    client.send(request).await;
    let last = client.rest().await;
    assert_eq!((status(&last), header(&last, "connection")), ("200", "close"));
}

#[tokio::test]
async fn a_request_sees_the_generation_in_force_when_its_head_was_there() {
    let edge = Edge::start("").await;
    let mut client = edge.connect().await;
    let request = "GET /a%2Fb HTTP/1.1\r\nHost: x\r\n\r\n";
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(header(&client.answer().await, "x-generation"), "1");
    edge.reload("[accept]\nencoded_slash = \"keep\"\n");
    client.send(request).await;
    let answer = client.answer().await;
    assert_eq!((header(&answer, "x-generation"), header(&answer, "x-path")), ("2", "/a%2Fb"));
}
