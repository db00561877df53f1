//! `/groups`: how traffic groups and pools stand on this node, and shutting groups off.
//!
//! | call | role | |
//! |---|---|---|
//! | `GET /groups` | `read` | every group, who shut it off and until when; every pool with its size, what is in flight and waits |
//! | `POST /groups/shed` | `operate` | shuts a group off, on all nodes; see [`ShedBody`] |
//! | `POST /groups/restore` | `operate` | lets it through again: `{"group": NAME}` |

use gatehouse_shared::admin::{Answer, Role, read_json};
use gatehouse_shared::config::HumanDuration;
use gatehouse_shared::{clock, problem};
use gatehouse_store::shed::Shed;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Resource, invalid};
use crate::admit::traffic_group::Status;
use crate::admit::traffic_group::shed::{ALL, Changed, Reach, ShedError};

/// Longest reason and owner, in bytes.
const TEXT_MAX: usize = 512;
/// Longest time for which a group is shut off, in seconds: what is to be longer belongs into the catalog.
const LONGEST: u64 = 366 * 86_400;

/// This resource.
pub(super) const RESOURCE: Resource = Resource { methods, role, serve: |call| Box::pin(serve(call)) };

/// The body of `POST /groups/shed`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShedBody {
    /// The name of the group.
    group: String,
    /// How long.
    #[serde(rename = "for")]
    lasting: HumanDuration,
    /// How many of a hundred applications are refused.
    #[serde(default = "all")]
    percent: u8,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    owner: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RestoreBody {
    group: String,
}

fn all() -> u8 {
    ALL
}

fn methods(path: &str) -> Option<&'static str> {
    match path {
        "/groups" => Some("GET, HEAD"),
        "/groups/shed" | "/groups/restore" => Some("POST"),
        _ => None,
    }
}

fn role(method: &Method, _path: &str) -> Role {
    if *method == Method::POST { Role::Operate } else { Role::Read }
}

async fn serve(call: Call<'_>) -> Result<Answer, Answer> {
    match call.path {
        "/groups/shed" => shut_off(&call).await,
        "/groups/restore" => restore(&call).await,
        _ => Ok(list(&call)),
    }
}

fn list(call: &Call<'_>) -> Answer {
    let generation = call.gateway.live.current();
    let (traffic, sheds) = (&generation.value.catalog.traffic, call.gateway.sheds.list());
    let nodes = call.gateway.fleet.live_nodes();
    let now = clock::unix_ms() / 1_000;
    let shed_of = |name: &str| sheds.of(name).filter(|shed| shed.counts_at(now)).map(|shed| shown(&shed));
    let mut groups: Vec<Value> = traffic
        .groups
        .iter()
        .map(|group| json!({ "name": &*group.name, "ratio": group.ratio, "when": group.when(), "shed": shed_of(&group.name) }))
        .collect();
    // What is shut off and not in the catalog of this node may be in that of another, or was before.
    for shed in sheds.all().iter().filter(|shed| shed.counts_at(now)) {
        if !traffic.groups.iter().any(|group| *group.name == *shed.group) {
            groups.push(json!({ "name": shed.group, "ratio": null, "when": [], "shed": shown(shed) }));
        }
    }
    Answer::json(&json!({
        "node": call.gateway.node,
        "nodes": nodes,
        "groups": groups,
        "pools": traffic.pools(nodes).map(|(name, status)| standing(name, &status)).collect::<Vec<_>>(),
        "apis": traffic.caps(nodes).map(|(name, status)| standing(name, &status)).collect::<Vec<_>>(),
    }))
}

