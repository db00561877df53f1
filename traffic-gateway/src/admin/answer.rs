//! What a call is answered.

use bytes::Bytes;
use gatehouse_shared::clock;
use gatehouse_shared::id::RequestId;
use gatehouse_shared::problem::{self, Reason};
use serde_json::Value;

/// One answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
    pub(super) retry_after: Option<u64>,
    /// The revision of what is shown, for `If-Match`.
    pub(super) revision: Option<u64>,
    /// The methods that the path takes.
    pub(super) allow: Option<&'static str>,
}

impl Answer {
    pub(super) fn new(status: u16, content_type: &'static str, body: Bytes) -> Self {
        Self { status, content_type, body, retry_after: None, revision: None, allow: None }
    }

    pub(super) fn text(status: u16, body: &'static str) -> Self {
        Self::new(status, "text/plain", Bytes::from_static(body.as_bytes()))
    }

    pub(super) fn json(value: &Value) -> Self {
        Self::json_with(200, value)
    }

    pub(super) fn json_with(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json", format!("{value:#}\n").into())
    }

    pub(super) fn problem(reason: &Reason) -> Self {
        Self::problem_about(reason, None)
    }

    /// A refusal that says what is particular about this case.
    pub(super) fn problem_about(reason: &Reason, detail: Option<&str>) -> Self {
        let id = RequestId::new(clock::unix_ms());
        Self::new(reason.status, problem::CONTENT_TYPE, problem::json(reason, id.as_str(), detail).into())
    }

    pub(super) fn not_allowed(allow: &'static str) -> Self {
        Self { allow: Some(allow), ..Self::problem(&problem::ADMIN_METHOD_NOT_ALLOWED) }
    }

    /// The same about something of this revision.
    pub(super) fn of_revision(mut self, revision: u64) -> Self {
        self.revision = Some(revision);
        self
    }
}
