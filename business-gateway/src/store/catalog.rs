//! Services and APIs: as written in `catalog.toml`, and as one cross-checked, immutable value.

pub mod objects;
pub mod difference;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use gatehouse_shared::config::{ConfigErrors, Document, HumanDuration, Positions};
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::admit::api::{self, Api, PathToService};
use crate::admit::app::jwt;
use crate::admit::app::of_api::Credentials;
use crate::admit::flow_rule::{self, Bounds, FlowRules};
use crate::admit::matcher::{Matcher, Place};
use crate::admit::path::PathTemplate;
use crate::admit::permission::{self, Packages};
use crate::admit::quota::{self, Limits};
use crate::admit::route::When;
use crate::admit::traffic_group::{GroupConfig, PoolConfig, TrafficGroups};
use crate::admit::validation::{self, Validation};
use crate::dispatch::aggregate::{self, Aggregates};
use crate::dispatch::cache::config as cache;
use crate::dispatch::mirror::{self, Mirror};
use crate::dispatch::of_api::Upstream;
use crate::dispatch::rewrite::Rewrite;
use crate::dispatch::service::{self, Service, Surroundings};
use crate::dispatch::split::{self, Splits};
use crate::dispatch::target::Target;
use crate::respond::compress::Compress;
use crate::respond::cors::Cors;
use crate::respond::fields::rule::{self, FieldPolicies};
use crate::respond::shaping::Shaping;

/// `catalog.toml` as written.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CatalogConfig {
    /// Who answers: one table each.
    #[serde(default)]
    pub service: Vec<service::Config>,
    /// What callers may call: one table each.
    #[serde(default)]
    pub api: Vec<api::Config>,
    /// Who issues tokens that callers may show: one table each.
    #[serde(default)]
    pub issuer: Vec<jwt::Config>,
    /// APIs that are granted to applications together: one table each.
    #[serde(default)]
    pub package: Vec<permission::Config>,
    /// What operators say of calls: one table each, judged in this order.
    #[serde(default)]
    pub flow_rule: Vec<flow_rule::Config>,
    /// How many calls somebody may make in a window: one table each.
    #[serde(default)]
    pub limit: Vec<quota::LimitConfig>,
    /// Other rates for applications that have a plan: one table each.
    #[serde(default)]
    pub plan: Vec<quota::PlanConfig>,
    /// Applications that stand in files: one table each.
    #[serde(default)]
    pub app: Vec<super::apps::declared::Config>,
    /// What a node keeps of applications it has read: one table each, the first that fits decides.
    #[serde(default)]
    pub cache_rule: Vec<super::apps::rule::Config>,
    /// What services can take: one table each.
    #[serde(default)]
    pub pool: Vec<PoolConfig>,
    /// Who goes first, the most important group first: one table each.
    #[serde(default)]
    pub group: Vec<GroupConfig>,
    /// Fields of JSON answers that several APIs hide: one table each.
    #[serde(default)]
    pub field_policy: Vec<rule::Config>,
    /// Answers that are made of those of several APIs: one table each.
    #[serde(default)]
    pub aggregate: Vec<aggregate::config::Config>,
    /// Schemas and OpenAPI documents that APIs refer to: one table each.
    #[serde(default)]
    pub schema: Vec<validation::document::Config>,
    /// Which of several services answers: one table each.
    #[serde(default)]
    pub split: Vec<split::Config>,
}

/// Every service and API of one generation.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Services by name.
    pub services: BTreeMap<Arc<str>, Arc<Service>>,
    /// APIs in the order written.
    pub apis: Vec<Arc<Api>>,
    /// Limits on calls.
    pub limits: Arc<Limits>,
    /// Groups and pools.
    pub traffic: TrafficGroups,
    /// From host, path and method to an API.
    pub matcher: Matcher<Arc<Api>>,
    /// What applications are granted.
    pub packages: Packages,
    /// What operators say of calls.
    pub flow_rules: FlowRules,
    /// What several APIs hide of their answers.
    pub field_policies: FieldPolicies,
    /// Several calls in the place of one.
    pub aggregates: Aggregates,
    /// Which of several services answers.
    pub splits: Splits,
    /// Copies of calls under way, by API.
    pub mirrored: mirror::UnderWay,
}

