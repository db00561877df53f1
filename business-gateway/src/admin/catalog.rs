//! `/catalog`: what is offered, how it changes, and what it was.
//!
//! | call | role | |
//! |---|---|---|
//! | `GET /catalog` | `read` | the whole document; its tag in `ETag` |
//! | `PUT /catalog?why=` | `operate` | replaces it |
//! | `GET /catalog/status` | `read` | where it comes from, and what Redis has |
//! | `GET /catalog/history?limit=` | `read` | the last revisions |
//! | `GET /catalog/diff?from=&to=` | `read` | what differs between two of them |
//! | `POST /catalog/check` | `read` | everything that is wrong with a document |
//! | `POST /catalog/rollback?revision=&why=` | `operate` | publishes an old revision as a new one |
//! | `POST /catalog/publish?force=&why=` | `operate` | publishes what this node has once more |
//! | `GET /catalog/KIND` | `read` | the objects of a kind |
//! | `GET`, `PUT`, `DELETE /catalog/KIND/NAME` | `read`, `operate` | one object, as written; its tag in `ETag` |
//!
//! Whatever replaces something says with `If-Match` what. A change is checked as a load checks it, stored, in force on this node
//! and in the audit log when it is acknowledged.

mod refusal;

use std::net::IpAddr;
use std::sync::Arc;

use gatehouse_shared::admin::{Answer, Who, read_json};
use gatehouse_shared::audit::Event;
use gatehouse_shared::{clock, problem};
use http::Method;
use serde_json::{Value, json};

use self::refusal::{invalid_objects, refused};
use super::openapi::{self, Content, Operation, Path};
use super::{Call, Resource, invalid};
use crate::gateway::Gateway;
use crate::store::catalog::difference::{Difference, difference};
use crate::store::catalog::objects::{Objects, tag};
use crate::store::revision::change::{Author, Done, Wanted};
use crate::store::revision::edit::{Edit, IfMatch, Refusal, check_kind};

/// Longest reason, in bytes.
const WHY_MAX: usize = 512;
/// Revisions shown unless the call says otherwise.
const USUAL: usize = 20;
/// Most revisions shown.
const MOST: usize = 10_000;
/// A longer object stands in the audit log by its tag, in bytes: a line there has 1 MiB at most.
const AUDITED_MAX: usize = 256 << 10;

const WHY: (&str, &str) = ("why", "Why, for the history and the audit log; 512 bytes at most.");
const TAG_OF_OBJECT: Option<&str> = Some("The ETag of the object; needed unless it is new.");
const TAG_OF_ALL: Option<&str> = Some("The ETag of the whole catalog; needed unless it is empty.");
const CHANGED: &str = "`revision` (null in files), `before`, `after`, and `warning` where it is not in force here yet.";
const REFUSALS: &[(u16, &str)] = &[
    (201, "Done; it is new."),
    (202, "Stored, but not in force on this node: `warning` says why."),
    (409, "Redis and this node disagree, or it stands in a file that people edit."),
    (412, "It is not what `If-Match` says."),
    (422, "It is not valid: `errors` has everything that is wrong."),
    (428, "`If-Match` is missing."),
    (503, "Redis does not answer."),
];

