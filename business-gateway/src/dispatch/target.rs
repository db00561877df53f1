//! Who answers the calls of an API: exactly one of the things that `[[api]]` can name.

use std::collections::BTreeMap;
use std::sync::Arc;

use gatehouse_shared::config::{ConfigErrors, nearest};

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
    ) -> Result<Option<Self>, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let named = [written.service.is_some(), written.batch.is_some(), written.answer.is_some()];
        let target = match (&written.service, &written.batch, &written.answer) {
            (Some(name), None, None) => find(name, at, services, all, &mut errors).map(Self::Service),
            (None, Some(batch), None) => {
                let batch = errors.collect(Batch::compile(batch, written, at));
                batch.map(Arc::new).map(Self::Batch)
            }
            (None, None, Some(answer)) => {
                errors.collect(Fixed::compile(answer, "answer", at)).map(|fixed| Self::Static(Arc::new(fixed)))
            }
            (Some(_), Some(_), None) => {
                errors.push(at.error("batch", "a service answers its calls already", "remove service or batch"));
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

    /// The service that answers, where one does.
    #[must_use]
    pub fn service(&self) -> Option<&Arc<Service>> {
        match self {
            Self::Service(service) => Some(service),
            Self::Static(_) => None,
            Self::Batch(_) => None,
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
