//! Predicates: what beside host, path and method decides which API a call means.
//!
//! - [`question`]: what predicates look at
//! - [`text`]: tests of header fields, cookies and parameters of the query
//! - [`time`]: spans of time and hours of the day
//! - [`version`]: the version that a call names
//! - [`weight`]: a share of calls, always the same ones
//! - [`body`]: fields of a body
//! - [`search`]: the step itself, with the body of a call where that decides
//! - [`explain`]: every API considered, and why
//! - [`metrics`]: what is counted
//!
//! Predicates are judged before it is known who calls, so none of them looks at an application or a user, and each takes time
//! linear in what it looks at. Several APIs at one place are asked in the order of their rank: the higher `priority`, then the
//! larger number of predicates. Two of the same rank have to exclude each other, or the catalog is refused: nothing ever depends
//! on the order in which it lists them.

pub mod body;
pub mod explain;
pub mod metrics;
pub mod question;
pub mod search;
pub mod text;
pub mod time;
pub mod version;
pub mod weight;

use std::fmt;

use gatehouse_shared::cidr::{Network, NetworkSet};
use gatehouse_shared::config::ConfigErrors;
use gatehouse_shared::telemetry::access_log::Line;
use schemars::JsonSchema;
use serde::Deserialize;

use self::question::Question;
use self::text::Carrier;
use super::matcher::{Fit, Rank};
use super::path::PathTemplate;
use crate::store::catalog::At;

/// Predicates of one API; each costs a little for every call that comes to its place.
const PREDICATES_MAX: usize = 32;
/// The highest priority; far more than anybody tells apart.
const PRIORITY_MAX: u32 = 1_000;

/// `when`: which of the calls with its host, path and method an API takes. Everything written must hold; APIs without it take what
/// is left.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which of several APIs at one place is asked first: the one with the higher number, 0 to 1000; with the same number the
    /// one with more predicates. Default: 0.
    #[serde(default)]
    pub priority: u32,
    /// From this time on (RFC 3339). Example: `"2026-12-01T00:00:00+01:00"`.
    pub after: Option<String>,
    /// Before this time (RFC 3339).
    pub before: Option<String>,
    /// From the first time on, before the second; the same as `after` and `before`.
    pub between: Option<[String; 2]>,
    /// Hours of the day in a time zone.
    pub daily: Option<time::DailyConfig>,
    /// Header fields. Example: `[{ name = "x-canary", equals = "yes" }]`.
    #[serde(default)]
    pub headers: Vec<text::Config>,
    /// Cookies.
    #[serde(default)]
    pub cookies: Vec<text::Config>,
    /// Parameters of the query, decoded as those of forms are.
    #[serde(default)]
    pub query: Vec<text::Config>,
    /// Where the client is: in any of these networks.
    #[serde(default)]
    pub clients: Vec<Network>,
    /// A share of calls, always the same ones.
    pub weight: Option<weight::Config>,
    /// The version that a call names.
    pub version: Option<version::Config>,
    /// Fields of the body, which is then held whole before the API is known.
    #[serde(default)]
    pub body: Vec<body::Config>,
}

/// One predicate.
#[derive(Debug, Clone)]
pub enum Predicate {
    /// A span of time.
    Span(time::Span),
    /// Hours of the day.
    Daily(Box<time::Daily>),
    /// Where the client is.
    Clients(Box<NetworkSet>),
    /// A header field, a cookie or a parameter of the query.
    Text(Box<text::Text>),
    /// The version that a call names.
    Version(Box<version::Versions>),
    /// A share of calls.
    Weight(Box<weight::Weight>),
    /// A field of the body.
    Body(Box<body::Field>),
}

/// `when` as compiled.
#[derive(Debug, Clone)]
pub struct When {
    priority: u32,
    /// Those that look at the body last.
    predicates: Box<[Predicate]>,
}

/// What is noted of how the API of a call was found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Notes {
    /// APIs whose predicates were judged.
    pub judged: u32,
}

impl Notes {
    /// Writes down what there is.
    pub fn write(&self, line: &mut Line) {
        if self.judged > 0 {
            line.number("apis_judged", u64::from(self.judged));
        }
    }
}

