//! Everything compiled from one generation of `business.toml` and `catalog.toml`. `run`, `check`, the watcher and the tests all
//! call [`Policy::load`].

use std::path::Path;
use std::time::Duration;

use gatehouse_shared::balance::{ZONE_FORM, is_zone};
use gatehouse_shared::config::{ConfigError, ConfigErrors, Document, Sources, parse};
use gatehouse_shared::hop::HopKeys;
use gatehouse_shared::live::{Load, Loaded};
use gatehouse_shared::telemetry::access_log;

use crate::admit::app;
use crate::admit::app::jwt::Issuers;
use crate::admit::app::of_api::Replay;
use crate::admit::validation::document::{self, Documents};
use crate::admit::{flow_rule, quota, route, validation};
use crate::config::{self, Config, Drain, Process};
use crate::dispatch::aggregate;
use crate::dispatch::cache::settings as cache;
use crate::dispatch::discovery;
use crate::dispatch::discovery::source::Source;
use crate::dispatch::service::Surroundings;
use crate::dispatch::split::uids::UidFiles;
use crate::respond::shaping;
use crate::store::apps::{self, Known};
use crate::store::catalog::{Catalog, CatalogConfig};
use crate::store::file;
use crate::store::revision::{self, Written};
use crate::{accept, dispatch};

/// One generation.
#[derive(Debug)]
pub struct Policy {
    /// What bounds connections and bodies.
    pub accept: accept::Bounds,
    /// How a hop is verified.
    pub hop: HopKeys,
    /// Services and APIs.
    pub catalog: Catalog,
    /// The catalog as it was written, and where it came from.
    pub written: Written,
    /// What bounds the search for APIs.
    pub routing: route::search::Config,
    /// What counts for credentials.
    pub credentials: app::Rules,
    /// Who issues tokens.
    pub issuers: app::jwt::Issuers,
    /// What bounds expressions and scripts.
    pub flow: flow_rule::Bounds,
    /// Applications and cache rules of the catalog.
    pub apps: Known,
    /// How other applications are kept: what a running process keeps from its start.
    pub app_settings: apps::Settings,
    /// The zone of this node, which a running process keeps from its start.
    pub zone: Option<String>,
    /// What this node keeps of answers of services.
    pub cache: cache::Settings,
    /// Between two pieces of an answer's body.
    pub body_idle: Duration,
    /// Where endpoints are looked for that the catalog does not list.
    pub discovery: discovery::Config,
    /// The package whose applications may ask for the timings of their calls.
    pub timings_package: Option<String>,
    /// What all limits on calls have in common.
    pub quota: quota::Settings,
    /// What all shaping of answers has in common.
    pub shape: shaping::Settings,
    /// How the fleet's store is reached: what a running process keeps from its start.
    pub store: gatehouse_store::Settings,
    store_written: gatehouse_store::Config,
    /// How the process stops.
    pub drain: Drain,
    /// As written; what differs from the running process needs a restart.
    pub process: Process,
    /// Where the access log goes.
    pub access_log: access_log::Config,
}

impl Load for Policy {
    fn load(dir: &Path, before: Option<&Self>) -> Result<Loaded<Self>, ConfigErrors> {
        let known = before.map(|before| &before.written);
        let loaded = Self::load_from(dir, before, |config, sources| revision::read(config, known, sources))?;
        warn_of_changes_that_need_a_restart(before, &loaded.value);
        Ok(loaded)
    }
}

