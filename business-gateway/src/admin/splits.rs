//! `/splits`: how calls are divided on this node, what became of those of each branch, and how a split has changed.
//!
//! | call | role | |
//! |---|---|---|
//! | `GET /splits` | `read` | every split with its branches |
//! | `GET /splits/NAME` | `read` | one of them: its levels, and what became of the calls of each branch |
//! | `GET /splits/NAME/history?limit=` | `read` | its last changes: who, when, why, and what |
//!
//! A split is changed as every object of the catalog: `PUT /catalog/split/NAME`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_shared::admin::Answer;
use gatehouse_shared::{clock, problem};
use serde_json::{Value, json};

use super::openapi::{self, Operation, Path};
use super::{Call, Resource, invalid};
use crate::dispatch::split::{Branch, Split};
use crate::store::catalog::Catalog;
use crate::store::catalog::difference::{Difference, Field, difference};
use crate::store::catalog::objects::{Object, Objects};
use crate::store::revision::Origin;

/// What objects of this kind are called.
const KIND: &str = "split";
/// Revisions, or lines of the audit log, that are looked through unless the call says otherwise.
const USUAL: usize = 50;
/// Most of them.
const MOST: usize = 500;

/// This resource.
pub(super) const RESOURCE: Resource = Resource {
    methods: |path| openapi::find(PATHS, path).map(|path| path.allow),
    role: |method, path| openapi::role(PATHS, method, path),
    serve: |call| Box::pin(serve(call)),
};

/// What is served here.
pub(super) const PATHS: &[Path] = &[
    Path {
        path: "/splits",
        allow: "GET, HEAD",
        operations: &[Operation::get(
            "Splits on this node",
            "`splits`: each with its branches and what became of their calls.",
        )],
    },
    Path {
        path: "/splits/{name}",
        allow: "GET, HEAD",
        operations: &[Operation {
            others: &[(404, "There is none.")],
            ..Operation::get(
                "A split, and what became of the calls of each branch on this node",
                "`levels`, `branches` (requests, errors, p50_ms, p99_ms), `apis`, and `since` when that is counted.",
            )
        }],
    },
    Path {
        path: "/splits/{name}/history",
        allow: "GET, HEAD",
        operations: &[Operation {
            query: &[("limit", "Revisions to look through, or lines of the audit log; 50 unless it says otherwise.")],
            ..Operation::get(
                "The last changes of a split, the newest first",
                "`changes`: when, who, why, and what differs.",
            )
        }],
    },
];

async fn serve(call: Call<'_>) -> Result<Answer, Answer> {
    let mut parts = call.path.trim_start_matches("/splits").trim_start_matches('/').splitn(2, '/');
    match (parts.next().unwrap_or_default(), parts.next()) {
        ("", _) => list(call),
        (name, None) => show(call, name),
        (name, Some(_)) => history(call, name).await,
    }
}

fn list(call: Call<'_>) -> Result<Answer, Answer> {
    call.query(&[])?;
    let generation = call.gateway.live.current();
    let catalog = &generation.value.catalog;
    let splits: Vec<Value> = catalog.splits.iter().map(|split| described(split, catalog)).collect();
    Ok(Answer::json(&json!({ "node": call.gateway.node, "splits": splits })))
}

fn show(call: Call<'_>, name: &str) -> Result<Answer, Answer> {
    call.query(&[])?;
    let generation = call.gateway.live.current();
    let catalog = &generation.value.catalog;
    let split = catalog.splits.find(name).ok_or_else(|| missing(name))?;
    let mut shown = described(split, catalog);
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("node".to_owned(), call.gateway.node.as_str().into());
    }
    Ok(Answer::json(&shown))
}

fn missing(name: &str) -> Answer {
    let detail = format!("no split {name:?}; \"business-gateway split list\" shows the names");
    Answer::problem_about(&problem::ADMIN_OBJECT_MISSING, Some(&detail))
}

fn described(split: &Arc<Split>, catalog: &Catalog) -> Value {
    let is_of_it = |known: &Option<Arc<Split>>| known.as_ref().is_some_and(|known| Arc::ptr_eq(known, split));
    let apis = catalog.apis.iter().filter(|api| is_of_it(&api.split));
    let levels = split
        .levels()
        .enumerate()
        .map(|(place, (when, branch))| json!({ "level": place + 1, "when": when, "branch": branch }));
    let since = split.branches().first().map(|branch| clock::rfc3339(branch.counts.since_unix_ms));
    json!({
        "name": &*split.name,
        "key": split.written.key,
        "without_key": split.written.without_key,
        "apis": apis.map(|api| &*api.name).collect::<Vec<_>>(),
        "levels": levels.collect::<Vec<_>>(),
        "since": since,
        "branches": split.branches().iter().map(|branch| of_branch(branch)).collect::<Vec<_>>(),
    })
}

