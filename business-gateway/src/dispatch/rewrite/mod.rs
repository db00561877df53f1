//! What an API changes of a request before its service gets it: path, query, header fields and host.
//!
//! Values are read before anything is changed, and after flow rules and credentials: what those took away is not there. What
//! belongs to the tiers, to a connection or to the framing of a message is out of reach, and is refused when the catalog is
//! loaded. A path that turns out not to be one (a group cut a `%2F` in two, say) refuses the call.

mod kept;
pub mod template;

use std::collections::BTreeMap;

use bytes::Bytes;
use gatehouse_shared::config::ConfigErrors;
use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

use self::template::{Place, Template, Values};
use super::request::{Notes, TargetError};
use crate::admit::flow_rule::effect::header_name;
use crate::admit::flow_rule::input::{encoded, with_parameter};
use crate::admit::path::{PathTemplate, may_occur_in_a_path};
use crate::store::catalog::At;

/// Changes of one API.
const CHANGES_MAX: usize = 64;
/// Bytes of an expression, compiled.
const REGEX_MAX: usize = 1 << 20;

/// `rewrite`: what the service gets instead of what the client sent. Texts may hold values of the call: `{id}` for a parameter of
/// the path or a group of `captures`, `{header.NAME}`, `{cookie.NAME}`, `{query.NAME}`, `{app.key}`, `{client.address}`,
/// `{request.id}`, `{request.host}`, `{request.method}`, `{request.path}`; a brace is written twice.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The path, with values of the path only. Example: `"/v2/{id}"`. Default: as it came.
    pub path: Option<String>,
    /// An expression over the canonical path; its named groups are values. A path in which it finds nothing stays as it came.
    /// Example: `"^/shop/(?<area>[a-z]+)-(?<number>[0-9]+)$"`.
    pub captures: Option<String>,
    /// The host, with a port where one is needed, that the service is asked for. Default: the one that the client named.
    pub host: Option<String>,
    /// Parameters of the query.
    #[serde(default)]
    pub query: Changes,
    /// Header fields.
    #[serde(default)]
    pub headers: Changes,
}

/// Changes of named things; removed, then set, then added. What is made of a value that the call does not carry is not sent.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Changes {
    /// Names that the service does not get.
    pub remove: Vec<String>,
    /// Names and their one value.
    pub set: BTreeMap<String, String>,
    /// Names and a value beside those that are there.
    pub add: BTreeMap<String, String>,
}

/// `rewrite` as compiled.
#[derive(Debug)]
pub struct Rewrite {
    api_path: PathTemplate,
    captures: Option<Regex>,
    path: Option<Template>,
    host: Option<Host>,
    query: Vec<Change<Box<str>>>,
    headers: Vec<Change<HeaderName>>,
}

/// The host that a service is asked for.
#[derive(Debug, Clone)]
pub struct Host {
    /// For HTTP/2.
    pub authority: Authority,
    /// For HTTP/1.
    pub header: HeaderValue,
}

#[derive(Debug)]
enum Change<N> {
    Remove(N),
    Set(N, Template),
    Add(N, Template),
}