impl Catalog {
    /// Compiles a catalog; connections, health and counters of services that stay are carried over from `before`.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn compile(
        document: &Document<CatalogConfig>,
        surroundings: Surroundings<'_>,
        before: Option<&Self>,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut catalog = Self::default();
        let traffic =
            TrafficGroups::compile(&document.value, &document.positions, before.map(|before| &before.traffic));
        catalog.traffic = errors.collect(traffic).unwrap_or_default();
        for (index, written) in document.value.service.iter().enumerate() {
            let at = At { positions: &document.positions, path: format!("service[{index}]") };
            if catalog.services.contains_key(written.name.as_str()) {
                errors.push(at.error("name", format!("a second service {:?}", written.name), "give each its own name"));
                continue;
            }
            let before = before.and_then(|before| before.services.get(written.name.as_str()));
            let compiled = Service::compile(written, &at, surroundings, before.map(Arc::as_ref));
            if let Some(compiled) = errors.collect(compiled) {
                catalog.services.insert(written.name.as_str().into(), Arc::new(compiled));
            }
        }
        let of_splits = split::Surroundings {
            files: surroundings.uids,
            services: &catalog.services,
            written: &document.value.service,
        };
        let before_splits = before.map(|before| &before.splits);
        let splits = Splits::compile(&document.value.split, &document.positions, of_splits, before_splits);
        catalog.splits = errors.collect(splits).unwrap_or_default();
        catalog.mirrored = before.map(|before| before.mirrored.clone()).unwrap_or_default();
        let (limits, plans) = (&document.value.limit, &document.value.plan);
        let before_limits = before.map(|before| &*before.limits);
        let keys = |text: &str| flow_rule::key::compile(text, surroundings.flow);
        let limits = Limits::compile(limits, plans, &document.positions, &keys, before_limits);
        catalog.limits = errors.collect(limits).map(Arc::new).unwrap_or_default();
        errors.collect(catalog.add_permissions_and_rules(document, surroundings.flow, before));
        let before_aggregates = before.map(|before| &before.aggregates);
        let (bounds, positions) = (surroundings.aggregate, &document.positions);
        let aggregates = Aggregates::compile(&document.value, positions, bounds, before_aggregates);
        catalog.aggregates = errors.collect(aggregates).unwrap_or_default();
        for (index, written) in document.value.api.iter().enumerate() {
            let at = At { positions: &document.positions, path: format!("api[{index}]") };
            errors.collect(catalog.add_api(written, &at, document, surroundings));
        }
        let mirrored: BTreeSet<&Arc<str>> =
            catalog.apis.iter().filter(|api| api.mirror.is_some()).map(|api| &api.name).collect();
        catalog.mirrored.retain(|name, _| mirrored.contains(name));
        errors.into_result(catalog)
    }

    fn add_permissions_and_rules(
        &mut self,
        document: &Document<CatalogConfig>,
        bounds: &Bounds,
        before: Option<&Self>,
    ) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let Document { value, positions } = document;
        let apis: Vec<&str> = value.api.iter().map(|api| api.name.as_str()).collect();
        let before_packages = before.map(|before| &before.packages);
        let packages = Packages::compile(&value.package, positions, bounds, &apis, before_packages);
        self.packages = errors.collect(packages).unwrap_or_default();
        let limits: BTreeSet<String> = value.limit.iter().map(|limit| limit.name.clone()).collect();
        let before_rules = before.map(|before| &before.flow_rules);
        let rules = FlowRules::compile(&value.flow_rule, positions, bounds, &apis, limits, before_rules);
        self.flow_rules = errors.collect(rules).unwrap_or_default();
        let policies = FieldPolicies::compile(&value.field_policy, positions, &apis);
        self.field_policies = errors.collect(policies).unwrap_or_default();
        errors.into_result(())
    }

    fn add_api(
        &mut self,
        written: &api::Config,
        at: &At<'_>,
        document: &Document<CatalogConfig>,
        surroundings: Surroundings<'_>,
    ) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let bounds = surroundings.flow;
        check_name(&written.name, at, &mut errors);
        let twin = document.value.api.iter().position(|other| other.name == written.name);
        if twin.is_some_and(|twin| at.path != format!("api[{twin}]")) {
            errors.push(at.error("name", format!("a second API {:?}", written.name), "give each its own name"));
        }
        let path = match PathTemplate::parse(&written.path) {
            Ok(path) => Some(path),
            Err(error) => {
                errors.push(at.positions.error(
                    &at.key("path"),
                    format!("{:?} is not a path: {error}", written.path),
                    None,
                ));
                None
            }
        };
        let methods = parse_methods(written, at, &mut errors);
        let hosts = parse_hosts(written, at, &mut errors);
        let aggregates = (&self.aggregates, document.value.aggregate.as_slice());
        let target = Target::compile(written, at, &self.services, &document.value.service, aggregates);
        let target = errors.collect(target).flatten();
        let split = errors.collect(self.splits.of_api(written, at, &document.value.split)).flatten();
        let all = &document.value.service;
        let mirror = errors.collect(Mirror::compile(written, at, &self.services, all, &mut self.mirrored)).flatten();
        let traffic = self.traffic.of_api(written, at, &mut errors);
        let limits = errors.collect(self.limits.named(&written.limits, &document.value.limit, at, "limits"));
        let when = path.as_ref().zip(written.when.as_ref());
        let when = when.and_then(|(path, when)| errors.collect(When::compile(when, path, at)));
        let rewrite = path.as_ref().zip(written.rewrite.as_ref());
        let rewrite = rewrite.and_then(|(path, it)| errors.collect(Rewrite::compile(it, path, written.raw_path, at)));
        let credentials = path.as_ref().and_then(|path| errors.collect(Credentials::compile(written, path, at)));
        let permission = errors.collect(self.packages.of_api(written, at, bounds));
        let cache = path.as_ref().and_then(|path| errors.collect(cache::OfApi::of(written, path, at))).flatten();
        if let (Some(rewrite), Some(cache)) = (&rewrite, &cache) {
            errors.collect(rewrite.check_cache(&cache.key, at));
        }
        let rules = self.flow_rules.of_api(&written.name, &written.flow_rules, at, &document.value.flow_rule);
        let rules = errors.collect(rules);
        let shaping = errors.collect(Shaping::compile(written, at, &self.field_policies));
        let compress = written.compress.as_ref().and_then(|it| errors.collect(Compress::compile(it, at))).map(Box::new);
        let cors = written.cors.as_ref().and_then(|cors| errors.collect(Cors::compile(cors, at))).map(Box::new);
        let validation = written.validate.as_ref().zip(path.as_ref()).and_then(|(written, path)| {
            errors.collect(Validation::compile(written, path, at, surroundings.documents)).map(Box::new)
        });
        let upstream = Upstream::compile(&written.upstream, at, &mut errors);
        let (Some(path), Some(target), Some(credentials)) = (path, target, credentials) else {
            return errors.into_result(());
        };
        let api = Arc::new(Api {
            name: written.name.as_str().into(),
            path_to_service: if written.raw_path { PathToService::Raw } else { PathToService::Canonical },
            envelope: written.envelope,
            batchable: written.batchable,
            timeout: written.timeout.map(HumanDuration::get),
            level: written.level.as_deref().unwrap_or_default().into(),
            permission: permission.unwrap_or_default(),
            flow_rules: rules.unwrap_or_default(),
            limits: quota::OfApi::new(limits.unwrap_or_default()),
            shaping: shaping.flatten(),
            cors,
            compress,
            validation,
            metrics: OnceLock::new(),
            cache: cache.map(Arc::new),
            upstream,
            rewrite: rewrite.map(Box::new),
            when,
            split,
            mirror,
            credentials,
            traffic,
            target,
            hosts,
            methods,
            path,
        });
        let rank = api.when.as_ref().map(When::rank).unwrap_or_default();
        let place = Place { hosts: &api.hosts, methods: &api.methods, path: &api.path, rank };
        let excludes = |one: &Arc<Api>, two: &Arc<Api>| {
            one.when.as_ref().zip(two.when.as_ref()).is_some_and(|(one, two)| one.excludes(two))
        };
        if let Err(other) = self.matcher.insert(place, &api, &excludes) {
            let there = document.value.api.iter().position(|api| *api.name == *other.name).unwrap_or_default();
            let message =
                format!("{:?} and {:?} take the same calls, and nothing decides between them", api.name, other.name);
            let remedy = match &api.when {
                None => "change the hosts, the methods or the path of one of the two, or give one of them \"when\"",
                Some(_) => "give one of the two a higher when.priority, or predicates that exclude those of the other",
            };
            errors.push(at.error("path", message.clone(), remedy));
            errors.push(at.positions.error(&format!("api[{there}].path"), message, Some(remedy.to_owned())));
        }
        self.apis.push(api);
        errors.into_result(())
    }
}

