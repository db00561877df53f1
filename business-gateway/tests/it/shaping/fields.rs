//! Field levels: what is above an application's level never appears.

use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{PACKAGE, Said, Speaker, app, get_as, site};
use crate::support::Site;
use crate::support::client::{BOTH, Edge, empty, request};

const FIELDS: &str = "fields = [{ path = \"**.card\", level = 2, mask = \"last4\" }, { path = \"**.secret\", level = 3 }, \
                      { path = \"**.mail\", level = 2, mask = \"email\" }]\n";

async fn start(speaker: &Speaker) -> Site {
    let text = [
        speaker.table(),
        format!("[[api]]\nname = \"all\"\nservice = \"sample\"\npath = \"/{{*rest}}\"\naccess = \"open\"\n{FIELDS}"),
        "[[field_policy]]\nname = \"ids\"\napis = [\"*\"]\nfields = [{ path = \"people.*.id\", level = 2, mask = \"hash\" }]\n"
            .to_owned(),
        PACKAGE.to_owned(),
        app("low", 1),
        app("middle", 2),
        app("high", 3),
    ];
    site(&text.concat(), "[shape]\nhash_key = { file = \"hop.key\" }\n").await
}

fn document() -> Value {
    json!({
        "people": [
            { "id": "p1", "card": "4111111111111111", "mail": "ann@example.com", "secret": "S3CRET" },
            { "id": "p2", "card": 4_111_111_111_112_222_u64, "mail": null, "secret": { "a": ["S3CRET"] } },
        ],
        "nested": [[{ "deep": { "secret": "S3CRET", "shown": "yes" } }]],
        "secret": ["S3CRET"],
    })
}

#[tokio::test]
async fn each_application_sees_what_its_level_allows() {
    let speaker = Speaker::start(Said::json(document().to_string()).with("etag", "\"a\"")).await;
    let site = start(&speaker).await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        for app in ["", "low"] {
            let answer = get_as(&mut edge, app, "/x").await;
            assert_eq!((answer.status, answer.header("etag")), (200, "W/\"a\""));
            assert_eq!(answer.header("content-length"), answer.body.len().to_string());
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(body["people"][0]["card"], "****1111");
            assert_eq!(body["people"][1]["card"], "****2222");
            assert_eq!(body["people"][0]["mail"], "a***@example.com");
            assert_eq!(body["people"][1]["mail"], Value::Null);
            assert_eq!(body["people"][0]["id"].as_str().unwrap().len(), 32);
            assert_eq!(body["nested"], json!([[{ "deep": { "shown": "yes" } }]]));
            assert!(!answer.text().contains("S3CRET") && !answer.text().contains("p1"));
        }
        let answer = get_as(&mut edge, "middle", "/x").await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["people"][0], json!({ "id": "p1", "card": "4111111111111111", "mail": "ann@example.com" }));
        let answer = get_as(&mut edge, "high", "/x").await;
        assert_eq!(answer.body, document().to_string());
        assert_eq!(answer.header("etag"), "\"a\"");
    }
    assert!(speaker.asked().iter().all(|asked| !asked.headers.contains_key("accept-encoding")));
    let line = site.line(|line| line["app"] == "low").await;
    assert_eq!(line["field_level"], 1);
    let metrics = site.gateway.metrics.render();
    assert!(metrics.contains("gatehouse_business_fields_filtered_total 6"), "{metrics}");
}

