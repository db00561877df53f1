//! Several calls in the place of one, over real connections to real services. What is judged is counted, not timed.

#[cfg(test)]
mod failures;
#[cfg(test)]
mod security;
#[cfg(test)]
pub(crate) mod shop;

use std::sync::atomic::Ordering;
use std::time::Duration;

use gatehouse_shared::hop::{Auth, Origin};
use http::Request;
use serde_json::{Value, json};

use self::shop::{Shop, call, catalog, page};
use crate::support::client::{Answer, BOTH, Edge, Protocol, empty, full, request};
use crate::support::{Site, until};

pub(crate) fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

async fn get(site: &Site, target: &str) -> Answer {
    Edge::connect(site.address, Protocol::Http1).await.get(target).await
}

#[tokio::test]
async fn independent_calls_are_made_at_the_same_time() {
    let shop = Shop::start().await;
    let calls: String =
        (0..5).map(|n| call(&format!("part{n}"), "slow", "query = { ms = \"20\", gate = \"5\" }")).collect();
    let site = Site::start(&catalog(&shop, &page("/page", &calls))).await;
    for protocol in BOTH {
        shop.seen.most_under_way.store(0, Ordering::SeqCst);
        let answer = Edge::connect(site.address, protocol).await.get("/page").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{}", answer.text());
        assert_eq!(json_of(&answer)["part4"], json!({"waited": 20}));
        assert_eq!(json_of(&answer).as_object().unwrap().len(), 5, "no errors");
        // Each answer waits until five calls are there, so one after the other none would ever come.
        assert_eq!(shop.seen.most_under_way.load(Ordering::SeqCst), 5);
        assert_eq!((answer.result().origin, answer.result().auth), (Origin::Service, Auth::Anonymous));
    }
    let whole = site.line(|line| line["api"] == "page").await;
    assert_eq!((&whole["parts"], &whole["service"]), (&json!(5), &Value::Null));
    let id = &whole["request_id"];
    let parts = until("lines of the parts", || {
        let lines = site.lines().into_iter().filter(|line| line["request_id"] == *id && line["part"].is_string());
        let parts: Vec<Value> = lines.collect();
        (parts.len() == 5).then_some(parts)
    });
    for part in parts.await {
        assert_eq!((&part["api"], &part["status"], &part["service"]), (&json!("slow"), &json!(200), &json!("shop")));
    }
    for expected in [
        "gatehouse_business_aggregate_answers_total{aggregate=\"page\",outcome=\"whole\"} 2",
        "gatehouse_business_aggregate_parts_total{aggregate=\"page\",outcome=\"answered\",part=\"part0\"} 2",
        "gatehouse_business_requests_total{api=\"page\",status=\"2xx\"} 2",
        "gatehouse_business_requests_total{api=\"slow\",status=\"2xx\"} 10",
        "gatehouse_business_aggregate_held_bytes 0",
    ] {
        until(expected, || site.gateway.metrics.render().contains(expected).then_some(())).await;
    }
}

