//! Answers as they finish, and who does not wait for them.

use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{connect, get, key, outcome, outcomes, send_text, start};
use crate::support::client::{BOTH, Edge, Said, full, request, request_as};

fn lines_of(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn each_answer_comes_as_a_line_as_soon_as_it_is_there() {
    let (_service, site) = start("", "", "").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let mut hang = get("/hang");
        hang["id"] = json!("never");
        let items = json!([hang, { "id": "now", "method": "GET", "path": "/status?code=204" }, get("/echo/../a")]);
        let (name, value) = key("shop");
        let request = request("POST", "/batch").header(name, value).header("content-type", "application/json");
        let request = request.header("accept", "application/x-ndjson").body(full(items.to_string())).unwrap();
        let answer = edge.send(request).await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
        assert_eq!(
            gatehouse_shared::hop::HopResult::parse(answer.headers()["x-gatehouse-result"].as_bytes()).unwrap().cost,
            3
        );
        let mut body = answer.into_body();
        let mut seen = Vec::new();
        // Two of three are there although the first never will be.
        while lines_of(&seen).len() < 2 {
            seen.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
        }
        let mut lines = lines_of(&seen);
        lines.sort_by_key(|line| line["index"].as_u64());
        assert_eq!((&lines[0]["index"], &lines[0]["id"], &lines[0]["status"]), (&1.into(), &"now".into(), &204.into()));
        assert_eq!((lines[0].get("body"), &lines[1]["index"]), (None, &2.into()));
        assert_eq!(lines[1]["body"]["code"], "batch_item_invalid");
        drop(body);
        // Whoever sent it is gone, and with it the item that is under way.
        drop(edge);
        let line = site.line(|line| line["part"] == "0" && line["api"] == "hang").await;
        assert_eq!((&line["status"], &line["end"]), (&499.into(), &"abandoned".into()));
    }
}

#[tokio::test]
async fn a_client_that_goes_away_takes_all_items_with_it() {
    let (service, site) = start("concurrency = 2", "", "").await;
    let mut edge = connect(&site).await;
    let items: Vec<Value> = (0..5).map(|number| get(&format!("/hang?{number}"))).collect();
    let mut answer = Box::pin(send_text(&mut edge, "shop", Value::from(items).to_string(), &[]));
    let two = crate::support::until("two items", || (service.requests() == 2).then_some(()));
    tokio::select! {
        _ = &mut answer => panic!("nothing answers"),
        () = two => {}
    }
    drop(answer);
    drop(edge);
    for part in ["0", "1"] {
        let line = site.line(|line| line["part"] == part).await;
        assert_eq!((&line["status"], &line["reason"]), (&499.into(), &"client_closed".into()));
    }
    assert_eq!(service.requests(), 2, "the others never began");
}

#[tokio::test]
async fn items_that_take_too_long_do_not_cost_the_others_their_answers() {
    let (service, site) = start("concurrency = 2", "", "").await;
    let said = Said { left: std::time::Duration::from_millis(2_000), ..Said::default() };
    let (name, value) = key("shop");
    let request = request_as("POST", "/batch", said).header(name, value).header("content-type", "application/json");
    let items = json!([get("/hang"), get("/echo"), get("/stall"), get("/echo?late")]);
    let answer = connect(&site).await.exchange(request.body(full(items.to_string())).unwrap()).await;
    let expected = [(504, "deadline_exceeded"), (200, "ok"), (502, "batch_answer_lost"), (504, "deadline_exceeded")];
    assert_eq!(outcomes(&answer), expected.map(|(status, code)| outcome(status, code)));
    assert_eq!(service.requests(), 3, "what would begin too late does not");
    let metrics = site.gateway.metrics.render();
    for line in
        ["{outcome=\"skipped\"} 1", "{outcome=\"lost\"} 1", "{outcome=\"failed\"} 1", "{outcome=\"answered\"} 1"]
    {
        assert!(metrics.contains(&format!("gatehouse_business_batch_items_total{line}")), "{line}");
    }
}
