//! Templates (the language of Jinja): what is written in the catalog, rendered with what is known of a call.
//!
//! A template is compiled at load, where a filter, function or input that does not exist is an error. On a call it may take so
//! many steps and write so many bytes; values are escaped as the media type asks for: in JSON `{{ query.name }}` writes a whole
//! string with its quotes.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use gatehouse_shared::hop::VerifiedHop;
use gatehouse_shared::problem;
use http::HeaderMap;
use http::request::Parts;
use minijinja::value::Object;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};

use super::failure::Failure;
use crate::admit::api::Api;
use crate::admit::caller::Caller;
use crate::admit::path::{PathTemplate, Segment};

/// Inputs of a template, with their meaning.
pub const INPUTS: [(&str, &str); 9] = [
    ("path", "the parameters of the API's path, by name"),
    ("query", "the parameters of the query, by name; the first of several"),
    ("headers", "the request's header fields, by name in lower case"),
    ("app", "the application: `key`, `name`, `plan`, `class`, `field_level`; empty for none"),
    ("user", "the user the application acts for; empty for none"),
    ("client", "the client's address"),
    ("api", "the API's name"),
    ("request_id", "the request id"),
    ("time", "when the call arrived: `iso`, RFC 3339 in UTC; `unix`, seconds"),
];

/// Names that a template may use beside the inputs.
const FUNCTIONS: [&str; 6] = ["range", "dict", "namespace", "debug", "loop", "self"];

/// Steps that a template may take.
pub const FUEL: u64 = 10_000;
/// Depth of macros and loops in each other.
const RECURSION_MAX: usize = 64;
/// Parameters of a query that a template sees.
const PARAMETERS_MAX: usize = 256;

/// A template, as compiled.
pub struct Template {
    environment: Environment<'static>,
    most: usize,
    wants: Vec<&'static str>,
}

impl std::fmt::Debug for Template {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Template").field("wants", &self.wants).finish_non_exhaustive()
    }
}

/// What bounds a template.
#[derive(Debug, Clone, Copy)]
pub struct TemplateBounds {
    /// Steps.
    pub fuel: u64,
    /// Bytes that it writes.
    pub output: usize,
}

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// As they are.
    Nothing,
    /// For HTML and XML.
    Markup,
    /// As JSON.
    Json,
}

impl Escape {
    /// How values are written into a body of that media type.
    #[must_use]
    pub fn of(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if essence.ends_with("html") || essence.ends_with("xml") {
            return Self::Markup;
        }
        if essence.ends_with("json") || essence.ends_with("javascript") { Self::Json } else { Self::Nothing }
    }
}

const NAME: &str = "template";

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// A sentence about what is wrong with it, with the line.
    pub fn compile(source: &str, escape: Escape, bounds: TemplateBounds) -> Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(move |_| match escape {
            Escape::Nothing => AutoEscape::None,
            Escape::Markup => AutoEscape::Html,
            Escape::Json => AutoEscape::Json,
        });
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_fuel(Some(bounds.fuel));
        environment.set_recursion_limit(RECURSION_MAX);
        environment.add_template_owned(NAME, source.to_owned()).map_err(|error| sentence(&error))?;
        let mut wants = Vec::new();
        let template = environment.get_template(NAME).map_err(|error| sentence(&error))?;
        for name in template.undeclared_variables(false) {
            match INPUTS.iter().find(|(input, _)| *input == name) {
                Some((input, _)) => wants.push(*input),
                None if FUNCTIONS.contains(&name.as_str()) => {}
                None => {
                    let known = INPUTS.map(|(input, _)| input).join(", ");
                    return Err(format!("no input {name:?}; there are {known}"));
                }
            }
        }
        let compiled = Self { environment, most: bounds.output, wants };
        // What is not known shows only when a template runs.
        match compiled.run(sample()) {
            Err(error) if is_unknown(&error) => Err(sentence(&error)),
            _ => Ok(compiled),
        }
    }

    /// The inputs it uses.
    #[must_use]
    pub fn wants(&self) -> &[&'static str] {
        &self.wants
    }

    /// Renders it.
    ///
    /// # Errors
    /// When it fails, takes too many steps or writes too much.
    pub fn render(&self, inputs: &Inputs) -> Result<Bytes, Failure> {
        self.run(inputs.0.clone()).map(Bytes::from).map_err(|error| {
            let mut failure = Failure::refused(&problem::TEMPLATE_FAILED);
            failure.cause = Some(sentence(&error));
            failure
        })
    }

    fn run(&self, inputs: Value) -> Result<Vec<u8>, minijinja::Error> {
        let mut out = Bounded { bytes: Vec::new(), most: self.most };
        self.environment.get_template(NAME)?.render_captured_to(inputs, &mut out)?;
        Ok(out.bytes)
    }
}

