//! What expressions and templates see: the request, the caller, and every call that is over.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, Method};
use minijinja::Value;
use minijinja::value::{Enumerator, Object};

use crate::admit::caller::Caller;
use crate::admit::flow_rule::input::{ENTRIES_MAX, parameters};
use crate::admit::path::PathTemplate;

/// Everything there is to see, by name.
#[derive(Debug)]
pub(super) struct Scope {
    request: Value,
    caller: Value,
    names: Arc<[Box<str>]>,
    /// By the index of the call; empty until it is over.
    calls: Box<[OnceLock<Value>]>,
    errors: OnceLock<Value>,
}

impl Scope {
    /// A scope in which no call is over.
    pub(super) fn new(request: Request, caller: &Arc<Caller>, names: &Arc<[Box<str>]>) -> Self {
        Self {
            request: Value::from_object(request),
            caller: Value::from_object(Calling(Arc::clone(caller))),
            calls: names.iter().map(|_| OnceLock::new()).collect(),
            names: Arc::clone(names),
            errors: OnceLock::new(),
        }
    }

    /// A call is over.
    pub(super) fn set(&self, call: usize, seen: Seen) {
        if let Some(place) = self.calls.get(call) {
            // It is over once.
            let _was_empty = place.set(Value::from_object(seen));
        }
    }

    /// All calls are over; these have failed.
    pub(super) fn set_errors(&self, errors: Value) {
        let _was_empty = self.errors.set(errors);
    }
}

impl Object for Scope {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match key {
            "request" => Some(self.request.clone()),
            "caller" => Some(self.caller.clone()),
            "errors" => self.errors.get().cloned(),
            _ => {
                let index = self.names.iter().position(|name| **name == *key)?;
                self.calls.get(index)?.get().cloned()
            }
        }
    }
}

/// The request of the whole.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: Box<str>,
    pub(super) method: Method,
    pub(super) path: Box<str>,
    pub(super) params: Vec<(Box<str>, String)>,
    /// As written.
    pub(super) query: Box<str>,
    pub(super) headers: Arc<HeaderMap>,
    pub(super) body: Value,
}

impl Object for Request {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        Some(match key {
            "id" => Value::from(&*self.id),
            "method" => Value::from(self.method.as_str()),
            "path" => Value::from(&*self.path),
            "params" => Value::from_object(Params(Arc::clone(self))),
            "query" => Value::from_object(Query(Arc::clone(self))),
            "headers" => Value::from_object(Fields(Arc::clone(&self.headers))),
            "body" => self.body.clone(),
            _ => return None,
        })
    }
}

#[derive(Debug)]
struct Params(Arc<Request>);

impl Object for Params {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        self.0.params.iter().find(|(name, _)| **name == *key).map(|(_, value)| Value::from(value.as_str()))
    }
}

#[derive(Debug)]
struct Query(Arc<Request>);

impl Object for Query {
    /// The first parameter of that name.
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        let mut parameters = parameters(&self.0.query).take(ENTRIES_MAX);
        parameters.find(|(name, _)| *name == key).map(|(_, value)| Value::from(value.as_ref()))
    }
}

#[derive(Debug)]
struct Fields(Arc<HeaderMap>);

impl Object for Fields {
    /// The first field of that name that is text.
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_str()?)?.to_str().ok().map(Value::from)
    }
}

#[derive(Debug)]
struct Calling(Arc<Caller>);

impl Object for Calling {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let app = self.0.app.as_deref();
        let text = match key.as_str()? {
            "app" => app.map(|app| &*app.key),
            "name" => app.map(|app| &*app.name),
            "plan" => app.and_then(|app| app.plan.as_deref()),
            "class" => app.and_then(|app| app.class.as_deref()),
            "user" => self.0.user.as_deref(),
            _ => None,
        };
        text.map(Value::from)
    }
}

/// A call that is over.
#[derive(Debug)]
pub(super) struct Seen {
    /// Of its answer, or of the failure; 0 where it was not made.
    pub(super) status: u16,
    /// Why there is no answer.
    pub(super) code: Option<&'static str>,
    /// The answer or what stands in its place; undefined for none.
    pub(super) body: Value,
    pub(super) headers: Option<Arc<HeaderMap>>,
    /// Whether it was answered.
    pub(super) is_answered: bool,
}

impl Object for Seen {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "status" => Some(Value::from(self.status)),
            "code" => self.code.map(Value::from),
            "body" => Some(self.body.clone()),
            "headers" => self.headers.as_ref().map(|headers| Value::from_object(Fields(Arc::clone(headers)))),
            "ok" => Some(Value::from(self.is_answered)),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["ok", "status", "body"])
    }
}

/// What stands in a canonical path where `template` has parameters, decoded.
pub(super) fn params(template: &PathTemplate, path: &str) -> Vec<(Box<str>, String)> {
    let found = template.parameters(path).into_iter();
    found.map(|(name, text)| (name.into(), decoded(text))).collect()
}

/// Decodes `%41`, but not `+`; what is not UTF-8 becomes replacement characters.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digits = rest.clone();
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let decoded = match byte {
            b'%' => digit(digits.next()).zip(digit(digits.next())),
            _ => None,
        };
        match decoded.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = digits;
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_of_a_path_are_decoded() {
        let template = PathTemplate::parse("/a/{one}/b/{*rest}").unwrap();
        let found = params(&template, "/a/x%2Fy%20+%C3%BC%ZZ/b/c/d%3F");
        let expected = [("one".into(), "x/y +ü%ZZ".to_owned()), ("rest".into(), "c/d?".to_owned())];
        assert_eq!(found, expected);
        assert_eq!(params(&template, "/a/x/b/"), [("one".into(), "x".to_owned()), ("rest".into(), String::new())]);
    }
}
