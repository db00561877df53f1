//! `/blocklist`: looking at the dynamic blocklist, and changing it.
//!
//! | call | role | |
//! |---|---|---|
//! | `GET /blocklist?limit=&after=` | `read` | entries by network, 100 at a time unless `limit` says so; `next` is the `after` of the next page |
//! | `GET /blocklist?network=N` | `read` | one entry |
//! | `POST /blocklist` | `operate` | adds an entry; see [`entry::Add`] |
//! | `DELETE /blocklist?network=N` | `operate` | removes an entry |
//! | `POST /blocklist/import?for=&owner=&…` | `operate` | adds every entry of a list in the body |
//! | `GET /blocklist/export` | `read` | all entries as a list |
//! | `GET /blocklist/history?limit=` | `read` | the last changes |
//! | `GET /blocklist/suggest?limit=` | `read` | who is refused most and not blocked |
//!
//! One entry has its revision in `ETag`; a change with `If-Match` is made only if that is still the one.

pub(super) mod entry;
mod change;
mod look;

use std::net::IpAddr;
use std::sync::Arc;

use gatehouse_shared::admin::{Role, Who};
use gatehouse_shared::problem;
use http::Method;

use gatehouse_shared::admin::Answer;

use crate::admit::blocklist::{Actor, Keeper};
use crate::policy::Policy;
pub(super) use change::say_reach;

/// One call.
pub(super) struct Call<'a> {
    pub(super) keeper: &'a Arc<Keeper>,
    pub(super) policy: &'a Policy,
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    /// The value of `If-Match`.
    pub(super) if_match: Option<&'a str>,
    pub(super) who: &'a Who,
    pub(super) from: IpAddr,
    pub(super) body: &'a [u8],
}

/// The methods that a path takes; `None`: there is no such path.
pub(super) fn methods(path: &str) -> Option<&'static str> {
    match path {
        "/blocklist" => Some("GET, HEAD, POST, DELETE"),
        "/blocklist/import" => Some("POST"),
        "/blocklist/export" | "/blocklist/history" | "/blocklist/suggest" => Some("GET, HEAD"),
        _ => None,
    }
}

/// The role that a method needs.
pub(super) fn role(method: &Method) -> Role {
    if matches!(*method, Method::GET | Method::HEAD) { Role::Read } else { Role::Operate }
}

/// Does what is asked.
pub(super) async fn serve(call: &Call<'_>) -> Answer {
    let answer = match (call.path, call.method) {
        ("/blocklist", &Method::POST) => change::add(call).await,
        ("/blocklist", &Method::DELETE) => change::remove(call).await,
        ("/blocklist/import", _) => change::import(call).await,
        ("/blocklist/export", _) => Ok(look::export(call.keeper)),
        ("/blocklist/history", _) => look::history(call).await,
        ("/blocklist/suggest", _) => look::suggest(call),
        _ => look::entries(call),
    };
    answer.unwrap_or_else(|refused| refused)
}

impl Call<'_> {
    fn actor(&self) -> Actor {
        Actor { name: self.who.name.clone(), role: Some(self.who.role.as_str()), from: Some(self.from) }
    }
}

/// What was asked for cannot be understood.
fn invalid(detail: impl AsRef<str>) -> Answer {
    Answer::problem_about(&problem::ADMIN_REQUEST_INVALID, Some(detail.as_ref()))
}
