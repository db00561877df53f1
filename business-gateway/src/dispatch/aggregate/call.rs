//! One call of an aggregate, and the request that is made of it. Where it goes is decided at load: the API's path is known, and
//! a value can stand only where a parameter of it is, encoded so that it is one segment and nothing else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};
use minijinja::Value;
use minijinja::value::ValueKind;

use super::config::{AnswerKind, Need};
use super::expression::Expression;
use crate::accept::body::Upload;

/// Bytes of a path and query.
const TARGET_MAX: usize = 16 * 1024;
/// Values of one parameter of a query.
const REPEATED_MAX: usize = 256;
/// Bytes of a body.
const BODY_MAX: usize = 4 << 20;

/// A call as compiled.
#[derive(Debug)]
pub struct Call {
    /// Its name.
    pub name: Box<str>,
    /// The name of its API.
    pub api: Box<str>,
    /// The API's place in the catalog.
    pub api_index: usize,
    /// The method.
    pub method: Method,
    pub(super) path: Vec<Piece>,
    pub(super) query: Vec<(Box<str>, Given)>,
    pub(super) headers: Vec<(HeaderName, Given)>,
    pub(super) pass_headers: Vec<HeaderName>,
    pub(super) body: Option<Given>,
    /// Whether it is made at all.
    pub when: Option<Expression>,
    /// What becomes of the whole when it fails.
    pub need: Need,
    /// What stands in the place of its answer, as JSON and as a value.
    pub(super) default: Option<(Bytes, Value)>,
    /// From its beginning to the end of its answer; `None`: as its API says.
    pub timeout: Option<Duration>,
    pub(super) answer: AnswerKind,
    pub(super) pass_cookies: bool,
    /// Calls whose answers its request is made of.
    pub needs: Vec<usize>,
    /// Calls that must be over before it begins: those, and what `when` looks at.
    pub after: Vec<usize>,
    /// Calls that wait for it.
    pub(super) before: Vec<usize>,
    /// Whether anything looks at its body.
    pub(super) is_read: bool,
    /// Whether anything looks at it at all.
    pub(super) is_seen: bool,
}

/// A value of a request.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) expression: Expression,
    /// Whether it is made of the caller's request alone, so that the caller is at fault where it is not right.
    pub(super) is_of_request: bool,
}

/// A segment of the path, or what follows.
#[derive(Debug)]
pub(super) enum Piece {
    Literal(Box<str>),
    Parameter(Box<str>, Given),
    Rest(Box<str>, Given),
}

/// Why a call cannot be made.
#[derive(Debug, PartialEq, Eq)]
pub struct Unmade {
    /// What is not right, as in `params.id`.
    pub what: String,
    /// Why.
    pub why: &'static str,
    /// Whether the caller is at fault.
    pub is_of_request: bool,
}

const MISSING: &str = "has no value";
const NOT_TEXT: &str = "is not a text or a number";

