use std::path::Path;

use gatehouse_shared::config::{SourceFile, parse};
use http::{HeaderMap, Method, Request};

use super::*;
use crate::admit::api;
use crate::store::catalog::CatalogConfig;
use crate::store::catalog::tests::{compile as compile_catalog, errors};

const SERVICE: &str = "[[service]]\nname = \"s\"\nendpoints = [\"127.0.0.1:9\"]\n";

/// An API at `/a` with this `when`.
fn api(name: &str, when: &str) -> String {
    let when = if when.is_empty() { String::new() } else { format!("when = {{ {when} }}\n") };
    format!("[[api]]\nname = {name:?}\nservice = \"s\"\npath = \"/a\"\n{when}")
}

fn compile(when: &str) -> Result<When, String> {
    let file = SourceFile { path: "catalog.toml".into(), text: api("a", when) };
    let document = parse::<CatalogConfig>(&file).map_err(|errors| errors.to_string())?;
    let at = At { positions: &document.positions, path: "api[0]".to_owned() };
    let written = document.value.api[0].when.as_ref().unwrap();
    When::compile(written, &PathTemplate::parse("/a").unwrap(), &at).map_err(|errors| errors.to_string())
}

/// Whether `when` takes a call with this query, and one header, if any.
fn takes(when: &str, query: &str, header: Option<(&str, &str)>) -> bool {
    let mut request = Request::builder().uri(format!("/a?{query}"));
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    let parts = request.body(()).unwrap().into_parts().0;
    let question = Question::of(&parts, "h", "/a", "10.1.2.3".parse().unwrap(), 1_767_607_200_000);
    compile(when).unwrap().judge(&question) == Fit::Yes
}

#[test]
fn every_test_of_a_text_decides_as_it_says() {
    let test = |test: &str, query: &str| takes(&format!("query = [{{ name = \"q\", {test} }}]"), query, None);
    for (written, inside, outside) in [
        ("present = true", &["q", "q=", "q=1&q=2"][..], &["", "r=1", "qq=1"][..]),
        ("present = false", &["", "r=1"], &["q", "q=1"]),
        ("equals = \"a b\"", &["q=a+b", "q=a%20b", "q=a+b&q=a%20b"], &["q=a", "q=a+b&q=x", "q=A+B", ""]),
        ("one_of = [\"a\", \"b\"]", &["q=b", "q=a&q=b"], &["q=c", "q=a&q=c"]),
        ("prefix = \"ab\"", &["q=ab", "q=abc"], &["q=a", "q=xab"]),
        ("regex = \"^[0-9]{2}$\"", &["q=12"], &["q=1", "q=123", "q=12%0A"]),
    ] {
        assert!(inside.iter().all(|query| test(written, query)), "{written}");
        assert!(!outside.iter().any(|query| test(written, query)), "{written}");
    }
}

#[test]
fn headers_cookies_and_clients_decide_too() {
    let header = "headers = [{ name = \"X-Lane\", equals = \"fast\" }]";
    assert!(takes(header, "", Some(("x-lane", "fast"))) && !takes(header, "", None));
    let cookie = "cookies = [{ name = \"lane\", equals = \"fast\" }]";
    assert!(takes(cookie, "", Some(("cookie", "a=1; lane=fast"))));
    assert!(!takes(cookie, "", Some(("cookie", "lane=fast; lane=slow"))), "every value counts");
    assert!(takes("clients = [\"192.0.2.0/24\", \"10.0.0.0/8\"]", "", None));
    assert!(!takes("clients = [\"192.0.2.0/24\"]", "", None));
    assert!(takes("after = \"2026-01-05T00:00:00Z\", daily = { weekdays = [\"monday\"] }", "", None));
    assert!(!takes("before = \"2026-01-05T00:00:00Z\"", "", None));
}

#[test]
fn all_predicates_of_an_api_have_to_hold() {
    let when = "query = [{ name = \"a\", equals = \"1\" }, { name = \"b\", present = true }]";
    assert!(takes(when, "a=1&b", None) && !takes(when, "a=1", None) && !takes(when, "b", None));
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (when, expected) in [
        ("priority = 3", "catalog.toml:5:8: no predicate"),
        ("priority = 1001, clients = [\"10.0.0.0/8\"]", "1001 is not a priority"),
        ("headers = [{ name = \"x-a\" }]", "catalog.toml:5:21: not exactly one test"),
        ("headers = [{ name = \"x-a\", equals = \"1\", prefix = \"1\" }]", "not exactly one test"),
        (
            "headers = [{ name = \"a b\", equals = \"1\" }]",
            "catalog.toml:5:30: \"a b\" is not the name of a header field",
        ),
        ("cookies = [{ name = \"a=b\", equals = \"1\" }]", "is not the name of a cookie"),
        ("query = [{ name = \"\", equals = \"1\" }]", "is not the name of a parameter"),
        ("query = [{ name = \"a\", regex = \"(\" }]", "\"(\" is not an expression"),
        ("query = [{ name = \"a\", regex = \"(?=a)\" }]", "is not an expression"),
        ("query = [{ name = \"a\", regex = \"[a-z]{1000}{1000}\" }]", "is not an expression"),
        ("query = [{ name = \"a\", one_of = [] }]", "no text, so none passes"),
        ("query = [{ name = \"a\", prefix = \"\" }]", "every text begins with nothing"),
        ("clients = [\"10.0.0.1/8\"]", "10.0.0.1/8"),
        ("hearers = []", "hearers"),
    ] {
        let error = compile(when).unwrap_err();
        assert!(error.contains(expected), "{when}: {error}");
    }
    let many = vec!["{ name = \"a\", present = true }"; 33].join(", ");
    assert!(compile(&format!("query = [{many}]")).unwrap_err().contains("33 predicates"));
}

