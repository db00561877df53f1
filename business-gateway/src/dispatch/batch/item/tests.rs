use super::super::json;
use super::*;

/// The request of the only item of a batch.
fn prepared(text: &str) -> Result<Request<Bytes>, Unfit> {
    let source = Bytes::from(text.to_owned());
    let items = json::read(std::str::from_utf8(&source).unwrap(), 1).unwrap_or_else(|fault| panic!("{text}: {fault}"));
    prepare(&items[0], &HeaderValue::from_static("shop.example"), &source)
}

fn get(target: &str) -> Result<Request<Bytes>, Unfit> {
    prepared(&serde_json::json!([{ "method": "GET", "path": target }]).to_string())
}

fn with_header(name: &str, value: &str) -> Result<Request<Bytes>, Unfit> {
    prepared(&serde_json::json!([{ "method": "GET", "path": "/a", "headers": { name: value } }]).to_string())
}

#[test]
fn an_item_becomes_the_request_that_it_would_be_alone() {
    let text =
        r#"[{"method":"POST","path":"/orders?x=%41&y=[1]","headers":{"Accept-Language":"de"},"body":{"n": 1.10}}]"#;
    let request = prepared(text).unwrap();
    assert_eq!((request.method(), request.uri().to_string().as_str()), (&Method::POST, "/orders?x=%41&y=[1]"));
    assert_eq!(request.headers()["accept-language"], "de");
    assert_eq!(request.headers()["content-type"], "application/json");
    assert_eq!(request.headers()["host"], "shop.example");
    assert_eq!(&request.body()[..], br#"{"n": 1.10}"#);
}

#[test]
fn a_body_is_what_its_content_type_says() {
    let with = |kind: &str, body: &str| {
        prepared(&format!(r#"[{{"method":"PUT","path":"/a","headers":{{"content-type":"{kind}"}},"body":{body}}}]"#))
    };
    assert_eq!(&with("text/plain; charset=utf-8", r#""a\n\u00fc""#).unwrap().body()[..], "a\nü".as_bytes());
    assert_eq!(&with("application/x-www-form-urlencoded", r#""a=1&b=2""#).unwrap().body()[..], b"a=1&b=2");
    assert_eq!(&with("application/merge-patch+JSON", r#""a\n""#).unwrap().body()[..], br#""a\n""#);
    assert!(with("text/plain", "{}").is_err() && with("text/plain", "1").is_err());
    let signed = r#""app_key=shop&method=x&sign=00""#;
    assert!(with("application/x-www-form-urlencoded", signed).unwrap_err().to_string().contains("credentials"));
}

#[test]
fn only_a_canonical_path_on_the_same_host_is_a_target() {
    for target in ["/", "/a", "/a/?", "/a?b=c&d", "/.well-known/x", "/caf%C3%A9", "/a?next=http://b/../c"] {
        assert_eq!(get(target).unwrap().uri().to_string(), target);
    }
    for target in [
        "",
        "a",
        "*",
        "?a",
        "#",
        "http://other.example/a",
        "https://127.0.0.1/a",
        "//other.example/a",
        "\\\\a",
        "@other/a",
        "/a/../b",
        "/./a",
        "/a/..",
        "/a//b",
        "/%61",
        "/%2e%2e/b",
        "/a%2fb",
        "/a%5cb",
        "/a\\b",
        "/a;x=1/b",
        "/a%",
        "/a%00",
        "/a b",
        "/a\r\nx: y",
        "/a\u{0}",
        "/ä",
        "/a#b",
        "/a?b c",
        "/a?b\r\n",
        "/a?ü",
        "/a?#",
        "/%25%32%46",
        "/a%252e",
        "/a?app_key=shop&sign=00",
    ] {
        assert!(get(target).is_err(), "{target:?}");
    }
    assert!(get(&format!("/{}", "a".repeat(TARGET_MAX - 1))).is_ok());
    assert!(get(&format!("/{}", "a".repeat(TARGET_MAX))).is_err());
}

#[test]
fn methods_that_are_not_an_items_are_refused() {
    for method in ["get", "GET ", "", "CONNECT", "TRACE", "OPTIONS", "PURGE", "GET / HTTP/1.1\r\n", "POST\u{0}"] {
        let text = serde_json::json!([{ "method": method, "path": "/a" }]).to_string();
        assert!(prepared(&text).is_err(), "{method:?}");
    }
}

#[test]
fn what_only_the_gates_and_connections_say_cannot_be_said() {
    for name in [
        "connection",
        "Keep-Alive",
        "TE",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "proxy-authorization",
        "proxy-connection",
        "content-length",
        "content-encoding",
        "accept-encoding",
        "host",
        "Host",
        "expect",
        "via",
        "forwarded",
        "x-forwarded-for",
        "X-Forwarded-Host",
        "x-forwarded-anything",
        "x-real-ip",
        "client-ip",
        "true-client-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "authorization",
        "Authorization",
        "cookie",
        "x-api-key",
        "x-session-token",
        "signature",
        "signature-input",
        "x-ca-key",
        "x-gatehouse-hop",
        "X-Gatehouse-App",
        "x-gatehouse",
        "x-request-id",
        "traceparent",
        "x-request-deadline-ms",
        "x-http-method-override",
        "X-HTTP-Method",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
        "origin",
        "referer",
        "sec-fetch-site",
        "access-control-request-method",
        "x_forwarded_for",
        "x_gatehouse_hop",
        "a_b",
        "",
        "a b",
        "a:b",
        "a\r\nb",
        "ä",
        ":path",
        ":authority",
    ] {
        let error = with_header(name, "x").unwrap_err();
        assert!(matches!(&error, Unfit::Invalid(_)), "{name:?} {error}");
    }
    for value in ["a\r\nx-gatehouse-hop: 1", "a\nb", "\u{0}", "\u{7f}", " a", "a\t", "ä"] {
        assert!(with_header("x-a", value).is_err(), "{value:?}");
    }
    for (name, value) in [("X-A", "a\tb c"), ("if-none-match", "\"1\""), ("x-a", "")] {
        assert_eq!(with_header(name, value).unwrap().headers()[name], value);
    }
    let twice = r#"[{"method":"GET","path":"/a","headers":{"x-a":"1","X-A":"2"}}]"#;
    assert!(prepared(twice).unwrap_err().to_string().contains("twice"));
}

proptest::proptest! {
    #[test]
    fn whatever_is_taken_is_a_safe_request(
        method in "[A-Z]{0,8}", target in "[/a-c.%25eEfF\\\\?#;@: -]{0,24}", name in "[a-zX_-]{0,20}", value in "\\PC{0,10}",
    ) {
        let text = serde_json::json!([{ "method": method, "path": target, "headers": { name: value } }]).to_string();
        if let Ok(request) = prepared(&text) {
            proptest::prop_assert!(request.uri().authority().is_none() && request.uri().scheme().is_none());
            proptest::prop_assert_eq!(request.uri().to_string(), target.as_str());
            proptest::prop_assert!(is_canonical(request.uri().path()));
            proptest::prop_assert!(request.headers().len() == 2);
        }
    }
}
