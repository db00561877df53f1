//! The API of a call. Most are found by their head; where everything else fits an API that looks at bodies, the body is held whole
//! within a bound, and the API is looked for once more.

use std::sync::Arc;

use bytes::Bytes;
use gatehouse_shared::config::{ByteSize, ConfigErrors, Positions};
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Notes;
use super::question::Question;
use crate::accept::body::{HoldError, UploadError};
use crate::admit::api::{self, Api, plain_host};
use crate::admit::matcher::Miss;
use crate::dispatch::wait::until;
use crate::pipeline::{Call, Site};
use crate::respond::failure::Failure;
use crate::respond::record::Record;

/// `[routing]`: what bounds the search for the API of a call.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The longest body that is held to find the API of a call by its fields; a call with a longer one is refused (413). All
    /// bodies that are held count for `held_max` of `[credentials]`. Default: `"64KiB"`.
    pub body_max: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self { body_max: ByteSize::kib(64) }
    }
}

impl Config {
    /// Checks it.
    ///
    /// # Errors
    /// A bound that lets no body through.
    pub fn check(&self, positions: &Positions) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::new();
        if self.body_max.get() == 0 {
            let remedy = Some("write at least \"1B\"".to_owned());
            errors.push(positions.error("routing.body_max", "no body could be looked at", remedy));
        }
        errors.into_result(())
    }
}

/// Why a body cannot be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HoldFault {
    /// It is longer than [`Config::body_max`].
    #[error("the body that decides on the API is larger than allowed")]
    TooLarge,
    /// The node holds as much of bodies as it may.
    #[error("no room for another body that is held")]
    NoRoom,
    /// It ended early.
    #[error("the body failed")]
    Upload(#[source] UploadError),
    /// The deadline came first.
    #[error("the deadline is over")]
    Deadline,
}

/// Finds the API of a call.
///
/// # Errors
/// When none takes it, or its body decides and cannot be held.
pub async fn find(site: &Site, call: &mut Call, record: &mut Record) -> Result<Arc<Api>, Failure> {
    let (metrics, unix_ms) = (&site.gateway.metrics.routes, record.unix_ms());
    let notes = &mut record.route;
    let found = api::find(&site.policy().catalog, &question(call, unix_ms), notes).map(Arc::clone);
    let found = match found {
        Err(Miss::Undecided) => Box::pin(find_by_body(site, call, unix_ms, notes)).await,
        found => found.map_err(Search::Missed),
    };
    metrics.judged(notes.judged);
    found.map_err(|failed| match failed {
        Search::Missed(miss) => {
            metrics.missed(&miss);
            miss.into()
        }
        Search::Held(fault) => fault.into(),
    })
}

/// The API that a call with this head and another method means, for what browsers ask before they make a call. Neither the header
/// fields nor the cookies nor the body of that call are there yet, so where predicates ask for them it is the first API that takes the
/// method: the call itself is judged when it comes.
#[must_use]
pub fn by_method(site: &Site, call: &Call, method: &Method, record: &Record) -> Option<Arc<Api>> {
    let catalog = &site.policy().catalog;
    let question = Question { method, ..question(call, record.unix_ms()) };
    if let Ok(api) = api::find(catalog, &question, &mut Notes::default()) {
        return Some(Arc::clone(api));
    }
    let candidates = catalog.matcher.candidates(&plain_host(question.authority), question.path, method);
    candidates.into_iter().find(|candidate| candidate.takes_method).map(|candidate| Arc::clone(candidate.value))
}

/// Why no API was found.
enum Search {
    Missed(Miss),
    Held(HoldFault),
}

async fn find_by_body(site: &Site, call: &mut Call, unix_ms: u64, notes: &mut Notes) -> Result<Arc<Api>, Search> {
    let held = hold(site, call).await;
    site.gateway.metrics.routes.held(&held);
    let body = held.map_err(Search::Held)?;
    let question = question(call, unix_ms).with_body(&body);
    // Who was asked before is asked again, and counts once.
    notes.judged = 0;
    api::find(&site.policy().catalog, &question, notes).map(Arc::clone).map_err(Search::Missed)
}

fn question(call: &Call, unix_ms: u64) -> Question<'_> {
    Question::of(&call.parts, &call.authority, &call.hop.path, call.hop.client.ip(), unix_ms)
}

async fn hold(site: &Site, call: &mut Call) -> Result<Bytes, HoldFault> {
    let policy = site.policy();
    let room = site.gateway.identity.room.enter(policy.credentials.held_max);
    let held = until(call.deadline, call.upload.hold(policy.routing.body_max.get(), room)).await;
    held.map_err(|_elapsed| HoldFault::Deadline)?.map_err(|error| match error {
        HoldError::TooLarge => HoldFault::TooLarge,
        HoldError::NoRoom => HoldFault::NoRoom,
        HoldError::Upload(error) => HoldFault::Upload(error),
    })
}
