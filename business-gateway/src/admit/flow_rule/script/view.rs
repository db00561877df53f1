//! The inputs of a script and its `gate`, as values of the language.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use gatehouse_shared::cidr::Network;
use http::HeaderMap;
use jiff::tz::TimeZone;
use rhai::{Array, Dynamic, Engine, EvalAltResult, Map, NativeCallContext};

use super::super::effect::{Denial, EffectError, Effects};
use super::super::input::{self, Counters, Field, Input};
use super::{Names, words};

type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// What a script asked for, shared with its `gate`.
#[derive(Clone, Default)]
pub(super) struct Collected {
    // Taken for the moment of one effect, by one thread: a script runs on the thread of its request.
    effects: Arc<Mutex<Effects>>,
}

impl Collected {
    /// Everything asked for.
    pub(super) fn take(&self) -> Effects {
        std::mem::take(&mut *self.effects.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, change: impl FnOnce(&mut Effects) -> Result<(), EffectError>) -> Outcome<()> {
        let mut effects = self.effects.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut effects).map_err(|error| error.to_string().into())
    }

    fn deny(&self, context: &NativeCallContext<'_>, denial: Result<Denial, EffectError>) -> Outcome<()> {
        let denial = denial.map_err(|error| Box::<EvalAltResult>::from(error.to_string()))?;
        self.add(|effects| {
            effects.denial = Some(denial);
            Ok(())
        })?;
        Err(EvalAltResult::ErrorTerminated(Dynamic::UNIT, context.call_position()).into())
    }
}

#[derive(Clone)]
struct Client(IpAddr);

#[derive(Clone)]
struct Headers(Arc<HeaderMap>);

#[derive(Clone)]
struct Query(Arc<str>);

#[derive(Clone)]
struct QueryAll(Arc<str>);

#[derive(Clone)]
struct Used(Option<Arc<dyn Counters>>);

/// The scope that scripts are compiled against: every name, without values, so that no value is folded into a script.
pub(super) fn names() -> Names {
    let mut scope = Names::new();
    scope.push_dynamic("gate", Dynamic::UNIT);
    for root in roots() {
        scope.push_dynamic(root, Dynamic::UNIT);
    }
    scope
}

/// Each input once, by what comes before the first dot.
fn roots() -> impl Iterator<Item = &'static str> {
    let mut last = "";
    Field::ALL.iter().filter_map(move |field| {
        let root = words::root_of(*field);
        if root == last {
            return None;
        }
        last = root;
        Some(root)
    })
}

/// The scope of one run, with the inputs that the script mentions.
pub(super) fn scope(input: &Input<'_>, zone: &TimeZone, mentions: impl Fn(Field) -> bool) -> (Names, Collected) {
    let collected = Collected::default();
    let mut scope = Names::new();
    scope.push_dynamic("gate", Dynamic::from(collected.clone()));
    for root in roots() {
        let of_root = Field::ALL.iter().copied().filter(|field| words::root_of(*field) == root);
        let is_mentioned = of_root.clone().any(&mentions);
        let value = if is_mentioned { value(root, of_root, input, zone) } else { Dynamic::UNIT };
        scope.push_dynamic(root, value);
    }
    (scope, collected)
}

fn value(root: &str, fields: impl Iterator<Item = Field>, input: &Input<'_>, zone: &TimeZone) -> Dynamic {
    if root == "client" {
        return Dynamic::from(Client(input.client));
    }
    let mut table = Map::new();
    for field in fields {
        let value = match field {
            Field::Headers => Dynamic::from(Headers(Arc::new(input.headers.clone()))),
            Field::ResponseHeaders => {
                let headers = input.header_map(field).cloned().unwrap_or_default();
                Dynamic::from(Headers(Arc::new(headers)))
            }
            Field::Query => Dynamic::from(Query(input.query.into())),
            Field::QueryAll => Dynamic::from(QueryAll(input.query.into())),
            Field::Counters => Dynamic::from(Used(input.counters.map(Counters::kept))),
            Field::Scopes => {
                Dynamic::from(input.scopes.iter().map(|scope| Dynamic::from(scope.to_string())).collect::<Array>())
            }
            field if field.kind() == input::FieldKind::Number => Dynamic::from(input.number(field, zone)),
            field => Dynamic::from(input.text(field).into_owned()),
        };
        match field.name().split_once('.') {
            Some((_, member)) => table.insert(member.into(), value),
            None => return value,
        };
    }
    Dynamic::from(table)
}