#[tokio::test]
async fn a_large_answer_flows_and_nothing_hidden_is_in_it_however_it_is_cut() {
    let people: Vec<Value> = (0..20_000)
        .map(|n| json!({ "n": n, "secret": format!("S3CRET{n}"), "card": "4111111111111111", "text": "größe \"x\"" }))
        .collect();
    let text = json!({ "people": people }).to_string();
    let speaker = Speaker::start(Said::json(text.clone())).await;
    let site = start(&speaker).await;
    for length in [1021, 65_536] {
        speaker.say(Said::json(text.clone()).cut(length));
        for protocol in BOTH {
            let mut edge = Edge::connect(site.address, protocol).await;
            let answer = get_as(&mut edge, "low", "/x").await;
            assert!(!answer.text().contains("S3CRET") && !answer.text().contains("41111"));
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(body["people"].as_array().unwrap().len(), 20_000);
            assert_eq!(body["people"][19_999], json!({ "n": 19_999, "card": "****1111", "text": "größe \"x\"" }));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_not_sent() {
    let speaker = Speaker::start(Said::json("{}")).await;
    let site = start(&speaker).await;
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    let utf_16: Bytes = "{\"secret\":\"S3CRET\"}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>().into();
    for (said, cause) in [
        (Said::of("text/plain", "S3CRET"), "media_type"),
        (Said::of("application/json; charset=utf-16", utf_16.clone()), "charset"),
        (Said::json(utf_16), "not_json"),
        (Said::json("S3CRET"), "not_json"),
        (Said::json("{\"secret\":\"S3CRET\""), "cut_off"),
        (Said::json(deep), "too_deep"),
        (Said::json("{\"x\":\"S3CRET\"}").with("content-encoding", "gzip"), "compressed"),
        (Said::json("{\"x\":\"S3CRET\"}").status(206), "partial"),
        (Said::json("{\"x\":\"S3CRET\"}").with("content-type", "text/plain"), "media_type"),
    ] {
        speaker.say(said);
        for protocol in BOTH {
            let mut edge = Edge::connect(site.address, protocol).await;
            let answer = get_as(&mut edge, "low", "/x").await;
            assert_eq!((answer.status, answer.code().as_str()), (502, "answer_withheld"), "{cause}");
            assert!(!answer.text().contains("S3CRET"));
        }
        let counted = format!("gatehouse_business_fields_withheld_total{{cause=\"{cause}\"}}");
        let metrics = site.gateway.metrics.render();
        assert!(metrics.contains(&counted), "{counted}: {metrics}");
    }
    let line = site.line(|line| line["reason"] == "answer_withheld").await;
    assert_eq!(line["cause"], "the media type of the answer is not JSON");
}

#[tokio::test]
async fn an_error_that_is_not_json_keeps_its_status_and_loses_its_body() {
    let speaker = Speaker::start(Said::of("text/html", "<p>S3CRET</p>").status(503).with("retry-after", "7")).await;
    let site = start(&speaker).await;
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    let answer = get_as(&mut edge, "low", "/x").await;
    assert_eq!((answer.status, answer.header("retry-after"), answer.text().as_str()), (503, "7", ""));
    speaker.say(Said::json("{\"secret\":1,\"code\":2}").status(422));
    let answer = get_as(&mut edge, "low", "/x").await;
    assert_eq!((answer.status, answer.text().as_str()), (422, "{\"code\":2}"));
}

#[tokio::test]
async fn an_answer_that_turns_bad_is_broken_off_before_anything_hidden() {
    let mut text = format!("{{\"a\":[{}0],", "\"x\",".repeat(60_000));
    text.push_str("\"b\":nonsense,\"secret\":\"S3CRET\"}");
    let speaker = Speaker::start(Said::json(text).cut(4096)).await;
    let site = start(&speaker).await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let sent = request("GET", "/x").header("x-api-key", "low.k3y").body(empty()).unwrap();
        let answer = edge.send(sent).await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut body = answer.into_body();
        let mut seen = Vec::new();
        let ended = loop {
            match body.frame().await {
                Some(Ok(frame)) => seen.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(_)) => break "broken",
                None => break "whole",
            }
        };
        assert_eq!(ended, "broken", "{protocol:?}");
        assert!(!seen.is_empty() && !String::from_utf8_lossy(&seen).contains("S3CRET"));
    }
    let line = site.line(|line| line["end"] == "broken").await;
    assert_eq!(line["field_level"], 1);
}

#[tokio::test]
async fn nothing_is_asked_for_that_could_not_be_read() {
    let speaker = Speaker::start(Said::json("{\"secret\":1}")).await;
    let site = start(&speaker).await;
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    let sent = request("GET", "/x").header("range", "bytes=2-9").header("accept-encoding", "gzip, br");
    let answer = edge.exchange(sent.body(empty()).unwrap()).await;
    assert_eq!(answer.text(), "{}");
    let asked = speaker.asked().remove(0);
    assert!(!asked.headers.contains_key("range") && !asked.headers.contains_key("accept-encoding"));
    let head = edge.exchange(request("HEAD", "/x").body(empty()).unwrap()).await;
    assert_eq!((head.status, head.text().as_str()), (200, ""));
}

#[tokio::test]
async fn a_hash_without_a_key_is_refused_at_load() {
    let speaker = Speaker::start(Said::json("{}")).await;
    let site = site(&speaker.table(), "").await;
    let more = "[[api]]\nname = \"a\"\nservice = \"sample\"\npath = \"/\"\nfields = [{ path = \"a\", level = 1, mask = \"hash\" }]\n";
    site.write("catalog.toml", &(speaker.table() + more));
    let outcome = format!("{:?}", site.gateway.live.reload());
    assert!(outcome.contains("there is no key to hash them with"), "{outcome}");
}