fn of_branch(branch: &Branch) -> Value {
    let standing = branch.counts.standing();
    let millis = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1_000.0);
    json!({
        "name": &*branch.name,
        "service": branch.service.as_ref().map(|service| &*service.name),
        "requests": standing.requests,
        "errors": standing.errors,
        "p50_ms": millis(standing.half),
        "p99_ms": millis(standing.most),
    })
}

async fn history(call: Call<'_>, name: &str) -> Result<Answer, Answer> {
    let most = call.query(&["limit"])?.count("limit", USUAL, MOST).map_err(invalid)?;
    let origin = call.gateway.live.current().value.written.origin.clone();
    let changes = match origin {
        Origin::Files => audited(call, name, most).await?,
        Origin::Revision(_) => published(call, name, most).await?,
    };
    Ok(Answer::json(&json!({ "name": name, "changes": changes })))
}

/// The changes of a split by revisions.
async fn published(call: Call<'_>, name: &str, most: usize) -> Result<Vec<Value>, Answer> {
    let unavailable =
        |error: &dyn std::fmt::Display| Answer::problem_about(&problem::ADMIN_UNAVAILABLE, Some(&error.to_string()));
    let revisions = &call.gateway.revisions;
    let heads = revisions.history(most).await.map_err(|refusal| unavailable(&refusal))?;
    let mut changes = Vec::new();
    let mut later: Option<(Value, Option<Object>)> = None;
    for (number, head) in heads {
        // What cannot be believed is left out, as it is nowhere in force.
        let Ok(kept) = revisions.revision(number).await else { continue };
        let object = kept.objects.get(KIND, name).cloned();
        if let Some((head, after)) = later.take() {
            changes.extend(change(head, object.as_ref(), after.as_ref()));
        }
        let head = head.map_or(Value::Null, |head| {
            json!({
                "revision": number, "time": clock::rfc3339(head.unix_ms), "by": head.by, "node": head.node, "why": head.why,
            })
        });
        later = Some((head, object));
    }
    // The oldest revision that is looked at, where there is none before it.
    if let Some((head, after)) = later.filter(|(head, _)| head.pointer("/revision") == Some(&json!(1))) {
        changes.extend(change(head, None, after.as_ref()));
    }
    Ok(changes)
}

/// The changes of a split in files, as the audit log of this node has them; what people write into catalog.toml is not there.
async fn audited(call: Call<'_>, name: &str, most: usize) -> Result<Vec<Value>, Answer> {
    let gateway = Arc::clone(call.gateway);
    let lines = tokio::task::spawn_blocking(move || gateway.audit.last(MOST, "catalog.")).await;
    let lines = lines.map_err(std::io::Error::other).and_then(|read| read).map_err(|error| {
        tracing::error!(%error, "the audit log cannot be read");
        Answer::problem_about(&problem::INTERNAL_ERROR, Some("the audit log cannot be read"))
    })?;
    let target = format!("{KIND} {name}");
    let lines = lines.iter().filter(|line| line.get("target").and_then(Value::as_str) == Some(&target)).take(most);
    let changes = lines.filter_map(|line| {
        let said = |key: &str| line.get(key).cloned().unwrap_or_default();
        let head = json!({ "time": said("time"), "by": said("who"), "node": said("node"), "why": said("why") });
        change(head, said("before").as_object(), said("after").as_object())
    });
    Ok(changes.collect())
}

/// A change as it is shown: `head`, and what differs. `None` where nothing does.
fn change(head: Value, before: Option<&Object>, after: Option<&Object>) -> Option<Value> {
    let objects = |object: Option<&Object>| {
        let mut objects = Objects::default();
        if let Some(object) = object {
            objects.put(KIND, object.clone());
        }
        objects
    };
    let [Difference { change, fields, .. }] = difference(&objects(before), &objects(after)).try_into().ok()?;
    let mut shown = head;
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("change".to_owned(), json!(change));
        let fields: Vec<Field> = fields.into_iter().flat_map(apart).collect();
        shown.insert("fields".to_owned(), json!(fields));
    }
    Some(shown)
}

/// Two lists of levels or branches that are equally long, entry by entry and key by key.
fn apart(field: Field) -> Vec<Field> {
    let (Value::Array(before), Value::Array(after)) = (&field.before, &field.after) else { return vec![field] };
    if before.len() != after.len() {
        return vec![field];
    }
    let mut found = Vec::new();
    for (place, (before, after)) in before.iter().zip(after).enumerate().filter(|(_, (before, after))| before != after)
    {
        let path = format!("{}[{place}]", field.path);
        let (Value::Object(old), Value::Object(new)) = (before, after) else {
            found.push(Field { path, before: before.clone(), after: after.clone() });
            continue;
        };
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let value = |object: &Object, key: &String| object.get(key).cloned().unwrap_or_default();
        let differs = keys.into_iter().map(|key| (key, value(old, key), value(new, key)));
        let differs = differs.filter(|(_, before, after)| before != after);
        found.extend(differs.map(|(key, before, after)| Field { path: format!("{path}.{key}"), before, after }));
    }
    found
}
