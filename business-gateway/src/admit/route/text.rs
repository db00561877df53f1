//! Tests of texts: of header fields, cookies, parameters of the query and fields of a body.

use std::fmt;

use gatehouse_shared::config::ConfigErrors;
use http::HeaderName;
use regex::bytes::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

use super::question::{Question, Source};
use crate::store::catalog::At;

/// Bytes of an expression, compiled; what is larger is refused at load.
const REGEX_MAX: usize = 1 << 20;

/// A header field, a cookie or a parameter of the query: its name, and one test. With a name that a call carries several times
/// every value has to pass it, because services differ in which one they take.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The name; of header fields in any case.
    pub name: String,
    /// `true`: it is there, with whatever value; `false`: it is not.
    pub present: Option<bool>,
    /// It is this text.
    pub equals: Option<String>,
    /// It is one of these texts.
    pub one_of: Option<Vec<String>>,
    /// It begins so.
    pub prefix: Option<String>,
    /// This expression finds something in it; `^` and `$` tie it to both ends. Linear in the length of the text.
    pub regex: Option<String>,
}

/// One test as written, whatever it is of.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a> {
    /// Whether there is a value.
    pub present: Option<bool>,
    /// The text.
    pub equals: Option<&'a str>,
    /// The texts.
    pub one_of: Option<&'a [String]>,
    /// The beginning.
    pub prefix: Option<&'a str>,
    /// The expression.
    pub regex: Option<&'a str>,
}

/// A test as compiled.
#[derive(Debug, Clone)]
pub enum Test {
    /// There is a value.
    Present,
    /// There is none.
    Absent,
    /// It is one of these, which are sorted.
    OneOf(Vec<Box<str>>),
    /// It begins so.
    Prefix(Box<str>),
    /// The expression finds something.
    Regex(Regex),
}

/// A test of what a call carries somewhere.
#[derive(Debug, Clone)]
pub struct Text {
    source: Source,
    test: Test,
}

impl Test {
    /// Compiles a test; `key` is the entry it stands in.
    ///
    /// # Errors
    /// None, several, or one that no text passes.
    pub fn compile(written: Written<'_>, at: &At<'_>, key: &str) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut tests = Vec::new();
        if let Some(present) = written.present {
            tests.push(if present { Self::Present } else { Self::Absent });
        }
        if let Some(text) = written.equals {
            tests.push(Self::OneOf(vec![text.into()]));
        }
        if let Some(texts) = written.one_of {
            let mut sorted: Vec<Box<str>> = texts.iter().map(|text| text.as_str().into()).collect();
            sorted.sort_unstable();
            sorted.dedup();
            if sorted.is_empty() {
                errors.push(at.error(&format!("{key}.one_of"), "no text, so none passes", "name some"));
            }
            tests.push(Self::OneOf(sorted));
        }
        if let Some(text) = written.prefix {
            if text.is_empty() {
                let remedy = "write present = true where any text will do";
                errors.push(at.error(&format!("{key}.prefix"), "every text begins with nothing", remedy));
            }
            tests.push(Self::Prefix(text.into()));
        }
        if let Some(text) = written.regex {
            match RegexBuilder::new(text).size_limit(REGEX_MAX).build() {
                Ok(regex) => tests.push(Self::Regex(regex)),
                Err(error) => {
                    let error = error.to_string();
                    let said = error.lines().next_back().unwrap_or_default().trim_start_matches("error: ");
                    let message = format!("{text:?} is not an expression: {said}");
                    let remedy = "it has neither look-around nor back-references; see https://docs.rs/regex#syntax";
                    errors.push(at.error(&format!("{key}.regex"), message, remedy));
                    return Err(errors);
                }
            }
        }
        let test = tests.pop();
        let Some(test) = test.filter(|_| tests.is_empty()) else {
            let remedy = "write one of present, equals, one_of, prefix and regex; several tests are several entries";
            errors.push(at.error(key, "not exactly one test", remedy));
            return Err(errors);
        };
        errors.into_result(test)
    }

    /// Whether a value that is there passes.
    #[must_use]
    pub fn passes(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Absent => false,
            Self::OneOf(texts) => texts.binary_search_by(|text| text.as_bytes().cmp(value)).is_ok(),
            Self::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            Self::Regex(regex) => regex.is_match(value),
        }
    }

    /// Whether it passes where there is no value.
    #[must_use]
    pub fn passes_nothing(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Whether nothing passes both.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, other) | (other, Self::Absent) => !other.passes_nothing(),
            (Self::OneOf(texts), test) | (test, Self::OneOf(texts)) => {
                !texts.iter().any(|text| test.passes(text.as_bytes()))
            }
            (Self::Prefix(one), Self::Prefix(two)) => !one.starts_with(&**two) && !two.starts_with(&**one),
            _ => false,
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => out.write_str("is there"),
            Self::Absent => out.write_str("is not there"),
            Self::OneOf(texts) => match texts.as_slice() {
                [text] => write!(out, "is {text:?}"),
                texts => write!(out, "is one of {texts:?}"),
            },
            Self::Prefix(text) => write!(out, "begins with {text:?}"),
            Self::Regex(regex) => write!(out, "matches {:?}", regex.as_str()),
        }
    }
}

