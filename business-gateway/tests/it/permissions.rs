//! What applications may call: packages, networks, conditions; and what flow rules see of who calls.

use std::path::Path;

use gatehouse_shared::live::ReloadOutcome;

use crate::support::Site;
use crate::support::client::{Answer, BOTH, Edge, empty, request};
use crate::support::service::Service;

const PACKAGES: &str = r#"
[[package]]
name = "orders"
apis = ["orders.*"]

[[package]]
name = "orders-read"
apis = ["orders.*"]
condition = "method == 'GET'"

[[package]]
name = "inside"
apis = ["*"]
networks = ["10.0.0.0/8"]
"#;

/// An application with an API key.
fn app(key: &str, more: &str) -> String {
    format!("[[app]]\nkey = \"{key}\"\napi_keys = [{{ id = \"a\", secret = {{ file = \"api\" }} }}]\n{more}\n")
}

fn write(dir: &Path, service: &Service, more: &str) {
    let api = |name: &str, path: &str, more: &str| {
        format!("[[api]]\nname = \"{name}\"\nservice = \"sample\"\npath = \"{path}\"\n{more}\n")
    };
    let text = [
        format!("[[service]]\nname = \"sample\"\nendpoints = [\"{}\"]\n", service.address),
        api("orders.list", "/orders", ""),
        api("orders.gold", "/gold", "condition = \"app.plan == 'gold'\""),
        api("orders.mine", "/mine", "access = \"user\"\nscopes = [\"read\", \"write\"]"),
        api("stock", "/stock", ""),
        api("open", "/open", "access = \"open\""),
        PACKAGES.to_owned(),
        app("full", "packages = [\"orders\", \"gone\"]\nplan = \"free\""),
        app("reader", "packages = [\"orders-read\"]\nplan = \"gold\""),
        app("insider", "packages = [\"inside\"]"),
        app("elsewhere", "packages = [\"orders\"]\nnetworks = [\"198.51.100.0/24\"]"),
        app("nothing", ""),
        more.to_owned(),
    ];
    std::fs::write(dir.join("api"), "k3y").unwrap();
    std::fs::write(dir.join("catalog.toml"), text.concat()).unwrap();
}

async fn start(service: &Service, more: &str) -> Site {
    let site = Site::start("").await;
    write(&site.config(), service, more);
    let outcome = site.gateway.live.reload();
    assert!(matches!(outcome, ReloadOutcome::Replaced(_)), "{outcome:?}");
    site
}

async fn call(edge: &mut Edge, app: &str, method: &str, target: &str) -> Answer {
    let sent = request(method, target).header("x-api-key", format!("{app}.k3y"));
    edge.exchange(sent.body(empty()).unwrap()).await
}

#[tokio::test]
async fn applications_call_what_their_packages_hold() {
    let service = Service::start().await;
    let site = start(&service, "").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        for (app, method, target, status, code) in [
            ("full", "GET", "/orders", 200, ""),
            ("full", "DELETE", "/orders", 200, ""),
            ("full", "GET", "/stock", 403, "permission_missing"),
            ("full", "GET", "/gold", 403, "condition_refused"),
            ("full", "GET", "/open", 200, ""),
            ("reader", "GET", "/gold", 200, ""),
            ("reader", "DELETE", "/orders", 403, "condition_refused"),
            ("insider", "GET", "/orders", 403, "address_refused"),
            ("elsewhere", "GET", "/orders", 403, "address_refused"),
            ("nothing", "GET", "/orders", 403, "permission_missing"),
            ("nothing", "GET", "/open", 200, ""),
        ] {
            let answer = call(&mut edge, app, method, target).await;
            assert_eq!(answer.status, status, "{app} {method} {target} {protocol:?}: {}", answer.text());
            if status != 200 {
                assert_eq!(answer.code(), code, "{app} {method} {target}");
            }
        }
    }
    assert_eq!(service.requests(), 10, "what is refused reaches no service");
    let line = site.line(|line| line["reason"] == "permission_missing" && line["app"] == "full").await;
    assert_eq!((&line["api"], &line["status"]), (&"stock".into(), &403.into()));
    let metrics = site.gateway.metrics.render();
    assert!(metrics.contains("gatehouse_business_unknown_packages_total 2"), "`gone`, once in each round: {metrics}");
}

#[tokio::test]
async fn a_package_that_grows_grants_at_once() {
    let service = Service::start().await;
    let site = start(&service, "").await;
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    assert_eq!(call(&mut edge, "full", "GET", "/stock").await.status, 403);
    write(&site.config(), &service, "[[package]]\nname = \"gone\"\napis = [\"stock\"]\n");
    assert!(matches!(site.gateway.live.reload(), ReloadOutcome::Replaced(_)));
    assert_eq!(call(&mut edge, "full", "GET", "/stock").await.status, 200);
    write(&site.config(), &service, "");
    assert!(matches!(site.gateway.live.reload(), ReloadOutcome::Replaced(_)));
    assert_eq!(call(&mut edge, "full", "GET", "/stock").await.status, 403);
}