impl Call {
    /// The path, and the request. `client` are the headers of the client.
    ///
    /// # Errors
    /// What is not right about a value.
    pub fn request(&self, scope: &Value, client: &HeaderMap) -> Result<(Box<str>, Request<Upload>), Unmade> {
        let path = self.path(scope)?;
        let mut target = path.clone();
        self.add_query(&mut target, scope)?;
        if target.len() > TARGET_MAX {
            return Err(Unmade { what: "the path".to_owned(), why: "is too long", is_of_request: false });
        }
        let target = PathAndQuery::from_maybe_shared(Bytes::from(target));
        let target = target.map_err(|_invalid| Unmade {
            what: "the path".to_owned(),
            why: "is not a path",
            is_of_request: false,
        })?;
        let body = self.body.as_ref().map(|given| body(given, scope)).transpose()?;
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = self.method.clone();
        parts.uri = Uri::from(target);
        parts.headers = self.request_headers(scope, client)?;
        if body.is_some() {
            parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let upload = body.map_or_else(Upload::default, Upload::own);
        Ok((path.into(), Request::from_parts(parts, upload)))
    }

    fn path(&self, scope: &Value) -> Result<String, Unmade> {
        let mut path = String::with_capacity(64);
        for piece in &self.path {
            match piece {
                Piece::Literal(text) => {
                    path.push('/');
                    path.push_str(text);
                }
                Piece::Parameter(name, given) => {
                    let unmade = |why| given.unmade("params", name, why);
                    let text = given.text(scope).map_err(unmade)?.ok_or_else(|| unmade(MISSING))?;
                    push_segment(&mut path, &text).map_err(unmade)?;
                }
                Piece::Rest(name, given) => {
                    let unmade = |why| given.unmade("params", name, why);
                    let text = given.text(scope).map_err(unmade)?.ok_or_else(|| unmade(MISSING))?;
                    if text.is_empty() {
                        path.push('/');
                        continue;
                    }
                    let (inner, is_folder) = text.strip_suffix('/').map_or((&*text, false), |inner| (inner, true));
                    for segment in inner.split('/') {
                        push_segment(&mut path, segment).map_err(unmade)?;
                    }
                    if is_folder {
                        path.push('/');
                    }
                }
            }
        }
        Ok(path)
    }

    fn add_query(&self, target: &mut String, scope: &Value) -> Result<(), Unmade> {
        let mut separator = '?';
        for (name, given) in &self.query {
            let unmade = |why| given.unmade("query", name, why);
            let value = given.expression.value(scope).map_err(|_error| unmade(NOT_TEXT))?;
            let values: Vec<Value> = match value.kind() {
                ValueKind::Seq | ValueKind::Iterable => {
                    value.try_iter().map_err(|_error| unmade(NOT_TEXT))?.take(REPEATED_MAX).collect()
                }
                _ => vec![value],
            };
            for value in values {
                let Some(text) = text_of(&value).map_err(unmade)? else { continue };
                target.push(separator);
                separator = '&';
                target.push_str(name);
                target.push('=');
                push_encoded(target, &text);
                if target.len() > TARGET_MAX {
                    return Err(unmade("is too long"));
                }
            }
        }
        Ok(())
    }

    /// What the service gets of headers: what the call names, and the languages the client reads. The rest comes from
    /// `dispatch/request.rs`.
    fn request_headers(&self, scope: &Value, client: &HeaderMap) -> Result<HeaderMap, Unmade> {
        let mut headers = HeaderMap::with_capacity(self.headers.len() + self.pass_headers.len() + 16);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        for name in self.pass_headers.iter().chain(&[header::ACCEPT_LANGUAGE]) {
            let mut values = client.get_all(name).iter();
            if let Some(first) = values.next() {
                headers.insert(name.clone(), first.clone());
                for more in values {
                    headers.append(name.clone(), more.clone());
                }
            }
        }
        for (name, given) in &self.headers {
            let unmade = |why| given.unmade("headers", name.as_str(), why);
            let Some(text) = given.text(scope).map_err(unmade)? else { continue };
            let value = HeaderValue::from_str(&text).map_err(|_invalid| unmade("cannot stand in a header"))?;
            headers.insert(name.clone(), value);
        }
        Ok(headers)
    }
}

/// The body in JSON.
fn body(given: &Given, scope: &Value) -> Result<Bytes, Unmade> {
    let unmade = |why| Unmade { what: "body".to_owned(), why, is_of_request: given.is_of_request };
    let value = given.expression.value(scope).map_err(|_error| unmade("cannot be computed"))?;
    let mut text = Bounded(Vec::new());
    serde_json::to_writer(&mut text, &value).map_err(|_error| unmade("is not JSON, or too long"))?;
    Ok(Bytes::from(text.0))
}

struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > BODY_MAX {
            return Err(std::io::ErrorKind::OutOfMemory.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Given {
    fn unmade(&self, place: &str, name: &str, why: &'static str) -> Unmade {
        Unmade { what: format!("{place}.{name}"), why, is_of_request: self.is_of_request }
    }

    fn text(&self, scope: &Value) -> Result<Option<Arc<str>>, &'static str> {
        text_of(&self.expression.value(scope).map_err(|_error| "cannot be computed")?)
    }
}

/// A value as text; nothing for nothing.
fn text_of(value: &Value) -> Result<Option<Arc<str>>, &'static str> {
    if value.is_undefined() || value.is_none() {
        return Ok(None);
    }
    if let Some(text) = value.to_str() {
        return Ok(Some(text));
    }
    match value.kind() {
        ValueKind::Number => Ok(Some(value.to_string().into())),
        ValueKind::Bool => Ok(Some(if value.is_true() { "true" } else { "false" }.into())),
        _ => Err(NOT_TEXT),
    }
}

/// Adds a slash and the text as one segment.
fn push_segment(path: &mut String, text: &str) -> Result<(), &'static str> {
    match text {
        "" => return Err("is empty"),
        // Encoded dots are dots to many: nothing would be left of them, or of the segment before.
        "." | ".." => return Err("is a dot segment"),
        _ => {}
    }
    path.push('/');
    push_encoded(path, text);
    Ok(())
}