/// What is served here.
pub const PATHS: &[Path] = &[
    Path {
        path: "/catalog",
        allow: "GET, HEAD, PUT",
        operations: &[
            Operation { answer: Content::Catalog, ..Operation::get("The whole catalog, as written", "") },
            Operation {
                query: &[WHY],
                if_match: TAG_OF_ALL,
                others: REFUSALS,
                ..Operation::change("PUT", "Replaces the whole catalog", Content::Catalog, CHANGED)
            },
        ],
    },
    Path {
        path: "/catalog/status",
        allow: "GET, HEAD",
        operations: &[Operation::get(
            "Where the catalog comes from",
            "`source` (redis or files), `revision`, `head`, how many `objects`, and what was found in `redis`.",
        )],
    },
    Path {
        path: "/catalog/history",
        allow: "GET, HEAD",
        operations: &[Operation {
            query: &[("limit", "How many; 20 unless it says otherwise.")],
            ..Operation::get("The last revisions, the newest first", "`revisions`: who published what, when and why.")
        }],
    },
    Path {
        path: "/catalog/diff",
        allow: "GET, HEAD",
        operations: &[Operation {
            query: &[
                ("from", "The earlier revision; the one before `to` unless it says otherwise."),
                ("to", "The later revision; the one in force unless it says otherwise."),
            ],
            ..Operation::get(
                "What differs between two revisions",
                "`differences`, object by object and field by field.",
            )
        }],
    },
    Path {
        path: "/catalog/check",
        allow: "POST",
        operations: &[Operation {
            role: Some(gatehouse_shared::admin::Role::Read),
            others: &[(422, "It is not valid: `errors` has everything that is wrong.")],
            ..Operation::change(
                "POST",
                "Checks a whole catalog and changes nothing",
                Content::Catalog,
                "`differences` from what is in force.",
            )
        }],
    },
    Path {
        path: "/catalog/rollback",
        allow: "POST",
        operations: &[Operation {
            query: &[("revision", "Which one."), WHY],
            if_match: TAG_OF_ALL,
            others: REFUSALS,
            ..Operation::change("POST", "Publishes an old revision as a new one", Content::None, CHANGED)
        }],
    },
    Path {
        path: "/catalog/publish",
        allow: "POST",
        operations: &[Operation {
            query: &[("force", "Whatever Redis has, as when it has lost revisions."), WHY],
            others: REFUSALS,
            ..Operation::change("POST", "Publishes what this node has as a new revision", Content::None, CHANGED)
        }],
    },
    Path {
        path: "/catalog/{kind}",
        allow: "GET, HEAD",
        operations: &[Operation::get("The objects of a kind", "`objects`, as written.")],
    },
    Path {
        path: "/catalog/{kind}/{name}",
        allow: "GET, HEAD, PUT, DELETE",
        operations: &[
            Operation {
                answer: Content::CatalogObject,
                others: &[(404, "There is none.")],
                ..Operation::get("An object, as written", "")
            },
            Operation {
                query: &[WHY],
                if_match: TAG_OF_OBJECT,
                others: REFUSALS,
                ..Operation::change("PUT", "Adds or replaces an object", Content::CatalogObject, CHANGED)
            },
            Operation {
                query: &[WHY],
                if_match: Some("The ETag of the object; always needed."),
                others: REFUSALS,
                ..Operation::change("DELETE", "Removes an object", Content::None, CHANGED)
            },
        ],
    },
];

/// The resource.
pub const RESOURCE: Resource = Resource {
    methods: |path| openapi::find(PATHS, path).map(|path| path.allow),
    role: |method, path| openapi::role(PATHS, method, path),
    serve: |call| Box::pin(serve(call)),
};

async fn serve(call: Call<'_>) -> Result<Answer, Answer> {
    let is_read = matches!(*call.method, Method::GET | Method::HEAD);
    let mut parts = call.path.trim_start_matches("/catalog").trim_start_matches('/').splitn(2, '/');
    match (parts.next().unwrap_or_default(), parts.next()) {
        ("", _) if is_read => whole(call),
        ("", _) => replace(call).await,
        ("status", None) => Ok(Answer::json(&call.gateway.revisions.status())),
        ("history", None) => history(call).await,
        ("diff", None) => diff(call).await,
        ("check", None) => check(call).await,
        ("rollback", None) => rollback(call).await,
        ("publish", None) => publish(call).await,
        (kind, None) => list(call, kind),
        (kind, Some(name)) if is_read => object(call, kind, name),
        (kind, Some(name)) => change_object(call, kind, name).await,
    }
}

/// The catalog in force.
fn objects(call: Call<'_>) -> Objects {
    call.gateway.live.current().value.written.objects.clone()
}

fn whole(call: Call<'_>) -> Result<Answer, Answer> {
    call.query(&[])?;
    let document = objects(call).to_json();
    Ok(Answer::json(&document).of_revision(tag(&document)))
}

fn list(call: Call<'_>, kind: &str) -> Result<Answer, Answer> {
    call.query(&[])?;
    check_kind(kind).map_err(|refusal| refused(&refusal))?;
    Ok(Answer::json(&json!({ "objects": objects(call).of(kind) })))
}

fn object(call: Call<'_>, kind: &str, name: &str) -> Result<Answer, Answer> {
    call.query(&[])?;
    check_kind(kind).map_err(|refusal| refused(&refusal))?;
    let missing = || refused(&Refusal::Missing(kind.to_owned(), name.to_owned()));
    let object = Value::Object(objects(call).get(kind, name).ok_or_else(missing)?.clone());
    Ok(Answer::json(&object).of_revision(tag(&object)))
}