/// What becomes of one header field.
enum Done<'a> {
    Remove(&'a HeaderName),
    Set(&'a HeaderName, HeaderValue),
    Add(&'a HeaderName, HeaderValue),
}

impl Rewrite {
    /// Compiles `rewrite` of an API at `path`; `raw_path` is what the API says of it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(written: &Config, path: &PathTemplate, raw_path: bool, at: &At<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let captures = written.captures.as_deref().and_then(|text| errors.collect(compile_captures(text, path, at)));
        let groups: Vec<&str> = captures.iter().flat_map(Regex::capture_names).flatten().collect();
        let names: Vec<&str> = path.names().collect();
        let mut texts = Texts { at, names: &names, groups: &groups, errors: ConfigErrors::new() };
        let to_service = written.path.as_deref().and_then(|text| texts.path(text));
        let query = texts.changes(&written.query, "query", Place::Query, |name| {
            if name.is_empty() { Err("a parameter has a name".to_owned()) } else { Ok(name.into()) }
        });
        let headers = texts.changes(&written.headers, "headers", Place::Header, |name| {
            header_name(name).map_err(|_error| format!("{name:?} is not a header field that an API may set or remove"))
        });
        errors.extend(texts.errors);
        let host = written.host.as_deref().and_then(|text| errors.collect(compile_host(text, at)));
        if raw_path && written.path.is_some() {
            let remedy = "leave raw_path out: the path is the one that is written here";
            errors.push(at.error("rewrite.path", "the path as the client wrote it is asked for, too", remedy));
        }
        if query.len() + headers.len() > CHANGES_MAX {
            let message = format!("more than {CHANGES_MAX} changes");
            errors.push(at.error("rewrite", message, "leave some to the service"));
        }
        let changes_nothing =
            written.path.is_none() && written.host.is_none() && query.is_empty() && headers.is_empty();
        if changes_nothing && errors.is_empty() {
            errors.push(at.error(
                "rewrite",
                "nothing is changed",
                "write path, host, query or headers, or leave it out",
            ));
        }
        let api_path = path.clone();
        errors.into_result(Self { api_path, captures, path: to_service, host, query, headers })
    }

    /// The host that the service is asked for, where it is not the client's.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// Changes the header fields, and makes the target for the service of the one that came.
    ///
    /// # Errors
    /// When the target would not be one.
    pub fn apply(
        &self,
        target: PathAndQuery,
        method: &Method,
        headers: &mut HeaderMap,
        notes: &Notes<'_>,
    ) -> Result<PathAndQuery, TargetError> {
        let values = Values {
            parameters: self.api_path.parameters(&notes.hop.path),
            captures: self.captures.as_ref().and_then(|regex| regex.captures(&notes.hop.path)),
            method,
            query: target.query().unwrap_or_default(),
            headers,
            notes,
        };
        let path = self.path(&values)?;
        let query = self.query(&values);
        let done = self.done(&values);
        drop(values);
        for change in done {
            match change {
                Done::Remove(name) => drop(headers.remove(name)),
                Done::Set(name, value) => drop(headers.insert(name, value)),
                Done::Add(name, value) => drop(headers.append(name, value)),
            }
        }
        if path.is_none() && query.is_none() {
            return Ok(target);
        }
        let path = path.as_deref().unwrap_or_else(|| target.path());
        let query = query.as_deref().or_else(|| target.query());
        let text = match query {
            Some(query) if !query.is_empty() => format!("{path}?{query}"),
            _ => path.to_owned(),
        };
        PathAndQuery::from_maybe_shared(Bytes::from(text)).map_err(TargetError::Path)
    }

    /// The path; `None` where it stays.
    fn path(&self, values: &Values<'_>) -> Result<Option<String>, TargetError> {
        let Some(template) = &self.path else { return Ok(None) };
        if self.captures.is_some() && values.captures.is_none() {
            return Ok(None);
        }
        let filled = template.fill(values, Place::Path).ok_or(TargetError::Rewritten)?;
        let path = without_empty_segments(&filled);
        if is_path(&path) { Ok(Some(path)) } else { Err(TargetError::Rewritten) }
    }

    /// The query; `None` where it stays.
    fn query(&self, values: &Values<'_>) -> Option<String> {
        if self.query.is_empty() {
            return None;
        }
        let mut query = values.query.to_owned();
        for change in &self.query {
            match change {
                Change::Remove(name) => query = with_parameter(&query, name, None),
                Change::Set(name, template) => {
                    let value = template.fill(values, Place::Query);
                    query = with_parameter(&query, name, value.as_deref());
                }
                Change::Add(name, template) => {
                    let Some(value) = template.fill(values, Place::Query) else { continue };
                    if !query.is_empty() {
                        query.push('&');
                    }
                    query.push_str(&encoded(name));
                    query.push('=');
                    query.push_str(&encoded(&value));
                }
            }
        }
        Some(query)
    }

    /// What becomes of header fields. A value that cannot stand in one counts as missing.
    fn done(&self, values: &Values<'_>) -> Vec<Done<'_>> {
        let fill = |template: &Template| {
            let value = template.fill(values, Place::Header)?;
            HeaderValue::from_bytes(value.trim().as_bytes()).ok()
        };
        let done = self.headers.iter().filter_map(|change| match change {
            Change::Remove(name) => Some(Done::Remove(name)),
            Change::Set(name, template) => {
                Some(fill(template).map_or(Done::Remove(name), |value| Done::Set(name, value)))
            }
            Change::Add(name, template) => fill(template).map(|value| Done::Add(name, value)),
        });
        done.collect()
    }
}

/// Compiles the texts of an API, and collects what is wrong with them.
struct Texts<'a> {
    at: &'a At<'a>,
    names: &'a [&'a str],
    groups: &'a [&'a str],
    errors: ConfigErrors,
}

