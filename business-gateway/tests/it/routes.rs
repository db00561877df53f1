//! Several APIs at one host, path and method: predicates choose, the service gets what the API makes of the call, and
//! `route explain` says the same as what happens.

use http::Request;
use serde_json::Value;

use crate::support::client::{Answer, BOTH, Body, Edge, Said, by_hand, empty, full, request, request_as};
use crate::support::process::Process;
use crate::support::service::Service;
use crate::support::{Site, until};

/// Five APIs that share `/orders/{id}`, one for everything else at night that never is, and one with a body of a form.
fn catalog(service: &Service) -> String {
    format!(
        r#"
[[service]]
name = "sample"
endpoints = ["{}"]

[[api]]
name = "orders"
access = "open"
schemes = []
service = "sample"
path = "/orders/{{id}}"

[[api]]
name = "orders.two"
access = "open"
schemes = []
service = "sample"
path = "/orders/{{id}}"
when = {{ version = {{ header = "x-version", is = ">=2, <3" }} }}
rewrite = {{ path = "/v2/orders/{{id}}", host = "orders.internal:8080", query = {{ remove = ["debug"], set = {{ id = "{{id}}" }} }}, headers = {{ set = {{ x-from = "{{client.address}}" }}, remove = ["x-version"] }} }}

[[api]]
name = "orders.beta"
access = "open"
schemes = []
service = "sample"
path = "/orders/{{id}}"
when = {{ priority = 10, cookies = [{{ name = "lane", equals = "beta" }}], clients = ["203.0.113.0/24"] }}
rewrite = {{ path = "/beta/{{id}}" }}

[[api]]
name = "orders.share"
access = "open"
schemes = []
service = "sample"
methods = ["GET"]
path = "/orders/{{id}}"
when = {{ priority = 5, weight = {{ percent = 30, by = "header:x-user" }} }}
rewrite = {{ path = "/share/{{id}}" }}

[[api]]
name = "orders.bulk"
access = "open"
schemes = []
service = "sample"
methods = ["POST"]
path = "/orders/{{id}}"
when = {{ priority = 1, body = [{{ json = "/kind", one_of = ["bulk", "mass"] }}] }}
rewrite = {{ path = "/bulk/{{id}}" }}

[[api]]
name = "past"
access = "open"
schemes = []
service = "sample"
path = "/{{*rest}}"
when = {{ before = "2001-01-01T00:00:00Z" }}

[[api]]
name = "legacy"
access = "open"
schemes = []
service = "sample"
path = "/legacy/{{*rest}}"
when = {{ query = [{{ name = "q", regex = "^[a-z]+$" }}] }}
rewrite = {{ path = "/{{a}}/{{rest}}", captures = "^/legacy/(?<a>..?)" }}
"#,
        service.address
    )
}

fn echo(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

fn header<'a>(echo: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = echo["headers"].as_array().unwrap().iter();
    headers.filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap()).collect()
}

