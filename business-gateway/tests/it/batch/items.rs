//! Every item is a call of its own.

use std::sync::atomic::Ordering;

use gatehouse_shared::hop::{Auth, Origin, Retry};
use serde_json::{Value, json};

use super::{answers, connect, get, key, outcome, outcomes, send, start};
use crate::support::client::{BOTH, Edge, empty, request};

#[tokio::test]
async fn answers_come_in_order_each_with_status_headers_and_body() {
    let (service, site) = start("", "", "").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let items = json!([
            { "id": "first", "method": "GET", "path": "/echo?a=%20", "headers": { "Accept-Language": "de" } },
            { "id": 2, "method": "POST", "path": "/upload", "body": { "n": 1.10 } },
            { "method": "POST", "path": "/upload", "headers": { "content-type": "text/plain" }, "body": "ab\n" },
            { "method": "GET", "path": "/status?code=404" },
            { "method": "GET", "path": "/nowhere" },
            { "method": "DELETE", "path": "/posted" },
            { "method": "GET", "path": "/alone" },
        ]);
        let text = items.to_string().replace("1.1", "1.10");
        let before = service.requests();
        let answer = super::send_text(&mut edge, "shop", text, &[]).await;
        assert_eq!(service.requests() - before, 4);
        let result = answer.result();
        assert_eq!(
            (result.cost, result.auth, result.origin, result.retry),
            (7, Auth::App, Origin::Gateway, Retry::Never)
        );
        assert_eq!(answer.header("cache-control"), "no-store");
        let expected = [(200, "ok"), (200, "ok"), (200, "ok"), (404, "ok"), (404, "api_not_found")];
        let more = [(405, "api_method_not_allowed"), (403, "api_not_batchable")];
        let expected: Vec<_> = expected.iter().chain(&more).map(|(status, code)| outcome(*status, code)).collect();
        assert_eq!(outcomes(&answer), expected);
        let answers = answers(&answer);
        assert_eq!((&answers[0]["id"], &answers[1]["id"], answers[2].get("id")), (&"first".into(), &2.into(), None));
        let echo: Value = serde_json::from_str(answers[0]["body"].as_str().unwrap()).unwrap();
        assert_eq!((&echo["method"], &echo["target"]), (&"GET".into(), &"/echo?a=%20".into()));
        let seen = |name: &str| {
            let pair = echo["headers"].as_array().unwrap().iter().find(|pair| pair[0] == name);
            pair.map(|pair| pair[1].as_str().unwrap().to_owned())
        };
        assert_eq!(seen("accept-language").as_deref(), Some("de"));
        assert_eq!(seen("x-gatehouse-app").as_deref(), Some("shop"));
        assert_eq!(seen("x-gatehouse-scheme").as_deref(), Some("api-key"));
        assert_eq!(seen("x-forwarded-for").as_deref(), Some("203.0.113.9"), "the real client");
        assert_eq!(seen("host").as_deref(), Some("shop.example"));
        assert_eq!(seen("x-request-id").as_deref(), Some(answer.header("x-request-id")));
        assert_eq!((seen("x-api-key"), seen("content-type")), (None, None));
        assert_eq!(answers[1]["body"], "10", "the body goes on as it was written");
        assert_eq!(answers[2]["body"], "3");
        assert_eq!(answers[5]["headers"]["allow"], "POST");
        assert!(answers.iter().all(|answer| answer["headers"].get("x-gatehouse-result").is_none()));
    }
    let whole = site.line(|line| line["items"] == 7).await;
    assert_eq!((&whole["api"], &whole["status"], &whole["part"]), (&"batch".into(), &200.into(), &Value::Null));
    let item = site.line(|line| line["part"] == "1").await;
    assert_eq!((&item["api"], &item["app"], &item["service"]), (&"upload".into(), &"shop".into(), &"sample".into()));
    assert_eq!(item["request_id"].as_str().unwrap().len(), 32);
    let refused = site.line(|line| line["part"] == "6").await;
    assert_eq!((&refused["reason"], &refused["status"]), (&"api_not_batchable".into(), &403.into()));
    let metrics = site.gateway.metrics.render();
    for line in [
        "gatehouse_business_batches_total{form=\"json\"} 2",
        "gatehouse_business_batch_items_total{outcome=\"answered\"} 6",
        "gatehouse_business_batch_items_total{outcome=\"failed\"} 8",
        "gatehouse_business_requests_total{api=\"upload\",status=\"2xx\"} 4",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_reads_are_under_way_at_once_and_no_more_than_may_be() {
    for (settings, count) in [("", 50), ("concurrency = 4", 4)] {
        let (service, site) = start(settings, "", "").await;
        // Long enough for all to begin on a machine that has other things to do.
        let millis = if count == 50 { 1_500 } else { 20 };
        let items: Vec<Value> = (0..50).map(|number| get(&format!("/slow?ms={}", millis + number))).collect();
        let answer = send(&mut connect(&site).await, "shop", &Value::from(items)).await;
        assert_eq!(outcomes(&answer), vec![outcome(200, "ok"); 50]);
        assert_eq!(service.seen.most_under_way.load(Ordering::SeqCst), count);
        assert_eq!((service.requests(), answer.result().cost), (50, 50));
    }
}

#[tokio::test]
async fn an_envelope_holds_no_slot_but_each_item_does() {
    let pool = "[[pool]]\nname = \"sample\"\nsize = 1\n";
    let (service, site) = start("", "", pool).await;
    let items: Vec<Value> = (0..5).map(|number| get(&format!("/slow?ms={number}"))).collect();
    let answer = send(&mut connect(&site).await, "shop", &Value::from(items)).await;
    assert_eq!(outcomes(&answer), vec![outcome(200, "ok"); 5]);
    assert_eq!(service.seen.most_under_way.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_item_needs_the_permission_that_it_needs_alone() {
    let (service, site) = start("", "", "").await;
    let mut edge = connect(&site).await;
    let answer = send(&mut edge, "poor", &json!([get("/echo"), get("/secret"), get("/echo?b")])).await;
    assert_eq!(outcomes(&answer), [outcome(200, "ok"), outcome(403, "permission_missing"), outcome(200, "ok")]);
    assert_eq!(service.requests(), 2);
    let (name, value) = key("poor");
    let alone = edge.exchange(request("GET", "/secret").header(name, value).body(empty()).unwrap()).await;
    assert_eq!((alone.status, alone.code().as_str()), (403, "permission_missing"), "the same as outside");
    let nobody = edge
        .exchange(request("POST", "/batch").header("content-type", "application/json").body(empty()).unwrap())
        .await;
    assert_eq!((nobody.status, nobody.code().as_str()), (401, "credentials_missing"));
}

#[tokio::test]
async fn an_item_is_charged_to_the_same_application_as_outside() {
    let limit = "[[limit]]\nname = \"app-day\"\nby = [\"app\"]\nrate = \"4/1d\"\n";
    let (service, site) = start("", "limits = [\"app-day\"]", limit).await;
    let mut edge = connect(&site).await;
    let alone = async |edge: &mut Edge| {
        let (name, value) = key("shop");
        edge.exchange(request("GET", "/echo").header(name, value).body(empty()).unwrap()).await
    };
    assert!(alone(&mut edge).await.header("ratelimit").starts_with("\"app-day\";r=3;"));
    let answer = send(&mut edge, "shop", &json!([get("/echo?1"), get("/slow?ms=0"), get("/echo?2")])).await;
    assert_eq!(outcomes(&answer), vec![outcome(200, "ok"); 3]);
    assert!(answers(&answer).iter().any(|item| {
        item["headers"]["ratelimit"].as_str().is_some_and(|field| field.starts_with("\"app-day\";r=1;"))
    }));
    assert!(alone(&mut edge).await.header("ratelimit").starts_with("\"app-day\";r=0;"));
    let refused = send(&mut edge, "shop", &json!([get("/echo?3")])).await;
    assert_eq!(outcomes(&refused), [outcome(429, "quota_app")]);
    assert!(answers(&refused)[0]["headers"]["retry-after"].is_string());
    let other = send(&mut edge, "poor", &json!([get("/echo?3")])).await;
    assert_eq!(outcomes(&other), [outcome(200, "ok")], "the limit is the application's");
    assert_eq!(service.requests(), 6);
}

#[tokio::test]
async fn the_same_read_is_made_once_answered_for_each_and_charged_for_each() {
    let limit = "[[limit]]\nname = \"app-day\"\nby = [\"app\"]\nrate = \"9/1d\"\n";
    let (service, site) = start("", "limits = [\"app-day\"]", limit).await;
    let mut edge = connect(&site).await;
    let item = |id: u64, target: &str, language: &str| json!({ "id": id, "method": "GET", "path": target, "headers": { "accept-language": language, "accept": "*/*" } });
    let mut same = item(3, "/echo?a", "de");
    same["headers"] = json!({ "Accept": "*/*", "Accept-Language": "de" });
    let items = json!([
        item(0, "/echo?a", "de"), item(1, "/echo?a", "en"), item(2, "/echo?b", "de"), same, item(4, "/echo?a", "de"),
        { "id": 5, "method": "POST", "path": "/upload" }, { "id": 6, "method": "POST", "path": "/upload" },
    ]);
    let answer = send(&mut edge, "shop", &items).await;
    assert_eq!(outcomes(&answer), vec![outcome(200, "ok"); 7]);
    assert_eq!((service.requests(), answer.result().cost), (5, 7));
    let answers = answers(&answer);
    let ids: Vec<_> = answers.iter().map(|answer| answer["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(answers[0]["body"], answers[4]["body"]);
    assert_ne!(answers[0]["body"], answers[1]["body"]);
    let left = answers.iter().filter_map(|answer| answer["headers"]["ratelimit"].as_str()).min().unwrap().to_owned();
    assert!(left.starts_with("\"app-day\";r=4;"), "three and two are five of nine: {left}");
    let line = site.line(|line| line["part"] == "0+2").await;
    assert_eq!(line["api"], "echo");
    let metrics = site.gateway.metrics.render();
    assert!(metrics.contains("gatehouse_business_batch_items_merged_total 2"), "{metrics}");
    let refused = send(&mut edge, "shop", &Value::from(vec![get("/echo"); 5])).await;
    assert_eq!(outcomes(&refused), vec![outcome(429, "quota_app"); 5], "they stand or fall together");
}

#[tokio::test]
async fn an_item_is_known_as_the_api_would_know_it_alone() {
    let (service, site) = start("", "", "").await;
    let items = json!([get("/signed"), get("/user"), get("/open"), get("/blind")]);
    let answer = send(&mut connect(&site).await, "shop", &items).await;
    let expected = [(401, "credentials_refused"), (401, "user_missing"), (200, "ok"), (200, "ok")];
    assert_eq!(outcomes(&answer), expected.map(|(status, code)| outcome(status, code)));
    assert_eq!(service.requests(), 2);
    let answers = answers(&answer);
    assert!(answers[2]["body"].as_str().unwrap().contains("x-gatehouse-app"));
    assert!(!answers[3]["body"].as_str().unwrap().contains("x-gatehouse-app"), "it never looks at credentials");
}

#[tokio::test]
async fn a_session_that_comes_with_the_batch_counts_where_an_api_is_for_users() {
    let (service, site) = start("", "", "").await;
    let life = std::time::Duration::from_secs(600);
    let token = site.gateway.apps.authorize("shop", "alice".to_owned(), Vec::new(), life).await.unwrap().0.clear;
    let items = json!([get("/user"), get("/echo")]);
    let mut edge = connect(&site).await;
    let answer = super::send_text(&mut edge, "shop", items.to_string(), &[("x-session-token", &token)]).await;
    assert_eq!(outcomes(&answer), [outcome(200, "ok"), outcome(200, "ok")]);
    let bodies: Vec<String> = answers(&answer).iter().map(|answer| answer["body"].to_string()).collect();
    assert!(bodies[0].contains("x-gatehouse-user") && bodies[0].contains("alice"), "{}", bodies[0]);
    assert!(!bodies[1].contains("alice") && !bodies.concat().contains(&token), "as if sent alone: {}", bodies[1]);
    let wrong = super::send_text(&mut edge, "shop", items.to_string(), &[("x-session-token", "none")]).await;
    assert_eq!((wrong.status, wrong.code().as_str()), (401, "user_missing"));
    assert_eq!(service.requests(), 2);
}