/// A pool, or the cap of an API, as it stands on this node.
fn standing(name: &str, status: &Status) -> Value {
    let groups = status.groups.iter().map(|group| {
        json!({
            "name": &*group.name, "share": group.share, "in_flight": group.in_flight, "waiting": group.waiting,
        })
    });
    json!({
        "name": name,
        "size": status.size,
        "min": status.between.map(|(min, _)| min),
        "max": status.between.map(|(_, max)| max),
        "reserve": status.reserve,
        "in_flight": status.in_flight,
        "waiting": status.groups.iter().map(|group| group.waiting).sum::<usize>(),
        "mean_ms": status.mean.map(|mean| mean.as_secs_f64() * 1_000.0),
        "baseline_ms": status.baseline.map(|baseline| baseline.as_secs_f64() * 1_000.0),
        "groups": groups.collect::<Vec<_>>(),
    })
}

async fn shut_off(call: &Call<'_>) -> Result<Answer, Answer> {
    let ShedBody { group, lasting, percent, reason, owner } = read_json(call.body)?;
    let generation = call.gateway.live.current();
    let traffic = &generation.value.catalog.traffic;
    if !traffic.groups.iter().any(|known| *known.name == *group) {
        let detail = format!("no traffic group {group:?}; \"business-gateway group list\" shows the names");
        return Err(Answer::problem_about(&problem::ADMIN_OBJECT_MISSING, Some(&detail)));
    }
    if !(1..=ALL).contains(&percent) {
        return Err(invalid("\"percent\" must be 1 to 100"));
    }
    let is_text = |text: &Option<String>| {
        text.as_ref().is_none_or(|text| text.len() <= TEXT_MAX && !text.chars().any(char::is_control))
    };
    if !is_text(&reason) || !is_text(&owner) {
        return Err(invalid("\"reason\" and \"owner\" may have 512 bytes and no control characters"));
    }
    let seconds = lasting.get().as_millis().div_ceil(1_000);
    let seconds = u64::try_from(seconds).ok().filter(|seconds| (1..=LONGEST).contains(seconds));
    let seconds = seconds.ok_or_else(|| invalid("\"for\" must be above 0s and at most 366d"))?;
    let until = (clock::unix_ms() / 1_000).saturating_add(seconds);
    let (by, node) = (String::new(), String::new());
    change(call, Shed { group, percent, until, reason, owner, by, node, stamp: 0 }).await
}

async fn restore(call: &Call<'_>) -> Result<Answer, Answer> {
    let RestoreBody { group } = read_json(call.body)?;
    let until = call.gateway.sheds.list().of(&group).map_or(0, |shed| shed.until);
    let (by, node) = (String::new(), String::new());
    change(call, Shed { group, percent: 0, until, reason: None, owner: None, by, node, stamp: 0 }).await
}

async fn change(call: &Call<'_>, wanted: Shed) -> Result<Answer, Answer> {
    let changed = call.gateway.sheds.change(wanted, &call.who.name).await;
    let Changed { before, after, reach } = changed.map_err(|error| match error {
        ShedError::NotShed => invalid("the group is not shut off"),
        ShedError::Full => invalid("as many groups as there may be are shut off already"),
        ShedError::Disk(_) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "a group was not shut off or let through as it should");
            Answer::problem_about(&problem::INTERNAL_ERROR, Some(&error.to_string()))
        }
    })?;
    let action = if after.percent > 0 { "group.shed" } else { "group.restore" };
    call.audit(action, &*after.group, before.as_ref().map_or(Value::Null, shown), shown(&after))?;
    let (said, warning, status) = match reach {
        Reach::Fleet => ("fleet", None, 200),
        Reach::Alone => ("node", None, 200),
        Reach::NodeOnly(why) => {
            let warning = format!("in force on this node only; the others follow when the store is back ({why})");
            ("this_node_only", Some(warning), 202)
        }
    };
    let answer = json!({ "group": after.group, "shed": shown(&after), "reach": said, "warning": warning });
    Ok(Answer::json_with(status, &answer))
}

/// A record as the API writes it; `null` for a group that is let through.
fn shown(shed: &Shed) -> Value {
    if shed.percent == 0 {
        return Value::Null;
    }
    json!({
        "percent": shed.percent,
        "until": clock::rfc3339(shed.until.saturating_mul(1_000)),
        "reason": shed.reason,
        "owner": shed.owner,
        "by": shed.by,
        "node": shed.node,
    })
}
