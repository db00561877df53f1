//! Texts with values of a call in them: `/v2/{id}`, `{header.x-tenant}-{app.key}`. A brace is written twice.

use std::borrow::Cow;

use gatehouse_shared::config::nearest;
use gatehouse_shared::telemetry::access_log::push_ip;
use http::Method;
use http::header::{self, HeaderMap, HeaderName};
use regex::Captures;

use crate::admit::api::host_of;
use crate::admit::flow_rule::input::{decoded, header, parameters};
use crate::dispatch::request::Notes;

/// Values in one template.
const VALUES_MAX: usize = 16;
/// Bytes of a template.
const TEMPLATE_MAX: usize = 4096;
/// Bytes that a template may grow to; a longer result counts as missing.
const FILLED_MAX: usize = 16 * 1024;

/// A value of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// A parameter of the API's path, by its position among them.
    Parameter(usize),
    /// A group of the expression.
    Capture(Box<str>),
    Header(HeaderName),
    Cookie(Box<str>),
    Query(Box<str>),
    AppKey,
    Client,
    RequestId,
    Host,
    Method,
    Path,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Value(Value),
}

/// A text with values in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Box<[Piece]>,
}

/// What is written in a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace that is not closed or not opened.
    #[error("a brace without its partner (a brace as such is written twice)")]
    Brace,
    /// Nobody knows this value.
    #[error("no value {{{0}}}{hint}", hint = .1.as_ref().map(|name| format!(" (did you mean {{{name}}}?)")).unwrap_or_default())]
    Unknown(String, Option<String>),
    /// The value has no place in a path: it could hold a slash, or two dots.
    #[error("{{{0}}} cannot stand in a path; only parameters of the path and groups of \"captures\" can")]
    NotInPath(String),
    /// Too much of it.
    #[error("more than {VALUES_MAX} values, or more than {TEMPLATE_MAX} bytes")]
    TooLong,
}

/// Where a filled template goes, which decides how values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A path: values are parts of the canonical path, as they are.
    Path,
    /// A header field: parts of the path stay percent-encoded.
    Header,
    /// A parameter of the query, which is encoded later: everything is decoded.
    Query,
}

/// What templates are filled with.
#[derive(Debug)]
pub struct Values<'a> {
    /// The parameters of the path, in order.
    pub parameters: Vec<(&'a str, &'a str)>,
    /// The groups; `None` where there is no expression, or it found nothing.
    pub captures: Option<Captures<'a>>,
    /// The method.
    pub method: &'a Method,
    /// The query.
    pub query: &'a str,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// Who calls, and from where.
    pub notes: &'a Notes<'a>,
}

/// Names that a template may use beside those with a dot and a name of the client's behind it.
const FIXED: [(&str, Value); 6] = [
    ("app.key", Value::AppKey),
    ("client.address", Value::Client),
    ("request.id", Value::RequestId),
    ("request.host", Value::Host),
    ("request.method", Value::Method),
    ("request.path", Value::Path),
];