/// A call of which nothing is known.
fn sample() -> Value {
    let nothing = |name: &str| match name {
        "path" | "query" | "headers" | "app" | "time" => map(std::iter::empty::<(String, Value)>()),
        _ => Value::from(""),
    };
    map(INPUTS.iter().map(|(name, _)| (*name, nothing(name))))
}

fn sentence(error: &minijinja::Error) -> String {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("line {line}: {detail}"),
        None => detail,
    }
}

fn is_unknown(error: &minijinja::Error) -> bool {
    use ErrorKind as E;
    matches!(error.kind(), E::UnknownFilter | E::UnknownTest | E::UnknownFunction | E::TemplateNotFound | E::OutOfFuel)
}

/// What a template writes, as far as it may.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl Write for Bounded {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(piece.len()) > self.most {
            return Err(io::Error::other("the output is larger than allowed"));
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What templates may know of a call, taken from it before it goes on.
#[derive(Debug, Clone)]
pub struct Inputs(Value);

/// A call, as templates see it.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The API.
    pub api: &'a Api,
    /// Who calls.
    pub caller: &'a Caller,
    /// What the edge says.
    pub hop: &'a VerifiedHop,
    /// The request.
    pub parts: &'a Parts,
    /// When it arrived, in Unix milliseconds.
    pub unix_ms: u64,
}

impl Inputs {
    /// Nothing is known.
    #[must_use]
    pub fn none() -> Self {
        Self(Value::UNDEFINED)
    }

    /// Takes what is wanted.
    #[must_use]
    pub fn of(facts: Facts<'_>, wants: &[&'static str]) -> Self {
        Self(map(wants.iter().map(|name| (*name, input(facts, name)))))
    }
}

fn input(facts: Facts<'_>, name: &str) -> Value {
    let Facts { api, caller, hop, parts, unix_ms } = facts;
    match name {
        "path" => path_parameters(&api.path, &hop.path),
        "query" => parameters(parts.uri.query().unwrap_or_default()),
        "headers" => Value::from_object(Headers(parts.headers.clone())),
        "app" => app(caller),
        "user" => Value::from(caller.user.as_deref().unwrap_or_default()),
        "client" => Value::from(hop.client.ip().to_string()),
        "api" => Value::from(&*api.name),
        "request_id" => Value::from(hop.request_id.as_str()),
        "time" => {
            let seconds = i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX);
            let iso = jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default();
            map([("iso", Value::from(iso)), ("unix", Value::from(seconds))].into_iter())
        }
        _ => Value::UNDEFINED,
    }
}

fn app(caller: &Caller) -> Value {
    let Some(app) = &caller.app else { return Value::from("") };
    let text = |text: Option<&str>| Value::from(text.unwrap_or_default());
    let entries = [
        ("key", Value::from(&*app.key)),
        ("name", Value::from(&*app.name)),
        ("plan", text(app.plan.as_deref())),
        ("class", text(app.class.as_deref())),
        ("field_level", Value::from(app.field_level)),
    ];
    map(entries.into_iter())
}

fn map<K: Into<String>>(entries: impl Iterator<Item = (K, Value)>) -> Value {
    let entries: BTreeMap<String, Value> = entries.map(|(name, value)| (name.into(), value)).collect();
    Value::from(entries)
}

/// The parameters of a path that a template of paths has matched.
fn path_parameters(template: &PathTemplate, path: &str) -> Value {
    let mut rest = Some(path.strip_prefix('/').unwrap_or(path));
    let mut found = Vec::new();
    for segment in template.segments() {
        let Some(remaining) = rest else { break };
        if let Segment::Rest(name) = segment {
            found.push((&**name, Value::from(decode(remaining, Plus::Stays))));
            break;
        }
        let (text, tail) = match remaining.split_once('/') {
            Some((text, tail)) => (text, Some(tail)),
            None => (remaining, None),
        };
        if let Segment::Parameter(name) = segment {
            found.push((&**name, Value::from(decode(text, Plus::Stays))));
        }
        rest = tail;
    }
    map(found.into_iter())
}

fn parameters(query: &str) -> Value {
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()).take(PARAMETERS_MAX) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name, Plus::IsSpace);
        found.entry(name).or_insert_with(|| Value::from(decode(value, Plus::IsSpace)));
    }
    Value::from(found)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    Stays,
    IsSpace,
}