impl Texts<'_> {
    fn refuse(&mut self, key: &str, message: String, remedy: &str) {
        self.errors.push(self.at.error(key, message, remedy));
    }

    fn template(&mut self, key: &str, text: &str, place: Place) -> Option<Template> {
        match Template::parse(text, place, self.names, self.groups) {
            Ok(template) => Some(template),
            Err(error) => {
                self.refuse(key, format!("{text:?}: {error}"), "docs/ROUTING.md lists the values");
                None
            }
        }
    }

    fn path(&mut self, text: &str) -> Option<Template> {
        let key = "rewrite.path";
        let template = self.template(key, text, Place::Path)?;
        let outline = template.outline();
        // What stands between values has to be whole, so that only a value could break the path.
        if !is_path(&outline) || !template.texts().all(has_whole_encodings) || outline.contains("//") {
            let remedy = "begin it with a slash, percent-encode what is special, and leave out \"?\", \".\" and \"..\"";
            self.refuse(key, format!("{text:?} is not a path"), remedy);
            return None;
        }
        Some(template)
    }

    fn changes<N>(
        &mut self,
        written: &Changes,
        kind: &str,
        place: Place,
        named: impl Fn(&str) -> Result<N, String>,
    ) -> Vec<Change<N>> {
        let mut all = Vec::new();
        let remedy = "docs/ROUTING.md says what is out of reach";
        for (index, name) in written.remove.iter().enumerate() {
            match named(name) {
                Ok(name) => all.push(Change::Remove(name)),
                Err(message) => self.refuse(&format!("rewrite.{kind}.remove[{index}]"), message, remedy),
            }
        }
        for (verb, texts) in [("set", &written.set), ("add", &written.add)] {
            for (name, text) in texts {
                let key = format!("rewrite.{kind}.{verb}.{name}");
                let template = self.template(&key, text, place);
                let is_value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).is_ok();
                let can_stand =
                    place != Place::Header || template.as_ref().is_none_or(|template| template.texts().all(is_value));
                if !can_stand {
                    self.refuse(
                        &key,
                        format!("{text:?} cannot stand in a header field"),
                        "leave control characters out",
                    );
                }
                match (named(name), template) {
                    (Ok(name), Some(template)) if verb == "add" => all.push(Change::Add(name, template)),
                    (Ok(name), Some(template)) => all.push(Change::Set(name, template)),
                    (Ok(_), None) => {}
                    (Err(message), _) => self.refuse(&key, message, remedy),
                }
            }
        }
        all
    }
}

fn compile_captures(text: &str, path: &PathTemplate, at: &At<'_>) -> Result<Regex, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let key = "rewrite.captures";
    let regex = match RegexBuilder::new(text).size_limit(REGEX_MAX).build() {
        Ok(regex) => regex,
        Err(error) => {
            let error = error.to_string();
            let said = error.lines().next_back().unwrap_or_default().trim_start_matches("error: ");
            let remedy = "it has neither look-around nor back-references; see https://docs.rs/regex#syntax";
            errors.push(at.error(key, format!("{text:?} is not an expression: {said}"), remedy));
            return Err(errors);
        }
    };
    let mut named = 0;
    for group in regex.capture_names().flatten() {
        named += 1;
        if path.names().any(|name| name == group) {
            let message = format!("the group {group:?} has the name of a parameter of the path");
            errors.push(at.error(key, message, "give it another name"));
        }
    }
    if named == 0 {
        let remedy = "name what is to be used, as in (?<id>[0-9]+)";
        errors.push(at.error(key, "no named group, so nothing is captured", remedy));
    }
    errors.into_result(regex)
}

fn compile_host(text: &str, at: &At<'_>) -> Result<Host, ConfigErrors> {
    let authority = text.parse::<Authority>().ok().filter(|authority| {
        !authority.host().is_empty() && !text.contains('@') && (authority.port().is_some() || !text.ends_with(':'))
    });
    let header = HeaderValue::from_str(text).ok();
    match (authority, header) {
        (Some(authority), Some(header)) => Ok(Host { authority, header }),
        _ => {
            let mut errors = ConfigErrors::new();
            let remedy = "write a host name or an address, with \":\" and a port where one is needed";
            errors.push(at.error("rewrite.host", format!("{text:?} is not a host"), remedy));
            Err(errors)
        }
    }
}

/// Whether a text is a path that means one thing: whole encodings, no dot segments.
fn is_path(text: &str) -> bool {
    let is_dots = |segment: &str| {
        let plain = segment.replace("%2e", ".").replace("%2E", ".");
        plain == "." || plain == ".."
    };
    text.starts_with('/') && has_whole_encodings(text) && !text.split('/').any(is_dots)
}

/// Whether every character may stand in a path, and every `%` begins an encoded byte that is no control character.
fn has_whole_encodings(text: &str) -> bool {
    let mut pieces = text.split('%');
    let plain = |text: &str| text.chars().all(|character| character == '/' || may_occur_in_a_path(character));
    let is_encoded = |piece: &str| {
        let byte = piece.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = byte.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        byte.is_some_and(|byte| !byte.is_ascii_control())
    };
    pieces.next().is_some_and(plain) && pieces.all(|piece| is_encoded(piece) && plain(piece))
}

/// The path with one slash where values that are empty left several.
fn without_empty_segments(path: &str) -> String {
    let mut short = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !short.ends_with('/') {
            short.push(character);
        }
    }
    short
}

#[cfg(test)]
mod tests;