impl Template {
    /// Parses a template; `names` are the parameters of the path in order, `groups` those of the expression.
    ///
    /// # Errors
    /// When it is none, or uses what is not there.
    pub fn parse(text: &str, place: Place, names: &[&str], groups: &[&str]) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_MAX {
            return Err(TemplateError::TooLong);
        }
        let (mut pieces, mut plain) = (Vec::new(), String::new());
        let mut rest = text;
        while let Some(index) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(index);
            plain.push_str(before);
            if let Some(tail) = after.strip_prefix("{{") {
                plain.push('{');
                rest = tail;
            } else if let Some(tail) = after.strip_prefix("}}") {
                plain.push('}');
                rest = tail;
            } else {
                let (name, tail) =
                    after.strip_prefix('{').and_then(|tail| tail.split_once('}')).ok_or(TemplateError::Brace)?;
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
                }
                let value = Value::parse(name, names, groups)?;
                if place == Place::Path && !matches!(value, Value::Parameter(_) | Value::Capture(_)) {
                    return Err(TemplateError::NotInPath(name.to_owned()));
                }
                pieces.push(Piece::Value(value));
                rest = tail;
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.into()));
        }
        if pieces.iter().filter(|piece| matches!(piece, Piece::Value(_))).count() > VALUES_MAX {
            return Err(TemplateError::TooLong);
        }
        Ok(Self { pieces: pieces.into() })
    }

    /// The texts between the values.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(&**text),
            Piece::Value(_) => None,
        })
    }

    /// The values between the texts.
    pub(super) fn values(&self) -> impl Iterator<Item = &Value> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Value(value) => Some(value),
        })
    }

    /// The template with a letter for each value, to see what shape it has.
    #[must_use]
    pub fn outline(&self) -> String {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text,
            Piece::Value(_) => "x",
        });
        pieces.collect()
    }

    /// The text for a call; `None` where a value of it is missing. In a path a group that matched nothing is empty.
    #[must_use]
    pub fn fill(&self, values: &Values<'_>, place: Place) -> Option<String> {
        let mut filled = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Value(value) => match values.value(value, place) {
                    Some(text) => filled.push_str(&text),
                    None if place == Place::Path => {}
                    None => return None,
                },
            }
            if filled.len() > FILLED_MAX {
                return None;
            }
        }
        Some(filled)
    }
}

impl Value {
    fn parse(name: &str, names: &[&str], groups: &[&str]) -> Result<Self, TemplateError> {
        if let Some(index) = names.iter().position(|known| *known == name) {
            return Ok(Self::Parameter(index));
        }
        if groups.contains(&name) {
            return Ok(Self::Capture(name.into()));
        }
        if let Some((_, value)) = FIXED.iter().find(|(known, _)| *known == name) {
            return Ok(value.clone());
        }
        let of_client = match name.split_once('.') {
            Some(("header", header)) => HeaderName::try_from(header).ok().map(Self::Header),
            Some(("cookie", cookie)) if !cookie.is_empty() => Some(Self::Cookie(cookie.into())),
            Some(("query", parameter)) if !parameter.is_empty() => Some(Self::Query(parameter.into())),
            _ => None,
        };
        of_client.ok_or_else(|| {
            let known = names.iter().chain(groups).copied().chain(FIXED.iter().map(|(known, _)| *known));
            TemplateError::Unknown(name.to_owned(), nearest(name, known).map(str::to_owned))
        })
    }
}

impl<'a> Values<'a> {
    fn value(&self, value: &Value, place: Place) -> Option<Cow<'a, str>> {
        let of_path = |text: &'a str| if place == Place::Query { decoded_path(text) } else { Cow::Borrowed(text) };
        let notes = self.notes;
        match value {
            Value::Parameter(index) => self.parameters.get(*index).map(|(_, text)| of_path(text)),
            Value::Capture(name) => {
                let range = self.captures.as_ref()?.name(name)?.range();
                notes.hop.path.get(range).map(of_path)
            }
            Value::Header(name) => header(self.headers, name.as_str()),
            Value::Cookie(name) => cookie(self.headers, name).map(Cow::Borrowed),
            Value::Query(name) => parameters(self.query).find(|(known, _)| **known == **name).map(|(_, value)| value),
            Value::AppKey => notes.caller.app.as_ref().map(|app| Cow::Borrowed(&*app.key)),
            Value::Client => {
                let mut text = String::new();
                push_ip(&mut text, notes.hop.client.ip());
                Some(Cow::Owned(text))
            }
            Value::RequestId => Some(Cow::Owned(notes.hop.request_id.as_str().to_owned())),
            Value::Host => Some(Cow::Borrowed(host_of(notes.authority))),
            Value::Method => Some(Cow::Borrowed(self.method.as_str())),
            Value::Path => Some(of_path(&notes.hop.path)),
        }
    }
}

/// Decodes `%41`; a plus sign is one, unlike in a query.
fn decoded_path(text: &str) -> Cow<'_, str> {
    if text.contains('+') { decoded(&text.replace('+', "%2B")).into_owned().into() } else { decoded(text) }
}

/// The first cookie of this name.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut crumbs = lines.flat_map(|line| line.split(';'));
    crumbs.find_map(|crumb| crumb.trim().strip_prefix(name)?.strip_prefix('='))
}