impl Policy {
    /// The same with a catalog from elsewhere, such as one that is to be published.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration or the catalog.
    pub fn load_from(
        dir: &Path,
        before: Option<&Self>,
        read: impl FnOnce(Option<&Document<Config>>, &mut Sources) -> Result<revision::Read, ConfigErrors>,
    ) -> Result<Loaded<Self>, ConfigErrors> {
        let mut sources = Sources::new(dir);
        let mut errors = ConfigErrors::new();
        let written = sources.read(config::FILE).and_then(|file| parse::<Config>(&file));
        let written = errors.collect(written);
        let (catalog, as_written) = errors.collect(read(written.as_ref(), &mut sources)).unzip();

        // A catalog is checked even when business.toml is wrong, so that one `check` shows everything.
        let defaults =
            written.as_ref().map_or_else(dispatch::Config::default, |written| written.value.upstream.clone());
        let zone_as_written = || written.as_ref().and_then(|written| written.value.process.zone.clone());
        let zone = before.map_or_else(zone_as_written, |before| before.zone.clone());
        let issuers = catalog.as_ref().and_then(|catalog| {
            let before = before.map(|before| &before.issuers);
            errors.collect(Issuers::compile(&catalog.value.issuer, &catalog.positions, &mut sources, before))
        });
        let flow = written.as_ref().map(|written| flow_rule::Bounds::compile(&written.value.flow, &written.positions));
        let flow = flow.and_then(|flow| errors.collect(flow)).unwrap_or_default();
        let aggregate = written
            .as_ref()
            .map(|written| aggregate::config::Bounds::compile(&written.value.aggregate, &written.positions));
        let aggregate = aggregate.and_then(|aggregate| errors.collect(aggregate)).unwrap_or_default();
        let documents =
            errors.collect(read_documents(written.as_ref(), catalog.as_ref(), &mut sources)).unwrap_or_default();
        let uids = catalog.as_ref().and_then(|catalog| {
            let before = before.map(|before| &before.catalog.splits.files);
            errors.collect(UidFiles::load(&catalog.value.split, &mut sources, before))
        });
        let uids = uids.unwrap_or_default();
        let surroundings = Surroundings {
            defaults: &defaults,
            zone: zone.as_deref(),
            flow: &flow,
            documents: &documents,
            uids: &uids,
            aggregate: &aggregate,
        };
        let apps = catalog
            .as_ref()
            .and_then(|catalog| errors.collect(Known::compile(&catalog.value, &mut sources, &catalog.positions)));
        let catalog = catalog.and_then(|catalog| {
            errors.collect(Catalog::compile(&catalog, surroundings, before.map(|before| &before.catalog)))
        });
        let of_catalog = catalog.zip(as_written).zip(apps).zip(issuers);
        let of_catalog =
            of_catalog.map(|(((catalog, written), apps), issuers)| OfCatalog { catalog, written, apps, issuers });
        let compiled =
            written.and_then(|written| errors.collect(compile(&written, of_catalog, flow, zone, &mut sources)));
        match compiled {
            Some(policy) if errors.is_empty() => Ok(Loaded::new(policy, sources)),
            _ => Err(errors),
        }
    }
}

/// The schemas and OpenAPI documents of a catalog.
fn read_documents(
    written: Option<&Document<Config>>,
    catalog: Option<&Document<CatalogConfig>>,
    sources: &mut Sources,
) -> Result<Documents, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let bounds =
        written.map(|written| validation::config::Bounds::compile(&written.value.validation, &written.positions));
    let bounds = bounds.and_then(|bounds| errors.collect(bounds)).unwrap_or_default();
    let is_in_redis = written.is_some_and(|written| !written.value.catalog.signing_keys.is_empty());
    let from = if is_in_redis { document::From::Catalog } else { document::From::Files };
    let read = |catalog: &Document<CatalogConfig>| {
        Documents::compile(&catalog.value, &catalog.positions, sources, from, bounds)
    };
    let documents = catalog.map(read).and_then(|documents| errors.collect(documents)).unwrap_or_default();
    errors.into_result(documents)
}

/// What is compiled from the catalog.
struct OfCatalog {
    catalog: Catalog,
    written: Written,
    apps: Known,
    issuers: Issuers,
}

