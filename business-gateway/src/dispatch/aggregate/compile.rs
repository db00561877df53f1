//! From what is written to aggregates that can run: every name is checked, what depends on what is found, and whatever goes in a
//! circle is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use gatehouse_shared::config::{ConfigErrors, HumanDuration, Positions, nearest};
use gatehouse_shared::hop;
use http::Method;
use http::header::{self, HeaderName, HeaderValue};
use minijinja::Value;
use minijinja::value::Serde;

use super::call::{Call, Given, Piece, encoded};
use super::config::{AnswerKind, Bounds, CallConfig, Config, Need};
use super::expression::{Expression, Known, Meaning};
use super::template::Template;
use super::{Aggregate, Aggregates, nesting};
use crate::admit::api;
use crate::admit::path::{PathTemplate, Segment};
use crate::store::catalog::{At, CatalogConfig, check_name};

/// Names that mean something else in expressions and answers.
const RESERVED: [&str; 16] = [
    "request", "caller", "errors", "loop", "self", "true", "false", "none", "True", "False", "None", "not", "and",
    "or", "in", "is",
];

impl Aggregates {
    /// Compiles the aggregates of a catalog. What is counted and held is carried over from `before`.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn compile(
        written: &CatalogConfig,
        positions: &Positions,
        bounds: &Bounds,
        before: Option<&Self>,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut by_name = BTreeMap::new();
        for (index, config) in written.aggregate.iter().enumerate() {
            let at = At { positions, path: format!("aggregate[{index}]") };
            check_name(&config.name, &at, &mut errors);
            if by_name.contains_key(config.name.as_str()) {
                let message = format!("a second aggregate {:?}", config.name);
                errors.push(at.error("name", message, "give each its own name"));
                continue;
            }
            if let Some(aggregate) = errors.collect(compile(config, written, &at, bounds)) {
                by_name.insert(config.name.as_str().into(), Arc::new(aggregate));
            }
        }
        errors.collect(nesting::check(written, positions, bounds));
        let room = before.map(|before| Arc::clone(&before.room)).unwrap_or_default();
        errors.into_result(Self { by_name, room })
    }

    /// The aggregate that answers an API. One that is declared but wrong has its own errors.
    pub fn of_api(
        &self,
        name: &str,
        api: &api::Config,
        at: &At<'_>,
        all: &[Config],
        errors: &mut ConfigErrors,
    ) -> Option<Arc<Aggregate>> {
        let not_used =
            [("pool", api.pool.is_some()), ("concurrency", api.concurrency.is_some()), ("raw_path", api.raw_path)];
        for (key, is_written) in not_used {
            if is_written {
                let message = format!("an aggregate has no {key}: its calls have those of their APIs");
                errors.push(at.error(key, message, format!("remove {key}")));
            }
        }
        let Some(aggregate) = self.by_name.get(name) else {
            if !all.iter().any(|aggregate| aggregate.name == *name) {
                let remedy = match nearest(name, all.iter().map(|aggregate| aggregate.name.as_str())) {
                    Some(name) => format!("did you mean {name:?}?"),
                    None => format!("add [[aggregate]] with name = {name:?}"),
                };
                errors.push(at.error("aggregate", format!("no aggregate {name:?}"), remedy));
            }
            return None;
        };
        // A path that is wrong has errors of its own.
        if let Ok(path) = PathTemplate::parse(&api.path) {
            let known: Vec<&str> = path.names().collect();
            for param in aggregate.params.iter().filter(|param| !known.contains(&param.as_str())) {
                let message =
                    format!("the aggregate {name:?} uses request.params.{param}, which the path does not have");
                errors.push(at.error("path", message, format!("write {{{param}}} into the path")));
            }
        }
        Some(Arc::clone(aggregate))
    }
}

