use super::harness::{Edge, code, status, until};

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let edge = Edge::start("").await;
    let mut client = edge.connect().await;
    let mut requests = String::new();
    for index in 0..20 {
        match index % 3 {
            0 => requests += &format!("GET /{index} HTTP/1.1\r\nHost: x\r\n\r\n"),
            1 => requests += &format!("POST /{index} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"),
            _ => {
                requests += &format!(
                    "POST /{index} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;e=1\r\nabc\r\n0\r\nx-t: 1\r\n\r\n"
                )
            }
        }
    }
    client.send(&requests).await;
    for index in 0..20 {
        let expected = match index % 3 {
            0 => format!("GET /{index} 0"),
            1 => format!("POST /{index} 5"),
            _ => format!("POST /{index} 3"),
        };
        let answer = client.answer().await;
        assert!(answer.ends_with(&expected), "{expected}: {answer}");
    }
    assert!(!edge.upstream.received().contains("x-t"), "trailers stay here");
}

#[tokio::test]
async fn an_early_second_request_does_not_harm_the_first() {
    let edge = Edge::start("").await;
    let mut client = edge.connect().await;
    client.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n").await;
    until("the first request is at the service", || edge.upstream.received().contains("/held")).await;
    client.send("GET /second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    edge.upstream.release();
    assert!(client.answer().await.ends_with("GET /held 0"));
    assert!(client.rest().await.ends_with("GET /second 0"));
}

#[tokio::test]
async fn a_client_that_closed_its_side_still_gets_its_pipelined_answers() {
    let edge = Edge::start("").await;
    let mut client = edge.connect().await;
    client.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(client.answer().await.ends_with("GET /1 0"));
    assert!(client.answer().await.ends_with("GET /2 0"));
}

#[tokio::test]
async fn a_bare_line_feed_in_a_chunk_extension_is_refused_before_anything_goes_on() {
    let edge = Edge::start("").await;
    let head = "POST /smuggle HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = edge.answer(format!("{head}5;a\nb\r\nhello\r\n0\r\n\r\n")).await;
    assert_eq!((status(&answer), code(&answer)), ("400", "chunk_extension_invalid"));
    assert_eq!(edge.upstream.received(), "");

    // The head has gone on already: the client is told all the same, and nothing of the bad chunk follows.
    let mut client = edge.connect().await;
    client.send(head).await;
    client.send("3\r\nabc\r\n").await;
    until("the good chunk is at the service", || edge.upstream.received().contains("abc")).await;
    client.send("6;a\nb\r\nSECRET\r\n0\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let answer = client.rest().await;
    assert_eq!(status(&answer), "400", "{answer}");
    assert!(!edge.upstream.received().contains("SECRET") && !edge.upstream.received().contains("/next"));
}

#[tokio::test]
async fn framing_that_two_parsers_could_read_differently_is_refused() {
    let edge = Edge::start("").await;
    for (fields, reason) in [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", "framing_conflict"),
        ("Transfer-Encoding: gzip, chunked", "transfer_encoding_invalid"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "transfer_encoding_repeated"),
        ("Transfer-Encoding: \"chunked\"", "transfer_encoding_invalid"),
        ("Transfer-Encoding: xchunked", "transfer_encoding_invalid"),
        ("Transfer-Encoding : chunked", "header_space_before_colon"),
        ("Transfer-Encoding:\x0bchunked", "control_byte"),
        ("Transfer_Encoding: chunked", "header_name_underscore"),
        ("Content-Length: 3\r\nContent-Length: 3", "content_length_repeated"),
        ("Content-Length: 3, 3", "content_length_invalid"),
        ("Content-Length: +3", "content_length_invalid"),
        ("Content-Length: 03", "content_length_invalid"),
        ("Content-Length: 99999999999", "body_too_large"),
        ("Connection: content-length\r\nContent-Length: 3", "connection_option_invalid"),
        ("Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 3", "upgrade_with_body"),
    ] {
        let answer = edge.answer(format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\nabc\r\n0\r\n\r\n")).await;
        assert_eq!(code(&answer), reason, "{fields:?}");
    }
    assert_eq!(
        code(&edge.answer("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await),
        "transfer_encoding_http10"
    );
    assert_eq!(edge.upstream.received(), "");
}

#[tokio::test]
async fn a_large_body_passes_both_ways_of_framing() {
    let edge = Edge::start("").await;
    let mut client = edge.connect().await;
    let body = "x".repeat(1_000_000);
    client.send(format!("POST /l HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
    assert!(client.answer().await.ends_with("POST /l 1000000"));
    let mut chunked = String::from("POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in body.as_bytes().chunks(7_777) {
        chunked += &format!("{:X}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap());
    }
    client.send(chunked + "0\r\n\r\n").await;
    assert!(client.answer().await.ends_with("POST /c 1000000"));
}

#[tokio::test]
async fn a_body_over_the_cap_is_refused_as_soon_as_it_is() {
    let edge = Edge::start("[accept]\nbody_max = \"10B\"\n").await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\n";
    assert_eq!(code(&edge.answer(format!("{head}Content-Length: 11\r\n\r\n")).await), "body_too_large");
    let chunks = "8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n";
    assert_eq!(code(&edge.answer(format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}")).await), "body_too_large");
    assert_eq!(edge.upstream.received(), "");
}

#[tokio::test]
async fn a_body_that_pauses_drips_or_breaks_off_is_ended() {
    let edge = Edge::start("[accept]\nbody_idle_timeout = \"200ms\"\n").await;
    let mut client = edge.connect().await;
    client.send("POST /pause HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab").await;
    assert_eq!(status(&client.rest().await), "408");

    let edge = Edge::start("[accept]\nbody_timeout = \"300ms\"\n").await;
    let mut client = edge.connect().await;
    client.send("POST /drip HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n").await;
    let mut pause = tokio::time::interval(std::time::Duration::from_millis(20));
    let mut first = [0; 1];
    loop {
        tokio::select! {
            _ = pause.tick() => client.send("x").await,
            read = tokio::io::AsyncReadExt::read(&mut client.stream, &mut first) => { read.unwrap(); break; }
        }
    }
    assert_eq!(status(&client.rest().await), "408");

    let mut client = edge.connect().await;
    client.send("POST /half HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab").await;
    tokio::io::AsyncWriteExt::shutdown(&mut client.stream).await.unwrap();
    assert_eq!(status(&client.rest().await), "400");
}

#[tokio::test]
async fn expect_is_answered_before_the_body_is_sent() {
    let edge = Edge::start("").await;
    let mut client = edge.connect().await;
    client.send("POST /e HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").await;
    assert_eq!(status(&client.answer().await), "100");
    client.send("hello").await;
    assert!(client.answer().await.ends_with("POST /e 5"));
    client.send("POST /f HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 200-ok\r\n\r\n").await;
    assert_eq!(status(&client.rest().await), "417");
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_body_is_read_by_the_client() {
    let edge = Edge::start("").await;
    let mut client = edge.connect().await;
    client.send("POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n").await;
    client.send(vec![b'x'; 100_000]).await;
    let answer = client.rest().await;
    assert_eq!(status(&answer), "200", "{answer}");
}

#[tokio::test]
async fn a_connection_goes_on_behind_an_answer_that_came_before_the_end_of_a_short_body() {
    let edge = Edge::start("").await;
    let mut client = edge.connect().await;
    client.send("POST /early HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    assert_eq!(status(&client.answer().await), "200");
    client.send("5\r\nworld\r\n0\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(client.answer().await.ends_with("GET /next 0"));
}