/// The text without its percent-encoding; what is no UTF-8 then is replaced.
fn decode(text: &str, plus: Plus) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut ahead = rest.clone();
        match (byte, digit(ahead.next()), digit(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high << 4) | low);
                rest = ahead;
            }
            (b'+', ..) if plus == Plus::IsSpace => bytes.push(b' '),
            (byte, ..) => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Header fields by name; they cannot be listed, so that no template writes out what it does not name.
#[derive(Debug)]
struct Headers(HeaderMap);

impl Object for Headers {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let value = self.0.get(key.as_str()?)?;
        Some(Value::from(String::from_utf8_lossy(value.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: TemplateBounds = TemplateBounds { fuel: 1000, output: 100 };

    fn inputs(list: &[(&'static str, Value)]) -> Inputs {
        Inputs(map(list.iter().map(|(name, value)| (*name, value.clone()))))
    }

    fn render(source: &str, escape: Escape, list: &[(&'static str, Value)]) -> Result<String, String> {
        let template = Template::compile(source, escape, BOUNDS)?;
        let out = template.render(&inputs(list)).map_err(|failure| failure.cause.unwrap_or_default())?;
        Ok(String::from_utf8(out.to_vec()).unwrap())
    }

    #[test]
    fn values_are_written_as_the_media_type_asks_for() {
        let query = [("query", parameters("q=%22%3Cb%3E&a+b=1&q=2"))];
        assert_eq!(render("{\"q\":{{ query.q }}}", Escape::Json, &query).unwrap(), "{\"q\":\"\\\"<b>\"}");
        assert_eq!(render("<p>{{ query.q }}</p>", Escape::Markup, &query).unwrap(), "<p>&quot;&lt;b&gt;</p>");
        assert_eq!(
            render("{{ query.q }} {{ query['a b'] }}|{{ query.x }}", Escape::Nothing, &query).unwrap(),
            "\"<b> 1|"
        );
        for (content_type, expected) in [
            ("text/html; charset=utf-8", Escape::Markup),
            ("image/svg+xml", Escape::Markup),
            ("application/problem+json", Escape::Json),
            ("text/plain", Escape::Nothing),
        ] {
            assert_eq!(Escape::of(content_type), expected);
        }
    }

    #[test]
    fn what_does_not_exist_is_an_error_at_load() {
        for (source, expected) in [
            ("{{ nobody }}", "no input \"nobody\"; there are path, query"),
            ("{{ query.q | nothing }}", "filter nothing is unknown"),
            ("a\n{% if %}", "line 2: "),
            ("{% include 'x' %}", "unknown statement include"),
            ("{% for n in range(5000) %}{% endfor %}", "fuel"),
        ] {
            let error = Template::compile(source, Escape::Json, BOUNDS).map(|_| ()).unwrap_err();
            assert!(error.contains(expected), "{source}: {error}");
        }
    }

    #[test]
    fn steps_and_output_are_bounded_whatever_a_client_writes() {
        let large = [("query", parameters("n=5000"))];
        let loops = "{% for n in range(query.n | int) %}{% endfor %}";
        assert!(render(loops, Escape::Nothing, &large).unwrap_err().contains("fuel"));
        let long = [("user", Value::from("x".repeat(101)))];
        let error = render("{{ user }}", Escape::Nothing, &long).unwrap_err();
        assert!(!error.is_empty(), "{error}");
    }

    #[test]
    fn header_fields_are_found_and_not_listed() {
        let mut map = HeaderMap::new();
        map.insert("x-a", http::HeaderValue::from_static("1"));
        let headers = [("headers", Value::from_object(Headers(map)))];
        assert_eq!(render("{{ headers['x-a'] }}|{{ headers.y }}", Escape::Nothing, &headers).unwrap(), "1|");
        let listed = render("{{ headers }}{% for n in headers %}{{ n }}{% endfor %}", Escape::Nothing, &headers);
        assert!(!listed.unwrap_or_default().contains("x-a"));
    }

    #[test]
    fn the_parameters_of_a_path_have_their_names() {
        let template = PathTemplate::parse("/a/{b}/{*c}").unwrap();
        let path = [("path", path_parameters(&template, "/a/x%20y/1/2"))];
        assert_eq!(render("{{ path.b }}|{{ path.c }}", Escape::Nothing, &path).unwrap(), "x y|1/2");
    }
}
