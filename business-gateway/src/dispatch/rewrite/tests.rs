use std::sync::Arc;
use std::time::Duration;

use gatehouse_shared::config::{SourceFile, parse};
use gatehouse_shared::hop::{Scheme, VerifiedHop};
use gatehouse_shared::id::RequestId;
use http::request::Parts;
use http::{Request, Version};

use super::*;
use crate::admit::api::PathToService;
use crate::admit::caller::Caller;
use crate::dispatch::request::show;
use crate::dispatch::upstream::pool::Protocol;
use crate::store::catalog::CatalogConfig;

fn compile(path: &str, written: &str) -> Result<Rewrite, String> {
    let text = format!("[[api]]\nname = \"a\"\nservice = \"s\"\npath = \"{path}\"\nrewrite = {{ {written} }}\n");
    let document = parse::<CatalogConfig>(&SourceFile { path: "catalog.toml".into(), text });
    let document = document.map_err(|errors| errors.to_string())?;
    let at = At { positions: &document.positions, path: "api[0]".to_owned() };
    let path = PathTemplate::parse(path).unwrap();
    let written = document.value.api[0].rewrite.as_ref().unwrap();
    Rewrite::compile(written, &path, false, &at).map_err(|errors| errors.to_string())
}

/// What a service gets of a call, or why it gets nothing.
fn sent(api: &str, written: &str, target: &str, headers: &[(&str, &str)]) -> Result<Parts, TargetError> {
    through(&compile(api, written).unwrap_or_else(|error| panic!("{error}")), target, headers, Protocol::Http1)
}

fn through(
    rewriting: &Rewrite,
    target: &str,
    headers: &[(&str, &str)],
    protocol: Protocol,
) -> Result<Parts, TargetError> {
    let mut request = Request::builder().uri(target).header("host", "shop.example");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut parts = request.body(()).unwrap().into_parts().0;
    let hop = VerifiedHop {
        request_id: RequestId::new(0),
        client: "203.0.113.9:4711".parse().unwrap(),
        scheme: Scheme::Https,
        tls: None,
        subject: None,
        fingerprint: None,
        path: parts.uri.path().into(),
        left: Duration::from_secs(1),
        edge: "edge".into(),
        expires_unix_ms: 0,
        held: false,
    };
    let app = crate::admit::route::explain::stand_in("app-1");
    let caller = Caller { app: Some(Arc::new(app)), ..Caller::anonymous() };
    let notes = Notes {
        authority: "shop.example",
        hop: &hop,
        caller: &caller,
        path_to_service: PathToService::Canonical,
        rewrite: Some(rewriting),
        traceparent: "00-1-2-00",
    };
    show(&mut parts, &notes, protocol, Some(0), &[])?;
    Ok(parts)
}

fn target(api: &str, written: &str, target: &str) -> String {
    sent(api, written, target, &[]).unwrap().uri.to_string()
}

#[test]
fn a_path_is_made_of_parameters_and_groups() {
    for (api, written, from, to) in [
        ("/orders/{id}", "path = \"/v2/{id}/order\"", "/orders/17?x=1", "/v2/17/order?x=1"),
        ("/orders/{id}", "path = \"/v2/{id}.json\"", "/orders/a%2Fb", "/v2/a%2Fb.json"),
        ("/old/{*rest}", "path = \"/{rest}\"", "/old/a/b", "/a/b"),
        ("/old/{*rest}", "path = \"/new/{rest}\"", "/old/", "/new/"),
        ("/old/{*rest}", "path = \"/{rest}/\"", "/old/", "/"),
        ("/{*all}", "path = \"/{area}/{n}\", captures = '^/(?<area>[a-z]+)-(?<n>[0-9]+)$'", "/x-12", "/x/12"),
        ("/{*all}", "path = \"/{area}/{n}\", captures = '^/(?<area>[a-z]+)-(?<n>[0-9]+)$'", "/x12", "/x12"),
        ("/{*all}", "path = \"/y/{o}/{all}\", captures = '^/x(?<o>1)?'", "/x2", "/y/x2"),
    ] {
        assert_eq!(target(api, written, from), to, "{written}");
    }
}

