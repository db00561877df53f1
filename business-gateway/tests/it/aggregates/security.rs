//! An aggregate goes where the catalog says, whatever a client or a service writes.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::shop::{Shop, call, catalog, page};
use super::{get, json_of};
use crate::support::Site;
use crate::support::client::{Edge, Protocol, empty, request};

/// What an attacker would like a path to become.
const ODD: [&str; 12] = [
    "..%2F..%2Fadmin",
    "..",
    ".",
    "%2e%2e",
    "a/../../b",
    "a%3Fadmin=1",
    "a%23b",
    "a%0d%0aHost:%20evil",
    "http:%2F%2F169.254.169.254%2Flatest",
    "%2F%2F127.0.0.1:9181%2Fpolicy",
    "%00",
    "%5C..%5Cadmin",
];

#[tokio::test]
async fn no_value_changes_the_route_or_the_host() {
    let shop = Shop::start().await;
    let calls = [
        call("user", "users.show", "params = { id = \"request.query.id\" }\nneed = \"optional\""),
        call("file", "files", "params = { rest = \"request.query.id\" }\nneed = \"optional\""),
        call("search", "stock.show", "params = { id = \"'1'\" }\nquery = { q = \"request.query.id\" }"),
    ];
    let site = Site::start(&catalog(&shop, &page("/page", &calls.concat()))).await;
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    for odd in ODD {
        let answer = edge.get(&format!("/page?id={odd}")).await;
        assert_eq!(answer.status, 200, "{odd}: {}", answer.text());
    }
    let requests = shop.requests();
    assert!(requests.len() > ODD.len());
    for request in requests {
        let target = &request.target;
        let segments: Vec<&str> = target.split('?').next().unwrap().split('/').collect();
        let is_one = matches!(segments[1], "users" | "stock") && segments.len() <= 3;
        assert!(is_one || segments[1] == "files", "{target}");
        assert!(!target.contains(['#', '\\', '\r', '\n', '\0', ' ']), "{target}");
        assert!(!segments.contains(&"..") && !segments.contains(&"."), "{target}");
        assert!(!target.to_ascii_lowercase().contains("/%2e"), "{target}");
        assert_eq!(target.contains('?'), segments[1] == "stock", "{target}");
        assert_eq!(request.header("host"), "shop.example", "{target}");
    }
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let shop = Shop::start().await;
    let other = Shop::start().await;
    let location = format!("http://{}/stock/1", other.address);
    let calls = call("part", "headers", &format!("query = {{ location = \"'{location}'\" }}\nneed = \"optional\""));
    let site = Site::start(&catalog(&shop, &page("/page", &calls))).await;
    for status in [301, 302, 303, 307, 308, 300, 304] {
        shop.fail("/headers", status);
        let answer = get(&site, "/page").await;
        assert_eq!(json_of(&answer)["errors"][0]["status"], json!(status));
        assert_eq!(answer.header("location"), "");
    }
    assert_eq!(other.requests().len(), 0);
    assert_eq!(shop.requests().len(), 7, "one call each");
}

#[tokio::test]
async fn what_a_client_says_of_itself_does_not_reach_a_part() {
    let shop = Shop::start().await;
    let calls = call("part", "stock.show", "params = { id = \"'1'\" }\npass_headers = [\"x-tenant\"]");
    let site = Site::start(&catalog(&shop, &page("/page", &calls))).await;
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    let call = request("GET", "/page")
        .header("x-gatehouse-app", "somebody")
        .header("x-gatehouse-user", "root")
        .header("x-forwarded-for", "127.0.0.1")
        .header("x-real-ip", "127.0.0.1")
        .header("x-forwarded-host", "admin.internal")
        .header("forwarded", "for=127.0.0.1")
        .header("connection", "x-tenant")
        .header("x-tenant", "t");
    assert_eq!(edge.exchange(call.body(empty()).unwrap()).await.status, 200);
    let part = &shop.requests()[0];
    for name in ["x-gatehouse-app", "x-gatehouse-user", "forwarded", "x-tenant", "x-gatehouse-hop"] {
        assert_eq!(part.header(name), "", "{name}");
    }
    assert_eq!((part.header("x-forwarded-for"), part.header("x-real-ip")), ("203.0.113.9", "203.0.113.9"));
    assert_eq!(part.header("x-forwarded-host"), "shop.example");
}

#[tokio::test]
async fn a_part_goes_to_the_api_that_is_named_and_not_to_one_that_its_path_would_match() {
    let shop = Shop::start().await;
    // A more special path than that of users.show, at a service of its own.
    let admin = Shop::start().await;
    let more = format!(
        "[[service]]\nname = \"admin\"\nendpoints = [\"{}\"]\n[[api]]\nname = \"admin\"\nservice = \"admin\"\naccess = \"app\"\npath = \"/users/admin\"\n",
        admin.address
    );
    let calls = call("user", "users.show", "params = { id = \"request.query.id\" }");
    let site = Site::start(&catalog(&shop, &[page("/page", &calls), more].concat())).await;
    assert_eq!(json_of(&get(&site, "/page?id=admin").await)["user"]["id"], "admin");
    assert_eq!((admin.requests().len(), shop.requests().len()), (0, 1));
    assert_eq!(shop.seen.under_way.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_value_never_breaks_out_of_the_answer() {
    let shop = Shop::start().await;
    let template =
        "template = '''{\"said\": \"{{ request.query.a }}\", \"is\": {{ request.query.a }}, \"admin\": false}'''\n";
    let calls = [template.to_owned(), call("user", "stock.show", "params = { id = \"'1'\" }")].concat();
    let site = Site::start(&catalog(&shop, &page("/page", &calls))).await;
    for attack in
        ["%22%2C%22admin%22%3Atrue%2C%22x%22%3A%22", "%01%02%22", "%5C", "%5C%22", "%7B%7B%201%20%7D%7D", "%E2%80%A8"]
    {
        let body = json_of(&get(&site, &format!("/page?a={attack}")).await);
        assert_eq!((&body["admin"], body.as_object().unwrap().len()), (&json!(false), 3), "{attack}");
        assert_eq!(body["said"], body["is"], "{attack}");
    }
}
