//! What a call to an admin listener is answered; each tier writes it to its own kind of connection.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::clock;
use crate::id::RequestId;
use crate::problem::{self, Reason};

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// Seconds after which the call may be made again, for `Retry-After`.
    pub retry_after: Option<u64>,
    /// The revision of what is shown, for `If-Match`.
    pub revision: Option<u64>,
    /// The methods that the path takes.
    pub allow: Option<&'static str>,
}

impl Answer {
    /// An answer without anything particular.
    #[must_use]
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type, body: body.into(), retry_after: None, revision: None, allow: None }
    }

    /// Plain text.
    #[must_use]
    pub fn text(status: u16, body: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body)
    }

    /// JSON, 200.
    #[must_use]
    pub fn json(value: &Value) -> Self {
        Self::json_with(200, value)
    }

    /// JSON with a status.
    #[must_use]
    pub fn json_with(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json", format!("{value:#}\n"))
    }

    /// A refusal.
    #[must_use]
    pub fn problem(reason: &Reason) -> Self {
        Self::problem_about(reason, None)
    }

    /// A refusal that says what is particular about this case.
    #[must_use]
    pub fn problem_about(reason: &Reason, detail: Option<&str>) -> Self {
        let id = RequestId::new(clock::unix_ms());
        Self::new(reason.status, problem::CONTENT_TYPE, problem::json(reason, id.as_str(), detail))
    }

    /// The refusal of a method; `allow` lists those that the path takes, as in `GET, HEAD`.
    #[must_use]
    pub fn not_allowed(allow: &'static str) -> Self {
        Self { allow: Some(allow), ..Self::problem(&problem::ADMIN_METHOD_NOT_ALLOWED) }
    }

    /// The same about something of this revision.
    #[must_use]
    pub fn of_revision(mut self, revision: u64) -> Self {
        self.revision = Some(revision);
        self
    }
}

/// The body of a call, which is JSON.
///
/// # Errors
/// The answer to a body that is none, or has other fields.
pub fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Answer> {
    serde_json::from_slice(body)
        .map_err(|error| Answer::problem_about(&problem::ADMIN_REQUEST_INVALID, Some(&format!("the body: {error}"))))
}
