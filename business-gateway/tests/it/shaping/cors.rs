//! Which pages of other origins may call, and read what comes back.

use serde_json::Value;

use super::{PACKAGE, Said, Speaker, app, site};
use crate::support::client::{Answer, BOTH, Edge, empty, request};

const SHOP: &str = "https://shop.example";

async fn ask(edge: &mut Edge, target: &str, origin: &str, method: &str, headers: &str) -> Answer {
    let mut sent = request("OPTIONS", target).header("origin", origin).header("access-control-request-method", method);
    if !headers.is_empty() {
        sent = sent.header("access-control-request-headers", headers);
    }
    edge.exchange(sent.body(empty()).unwrap()).await
}

fn catalog(speaker: &Speaker) -> String {
    let api = |name: &str, more: &str| {
        format!(
            "[[api]]\nname = \"{name}\"\nservice = \"sample\"\npath = \"/orders\"\nmethods = [\"{name}\"]\n{more}\n"
        )
    };
    let cors = format!(
        "cors = {{ origins = [\"{SHOP}\", \"https://*.example.com\"], headers = [\"x-api-key\"], expose = [\"etag\"], credentials = true }}"
    );
    [
        speaker.table(),
        PACKAGE.to_owned(),
        app("shop", 0),
        api("GET", &cors),
        api("PUT", &cors.replace("credentials = true", "max_age = \"1m\"")),
        api("POST", ""),
        "[[api]]\nname = \"asked\"\nservice = \"sample\"\npath = \"/orders\"\nmethods = [\"OPTIONS\"]\naccess = \"open\"\n".to_owned(),
    ]
    .concat()
}

#[tokio::test]
async fn a_browser_is_answered_before_anybody_asks_for_credentials() {
    let speaker = Speaker::start(Said::json("{}")).await;
    let site = site(&catalog(&speaker), "").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let answer = ask(&mut edge, "/orders", SHOP, "PUT", "X-Api-Key").await;
        assert_eq!((answer.status, answer.text().as_str()), (204, ""));
        assert_eq!(answer.header("access-control-allow-origin"), SHOP);
        assert_eq!(answer.header("access-control-allow-methods"), "PUT");
        assert_eq!(answer.header("access-control-allow-headers"), "x-api-key");
        assert_eq!(answer.header("access-control-max-age"), "60");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
        let answer = ask(&mut edge, "/orders", "https://a.b.example.com", "GET", "").await;
        assert_eq!((answer.status, answer.header("access-control-allow-credentials")), (204, "true"));
        let varies: Vec<_> = answer.headers.get_all("vary").iter().collect();
        assert!(varies.iter().any(|value| *value == "origin"), "{varies:?}");
        for (origin, method, headers) in
            [("https://evil.test", "GET", ""), ("null", "GET", ""), (SHOP, "GET", "x-other")]
        {
            let answer = ask(&mut edge, "/orders", origin, method, headers).await;
            assert_eq!((answer.status, answer.code().as_str()), (403, "cors_refused"), "{origin} {headers}");
        }
        assert_eq!(speaker.asked().len(), 0, "no service sees a browser's question");
    }
    let line = site.line(|line| line["method"] == "OPTIONS" && line["status"] == 204).await;
    assert_eq!(line["app"], Value::Null);
    let metrics = site.gateway.metrics.render();
    assert!(metrics.contains("gatehouse_business_cors_total{outcome=\"preflight\"} 4"), "{metrics}");
    assert!(metrics.contains("gatehouse_business_cors_total{outcome=\"preflight_refused\"} 6"), "{metrics}");
}

#[tokio::test]
async fn an_api_without_cors_leaves_the_question_to_its_service() {
    let speaker = Speaker::start(Said::json("{}").with("access-control-allow-origin", "*")).await;
    let site = site(&catalog(&speaker), "").await;
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    let answer = ask(&mut edge, "/orders", "https://evil.test", "POST", "").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, "*"));
    assert_eq!(speaker.asked()[0].method, "OPTIONS");
}

#[tokio::test]
async fn refusals_can_be_read_by_the_page_that_was_refused() {
    let says = Said::json("{}").with("access-control-allow-origin", "*").with("etag", "\"a\"");
    let speaker = Speaker::start(says).await;
    let site = site(&catalog(&speaker), "").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        for (origin, key, status, allowed) in [
            (SHOP, "", 401, SHOP),
            (SHOP, "shop.wrong", 401, SHOP),
            (SHOP, "shop.k3y", 200, SHOP),
            ("https://evil.test", "", 401, ""),
            ("https://evil.test", "shop.k3y", 200, ""),
        ] {
            let mut sent = request("GET", "/orders").header("origin", origin);
            if !key.is_empty() {
                sent = sent.header("x-api-key", key);
            }
            let answer = edge.exchange(sent.body(empty()).unwrap()).await;
            assert_eq!(
                (answer.status, answer.header("access-control-allow-origin")),
                (status, allowed),
                "{origin} {key}"
            );
            assert_eq!(answer.header("access-control-expose-headers"), if allowed.is_empty() { "" } else { "etag" });
            assert_eq!(answer.header("vary"), "origin");
        }
    }
}
