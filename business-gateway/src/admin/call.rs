//! One call of a resource of the admin listener, and what every resource needs to serve it.

use std::net::IpAddr;
use std::sync::Arc;

use gatehouse_shared::admin::{Answer, Query, Who};
use gatehouse_shared::audit::Event;
use gatehouse_shared::problem;
use http::Method;
use serde_json::Value;

use crate::gateway::Gateway;

/// One call.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// What all requests share.
    pub gateway: &'a Arc<Gateway>,
    /// The method.
    pub method: &'a Method,
    /// The path, as it came.
    pub path: &'a str,
    /// The query, as it came.
    pub query: Option<&'a str>,
    /// `If-Match`, as it came.
    pub if_match: Option<&'a str>,
    /// The token.
    pub who: &'a Who,
    /// Where the call comes from.
    pub from: IpAddr,
    /// The body; empty for none.
    pub body: &'a [u8],
}

impl Call<'_> {
    /// The query, if every name in it is among `known`.
    ///
    /// # Errors
    /// The refusal.
    pub fn query(&self, known: &[&str]) -> Result<Query, Answer> {
        Query::parse(self.query, known).map_err(invalid)
    }

    /// The revision that the change is based on, from `If-Match: "REVISION"`.
    ///
    /// # Errors
    /// The refusal of anything else in that header.
    pub fn revision(&self) -> Result<Option<u64>, Answer> {
        let Some(text) = self.if_match else { return Ok(None) };
        let number = text.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let number = number.and_then(|number| number.parse().ok());
        number.map(Some).ok_or_else(|| invalid("If-Match is the ETag of what is changed, such as \"7\""))
    }

    /// Writes a change to the audit log; only then may it be acknowledged. Values of keys that sound like secrets are left
    /// out.
    ///
    /// # Errors
    /// The answer where it cannot be written.
    pub fn audit(&self, action: &str, target: impl Into<String>, before: Value, after: Value) -> Result<(), Answer> {
        let event = Event {
            who: &self.who.name,
            role: Some(self.who.role.as_str()),
            from: Some(self.from.to_string()),
            node: &self.gateway.node,
            action,
            target: target.into(),
            why: None,
            before,
            after,
        };
        self.gateway.audit.append(&[event]).map(|_head| ()).map_err(|error| {
            tracing::error!(%error, action, "a change cannot be written to the audit log");
            let detail = "the change was made, but cannot be written to the audit log";
            Answer::problem_about(&problem::INTERNAL_ERROR, Some(detail))
        })
    }
}

/// The refusal of a call that is not understood.
#[must_use]
pub fn invalid(detail: impl AsRef<str>) -> Answer {
    Answer::problem_about(&problem::ADMIN_REQUEST_INVALID, Some(detail.as_ref()))
}
