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
    /// The catalog itself.
    Static(Arc<Fixed>),
    /// Several APIs, whose answers are put together.
    Aggregate(Arc<Aggregate>),
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
        let named = [
            ("service", written.service.is_some()),
            ("batch", written.batch.is_some()),
            ("aggregate", written.aggregate.is_some()),
            ("answer", written.answer.is_some()),
        ];
        let mut named = named.into_iter().filter_map(|(key, is_there)| is_there.then_some(key));
        if let (Some(first), Some(second)) = (named.next(), named.next()) {
            let message = format!("its calls are answered by \"{first}\" already");
            errors.push(at.error(second, message, format!("remove {first} or {second}")));
            return errors.into_result(None);
        }
        let target = if let Some(name) = &written.service {
            find(name, at, services, all, &mut errors).map(Self::Service)
        } else if let Some(batch) = &written.batch {
            errors.collect(Batch::compile(batch, written, at)).map(|batch| Self::Batch(Arc::new(batch)))
        } else if let Some(name) = &written.aggregate {
            aggregates.of_api(name, written, at, all_aggregates, &mut errors).map(Self::Aggregate)
        } else if let Some(answer) = &written.answer {
            errors.collect(Fixed::compile(answer, "answer", at)).map(|fixed| Self::Static(Arc::new(fixed)))
        } else {
            let remedy = "add service = \"…\", batch = {}, aggregate = \"…\" or answer = { … }";
            errors.push(at.error("name", "nobody answers its calls", remedy));
            None
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
