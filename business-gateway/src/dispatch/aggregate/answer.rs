//! The answer of an aggregate: made by its template, or of the answers of its calls under their names. It says the truth: 200
//! where every part is there or was not asked for; 200, `errors` and the header `x-aggregate-errors` where one that is not
//! needed has failed; otherwise it is a failure.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use gatehouse_shared::hop::{Auth, HopResult};
use gatehouse_shared::problem;
use http::Response;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use minijinja::Value;
use minijinja::value::Serde;

use super::Aggregate;
use super::caching::{Caching, add_vary};
use super::outcome::{Lack, Lacks, Outcome};
use super::scope::Scope;
use super::template::TemplateError;
use crate::respond::body::Outgoing;
use crate::respond::failure::{Executed, Failure};
use crate::respond::shape::tell;

/// Names the parts that are not in an answer, as a list of RFC 9651: `stock;status=503;code=service_overloaded`.
pub const ERRORS_HEADER: HeaderName = HeaderName::from_static("x-aggregate-errors");

/// Why there is no answer.
#[derive(Debug)]
pub struct Failed {
    failure: Box<Failure>,
    /// The bound that was hit in making it.
    bound: Option<&'static str>,
}

impl Failed {
    /// A bound of `[aggregate]` was hit.
    pub(super) fn hit(failure: Failure, bound: &'static str) -> Self {
        Self { failure: Box::new(failure), bound: Some(bound) }
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { failure: Box::new(failure), bound: None }
    }
}

impl From<Failed> for (Failure, Option<&'static str>) {
    fn from(failed: Failed) -> Self {
        (*failed.failure, failed.bound)
    }
}

impl From<TemplateError> for Failed {
    fn from(error: TemplateError) -> Self {
        let bound = match &error {
            TemplateError::TooLong(_) => Some("answer_max"),
            TemplateError::Fuel => Some("fuel"),
            TemplateError::NotJson(_) | TemplateError::Failed(_) => None,
        };
        let mut failure = Failure::refused(&problem::AGGREGATE_ANSWER_FAILED);
        failure.executed = Executed::Perhaps;
        failure.cause = Some(match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        });
        Self { failure: Box::new(failure), bound }
    }
}

/// The answer, and whether it is whole.
pub(super) fn make(
    aggregate: &Aggregate,
    outcomes: &[Option<Outcome>],
    scope: &Scope,
    seen: &Value,
    auth: Auth,
) -> Result<(Response<Outgoing>, bool), Failed> {
    let mut lacks: Vec<Lack> = Vec::new();
    for (call, outcome) in aggregate.calls.iter().zip(outcomes) {
        match outcome {
            Some(Outcome::Failed(failed)) => lacks.push(failed.lack(call, call.default.is_some())),
            Some(Outcome::Answered(answered)) => lacks.extend(answered.lacks.iter().cloned()),
            Some(Outcome::Skipped) | None => {}
        }
    }
    let body = match &aggregate.template {
        Some(template) => {
            scope.set_errors(Value::from(Serde(&lacks)));
            template.render(seen)?
        }
        None => merge(aggregate, outcomes, &lacks),
    };
    let mut answer = Response::new(Outgoing::own(body));
    let headers = answer.headers_mut();
    headers.reserve(8);
    headers.insert(header::CONTENT_TYPE, aggregate.content_type.clone());
    add_headers(headers, aggregate, outcomes, lacks.is_empty());
    tell(headers, &HopResult { auth, ..HopResult::SERVICE });
    let is_whole = lacks.is_empty();
    if !is_whole {
        if let Ok(errors) = HeaderValue::try_from(errors_header(&lacks)) {
            headers.insert(ERRORS_HEADER, errors);
        }
        answer.extensions_mut().insert(Lacks(Arc::from(lacks)));
    }
    Ok((answer, is_whole))
}

/// An object with the answer of each call under its name: nothing for one that was not made, `null` for one that failed.
fn merge(aggregate: &Aggregate, outcomes: &[Option<Outcome>], lacks: &[Lack]) -> Bytes {
    let length = |outcome: &Option<Outcome>| match outcome {
        Some(Outcome::Answered(answered)) => answered.body.len(),
        _ => 0,
    };
    let mut text = Vec::with_capacity(256 + outcomes.iter().map(|outcome| length(outcome) + 72).sum::<usize>());
    text.push(b'{');
    let mut separator: &[u8] = b"\"";
    let mut put = |name: &str, value: &[u8]| {
        text.extend_from_slice(separator);
        separator = b",\"";
        // Names are letters, digits and underscores.
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b"\":");
        text.extend_from_slice(value.trim_ascii());
    };
    for (call, outcome) in aggregate.calls.iter().zip(outcomes) {
        match (outcome, &call.default) {
            (Some(Outcome::Answered(answered)), _) => put(&call.name, &answered.body),
            (Some(_), Some((default, _))) => put(&call.name, default),
            (Some(Outcome::Failed(_)), None) => put(&call.name, b"null"),
            (Some(Outcome::Skipped) | None, _) => {}
        }
    }
    if !lacks.is_empty() {
        put("errors", &serde_json::to_vec(lacks).unwrap_or_else(|_error| b"[]".to_vec()));
    }
    text.push(b'}');
    Bytes::from(text)
}

/// How long the answer may be kept, what it depends on, and cookies where a call passes them.
fn add_headers(headers: &mut HeaderMap, aggregate: &Aggregate, outcomes: &[Option<Outcome>], is_whole: bool) {
    let (mut caching, mut vary) = (Caching::default(), BTreeSet::new());
    if aggregate.reads_caller {
        caching.is_private();
    }
    if !is_whole {
        caching.forbid();
    }
    for (call, outcome) in aggregate.calls.iter().zip(outcomes) {
        let Some(Outcome::Answered(answered)) = outcome else { continue };
        caching.add(&answered.headers);
        add_vary(&mut vary, &answered.headers);
        if !call.method.is_safe() {
            caching.forbid();
        }
        if call.pass_cookies {
            for cookie in answered.headers.get_all(header::SET_COOKIE) {
                headers.append(header::SET_COOKIE, cookie.clone());
                caching.forbid();
            }
        }
    }
    headers.insert(header::CACHE_CONTROL, caching.header());
    if let Some(declared) = &aggregate.vary {
        headers.append(header::VARY, declared.clone());
    }
    for name in vary {
        if let Ok(name) = HeaderValue::try_from(name) {
            headers.append(header::VARY, name);
        }
    }
}

fn errors_header(lacks: &[Lack]) -> String {
    let list = lacks.iter().map(|lack| {
        let default = if lack.default { ";default" } else { "" };
        format!("{};status={};code={}{default}", lack.part, lack.status, lack.code)
    });
    list.collect::<Vec<_>>().join(", ")
}