impl When {
    /// Compiles `when` of an API at `path`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(written: &Config, path: &PathTemplate, at: &At<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut predicates = Vec::new();
        let span =
            time::Span::compile(written.after.as_deref(), written.before.as_deref(), written.between.as_ref(), at);
        predicates.extend(errors.collect(span).flatten().map(Predicate::Span));
        let daily = written.daily.as_ref().and_then(|daily| errors.collect(time::Daily::compile(daily, at)));
        predicates.extend(daily.map(|daily| Predicate::Daily(Box::new(daily))));
        if !written.clients.is_empty() {
            predicates.push(Predicate::Clients(Box::new(written.clients.iter().copied().collect())));
        }
        for (carrier, kind, entries) in [
            (Carrier::Headers, "headers", &written.headers),
            (Carrier::Cookies, "cookies", &written.cookies),
            (Carrier::Query, "query", &written.query),
        ] {
            for (index, entry) in entries.iter().enumerate() {
                let text = text::Text::compile(carrier, entry, at, &format!("when.{kind}[{index}]"));
                predicates.extend(errors.collect(text).map(|text| Predicate::Text(Box::new(text))));
            }
        }
        let version = written.version.as_ref();
        let version = version.and_then(|version| errors.collect(version::Versions::compile(version, path, at)));
        predicates.extend(version.map(|version| Predicate::Version(Box::new(version))));
        let weight = written.weight.as_ref();
        let weight = weight.and_then(|weight| errors.collect(weight::Weight::compile(weight, path, at)));
        predicates.extend(weight.map(|weight| Predicate::Weight(Box::new(weight))));
        for (index, entry) in written.body.iter().enumerate() {
            let field = body::Field::compile(entry, at, &format!("when.body[{index}]"));
            predicates.extend(errors.collect(field).map(|field| Predicate::Body(Box::new(field))));
        }
        if errors.is_empty() && predicates.is_empty() {
            errors.push(at.error("when", "no predicate, so nothing is decided", "write one, or leave \"when\" out"));
        }
        if predicates.len() > PREDICATES_MAX {
            let message = format!("{} predicates, of which each call may meet all", predicates.len());
            errors.push(at.error("when", message, format!("write {PREDICATES_MAX} at most")));
        }
        if written.priority > PRIORITY_MAX {
            let message = format!("{} is not a priority", written.priority);
            errors.push(at.error("when.priority", message, format!("write 0 to {PRIORITY_MAX}")));
        }
        errors.into_result(Self { priority: written.priority, predicates: predicates.into() })
    }

    /// Where the API stands among others at its place.
    #[must_use]
    pub fn rank(&self) -> Rank {
        Rank { priority: self.priority, predicates: self.predicates.len() }
    }

    /// The predicates, in the order in which they are judged.
    #[must_use]
    pub fn predicates(&self) -> &[Predicate] {
        &self.predicates
    }

    /// Whether a call passes all of them.
    #[must_use]
    pub fn judge(&self, question: &Question<'_>) -> Fit {
        let mut fit = Fit::Yes;
        for predicate in &self.predicates {
            match predicate.judge(question) {
                Fit::Yes => {}
                Fit::No => return Fit::No,
                Fit::Unknown => fit = Fit::Unknown,
            }
        }
        fit
    }

    /// Whether no call passes all of both, as far as that can be said.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        self.predicates.iter().any(|one| other.predicates.iter().any(|two| one.excludes(two)))
    }

    /// Whether a body may have to be held for it.
    #[must_use]
    pub fn looks_at_bodies(&self) -> bool {
        self.predicates.iter().any(|predicate| matches!(predicate, Predicate::Body(_)))
    }
}

impl Predicate {
    /// Whether a call passes it.
    #[must_use]
    pub fn judge(&self, question: &Question<'_>) -> Fit {
        let passes = match self {
            Self::Span(span) => span.contains(question.unix_ms),
            Self::Daily(daily) => daily.contains(question.unix_ms),
            Self::Clients(networks) => networks.contains(question.client),
            Self::Text(text) => text.fits(question),
            Self::Version(versions) => versions.contains(question),
            Self::Weight(weight) => weight.contains(question),
            Self::Body(field) => match field.fits(question) {
                Some(fits) => fits,
                None => return Fit::Unknown,
            },
        };
        if passes { Fit::Yes } else { Fit::No }
    }

    /// Whether no call passes both, as far as that can be said.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Span(one), Self::Span(two)) => one.excludes(two),
            (Self::Daily(one), Self::Daily(two)) => one.excludes(two),
            (Self::Clients(one), Self::Clients(two)) => {
                let holds = |set: &NetworkSet, other: &NetworkSet| {
                    other.iter().any(|entry| set.contains(entry.network().as_ipnet().network()))
                };
                !holds(one, two) && !holds(two, one)
            }
            (Self::Text(one), Self::Text(two)) => one.excludes(two),
            (Self::Version(one), Self::Version(two)) => one.excludes(two),
            (Self::Weight(one), Self::Weight(two)) => one.excludes(two),
            (Self::Body(one), Self::Body(two)) => one.excludes(two),
            _ => false,
        }
    }

    /// What it saw of a call, for people.
    #[must_use]
    pub fn seen(&self, question: &Question<'_>) -> String {
        match self {
            Self::Span(_) | Self::Daily(_) => gatehouse_shared::clock::rfc3339(question.unix_ms),
            Self::Clients(_) => question.client.to_canonical().to_string(),
            Self::Text(text) => text.seen(question),
            Self::Version(versions) => versions.seen(question),
            Self::Weight(weight) => weight.seen(question),
            Self::Body(field) => field.seen(question),
        }
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Span(span) => span.fmt(out),
            Self::Daily(daily) => daily.fmt(out),
            Self::Clients(networks) => {
                let names: Vec<String> = networks.iter().map(|entry| entry.network().to_string()).collect();
                write!(out, "client in {}", names.join(", "))
            }
            Self::Text(text) => text.fmt(out),
            Self::Version(versions) => versions.fmt(out),
            Self::Weight(weight) => weight.fmt(out),
            Self::Body(field) => field.fmt(out),
        }
    }
}

#[cfg(test)]
mod tests;
