use std::path::Path;

use gatehouse_shared::live::Load as _;

use super::*;

const CATALOG: &str = r#"
[[service]]
name = "one"
endpoints = ["127.0.0.1:9"]
[[service]]
name = "two"
endpoints = ["127.0.0.1:9"]
protocol = "h2c"

[[api]]
name = "orders"
service = "one"
methods = ["GET", "POST"]
path = "/orders/{id}"

[[api]]
name = "orders.two"
service = "two"
path = "/orders/{id}"
when = { version = { header = "x-version", is = "2" } }
rewrite = { path = "/v2/{id}", headers = { set = { x-app = "{app.key}" } } }

[[api]]
name = "orders.bulk"
service = "one"
methods = ["POST"]
path = "/orders/{id}"
when = { priority = 1, body = [{ json = "/bulk", equals = "true" }] }

[[api]]
name = "kept"
service = "one"
path = "/kept"
cache = { lifetime = "1m", scope = "shared", key = { headers = ["x-lane"], query = ["page"] } }

[[api]]
name = "night"
service = "one"
path = "/{*rest}"
when = { daily = { from = "22:00", to = "06:00" } }
"#;

fn policy(dir: &Path) -> Policy {
    std::fs::write(dir.join("hop.key"), "0123456789abcdef0123456789abcdef").unwrap();
    let business = "[hop]\nkeys = [{ id = \"a\", secret = { file = \"hop.key\" } }]\n[routing]\nbody_max = \"64B\"\n";
    std::fs::write(dir.join("business.toml"), business).unwrap();
    std::fs::write(dir.join("catalog.toml"), CATALOG).unwrap();
    Policy::load(dir, None).unwrap_or_else(|errors| panic!("{errors}")).value
}

fn sample(method: &str, url: &str, headers: &[(&str, &str)]) -> Sample {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Sample {
        method: method.to_owned(),
        url: url.to_owned(),
        headers: headers.collect(),
        at: Some("2026-01-05T12:00:00Z".to_owned()),
        ..Sample::default()
    }
}

fn outcomes(explanation: &Explanation) -> Vec<(&str, Outcome)> {
    explanation.considered.iter().map(|considered| (considered.api.as_str(), considered.outcome)).collect()
}

#[test]
fn every_api_is_shown_in_the_order_in_which_it_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let policy = policy(dir.path());
    let call = sample("GET", "https://shop.example/orders/17?x=1", &[("x-version", "v2.1"), ("X-App", "forged")]);
    let explained = explain(&policy, &Sample { app: Some("app-1".to_owned()), ..call }).unwrap();
    assert_eq!(
        outcomes(&explained),
        [
            ("orders.bulk", Outcome::OtherMethod),
            ("orders.two", Outcome::Chosen),
            ("orders", Outcome::NotAsked),
            ("night", Outcome::NotAsked),
        ]
    );
    assert_eq!((explained.api.as_deref(), explained.service.as_deref()), (Some("orders.two"), Some("two")));
    assert_eq!(explained.parameters, [("id".to_owned(), "17".to_owned())]);
    let judged = &explained.considered[1].predicates[0];
    assert_eq!((judged.predicate.as_str(), judged.holds), ("version by header x-version is \"2\"", true));
    assert_eq!(judged.saw, "\"v2.1\"");
    let request = explained.request.unwrap();
    assert_eq!((request.target.as_str(), request.version.as_str()), ("http://shop.example/v2/17?x=1", "HTTP/2.0"));
    let value = |name: &str| request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!((value("x-app"), value("x-forwarded-proto")), (Some("app-1"), Some("https")));
}

#[test]
fn a_service_whose_answers_are_kept_is_shown_what_is_in_their_key() {
    let dir = tempfile::tempdir().unwrap();
    let policy = policy(dir.path());
    let headers = [("x-lane", "fast"), ("x-version", "2"), ("cookie", "session=1"), ("content-type", "text/xml")];
    let call = |method: &str, headers: &[(&str, &str)]| {
        let call = sample(method, "https://shop.example/kept?page=2&utm=x", headers);
        explain(&policy, &Sample { app: Some("shop".to_owned()), ..call }).unwrap().request.unwrap()
    };
    let request = call("GET", &headers);
    assert_eq!(request.target, "/kept?page=2");
    let has = |request: &Head, name: &str| request.headers.iter().any(|(known, _)| known == name);
    assert!(has(&request, "x-lane") && has(&request, "traceparent"));
    for gone in ["x-version", "cookie", "content-type", "x-gatehouse-app"] {
        assert!(!has(&request, gone), "{gone}");
    }
    // What the cache has no part in goes as it is.
    for request in [call("HEAD", &headers), call("GET", &[("range", "bytes=0-1"), ("x-version", "2")])] {
        assert!(request.target.ends_with("utm=x") && has(&request, "x-version"), "{request:?}");
        assert!(has(&request, "x-gatehouse-app"));
    }
}

