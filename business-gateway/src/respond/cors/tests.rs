use gatehouse_shared::config::{SourceFile, parse};

use super::*;
use crate::store::catalog::CatalogConfig;

fn compile(text: &str) -> Result<Cors, String> {
    let text = format!("[[api]]\nname = \"a\"\npath = \"/\"\ncors = {{ {text} }}\n");
    let file = SourceFile { path: "catalog.toml".into(), text };
    let document = parse::<CatalogConfig>(&file).map_err(|errors| errors.to_string())?;
    let at = At { positions: &document.positions, path: "api[0]".to_owned() };
    Cors::compile(document.value.api[0].cors.as_ref().unwrap(), &at).map_err(|errors| errors.to_string())
}

fn fields(list: &[(&'static str, &'static str)]) -> HeaderMap {
    list.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

#[test]
fn an_origin_is_allowed_as_a_whole_or_not_at_all() {
    let cors = compile(r#"origins = ["https://shop.example.com", "https://*.example.org", "http://localhost:3000"]"#);
    let cors = cors.unwrap();
    for (origin, expected) in [
        ("https://shop.example.com", true),
        ("http://localhost:3000", true),
        ("https://a.example.org", true),
        ("https://a.b.example.org", true),
        ("http://shop.example.com", false),
        ("https://shop.example.com:8443", false),
        ("https://shop.example.com.evil.test", false),
        ("https://evilshop.example.com", false),
        ("https://example.org", false),
        ("https://.example.org", false),
        ("https://evil.test/.example.org", false),
        ("https://evil.test?.example.org", false),
        ("https://evil.test#.example.org", false),
        ("https://user@.example.org", false),
        ("https://evil.test:80.example.org", false),
        ("https://a.example.org:443", false),
        ("https://aexample.org", false),
        ("null", false),
        ("*", false),
        ("", false),
    ] {
        assert_eq!(cors.origins.allow(origin.as_bytes()), expected, "{origin}");
    }
    assert!(compile(r#"origins = ["null"]"#).unwrap().origins.allow(b"null"));
    assert!(compile(r#"origins = ["*"]"#).unwrap().origins.allow(b"https://anybody.test"));
}

#[test]
fn a_browser_is_told_what_it_asked_for() {
    let cors = compile(r#"origins = ["https://a.test"], headers = ["Content-Type", "X-Api-Key"], credentials = true"#);
    let cors = cors.unwrap();
    let asked = fields(&[("origin", "https://a.test"), ("access-control-request-headers", "x-api-key,content-type")]);
    let mut answer = cors.answer(&asked, &Method::PUT, &[Method::GET, Method::PUT]).unwrap();
    cors.judge(&asked).add_to(answer.headers_mut(), true);
    let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(answer.status(), 204);
    assert_eq!(header("access-control-allow-origin").as_deref(), Some("https://a.test"));
    assert_eq!(header("access-control-allow-methods").as_deref(), Some("GET, PUT"));
    assert_eq!(header("access-control-allow-headers").as_deref(), Some("x-api-key, content-type"));
    assert_eq!(header("access-control-allow-credentials").as_deref(), Some("true"));
    assert_eq!(header("access-control-max-age").as_deref(), Some("600"));
    for (list, method) in [
        (vec![("origin", "https://b.test")], Method::GET),
        (vec![("origin", "https://a.test")], Method::DELETE),
        (vec![("origin", "https://a.test"), ("access-control-request-headers", "x-other")], Method::GET),
        (vec![("origin", "https://a.test"), ("access-control-request-headers", "a b")], Method::GET),
        (vec![("origin", "https://a.test"), ("origin", "https://a.test")], Method::GET),
    ] {
        let refused = cors.answer(&fields(&list), &method, &[Method::GET, Method::PUT]).unwrap_err();
        assert_eq!(refused.reason.code, "cors_refused", "{list:?}");
    }
}

#[test]
fn what_a_service_says_of_it_does_not_count() {
    let cors = compile(r#"origins = ["https://a.test"], expose = ["ETag"]"#).unwrap();
    let of_service = [("access-control-allow-origin", "*"), ("access-control-allow-credentials", "true")];
    for (origin, allowed) in [("https://a.test", Some("https://a.test")), ("https://b.test", None)] {
        let mut headers = fields(&of_service);
        cors.judge(&fields(&[("origin", origin)])).add_to(&mut headers, false);
        assert_eq!(headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap()), allowed);
        assert!(!headers.contains_key("access-control-allow-credentials"));
        assert_eq!(headers.contains_key("access-control-expose-headers"), allowed.is_some());
        assert_eq!(headers["vary"], "origin");
    }
    let any = compile(r#"origins = ["*"]"#).unwrap();
    let mut headers = HeaderMap::new();
    any.judge(&fields(&[("origin", "https://b.test")])).add_to(&mut headers, false);
    assert_eq!(headers, fields(&[("access-control-allow-origin", "*")]));
}

#[test]
fn only_a_browsers_question_is_one() {
    let parts = |method: &str, list: &[(&'static str, &'static str)]| {
        let mut request = http::Request::builder().method(method).body(()).unwrap();
        *request.headers_mut() = fields(list);
        request.into_parts().0
    };
    let asks = [("origin", "https://a.test"), ("access-control-request-method", "PUT")];
    assert_eq!(asked_method(&parts("OPTIONS", &asks)), Some(Method::PUT));
    assert_eq!(asked_method(&parts("GET", &asks)), None);
    assert_eq!(asked_method(&parts("OPTIONS", &asks[..1])), None);
    assert_eq!(asked_method(&parts("OPTIONS", &asks[1..])), None);
}

#[test]
fn what_is_dangerous_is_refused_at_load() {
    for (text, expected) in [
        (r#"origins = []"#, "no origin, so no page may call"),
        (r#"origins = ["*"], credentials = true"#, "use the cookies of its visitor"),
        (r#"origins = ["null"], credentials = true"#, "use the cookies of its visitor"),
        (r#"origins = ["https://a.test/"]"#, "has no host in lower case, or something behind it"),
        (r#"origins = ["https://A.test"]"#, "has no host in lower case"),
        (r#"origins = ["a.test"]"#, "is not an origin"),
        (r#"origins = ["https://a.test:443"]"#, "has the default port"),
        (r#"origins = ["https://a.test:x"]"#, "has a port that is none"),
        (r#"origins = ["https://*.com"]"#, "means more than the subdomains of one domain"),
        (r#"origins = ["https://*"]"#, "has no host"),
        (r#"origins = ["https://a.test"], headers = ["*"], credentials = true"#, "browsers take \"*\" for a name"),
        (r#"origins = ["https://a.test"], headers = ["a b"]"#, "is not the name of a header field"),
        (r#"origins = ["https://a.test"], methods = ["get"]"#, "is not a method"),
        (r#"origins = ["https://a.test"], max_age = "25h""#, "no browser keeps it for so long"),
    ] {
        let error = compile(text).map(|_| ()).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
        assert!(error.starts_with("catalog.toml:4:"), "{error}");
    }
}
