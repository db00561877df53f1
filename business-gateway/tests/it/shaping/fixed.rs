//! Answers that no service gives: those that stand in the catalog, and default values.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{PACKAGE, Said, Speaker, app, get_as, site};
use crate::support::client::{BOTH, Edge, empty, request};
use crate::support::service::Service;

#[tokio::test]
async fn an_answer_is_rendered_with_what_is_known_of_the_call() {
    let text = [
        PACKAGE.to_owned(),
        app("shop", 0),
        r#"
[[api]]
name = "hello"
path = "/hello/{who}"
[api.answer]
template = '{"hello": {{ path.who }}, "app": {{ app.key }}, "q": {{ query.q }}, "h": {{ headers["x-a"] }}, "id": {{ request_id }}}'
headers = { cache-control = "max-age=60" }

[[api]]
name = "page"
path = "/page"
access = "open"
answer = { status = 410, content_type = "text/html", template = "<p>{{ query.q }}</p>" }

[[api]]
name = "loop"
path = "/loop"
access = "open"
answer = { template = "{% for n in range(query.n | int) %}x{% endfor %}" }
"#
        .to_owned(),
    ];
    let site = site(&text.concat(), "").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let sent = request("GET", "/hello/W%22orld?q=a%0Ab").header("x-a", "\"").header("x-api-key", "shop.k3y");
        let answer = edge.exchange(sent.body(empty()).unwrap()).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, "max-age=60"));
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(
            (&body["hello"], &body["app"], &body["q"], &body["h"]),
            (&"W\"orld".into(), &"shop".into(), &"a\nb".into(), &"\"".into())
        );
        assert_eq!(get_as(&mut edge, "", "/hello/x").await.status, 401, "it is admitted like any other");
        let page = edge.get("/page?q=%3Cscript%3E").await;
        assert_eq!((page.status, page.text().as_str()), (410, "<p>&lt;script&gt;</p>"));
        let head = edge.exchange(request("HEAD", "/page?q=1").body(empty()).unwrap()).await;
        assert_eq!((head.status, head.text().as_str(), head.header("content-length")), (410, "", "8"));
        let missing = edge.exchange(request("HEAD", "/none").body(empty()).unwrap()).await;
        assert_eq!((missing.status, missing.text().as_str()), (404, ""), "refusals have none either");
        assert_eq!(edge.get("/loop?n=3").await.text(), "xxx");
        let refused = edge.get("/loop?n=90000").await;
        assert_eq!((refused.status, refused.code().as_str()), (500, "template_failed"));
    }
    site.line(|line| line["cause"].as_str().is_some_and(|cause| cause.contains("fuel"))).await;
}

fn catalog(table: &str, default: &str) -> String {
    format!(
        "{table}\n[[api]]\nname = \"all\"\nservice = \"sample\"\npath = \"/{{*rest}}\"\naccess = \"open\"\ntimeout = \"200ms\"\n\
         [api.default]\n{default}\n"
    )
}

#[tokio::test]
async fn a_service_that_fails_has_a_default_value() {
    let service = Service::start().await;
    let table = format!("[[service]]\nname = \"sample\"\nendpoints = [\"{}\"]\n", service.address);
    let default = "statuses = [503]\nstatus = 203\ntemplate = '{\"items\": [], \"of\": {{ path.rest }}}'";
    let site = site(&catalog(&table, default), "").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        for (target, cause) in [
            ("/hang", "service_timeout"),
            ("/raw/close", "service_reset"),
            ("/raw/garbage", "service_protocol_error"),
            ("/status?s=503", "status"),
        ] {
            let answer = edge.get(target).await;
            assert_eq!((answer.status, answer.header("x-default-answer")), (203, cause), "{target} {}", answer.text());
            assert_eq!(answer.header("cache-control"), "no-store");
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(body, json!({ "items": [], "of": target.trim_start_matches('/').split('?').next().unwrap() }));
        }
        for status in [500, 404] {
            let answer = edge.get(&format!("/status?s={status}")).await;
            assert_eq!((answer.status, answer.header("x-default-answer")), (status, ""));
        }
    }
    service.stop();
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    let answer = edge.get("/x").await;
    assert_eq!(answer.status, 203);
    let line = site.line(|line| line["default"] == "service_timeout").await;
    assert_eq!((&line["reason"], &line["status"]), (&"service_timeout".into(), &203.into()));
    let metrics = site.gateway.metrics.render();
    let counted = "gatehouse_business_default_answers_total{api=\"all\",cause=\"service_timeout\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn refusals_of_admission_have_no_default_value() {
    let service = Service::start().await;
    let table = format!(
        "[[service]]\nname = \"sample\"\nendpoints = [\"{}\"]\n[[limit]]\nname = \"two\"\nby = [\"api\"]\nrate = \"2/1h\"\n",
        service.address
    );
    let text = catalog(&table, "body = \"{}\"").replace("access = \"open\"", "access = \"open\"\nlimits = [\"two\"]");
    let site = site(&text, "").await;
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    assert_eq!(edge.get("/a").await.status, 200);
    assert_eq!(edge.get("/status?s=503").await.header("x-default-answer"), "status");
    let refused = edge.get("/c").await;
    assert_eq!((refused.status, refused.header("x-default-answer")), (429, ""));
    assert_eq!(service.seen.requests.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_api_has_one_who_answers() {
    let speaker = Speaker::start(Said::json("{}")).await;
    let site = site(&speaker.table(), "").await;
    for (more, expected) in [
        ("service = \"sample\"\nanswer = { body = \"{}\" }", "its calls are answered by"),
        ("", "nobody answers its calls"),
        ("answer = { template = \"{{ x }}\" }", "no input"),
        ("service = \"sample\"\ndefault = { body = \"{\" }", "the body is not JSON"),
        ("service = \"sample\"\ndefault = { statuses = [404] }", "does not say that the service failed"),
        ("service = \"sample\"\ncors = { origins = [\"*\"], credentials = true }", "the cookies of its visitor"),
        ("service = \"sample\"\nfields = [{ path = \"$.a\", level = 1 }]", "not the form of JSONPath"),
    ] {
        site.write("catalog.toml", &format!("{}[[api]]\nname = \"a\"\npath = \"/\"\n{more}\n", speaker.table()));
        let outcome = format!("{:?}", site.gateway.live.reload());
        assert!(outcome.contains(expected), "{more}: {outcome}");
    }
}