#[tokio::test]
async fn a_rule_knows_who_calls_and_charges_a_limit() {
    let service = Service::start().await;
    let rules = r#"
[[limit]]
name = "writes"
by = ["app"]
rate = "5/1d"

[[flow_rule]]
name = "costly"
apis = ["orders.*"]
when = "app.key == 'full' && app.plan == 'free' && api.name == 'orders.list' && method != 'GET'"
charge = [{ limit = "writes", cost = 2 }]
"#;
    let site = start(&service, rules).await;
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    for expected in [200, 200, 429] {
        let answer = call(&mut edge, "full", "DELETE", "/orders").await;
        assert_eq!(answer.status, expected, "{}", answer.text());
    }
    assert_eq!(call(&mut edge, "full", "GET", "/orders").await.status, 200, "not charged by the rule");
    let line = site.line(|line| line["method"] == "DELETE" && line["status"] == 200).await;
    assert_eq!(line["flow_charged"], serde_json::json!(["writes:2"]));
}

#[tokio::test]
async fn an_api_for_users_asks_for_its_scopes() {
    let service = Service::start().await;
    let site = start(&service, "").await;
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    let apps = &site.gateway.apps;
    let nobody = call(&mut edge, "full", "GET", "/mine").await;
    assert_eq!((nobody.status, nobody.code().as_str()), (401, "user_missing"));
    for (scopes, status) in [(vec!["read"], 403), (vec!["write", "read"], 200)] {
        let scopes = scopes.into_iter().map(str::to_owned).collect();
        let life = std::time::Duration::from_secs(600);
        let token = apps.authorize("full", "alice".to_owned(), scopes, life).await.unwrap().0.clear;
        let sent = request("GET", "/mine").header("x-api-key", "full.k3y").header("x-session-token", token);
        let answer = edge.exchange(sent.body(empty()).unwrap()).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        if status == 403 {
            assert_eq!(answer.code(), "scope_missing");
        }
    }
}

#[tokio::test]
async fn a_limit_counts_by_what_an_expression_says() {
    let service = Service::start().await;
    let rules = r#"
[[limit]]
name = "tenant"
key = "headers['x-tenant'].lower()"
rate = "1/1d"

[[flow_rule]]
name = "tenants"
apis = ["orders.list"]
charge = [{ limit = "tenant" }]
"#;
    let site = start(&service, rules).await;
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    for (tenant, status) in [("a", 200), ("A", 429), ("b", 200), ("", 200), ("", 200)] {
        let mut sent = request("GET", "/orders").header("x-api-key", "full.k3y");
        if !tenant.is_empty() {
            sent = sent.header("x-tenant", tenant);
        }
        let answer = edge.exchange(sent.body(empty()).unwrap()).await;
        assert_eq!(answer.status, status, "{tenant}: {}", answer.text());
    }
    write(&site.config(), &service, &rules.replace("x-tenant'].lower()", "x-tenant'] == 1"));
    let ReloadOutcome::Failed(errors) = site.gateway.live.reload() else { panic!("loaded") };
    assert!(errors.to_string().contains("`==` is not for a text and a whole number"), "{errors}");
}

#[tokio::test]
async fn a_rule_knows_what_is_used_of_a_limit() {
    let service = Service::start().await;
    let rules = r#"
[[limit]]
name = "day"
by = ["app"]
rate = "100/1d"

[[limit]]
name = "second"
by = ["app"]
rate = "1000/5s"

[[flow_rule]]
name = "charging"
apis = ["orders.list"]
charge = [{ limit = "day", cost = 3 }, { limit = "second", cost = 2 }]

[[flow_rule]]
name = "by-expression"
apis = ["orders.list"]
when = "counters['day'] >= 6 && method == 'GET'"
deny = { status = 429, code = "enough" }

[[flow_rule]]
name = "by-script"
apis = ["orders.list"]
script = 'if counters["day"] >= 6 && counters["none"] == 0 { gate.deny("enough"); }'
"#;
    let site = start(&service, rules).await;
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    for (app, method, status) in [
        ("full", "GET", 200),
        ("full", "DELETE", 200),
        ("full", "GET", 429),
        ("full", "DELETE", 403),
        // Another application has used nothing.
        ("reader", "GET", 200),
    ] {
        assert_eq!(call(&mut edge, app, method, "/orders").await.status, status, "{app} {method}");
    }
}
