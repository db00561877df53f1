use super::*;
use crate::admit::flow_rule::rule::OUTCOMES;
use http::{Request, StatusCode};
use serde::Deserialize;

#[derive(Deserialize)]
struct Tables {
    flow_rule: Vec<Config>,
}

fn compile(text: &str, before: Option<&FlowRules>) -> Result<(FlowRules, Vec<Config>), String> {
    let file = gatehouse_shared::config::SourceFile { path: "catalog.toml".into(), text: text.to_owned() };
    let document = gatehouse_shared::config::parse::<Tables>(&file).map_err(|errors| errors.to_string())?;
    let limits = BTreeSet::from(["writes".to_owned()]);
    let apis = ["orders.list", "stock"];
    FlowRules::compile(&document.value.flow_rule, &document.positions, &Bounds::default(), &apis, limits, before)
        .map(|rules| (rules, document.value.flow_rule))
        .map_err(|errors| errors.to_string())
}

fn of_api(rules: &(FlowRules, Vec<Config>), named: &[&str]) -> Result<ApiRules, String> {
    let positions = Positions::default();
    let at = At { positions: &positions, path: "api[0]".to_owned() };
    let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
    rules.0.of_api("orders.list", &named, &at, &rules.1).map_err(|errors| errors.to_string())
}

fn facts<'a>() -> Facts<'a> {
    Facts {
        app: AppInput { key: "k1", plan: "free", ..AppInput::default() },
        user: "",
        scopes: &[],
        client: "203.0.113.9".parse().unwrap(),
        api: "orders.list",
        level: "",
        host: "shop.example",
        path: "/orders",
        unix_ms: 0,
        counters: None,
    }
}

fn parts(method: &str, target: &str) -> Parts {
    Request::builder().method(method).uri(target).header("x-old", "1").body(()).unwrap().into_parts().0
}

fn names(rules: &[Arc<str>]) -> Vec<&str> {
    rules.iter().map(|rule| &**rule).collect()
}

fn count(rules: &(FlowRules, Vec<Config>), rule: &str, outcome: &str) -> u64 {
    let rule = rules.0.find(rule).unwrap();
    rule.counters.all().find(|(label, _)| *label == outcome).unwrap().1
}

const RULES: &str = r#"
[[flow_rule]]
name = "mark"
apis = ["orders.*"]
set_headers = { x-plan = "app.plan", x-api = "api.name" }
remove_headers = ["x-old"]
set_query = { tier = "app.plan" }
remove_query = ["debug"]
tags = { lane = "app.plan == 'free' ? 'slow' : 'fast'" }

[[flow_rule]]
name = "charged"
when = "method == 'POST' && headers['x-plan'] == 'free' && query.tier == 'free'"
charge = [{ limit = "writes" }, { limit = "writes", cost_by = "size(query_all['id']) * 2" }]

[[flow_rule]]
name = "closed"
apis = ["*"]
when = "method == 'DELETE'"
deny = { status = 451, code = "no-delete", detail = "Nothing is deleted here." }

[[flow_rule]]
name = "watched"
apis = ["*"]
mode = "observe"
when = "method == 'POST'"
deny = {}

[[flow_rule]]
name = "shaky"
apis = ["*"]
when = "1 / (method == 'PUT' ? 0 : 1) == 1"
on_error = "deny"
tags = { steady = "'yes'" }

[[flow_rule]]
name = "hidden"
apis = ["orders.*"]
at = "response"
when = "response.status >= 500 && headers['x-plan'] == 'free'"
set_headers = { x-note = "method + ' ' + query.tier + ' ' + response.headers['x-inner']" }
remove_headers = ["x-inner"]
set_status = 502
"#;