#[test]
fn a_path_that_is_none_refuses_the_call() {
    for (written, from) in [
        ("path = \"/v2/{a}\", captures = '^/(?<a>..)'", "/%2E%2E"),
        ("path = \"/v2/{a}/x\", captures = '^/(?<a>[.]+)'", "/..x"),
        ("path = \"/v2/.{a}\", captures = '^/(?<a>[.]+)'", "/.x"),
        ("path = \"/v2/.{a}\", captures = '^/x(?<a>y?)'", "/x"),
        ("path = \"/{a}\", captures = '^/(?<a>%.)'", "/%41"),
    ] {
        let refused = sent("/{*all}", written, from, &[]);
        assert!(matches!(refused, Err(TargetError::Rewritten)), "{written}: {refused:?}");
    }
}

#[test]
fn a_query_is_removed_set_and_added_to() {
    let written = "query = { remove = [\"debug\"], set = { page = \"{n}\", who = \"{app.key}\" }, add = { tag = \"{header.x-tag}\" } }";
    let parts = sent("/a/{n}", written, "/a/a%26b+c?debug=1&page=2&tag=x&page=3", &[("x-tag", "q&r")]).unwrap();
    assert_eq!(parts.uri, "/a/a%26b+c?page=a%26b%2Bc&tag=x&who=app-1&tag=q%26r");
    assert_eq!(target("/a", "query = { remove = [\"x\"] }", "/a?x=1"), "/a", "an empty query is none");
    assert_eq!(target("/a", "query = { add = { x = \"1\" } }", "/a"), "/a?x=1");
}

#[test]
fn headers_are_removed_set_and_added_to() {
    let written = "headers = { remove = [\"x-debug\"], set = { x-order = \"{id}\", x-from = \"{client.address}/{request.method}\", \
                   x-q = \"{query.q}\", x-braces = \"{{a}}\" }, add = { via-gate = \"{cookie.lane}\" } }";
    let headers = [("x-debug", "1"), ("x-from", "forged"), ("via-gate", "first"), ("cookie", "a=b; lane=fast")];
    let parts = sent("/orders/{id}", written, "/orders/%C3%BC?q=a+b", &headers).unwrap();
    let value = |name: &str| {
        let values = parts.headers.get_all(name).iter().map(|value| value.to_str().unwrap());
        values.collect::<Vec<_>>().join("|")
    };
    assert_eq!(value("x-debug"), "");
    assert_eq!(value("x-order"), "%C3%BC", "as it stands in the path");
    assert_eq!((value("x-from"), value("x-q")), ("203.0.113.9/GET".into(), "a b".into()));
    assert_eq!((value("x-braces"), value("via-gate")), ("{a}".into(), "first|fast".into()));
}

#[test]
fn what_a_call_does_not_carry_is_not_sent() {
    let written = "headers = { set = { x-q = \"q:{query.q}\", x-h = \"{header.x-none}\" }, add = { x-c = \"{cookie.c}\" } }, \
                   query = { set = { p = \"{query.none}\" } }";
    let forged = [("x-q", "forged"), ("x-h", "forged")];
    let parts = sent("/a", written, "/a?p=forged", &forged).unwrap();
    assert!(["x-q", "x-h", "x-c"].iter().all(|name| !parts.headers.contains_key(*name)), "{:?}", parts.headers);
    assert_eq!(parts.uri, "/a");
    let line = sent("/a", written, "/a?q=a%0D%0Ax-evil:1", &[]).unwrap();
    assert!(!line.headers.contains_key("x-q") && !line.headers.contains_key("x-evil"), "no value breaks a line");
    let long = format!("/a?q={}", "x".repeat(20_000));
    assert!(!sent("/a", written, &long, &[]).unwrap().headers.contains_key("x-q"), "nor grows without bound");
}

#[test]
fn the_host_is_the_one_written_and_the_client_s_is_told() {
    let rewriting = compile("/a", "host = \"orders.internal:8080\"").unwrap();
    let parts = through(&rewriting, "/a", &[], Protocol::Http1).unwrap();
    assert_eq!(
        (&parts.headers["host"], &parts.headers["x-forwarded-host"]),
        (&HeaderValue::from_static("orders.internal:8080"), &HeaderValue::from_static("shop.example"))
    );
    let parts = through(&rewriting, "/a", &[], Protocol::H2c).unwrap();
    assert_eq!((parts.version, parts.uri.to_string().as_str()), (Version::HTTP_2, "http://orders.internal:8080/a"));
    assert_eq!(parts.headers["x-forwarded-host"], "shop.example");
}