fn compile(config: &Config, catalog: &CatalogConfig, at: &At<'_>, bounds: &Bounds) -> Result<Aggregate, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    if config.call.is_empty() {
        errors.push(at.error("call", "an aggregate of nothing", "add [[aggregate.call]]"));
    }
    let names: Vec<&str> = config.call.iter().map(|call| call.name.as_str()).collect();
    let known = Known { calls: &names, has_errors: false };
    let mut all = Meaning::default();
    let mut calls = Vec::with_capacity(config.call.len());
    for (index, written) in config.call.iter().enumerate() {
        let at = At { positions: at.positions, path: format!("{}.call[{index}]", at.path) };
        check_call_name(written, &at, config, index, &mut errors);
        let mut compiler = Compiler {
            at: &at,
            known,
            used: Meaning::default(),
            looked_at: BTreeSet::new(),
            errors: ConfigErrors::new(),
        };
        let call = compiler.call(written, catalog);
        all.add(&compiler.used);
        let errors_of_call = compiler.errors;
        if let Some(call) = errors.collect(errors_of_call.into_result(call)) {
            calls.extend(call);
        }
    }
    let template = config.template.as_ref().and_then(|source| {
        let refuse = |message: String| {
            let mut errors = ConfigErrors::new();
            errors.push(at.error("template", message, "see docs/AGGREGATION.md for what a template may be"));
            errors
        };
        let template = Template::compile(source, bounds.fuel, bounds.answer).map_err(refuse);
        let template = errors.collect(template)?;
        let meaning = template.names.resolve(Known { has_errors: true, ..known }).map_err(refuse);
        all.add(&errors.collect(meaning)?);
        Some(template)
    });
    let content_type = content_type(config, at, &mut errors);
    errors.into_result(())?;
    link(&mut calls, &all, at)?;
    let vary = vary(&calls, &all);
    Ok(Aggregate {
        name: config.name.as_str().into(),
        names: calls.iter().map(|call| call.name.clone()).collect(),
        calls,
        template,
        content_type,
        vary,
        params: all.params,
        reads_body: all.reads_body,
        reads_caller: all.reads_caller,
        bounds: *bounds,
        metrics: OnceLock::new(),
    })
}

fn check_call_name(call: &CallConfig, at: &At<'_>, config: &Config, index: usize, errors: &mut ConfigErrors) {
    let name = call.name.as_str();
    let is_word = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.len() <= 64
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    if !is_word || RESERVED.contains(&name) {
        let remedy = "use 1 to 64 letters, digits and \"_\", beginning with a letter";
        errors.push(at.error("name", format!("{name:?} is not a name for a call"), remedy));
    }
    if config.call.iter().take(index).any(|other| other.name == call.name) {
        errors.push(at.error("name", format!("a second call {name:?}"), "give each its own name"));
    }
}

fn content_type(config: &Config, at: &At<'_>, errors: &mut ConfigErrors) -> HeaderValue {
    let Some(written) = &config.content_type else { return HeaderValue::from_static("application/json") };
    let kind = written.split(';').next().unwrap_or_default().trim();
    let is_json = kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"));
    match HeaderValue::try_from(written) {
        Ok(value) if is_json => value,
        _ => {
            let remedy = "write \"application/json\", or a type that ends with \"+json\"";
            errors.push(at.error("content_type", format!("{written:?} is not a kind of JSON"), remedy));
            HeaderValue::from_static("application/json")
        }
    }
}

/// Headers of the client that the answer depends on, as `Vary` lists them; `None` for none.
fn vary(calls: &[Call], all: &Meaning) -> Option<HeaderValue> {
    let passed = calls.iter().flat_map(|call| call.pass_headers.iter().map(|name| name.as_str().to_owned()));
    let names: BTreeSet<String> = passed.chain(all.headers.iter().map(|name| name.to_ascii_lowercase())).collect();
    if names.is_empty() {
        return None;
    }
    let names: Vec<String> = names.into_iter().collect();
    if names.iter().any(|name| name == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    HeaderValue::try_from(names.join(", ")).ok()
}

/// Notes who waits for whom, and refuses calls that wait for themselves.
fn link(calls: &mut [Call], all: &Meaning, at: &At<'_>) -> Result<(), ConfigErrors> {
    let mut errors = ConfigErrors::new();
    for index in 0..calls.len() {
        let before = calls.iter().enumerate().filter(|(_, call)| call.after.contains(&index)).map(|(other, _)| other);
        let before: Vec<usize> = before.collect();
        let Some(call) = calls.get_mut(index) else { continue };
        call.is_read = all.bodies.contains(&index);
        call.is_seen = all.calls.contains(&index);
        call.before = before;
    }
    // Whatever is left when all that can begin has ended waits for itself, or for something that does.
    let mut left: BTreeSet<usize> = (0..calls.len()).collect();
    let is_free = |index: usize, left: &BTreeSet<usize>| {
        calls.get(index).is_some_and(|call| call.after.iter().all(|before| !left.contains(before)))
    };
    while let Some(free) = left.iter().copied().find(|index| is_free(*index, &left)) {
        left.remove(&free);
    }
    if let Some(first) = left.first().copied() {
        let circle = circle(calls, &left, first);
        let named = circle.first().copied().unwrap_or(first);
        let names: Vec<&str> = circle.iter().filter_map(|index| calls.get(*index)).map(|call| &*call.name).collect();
        let start = names.first().copied().unwrap_or_default();
        let message = match names.as_slice() {
            [one] => format!("the call {one:?} looks at its own answer"),
            _ => format!("calls that wait for one another: {} → {start}", names.join(" → ")),
        };
        let key = format!("call[{named}].name");
        errors.push(at.error(&key, message, "let one of them do without the answer of the other"));
    }
    errors.into_result(())
}

/// A circle among calls each of which waits for another of them.
fn circle(calls: &[Call], left: &BTreeSet<usize>, first: usize) -> Vec<usize> {
    let mut way = vec![first];
    loop {
        let last = way.last().and_then(|index| calls.get(*index));
        let next = last.and_then(|call| call.after.iter().copied().find(|before| left.contains(before)));
        let Some(next) = next else { return way };
        if let Some(begin) = way.iter().position(|index| *index == next) {
            return way.split_off(begin);
        }
        way.push(next);
    }
}

/// Compiles one call.
struct Compiler<'a> {
    at: &'a At<'a>,
    known: Known<'a>,
    used: Meaning,
    /// Calls that its request is made of.
    looked_at: BTreeSet<usize>,
    errors: ConfigErrors,
}

