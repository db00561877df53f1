//! The text form of open platforms.

use business_gateway::admit::app::platform::{Parameters, to_hex};
use gatehouse_shared::clock;
use ring::hmac;
use serde_json::Value;

use super::{SECRET, connect, send_text, start};
use crate::support::client::{Answer, full, request};

const TEXT: [(&str, &str); 1] = [("content-type", "text/plain;charset=utf-8")];

fn bodies<'a>(answer: &'a str, separator: &str) -> Vec<&'a str> {
    answer.split(separator).collect()
}

fn target(echo: &str) -> String {
    let echo: Value = serde_json::from_str(echo).unwrap_or_else(|error| panic!("{error}: {echo}"));
    format!("{} {}", echo["method"].as_str().unwrap(), echo["target"].as_str().unwrap())
}

#[tokio::test]
async fn calls_on_lines_are_answered_in_order() {
    let (service, site) = start("text = true", "", "").await;
    let mut edge = connect(&site).await;
    let text = "#PUBLIC#method=echo&fields=a\r\n-S-\r\nN\r\n-S-\r\nid=7&fields=b\r\n-S-\r\nmethod=posted&id=8\r\n-S-\r\nmethod=none\r\n-S-\r\n\
                method=rest&a=b\r\n-S-\r\nid=9&session=t";
    let answer = send_text(&mut edge, "shop", text.to_owned(), &TEXT).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/plain; charset=utf-8"), "{}", answer.text());
    assert_eq!((answer.result().cost, service.requests()), (6, 3));
    let text = answer.text();
    let bodies = bodies(&text, "\r\n-S-\r\n");
    assert_eq!(bodies.len(), 6, "{text}");
    assert_eq!(target(bodies[0]), "GET /echo?method=echo&fields=a");
    assert_eq!(target(bodies[1]), "GET /echo?method=echo&id=7&fields=b");
    assert_eq!(target(bodies[2]), "POST /posted");
    assert!(
        bodies[2].contains("\"length\":27") && bodies[2].contains("application/x-www-form-urlencoded"),
        "{}",
        bodies[2]
    );
    for (body, code) in
        [(bodies[3], "api_not_found"), (bodies[4], "batch_item_invalid"), (bodies[5], "batch_item_invalid")]
    {
        assert_eq!(serde_json::from_str::<Value>(body).unwrap()["code"], code, "{body}");
    }
}

#[tokio::test]
async fn a_client_may_name_another_separator_or_ask_for_lines() {
    let (_service, site) = start("text = true", "", "").await;
    let mut edge = connect(&site).await;
    let headers = [TEXT[0], ("top-api-separator", "{;}")];
    let answer = send_text(&mut edge, "shop", "method=echo&a=1{;}method=echo&a=2".to_owned(), &headers).await;
    let text = answer.text();
    let targets: Vec<String> = bodies(&text, "{;}").into_iter().map(target).collect();
    assert_eq!(targets, ["GET /echo?method=echo&a=1", "GET /echo?method=echo&a=2"]);
    let headers = [TEXT[0], ("accept", "application/x-ndjson")];
    let answer = send_text(&mut edge, "shop", "method=echo\nmethod=alone".to_owned(), &headers).await;
    let mut lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| line["index"].as_u64());
    assert_eq!((&lines[0]["status"], &lines[1]["body"]["code"]), (&200.into(), &"api_not_batchable".into()));
}

#[tokio::test]
async fn a_separator_that_is_a_part_of_answers_leaves_them_out() {
    let (service, site) = start("text = true", "", "").await;
    let mut edge = connect(&site).await;
    // The first stands in what a service answers, the second in every refusal, too.
    for (separator, expected) in
        [("headers", ["batch_answer_lost", "batch_item_invalid"]), ("title", ["GET /echo", ""])]
    {
        let text = format!("method=echo{separator}session=t");
        let answer = send_text(&mut edge, "shop", text, &[TEXT[0], ("top-api-separator", separator)]).await;
        let text = answer.text();
        let bodies = bodies(&text, separator);
        assert_eq!(bodies.len(), 2, "{text}");
        assert!(bodies[0].contains(expected[0]) || target(bodies[0]).starts_with(expected[0]), "{text}");
        assert!(bodies[1].contains(expected[1]) && (!expected[1].is_empty() || bodies[1].is_empty()), "{text}");
    }
    assert_eq!(service.requests(), 2);
}

/// A batch signed in the style of these platforms, `method` left out as their kits do.
fn signed(body: &str, more: &[(&str, &str)]) -> http::Request<crate::support::client::Body> {
    let zone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
    let now = jiff::Timestamp::from_second(i64::try_from(clock::unix_ms() / 1000).unwrap()).unwrap();
    let timestamp = now.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string();
    let mut parameters = Parameters::default();
    let mut query = String::new();
    let known = [("app_key", "shop"), ("timestamp", timestamp.as_str()), ("v", "2.0"), ("sign_method", "hmac-sha256")];
    for (name, value) in known.iter().chain(more) {
        parameters.push(name, value);
        query.push_str(&format!("{name}={}&", value.replace(' ', "+").replace(':', "%3A")));
    }
    parameters.sort().unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let sign = to_hex(hmac::sign(&key, &parameters.text(body.as_bytes())).as_ref());
    request("POST", &format!("/batch?{query}sign={sign}"))
        .header("content-type", "text/plain;charset=utf-8")
        .body(full(body.to_owned()))
        .unwrap()
}

async fn exchange(site: &crate::support::Site, request: http::Request<crate::support::client::Body>) -> Answer {
    connect(site).await.exchange(request).await
}

#[tokio::test]
async fn a_batch_that_is_signed_as_on_open_platforms_passes_once() {
    let (service, site) = start("text = true", "", "").await;
    let text = "method=echo&id=1\r\n-S-\r\nmethod=echo&id=2";
    let answer = exchange(&site, signed(text, &[])).await;
    assert_eq!((answer.status, bodies(&answer.text(), "\r\n-S-\r\n").len()), (200, 2), "{}", answer.text());
    assert!(answer.text().contains("\"platform\""), "the scheme is told to the service: {}", answer.text());
    assert_eq!(service.requests(), 2);
    let named = exchange(&site, signed("method=echo", &[("method", "batch")])).await;
    assert_eq!(named.status, 200);
    let other = exchange(&site, signed("method=echo", &[("method", "echo")])).await;
    assert_eq!((other.status, other.code().as_str()), (401, "credentials_refused"), "signed for another API");
    let before = service.requests();
    let mut changed = signed(text, &[]);
    *changed.body_mut() = full(text.replace("id=2", "id=3"));
    let changed = exchange(&site, changed).await;
    assert_eq!((changed.status, changed.code().as_str()), (401, "credentials_refused"));
    assert_eq!(service.requests(), before);
}
