//! Cross-origin resource sharing (the Fetch standard): which pages of other origins may call an API from a browser, and read
//! what it answers.
//!
//! A preflight is answered before anybody asks for credentials, because browsers send none with it. The header fields are those
//! of the gate alone: whatever a service says is taken away, and the gate's own refusals have them too, so that a page can read
//! why it was refused.

use std::time::Duration;

use gatehouse_shared::config::{ConfigErrors, HumanDuration};
use gatehouse_shared::hop::{Auth, HopResult, Origin, Retry};
use gatehouse_shared::problem;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;

use super::body::Outgoing;
use super::entity::vary;
use super::failure::Failure;
use super::shape::{RESULT, result};
use crate::store::catalog::At;

/// `cors` of an API.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Pages of which origins may call: `"https://shop.example.com"`, `"https://*.example.com"` for every subdomain, `"*"` for
    /// any, `"null"` for pages without one. Ports are part of an origin, default ports are left out.
    pub origins: Vec<String>,
    /// Methods that pages may use. Default: those that the API takes.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Request header fields that pages may set; `["*"]` for any. Default: none beside those that need no permission.
    /// Example: `["content-type", "x-api-key"]`.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Header fields of answers that pages may read; `["*"]` for all. Default: none beside those that need no permission.
    #[serde(default)]
    pub expose: Vec<String>,
    /// Whether browsers send cookies and client certificates, and pages may read the answers to such calls. Default: false.
    #[serde(default)]
    pub credentials: bool,
    /// How long a browser may keep the answer to its question. Default: `"10m"`; browsers keep it for two hours at most.
    #[serde(default = "default_max_age")]
    pub max_age: HumanDuration,
}

fn default_max_age() -> HumanDuration {
    HumanDuration::from_secs(600)
}

/// Most header fields that a browser may ask for at once.
const ASKED_MAX: usize = 128;

/// Which pages may call, as compiled.
#[derive(Debug)]
pub struct Cors {
    origins: Origins,
    /// Sorted; empty for those that the API takes.
    methods: Vec<Method>,
    headers: Names,
    expose: Option<HeaderValue>,
    has_credentials: bool,
    max_age: HeaderValue,
}

#[derive(Debug, Default)]
struct Origins {
    is_any: bool,
    /// In lower case, `null` among them.
    exact: Vec<Box<str>>,
    /// What stands before and behind the star: `https://` and `.example.com`.
    below: Vec<(Box<str>, Box<str>)>,
}

#[derive(Debug)]
enum Names {
    Any,
    /// In lower case.
    Of(Vec<Box<str>>),
}

impl Cors {
    /// Compiles `cors` of the entry at `at`.
    ///
    /// # Errors
    /// Everything that is wrong with it, or would be dangerous.
    pub fn compile(written: &Config, at: &At<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let origins = Origins::compile(written, at, &mut errors);
        let mut methods = Vec::with_capacity(written.methods.len());
        for (index, name) in written.methods.iter().enumerate() {
            match Method::from_bytes(name.as_bytes()) {
                Ok(method) if !name.bytes().any(|byte| byte.is_ascii_lowercase()) => methods.push(method),
                _ => {
                    let remedy = "write it in upper case, as in \"GET\"";
                    errors.push(at.error(
                        &format!("cors.methods[{index}]"),
                        format!("{name:?} is not a method"),
                        remedy,
                    ));
                }
            }
        }
        let headers = names(&written.headers, "headers", written.credentials, at, &mut errors);
        let expose = names(&written.expose, "expose", written.credentials, at, &mut errors);
        let expose = match expose {
            Names::Any => Some(HeaderValue::from_static("*")),
            Names::Of(names) if names.is_empty() => None,
            Names::Of(names) => HeaderValue::try_from(names.join(", ")).ok(),
        };
        let max_age = written.max_age.get();
        if max_age > Duration::from_secs(86_400) {
            errors.push(at.error("cors.max_age", "no browser keeps it for so long", "write \"24h\" at most"));
        }
        errors.into_result(Self {
            origins,
            methods,
            headers,
            expose,
            has_credentials: written.credentials,
            max_age: HeaderValue::from(max_age.as_secs()),
        })
    }

