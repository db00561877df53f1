//! What is above an application's level never appears, wherever the answer comes from and whatever is made of it.

use std::collections::HashSet;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{batch_as, get, get_as, node};
use crate::cache::Origin;
use crate::support::client::Answer;
use crate::support::process::Process;
use crate::support::until;

const FIELDS: &str =
    "fields = [{ path = \"**.secret\", level = 3 }, { path = \"**.card\", level = 2, mask = \"last4\" }]";

/// The APIs: `people` is kept for all, `plain` for nobody; `page` and `made` are aggregates of `people`, `missing` of an API whose
/// service fails and that has a default value; all can be in a batch.
fn catalog(origin: &Origin, cache: &str) -> String {
    let service = |name: &str, address: &str| format!("[[service]]\nname = \"{name}\"\nendpoints = [\"{address}\"]\n");
    let api = |name: &str, more: &str| {
        format!("[[api]]\nname = \"{name}\"\npath = \"/{name}\"\naccess = \"open\"\nbatchable = true\n{more}\n")
    };
    let call = |name: &str, api: &str| format!("[[aggregate.call]]\nname = \"{name}\"\napi = \"{api}\"\n");
    [
        service("origin", &origin.address.to_string()),
        // Nobody listens there.
        service("down", "127.0.0.1:9"),
        api("people", &format!("service = \"origin\"\ncache = {{ {cache} }}\n{FIELDS}")),
        api("plain", &format!("service = \"origin\"\n{FIELDS}")),
        api("gone", "service = \"down\"\ndefault = { body = '{\"people\": [], \"from\": \"default\"}' }"),
        api("page", "aggregate = \"page\""),
        api("made", "aggregate = \"made\""),
        api("missing", "aggregate = \"missing\""),
        "[[api]]\nname = \"batch\"\npath = \"/batch\"\nmethods = [\"POST\"]\nbatch = {}\n".to_owned(),
        "[[aggregate]]\nname = \"page\"\n".to_owned(),
        call("kept", "people"),
        call("asked", "plain"),
        "[[aggregate]]\nname = \"made\"\ntemplate = '''{\"all\": {{ kept.body }}, \"secret\": {{ kept.body.people[0].secret }}, \
         \"text\": \"{{ kept.body.people | map(attribute='card') | join(' ') }}\", \"nested\": {{ kept.body.nested }}}'''\n"
            .to_owned(),
        call("kept", "people"),
        "[[aggregate]]\nname = \"missing\"\n".to_owned(),
        call("gone", "gone"),
    ]
    .concat()
}

/// Objects, arrays, nested ones; more of them than fit into one piece of an answer.
fn document() -> Value {
    let person = |n: u32| {
        json!({
            "n": n, "secret": format!("S3CRET{n}"), "card": "4111111111111111",
            "more": [{ "secret": { "deep": ["S3CRET"] }, "card": 4_111_111_111_112_222_u64 }],
        })
    };
    let people: Vec<Value> = (0..1_000).map(person).collect();
    json!({ "people": people, "nested": [[{ "a": { "secret": ["S3CRET"], "shown": "yes" } }]], "secret": "S3CRET" })
}

async fn start(dir: &tempfile::TempDir, cache: &str) -> (Origin, Process) {
    let origin = Origin::start(&[("content-type", "application/json"), ("etag", "\"v1\"")]).await;
    origin.say(|script| script.body = Some(Bytes::from(document().to_string())));
    let node = node(dir.path(), &catalog(&origin, cache), "\"*\"").await;
    (origin, node)
}

