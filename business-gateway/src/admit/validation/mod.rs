//! Whether a call is as its API declares: parameters of the path, the query, headers and cookies, and the body.
//!
//! Parameters are looked at first; a body is held whole, in the room of the node, only when they are right. What it costs is
//! bounded before it is spent: the length of the body, its levels and values while it is read, and how much its schema has to
//! look at.
//!
//! - [`config`]: as written, and the bounds
//! - [`document`]: schemas and OpenAPI documents of the catalog
//! - [`operation`]: what OpenAPI says of an operation
//! - [`compile`]: from these to a [`Validation`]
//! - [`parameter`], [`shape`], [`text`]: from text to values
//! - [`body`], [`read`]: from bytes to values
//! - [`schema`]: what a value may be
//! - [`finding`]: what is wrong

pub mod config;
pub mod document;
pub mod operation;
pub mod compile;
pub mod parameter;
pub mod shape;
pub mod text;
pub mod body;
pub mod read;
pub mod schema;
pub mod finding;
pub mod metrics;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use gatehouse_shared::problem::{self, Reason};
use gatehouse_shared::telemetry::access_log::Line;
use http::request::Parts;

use self::body::{Body, How};
use self::config::{Bounds, Mode};
use self::finding::{Finding, Findings, Place};
use self::metrics::{ApiValidationMetrics, Outcome, ValidationMetrics};
use self::parameter::Parameters;
use crate::accept::body::{HoldError, Upload, UploadError};
use crate::accept::room::Room;
use crate::dispatch::wait::until;

/// What an API declares, compiled.
#[derive(Debug)]
pub struct Validation {
    mode: Mode,
    parameters: Parameters,
    body: Option<Body>,
    bounds: Bounds,
    metrics: OnceLock<ApiValidationMetrics>,
}

/// A call that is looked at.
#[derive(Debug)]
pub struct Called<'c> {
    /// The name of its API.
    pub api: &'c str,
    /// Its canonical path.
    pub path: &'c str,
    /// Its head.
    pub parts: &'c Parts,
    /// Its body.
    pub upload: &'c mut Upload,
    /// The end of every wait.
    pub deadline: Instant,
    /// Where bodies are held.
    pub room: &'c Arc<Room>,
    /// How many bytes there are in it.
    pub room_max: u64,
}

/// Why a call is refused.
#[derive(Debug)]
pub enum Refusal {
    /// It is not as declared.
    Invalid(&'static Reason, Box<Findings>),
    /// The node holds as many bodies as it may.
    NoRoom,
    /// The body did not come in time.
    Deadline,
    /// The body ended early.
    Upload(UploadError),
}

/// What is noted of a call.
#[derive(Debug, Default)]
pub struct Notes {
    outcome: Option<Outcome>,
    first: Option<Box<str>>,
}

impl Notes {
    /// Adds what a line of the access log says of it.
    pub fn write(&self, line: &mut Line) {
        match self.outcome {
            Some(Outcome::Observed) => line.utf8("validation", "observed"),
            Some(Outcome::Unchecked) => line.utf8("validation", "unchecked"),
            Some(Outcome::Refused) => line.utf8("validation", "refused"),
            Some(Outcome::Passed) | None => {}
        }
        line.optional_utf8("invalid", self.first.as_deref());
    }
}

/// What became of the body.
enum Held {
    Whole(Bytes),
    Unchecked,
}

impl Validation {
    /// Looks at a call.
    ///
    /// # Errors
    /// When it is not as declared, unless that is only observed, or when its body does not come.
    pub async fn check(
        &self,
        mut called: Called<'_>,
        metrics: &ValidationMetrics,
        notes: &mut Notes,
    ) -> Result<(), Refusal> {
        let mut findings = Findings::new(self.bounds.errors_max);
        let query = called.parts.uri.query().unwrap_or_default();
        self.parameters.check(called.path, query, &called.parts.headers, self.bounds.work_max, &mut findings);
        let mut reason = &problem::REQUEST_INVALID;
        let mut is_unchecked = false;
        if let Some(body) = &self.body
            && (findings.is_empty() || self.mode == Mode::Observe)
        {
            match self.check_body(body, &mut called, &mut findings).await? {
                Checked::As(found) => reason = found,
                Checked::Not => is_unchecked = true,
            }
        }
        let outcome = match (findings.is_empty(), self.mode) {
            (true, _) if is_unchecked => Outcome::Unchecked,
            (true, _) => Outcome::Passed,
            (false, Mode::Enforce) => Outcome::Refused,
            (false, Mode::Observe) => Outcome::Observed,
        };
        notes.outcome = Some(outcome);
        notes.first = findings.list().first().map(|finding| finding.short().into());
        self.metrics.get_or_init(|| metrics.of_api(called.api)).count(outcome, findings.list());
        if outcome == Outcome::Refused { Err(Refusal::Invalid(reason, Box::new(findings))) } else { Ok(()) }
    }

