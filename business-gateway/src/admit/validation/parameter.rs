//! Parameters of the path, the query, headers and cookies.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::{COOKIE, HeaderName};

use super::config::Unknown;
use super::finding::{Finding, Findings, Place, below};
use super::schema::{Judge, Judged, Written};
use super::shape::{Encoding, Shape, Split, value};
use super::text::{Plus, decoded, pairs};

/// A parameter as it was declared, wherever that was.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// Whether it has to be there.
    pub required: bool,
    /// How lists are written.
    pub split: Split,
    /// What it may be.
    pub schema: Written,
    /// The segment of the path that it is, counted from the last; of parameters of the path only.
    pub from_end: Option<usize>,
}

/// A parameter, compiled.
#[derive(Debug)]
pub struct Parameter {
    name: Box<str>,
    pointer: Box<str>,
    place: Place,
    is_required: bool,
    split: Split,
    shape: Shape,
    judge: Judge,
}

impl Parameter {
    /// Compiles it.
    #[must_use]
    pub fn new(declared: &Declared, mut judge: Judge) -> Self {
        let mut pointer = String::new();
        below(&mut pointer, &declared.name);
        Self {
            name: declared.name.as_str().into(),
            pointer: pointer.into(),
            place: declared.place,
            is_required: declared.required,
            split: declared.split,
            shape: Shape::of(&judge.schema.take()),
            judge,
        }
    }

    /// Whether it is an object, which is not judged.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.shape == Shape::Object
    }

    fn check(&self, texts: &[&str], encoding: Encoding, most: u64, findings: &mut Findings) {
        if texts.is_empty() {
            if self.is_required {
                findings.push(Finding::new(self.place, &self.pointer, "required", "must be there"));
            }
            return;
        }
        if self.is_object() {
            return;
        }
        let bytes = texts.iter().map(|text| text.len()).sum();
        match value(self.shape, self.split, encoding, texts, self.place, &self.pointer) {
            Ok((value, values)) => {
                let judged = Judged { value: &value, values, bytes, place: self.place, base: &self.pointer };
                self.judge.judge(judged, most, findings);
            }
            Err(finding) => findings.push(finding),
        }
    }
}

/// All parameters of an API.
#[derive(Debug, Default)]
pub struct Parameters {
    /// With the segment of the path that each is, and whether it is all that follows.
    path: Vec<(usize, bool, Parameter)>,
    query: Vec<Parameter>,
    query_names: BTreeMap<Box<str>, usize>,
    unknown_query: Unknown,
    headers: Vec<(HeaderName, Parameter)>,
    cookies: Vec<Parameter>,
}

impl Parameters {
    /// None, and what becomes of parameters of the query that are not declared.
    #[must_use]
    pub fn new(unknown_query: Unknown) -> Self {
        Self { unknown_query, ..Self::default() }
    }

    /// Adds a parameter that is a segment of the path, or everything from it on.
    pub fn add_path(&mut self, segment: usize, is_rest: bool, parameter: Parameter) {
        self.path.push((segment, is_rest, parameter));
    }

    /// Adds a parameter of the query.
    pub fn add_query(&mut self, parameter: Parameter) {
        self.query_names.insert(parameter.name.clone(), self.query.len());
        self.query.push(parameter);
    }

    /// Adds a header.
    pub fn add_header(&mut self, name: HeaderName, parameter: Parameter) {
        self.headers.push((name, parameter));
    }

    /// Adds a cookie.
    pub fn add_cookie(&mut self, parameter: Parameter) {
        self.cookies.push(parameter);
    }

    /// Looks at all of them; `most` is how much work each may be.
    pub fn check(&self, path: &str, query: &str, headers: &HeaderMap, most: u64, findings: &mut Findings) {
        for (segment, is_rest, parameter) in &self.path {
            let tail = path.strip_prefix('/').unwrap_or(path);
            let text = match is_rest {
                true => tail.splitn(segment + 1, '/').nth(*segment),
                false => tail.split('/').nth(*segment),
            };
            let texts: Vec<&str> = text.into_iter().collect();
            parameter.check(&texts, Encoding::Percent(Plus::Itself), most, findings);
        }
        if !self.query.is_empty() || self.unknown_query == Unknown::Refuse {
            self.check_query(query, most, findings);
        }
        for (name, parameter) in &self.headers {
            check_header(name, parameter, headers, most, findings);
        }
        if !self.cookies.is_empty() {
            self.check_cookies(headers, most, findings);
        }
    }

    fn check_query(&self, query: &str, most: u64, findings: &mut Findings) {
        let mut texts: Vec<Vec<&str>> = vec![Vec::new(); self.query.len()];
        for (name, text) in pairs(query) {
            let Some(name) = decoded(name, Plus::Space) else {
                let message = "the percent-encoding of a name is broken, or no UTF-8";
                findings.push(Finding::new(Place::Query, "", "encoding", message));
                continue;
            };
            // Members of an object are written `name[member]`.
            let object = name.split_once('[').and_then(|(object, _)| self.query_names.get(object));
            let object = object.filter(|index| self.query.get(**index).is_some_and(Parameter::is_object));
            match self.query_names.get(&*name).or(object).and_then(|index| texts.get_mut(*index)) {
                Some(texts) => texts.push(text),
                None if self.unknown_query == Unknown::Refuse => {
                    let mut pointer = String::new();
                    below(&mut pointer, &name);
                    findings.push(Finding::new(Place::Query, &pointer, "unknown", "not declared"));
                }
                None => {}
            }
        }
        for (parameter, texts) in self.query.iter().zip(&texts) {
            parameter.check(texts, Encoding::Percent(Plus::Space), most, findings);
        }
    }

    fn check_cookies(&self, headers: &HeaderMap, most: u64, findings: &mut Findings) {
        let lines: Vec<&str> = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok()).collect();
        for parameter in &self.cookies {
            let pairs = lines.iter().flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
            let texts: Vec<&str> = pairs.filter(|(name, _)| **name == *parameter.name).map(|(_, text)| text).collect();
            parameter.check(&texts, Encoding::Plain, most, findings);
        }
    }
}

fn check_header(name: &HeaderName, parameter: &Parameter, headers: &HeaderMap, most: u64, findings: &mut Findings) {
    let mut texts = Vec::new();
    for value in headers.get_all(name) {
        match value.to_str() {
            Ok(text) => texts.push(text),
            Err(_) => {
                let message = "has characters beyond ASCII";
                findings.push(Finding::new(Place::Header, &parameter.pointer, "encoding", message));
                return;
            }
        }
    }
    // A list may be spread over lines (RFC 9110, section 5.3).
    if let (Shape::Many(_), [_, _, ..]) = (parameter.shape, texts.as_slice()) {
        let joined = texts.join(",");
        parameter.check(&[&joined], Encoding::Plain, most, findings);
        return;
    }
    parameter.check(&texts, Encoding::Plain, most, findings);
}