/// Adds the text with everything percent-encoded but RFC 3986's unreserved characters, as in a canonical path.
fn push_encoded(target: &mut String, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            target.push(char::from(byte));
            continue;
        }
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).map_or('0', |digit| char::from(*digit));
        target.extend(['%', digit(byte >> 4), digit(byte & 15)]);
    }
}

/// A name of a query's parameter as it is sent.
pub(super) fn encoded(name: &str) -> Box<str> {
    let mut text = String::with_capacity(name.len());
    push_encoded(&mut text, name);
    text.into()
}

#[cfg(test)]
mod tests {
    use minijinja::value::Serde;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::admit::path::{PathTemplate, Segment};
    use crate::dispatch::aggregate::scope;

    fn given(source: &str) -> Given {
        Given { expression: Expression::compile(source).unwrap(), is_of_request: true }
    }

    fn call(path: &str) -> Call {
        let path = PathTemplate::parse(path).unwrap();
        let path = path.segments().iter().map(|segment| match segment {
            Segment::Literal(text) => Piece::Literal(text.clone()),
            Segment::Parameter(name) => Piece::Parameter(name.clone(), given(name)),
            Segment::Rest(name) => Piece::Rest(name.clone(), given(name)),
        });
        Call {
            name: "part".into(),
            api: "api".into(),
            api_index: 0,
            method: Method::GET,
            path: path.collect(),
            query: Vec::new(),
            headers: Vec::new(),
            pass_headers: Vec::new(),
            body: None,
            when: None,
            need: Need::Required,
            default: None,
            timeout: None,
            answer: AnswerKind::Json,
            pass_cookies: false,
            needs: Vec::new(),
            after: Vec::new(),
            before: Vec::new(),
            is_read: false,
            is_seen: false,
        }
    }

