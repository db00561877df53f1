//! What becomes of the whole when something is wrong with a part.

use std::sync::atomic::Ordering;

use gatehouse_shared::hop::{Origin, Retry};
use serde_json::{Value, json};

use super::shop::{Shop, call, catalog, page};
use super::{SHORT, get, get_within, json_of, post};
use crate::support::client::{Answer, Edge, Protocol};
use crate::support::{Site, until};

/// Two calls, the second of which is `optional` or what else `need` says.
fn two(need: &str) -> String {
    let user = "params = { id = \"request.query.user\" }";
    let stock = format!("params = {{ id = \"'1'\" }}\nneed = \"{need}\"");
    page("/page", &[call("user", "users.show", user), call("stock", "stock.show", &stock)].concat())
}

fn problem(answer: &Answer) -> (u16, String, Value) {
    let body = json_of(answer);
    (answer.status, body["code"].as_str().unwrap().to_owned(), body["sub_code"].clone())
}

#[tokio::test]
async fn an_optional_part_that_fails_is_named_in_the_answer() {
    let shop = Shop::start().await;
    let site = Site::start(&catalog(&shop, &two("optional"))).await;
    shop.fail("/stock/", 500);
    let answer = get(&site, "/page?user=7").await;
    assert_eq!(answer.status, 200, "what is there is right");
    let error = json!({
        "part": "stock", "status": 500, "code": "aggregate_part_failed", "sub_code": "isp.part-failed", "default": false
    });
    let user = json!({"id": "7", "name": "Asha \"the\" buyer"});
    assert_eq!(json_of(&answer), json!({"user": user, "stock": null, "errors": [error]}));
    assert_eq!(answer.header("x-aggregate-errors"), "stock;status=500;code=aggregate_part_failed");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(!answer.text().contains("secret"), "nothing of what the service said");
    let whole = site.line(|line| line["api"] == "page").await;
    assert_eq!((&whole["status"], &whole["parts"], &whole["parts_failed"]), (&json!(200), &json!(2), &json!("stock")));
    let part = site.line(|line| line["part"] == "stock").await;
    assert_eq!((&part["status"], &part["request_id"]), (&json!(500), &whole["request_id"]));
}

#[tokio::test]
async fn a_required_part_that_fails_decides_the_status() {
    let shop = Shop::start().await;
    let site = Site::start(&catalog(&shop, &two("required"))).await;
    let cases = [
        (500, 502, "aggregate_part_failed", "isp.part-failed"),
        (503, 503, "aggregate_part_failed", "isp.part-failed"),
        (504, 504, "aggregate_part_failed", "isp.part-failed"),
        (302, 502, "aggregate_part_failed", "isp.part-failed"),
        (401, 502, "aggregate_part_failed", "isp.part-failed"),
        (429, 502, "aggregate_part_failed", "isp.part-failed"),
        (404, 404, "aggregate_part_refused", "isv.part-refused"),
        (422, 422, "aggregate_part_refused", "isv.part-refused"),
    ];
    for (said, status, code, sub_code) in cases {
        shop.fail("/stock/", said);
        let answer = get(&site, "/page?user=7").await;
        assert_eq!(problem(&answer), (status, code.to_owned(), json!(sub_code)), "{said}");
        assert_eq!(json_of(&answer)["detail"], json!(format!("the part \"stock\" was answered with {said}")));
        assert_eq!((answer.result().origin, answer.result().retry), (Origin::Gateway, Retry::Never));
        assert_eq!(answer.header("retry-after"), if status == 503 { "1" } else { "" });
    }
    let metrics = site.gateway.metrics.render();
    let expected = "gatehouse_business_aggregate_answers_total{aggregate=\"page\",outcome=\"failed\"} 8";
    assert!(metrics.contains(expected), "{metrics}");
}

#[tokio::test]
async fn the_caller_is_told_what_of_its_request_is_missing() {
    let shop = Shop::start().await;
    let body = "body = \"request.body\"";
    let prices = call("prices", "prices.find", body);
    let wanted = page("/wanted", &prices).replace("\"page\"", "\"wanted\"");
    let more = [two("optional"), wanted].concat();
    let settings = "[aggregate]\nrequest_max = \"64B\"\ndepth_max = 4\nvalue_max = \"1KiB\"\n";
    let site = Site::with(&catalog(&shop, &more), settings).await;
    let answer = get(&site, "/page").await;
    assert_eq!(problem(&answer), (400, "aggregate_input_invalid".to_owned(), json!("isv.invalid-input")));
    assert_eq!(json_of(&answer)["detail"], "params.id of the part \"user\" has no value");
    assert_eq!(get(&site, "/page?user=..").await.status, 400);
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    for (body, status, code) in [
        ("{\"a\": [1]}".to_owned(), 200, ""),
        ("{\"a\": ".to_owned(), 400, "aggregate_input_invalid"),
        ("[[[[[]]]]]".to_owned(), 400, "aggregate_input_invalid"),
        (format!("\"{}\"", "x".repeat(80)), 413, "aggregate_body_too_large"),
        ("[{},{},{}]".to_owned(), 413, "aggregate_body_too_large"),
    ] {
        let answer = edge.exchange(post("/wanted", body.clone())).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        if status != 200 {
            assert_eq!(answer.code(), code, "{body}");
            assert_eq!(answer.result().retry, Retry::Safe, "nothing was executed");
        }
    }
    assert_eq!(shop.requests().iter().filter(|request| request.method == "POST").count(), 1);
}