fn compile(
    written: &Document<Config>,
    of_catalog: Option<OfCatalog>,
    flow: flow_rule::Bounds,
    zone: Option<String>,
    sources: &mut Sources,
) -> Result<Policy, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let config = &written.value;
    let accept = errors.collect(accept::Bounds::compile(&config.accept, &written.positions));
    let hop = errors.collect(HopKeys::compile(&config.hop.keys, "hop.keys", &written.positions, sources));
    errors.collect(check_process(written));
    let credentials = errors.collect(app::Rules::compile(&config.credentials, &written.positions));
    let store = errors.collect(config.store.compile("store", sources, &written.positions));
    let quota = errors.collect(quota::Settings::compile(&config.quota, &config.hop.keys, &written.positions, sources));
    let shape = errors.collect(shaping::Settings::compile(&config.shape, &written.positions, sources));
    let cache = errors.collect(cache::Settings::compile(&config.cache, &written.positions));
    let app_settings = errors.collect(apps::Settings::compile(&config.apps, sources, &written.positions));
    errors.collect(config.upstream.check(&written.positions));
    errors.collect(config.routing.check(&written.positions));
    errors.into_result(())?;
    // What is missing here has its errors elsewhere.
    let (Some(accept), Some(hop), Some(of_catalog), Some(store)) = (accept, hop, of_catalog, store) else {
        return Err(ConfigErrors::new());
    };
    let (Some(credentials), Some(app_settings), Some(quota), Some(cache)) = (credentials, app_settings, quota, cache)
    else {
        return Err(ConfigErrors::new());
    };
    let Some(shape) = shape else { return Err(ConfigErrors::new()) };
    let OfCatalog { catalog, written, apps, issuers } = of_catalog;
    check_replay(&catalog, &store)?;
    shape.check(&catalog)?;
    cache::check(&catalog, &cache, &store)?;
    Ok(Policy {
        accept,
        hop,
        catalog,
        written,
        routing: config.routing.clone(),
        credentials,
        issuers,
        flow,
        apps,
        app_settings,
        zone,
        quota,
        shape,
        cache,
        body_idle: config.upstream.body_idle_timeout.get(),
        discovery: config.upstream.discovery.clone(),
        timings_package: config.upstream.timings_package.clone(),
        store,
        store_written: config.store.clone(),
        drain: config.drain,
        process: config.process.clone(),
        access_log: config.access_log.below(&config.process.state_dir),
    })
}

/// What the fleet remembers together needs a store that it shares.
fn check_replay(catalog: &Catalog, store: &gatehouse_store::Settings) -> Result<(), ConfigErrors> {
    let mut errors = ConfigErrors::new();
    if matches!(store, gatehouse_store::Settings::File) {
        let registered = |source: &Source| matches!(source, Source::Registry(_));
        for service in catalog.services.values() {
            if service.discovered.as_ref().is_some_and(|(source, _)| registered(source)) {
                let message =
                    format!("the service {:?} has a registry, and there is no store that holds one", service.name);
                let remedy = "list its endpoints, or write [store] with kind = \"redis\" into business.toml";
                errors.push(ConfigError::about_file(file::CATALOG, message).with_remedy(remedy));
            }
        }
        for api in catalog.apis.iter().filter(|api| api.credentials.replay == Some(Replay::Fleet)) {
            let message =
                format!("the API {:?} has replay = \"fleet\", and there is no store that the fleet shares", api.name);
            let remedy = "write replay = \"node\", or [store] with kind = \"redis\" into business.toml";
            errors.push(ConfigError::about_file(file::CATALOG, message).with_remedy(remedy));
        }
    }
    errors.into_result(())
}

fn check_process(written: &Document<Config>) -> Result<(), ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let process = &written.value.process;
    let mut refuse = |key: &str, message: &str, remedy: &str| {
        errors.push(written.positions.error(&format!("process.{key}"), message, Some(remedy.to_owned())));
    };
    if process.zone.as_deref().is_some_and(|zone| !is_zone(zone)) {
        refuse("zone", "not a zone", ZONE_FORM);
    }
    if process.threads == Some(0) {
        refuse("threads", "no thread, so nothing runs", "write at least 1, or leave it out");
    }
    if process.max_connections == 0 {
        refuse("max_connections", "no connection, so no request", "write at least 1");
    }
    if process.listen == process.admin && process.listen.port() != 0 {
        refuse("admin", "the address of \"listen\"", "give the admin listener a port of its own");
    }
    errors.into_result(())
}

fn warn_of_changes_that_need_a_restart(before: Option<&Policy>, after: &Policy) {
    if before.is_some_and(|before| before.process != after.process) {
        tracing::warn!("[process] has changed; that needs a restart");
    }
    if before.is_some_and(|before| before.store_written != after.store_written) {
        tracing::warn!("[store] has changed; that needs a restart");
    }
    if before.is_some_and(|before| !before.app_settings.is_written_like(&after.app_settings)) {
        tracing::warn!("[apps] has changed; that needs a restart");
    }
}