#[test]
fn what_cannot_be_done_is_an_error_of_the_catalog() {
    for (written, expected) in [
        ("", "nothing is changed"),
        ("captures = \"(?<a>x)\"", "nothing is changed"),
        ("path = \"v2\"", "catalog.toml:5:20: \"v2\" is not a path"),
        ("path = \"/a?b=c\"", "is not a path"),
        ("path = \"/a/../b\"", "is not a path"),
        ("path = \"/a/%2e%2E\"", "is not a path"),
        ("path = \"/a//b\"", "is not a path"),
        ("path = \"/a%2\"", "is not a path"),
        ("path = \"/%{id}\"", "is not a path"),
        ("path = \"/a%00\"", "is not a path"),
        ("path = \"/é\"", "is not a path"),
        ("path = \"/{id\"", "a brace without its partner"),
        ("path = \"/a}\"", "a brace without its partner"),
        ("path = \"/{ide}\"", "no value {ide} (did you mean {id}?)"),
        ("path = \"/{query.a}\"", "{query.a} cannot stand in a path"),
        ("path = \"/{app.key}\"", "{app.key} cannot stand in a path"),
        ("host = \"a b\"", "is not a host"),
        ("host = \"user@h\"", "is not a host"),
        ("host = \"h/x\"", "is not a host"),
        ("host = \"h:\"", "is not a host"),
        ("captures = \"x\", path = \"/a\"", "no named group"),
        ("captures = \"(?<id>x)\", path = \"/a\"", "has the name of a parameter of the path"),
        ("captures = \"(\", path = \"/a\"", "is not an expression"),
        ("query = { set = { \"\" = \"1\" } }", "a parameter has a name"),
        ("headers = { set = { x-a = \"a\\nb\" } }", "cannot stand in a header field"),
        ("headers = { set = { \"a b\" = \"1\" } }", "\"a b\" is not a header field that an API may set or remove"),
        ("headers = { add = { x-a = \"{app.name}\" } }", "no value {app.name}"),
    ] {
        let error = compile("/a/{id}", written).unwrap_err();
        assert!(error.contains(expected), "{written}: {error}");
    }
    for name in [
        "x-gatehouse-app",
        "X_Gatehouse_App",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-real-ip",
        "forwarded",
        "host",
        "connection",
        "keep-alive",
        "te",
        "transfer-encoding",
        "content-length",
        "upgrade",
        "x-request-id",
        "traceparent",
        "x-request-deadline-ms",
    ] {
        for written in [
            format!("headers = {{ set = {{ {name} = \"1\" }} }}"),
            format!("headers = {{ add = {{ {name} = \"1\" }} }}"),
            format!("headers = {{ remove = [\"{name}\"] }}"),
        ] {
            let error = compile("/a/{id}", &written).unwrap_err();
            assert!(error.contains("may set or remove"), "{written}: {error}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn a_target_that_is_sent_means_one_thing(
        path in "(/[a-z.%0-9A-F+~]{0,6}){1,4}",
        query in "[a-z&=%+0-9]{0,20}",
        made in "(/|\\{rest\\}|\\{a\\}|x|\\.|%41){1,6}",
    ) {
        let written = format!("path = \"/{made}\", captures = '^/(?<a>..?)', query = {{ add = {{ z = \"{{rest}}\" }} }}");
        let uri = format!("{path}?{query}");
        if let (Ok(rewriting), true) = (compile("/{*rest}", &written), uri.parse::<http::Uri>().is_ok())
            && let Ok(parts) = through(&rewriting, &uri, &[], Protocol::Http1)
            && parts.uri.path() != path
        {
            let sent = parts.uri.path().to_owned();
            proptest::prop_assert!(is_path(&sent) && !sent.contains("//") && !sent.contains('?'), "{}", sent);
        }
    }
}
