//! `/routes`: which routes there are, which of them are stopped, and stopping and starting them.
//!
//! | call | role | |
//! |---|---|---|
//! | `GET /routes` | `read` | every route with its cluster, and who stopped it, until when and why |
//! | `POST /routes/stop` | `operate` | stops a route; see [`Stop`] |
//! | `POST /routes/start` | `operate` | lets it serve again: `{"route": NAME}` |

use std::net::IpAddr;

use gatehouse_shared::admin::Who;
use gatehouse_shared::config::HumanDuration;
use gatehouse_shared::{clock, problem};
use gatehouse_store::cut::Cut;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::blocklist::say_reach;
use crate::admit::blocklist::Actor;
use crate::admit::cut::{CutError, Keeper};
use crate::policy::Policy;
use gatehouse_shared::admin::{Answer, read_json};

/// Longest reason and owner, in bytes.
const TEXT_MAX: usize = 512;
/// Longest time for which a route is stopped, in seconds: what is to be longer belongs into the configuration.
const LONGEST: u64 = 366 * 86_400;

/// One call.
pub(super) struct Call<'a> {
    pub(super) keeper: &'a Keeper,
    pub(super) policy: &'a Policy,
    pub(super) path: &'a str,
    pub(super) who: &'a Who,
    pub(super) from: IpAddr,
    pub(super) body: &'a [u8],
}

/// The body of `POST /routes/stop`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stop {
    /// The name of the route, as `GET /routes` shows it.
    route: String,
    /// How long.
    #[serde(rename = "for")]
    lasting: HumanDuration,
    /// How many of a hundred clients are refused.
    #[serde(default = "all")]
    percent: u8,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    owner: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    route: String,
}

fn all() -> u8 {
    100
}

/// The methods that a path takes; `None`: there is no such path.
pub(super) fn methods(path: &str) -> Option<&'static str> {
    match path {
        "/routes" => Some("GET, HEAD"),
        "/routes/stop" | "/routes/start" => Some("POST"),
        _ => None,
    }
}

/// Does what is asked.
pub(super) async fn serve(call: &Call<'_>, method: &Method) -> Answer {
    let answer = match (call.path, method) {
        ("/routes/stop", &Method::POST) => stop(call).await,
        ("/routes/start", &Method::POST) => start(call).await,
        _ => Ok(routes(call)),
    };
    answer.unwrap_or_else(|refused| refused)
}

fn routes(call: &Call<'_>) -> Answer {
    let now = clock::unix_ms() / 1_000;
    let stopped = |name: &str| call.keeper.cuts().of(name).filter(|cut| cut.counts_at(now)).map(|cut| shown(&cut));
    let routes = call.policy.routes.all().iter();
    let routes = routes
        .map(|route| json!({ "name": route.name, "cluster": route.cluster.name, "stopped": stopped(&route.name) }));
    Answer::json(&json!({ "routes": routes.collect::<Vec<_>>() }))
}

async fn stop(call: &Call<'_>) -> Result<Answer, Answer> {
    let stop: Stop = read_json(call.body)?;
    must_exist(call, &stop.route)?;
    if !(1..=all()).contains(&stop.percent) {
        return Err(invalid("\"percent\" must be 1 to 100"));
    }
    let is_text = |text: &Option<String>| {
        text.as_ref().is_none_or(|text| text.len() <= TEXT_MAX && !text.chars().any(char::is_control))
    };
    if !is_text(&stop.reason) || !is_text(&stop.owner) {
        return Err(invalid("\"reason\" and \"owner\" may have 512 bytes and no control characters"));
    }
    let seconds = stop.lasting.get().as_millis().div_ceil(1_000);
    let seconds = u64::try_from(seconds).ok().filter(|seconds| (1..=LONGEST).contains(seconds));
    let seconds = seconds.ok_or_else(|| invalid("\"for\" must be above 0s and at most 366d"))?;
    let until = (clock::unix_ms() / 1_000).saturating_add(seconds);
    let Stop { route, percent, reason, owner, .. } = stop;
    change(call, Cut { route, percent, until, reason, owner, by: String::new(), node: String::new(), stamp: 0 }).await
}

async fn start(call: &Call<'_>) -> Result<Answer, Answer> {
    let Start { route } = read_json(call.body)?;
    let until = call.keeper.cuts().of(&route).map_or(0, |cut| cut.until);
    let (by, node) = (String::new(), String::new());
    change(call, Cut { route, percent: 0, until, reason: None, owner: None, by, node, stamp: 0 }).await
}

async fn change(call: &Call<'_>, wanted: Cut) -> Result<Answer, Answer> {
    let actor = Actor { name: call.who.name.clone(), role: Some(call.who.role.as_str()), from: Some(call.from) };
    let (cut, reach) = call.keeper.change(wanted, &actor).await.map_err(|error| match error {
        CutError::NotCut => Answer::problem(&problem::ADMIN_ROUTE_NOT_STOPPED),
        CutError::Full => invalid("as many routes as there may be are stopped already"),
        CutError::Disk(_) | CutError::Audit(_) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a route was not stopped or started as it should"
            );
            Answer::problem_about(&problem::INTERNAL_ERROR, Some(&error.to_string()))
        }
    })?;
    let mut answer = json!({ "route": cut.route, "stopped": shown(&cut) });
    let status = say_reach(&mut answer, &reach, 200);
    Ok(Answer::json_with(status, &answer))
}

fn must_exist(call: &Call<'_>, name: &str) -> Result<(), Answer> {
    match call.policy.routes.all().iter().any(|route| *route.name == *name) {
        true => Ok(()),
        false => Err(Answer::problem(&problem::ADMIN_ROUTE_MISSING)),
    }
}

/// A cut as the API writes it; `null` for a route that serves.
fn shown(cut: &Cut) -> Value {
    if cut.percent == 0 {
        return Value::Null;
    }
    json!({
        "percent": cut.percent,
        "until": clock::rfc3339(cut.until.saturating_mul(1_000)),
        "reason": cut.reason,
        "owner": cut.owner,
        "by": cut.by,
        "node": cut.node,
    })
}

fn invalid(detail: &str) -> Answer {
    Answer::problem_about(&problem::ADMIN_REQUEST_INVALID, Some(detail))
}