/// Whether a text has only what somebody of this level may see of the document, and all of that.
fn check(text: &str, app: &str, from: &str) {
    let level = super::APPS.iter().find(|(key, _)| *key == app).map_or(0, |(_, level)| *level);
    assert_eq!(text.contains("S3CRET"), level >= 3, "{app} {from}");
    assert_eq!(text.contains("4111111111111"), level >= 2, "{app} {from}");
    assert_eq!(text.contains("****1111"), level < 2, "{app} {from}");
    assert_eq!(text.contains("****2222"), level < 2, "{app} {from}");
    assert!(text.contains("\"shown\":\"yes\""), "{app} {from}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applications_of_different_levels_share_one_kept_answer_and_see_each_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (origin, node) = start(&dir, "lifetime = \"1h\", scope = \"shared\"").await;
    // Whoever asks first, high or low, leaves the same for the others.
    for (round, order) in [["low", "high", "", "middle"], ["high", "low", "middle", ""]].iter().enumerate() {
        for app in order {
            let answer = get_as(node.address, app, "/people").await;
            assert_eq!(answer.status, 200, "{app}");
            check(&answer.text(), app, "kept");
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(body["people"].as_array().unwrap().len(), 1_000);
            assert_eq!(*app == "high", body == document());
            assert_eq!(answer.header("etag"), if *app == "high" { "\"v1\"" } else { "W/\"v1\"" }, "{app}");
        }
        assert_eq!(origin.count(), round + 1);
        assert_eq!(node.command(&["cache", "purge", "--all"]).code, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_wait_for_one_answer_see_each_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (origin, node) = start(&dir, "lifetime = \"0s\", stale_if_error = \"1h\", scope = \"shared\"").await;
    origin.hold(true);
    let apps = ["high", "low", "middle", "", "low", "high"];
    let calls: Vec<_> = apps.map(|app| (app, tokio::spawn(get_as(node.address, app, "/people")))).into_iter().collect();
    let under_way = || node.metric("gatehouse_business_requests_in_flight") == Some(6);
    until("six calls under way", || under_way().then_some(())).await;
    assert_eq!(origin.count(), 1);
    origin.hold(false);
    for (app, call) in calls {
        check(&call.await.unwrap().text(), app, "waited");
    }
    // The same of what is over, while the service is down.
    origin.say(|script| script.breaks = true);
    for app in ["high", "low", "", "middle"] {
        check(&get_as(node.address, app, "/people").await.text(), app, "stale");
    }
    // One has found out that it is down; those that came soon after were spared that.
    let calls =
        |outcome| node.metric(&format!("gatehouse_business_cache_calls_total{{api=\"people\",outcome=\"{outcome}\"}}"));
    assert_eq!(calls("stale_error").unwrap_or(0) + calls("stale").unwrap_or(0), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_it_in_parts_of_aggregates_and_items_of_batches() {
    let dir = tempfile::tempdir().unwrap();
    let (origin, node) = start(&dir, "lifetime = \"1h\", scope = \"shared\"").await;
    for app in ["high", "low", "middle", "low", "high"] {
        let items = json!([get("/people"), get("/plain"), get("/page"), get("/made"), get("/people?again")]);
        let answers = batch_as(node.address, app, &items).await;
        assert_eq!(super::outcomes(&answers), vec![(200, ""); 5], "{app}");
        for (answer, item) in answers.iter().zip(items.as_array().unwrap()) {
            check(&answer["body"].to_string(), app, &item["path"].to_string());
        }
        for target in ["/people", "/plain", "/page", "/made"] {
            check(&get_as(node.address, app, target).await.text(), app, target);
        }
        let made: Answer = get_as(node.address, app, "/made").await;
        let made: Value = serde_json::from_slice(&made.body).unwrap();
        let secret = if app == "high" { json!("S3CRET0") } else { Value::Null };
        assert_eq!(made["secret"], secret, "{app}: a template cannot look behind it either");
        let cards: HashSet<&str> = made["text"].as_str().unwrap().split(' ').collect();
        assert_eq!(cards, HashSet::from([if app == "low" { "****1111" } else { "4111111111111111" }]));
    }
    // `plain` is asked each time, `people` once for each of its two targets.
    let of_plain = 5 * (2 + 2);
    assert_eq!(origin.count(), of_plain + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_default_value_stands_for_a_part_and_for_an_item_whose_service_fails() {
    let dir = tempfile::tempdir().unwrap();
    let (_origin, node) = start(&dir, "lifetime = \"1h\"").await;
    let alone = get_as(node.address, "low", "/gone").await;
    assert_eq!((alone.status, alone.header("x-default-answer")), (200, "service_connect_failed"), "{}", alone.text());
    let whole = get_as(node.address, "low", "/missing").await;
    assert_eq!(whole.status, 200, "{}", whole.text());
    assert_eq!(whole.text(), "{\"gone\":{\"people\": [], \"from\": \"default\"}}", "it is an answer, and no failure");
    assert_eq!(whole.header("cache-control"), "no-store", "nobody keeps it");
    let items = batch_as(node.address, "low", &json!([get("/gone"), get("/missing")])).await;
    assert_eq!(super::outcomes(&items), [(200, ""), (200, "")]);
    assert_eq!((&items[0]["body"]["from"], &items[1]["body"]["gone"]["from"]), (&json!("default"), &json!("default")));
    assert_eq!(items[0]["headers"]["x-default-answer"], "service_connect_failed");
    // The log tells what became of the part.
    let part = node.line(|line| line["part"] == "gone").await;
    assert_eq!(part["reason"], "service_connect_failed", "{part}");
}