#[test]
fn rules_are_judged_in_the_order_of_the_catalog_and_see_what_was_changed() {
    let rules = compile(RULES, None).unwrap();
    let of_api = of_api(&rules, &["charged"]).unwrap();
    let mut parts = parts("POST", "/orders?id=1&id=2&debug=1");
    let mut notes = Notes::default();
    request(&of_api, &facts(), &mut parts, &mut notes).unwrap();
    assert_eq!(parts.uri, "/orders?id=1&id=2&tier=free");
    assert_eq!((parts.headers.get("x-plan").unwrap(), parts.headers.get("x-old")), (&"free".parse().unwrap(), None));
    let charges: Vec<_> = notes.charges.iter().map(|charge| (&*charge.limit, charge.cost)).collect();
    assert_eq!(charges, [("writes", 1), ("writes", 4)]);
    assert_eq!((notes.tag("lane"), notes.tag("steady"), notes.tag("none")), (Some("slow"), Some("yes"), None));
    assert_eq!(names(&notes.observed), ["watched"], "seen, not acted on");
    for (rule, outcome) in
        [("mark", "change"), ("charged", "charge"), ("closed", "pass"), ("watched", "observed"), ("shaky", "change")]
    {
        assert_eq!(count(&rules, rule, outcome), 1, "{rule} {outcome}");
    }
    let mut line = Line::bare();
    notes.write(&mut line);
    assert_eq!(
        line.end(),
        "{\"flow_observed\":[\"watched\"],\"flow_charged\":[\"writes:1\",\"writes:4\"],\"tags\":[\"lane=slow\",\"steady=yes\"]}\n"
            .trim_end()
    );
}

#[test]
fn the_first_refusal_ends_it() {
    let rules = compile(RULES, None).unwrap();
    let of_api = of_api(&rules, &[]).unwrap();
    let mut notes = Notes::default();
    let refused = request(&of_api, &facts(), &mut parts("DELETE", "/orders"), &mut notes).unwrap_err();
    let denial = refused.denial.unwrap();
    assert_eq!(
        (denial.status, &*denial.code, denial.detail.as_deref()),
        (451, "no-delete", Some("Nothing is deleted here."))
    );
    assert_eq!(notes.denied_by.as_deref(), Some("closed"));
    assert_eq!(count(&rules, "shaky", "change"), 0);
}

#[test]
fn a_rule_that_fails_follows_its_on_error() {
    let rules = compile(RULES, None).unwrap();
    let mut notes = Notes::default();
    let refused =
        request(&of_api(&rules, &[]).unwrap(), &facts(), &mut parts("PUT", "/orders"), &mut notes).unwrap_err();
    assert!(refused.denial.is_none() && refused.cause.is_some(), "{refused:?}");
    assert_eq!((names(&notes.failed), count(&rules, "shaky", "failed")), (vec!["shaky"], 1));
    for harmless in [
        RULES.replace("on_error = \"deny\"\n", ""),
        RULES.replace("on_error = \"deny\"\n", "on_error = \"deny\"\nmode = \"observe\"\n"),
    ] {
        let rules = compile(&harmless, None).unwrap();
        let mut notes = Notes::default();
        request(&of_api(&rules, &[]).unwrap(), &facts(), &mut parts("PUT", "/orders"), &mut notes).unwrap();
        assert_eq!(names(&notes.failed), ["shaky"]);
    }
}