#[test]
fn a_miss_says_what_it_misses() {
    let dir = tempfile::tempdir().unwrap();
    let policy = policy(dir.path());
    let missed = |method: &str, url: &str| {
        let explained = explain(&policy, &sample(method, url, &[])).unwrap();
        assert!(explained.api.is_none() && explained.request.is_none());
        explained.refused.map(|refused| (refused.code, refused.status)).unwrap()
    };
    assert_eq!(missed("GET", "/nothing"), ("api_not_selected".to_owned(), 404));
    assert_eq!(missed("PUT", "/orders/1"), ("api_not_selected".to_owned(), 404));
    let night = Sample { at: Some("2026-01-05T23:00:00Z".to_owned()), ..sample("GET", "/nothing", &[]) };
    assert_eq!(explain(&policy, &night).unwrap().api.as_deref(), Some("night"));
}

#[test]
fn the_body_is_looked_at_where_it_decides() {
    let dir = tempfile::tempdir().unwrap();
    let policy = policy(dir.path());
    let post = |body: &str| {
        let call = sample("POST", "/orders/1", &[("content-type", "application/json")]);
        explain(&policy, &Sample { body: Some(body.to_owned()), ..call }).unwrap()
    };
    assert_eq!(post("{\"bulk\": true}").api.as_deref(), Some("orders.bulk"));
    assert_eq!(post("{\"bulk\": false}").api.as_deref(), Some("orders"));
    let long = post(&format!("{{\"bulk\": {}true}}", " ".repeat(64)));
    assert_eq!(long.refused.map(|refused| refused.status), Some(413));
    assert_eq!(long.considered[0].outcome, Outcome::Undecided);
}

#[test]
fn what_is_no_call_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let policy = policy(dir.path());
    for (call, expected) in [
        (sample("A B", "/", &[]), SampleError::Method("A B".to_owned())),
        (sample("GET", "orders", &[]), SampleError::Url("orders".to_owned())),
        (sample("GET", "ftp://h/", &[]), SampleError::Url("ftp://h/".to_owned())),
        (sample("GET", "/a b", &[]), SampleError::Url("/a b".to_owned())),
        (sample("GET", "/", &[("a b", "1")]), SampleError::Header("a b".to_owned())),
    ] {
        assert_eq!(explain(&policy, &call).unwrap_err(), expected);
    }
    assert!(explain(&policy, &sample("GET", "/orders/%41", &[])).unwrap().hints[0].contains("canonical"));
    assert!(explain(&policy, &sample("GET", "/orders/%2F", &[])).unwrap().hints.is_empty());
}

proptest::proptest! {
    #[test]
    fn what_is_explained_is_what_is_chosen(
        method in "(GET|POST|PUT|HEAD)", path in "/(orders/[0-9]|orders|x)", version in "[1-3]?", hour in 0..24_u32,
        body in "(\\{\"bulk\": (true|false)\\}|)",
    ) {
        thread_local! {
            static POLICY: Policy = policy(tempfile::tempdir().unwrap().path());
        }
        POLICY.with(|policy| {
            let headers = [("content-type", "application/json"), ("x-version", version.as_str())];
            let at = Some(format!("2026-01-05T{hour:02}:00:00Z"));
            let call = Sample { at, body: Some(body.clone()), ..sample(&method, &path, &headers) };
            let explained = explain(policy, &call).unwrap();
            let prepared = prepare(&call).unwrap();
            let question = Question::of(&prepared.parts, "", &prepared.path, prepared.client, prepared.unix_ms);
            let whole = question.with_body(body.as_bytes());
            let found = api::find(&policy.catalog, &whole, &mut Notes::default()).ok().map(|api| api.name.to_string());
            assert_eq!(explained.api, found);
            let chosen: Vec<_> = outcomes(&explained).into_iter().filter(|(_, it)| *it == Outcome::Chosen).collect();
            assert_eq!(chosen.first().map(|(name, _)| (*name).to_owned()), found);
            // Everybody who was asked before did not hold.
            for considered in explained.considered.iter().filter(|it| it.outcome == Outcome::Passed) {
                assert!(considered.predicates.iter().any(|judged| !judged.holds));
            }
        });
    }
}
