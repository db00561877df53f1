//! Aggregates: one call of a client, several calls of APIs, one answer.
//!
//! The whole was admitted and charged as one call; each of its parts goes to whoever answers its API, in the turn of that API's
//! pool ([`Whole::serve`](crate::pipeline::part::Whole::serve)). What a part says of a request can choose among nothing: its API
//! stands in the catalog, its path is that of the API with values in the place of the parameters, and a redirect is an answer
//! like another failure.
//!
//! - [`config`]: what is written, and what bounds it
//! - `language`, [`expression`], [`template`]: values, and answers made of them
//! - `compile`, `nesting`: what is checked when the catalog is loaded
//! - [`explain`]: the plan, for people
//! - `scope`: what values are made of
//! - [`call`]: the request of one call
//! - [`run`]: all calls of one whole
//! - [`outcome`]: what became of a call
//! - [`answer`], `caching`: the answer and its headers
//! - [`json`]: how deep, and whether it is any
//! - [`metrics`]: what is counted

pub mod answer;
mod caching;
pub mod call;
mod compile;
pub mod config;
pub mod explain;
pub mod expression;
pub mod json;
mod language;
pub mod metrics;
mod nesting;
pub mod outcome;
pub mod run;
mod scope;
pub mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use gatehouse_shared::telemetry::access_log::Line;
use http::header::HeaderValue;

use self::call::Call;
use self::config::Bounds;
use self::metrics::OfAggregate;
use self::template::Template;
use crate::accept::room::Room;

/// An aggregate as compiled.
pub struct Aggregate {
    /// Its name.
    pub name: Arc<str>,
    /// Its calls, in the order written.
    pub calls: Vec<Call>,
    names: Arc<[Box<str>]>,
    template: Option<Template>,
    content_type: HeaderValue,
    /// Headers of the client that the answer depends on.
    vary: Option<HeaderValue>,
    /// Parameters of the path that it uses.
    params: BTreeSet<String>,
    /// Whether it looks at the body of the request.
    reads_body: bool,
    /// Whether it looks at who calls.
    reads_caller: bool,
    bounds: Bounds,
    /// Where it is counted; looked up at the first call.
    metrics: OnceLock<OfAggregate>,
}

impl std::fmt::Debug for Aggregate {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Aggregate").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Every aggregate of one generation.
#[derive(Debug, Default)]
pub struct Aggregates {
    by_name: BTreeMap<Arc<str>, Arc<Aggregate>>,
    /// What this node holds for aggregates.
    pub room: Arc<Room>,
}

impl Aggregates {
    /// The aggregate of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Aggregate>> {
        self.by_name.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Aggregate>> {
        self.by_name.values()
    }
}

/// What is noted of the parts of a call for the log.
#[derive(Debug, Default)]
pub struct Notes {
    /// Calls that were made.
    made: u32,
    /// Names of those that failed.
    failed: Vec<Box<str>>,
}

impl Notes {
    /// Writes what there is to say.
    pub fn write(&self, line: &mut Line) {
        if self.made > 0 {
            line.number("parts", u64::from(self.made));
        }
        if !self.failed.is_empty() {
            line.utf8("parts_failed", &self.failed.join(","));
        }
    }
}

#[cfg(test)]
mod tests;