    /// What is said of an answer to this request.
    #[must_use]
    pub fn judge(&self, headers: &HeaderMap) -> Judged {
        let mut judged = Judged { varies: !self.origins.is_any, ..Judged::default() };
        let mut values = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = values.next() else { return judged };
        judged.is_cross = true;
        if values.next().is_some() || !self.origins.allow(origin.as_bytes()) {
            return judged;
        }
        judged.allowed = Some(if self.origins.is_any { HeaderValue::from_static("*") } else { origin.clone() });
        judged.has_credentials = self.has_credentials;
        judged.expose = self.expose.clone();
        judged
    }

    /// The answer to the question whether a page may make a call with `method`. `takes` are the methods of the API.
    ///
    /// # Errors
    /// When it may not.
    pub fn answer(
        &self,
        headers: &HeaderMap,
        method: &Method,
        takes: &[Method],
    ) -> Result<Response<Outgoing>, Failure> {
        if self.judge(headers).allowed.is_none() {
            return Err(Failure::refused(&problem::CORS_REFUSED).about("pages of this origin may not call the API"));
        }
        let listed = if self.methods.is_empty() { takes } else { &self.methods };
        let is_head_of_get = method == Method::HEAD && listed.contains(&Method::GET);
        if !(listed.is_empty() || listed.contains(method) || is_head_of_get) {
            return Err(Failure::refused(&problem::CORS_REFUSED).about("pages may not use this method"));
        }
        let allowed_headers = self.allowed_headers(headers)?;
        let mut names: Vec<&str> = listed.iter().map(Method::as_str).collect();
        if !names.contains(&method.as_str()) {
            names.push(method.as_str());
        }
        let mut answer = Response::new(Outgoing::own(bytes::Bytes::new()));
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let fields = answer.headers_mut();
        if let Ok(methods) = HeaderValue::try_from(names.join(", ")) {
            fields.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        if let Some(allowed) = allowed_headers {
            fields.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        }
        fields.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        let said =
            HopResult { origin: Origin::Gateway, auth: Auth::Anonymous, cost: 0, retry: Retry::Never, node: false };
        fields.insert(RESULT, result(&said));
        vary(fields, "access-control-request-method");
        vary(fields, "access-control-request-headers");
        Ok(answer)
    }

    /// The header fields that were asked for, if all of them may be set.
    fn allowed_headers(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, Failure> {
        let refused = |detail: &str| Failure::refused(&problem::CORS_REFUSED).about(detail);
        let mut asked = String::new();
        let values = headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
        let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        for (count, name) in names.filter(|name| !name.is_empty()).enumerate() {
            // Names are tokens in lower case from here on.
            let Ok(name) = HeaderName::from_bytes(name) else {
                return Err(refused("a header field that is asked for is none"));
            };
            let may_be_set = match &self.headers {
                Names::Any => true,
                Names::Of(names) => names.iter().any(|known| **known == *name.as_str()),
            };
            if !may_be_set {
                return Err(refused(&format!("pages may not set the header field {:?}", name.as_str())));
            }
            if count >= ASKED_MAX {
                return Err(refused("more header fields are asked for than can be"));
            }
            asked.push_str(if asked.is_empty() { "" } else { ", " });
            asked.push_str(name.as_str());
        }
        // What was asked for, also where any may be set: "*" does not mean `Authorization`.
        Ok(HeaderValue::try_from(asked).ok().filter(|asked| !asked.is_empty()))
    }
}

/// The method that a browser asks for, where the request is such a question.
#[must_use]
pub fn asked_method(parts: &Parts) -> Option<Method> {
    if parts.method != Method::OPTIONS || !parts.headers.contains_key(header::ORIGIN) {
        return None;
    }
    let asked = parts.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(asked.as_bytes()).ok()
}

/// What an answer says to pages of other origins.
#[derive(Debug, Default)]
pub struct Judged {
    allowed: Option<HeaderValue>,
    has_credentials: bool,
    expose: Option<HeaderValue>,
    varies: bool,
    /// Whether a page of another origin may have made the call at all.
    is_cross: bool,
}

/// What only the gate says.
const OURS: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

impl Judged {
    /// For the metric; `None` for a call that no page of another origin makes.
    #[must_use]
    pub fn outcome(&self) -> Option<&'static str> {
        self.is_cross.then_some(if self.allowed.is_some() { "allowed" } else { "refused" })
    }

    /// Says it, in an answer of a service or one made here. What a service has said of it is taken away; what the answer to a
    /// preflight says stays.
    pub fn add_to(self, headers: &mut HeaderMap, is_preflight: bool) {
        for name in OURS.iter().take(if is_preflight { 3 } else { OURS.len() }) {
            headers.remove(name);
        }
        if self.varies {
            vary(headers, "origin");
        }
        let Some(allowed) = self.allowed else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.has_credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let Some(expose) = self.expose.filter(|_| !is_preflight) {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose);
        }
    }
}

