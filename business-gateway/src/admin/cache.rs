//! `/cache`: what is kept of answers of services, and purging it.
//!
//! | call | role | |
//! |---|---|---|
//! | `GET /cache` | `read` | how much this node keeps, and what the cache did with calls, by API |
//! | `POST /cache/purge` | `operate` | purges on all nodes: one of `{"tag": T}`, `{"api": A}`, `{"key": K}`, `{"all": true}` |

use gatehouse_shared::admin::{Answer, Role, read_json};
use gatehouse_shared::{clock, problem};
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::openapi::{Content, Operation, Path};
use super::{Call, Resource, invalid};
use crate::dispatch::cache::fleet::Reach;
use crate::dispatch::cache::tag::{Purge, is_tag};
use crate::store::catalog::is_name;

/// This resource.
pub(super) const RESOURCE: Resource = Resource { methods, role, serve: |call| Box::pin(serve(call)) };

/// The body of `POST /cache/purge`: exactly one of these.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PurgeBody {
    /// A tag.
    tag: Option<String>,
    /// An API.
    api: Option<String>,
    /// A key, as `Cache-Status` shows it.
    key: Option<String>,
    /// Everything.
    all: bool,
}

/// What is served here.
pub(super) const PATHS: &[Path] = &[
    Path {
        path: "/cache",
        allow: "GET, HEAD",
        operations: &[Operation::get("What this node keeps of answers", "Bytes and keys, and outcomes by API.")],
    },
    Path {
        path: "/cache/purge",
        allow: "POST",
        operations: &[Operation {
            others: &[(202, "In force on this node only; the others follow when the store is back.")],
            ..Operation::change(
                "POST",
                "Purges answers, on all nodes",
                Content::Json("One of `tag`, `api`, `key` and `all`."),
                "What was purged, and where that is in force.",
            )
        }],
    },
];

fn methods(path: &str) -> Option<&'static str> {
    match path {
        "/cache" => Some("GET, HEAD"),
        "/cache/purge" => Some("POST"),
        _ => None,
    }
}

fn role(method: &Method, _path: &str) -> Role {
    if *method == Method::POST { Role::Operate } else { Role::Read }
}

async fn serve(call: Call<'_>) -> Result<Answer, Answer> {
    match call.path {
        "/cache/purge" => purge(&call).await,
        _ => Ok(stats(&call)),
    }
}

fn stats(call: &Call<'_>) -> Answer {
    let gateway = call.gateway;
    let cache = &gateway.cache;
    let generation = gateway.live.current();
    let now = clock::unix_ms();
    let with_cache = generation.value.catalog.apis.iter().filter_map(|api| Some((api, api.cache.as_ref()?)));
    let apis = with_cache.map(|(api, rules)| {
        let counters = rules.counters.get_or_init(|| gateway.metrics.cache.of_api(&api.name));
        let outcomes: Map<String, Value> =
            counters.outcomes().map(|(outcome, count)| (outcome.to_owned(), count.into())).collect();
        json!({
            "name": &*api.name,
            "outcomes": outcomes,
            "stored": counters.stored.get(),
            "refused": counters.refused.get(),
            "too_large": counters.too_large.get(),
        })
    });
    let (refreshes, refreshes_dropped) = cache.refreshes();
    Answer::json(&json!({
        "node": gateway.node,
        "bytes": cache.memory.bytes(),
        "bytes_max": cache.memory.most(),
        "keys": cache.memory.keys(),
        "evicted": cache.memory.evicted(),
        "asking": cache.flights.count(),
        "refreshes": refreshes,
        "refreshes_dropped": refreshes_dropped,
        "purges": cache.purges.now().node,
        "fleet": cache.fleet.as_ref().map(|fleet| json!({
            "heard_ms_ago": cache.purges.heard().map(|heard| now.saturating_sub(heard)),
            "counts": fleet.counters.all().map(|(name, count)| (name.to_owned(), count.into())).collect::<Map<_, _>>(),
        })),
        "apis": apis.collect::<Vec<_>>(),
    }))
}

async fn purge(call: &Call<'_>) -> Result<Answer, Answer> {
    let purge = wanted(read_json(call.body)?)?;
    let (kind, name) = purge.words();
    let reach = call
        .gateway
        .cache
        .purge(&purge)
        .await
        .map_err(|error| Answer::problem_about(&problem::ADMIN_UNAVAILABLE, Some(&error.to_string())))?;
    let target = if name.is_empty() { kind.to_owned() } else { format!("{kind}:{name}") };
    let (said, warning, status) = match reach {
        Reach::Fleet => ("fleet", None, 200),
        Reach::Alone => ("node", None, 200),
        Reach::NodeOnly(why) => {
            let warning = format!("in force on this node only; the others follow when the store is back ({why})");
            ("this_node_only", Some(warning), 202)
        }
    };
    call.audit("cache.purge", target, Value::Null, json!({ "purged": kind, "name": name, "reach": said }))?;
    let answer = json!({ "purged": kind, "name": name, "reach": said, "warning": warning });
    Ok(Answer::json_with(status, &answer))
}

/// What is to be purged.
fn wanted(body: PurgeBody) -> Result<Purge, Answer> {
    let is_key =
        |key: &str| key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'));
    match body {
        PurgeBody { tag: Some(tag), api: None, key: None, all: false } if is_tag(&tag) => Ok(Purge::Tag(tag)),
        PurgeBody { tag: None, api: Some(api), key: None, all: false } if is_name(&api) => Ok(Purge::Api(api)),
        PurgeBody { tag: None, api: None, key: Some(key), all: false } if is_key(&key) => Ok(Purge::Key(key)),
        PurgeBody { tag: None, api: None, key: None, all: true } => Ok(Purge::All),
        PurgeBody { tag: Some(_), api: None, key: None, all: false } => {
            Err(invalid("\"tag\" has 1 to 128 visible ASCII characters and no comma"))
        }
        PurgeBody { tag: None, api: Some(_), key: None, all: false } => Err(invalid("\"api\" is the name of an API")),
        PurgeBody { tag: None, api: None, key: Some(_), all: false } => {
            Err(invalid("\"key\" has 64 hexadecimal digits, as Cache-Status shows them"))
        }
        _ => Err(invalid("name one of \"tag\", \"api\", \"key\" and \"all\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_thing_is_purged_at_a_time() {
        let read = |text: &str| wanted(serde_json::from_str(text).unwrap());
        let key = "0f".repeat(32);
        assert_eq!(read("{\"tag\": \"order:7\"}").unwrap(), Purge::Tag("order:7".to_owned()));
        assert_eq!(read("{\"api\": \"orders\"}").unwrap(), Purge::Api("orders".to_owned()));
        assert_eq!(read(&format!("{{\"key\": \"{key}\"}}")).unwrap(), Purge::Key(key.clone()));
        assert_eq!(read("{\"all\": true}").unwrap(), Purge::All);
        for wrong in [
            "{}",
            "{\"all\": false}",
            "{\"tag\": \"\"}",
            "{\"tag\": \"a b\"}",
            "{\"api\": \"a/b\"}",
            "{\"key\": \"0F\"}",
            "{\"tag\": \"a\", \"all\": true}",
        ] {
            assert_eq!(read(wrong).unwrap_err().status, 400, "{wrong}");
        }
    }
}
