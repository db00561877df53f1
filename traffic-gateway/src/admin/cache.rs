//! `/cache`: how much this node keeps, and giving some of it up.
//!
//! | call | role | |
//! |---|---|---|
//! | `GET /cache` | `read` | how many answers are kept, and their bytes |
//! | `POST /cache/purge` | `operate` | gives answers up; see [`Purge`] |
//!
//! What is kept lives for seconds, and each node keeps its own: a purge is for this node alone.

use std::net::IpAddr;

use gatehouse_shared::admin::{Answer, Who, read_json};
use gatehouse_shared::audit::{AuditLog, Event};
use gatehouse_shared::problem;
use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::answer::cache::Store;

/// One call.
pub(super) struct Call<'a> {
    pub(super) store: &'static Store,
    pub(super) audit: &'a AuditLog,
    pub(super) node: &'a str,
    pub(super) path: &'a str,
    pub(super) who: &'a Who,
    pub(super) from: IpAddr,
    pub(super) body: &'a [u8],
}

/// The body of `POST /cache/purge`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Purge {
    /// The host as clients write it, with a port if they do; without: every host.
    #[serde(default)]
    host: Option<String>,
    /// The beginning of the targets, as clients write them.
    prefix: String,
}

/// The methods that a path takes; `None`: there is no such path.
pub(super) fn methods(path: &str) -> Option<&'static str> {
    match path {
        "/cache" => Some("GET, HEAD"),
        "/cache/purge" => Some("POST"),
        _ => None,
    }
}

/// Does what is asked.
pub(super) fn serve(call: &Call<'_>, method: &Method) -> Answer {
    if method == Method::POST && call.path == "/cache/purge" {
        return purge(call).unwrap_or_else(|refused| refused);
    }
    let (entries, bytes) = call.store.size();
    Answer::json(&json!({ "entries": entries, "bytes": bytes }))
}

fn purge(call: &Call<'_>) -> Result<Answer, Answer> {
    let Purge { host, prefix } = read_json(call.body)?;
    if !prefix.starts_with('/') {
        let detail = "\"prefix\" must start with a slash; \"/\" is everything";
        return Err(Answer::problem_about(&problem::ADMIN_REQUEST_INVALID, Some(detail)));
    }
    let purged = call.store.forget(host.as_deref(), &prefix);
    let after = json!({ "host": host, "prefix": prefix, "purged": purged });
    let event = Event {
        who: &call.who.name,
        role: Some(call.who.role.as_str()),
        from: Some(call.from.to_string()),
        node: call.node,
        action: "cache.purge",
        target: prefix,
        after: after.clone(),
        ..Event::default()
    };
    call.audit.append(&[event]).map_err(|error| {
        tracing::error!(%error, "a purge is not in the audit log");
        Answer::problem_about(&problem::INTERNAL_ERROR, Some("purged, but not written to the audit log"))
    })?;
    Ok(Answer::json(&after))
}