impl Compiler<'_> {
    fn call(&mut self, written: &CallConfig, catalog: &CatalogConfig) -> Option<Call> {
        let found = catalog.api.iter().position(|api| api.name == written.api);
        let api = found.and_then(|index| catalog.api.get(index));
        if api.is_none() {
            let remedy = match nearest(&written.api, catalog.api.iter().map(|api| api.name.as_str())) {
                Some(name) => format!("did you mean {name:?}?"),
                None => format!("add [[api]] with name = {:?}", written.api),
            };
            self.refuse("api", format!("no API {:?}", written.api), &remedy);
        }
        if api.is_some_and(|api| api.batch.is_some()) {
            self.refuse("api", "a batch is no part of an answer", "call the APIs of its items");
        }
        let path = api.map(|api| self.path(written, api)).unwrap_or_default();
        let method = api.and_then(|api| self.method(written, api));
        let query = written
            .query
            .iter()
            .filter_map(|(name, source)| Some((encoded(name), self.given(&format!("query.{name}"), source)?)));
        let query: Vec<(Box<str>, Given)> = query.collect();
        let headers = written.headers.iter().filter_map(|(name, source)| {
            let key = format!("headers.{name}");
            let given = self.given(&key, source)?;
            Some((self.header(&key, name)?, given))
        });
        let headers: Vec<(HeaderName, Given)> = headers.collect();
        let pass_headers = written.pass_headers.iter().enumerate();
        let pass_headers =
            pass_headers.filter_map(|(index, name)| self.header(&format!("pass_headers[{index}]"), name)).collect();
        let body = written.body.as_ref().and_then(|source| self.given("body", source));
        let needs: Vec<usize> = self.looked_at.iter().copied().collect();
        let when = written.when.as_ref().and_then(|source| self.given("when", source)).map(|given| given.expression);
        let after = self.looked_at.iter().copied().collect();
        let default = self.default(written);
        if written.timeout.is_some_and(|timeout| timeout.get().is_zero()) {
            self.refuse("timeout", "a time of nothing fails every call", "write at least \"1ms\", or leave it out");
        }
        if written.answer == AnswerKind::None && written.need == Need::Default {
            self.refuse("default", "an answer that is not read has nothing in its place", "remove default");
        }
        Some(Call {
            name: written.name.as_str().into(),
            api: written.api.as_str().into(),
            api_index: found?,
            method: method?,
            path,
            query,
            headers,
            pass_headers,
            body,
            when,
            need: written.need,
            default,
            timeout: written.timeout.map(HumanDuration::get),
            answer: written.answer,
            pass_cookies: written.pass_cookies,
            needs,
            after,
            before: Vec::new(),
            is_read: false,
            is_seen: false,
        })
    }

    fn refuse(&mut self, key: &str, message: impl Into<String>, remedy: &str) {
        self.errors.push(self.at.error(key, message, remedy));
    }

    /// The value at `key`.
    fn given(&mut self, key: &str, source: &str) -> Option<Given> {
        let compiled = Expression::compile(source).and_then(|expression| {
            let meaning = expression.names.resolve(self.known)?;
            Ok((expression, meaning))
        });
        match compiled {
            Ok((expression, meaning)) => {
                self.used.add(&meaning);
                self.looked_at.extend(&meaning.calls);
                Some(Given { expression, is_of_request: meaning.calls.is_empty() })
            }
            Err(message) => {
                let remedy = "write an expression such as request.params.id, 'text' or product.body.id";
                self.refuse(key, message, remedy);
                None
            }
        }
    }

    fn path(&mut self, written: &CallConfig, api: &api::Config) -> Vec<Piece> {
        // A path that is wrong has errors of its own.
        let Ok(path) = PathTemplate::parse(&api.path) else { return Vec::new() };
        let known: Vec<&str> = path.names().collect();
        for name in written.params.keys().filter(|name| !known.contains(&name.as_str())) {
            let remedy = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "remove it, or write it into query".to_owned(),
            };
            self.refuse(
                &format!("params.{name}"),
                format!("the path {:?} has no parameter {name:?}", api.path),
                &remedy,
            );
        }
        let mut pieces = Vec::with_capacity(path.segments().len());
        for segment in path.segments() {
            let (name, is_rest) = match segment {
                Segment::Literal(text) => {
                    pieces.push(Piece::Literal(text.clone()));
                    continue;
                }
                Segment::Parameter(name) => (name, false),
                Segment::Rest(name) => (name, true),
            };
            let Some(source) = written.params.get(&**name) else {
                let message = format!("no value for the parameter {name:?} of the path {:?}", api.path);
                self.refuse("params", message, &format!("write {name} = \"request.params.{name}\", or another value"));
                continue;
            };
            if let Some(given) = self.given(&format!("params.{name}"), source) {
                let piece = if is_rest { Piece::Rest } else { Piece::Parameter };
                pieces.push(piece(name.clone(), given));
            }
        }
        pieces
    }

    fn method(&mut self, written: &CallConfig, api: &api::Config) -> Option<Method> {
        let takes = |method: &str| api.methods.is_empty() || api.methods.iter().any(|known| known == method);
        let name = match (&written.method, api.methods.as_slice()) {
            (Some(name), _) => name.as_str(),
            (None, [only]) => only.as_str(),
            (None, _) if takes("GET") => "GET",
            (None, several) => {
                let message = format!("{:?} takes several methods: {}", written.api, several.join(", "));
                self.refuse("method", message, "name one of them");
                return None;
            }
        };
        if !takes(name) {
            let remedy = format!("name one of: {}", api.methods.join(", "));
            self.refuse("method", format!("{:?} does not take {name}", written.api), &remedy);
            return None;
        }
        // CONNECT would ask a service for a tunnel, TRACE for what it was sent.
        match Method::from_str(name) {
            Ok(method) if !matches!(method, Method::CONNECT | Method::TRACE) => Some(method),
            _ => {
                self.refuse("method", format!("{name:?} is not a method for a call"), "write GET or another one");
                None
            }
        }
    }

    /// A header that a call may have.
    fn header(&mut self, key: &str, name: &str) -> Option<HeaderName> {
        let remedy = "name a header that the service is to get; the gate writes those of a connection itself";
        match HeaderName::from_str(name) {
            Ok(name) if is_free(&name) => Some(name),
            _ => {
                self.refuse(key, format!("{name:?} is not a header for a call"), remedy);
                None
            }
        }
    }

    fn default(&mut self, written: &CallConfig) -> Option<(Bytes, Value)> {
        match (&written.default, written.need) {
            (Some(value), Need::Default) => {
                let text = serde_json::to_vec(value).unwrap_or_else(|_error| b"null".to_vec());
                Some((Bytes::from(text), Value::from(Serde(value))))
            }
            (None, Need::Default) => {
                self.refuse("need", "no value to be answered instead", "add default = …");
                None
            }
            (Some(_), _) => {
                self.refuse("default", "a value that is never answered", "write need = \"default\", or remove it");
                None
            }
            (None, _) => None,
        }
    }
}

/// Whether a header may be written or passed on: not what belongs to a connection, frames a message, or is said by the gate.
fn is_free(name: &HeaderName) -> bool {
    let owned = [
        header::HOST,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        header::EXPECT,
        header::RANGE,
        header::ACCEPT_ENCODING,
        header::CONTENT_TYPE,
        header::FORWARDED,
    ];
    let text = name.as_str();
    !owned.contains(name)
        && !hop::is_internal(text)
        && !text.starts_with("x-forwarded-")
        && !text.starts_with("proxy-")
        && !text.starts_with("if-")
        && !matches!(
            text,
            "keep-alive" | "x-real-ip" | "x-request-id" | "x-request-deadline-ms" | "traceparent" | "tracestate"
        )
}
