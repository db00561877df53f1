//! Aggregates and batches: at the same time, honest about what failed, and no way around permission and quotas.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{batch_as, get, get_as, node, outcomes};
use crate::aggregates::shop::Shop;
use crate::support::process::Process;

/// The shop and its APIs; `page` is an aggregate of five slow calls, `partial` one with an optional part.
fn catalog(shop: &Shop) -> String {
    let api = |name: &str, path: &str, more: &str| {
        format!("[[api]]\nname = \"{name}\"\npath = \"{path}\"\nbatchable = true\n{more}\n")
    };
    let call =
        |name: &str, api: &str, more: &str| format!("[[aggregate.call]]\nname = \"{name}\"\napi = \"{api}\"\n{more}\n");
    let slow = |n: usize| call(&format!("part{n}"), "slow", "query = { ms = \"20\", gate = \"5\" }");
    [
        format!("[[service]]\nname = \"shop\"\nendpoints = [\"{}\"]\n", shop.address),
        api("slow", "/slow", "service = \"shop\""),
        api("users.show", "/users/{id}", "service = \"shop\"\nlimits = [\"app-day\"]"),
        api("stock.show", "/stock/{id}", "service = \"shop\""),
        api("page", "/page", "aggregate = \"page\""),
        api("partial", "/partial", "aggregate = \"partial\""),
        api(
            "orders.put",
            "/orders/{id}",
            "service = \"shop\"\nmethods = [\"PUT\"]\nlimits = [\"app-day\"]\n[api.validate]\ndepth_max = 20\nbody_required = true\n\
             body = { type = \"object\", required = [\"sku\"], properties = { sku = { type = \"string\" }, lines = { type = \"array\", \
             items = { type = \"object\", required = [\"amount\"], properties = { amount = { type = \"integer\", minimum = 1 } } } } } }",
        ),
        "[[api]]\nname = \"batch\"\npath = \"/batch\"\nmethods = [\"POST\"]\nbatch = {}\n".to_owned(),
        "[[aggregate]]\nname = \"page\"\n".to_owned(),
        (0..5).map(slow).collect(),
        "[[aggregate]]\nname = \"partial\"\n".to_owned(),
        call("user", "users.show", "params = { id = \"'7'\" }"),
        call("stock", "stock.show", "params = { id = \"'1'\" }\nneed = \"optional\""),
        call("left", "stock.show", "params = { id = \"'2'\" }\nneed = \"default\"\ndefault = { left = 0 }"),
        "[[limit]]\nname = \"app-day\"\nby = [\"app\"]\nrate = \"4/1d\"\n".to_owned(),
    ]
    .concat()
}