    async fn check_body(
        &self,
        body: &Body,
        called: &mut Called<'_>,
        findings: &mut Findings,
    ) -> Result<Checked, Refusal> {
        if matches!(called.upload, Upload::Empty) {
            return Ok(missing(body, findings));
        }
        let how = match body.how(&called.parts.headers) {
            Ok(How::Unread) => return Ok(Checked::As(&problem::REQUEST_INVALID)),
            Ok(how) => how,
            Err(finding) => {
                findings.push(finding);
                return Ok(Checked::As(&problem::CONTENT_TYPE_UNSUPPORTED));
            }
        };
        let held = match self.hold(body, called).await {
            Ok(Held::Whole(held)) => held,
            Ok(Held::Unchecked) => return Ok(Checked::Not),
            Err(HeldError::TooLarge) => {
                let message = format!("must have at most {} bytes", body.max);
                findings.push(Finding::new(Place::Body, "", "size", message));
                return Ok(Checked::As(&problem::VALIDATED_BODY_TOO_LARGE));
            }
            Err(HeldError::Refused(refusal)) => return Err(refusal),
        };
        if held.is_empty() {
            return Ok(missing(body, findings));
        }
        body.check(&how, &held, self.bounds.work_max, findings);
        Ok(Checked::As(&problem::REQUEST_INVALID))
    }

    async fn hold(&self, body: &Body, called: &mut Called<'_>) -> Result<Held, HeldError> {
        let mut room = called.room.enter(called.room_max);
        let length = called.upload.length();
        if length.is_some_and(|length| length > body.max) {
            return if self.mode == Mode::Observe { Ok(Held::Unchecked) } else { Err(HeldError::TooLarge) };
        }
        // A body that is held is lost when it turns out to be too large: who only observes must know that before.
        if self.mode == Mode::Observe && !length.is_some_and(|length| room.ahead(length)) {
            return Ok(Held::Unchecked);
        }
        match until(called.deadline, called.upload.hold(body.max, room)).await {
            Ok(Ok(held)) => Ok(Held::Whole(held)),
            Ok(Err(HoldError::TooLarge)) => Err(HeldError::TooLarge),
            Ok(Err(HoldError::NoRoom)) => Err(HeldError::Refused(Refusal::NoRoom)),
            Ok(Err(HoldError::Upload(error))) => Err(HeldError::Refused(Refusal::Upload(error))),
            Err(_elapsed) => Err(HeldError::Refused(Refusal::Deadline)),
        }
    }
}

enum Checked {
    /// If anything is wrong, this is why the call is refused.
    As(&'static Reason),
    /// It could not be looked at.
    Not,
}

enum HeldError {
    TooLarge,
    Refused(Refusal),
}

fn missing(body: &Body, findings: &mut Findings) -> Checked {
    if body.is_required {
        findings.push(Finding::new(Place::Body, "", "required", "there must be a body"));
    }
    Checked::As(&problem::REQUEST_INVALID)
}

#[cfg(test)]
mod tests;