fn with(method: &str, target: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    headers
        .iter()
        .fold(request(method, target), |request, (name, value)| request.header(*name, *value))
        .body(body)
        .unwrap()
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// Method, target, headers, body, and what the service is asked for; `None` for a miss.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, Option<&'a str>);

const CASES: &[Case<'_>] = &[
    ("GET", "/orders/1", &[], "", Some("/orders/1")),
    ("GET", "/orders/1?debug=1&x=2", &[("x-version", "2.4")], "", Some("/v2/orders/1?x=2&id=1")),
    ("GET", "/orders/1", &[("x-version", "3")], "", Some("/orders/1")),
    ("GET", "/orders/1", &[("x-version", "2"), ("x-version", "3")], "", Some("/orders/1")),
    ("PUT", "/orders/1", &[("x-version", "2"), ("cookie", "a=b; lane=beta")], "", Some("/beta/1")),
    ("POST", "/orders/1", &[JSON], "{\"kind\": \"bulk\"}", Some("/bulk/1")),
    ("POST", "/orders/1", &[JSON], "{\"kind\": \"one\"}", Some("/orders/1")),
    ("POST", "/orders/1", &[JSON, ("x-version", "2")], "{\"kind\": \"one\"}", Some("/v2/orders/1?id=1")),
    ("POST", "/orders/1", &[("content-type", "text/plain")], "{\"kind\": \"bulk\"}", Some("/orders/1")),
    ("POST", "/orders/1", &[JSON], "{\"kind\": \"bulk\", \"kind\": \"bulk\"}", Some("/orders/1")),
    ("GET", "/legacy/ab/c?q=xyz", &[], "", Some("/ab/ab/c?q=xyz")),
    ("GET", "/legacy/ab/c?q=1", &[], "", None),
    ("GET", "/nothing", &[], "", None),
];

#[tokio::test]
async fn predicates_choose_and_explain_says_the_same() {
    let service = Service::start().await;
    let dir = tempfile::tempdir().unwrap();
    let node = Process::start(dir.path(), "n1", &catalog(&service), "").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(node.address, protocol).await;
        for (method, target, headers, body, expected) in CASES {
            let sent = if body.is_empty() { empty() } else { full(*body) };
            let answer = edge.exchange(with(method, target, headers, sent)).await;
            match expected {
                Some(expected) => {
                    assert_eq!(answer.status, 200, "{method} {target}: {}", answer.text());
                    let echo = echo(&answer);
                    assert_eq!(echo["target"], *expected, "{protocol:?} {method} {target} {headers:?}");
                    assert_eq!(echo["length"], body.len(), "the body that was looked at arrives");
                }
                None => assert_eq!((answer.status, answer.code().as_str()), (404, "api_not_selected"), "{target}"),
            }
        }
    }
    for (method, target, headers, body, expected) in CASES {
        let url = format!("http://shop.example{target}");
        let mut arguments = vec!["route", "explain", "--json", "--client", "203.0.113.9"];
        let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        headers.iter().for_each(|header| arguments.extend(["-H", header]));
        let file = dir.path().join("body.json");
        std::fs::write(&file, body).unwrap();
        let file = file.display().to_string();
        arguments.extend(["--body", &file, method, &url]);
        let running = node.command(&arguments);
        arguments.push("--offline");
        let offline = node.command(&arguments);
        for outcome in [running, offline] {
            let text = format!("{}{}", outcome.out, outcome.error);
            let explained: Value = serde_json::from_str(&outcome.out).unwrap_or_else(|error| panic!("{error}: {text}"));
            match expected {
                Some(expected) => {
                    assert_eq!(
                        (outcome.code, &explained["request"]["target"]),
                        (Some(0), &Value::from(*expected)),
                        "{text}"
                    );
                }
                None => assert_eq!(
                    (outcome.code, &explained["refused"]["code"]),
                    (Some(1), &Value::from("api_not_selected")),
                    "{text}"
                ),
            }
        }
    }
}

#[tokio::test]
async fn explain_reads_like_a_story() {
    let service = Service::start().await;
    let dir = tempfile::tempdir().unwrap();
    let node = Process::start(dir.path(), "n1", &catalog(&service), "").await;
    let told = node.command(&["route", "explain", "GET", "https://shop.example/orders/17?x=1", "-H", "X-Version: 2.4"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    for expected in [
        "1. orders.beta: any method any host /orders/{id}, priority 10: does not take it\n",
        "       no  client in 203.0.113.0/24 (127.0.0.1)\n",
        "       no  cookie lane is \"beta\" (not there)\n",
        "3. orders.bulk: POST any host /orders/{id}, priority 1: another method\n",
        "4. orders.two: any method any host /orders/{id}: takes it\n",
        "       yes version by header x-version is \">=2, <3\" (\"2.4\")\n",
        "5. orders: any method any host /orders/{id}: not asked any more\n",
        "6. past: ",
        "\napi: orders.two\nparameter id = 17\nservice: sample\n",
        "  GET /v2/orders/17?x=1&id=17 HTTP/1.1\n",
        "  host: orders.internal:8080\n",
        "  x-from: 127.0.0.1\n",
        "  x-forwarded-host: shop.example\n",
    ] {
        assert!(told.out.contains(expected), "{expected} is not in\n{}", told.out);
    }
    assert!(!told.out.contains("x-version: "), "{}", told.out);
    let missed = node.command(&["route", "explain", "GET", "/nothing", "--at", "2000-12-31T23:59:59Z"]);
    assert!(missed.code == Some(0) && missed.out.contains("api: past"), "{missed:?}");
    let missed = node.command(&["route", "explain", "GET", "/nothing"]);
    assert!(missed.code == Some(1) && missed.out.contains("api: none\nrefused: 404 api_not_selected"), "{missed:?}");
    for wrong in [&["GET", "nothing"][..], &["GET", "/", "-H", "x"], &["GET", "/", "--at", "noon"]] {
        let outcome = node.command(&[&["route", "explain"], wrong].concat());
        assert!(outcome.code == Some(1) && outcome.out.is_empty() && !outcome.error.is_empty(), "{outcome:?}");
    }
    drop(node);
    let stopped = Process::start(dir.path(), "n1", "", "").await;
    let empty = stopped.command(&["route", "explain", "GET", "/"]);
    assert!(empty.code == Some(1) && empty.out.contains("no API has this host and path"), "{empty:?}");
}

#[tokio::test]
async fn a_share_is_sticky_and_as_large_as_it_says() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&service)).await;
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    let mut chosen = 0;
    for user in 0..400 {
        let user = format!("user-{user}");
        let mut targets = Vec::new();
        for _ in 0..2 {
            let answer = edge.exchange(with("GET", "/orders/1", &[("x-user", &user)], empty())).await;
            targets.push(echo(&answer)["target"].as_str().unwrap().to_owned());
        }
        assert_eq!(targets[0], targets[1], "{user}");
        chosen += usize::from(targets[0] == "/share/1");
    }
    assert!((80..=160).contains(&chosen), "{chosen} of 400 at 30 %");
}

