//! Answers as short as their callers take them.

use std::io::Read;

use super::{Said, Speaker, site};
use crate::support::client::{Answer, BOTH, Edge, empty, request};

async fn get(edge: &mut Edge, accept: &str) -> Answer {
    let sent = request("GET", "/x").header("accept-encoding", accept);
    edge.exchange(sent.body(empty()).unwrap()).await
}

fn decoded(answer: &Answer) -> String {
    let mut text = String::new();
    match answer.header("content-encoding") {
        "br" => brotli::Decompressor::new(&*answer.body, 4096).read_to_string(&mut text).unwrap(),
        "gzip" => flate2::read::GzDecoder::new(&*answer.body).read_to_string(&mut text).unwrap(),
        _ => return answer.text(),
    };
    text
}

#[tokio::test]
async fn what_is_long_and_wanted_short_is_compressed() {
    let text = format!("[{}1]", "12345,".repeat(20_000));
    let speaker = Speaker::start(Said::json(text.clone())).await;
    let api = "[[api]]\nname = \"all\"\nservice = \"sample\"\npath = \"/{*rest}\"\naccess = \"open\"\ncompress = {}\n\
               cors = { origins = [\"https://a.test\"] }\n";
    let site = site(&(speaker.table() + api), "").await;
    for length in [777, 200_000] {
        speaker.say(Said::json(text.clone()).with("etag", "\"a\"").cut(length));
        for protocol in BOTH {
            let mut edge = Edge::connect(site.address, protocol).await;
            for (accept, encoding) in
                [("gzip, br", "br"), ("gzip", "gzip"), ("br;q=0.1, gzip", "gzip"), ("deflate", "")]
            {
                let answer = get(&mut edge, accept).await;
                assert_eq!((answer.status, answer.header("content-encoding")), (200, encoding), "{accept}");
                assert_eq!(decoded(&answer), text);
                let is_there = |name: &str| answer.headers.get_all("vary").iter().any(|value| value == name);
                assert!(is_there("accept-encoding") && is_there("origin"), "{:?}", answer.headers);
                if !encoding.is_empty() {
                    assert!(answer.body.len() < text.len() / 50, "{} bytes", answer.body.len());
                    assert_eq!(answer.header("etag"), "W/\"a\"");
                }
            }
        }
    }
    for said in [
        Said::json("[1]"),
        Said::of("image/png", text.clone()),
        Said::of("text/event-stream", text.clone()),
        Said::json(text.clone()).with("content-encoding", "x"),
        Said::json(text.clone()).with("cache-control", "public, no-transform"),
        Said::json(text.clone()).status(404),
    ] {
        let expected = said.pieces.concat();
        let of_service = said.headers.iter().find(|(name, _)| *name == "content-encoding");
        let of_service = of_service.map_or(String::new(), |(_, value)| value.clone());
        speaker.say(said);
        let mut edge = Edge::connect(site.address, BOTH[0]).await;
        let answer = get(&mut edge, "gzip, br").await;
        assert_eq!((answer.header("content-encoding"), &answer.body[..]), (of_service.as_str(), &expected[..]));
    }
    let metrics = site.gateway.metrics.render();
    assert!(metrics.contains("gatehouse_business_compressed_total{encoding=\"gzip\"} 8"), "{metrics}");
}
