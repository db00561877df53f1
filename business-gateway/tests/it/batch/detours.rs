//! Every way around admission that a batch might be.

use serde_json::{Value, json};

use super::{connect, get, outcome, outcomes, send, send_text, start};
use crate::support::client::{Protocol, full, request};

#[tokio::test]
async fn an_item_that_says_what_only_a_request_of_its_own_can_say_is_refused() {
    let (service, site) = start("", "", "").await;
    let mut edge = connect(&site).await;
    let with = |name: &str, value: &str| json!({ "method": "GET", "path": "/echo", "headers": { name: value } });
    let mut items: Vec<Value> = [
        "http://127.0.0.1:9181/policy",
        "https://other.example/echo",
        "//other.example/echo",
        "@other.example/echo",
        "\\echo",
        "/batch/../echo",
        "/./echo",
        "/echo/..",
        "//echo",
        "/echo//a",
        "/%65cho",
        "/echo%2fa",
        "/echo%2Fa",
        "/echo\\a",
        "/echo;a=b",
        "/echo%00",
        "/echo\r\nx-gatehouse-app: poor",
        "/echo#a",
        "/echo a",
        "echo",
        "",
        "*",
        "/echo?app_key=a&sign=b",
        "/echo?a b",
    ]
    .iter()
    .map(|target| get(target))
    .collect();
    for (name, value) in [
        ("x-http-method-override", "DELETE"),
        ("x-method-override", "DELETE"),
        ("x-http-method", "DELETE"),
        ("host", "other.example"),
        ("x-forwarded-host", "other.example"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("x_forwarded_for", "127.0.0.1"),
        ("x-original-url", "/alone"),
        ("x-rewrite-url", "/alone"),
        ("x-gatehouse-app", "poor"),
        ("x-gatehouse-hop", "v=1"),
        ("x_gatehouse_hop", "v=1"),
        ("authorization", "ApiKey poor.k3y"),
        ("x-api-key", "poor.k3y"),
        ("x-session-token", "t"),
        ("cookie", "a=b"),
        ("signature", "a=:AAAA:"),
        ("signature-input", "a=()"),
        ("connection", "x-api-key"),
        ("transfer-encoding", "chunked"),
        ("content-length", "5"),
        ("te", "trailers"),
        ("upgrade", "websocket"),
        ("expect", "100-continue"),
        ("x-request-id", "1"),
        ("traceparent", "00-1-1-01"),
        ("x-request-deadline-ms", "99999"),
        ("origin", "https://other.example"),
        ("x-a", "b\r\nx-gatehouse-app: poor"),
        ("x-a", "b\u{0}"),
        ("x-a\r\nx-b", "c"),
        (":authority", "other.example"),
        ("x-a", " b"),
    ] {
        items.push(with(name, value));
    }
    items.push(json!({ "method": "get", "path": "/echo" }));
    items.push(json!({ "method": "CONNECT", "path": "/echo" }));
    items.push(json!({ "method": "TRACE", "path": "/echo" }));
    items.push(json!({ "method": "GET /echo HTTP/1.1\r\nx: y", "path": "/echo" }));
    items.push(json!({ "method": "GET", "path": "/echo", "headers": { "X-A": "1", "x-a": "2" } }));
    items.push(json!({
        "method": "POST", "path": "/posted", "headers": { "content-type": "application/x-www-form-urlencoded" },
        "body": "app_key=poor&sign=00",
    }));
    for items in items.chunks(50) {
        let answer = send(&mut edge, "shop", &Value::from(items.to_vec())).await;
        let outcomes = outcomes(&answer);
        let (_, wrong): (Vec<_>, Vec<_>) =
            outcomes.iter().zip(items).partition(|(outcome, _)| **outcome == (400, "batch_item_invalid".to_owned()));
        assert!(wrong.is_empty(), "{wrong:?}");
    }
    assert_eq!(service.requests(), 0);
    let metrics = site.gateway.metrics.render();
    assert!(
        metrics.contains(&format!("gatehouse_business_refused_total{{code=\"batch_item_invalid\"}} {}", items.len()))
    );
}

#[tokio::test]
async fn a_batch_is_never_inside_of_a_batch() {
    let (service, site) = start("", "", "").await;
    let nested = json!({ "method": "POST", "path": "/batch", "body": [get("/echo")] });
    let answer = send(&mut connect(&site).await, "shop", &json!([nested, get("/echo")])).await;
    assert_eq!(outcomes(&answer), [outcome(403, "api_not_batchable"), outcome(200, "ok")]);
    assert_eq!(service.requests(), 1);
}

#[tokio::test]
async fn what_is_no_batch_executes_nothing() {
    let (service, site) = start("items_max = 3, body_max = \"4KiB\"", "", "").await;
    let deep = |depth: usize| format!(r#"[{{"method":"POST","path":"/posted","body":{}"#, "[".repeat(depth));
    let long = json!([{ "method": "POST", "path": "/posted", "body": "x".repeat(4096) }]).to_string();
    let fine = r#"{"method":"GET","path":"/echo"}"#;
    for (text, status, code) in [
        (String::new(), 400, "batch_invalid"),
        ("null".to_owned(), 400, "batch_invalid"),
        ("[]".to_owned(), 400, "batch_invalid"),
        (fine.to_owned(), 400, "batch_invalid"),
        (format!("[{fine}"), 400, "batch_invalid"),
        (format!("[{fine},{{\"method\":\"GET\"}}]"), 400, "batch_invalid"),
        (format!("[{fine}][{fine}]"), 400, "batch_invalid"),
        (r#"[{"method":"GET","path":"/echo","path":"/alone"}]"#.to_owned(), 400, "batch_invalid"),
        (r#"[{"method":"GET","path":"/echo","p\u0061th":"/alone"}]"#.to_owned(), 400, "batch_invalid"),
        (r#"[{"method":"GET","path":"/echo","method":"DELETE"}]"#.to_owned(), 400, "batch_invalid"),
        (r#"[{"method":"GET","path":"/echo","url":"http://127.0.0.1/"}]"#.to_owned(), 400, "batch_invalid"),
        (r#"[{"method":"GET","path":"/echo","host":"a"}]"#.to_owned(), 400, "batch_invalid"),
        (
            r#"[{"id":1,"method":"GET","path":"/echo"},{"id":1,"method":"GET","path":"/echo"}]"#.to_owned(),
            400,
            "batch_invalid",
        ),
        (deep(4000), 400, "batch_invalid"),
        (format!("[{}]", [fine; 4].join(",")), 413, "batch_too_large"),
        (long, 413, "batch_too_large"),
    ] {
        let answer = send_text(&mut connect(&site).await, "shop", text.clone(), &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{text:.60}");
        assert_eq!(answer.result().cost, 0, "the request itself is what the edge has counted");
    }
    for headers in
        [&[("content-type", "text/plain")][..], &[("content-type", "application/xml")], &[("content-encoding", "gzip")]]
    {
        let answer = send_text(&mut connect(&site).await, "shop", format!("[{fine}]"), headers).await;
        assert_eq!((answer.status, answer.code().as_str()), (415, "batch_type_unsupported"), "{headers:?}");
    }
    let invalid = request("POST", "/batch").header("x-api-key", "shop.k3y").header("content-type", "application/json");
    let answer = connect(&site).await.exchange(invalid.body(full(&b"[\xff]"[..])).unwrap()).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "batch_invalid"));
    assert_eq!(service.requests(), 0);
}

#[tokio::test]
async fn a_catalog_whose_batch_would_be_weaker_than_its_items_is_not_loaded() {
    let (_service, site) = start("", "", "").await;
    for (more, expected) in [
        ("batch = {}\nmethods = [\"POST\"]\nservice = \"sample\"", "its calls are answered by"),
        ("batch = {}\nmethods = [\"POST\"]\nbatchable = true", "a batch inside of a batch"),
        ("batch = {}\nmethods = [\"POST\"]\nreplay = \"off\"", "could be repeated by repeating the batch"),
        ("service = \"sample\"\nbatchable = true\npass_credentials = true", "an item of a batch has no credentials"),
    ] {
        let catalog = std::fs::read_to_string(site.config().join("catalog.toml")).unwrap();
        let wrong = format!("{catalog}\n[[api]]\nname = \"wrong\"\npath = \"/wrong\"\n{more}\n");
        site.write("catalog.toml", &wrong);
        let outcome = format!("{:?}", site.gateway.live.reload());
        site.write("catalog.toml", &catalog);
        assert!(outcome.contains(expected), "{outcome}");
    }
}

#[tokio::test]
async fn a_signed_batch_counts_once() {
    let (service, site) = start("", "", "").await;
    let mut edge = crate::support::client::Edge::connect(site.address, Protocol::Http1).await;
    let items = json!([get("/echo?1"), get("/signed")]).to_string();
    let made = crate::credentials::Made::new("POST", "/batch", &[("content-type", "application/json")], &items);
    let signed = made.signed("shop", super::SECRET, "nonce-1", 0);
    assert_eq!(outcomes(&signed.send(&mut edge).await), [outcome(200, "ok"), outcome(200, "ok")]);
    let again = signed.send(&mut edge).await;
    assert_eq!((again.status, again.code().as_str()), (401, "signature_replayed"));
    assert_eq!(service.requests(), 2);
}
