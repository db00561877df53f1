//! What predicates look at: the head of a call, who sent it, when, and its body where one was asked for.

use std::borrow::Cow;
use std::net::IpAddr;

use http::Method;
use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;

use crate::admit::flow_rule::input::parameters;

/// A call that looks for its API.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The authority that the client named, with or without a port, in any case.
    pub authority: &'a str,
    /// The canonical path.
    pub path: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The query as written, without the question mark.
    pub query: &'a str,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The client's address.
    pub client: IpAddr,
    /// When the call arrived, in Unix milliseconds.
    pub unix_ms: u64,
    /// The whole body; `None` before it is there.
    pub body: Option<&'a [u8]>,
}

impl<'a> Question<'a> {
    /// The question that the head of a call asks.
    #[must_use]
    pub fn of(parts: &'a Parts, authority: &'a str, path: &'a str, client: IpAddr, unix_ms: u64) -> Self {
        Self {
            authority,
            path,
            method: &parts.method,
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            client,
            unix_ms,
            body: None,
        }
    }

    /// The same, with the body.
    #[must_use]
    pub fn with_body(self, body: &'a [u8]) -> Self {
        Self { body: Some(body), ..self }
    }

    /// The media type of the body, without parameters.
    #[must_use]
    pub fn media_type(&self) -> &'a str {
        let text = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        text.split(';').next().unwrap_or_default().trim()
    }
}

/// Where a call carries a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A header field.
    Header(HeaderName),
    /// A cookie.
    Cookie(Box<str>),
    /// A parameter of the query.
    Query(Box<str>),
    /// A segment of the path, counted from 0.
    Segment(usize),
}

/// What a call carries where one value is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Single<'a> {
    /// None.
    Missing,
    /// One.
    Value(Cow<'a, [u8]>),
    /// Several, so nobody knows which one the service would take.
    Several,
}

impl Source {
    /// Shows every value there is, in order, until `see` has seen enough and says so by `false`.
    pub fn visit<'q>(&self, question: &Question<'q>, see: &mut dyn FnMut(Cow<'q, [u8]>) -> bool) {
        match self {
            Self::Header(name) => {
                let mut values = question.headers.get_all(name).iter();
                let _enough = values.all(|value| see(Cow::Borrowed(value.as_bytes())));
            }
            Self::Cookie(name) => {
                let lines = question.headers.get_all(header::COOKIE).iter();
                let crumbs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
                for crumb in crumbs {
                    let crumb = crumb.trim_ascii();
                    let Some(value) = crumb.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="))
                    else {
                        continue;
                    };
                    if !see(Cow::Borrowed(value)) {
                        return;
                    }
                }
            }
            Self::Query(name) => {
                for (_, value) in parameters(question.query).filter(|(known, _)| **known == **name) {
                    if !see(bytes_of(value)) {
                        return;
                    }
                }
            }
            Self::Segment(index) => {
                let segment = question.path.split('/').nth(index.saturating_add(1));
                let _enough = segment.is_some_and(|segment| see(Cow::Borrowed(segment.as_bytes())));
            }
        }
    }

    /// The value, where there is one.
    #[must_use]
    pub fn single<'q>(&self, question: &Question<'q>) -> Single<'q> {
        let mut found = Single::Missing;
        self.visit(question, &mut |value| {
            let is_first = found == Single::Missing;
            found = if is_first { Single::Value(value) } else { Single::Several };
            is_first
        });
        found
    }

    /// The values, for people.
    #[must_use]
    pub fn seen(&self, question: &Question<'_>) -> String {
        let mut all = Vec::new();
        self.visit(question, &mut |value| {
            all.push(format!("{:?}", String::from_utf8_lossy(&value)));
            true
        });
        if all.is_empty() { "not there".to_owned() } else { all.join(", ") }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header(name) => write!(out, "header {name}"),
            Self::Cookie(name) => write!(out, "cookie {name}"),
            Self::Query(name) => write!(out, "query {name}"),
            Self::Segment(index) => write!(out, "segment {} of the path", index.saturating_add(1)),
        }
    }
}

fn bytes_of(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn values(source: &Source, parts: &Parts, path: &str) -> Vec<String> {
        let question = Question::of(parts, "h", path, [192, 0, 2, 1].into(), 0);
        let mut all = Vec::new();
        source.visit(&question, &mut |value| {
            all.push(String::from_utf8_lossy(&value).into_owned());
            true
        });
        all
    }

    #[test]
    fn every_value_of_a_name_is_shown() {
        let request = Request::builder()
            .uri("/v2/x?a=1&b=2&a=%41+&ab=3&a")
            .header("x-a", "1")
            .header("x-a", "2, 3")
            .header("cookie", "a=1; ab=2;b= x ;a=\"3\"")
            .header("cookie", "a=");
        let parts = request.body(()).unwrap().into_parts().0;
        let of = |source: Source| values(&source, &parts, "/v2/x");
        assert_eq!(of(Source::Header(HeaderName::from_static("x-a"))), ["1", "2, 3"]);
        assert_eq!(of(Source::Cookie("a".into())), ["1", "\"3\"", ""]);
        assert_eq!(of(Source::Cookie("b".into())), [" x"]);
        assert_eq!(of(Source::Query("a".into())), ["1", "A ", ""]);
        assert_eq!(of(Source::Segment(0)), ["v2"]);
        assert!(of(Source::Segment(2)).is_empty() && of(Source::Cookie("c".into())).is_empty());
    }

    #[test]
    fn one_value_is_told_from_several() {
        let parts = Request::builder().uri("/?a=1&b=1&b=1").body(()).unwrap().into_parts().0;
        let question = Question::of(&parts, "h", "/", [192, 0, 2, 1].into(), 0);
        let single = |name: &str| Source::Query(name.into()).single(&question);
        assert_eq!(single("a"), Single::Value(Cow::Borrowed(b"1")));
        assert_eq!((single("b"), single("c")), (Single::Several, Single::Missing));
        assert_eq!(Source::Query("b".into()).seen(&question), "\"1\", \"1\"");
    }
}