/// Where in the file an entry stands.
#[derive(Debug)]
pub struct At<'a> {
    /// All positions of the file.
    pub positions: &'a Positions,
    /// The entry, for example `service[2]`.
    pub path: String,
}

impl At<'_> {
    /// The path of one of the entry's keys.
    #[must_use]
    pub fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    /// A finding at one of the entry's keys.
    pub fn error(
        &self,
        key: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> gatehouse_shared::config::ConfigError {
        self.positions.error(&self.key(key), message, Some(remedy.into()))
    }
}

/// Whether a text is fit for a name: names appear in logs, metric labels, commands and the names of files.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    !name.is_empty() && name.len() <= 64 && name.chars().all(is_plain)
}

/// Refuses what is not fit for a name.
pub fn check_name(name: &str, at: &At<'_>, errors: &mut ConfigErrors) {
    if !is_name(name) {
        errors.push(at.error(
            "name",
            format!("{name:?} is not a name"),
            "use 1 to 64 letters, digits, \".\", \"_\" and \"-\"",
        ));
    }
}

fn parse_methods(written: &api::Config, at: &At<'_>, errors: &mut ConfigErrors) -> Vec<Method> {
    let mut methods = Vec::with_capacity(written.methods.len());
    for (index, name) in written.methods.iter().enumerate() {
        let key = format!("methods[{index}]");
        match Method::from_bytes(name.as_bytes()) {
            Ok(method) if !name.bytes().any(|byte| byte.is_ascii_lowercase()) => {
                if methods.contains(&method) {
                    errors.push(at.error(&key, format!("the method {name:?} twice"), "remove one"));
                } else {
                    methods.push(method);
                }
            }
            _ => errors.push(at.error(
                &key,
                format!("{name:?} is not a method"),
                "write it in upper case, as in \"GET\"",
            )),
        }
    }
    methods
}

fn parse_hosts(written: &api::Config, at: &At<'_>, errors: &mut ConfigErrors) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::with_capacity(written.hosts.len());
    for (index, host) in written.hosts.iter().enumerate() {
        let key = format!("hosts[{index}]");
        let name = host.strip_prefix("*.").unwrap_or(host);
        let is_ip6 = name.starts_with('[') && name.ends_with(']');
        let is_name = !name.is_empty()
            && name.split('.').all(|label| !label.is_empty())
            && name.chars().all(|character| character.is_ascii_alphanumeric() || "._-".contains(character));
        if !is_name && !is_ip6 {
            let remedy = "write a host name without port, or \"*.\" and a host name";
            errors.push(at.error(&key, format!("{host:?} is not a host"), remedy));
            continue;
        }
        let host = host.to_ascii_lowercase();
        if hosts.contains(&host) {
            errors.push(at.error(&key, format!("the host {host:?} twice"), "remove one"));
        } else {
            hosts.push(host);
        }
    }
    hosts
}

#[cfg(test)]
pub(crate) mod tests;