#[tokio::test]
async fn what_the_service_gets_is_what_the_api_makes_of_it() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&service)).await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let headers = [("x-version", "v2"), ("x-from", "forged"), ("x-forwarded-for", "198.51.100.1")];
        let seen = echo(&edge.exchange(with("PUT", "/orders/7?debug", &headers, full("body"))).await);
        assert_eq!((&seen["target"], &seen["length"]), (&"/v2/orders/7?id=7".into(), &4.into()), "{protocol:?}");
        assert_eq!(header(&seen, "host"), ["orders.internal:8080"]);
        assert_eq!(header(&seen, "x-forwarded-host"), ["shop.example"]);
        assert_eq!(
            (header(&seen, "x-from"), header(&seen, "x-forwarded-for")),
            (vec!["203.0.113.9"], vec!["203.0.113.9"])
        );
        assert!(header(&seen, "x-version").is_empty());
        let said = Said { path: Some("/legacy/..b"), ..Said::default() };
        let dots = edge.exchange(request_as("GET", "/legacy/..b?q=a", said).body(empty()).unwrap()).await;
        assert_eq!(
            (dots.status, dots.code().as_str()),
            (400, "target_invalid"),
            "{protocol:?}: a path of dots is none"
        );
        assert_eq!(dots.result().retry, gatehouse_shared::hop::Retry::Safe);
    }
    let line = site.line(|line| line["path"] == "/orders/7").await;
    assert_eq!((&line["api"], &line["apis_judged"]), (&"orders.two".into(), &2.into()));
}

#[tokio::test]
async fn a_body_that_decides_is_bounded() {
    let service = Service::start().await;
    let site =
        Site::with(&catalog(&service), "[routing]\nbody_max = \"32B\"\n[credentials]\nheld_max = \"24B\"\n").await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let post = |body: &'static str| with("POST", "/orders/1", &[JSON], full(body));
        let bulk = edge.exchange(post("{\"kind\": \"mass\"}")).await;
        assert_eq!(echo(&bulk)["target"], "/bulk/1", "{protocol:?}");
        let long = edge.exchange(post("{\"kind\": \"bulk\", \"more\": \"0123456789\"}")).await;
        assert_eq!((long.status, long.code().as_str()), (413, "routed_body_too_large"));
        let full_up = edge.exchange(post("{\"kind\": \"bulk\", \"a\": 12345}")).await;
        assert_eq!((full_up.status, full_up.code().as_str()), (503, "held_bodies_full"));
        let other = with("POST", "/orders/1", &[], full("as long as it likes to be, for nobody looks at it"));
        assert_eq!(edge.exchange(other).await.status, 200);
        assert_eq!(edge.get("/orders/1").await.status, 200, "the connection goes on");
    }
    assert_eq!(site.gateway.identity.room.used(), 0, "what was held is given back");
    let metrics = site.gateway.metrics.render();
    for expected in [
        "gatehouse_business_route_bodies_total{outcome=\"held\"} 2",
        "gatehouse_business_route_bodies_total{outcome=\"too_large\"} 2",
        "gatehouse_business_route_bodies_total{outcome=\"no_room\"} 2",
    ] {
        assert!(metrics.contains(expected), "{expected}\n{metrics}");
    }
}

