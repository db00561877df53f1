//! Operators' rules on real calls: they refuse, change and tag them, and never stop the node.

use std::process::Command;

use gatehouse_shared::live::ReloadOutcome;
use serde_json::Value;

use crate::support::client::{Answer, BOTH, Edge, empty, request};
use crate::support::service::Service;
use crate::support::{Site, catalog};

fn with_rules(service: &Service, rules: &str) -> String {
    catalog(&[service.address], "") + rules
}

fn seen(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

fn header<'a>(echo: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = echo["headers"].as_array().unwrap().iter();
    headers.filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_rule_refuses_a_call_in_its_own_words() {
    let service = Service::start().await;
    let rules = "[[flow_rule]]\nname = \"no-delete\"\napis = [\"*\"]\nwhen = \"method == 'DELETE'\"\n\
                 deny = { status = 451, code = \"no-delete\", detail = \"Nothing is deleted here.\" }\n";
    let site = Site::start(&with_rules(&service, rules)).await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let answer = edge.exchange(request("DELETE", "/orders/1").body(empty()).unwrap()).await;
        assert_eq!((answer.status, answer.code().as_str()), (451, "flow_rule_denied"), "{protocol:?}");
        let body = seen(&answer);
        assert_eq!((&body["sub_code"], &body["detail"]), (&"isv.no-delete".into(), &"Nothing is deleted here.".into()));
        assert_eq!(edge.get("/orders/1").await.status, 200);
    }
    assert_eq!(service.requests(), 2, "what is refused reaches no service");
    let line = site.line(|line| line["status"] == 451).await;
    assert_eq!((&line["reason"], &line["flow_rule"]), (&"flow_rule_denied".into(), &"no-delete".into()));
    let metrics = site.gateway.metrics.render();
    for expected in [
        "gatehouse_business_flow_rule_calls_total{outcome=\"deny\",rule=\"no-delete\"} 2",
        "gatehouse_business_flow_rule_calls_total{outcome=\"pass\",rule=\"no-delete\"} 2",
    ] {
        assert!(metrics.contains(expected), "{expected}\n{metrics}");
    }
}

#[tokio::test]
async fn rules_change_the_request_and_the_answer() {
    let service = Service::start().await;
    let rules = r#"
[[flow_rule]]
name = "request"
apis = ["all"]
set_headers = { x-from = "client.address", x-lane = "query.lane + '!'" }
remove_headers = ["x-debug"]
set_query = { tier = "'a b'" }
remove_query = ["lane"]
tags = { lane = "query.lane" }

[[flow_rule]]
name = "answer"
apis = ["all"]
at = "response"
script = '''
    if response.status == 200 && method == "GET" && query["tier"] == "a b" {
        gate.set_status(203);
        gate.set_header("x-seen", response.headers["content-length"] + "/" + headers["x-lane"]);
        gate.remove_header("date");
    }
'''
"#;
    let site = Site::start(&with_rules(&service, &rules.replace("        gate.remove_header(\"date\");\n", ""))).await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let sent = request("GET", "/x?lane=fast&z=1").header("x-debug", "1").header("x-from", "forged");
        let answer = edge.exchange(sent.body(empty()).unwrap()).await;
        assert_eq!(answer.status, 203, "{}", answer.text());
        let echo = seen(&answer);
        assert_eq!(echo["target"], "/x?z=1&tier=a%20b", "{protocol:?}");
        assert_eq!(header(&echo, "x-from"), ["203.0.113.9"]);
        assert_eq!(header(&echo, "x-lane"), ["fast!"]);
        assert!(header(&echo, "x-debug").is_empty());
        assert_eq!(answer.header("x-seen"), format!("{}/fast!", answer.body.len()));
    }
    let line = site.line(|line| line["path"] == "/x").await;
    assert_eq!(line["tags"], serde_json::json!(["lane=fast"]));
}

#[tokio::test]
async fn an_observed_rule_is_seen_and_not_acted_on() {
    let service = Service::start().await;
    let rules = "[[flow_rule]]\nname = \"watched\"\napis = [\"*\"]\nmode = \"observe\"\nwhen = \"path == '/watched'\"\ndeny = {}\n";
    let site = Site::start(&with_rules(&service, rules)).await;
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    assert_eq!(edge.get("/watched").await.status, 200);
    assert_eq!(edge.get("/other").await.status, 200);
    let line = site.line(|line| line["path"] == "/watched").await;
    assert_eq!(line["flow_observed"], serde_json::json!(["watched"]));
    let other = site.line(|line| line["path"] == "/other").await;
    assert!(other.get("flow_observed").is_none(), "{other}");
    let metrics = site.gateway.metrics.render();
    assert!(metrics.contains("flow_rule_calls_total{outcome=\"observed\",rule=\"watched\"} 1"), "{metrics}");
}

#[tokio::test]
async fn what_loops_or_grows_is_cut_and_the_node_goes_on() {
    let service = Service::start().await;
    let rules = r#"
[[flow_rule]]
name = "hostile"
apis = ["*"]
on_error = "ON_ERROR"
script = '''
    fn deeper(n) { deeper(n + 1) }
    if path == "/loop" { loop { } }
    if path == "/grow" { let s = "x"; loop { s += s; } }
    if path == "/list" { let a = [1]; loop { a += a; } }
    if path == "/deep" { deeper(0); }
    if path == "/fail" { let x = 1 / 0; }
'''
"#;
    for (on_error, status) in [("pass", 200), ("deny", 503)] {
        let site = Site::start(&with_rules(&service, &rules.replace("ON_ERROR", on_error))).await;
        let mut edge = Edge::connect(site.address, BOTH[1]).await;
        for path in ["/loop", "/grow", "/list", "/deep", "/fail"] {
            let answer = edge.get(path).await;
            assert_eq!(answer.status, status, "{path}");
            if status == 503 {
                assert_eq!(answer.code(), "flow_rule_failed");
                assert_eq!(seen(&answer)["sub_code"], "isp.rule-failed");
            }
            assert_eq!(edge.get("/fine").await.status, 200, "after {path}");
        }
        let line = site.line(|line| line["path"] == "/grow").await;
        assert_eq!(line["flow_failed"], serde_json::json!(["hostile"]));
        let metrics = site.gateway.metrics.render();
        for expected in ["outcome=\"cut\",rule=\"hostile\"} 4", "outcome=\"failed\",rule=\"hostile\"} 1"] {
            assert!(metrics.contains(expected), "{expected}\n{metrics}");
        }
    }
}