#[test]
fn apis_at_one_place_need_something_that_decides() {
    let header = |value: &str| format!("headers = [{{ name = \"x-a\", equals = {value:?} }}]");
    let pair = |one: &str, two: &str| errors(&format!("{SERVICE}{}{}", api("one", one), api("two", two)));
    for (one, two) in [
        ("", &*header("1")),
        (&header("1"), &header("2")),
        (&header("1"), "headers = [{ name = \"x-a\", present = false }]"),
        (&header("1"), "priority = 1, query = [{ name = \"a\", present = true }]"),
        (&header("1"), "query = [{ name = \"a\", present = true }, { name = \"b\", present = true }]"),
        ("before = \"2026-01-01T00:00:00Z\"", "after = \"2026-01-01T00:00:00Z\""),
        ("clients = [\"10.0.0.0/8\"]", "clients = [\"192.168.0.0/16\"]"),
        ("query = [{ name = \"a\", prefix = \"x\" }]", "query = [{ name = \"a\", one_of = [\"y\", \"z\"] }]"),
        ("query = [{ name = \"a\", regex = \"^x\" }]", "query = [{ name = \"a\", equals = \"y\" }]"),
        ("weight = { percent = 10 }", "weight = { percent = 20, from = 10 }"),
        ("body = [{ json = \"/a\", equals = \"1\" }]", "body = [{ json = \"/a\", equals = \"2\" }]"),
    ] {
        assert_eq!(pair(one, two), Vec::<String>::new(), "{one} / {two}");
    }
    for (one, two) in [
        (&*header("1"), "query = [{ name = \"a\", present = true }]"),
        (&header("1"), &*header("1")),
        ("clients = [\"10.0.0.0/8\"]", "clients = [\"10.1.0.0/16\"]"),
        ("query = [{ name = \"a\", regex = \"x\" }]", "query = [{ name = \"a\", regex = \"y\" }]"),
        ("weight = { percent = 10 }", "weight = { percent = 10 }"),
        ("weight = { percent = 10 }", "weight = { percent = 10, from = 10, by = \"header:x-user\" }"),
    ] {
        let found = pair(one, two);
        assert_eq!(found.len(), 2, "{one} / {two}: {found:?}");
        assert!(
            found.iter().all(|line| line.contains("nothing decides") && line.contains("when.priority")),
            "{found:?}"
        );
    }
}

#[test]
fn the_api_of_a_call_is_found_by_its_predicates() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = format!(
        "{SERVICE}{}{}{}{}",
        api("plain", ""),
        api("two", "version = { header = \"x-version\", is = \"2\" }"),
        api("beta", "priority = 1, headers = [{ name = \"x-beta\", present = true }]"),
        "[[api]]\nname = \"rest\"\nservice = \"s\"\npath = \"/{*rest}\"\n",
    );
    let catalog = compile_catalog(Path::new(dir.path()), &catalog).unwrap();
    let find = |path: &str, headers: &[(&'static str, &'static str)]| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let parts = Request::builder().uri(path).body(()).unwrap().into_parts().0;
        let client = [192, 0, 2, 1].into();
        let question = Question { headers: &map, ..Question::of(&parts, "Shop.Example:80", path, client, 0) };
        let mut notes = Notes::default();
        let found = api::find(&catalog, &question, &mut notes).map(|api| api.name.to_string());
        (found, notes.judged)
    };
    assert_eq!(find("/a", &[]), (Ok("plain".into()), 2));
    assert_eq!(find("/a", &[("x-version", "2.1")]), (Ok("two".into()), 2));
    assert_eq!(find("/a", &[("x-version", "2.1"), ("x-beta", "")]), (Ok("beta".into()), 1));
    assert_eq!(find("/b", &[]), (Ok("rest".into()), 0), "a place of its own is found without asking anybody");
    assert_eq!(find("a", &[]).1, 2);
    let (parts, ()) = Request::new(()).into_parts();
    let question = Question { method: &Method::PUT, ..Question::of(&parts, "", "/a", [192, 0, 2, 1].into(), 0) };
    assert!(matches!(api::find(&catalog, &question, &mut Notes::default()), Ok(api) if *api.name == *"plain"));
    let elsewhere = Question { path: "/none", ..question };
    assert_eq!(
        api::find(&catalog, &elsewhere, &mut Notes::default()).map(|api| api.name.to_string()),
        Ok("rest".into())
    );
}