#[test]
fn rules_on_answers_change_the_answer() {
    let rules = compile(RULES, None).unwrap();
    let of_api = of_api(&rules, &[]).unwrap();
    let mut parts = parts("GET", "/orders?tier=gold");
    parts.headers.insert("x-plan", "free".parse().unwrap());
    let kept = of_api.keep(&parts).unwrap();
    for (status, after, note) in [(500, 502, Some("GET gold secret")), (404, 404, None)] {
        let answer = Response::builder().status(status).header("x-inner", "secret");
        let mut answer = answer.body(()).unwrap();
        let mut notes = Notes::default();
        super::answer(&of_api, &facts(), &kept, &mut answer, &mut notes);
        assert_eq!(answer.status(), StatusCode::from_u16(after).unwrap());
        assert_eq!(answer.headers().get("x-note").map(|note| note.to_str().unwrap()), note);
        assert_eq!(answer.headers().contains_key("x-inner"), note.is_none());
    }
    assert!(
        compile("flow_rule = []", None)
            .map(|rules| super::tests::of_api(&rules, &[]).unwrap().keep(&parts))
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_script_does_the_same() {
    let text = r#"
[[flow_rule]]
name = "script"
apis = ["*"]
script = """
    if method == "POST" { gate.charge("writes", 3); gate.tag("a", "b"); }
    if method == "PUT" { gate.deny(409, "no-put", "Not here"); }
    if method == "PATCH" { gate.charge("unknown"); }
    if method == "HEAD" { gate.set_status(200); }
    if method == "TRACE" { loop { } }
"""
"#;
    let rules = compile(text, None).unwrap();
    let of_api = of_api(&rules, &[]).unwrap();
    let judge = |method: &str| {
        let mut notes = Notes::default();
        let outcome = request(&of_api, &facts(), &mut parts(method, "/"), &mut notes);
        (outcome, notes)
    };
    assert_eq!(judge("POST").1.charges.len(), 1);
    assert_eq!(judge("PUT").0.unwrap_err().denial.unwrap().status, 409);
    for method in ["PATCH", "HEAD", "TRACE"] {
        assert_eq!(names(&judge(method).1.failed), ["script"], "{method}");
    }
    assert_eq!(judge("GET").1.failed.len(), 0);
    let counts = OUTCOMES.map(|(_, outcome)| count(&rules, "script", outcome));
    assert_eq!(counts, [1, 1, 1, 0, 0, 2, 1]);
    let again = compile(text, Some(&rules.0)).unwrap();
    assert_eq!(count(&again, "script", "cut"), 1, "counts outlive reloads");
}

#[test]
fn every_mistake_is_named_with_its_line_and_what_to_do() {
    let text = r#"[[flow_rule]]
name = "a b"
[[flow_rule]]
name = "c"
apis = ["orders.lst"]
time_zone = "Mars/Base"
deny = { status = 200 }
tags = { "x y" = "'1'" }
[[flow_rule]]
name = "c"
at = "response"
charge = [{ limit = "writs", cost = 1, cost_by = "1" }]
set_headers = { host = "'x'", x-a = "app.field_level" }
[[flow_rule]]
name = "d"
set_status = 404
remove_headers = ["connection"]
set_query = { a = "pat" }
[[flow_rule]]
name = "e"
script = "let x = ;"
deny = {}
"#;
    let errors = compile(text, None).unwrap_err();
    for expected in [
        "catalog.toml:2:8: \"a b\" is not a name",
        "catalog.toml:2:8: a rule that does nothing",
        "catalog.toml:5:9: no API \"orders.lst\" (did you mean \"orders.list\"?)",
        "catalog.toml:6:13: no time zone \"Mars/Base\" (write an IANA name, as in \"Asia/Shanghai\")",
        "catalog.toml:7:8: 200 is not the status of a refusal",
        "catalog.toml:7:8: a rule that refuses a call does nothing else to it",
        "catalog.toml:8:18: \"x y\" is not a code",
        "catalog.toml:10:8: a second flow rule \"c\"",
        "catalog.toml:12:10: not for rules on answers",
        "catalog.toml:12:21: no limit \"writs\" (did you mean \"writes\"?)",
        "catalog.toml:12:37: two costs",
        "catalog.toml:13:24: \"host\" is not a header that a rule may set or remove",
        "catalog.toml:13:37: a whole number where a text is needed, at 1:4 of the expression",
        "catalog.toml:16:14: only for rules on answers",
        "catalog.toml:17:19: \"connection\" is not a header that a rule may set or remove",
        "catalog.toml:18:19: no input `pat`, at 1:1 of the expression (did you mean `path`?)",
        "catalog.toml:21:10: Unexpected ';', at 1:9 of the script",
        "catalog.toml:21:10: a script and effects beside it",
    ] {
        assert!(errors.contains(expected), "{expected}\nis not in\n{errors}");
    }
    let rules = compile(RULES, None).unwrap();
    assert!(of_api(&rules, &["chargd"]).unwrap_err().contains("no flow rule \"chargd\" (did you mean \"charged\"?)"));
}