async fn start(dir: &tempfile::TempDir) -> (Shop, Process) {
    let shop = Shop::start().await;
    let node = node(dir.path(), &catalog(&shop), "\"batch\", \"users.show\"").await;
    (shop, node)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_parts_and_fifty_items_are_at_the_service_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let (shop, node) = start(&dir).await;
    // The service answers nobody before so many are there, so one after the other none would ever be answered.
    let answer = get_as(node.address, "low", "/page").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(shop.seen.most_under_way.load(Ordering::SeqCst), 5);
    let items: Vec<Value> = (0..50).map(|n| get(&format!("/slow?gate=50&n={n}"))).collect();
    let answers = batch_as(node.address, "low", &Value::from(items)).await;
    assert_eq!(outcomes(&answers), vec![(200, ""); 50]);
    assert_eq!(shop.seen.most_under_way.load(Ordering::SeqCst), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_parts_that_fail_the_documented_answer_and_status_come_alone_and_as_an_item() {
    let dir = tempfile::tempdir().unwrap();
    let (shop, node) = start(&dir).await;
    shop.fail("/stock/", 503);
    let error = |part: &str, default: bool| json!({ "part": part, "status": 503, "code": "aggregate_part_failed", "sub_code": "isp.part-failed", "retry_after": 1, "default": default });
    let user = json!({ "id": "7", "name": "Asha \"the\" buyer" });
    let expected = json!({ "user": user, "stock": null, "left": { "left": 0 }, "errors": [error("stock", false), error("left", true)] });
    let answer = get_as(node.address, "low", "/partial").await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"));
    assert_eq!(serde_json::from_slice::<Value>(&answer.body).unwrap(), expected);
    let named = "stock;status=503;code=aggregate_part_failed, left;status=503;code=aggregate_part_failed;default";
    assert_eq!(answer.header("x-aggregate-errors"), named);
    let items = batch_as(node.address, "low", &json!([get("/partial")])).await;
    assert_eq!((&items[0]["status"], &items[0]["body"]), (&json!(200), &expected));
    assert_eq!(items[0]["headers"]["x-aggregate-errors"], named);
    // A required part decides the status, and nothing of what its service said is told.
    shop.fail("/users/", 500);
    let answer = get_as(node.address, "low", "/partial").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "aggregate_part_failed"));
    assert!(!answer.text().contains("of the service"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_is_permitted_and_charged_as_outside_and_its_body_is_validated() {
    let dir = tempfile::tempdir().unwrap();
    let (shop, node) = start(&dir).await;
    // Without the permission for two of them.
    let items = json!([get("/users/1"), get("/slow"), get("/partial")]);
    let answers = batch_as(node.address, "few", &items).await;
    assert_eq!(outcomes(&answers), [(200, ""), (403, "permission_missing"), (403, "permission_missing")]);
    let alone = get_as(node.address, "few", "/slow").await;
    assert_eq!((alone.status, alone.code().as_str()), (403, "permission_missing"), "as outside");
    assert_eq!(shop.requests().len(), 1);

    // A body that is not as declared is named like outside, and costs nothing of the day's four.
    let put = |body: Value| json!({ "method": "PUT", "path": "/orders/1", "body": body });
    let deep = (0..30).fold(json!(1), |inner, _| json!([inner]));
    let items = json!([
        put(json!({ "sku": "a", "lines": [{ "amount": 1 }, { "amount": 0 }] })),
        put(json!({ "lines": [{}] })),
        put(json!({ "sku": "a", "lines": deep })),
        { "method": "PUT", "path": "/orders/1" },
        put(json!({ "sku": "a", "lines": [{ "amount": 1 }] })),
    ]);
    let answers = batch_as(node.address, "low", &items).await;
    let invalid = (400, "request_invalid");
    assert_eq!(outcomes(&answers), [invalid, invalid, invalid, invalid, (200, "")], "{answers:?}");
    let told = |index: usize| -> Vec<String> {
        let errors = answers[index]["body"]["errors"].as_array().unwrap().iter();
        errors
            .map(|error| format!("{} {}", error["pointer"].as_str().unwrap(), error["rule"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(told(0), ["/lines/1/amount minimum"]);
    let mut missing = told(1);
    missing.sort();
    assert_eq!(missing, ["/lines/0/amount required", "/sku required"]);
    assert_eq!((told(2).len(), told(2)[0].rsplit(' ').next()), (1, Some("depth")));
    assert_eq!(told(3), [" required"]);
    assert_eq!(shop.requests().len(), 2, "the service has seen the one that is right");

    // One of four is gone; two items and a call of its own take the others, and then there is none, inside or outside.
    let answers = batch_as(node.address, "low", &json!([get("/users/1"), get("/users/2")])).await;
    assert_eq!(outcomes(&answers), [(200, ""), (200, "")]);
    assert_eq!(get_as(node.address, "low", "/users/3").await.status, 200);
    let answers = batch_as(node.address, "low", &json!([get("/users/4"), get("/stock/1")])).await;
    assert_eq!(outcomes(&answers), [(429, "quota_app"), (200, "")]);
    assert_eq!(get_as(node.address, "low", "/users/5").await.code(), "quota_app");
    assert_eq!(get_as(node.address, "middle", "/users/5").await.status, 200, "another application");
}