#[tokio::test]
async fn rules_are_swapped_whole_and_one_that_does_not_compile_never_comes_in() {
    let service = Service::start().await;
    let rule = |when: &str| {
        format!("[[flow_rule]]\nname = \"gone\"\napis = [\"*\"]\nwhen = \"{when}\"\ndeny = {{ status = 410 }}\n")
    };
    let site = Site::start(&with_rules(&service, &rule("path == '/a'"))).await;
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    assert_eq!((edge.get("/a").await.status, edge.get("/b").await.status), (410, 200));
    site.write("catalog.toml", &with_rules(&service, &rule("path == '/b'")));
    assert_eq!(site.gateway.live.reload(), ReloadOutcome::Replaced(2));
    assert_eq!((edge.get("/a").await.status, edge.get("/b").await.status), (200, 410));
    for (wrong, said) in [
        ("pth == '/a'", "no input `pth`, at 1:1 of the expression (did you mean `path`?)"),
        ("path ==", "of the expression"),
        ("headers.all(a, headers.all(b, headers.all(c, a != b)))", "steps; at most"),
    ] {
        site.write("catalog.toml", &with_rules(&service, &rule(wrong)));
        let ReloadOutcome::Failed(errors) = site.gateway.live.reload() else { panic!("{wrong} was loaded") };
        let text = errors.to_string();
        assert!(text.contains("catalog.toml:13:8: ") && text.contains(said), "{text}");
        assert_eq!((edge.get("/a").await.status, edge.get("/b").await.status), (200, 410));
    }
    let metrics = site.gateway.metrics.render();
    assert!(metrics.contains("outcome=\"deny\",rule=\"gone\"} 5"), "counts outlive reloads: {metrics}");
}

#[tokio::test]
async fn the_condition_of_an_api_is_met_or_the_call_refused() {
    let service = Service::start().await;
    let text = catalog(&[service.address], "") + "condition = \"client.within('203.0.113.0/24') && method != 'PUT'\"\n";
    let site = Site::start(&text).await;
    let mut edge = Edge::connect(site.address, BOTH[0]).await;
    assert_eq!(edge.get("/x").await.status, 200);
    let refused = edge.exchange(request("PUT", "/x").body(empty()).unwrap()).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "condition_refused"));
    assert_eq!(seen(&refused)["sub_code"], "isv.condition-not-met");
}

#[test]
fn flow_test_shows_inputs_result_and_operations() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("hop.key"), "0123456789abcdef0123456789abcdef").unwrap();
    std::fs::write(
        dir.path().join("business.toml"),
        "[hop]\nkeys = [{ id = \"a\", secret = { file = \"hop.key\" } }]\n",
    )
    .unwrap();
    let rules = r#"
[[service]]
name = "s"
endpoints = ["127.0.0.1:9"]
[[api]]
name = "all"
service = "s"
path = "/{*rest}"
[[flow_rule]]
name = "free"
apis = ["*"]
when = "app.plan == 'free' && time.hour < 6"
deny = { status = 429, code = "night", detail = "Not at night" }
[[flow_rule]]
name = "loop"
script = "if headers[\"x-loop\"] == \"yes\" { loop { } } else { gate.set_header(\"x-a\", query[\"a\"]); }"
"#;
    std::fs::write(dir.path().join("catalog.toml"), rules).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_business-gateway"))
            .args(["flow", "test", "--config"])
            .arg(dir.path())
            .args(arguments)
            .output()
            .unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), text)
    };
    let (code, text) = run(&["free", "--plan", "free", "--time", "2026-01-31T05:59:00Z"]);
    assert_eq!(code, Some(0), "{text}");
    for expected in ["app.plan = \"free\"", "time.hour = 5", "deny 429 night: Not at night", "when: at most "] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    std::fs::write(dir.path().join("call.toml"), "time = 1\n").unwrap();
    let sample = dir.path().join("call.toml").display().to_string();
    assert_eq!(run(&["free", "--sample", &sample]).0, Some(1), "unknown keys are refused");
    std::fs::write(dir.path().join("call.toml"), "app = { plan = \"free\" }\nunix_ms = 1769860740000\n").unwrap();
    let (code, text) = run(&["free", "--sample", &sample]);
    assert!(code == Some(0) && text.contains("pass: the rule does nothing"), "{text}");
    let (code, text) = run(&["loop", "--url", "https://shop.example/x?a=1", "-H", "x-loop: no"]);
    assert!(
        code == Some(0) && text.contains("set the header x-a: 1") && text.contains(" operations of 20000"),
        "{text}"
    );
    let (code, text) = run(&["loop", "-H", "x-loop: yes"]);
    assert!(code == Some(1) && text.contains("cut: ") && text.contains("20000 operations of 20000"), "{text}");
    let (code, text) = run(&["lop"]);
    assert!(code == Some(1) && text.contains("no flow rule \"lop\"; there are: free, loop"), "{text}");
}
