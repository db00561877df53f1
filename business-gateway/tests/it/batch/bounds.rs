//! What a batch may take.

use serde_json::{Value, json};

use super::{answers, connect, get, outcome, outcomes, send, send_text, start, start_with};

#[tokio::test]
async fn an_answer_that_is_too_long_is_an_error_of_its_item() {
    let (service, site) = start("item_answer_max = \"64B\"", "", "").await;
    let items = json!([get("/slow?ms=0"), get("/echo"), { "method": "POST", "path": "/posted", "body": 1 }]);
    let answer = send(&mut connect(&site).await, "shop", &items).await;
    let expected = [(200, "ok"), (502, "batch_answer_lost"), (502, "batch_answer_lost")];
    assert_eq!(outcomes(&answer), expected.map(|(status, code)| outcome(status, code)));
    let detail = answers(&answer)[2]["body"]["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("its status was 200"), "it was made: {detail}");
    assert_eq!(service.requests(), 3);
}

#[tokio::test]
async fn when_the_answers_are_full_further_items_are_not_executed() {
    let settings = "item_answer_max = \"1KiB\", answers_max = \"1KiB\", concurrency = 1";
    let (service, site) = start(settings, "", "").await;
    let items: Vec<Value> = (0..40).map(|number| get(&format!("/slow?ms={number}"))).collect();
    let answer = send(&mut connect(&site).await, "shop", &Value::from(items)).await;
    let outcomes = outcomes(&answer);
    let served = outcomes.iter().filter(|(status, _)| *status == 200).count();
    let lost = outcomes.iter().filter(|outcome| **outcome == (502, "batch_answer_lost".to_owned())).count();
    let full = outcomes.iter().filter(|outcome| **outcome == (503, "batch_full".to_owned())).count();
    assert_eq!((served + lost + full, service.requests()), (40, served + lost), "{outcomes:?}");
    assert!(served >= 3 && full >= 1 && lost <= 1, "{outcomes:?}");
}

#[tokio::test]
async fn what_a_node_holds_of_bodies_is_bounded_for_batches_too() {
    let (service, site) = start_with("", "", "", "[credentials]\nheld_max = \"1KiB\"\n").await;
    let mut edge = connect(&site).await;
    let long = json!([{ "method": "POST", "path": "/posted", "body": "x".repeat(2_000) }]).to_string();
    let refused = send_text(&mut edge, "shop", long, &[]).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "held_bodies_full"));
    assert_eq!(service.requests(), 0);
    let mut edge = connect(&site).await;
    let one = send(&mut edge, "shop", &json!([get("/slow?ms=0")])).await;
    assert_eq!(outcomes(&one), [outcome(200, "ok")]);
    let echo = json!([{ "method": "GET", "path": "/echo", "headers": { "x-long": "x".repeat(600) } }]);
    let lost = send(&mut edge, "shop", &echo).await;
    assert_eq!(outcomes(&lost), [outcome(502, "batch_answer_lost")]);
    let room = &site.gateway.identity.room;
    crate::support::until("all room back", || (room.used() == 0).then_some(())).await;
}
