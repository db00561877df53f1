//! Who answers the calls of an API: exactly one of the things that `[[api]]` can name.

use std::collections::BTreeMap;
use std::sync::Arc;

use gatehouse_shared::config::{ConfigErrors, nearest};

use super::aggregate::{self, Aggregate, Aggregates};
use super::batch::Batch;
use super::service::{self, Service};
use crate::admit::api;
use crate::respond::fixed::Fixed;
use crate::store::catalog::At;

/// Who answers.
#[derive(Debug, Clone)]
pub enum Target {
    /// A service.
    Service(Arc<Service>),
    /// Several APIs, whose answers are put together.
    Aggregate(Arc<Aggregate>),
    /// The catalog itself.
    Static(Arc<Fixed>),
    /// Other APIs: its calls are batches of calls.
    Batch(Arc<Batch>),
}

impl Target {
    /// Who answers the calls of an API. `services` are those that could be compiled, `written` are all.
    ///
    /// # Errors
    /// When nobody does, or several would.
    pub fn compile(
        written: &api::Config,
        at: &At<'_>,
        services: &BTreeMap<Arc<str>, Arc<Service>>,
        all: &[service::Config],
        (aggregates, all_aggregates): (&Aggregates, &[aggregate::config::Config]),
    ) -> Result<Option<Self>, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let named =
            [written.service.is_some(), written.batch.is_some(), written.answer.is_some(), written.aggregate.is_some()];
        let target = match (&written.service, &written.batch, &written.answer, &written.aggregate) {
            (Some(name), None, None, None) => find(name, at, services, all, &mut errors).map(Self::Service),
            (None, Some(batch), None, None) => {
                let batch = errors.collect(Batch::compile(batch, written, at));
                batch.map(Arc::new).map(Self::Batch)
            }
            (None, None, Some(answer), None) => {
                errors.collect(Fixed::compile(answer, "answer", at)).map(|fixed| Self::Static(Arc::new(fixed)))
            }
            (None, None, None, Some(name)) => {
                aggregates.of_api(name, written, at, all_aggregates, &mut errors).map(Self::Aggregate)
            }
            (Some(_), Some(_), None, None) => {
                errors.push(at.error("batch", "a service answers its calls already", "remove service or batch"));
                None
            }
            (_, _, _, Some(_)) => {
                let remedy = "leave it, or service, batch or answer, out";
                errors.push(at.error("aggregate", "something else answers its calls already", remedy));
                None
            }
            _ if named.contains(&true) => {
                errors.push(at.error("answer", "a service and an answer", "leave one of the two out"));
                None
            }
            _ => {
                errors.push(at.error("name", "nobody answers its calls", "add service = \"…\" or answer = { … }"));
                None
            }
        };
        errors.into_result(target)
    }

    /// The aggregate that answers, where one does.
    #[must_use]
    pub fn aggregate(&self) -> Option<&Arc<Aggregate>> {
        match self {
            Self::Aggregate(aggregate) => Some(aggregate),
            Self::Service(_) | Self::Batch(_) | Self::Static(_) => None,
        }
    }

    /// The service that answers, where one does.
    #[must_use]
    pub fn service(&self) -> Option<&Arc<Service>> {
        match self {
            Self::Service(service) => Some(service),
            Self::Batch(_) | Self::Aggregate(_) | Self::Static(_) => None,
        }
    }
}

/// The service of that name. One that is declared but wrong has its own errors.
pub fn find(
    name: &str,
    at: &At<'_>,
    services: &BTreeMap<Arc<str>, Arc<Service>>,
    all: &[service::Config],
    errors: &mut ConfigErrors,
) -> Option<Arc<Service>> {
    let service = services.get(name).cloned();
    if service.is_none() && !all.iter().any(|service| service.name == *name) {
        let remedy = match nearest(name, all.iter().map(|service| service.name.as_str())) {
            Some(name) => format!("did you mean {name:?}?"),
            None => format!("add [[service]] with name = {name:?}"),
        };
        errors.push(at.error("service", format!("no service {name:?}"), remedy));
    }
    service
}