async fn history(call: Call<'_>) -> Result<Answer, Answer> {
    let most = call.query(&["limit"])?.count("limit", USUAL, MOST).map_err(invalid)?;
    let history = call.gateway.revisions.history(most).await.map_err(|refusal| refused(&refusal))?;
    let shown = history.into_iter().map(|(revision, head)| match head {
        Ok(head) => json!({
            "revision": revision,
            "time": clock::rfc3339(head.unix_ms),
            "by": head.by,
            "node": head.node,
            "what": head.what,
            "why": head.why,
        }),
        Err(why) => json!({ "revision": revision, "damaged": why }),
    });
    Ok(Answer::json(&json!({ "revisions": shown.collect::<Vec<_>>() })))
}

async fn diff(call: Call<'_>) -> Result<Answer, Answer> {
    let query = call.query(&["from", "to"])?;
    let number = |name: &str| {
        let number = query.get(name).map(|text| text.parse::<u64>().map_err(|_none| name));
        number.transpose().map_err(|name| invalid(format!("\"{name}\" is the number of a revision")))
    };
    let (from, to) = (number("from")?, number("to")?);
    let revisions = &call.gateway.revisions;
    let to = to.unwrap_or_else(|| call.gateway.live.current().value.written.revision());
    let from = from.unwrap_or_else(|| to.saturating_sub(1));
    let later = revisions.revision(to).await.map_err(|refusal| refused(&refusal))?;
    let earlier = revisions.revision(from).await.map_err(|refusal| refused(&refusal))?;
    let differences = difference(&earlier.objects, &later.objects);
    Ok(Answer::json(&json!({ "from": earlier.head, "to": later.head, "differences": differences })))
}

/// The document in the body.
fn document(call: Call<'_>) -> Result<Objects, Answer> {
    let document: Value = read_json(call.body)?;
    Objects::from_json(document).map_err(|errors| invalid_objects(&errors, &Objects::default()))
}

async fn check(call: Call<'_>) -> Result<Answer, Answer> {
    call.query(&[])?;
    let wanted = document(call)?;
    let checked = call.gateway.revisions.check(wanted.clone()).await;
    checked.map_err(|errors| invalid_objects(&errors, &wanted))?;
    Ok(Answer::json(&json!({ "differences": difference(&objects(call), &wanted) })))
}

async fn replace(call: Call<'_>) -> Result<Answer, Answer> {
    let wanted = wanted(call, Edit::Replace(document(call)?), &["why"])?;
    change(call, "catalog.replace", wanted).await.map(|done| answer(&done, None))
}

async fn rollback(call: Call<'_>) -> Result<Answer, Answer> {
    let revision = call.query(&["revision", "why"])?.get("revision").and_then(|text| text.parse::<u64>().ok());
    let revision = revision.ok_or_else(|| invalid("say which \"revision\""))?;
    let kept = call.gateway.revisions.revision(revision).await.map_err(|refusal| refused(&refusal))?;
    let wanted = wanted(call, Edit::Replace(kept.objects), &["revision", "why"])?;
    let wanted = Wanted { what: Some(format!("rollback to {revision}")), ..wanted };
    change(call, "catalog.rollback", wanted).await.map(|done| answer(&done, None))
}

async fn publish(call: Call<'_>) -> Result<Answer, Answer> {
    let force = call.query(&["force", "why"])?.is_set("force").map_err(invalid)?;
    let wanted = Wanted { force, ..wanted(call, Edit::Republish, &["force", "why"])? };
    change(call, "catalog.publish", wanted).await.map(|done| answer(&done, None))
}

async fn change_object(call: Call<'_>, kind: &str, name: &str) -> Result<Answer, Answer> {
    let (kind, name) = (kind.to_owned(), name.to_owned());
    let (edit, action) = if *call.method == Method::DELETE {
        (Edit::Delete { kind: kind.clone(), name: name.clone() }, "catalog.delete")
    } else {
        let Value::Object(object) = crate::store::catalog::objects::without_nulls(read_json(call.body)?) else {
            return Err(invalid("the body is no object"));
        };
        (Edit::Put { kind: kind.clone(), name: name.clone(), object }, "catalog.put")
    };
    let wanted = wanted(call, edit, &["why"])?;
    change(call, action, wanted).await.map(|done| answer(&done, Some((&kind, &name))))
}