#[tokio::test]
async fn a_call_begins_when_those_it_needs_are_over_and_gets_what_it_names() {
    let shop = Shop::start().await;
    let calls = [
        call("order", "orders.show", "params = { id = \"request.params.id\" }"),
        call(
            "user",
            "users.show",
            "params = { id = \"order.body.user\" }\nheaders = { x-order = \"order.body.id\" }\npass_headers = [\"x-tenant\"]",
        ),
        call(
            "prices",
            "prices.find",
            "body = \"{'skus': order.body.lines | map(attribute='sku'), 'to': request.body.currency}\"",
        ),
    ];
    let site = Site::start(&catalog(&shop, &page("/pages/{id}", &calls.concat()))).await;
    let call = request("POST", "/pages/7?x=1")
        .header("x-tenant", "t1")
        .header("authorization", "Bearer secret")
        .header("cookie", "a=1")
        .header("accept-language", "ta")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    let answer = edge.exchange(call.body(full("{\"currency\": \"INR\"}")).unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = json_of(&answer);
    assert_eq!((&body["order"]["id"], &body["user"]["id"]), (&json!("7"), &json!("u-7")));

    let [order, user, prices] = &shop.requests()[..] else { panic!("{:?}", shop.requests()) };
    assert_eq!((&*order.method, &*order.target), ("GET", "/orders/7"));
    assert!(matches!((&*user.target, &*prices.target), ("/users/u-7", "/prices") | ("/prices", "/users/u-7")));
    let (user, prices) = if user.target == "/prices" { (prices, user) } else { (user, prices) };
    assert_eq!((user.header("x-order"), user.header("x-tenant")), ("7", "t1"));
    assert_eq!((order.header("x-tenant"), order.header("x-order")), ("", ""), "each gets what is declared for it");
    assert_eq!((&*prices.method, prices.header("content-type")), ("POST", "application/json"));
    let sent: Value = serde_json::from_str(&prices.body).unwrap();
    assert_eq!(sent, json!({"skus": ["s1", "s2"], "to": "INR"}));
    for part in [order, user, prices] {
        assert_eq!((part.header("authorization"), part.header("cookie")), ("", ""));
        assert_eq!((part.header("accept-language"), part.header("host")), ("ta", "shop.example"));
        assert_eq!((part.header("x-forwarded-for"), part.header("x-gatehouse-hop")), ("203.0.113.9", ""));
        assert!(part.header("traceparent").starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert_eq!(part.header("x-request-id"), order.header("x-request-id"));
        assert!(part.header("x-request-deadline-ms").parse::<u64>().unwrap() <= 30_000);
    }
}

#[tokio::test]
async fn a_template_makes_the_answer() {
    let shop = Shop::start().await;
    let template = r#"template = '''
{"id": {{ order.body.id }}, "title": "Order {{ order.body.id }} of {{ user.body.name }}",
 "skus": [{% for line in order.body.lines %}{{ line.sku }}{% if not loop.last %},{% endif %}{% endfor %}],
 "user": {% if user.ok %}{{ user.body }}{% else %}null{% endif %}, "failed": {{ errors | map(attribute='part') }}}
'''
content_type = "application/vnd.shop+json"
"#;
    let calls = [
        template.to_owned(),
        call("order", "orders.show", "params = { id = \"request.params.id\" }"),
        call("user", "users.show", "params = { id = \"order.body.user\" }\nneed = \"optional\""),
    ];
    let site = Site::start(&catalog(&shop, &page("/pages/{id}", &calls.concat()))).await;
    let answer = get(&site, "/pages/x%22%7D").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/vnd.shop+json"));
    let name = "Asha \"the\" buyer";
    assert_eq!(
        json_of(&answer),
        json!({
            "id": "x\"}", "title": format!("Order x\"}} of {name}"), "skus": ["s1", "s2"],
            "user": {"id": "u-x\"}", "name": name}, "failed": [],
        })
    );
    shop.fail("/users/", 500);
    let answer = get(&site, "/pages/1").await;
    assert_eq!(answer.status, 200);
    assert_eq!((&json_of(&answer)["failed"], &json_of(&answer)["user"]), (&json!(["user"]), &Value::Null));
    assert_eq!(answer.header("x-aggregate-errors"), "user;status=500;code=aggregate_part_failed");
}

#[tokio::test]
async fn conditions_and_defaults() {
    let shop = Shop::start().await;
    let calls = [
        call("order", "orders.show", "params = { id = \"'1'\" }\nwhen = \"request.query.order == 'yes'\""),
        call("user", "users.show", "params = { id = \"order.body.user\" }"),
        call(
            "stock",
            "stock.show",
            "params = { id = \"'1'\" }\nwhen = \"request.query.stock is defined\"\nneed = \"default\"\ndefault = { left = 0 }",
        ),
        call("backup", "users.show", "params = { id = \"'b'\" }\nwhen = \"not user.ok\""),
    ];
    let site = Site::start(&catalog(&shop, &page("/page", &calls.concat()))).await;
    let body = json_of(&get(&site, "/page").await);
    assert_eq!(body, json!({"stock": {"left": 0}, "backup": {"id": "b", "name": "Asha \"the\" buyer"}}));
    let answer = get(&site, "/page?order=yes&stock").await;
    assert_eq!(answer.header("x-aggregate-errors"), "", "what was not asked for is no failure");
    let body = json_of(&answer);
    assert_eq!((&body["user"]["id"], &body["stock"]), (&json!("u-1"), &json!({"left": 5})));
    assert_eq!(body.get("backup"), None);
    shop.fail("/stock/", 503);
    let answer = get(&site, "/page?order=yes&stock").await;
    let body = json_of(&answer);
    assert_eq!((answer.status, &body["stock"]), (200, &json!({"left": 0})));
    let error = json!({
        "part": "stock", "status": 503, "code": "aggregate_part_failed", "sub_code": "isp.part-failed", "retry_after": 1,
        "default": true
    });
    assert_eq!(body["errors"], json!([error]));
    let metrics = site.gateway.metrics.render();
    for expected in [
        "gatehouse_business_aggregate_parts_total{aggregate=\"page\",outcome=\"skipped\",part=\"order\"} 1",
        "gatehouse_business_aggregate_parts_total{aggregate=\"page\",outcome=\"failed\",part=\"stock\"} 1",
        "gatehouse_business_aggregate_answers_total{aggregate=\"page\",outcome=\"partial\"} 1",
    ] {
        assert!(metrics.contains(expected), "{expected}\n{metrics}");
    }
}

#[tokio::test]
async fn the_answer_is_kept_as_the_strictest_part_says() {
    let shop = Shop::start().await;
    let with = |age: &str, more: &str| {
        call(&format!("p{age}"), "headers", &format!("query = {{ \"cache-control\" = \"'{age}'\" }}\n{more}"))
            .replace(&format!("\"p{age}\""), &format!("\"p{}\"", age.replace(['-', '='], "_")))
    };
    let calls = [with("max-age=60", ""), with("max-age=20", "pass_headers = [\"X-Tenant\"]")];
    let site = Site::start(&catalog(&shop, &page("/page", &calls.concat()))).await;
    let answer = get(&site, "/page").await;
    assert_eq!((answer.header("cache-control"), answer.header("vary")), ("max-age=20", "x-tenant"));
    assert_eq!((answer.header("set-cookie"), answer.header("x-own")), ("", ""), "headers of parts are their own");
    let looks = "query = { \"cache-control\" = \"'max-age=9'\", \"x-in\" = \"request.headers['Accept-Language']\" }";
    let site = Site::start(&catalog(&shop, &page("/page", &call("part", "headers", looks)))).await;
    let answer = get(&site, "/page").await;
    assert_eq!((answer.header("cache-control"), answer.header("vary")), ("max-age=9", "accept-language"));
    let calls = [with("max-age=60", ""), with("max-age=20", "pass_cookies = true")];
    let site = Site::start(&catalog(&shop, &page("/page", &calls.concat()))).await;
    let answer = get(&site, "/page").await;
    assert_eq!((answer.header("cache-control"), answer.header("set-cookie")), ("no-store", "part=1"));
}

#[tokio::test]
async fn each_part_takes_the_slot_of_its_own_pool_and_the_app_is_charged_once() {
    let shop = Shop::start().await;
    let calls: String = (0..3).map(|n| call(&format!("part{n}"), "slow", "query = { ms = \"1\" }")).collect();
    let limits = "limits = [\"few\"]";
    let more = "[[pool]]\nname = \"shop\"\nsize = 1\nwait_max = \"20s\"\n[[limit]]\nname = \"few\"\nby = [\"api\"]\nrate = \"4/1h\"\n";
    let page = page("/page", &calls).replace("name = \"page\"\naccess", &format!("name = \"page\"\n{limits}\naccess"));
    let site = Site::start(&(catalog(&shop, &page) + more)).await;
    // With one slot for all, three calls go one after the other; a slot for the whole would let none of them go.
    for _ in 0..4 {
        let answer = get(&site, "/page").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(shop.seen.most_under_way.load(Ordering::SeqCst), 1);
    assert_eq!(shop.requests().len(), 12);
    let refused = get(&site, "/page").await;
    assert_eq!((refused.status, &*refused.code()), (429, "quota_api"), "four calls of the whole, however many parts");
}

#[tokio::test]
async fn an_aggregate_may_be_a_part() {
    let shop = Shop::start().await;
    let inner = call("stock", "stock.show", "params = { id = \"request.params.id\" }\nneed = \"optional\"");
    let inner = [inner, call("user", "users.show", "params = { id = \"request.params.id\" }")].concat();
    let inner = page("/inner/{id}", &inner).replace("\"page\"", "\"inner\"");
    let outer = ["left", "right"]
        .map(|name| {
            call(name, "inner", &format!("params = {{ id = \"'{}'\" }}", name.chars().next().unwrap_or_default()))
        })
        .concat();
    let site = Site::start(&catalog(&shop, &[inner, page("/page", &outer)].concat())).await;
    let body = json_of(&get(&site, "/page").await);
    assert_eq!((&body["left"]["user"]["id"], &body["right"]["user"]["id"]), (&json!("l"), &json!("r")));
    let line = site.line(|line| line["part"] == "left/user").await;
    assert_eq!(line["api"], "users.show");
    shop.fail("/stock/l", 500);
    let answer = get(&site, "/page").await;
    assert_eq!(answer.header("x-aggregate-errors"), "left/stock;status=500;code=aggregate_part_failed");
    assert_eq!(answer.header("cache-control"), "no-store");
    shop.fail("/users/r", 404);
    let answer = get(&site, "/page").await;
    assert_eq!((answer.status, &*answer.code()), (404, "aggregate_part_refused"));
}

#[tokio::test]
async fn what_is_under_way_is_given_up_with_the_client_and_stays_charged() {
    let shop = Shop::start().await;
    let calls = call("part", "slow", "query = { gate = \"2\" }");
    let more = "[[limit]]\nname = \"few\"\nby = [\"api\"]\nrate = \"1/1h\"\n";
    let page = page("/page", &calls).replace("name = \"page\"\naccess", "name = \"page\"\nlimits = [\"few\"]\naccess");
    let site = Site::start(&(catalog(&shop, &page) + more)).await;
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    let waiting = tokio::spawn(async move { edge.get("/page").await });
    until("a part under way", || (shop.seen.under_way.load(Ordering::SeqCst) == 1).then_some(())).await;
    waiting.abort();
    until("no part under way", || (shop.seen.under_way.load(Ordering::SeqCst) == 0).then_some(())).await;
    let line = site.line(|line| line["part"] == "part").await;
    assert_eq!(line["reason"], "client_closed");
    assert_eq!(get(&site, "/page").await.status, 429, "the service may have done something");
}

#[tokio::test]
async fn the_plan_is_shown() {
    let shop = Shop::start().await;
    let calls = call("user", "users.show", "params = { id = \"request.query.id\" }\nneed = \"optional\"");
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog(&shop, &page("/page", &calls));
    let node = crate::support::process::Process::start(dir.path(), "one", &catalog, "").await;
    let shown = node.command(&["aggregate", "explain", "page"]);
    assert_eq!(shown.code, Some(0), "{}", shown.error);
    for expected in ["answers   page (/page)", "user: GET /users/{request.query.id}", "need    optional"] {
        assert!(shown.out.contains(expected), "{}", shown.out);
    }
    let unknown = node.command(&["aggregate", "explain", "pag"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.error.contains("no aggregate \"pag\"; there are: page"), "{}", unknown.error);
    let mut edge = Edge::connect(node.address, Protocol::Http1).await;
    assert_eq!(json_of(&edge.get("/page?id=9").await)["user"]["id"], "9");
}

/// A `POST` with a body.
fn post(target: &str, body: impl Into<bytes::Bytes>) -> Request<crate::support::client::Body> {
    request("POST", target).body(full(body)).unwrap()
}

/// Long enough for a call that hangs to be noticed, and short enough to wait for.
const SHORT: Duration = Duration::from_millis(200);

/// A `GET` of which the edge says how much time is left.
fn get_within(target: &str, left: Duration) -> Request<crate::support::client::Body> {
    let said = crate::support::client::Said { left, ..Default::default() };
    crate::support::client::request_as("GET", target, said).body(empty()).unwrap()
}