/// Teaches an engine the inputs and effects.
pub(super) fn register(engine: &mut Engine) {
    register_inputs(engine);
    register_effects(engine);
}

fn register_inputs(engine: &mut Engine) {
    engine
        .register_type_with_name::<Client>("client")
        .register_get("address", |client: &mut Client| client.0.to_canonical().to_string())
        .register_fn("within", |client: &mut Client, network: &str| -> Outcome<bool> {
            let network: Network =
                network.parse().map_err(|error: gatehouse_shared::cidr::NetworkError| error.to_string())?;
            Ok(network.contains(client.0))
        });
    engine
        .register_type_with_name::<Headers>("headers")
        .register_indexer_get(|headers: &mut Headers, name: &str| {
            input::header(&headers.0, name).unwrap_or_default().into_owned()
        })
        .register_fn("contains", |headers: &mut Headers, name: &str| headers.0.contains_key(name));
    engine
        .register_type_with_name::<Query>("query")
        .register_indexer_get(|query: &mut Query, name: &str| {
            let found = input::parameters(&query.0).find(|(known, _)| known == name);
            found.map(|(_, value)| value.into_owned()).unwrap_or_default()
        })
        .register_fn("contains", |query: &mut Query, name: &str| {
            input::parameters(&query.0).any(|(known, _)| known == name)
        });
    engine
        .register_type_with_name::<QueryAll>("query_all")
        .register_indexer_get(|query: &mut QueryAll, name: &str| {
            let found = input::parameters(&query.0).filter(|(known, _)| known == name);
            found.map(|(_, value)| Dynamic::from(value.into_owned())).collect::<Array>()
        })
        .register_fn("contains", |query: &mut QueryAll, name: &str| {
            input::parameters(&query.0).any(|(known, _)| known == name)
        });
    engine.register_type_with_name::<Used>("counters").register_indexer_get(|used: &mut Used, limit: &str| {
        let used = used.0.as_ref().and_then(|counters| counters.used(limit)).unwrap_or(0);
        i64::try_from(used).unwrap_or(i64::MAX)
    });
}

fn register_effects(engine: &mut Engine) {
    type Gate = Collected;
    type Context<'a> = NativeCallContext<'a>;
    engine
        .register_type_with_name::<Gate>("gate")
        .register_fn("deny", |context: Context<'_>, gate: &mut Gate, code: &str| {
            gate.deny(&context, Denial::new(None, Some(code), None))
        })
        .register_fn("deny", |context: Context<'_>, gate: &mut Gate, code: &str, detail: &str| {
            gate.deny(&context, Denial::new(None, Some(code), Some(detail)))
        })
        .register_fn("deny", |context: Context<'_>, gate: &mut Gate, status: i64, code: &str, detail: &str| {
            gate.deny(&context, Denial::new(Some(status), Some(code), Some(detail)))
        })
        .register_fn("charge", |gate: &mut Gate, limit: &str| gate.add(|effects| effects.charge(limit, 1)))
        .register_fn("charge", |gate: &mut Gate, limit: &str, cost: i64| {
            gate.add(|effects| effects.charge(limit, cost))
        })
        .register_fn("set_header", |gate: &mut Gate, name: &str, value: &str| {
            gate.add(|effects| effects.set_header(name, value))
        })
        .register_fn("remove_header", |gate: &mut Gate, name: &str| gate.add(|effects| effects.remove_header(name)))
        .register_fn("set_query", |gate: &mut Gate, name: &str, value: &str| {
            gate.add(|effects| effects.set_query(name, Some(value)))
        })
        .register_fn("remove_query", |gate: &mut Gate, name: &str| gate.add(|effects| effects.set_query(name, None)))
        .register_fn("tag", |gate: &mut Gate, name: &str, value: &str| gate.add(|effects| effects.tag(name, value)))
        .register_fn("set_status", |gate: &mut Gate, status: i64| gate.add(|effects| effects.set_status(status)));
}