fn wanted(call: Call<'_>, edit: Edit, known: &[&str]) -> Result<Wanted, Answer> {
    let query = call.query(known)?;
    if query.get("why").is_some_and(|why| why.len() > WHY_MAX || why.chars().any(char::is_control)) {
        return Err(invalid("\"why\" may have 512 bytes and no control characters"));
    }
    let if_match = match call.if_match {
        Some("*") => IfMatch::Something,
        _ => call.revision()?.map_or(IfMatch::Unsaid, IfMatch::Tag),
    };
    Ok(Wanted { edit, if_match, force: false, what: None })
}

/// Makes a change and writes it to the audit log; both happen although the caller may go away meanwhile.
async fn change(call: Call<'_>, action: &'static str, wanted: Wanted) -> Result<Done, Answer> {
    let why = call.query(&["why", "force", "revision"])?.get("why").map(str::to_owned);
    let (gateway, who, from) = (Arc::clone(call.gateway), call.who.clone(), call.from);
    let changed = tokio::spawn(async move {
        let author = Author { by: who.name.clone(), role: who.role, why };
        let done = gateway.revisions.change(&wanted, &author).await.map_err(|refusal| refused(&refusal))?;
        audit(&gateway, &who, from, action, author.why.as_deref(), &done)?;
        Ok(done)
    });
    changed.await.unwrap_or_else(|panicked| {
        Err(Answer::problem_about(&problem::INTERNAL_ERROR, Some(&format!("the change broke off: {panicked}"))))
    })
}

/// One line for each object that differs, or one for a revision that says the same.
fn audit(
    gateway: &Gateway,
    who: &Who,
    from: IpAddr,
    action: &'static str,
    why: Option<&str>,
    done: &Done,
) -> Result<(), Answer> {
    let event = |target: String, before: Value, after: Value| Event {
        who: &who.name,
        role: Some(who.role.as_str()),
        from: Some(from.to_string()),
        node: &gateway.node,
        action,
        target,
        why,
        before: audited(before),
        after: audited(after),
    };
    let of_object =
        |one: &Difference| event(format!("{} {}", one.kind, one.name), one.before.clone(), one.after.clone());
    let mut events: Vec<Event<'_>> = done.differences.iter().map(of_object).collect();
    if let (true, Some(head)) = (events.is_empty(), &done.head) {
        events.push(event(format!("revision {}", head.revision), Value::Null, Value::Null));
    }
    gateway.audit.append(&events).map(|_head| ()).map_err(|error| {
        tracing::error!(%error, action, "a change cannot be written to the audit log");
        let detail = "the change is in force, but cannot be written to the audit log";
        Answer::problem_about(&problem::CHANGE_NOT_KEPT, Some(detail))
    })
}

fn audited(value: Value) -> Value {
    let length = value.to_string().len();
    if length <= AUDITED_MAX { value } else { json!({ "tag": tag(&value), "bytes": length }) }
}

/// The answer to a change of one object, or of the whole.
fn answer(done: &Done, object: Option<(&str, &str)>) -> Answer {
    let revision = done.head.as_ref().map(|head| head.revision);
    let (before, after, mut answer) = match object {
        Some((kind, name)) => {
            let of = |objects: &Objects| objects.get(kind, name).map(|object| Value::Object(object.clone()));
            let (before, after) = (of(&done.before), of(&done.after));
            let shown = json!({ "revision": revision, "before": before, "after": after });
            (before, after, shown)
        }
        None => {
            let shown = json!({ "revision": revision, "differences": done.differences });
            (Some(Value::Null), Some(done.after.to_json()), shown)
        }
    };
    if let (Some(why), Some(fields)) = (&done.not_in_force, answer.as_object_mut()) {
        fields.insert("warning".to_owned(), format!("stored, but not in force on this node: {why}").into());
    }
    let status = match (&done.not_in_force, before) {
        (Some(_), _) => 202,
        (None, None) => 201,
        (None, Some(_)) => 200,
    };
    let answer = Answer::json_with(status, &answer);
    match after {
        Some(after) => answer.of_revision(tag(&after)),
        None => answer,
    }
}