#[tokio::test]
async fn a_body_that_never_comes_costs_one_call_and_no_room() {
    let service = Service::start().await;
    let site = Site::with(&catalog(&service), "[accept]\nbody_idle_timeout = \"300ms\"\n").await;
    let (sender, body) = by_hand();
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    let stalled = tokio::spawn(async move { edge.exchange(with("POST", "/orders/1", &[JSON], body)).await });
    sender.send("{\"kind\": ".into()).await.unwrap();
    until("room that is taken", || (site.gateway.identity.room.used() > 0).then_some(())).await;
    let mut other = Edge::connect(site.address, BOTH[1]).await;
    assert_eq!(other.get("/orders/1").await.status, 200);
    let answer = stalled.await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (408, "body_timeout"));
    until("room that is given back", || (site.gateway.identity.room.used() == 0).then_some(())).await;
    assert_eq!(service.requests(), 1);
    let metrics = site.gateway.metrics.render();
    assert!(metrics.contains("gatehouse_business_route_bodies_total{outcome=\"failed\"} 1"), "{metrics}");
}

#[tokio::test]
async fn misses_are_told_apart_and_counted() {
    let service = Service::start().await;
    let site = Site::start(&catalog(&service).replace("path = \"/{*rest}\"", "path = \"/past\"")).await;
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    for (target, code) in
        [("/past", "api_not_selected"), ("/legacy/a?q=1", "api_not_selected"), ("/nothing", "api_not_found")]
    {
        let answer = edge.get(target).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, code), "{target}");
    }
    let line = site.line(|line| line["path"] == "/past").await;
    assert_eq!((&line["reason"], &line["apis_judged"], line.get("api")), (&"api_not_selected".into(), &1.into(), None));
    let metrics = site.gateway.metrics.render();
    for expected in [
        "gatehouse_business_route_misses_total{by=\"predicates\"} 2",
        "gatehouse_business_route_misses_total{by=\"path\"} 1",
        "gatehouse_business_route_judged_total 2",
    ] {
        assert!(metrics.contains(expected), "{expected}\n{metrics}");
    }
}

#[tokio::test]
async fn predicates_are_swapped_whole_and_what_decides_nothing_never_comes_in() {
    use gatehouse_shared::live::ReloadOutcome;
    let service = Service::start().await;
    let site = Site::start(&catalog(&service)).await;
    let mut edge = Edge::connect(site.address, BOTH[1]).await;
    let two = [("x-version", "2")];
    let target = |answer: &Answer| echo(answer)["target"].as_str().unwrap().to_owned();
    assert_eq!(target(&edge.exchange(with("PUT", "/orders/1", &two, empty())).await), "/v2/orders/1?id=1");
    site.write("catalog.toml", &catalog(&service).replace("is = \">=2, <3\"", "is = \"3\""));
    assert_eq!(site.gateway.live.reload(), ReloadOutcome::Replaced(2));
    assert_eq!(target(&edge.exchange(with("PUT", "/orders/1", &two, empty())).await), "/orders/1");
    let same_rank = catalog(&service).replace("priority = 10, cookies", "priority = 0, cookies");
    site.write("catalog.toml", &same_rank.replace(", clients = [\"203.0.113.0/24\"]", ""));
    let ReloadOutcome::Failed(errors) = site.gateway.live.reload() else { panic!("loaded") };
    let text = errors.to_string();
    assert!(text.contains("nothing decides between them") && text.contains("when.priority"), "{text}");
    assert_eq!(target(&edge.exchange(with("PUT", "/orders/1", &two, empty())).await), "/orders/1", "the last good one");
}

#[tokio::test]
async fn a_preflight_is_answered_although_it_carries_nothing_that_decides() {
    let service = Service::start().await;
    let text =
        catalog(&service).replace("name = \"past\"", "name = \"past\"\ncors = { origins = [\"https://a.test\"] }");
    let site = Site::start(
        &text.replace("before = \"2001-01-01T00:00:00Z\"", "headers = [{ name = \"x-a\", equals = \"1\" }]"),
    )
    .await;
    for protocol in BOTH {
        let mut edge = Edge::connect(site.address, protocol).await;
        let asked = [("origin", "https://a.test"), ("access-control-request-method", "PUT")];
        let answer = edge.exchange(with("OPTIONS", "/page", &asked, empty())).await;
        assert!((200..300).contains(&answer.status), "{protocol:?}: {} {}", answer.status, answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), "https://a.test");
        assert_eq!(edge.get("/page").await.status, 404, "the call itself is judged when it comes");
    }
}