    fn path(call: &Call, scope: &serde_json::Value) -> Result<String, &'static str> {
        let made = call.request(&Value::from(Serde(scope)), &HeaderMap::new());
        made.map(|(path, _)| path.into()).map_err(|unmade| unmade.why)
    }

    #[test]
    fn a_value_is_one_segment() {
        let one = call("/orders/{id}/lines");
        for (id, expected) in [
            (json!("a b"), "/orders/a%20b/lines"),
            (json!("../admin?x#y"), "/orders/..%2Fadmin%3Fx%23y/lines"),
            (json!("%2e%2e"), "/orders/%252e%252e/lines"),
            (json!("a\r\nb\0"), "/orders/a%0D%0Ab%00/lines"),
            (json!("ü"), "/orders/%C3%BC/lines"),
            (json!(7), "/orders/7/lines"),
            (json!(true), "/orders/true/lines"),
        ] {
            assert_eq!(path(&one, &json!({"id": id})), Ok(expected.to_owned()));
        }
        for (id, why) in [
            (json!(".."), "is a dot segment"),
            (json!("."), "is a dot segment"),
            (json!(""), "is empty"),
            (json!(null), MISSING),
            (json!([1]), NOT_TEXT),
            (json!({}), NOT_TEXT),
        ] {
            assert_eq!(path(&one, &json!({"id": id})), Err(why));
        }
        assert_eq!(path(&one, &json!({})), Err(MISSING));
        let rest = call("/files/{*rest}");
        for (value, expected) in [("a/b?", Ok("/files/a/b%3F")), ("", Ok("/files/")), ("a/", Ok("/files/a/"))] {
            assert_eq!(path(&rest, &json!({"rest": value})), expected.map(str::to_owned));
        }
        for (value, why) in
            [("a/../b", "is a dot segment"), ("a//b", "is empty"), ("/a", "is empty"), ("/", "is empty")]
        {
            assert_eq!(path(&rest, &json!({"rest": value})), Err(why), "{value}");
        }
    }

    #[test]
    fn query_and_headers_are_what_is_declared() {
        let mut call = call("/");
        call.query = vec![
            (encoded("a&b"), given("text")),
            ("none".into(), given("absent")),
            ("list".into(), given("list")),
            ("n".into(), given("10")),
        ];
        call.headers = vec![(HeaderName::from_static("x-a"), given("text | lower"))];
        call.pass_headers = vec![header::COOKIE];
        let scope = Value::from(Serde(json!({"text": "X&y=1#", "list": [1, null, "z"]})));
        let client = [
            (header::COOKIE, HeaderValue::from_static("a=1")),
            (header::AUTHORIZATION, HeaderValue::from_static("Bearer x")),
            (header::ACCEPT_LANGUAGE, HeaderValue::from_static("ta, en")),
            (header::ACCEPT, HeaderValue::from_static("text/html")),
        ];
        let client = client.into_iter().collect();
        let (_, request) = call.request(&scope, &client).unwrap();
        assert_eq!(request.uri(), "/?a%26b=X%26y%3D1%23&list=1&list=z&n=10");
        let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "accept-language", "cookie", "x-a"]);
        assert_eq!(request.headers()["accept"], "application/json");
        assert_eq!(request.headers()["x-a"], "x&y=1#");

        call.headers = vec![(HeaderName::from_static("x-a"), given("'a\r\nb: c'"))];
        let unmade = call.request(&scope, &client).unwrap_err();
        assert_eq!((&*unmade.what, unmade.why), ("headers.x-a", "cannot stand in a header"));
        call.headers.clear();
        call.query = vec![("m".into(), given("{'a': 1}"))];
        assert_eq!(call.request(&scope, &client).unwrap_err().what, "query.m");
    }

    #[test]
    fn a_body_is_json_of_a_bounded_length() {
        let mut call = call("/");
        call.body = Some(given("{'ids': list, 'none': absent}"));
        let (_, request) = call.request(&Value::from(Serde(json!({"list": [1]}))), &HeaderMap::new()).unwrap();
        assert_eq!(request.headers()[header::CONTENT_TYPE], "application/json");
        assert_eq!(request.body().length(), Some(23));
        call.body = Some(given("long"));
        assert_eq!(
            call.request(&Value::from(Serde(json!({"long": "x".repeat(BODY_MAX)}))), &HeaderMap::new())
                .unwrap_err()
                .what,
            "body"
        );
    }

    proptest! {
        #[test]
        fn no_value_changes_the_route(id in any::<String>(), rest in any::<String>(), odd in "[/.%?#\\\\;:@ \\x00-\\x1f]{0,6}") {
            for (id, rest) in [(&id, &rest), (&odd, &rest), (&id, &odd)] {
                let call = call("/orders/{id}/lines/{*rest}");
                let Ok((path, request)) =
                    call.request(&Value::from(Serde(json!({"id": id, "rest": rest}))), &HeaderMap::new())
                else {
                    continue;
                };
                prop_assert_eq!(request.uri().path(), &*path);
                prop_assert_eq!(request.uri().query(), None);
                let template = PathTemplate::parse("/orders/{id}/lines/{*rest}").unwrap();
                let segments: Vec<&str> = path.split('/').collect();
                prop_assert_eq!((segments[1], segments[3]), ("orders", "lines"));
                prop_assert!(segments.iter().all(|segment| !matches!(*segment, "." | "..")));
                prop_assert!(path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~%".contains(&byte)));
                let found = scope::params(&template, &path);
                prop_assert_eq!((&found[0].1, &found[1].1), (id, rest));
            }
        }
    }
}
