//! `/registry`: the endpoints that registered themselves in the store.
//!
//! | call | role | |
//! |---|---|---|
//! | `GET /registry` | `read` | what is registered under every name that the catalog looks for, or under `name` |
//! | `POST /registry/register` | `operate` | registers an endpoint, or lets it last longer; see [`RegisterBody`] |
//! | `POST /registry/remove` | `operate` | takes one out: `{"name": NAME, "address": ADDRESS}` |
//!
//! Services that send heartbeats write to the store themselves (`docs/RESILIENCE.md`); this is for people and their tools.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use gatehouse_shared::admin::{Answer, Role, read_json};
use gatehouse_shared::balance::EndpointSpec;
use gatehouse_shared::config::HumanDuration;
use gatehouse_shared::problem;
use gatehouse_store::StoreError;
use gatehouse_store::registry::{LONGEST, Registered, Registry, member, parse};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::openapi::{Content, Operation, Path};
use super::{Call, Resource, invalid};
use crate::dispatch::discovery::source::Source;
use crate::store::catalog::is_name;

/// This resource.
pub(super) const RESOURCE: Resource = Resource { methods, role, serve: |call| Box::pin(serve(call)) };

/// The body of `POST /registry/register`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterBody {
    /// The name it registers under.
    name: String,
    /// Where it is.
    address: String,
    /// Its weight.
    weight: Option<u32>,
    /// Its zone.
    zone: Option<String>,
    /// How long that lasts without another heartbeat.
    ttl: HumanDuration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoveBody {
    name: String,
    address: SocketAddr,
}

/// What is served here.
pub(super) const PATHS: &[Path] = &[
    Path {
        path: "/registry",
        allow: "GET, HEAD",
        operations: &[Operation {
            query: &[("name", "One name; all that the catalog looks for unless it says otherwise.")],
            ..Operation::get("Endpoints that registered themselves", "`names`, each with its `endpoints`.")
        }],
    },
    Path {
        path: "/registry/register",
        allow: "POST",
        operations: &[Operation::change(
            "POST",
            "Registers an endpoint, or lets it last longer",
            Content::Json("`name`, `address`, `ttl`, and perhaps `weight` and `zone`."),
            "What is registered under the name now.",
        )],
    },
    Path {
        path: "/registry/remove",
        allow: "POST",
        operations: &[Operation::change(
            "POST",
            "Takes an endpoint out",
            Content::Json("`name` and `address`."),
            "What is registered under the name now.",
        )],
    },
];

fn methods(path: &str) -> Option<&'static str> {
    match path {
        "/registry" => Some("GET, HEAD"),
        "/registry/register" | "/registry/remove" => Some("POST"),
        _ => None,
    }
}

fn role(method: &Method, _path: &str) -> Role {
    if *method == Method::POST { Role::Operate } else { Role::Read }
}

async fn serve(call: Call<'_>) -> Result<Answer, Answer> {
    let Some(store) = &call.gateway.store else {
        return Err(invalid("there is no registry without a store; write [store] with kind = \"redis\""));
    };
    let registry = Registry::new(Arc::clone(store));
    match call.path {
        "/registry/register" => register(&call, &registry).await,
        "/registry/remove" => remove(&call, &registry).await,
        _ => list(&call, &registry).await,
    }
}

async fn list(call: &Call<'_>, registry: &Registry) -> Result<Answer, Answer> {
    let query = call.query(&["name"])?;
    let names: BTreeSet<String> = match query.get("name") {
        Some(name) => BTreeSet::from([checked(name)?.to_owned()]),
        None => looked_for(call),
    };
    let mut shown = Vec::with_capacity(names.len());
    for name in &names {
        shown.push(state(call, registry, name).await?);
    }
    Ok(Answer::json(&json!({ "names": shown })))
}

async fn register(call: &Call<'_>, registry: &Registry) -> Result<Answer, Answer> {
    let RegisterBody { name, address, weight, zone, ttl } = read_json(call.body)?;
    let name = checked(&name)?;
    let mut written = address;
    if let Some(weight) = weight {
        written.push_str(&format!(" weight={weight}"));
    }
    if let Some(zone) = zone {
        written.push_str(&format!(" zone={zone}"));
    }
    let form = "an endpoint is an address with a port, a weight of 1 to 1000 and a zone of letters, digits, \".\", \"_\" and \"-\"";
    let endpoint = parse(&written).ok_or_else(|| invalid(form))?;
    if ttl.get().is_zero() || ttl.get() > LONGEST {
        return Err(invalid("\"ttl\" is 1ms to 24h"));
    }
    let was_there = registry.register(name, &endpoint, ttl.get()).await.map_err(|error| unavailable(&error))?;
    let before = if was_there { json!({ "address": endpoint.address }) } else { Value::Null };
    call.audit("registry.register", name, before, json!({ "endpoint": member(&endpoint), "ttl": ttl.to_string() }))?;
    Ok(Answer::json(&state(call, registry, name).await?))
}

async fn remove(call: &Call<'_>, registry: &Registry) -> Result<Answer, Answer> {
    let RemoveBody { name, address } = read_json(call.body)?;
    let name = checked(&name)?;
    if !registry.remove(name, address).await.map_err(|error| unavailable(&error))? {
        return Err(Answer::problem_about(&problem::ADMIN_OBJECT_MISSING, Some("the endpoint is not registered")));
    }
    call.audit("registry.remove", name, json!({ "address": address }), Value::Null)?;
    Ok(Answer::json(&state(call, registry, name).await?))
}

/// The names that services of the catalog look for.
fn looked_for(call: &Call<'_>) -> BTreeSet<String> {
    let generation = call.gateway.live.current();
    let services = generation.value.catalog.services.values();
    let names = services.filter_map(|service| match &service.discovered {
        Some((Source::Registry(registry), _)) => Some(registry.name.to_string()),
        _ => None,
    });
    names.collect()
}

async fn state(call: &Call<'_>, registry: &Registry, name: &str) -> Result<Value, Answer> {
    let most = call.gateway.live.current().value.discovery.endpoints_max;
    let Registered { endpoints, malformed, is_cut } =
        registry.read(name, most).await.map_err(|error| unavailable(&error))?;
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|registration| {
            let EndpointSpec { address, weight, zone } = &registration.endpoint;
            let left = u64::try_from(registration.left.as_millis()).unwrap_or(u64::MAX);
            json!({ "address": address, "weight": weight, "zone": zone, "left_ms": left })
        })
        .collect();
    Ok(json!({ "name": name, "endpoints": endpoints, "malformed": malformed, "cut": is_cut }))
}

fn checked(name: &str) -> Result<&str, Answer> {
    if is_name(name) { Ok(name) } else { Err(invalid("a name has 1 to 64 letters, digits, \".\", \"_\" and \"-\"")) }
}

fn unavailable(error: &StoreError) -> Answer {
    Answer::problem_about(&problem::ADMIN_UNAVAILABLE, Some(&error.to_string()))
}