/// What carries a text, before its name is compiled.
#[derive(Debug, Clone, Copy)]
pub enum Carrier {
    /// Header fields.
    Headers,
    /// Cookies.
    Cookies,
    /// The query.
    Query,
}

impl Text {
    /// Compiles the entry at `key`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(carrier: Carrier, written: &Config, at: &At<'_>, key: &str) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let source = errors.collect(carrier.source(&written.name, at, &format!("{key}.name")));
        let test = Written {
            present: written.present,
            equals: written.equals.as_deref(),
            one_of: written.one_of.as_deref(),
            prefix: written.prefix.as_deref(),
            regex: written.regex.as_deref(),
        };
        let test = errors.collect(Test::compile(test, at, key));
        match (source, test) {
            (Some(source), Some(test)) => errors.into_result(Self { source, test }),
            _ => Err(errors),
        }
    }

    /// Whether a call passes.
    #[must_use]
    pub fn fits(&self, question: &Question<'_>) -> bool {
        let (mut is_there, mut all_pass) = (false, true);
        self.source.visit(question, &mut |value| {
            is_there = true;
            all_pass = self.test.passes(&value);
            all_pass
        });
        if is_there { all_pass } else { self.test.passes_nothing() }
    }

    /// Whether no call passes both.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        self.source == other.source && self.test.excludes(&other.test)
    }

    /// What the call carries there, for people.
    #[must_use]
    pub fn seen(&self, question: &Question<'_>) -> String {
        self.source.seen(question)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.source, self.test)
    }
}

impl Carrier {
    /// Where a call carries the value of this name.
    ///
    /// # Errors
    /// When it is no name there.
    pub fn source(self, name: &str, at: &At<'_>, key: &str) -> Result<Source, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let source = match self {
            Self::Headers => HeaderName::try_from(name).ok().map(Source::Header),
            Self::Cookies => Some(name).filter(|name| is_cookie_name(name)).map(|name| Source::Cookie(name.into())),
            Self::Query => Some(name).filter(|name| !name.is_empty()).map(|name| Source::Query(name.into())),
        };
        let Some(source) = source else {
            let remedy = "write it as a call carries it, without quotes, blanks and colons";
            errors.push(at.error(key, format!("{name:?} is not the name of a {self}"), remedy));
            return Err(errors);
        };
        errors.into_result(source)
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Headers => "header field",
            Self::Cookies => "cookie",
            Self::Query => "parameter",
        })
    }
}

/// RFC 6265 section 4.1.1: a token (RFC 9110 section 5.6.2).
fn is_cookie_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