#[tokio::test]
async fn a_part_that_needs_one_that_failed_fails_with_it() {
    let shop = Shop::start().await;
    let calls = [
        call("user", "users.show", "params = { id = \"'1'\" }\nneed = \"optional\""),
        call("orders", "orders.show", "params = { id = \"user.body.id\" }\nneed = \"optional\""),
        call("stock", "stock.show", "params = { id = \"'1'\" }"),
        call("nothing", "stock.show", "params = { id = \"stock.body.absent\" }\nneed = \"optional\""),
    ];
    let site = Site::start(&catalog(&shop, &page("/page", &calls.concat()))).await;
    shop.fail("/users/", 500);
    let answer = get(&site, "/page").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let codes: Vec<(String, String)> = json_of(&answer)["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["part"].as_str().unwrap().to_owned(), error["code"].as_str().unwrap().to_owned()))
        .collect();
    let expected = [
        ("user", "aggregate_part_failed"),
        ("orders", "aggregate_part_not_made"),
        ("nothing", "aggregate_part_not_made"),
    ];
    assert_eq!(codes, expected.map(|(part, code)| (part.to_owned(), code.to_owned())));
    assert_eq!(shop.requests().len(), 2, "what cannot be asked for is not asked for");
}

#[tokio::test]
async fn a_part_has_its_own_time_within_that_of_the_whole() {
    let shop = Shop::start().await;
    let hanging = call("hanging", "hang", "timeout = \"50ms\"\nneed = \"optional\"");
    let stock = call("stock", "stock.show", "params = { id = \"'1'\" }");
    let endless = page("/endless", &call("hanging", "hang", "")).replace("\"page\"", "\"endless\"");
    let whole = page("/whole", &call("hanging", "hang", "timeout = \"1h\""))
        .replace("\"page\"", "\"whole\"")
        .replace("path = ", "timeout = \"50ms\"\npath = ");
    let site =
        Site::start(&catalog(&shop, &[page("/page", &[hanging, stock].concat()), endless, whole].concat())).await;
    let answer = get(&site, "/page").await;
    assert_eq!((answer.status, &json_of(&answer)["stock"]), (200, &json!({"left": 5})));
    assert_eq!(answer.header("x-aggregate-errors"), "hanging;status=504;code=deadline_exceeded");
    let mut edge = Edge::connect(site.address, Protocol::Http1).await;
    for request in [get_within("/endless", SHORT), get_within("/whole", crate::support::SOON)] {
        let answer = edge.exchange(request).await;
        assert_eq!((answer.status, &*answer.code()), (504, "deadline_exceeded"));
    }
    until("no part under way", || (shop.seen.under_way.load(Ordering::SeqCst) == 0).then_some(())).await;
}

#[tokio::test]
async fn a_part_that_is_refused_here_says_why() {
    let shop = Shop::start().await;
    let refused = call("user", "users.show", "params = { id = \"'1'\" }\nneed = \"optional\"");
    let gone = call("gone", "gone", "need = \"optional\"");
    let stock = call("stock", "stock.show", "params = { id = \"'1'\" }");
    let needed = page("/needed", &call("gone", "gone", "")).replace("\"page\"", "\"needed\"");
    // Nobody listens there, and no call of users.show ever gets a slot while one hangs.
    let more = "[[service]]\nname = \"gone\"\nendpoints = [\"127.0.0.1:1\"]\n[[api]]\nname = \"gone\"\nservice = \"gone\"\naccess = \"open\"\npath = \"/gone\"\n\
                [[pool]]\nname = \"one\"\nsize = 1\nqueue_max = 1\nwait_max = \"0s\"\n";
    let catalog = catalog(&shop, &[page("/page", &[refused, gone, stock].concat()), needed, more.to_owned()].concat())
        .replace("name = \"users.show\"", "name = \"users.show\"\npool = \"one\"")
        .replace("name = \"hang\"", "name = \"hang\"\npool = \"one\"");
    let site = Site::start(&catalog).await;
    let hanging = tokio::spawn({
        let address = site.address;
        async move { Edge::connect(address, Protocol::Http1).await.get("/hang").await }
    });
    until("a call that hangs", || (shop.seen.under_way.load(Ordering::SeqCst) == 1).then_some(())).await;
    let answer = get(&site, "/page").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let errors = json_of(&answer)["errors"].clone();
    assert_eq!((&errors[0]["part"], &errors[0]["code"]), (&json!("user"), &json!("service_overloaded")));
    assert_eq!((&errors[0]["sub_code"], &errors[0]["retry_after"]), (&json!("isp.service-overloaded"), &json!(1)));
    assert_eq!((&errors[1]["part"], &errors[1]["code"]), (&json!("gone"), &json!("service_connect_failed")));
    let answer = get(&site, "/needed").await;
    assert_eq!((answer.status, &*answer.code()), (502, "service_connect_failed"));
    assert_eq!(answer.result().retry, Retry::Safe, "nothing was executed");
    hanging.abort();
}

#[tokio::test]
async fn answers_are_bounded_and_read_as_declared() {
    let shop = Shop::start().await;
    let part = |name: &str, query: &str, more: &str| {
        call(name, "body", &format!("query = {{ {query} }}\nneed = \"optional\"\n{more}"))
    };
    let calls = [
        part("fits", "bytes = \"1000\"", ""),
        part("long", "bytes = \"2000\"", ""),
        part("deep", "depth = \"9\"", ""),
        part("text", "a = \"'<p>'\"", "answer = \"text\""),
        part("wrong", "a = \"'<p>'\"", ""),
        part("unread", "a = \"'<p>'\"", "answer = \"none\""),
        part("empty", "a = \"''\"", ""),
        part("read", "a = \"'{'\"", "when = \"fits.body\""),
    ];
    let settings = "[aggregate]\npart_max = \"1KiB\"\ndepth_max = 8\n";
    let site = Site::with(&catalog(&shop, &page("/page", &calls.concat())), settings).await;
    let answer = get(&site, "/page").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = json_of(&answer);
    assert_eq!((&body["text"], &body["unread"], &body["empty"]), (&json!("<p>"), &Value::Null, &Value::Null));
    assert_eq!(body["fits"].as_str().unwrap().len(), 998);
    let failed: Vec<&str> =
        body["errors"].as_array().unwrap().iter().map(|error| error["part"].as_str().unwrap()).collect();
    assert_eq!(failed, ["long", "deep", "wrong", "read"]);
    assert!(body["errors"].as_array().unwrap().iter().all(|error| error["code"] == "aggregate_part_unusable"));
    let metrics = site.gateway.metrics.render();
    for bound in ["part_max", "depth_max"] {
        let expected = format!("gatehouse_business_aggregate_bounds_total{{bound=\"{bound}\"}} 1");
        assert!(metrics.contains(&expected), "{expected}\n{metrics}");
    }
}

#[tokio::test]
async fn what_a_node_holds_and_what_an_answer_is_made_of_are_bounded() {
    let shop = Shop::start().await;
    let calls = |need: &str| -> String {
        let more = format!("query = {{ bytes = \"1000\" }}\nneed = \"{need}\"");
        ["a", "b", "c"].map(|name| call(name, "body", &more)).concat()
    };
    let one = catalog(&shop, &page("/page", &calls("required")));
    let site = Site::with(&one, "[aggregate]\nsum_max = \"2KiB\"\n").await;
    assert_eq!(get(&site, "/page").await.code(), "aggregate_part_unusable");
    let site = Site::with(&one, "[aggregate]\nheld_max = \"2KiB\"\n").await;
    assert_eq!(get(&site, "/page").await.code(), "aggregate_no_room");
    assert_eq!(site.gateway.live.current().value.catalog.aggregates.room.used(), 0, "given back");
    let two = catalog(&shop, &page("/page", &calls("optional")));
    let site = Site::with(&two, "[aggregate]\nsum_max = \"2KiB\"\n").await;
    let errors = json_of(&get(&site, "/page").await)["errors"].clone();
    assert_eq!(errors.as_array().unwrap().len(), 1);
    assert!(site.gateway.metrics.render().contains("aggregate_bounds_total{bound=\"sum_max\"} 1"));

    let many = format!("{{% set many = [{}] %}}", "1,".repeat(400));
    let slow = many + "{% for x in many %}{% for y in many %}{% endfor %}{% endfor %}1";
    for (template, bound) in [("{{ a.body }}", "answer_max"), (&*slow, "fuel")] {
        let page = page("/page", &format!("template = \"\"\"{template}\"\"\"\n{}", calls("required")));
        let site = Site::with(&catalog(&shop, &page), "[aggregate]\nanswer_max = \"500B\"\n").await;
        let answer = get(&site, "/page").await;
        assert_eq!(problem(&answer), (502, "aggregate_answer_failed".to_owned(), json!("isp.aggregate-answer-failed")));
        let metrics = site.gateway.metrics.render();
        assert!(metrics.contains(&format!("aggregate_bounds_total{{bound=\"{bound}\"}} 1")), "{metrics}");
        let line = site.line(|line| line["reason"] == "aggregate_answer_failed").await;
        assert!(line["cause"].as_str().unwrap().contains("the template"), "{line}");
    }
}