impl Origins {
    fn compile(written: &Config, at: &At<'_>, errors: &mut ConfigErrors) -> Self {
        let mut origins = Self::default();
        if written.origins.is_empty() {
            errors.push(at.error("cors.origins", "no origin, so no page may call", "name some, or leave cors out"));
        }
        for (index, text) in written.origins.iter().enumerate() {
            let key = format!("cors.origins[{index}]");
            match text.as_str() {
                "*" | "null" if written.credentials => {
                    let message =
                        format!("any page can have an origin that {text:?} means, and use the cookies of its visitor");
                    errors.push(at.error(&key, message, "name the origins, or leave credentials out"));
                }
                "*" => origins.is_any = true,
                "null" => origins.exact.push("null".into()),
                _ => match parse_origin(text) {
                    Ok(Parsed::Exact(origin)) => origins.exact.push(origin),
                    Ok(Parsed::Below(before, behind)) => origins.below.push((before, behind)),
                    Err(message) => {
                        let remedy = "write a scheme, a host and a port that is not the default, as in \
                                      \"https://shop.example.com\" or \"https://*.example.com\"";
                        errors.push(at.error(&key, format!("{text:?} {message}"), remedy));
                    }
                },
            }
        }
        origins
    }

    /// Whether a page of that origin may call. Browsers write origins in lower case.
    fn allow(&self, origin: &[u8]) -> bool {
        let Ok(origin) = std::str::from_utf8(origin) else { return false };
        if self.is_any {
            return true;
        }
        let is_below = |(before, behind): &(Box<str>, Box<str>)| {
            let name = origin.strip_prefix(&**before).and_then(|rest| rest.strip_suffix(&**behind));
            name.is_some_and(is_host)
        };
        self.exact.iter().any(|known| **known == *origin) || self.below.iter().any(is_below)
    }
}

enum Parsed {
    Exact(Box<str>),
    Below(Box<str>, Box<str>),
}

fn parse_origin(text: &str) -> Result<Parsed, &'static str> {
    let Some((scheme, rest)) = text.split_once("://") else { return Err("is not an origin") };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || "+-.".contains(it));
    if !is_scheme {
        return Err("has no scheme in lower case");
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    if let Some(port) = port {
        if !port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == *port) {
            return Err("has a port that is none");
        }
        if matches!((scheme, port), ("https", "443") | ("http", "80")) {
            return Err("has the default port, which browsers leave out");
        }
    }
    if let Some(name) = host.strip_prefix("*.") {
        if !is_host(name) || !name.contains('.') {
            return Err("means more than the subdomains of one domain");
        }
        let behind = text.split_once('*').map_or("", |(_, behind)| behind);
        return Ok(Parsed::Below(format!("{scheme}://").into(), behind.into()));
    }
    let is_ip6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_ip6 = is_ip6.is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    if !is_ip6 && !is_host(host) {
        return Err("has no host in lower case, or something behind it");
    }
    Ok(Parsed::Exact(text.into()))
}

/// Labels of lower-case letters, digits, hyphens and underscores, with dots in between.
fn is_host(text: &str) -> bool {
    let is_plain = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || "-_".contains(it);
    text.split('.').all(|label| !label.is_empty() && label.chars().all(is_plain))
}

/// A list of header fields; a star alone means all, which browsers do not do with credentials.
fn names(written: &[String], key: &str, has_credentials: bool, at: &At<'_>, errors: &mut ConfigErrors) -> Names {
    let mut names = Vec::with_capacity(written.len());
    for (index, name) in written.iter().enumerate() {
        let key = format!("cors.{key}[{index}]");
        if name == "*" {
            if has_credentials {
                let message = "with credentials, browsers take \"*\" for a name";
                errors.push(at.error(&key, message, "name the header fields"));
            } else if written.len() > 1 {
                errors.push(at.error(&key, "\"*\" means all, and there are others", "leave the others out"));
            }
            return Names::Any;
        }
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => names.push(name.as_str().into()),
            Err(_) => {
                errors.push(at.error(&key, format!("{name:?} is not the name of a header field"), "correct it"));
            }
        }
    }
    Names::Of(names)
}

#[cfg(test)]
mod tests;
