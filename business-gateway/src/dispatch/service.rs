//! A service: its endpoints, how one is chosen, and the connections to each.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use gatehouse_shared::balance::{
    Ejection, EndpointConfig, EndpointSpec, Outcome, PoolConfig, ProbeThresholds, RetryBudget, Strategy, Tuning,
    compile_endpoints, random_seed,
};
use gatehouse_shared::clock;
use gatehouse_shared::config::{ConfigErrors, HumanDuration};
use http::{Response, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;

use super::DispatchError;
use super::breaker::{self, Breaker, Verdict};
use super::counters::Counters;
use super::discovery::source::{DnsConfig, RegistryConfig, Source};
use super::discovery::status::Discovered;
use super::members::{Members, Recipe, Set};
use super::upstream::pool::{Limits, Protocol};
use crate::store::catalog::{At, check_name};

/// `[[service]]`: who answers, as written. What is not given comes from `[upstream]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The service's name in APIs, logs, metrics and messages; unique. Letters, digits, `.`, `_` and `-`. Example: `"orders"`.
    pub name: String,
    /// Addresses with ports, such as `"10.0.0.1:9001"`, or tables that also give `weight` (1 to 1000; default: 1) and `zone`,
    /// such as `{ address = "10.0.0.1:9001", weight = 3, zone = "a" }`. With `dns` or `registry`: those used until the first
    /// answer; default there: none.
    #[serde(default)]
    pub endpoints: Vec<EndpointConfig>,
    /// Find the endpoints in the DNS.
    pub dns: Option<DnsConfig>,
    /// Find the endpoints in the registry of the store, where they register themselves.
    pub registry: Option<RegistryConfig>,
    /// What the service speaks. Default: `"http1"`.
    #[serde(default)]
    pub protocol: ProtocolConfig,
    /// How an endpoint is chosen. Default: `"round_robin"`.
    #[serde(default)]
    pub strategy: Strategy,
    /// The fine points of choosing: slow start, zones, bounds.
    #[serde(default)]
    pub balance: Tuning,
    /// From the end of the request's body to the head of the answer. Default: that of `[upstream]`.
    pub timeout: Option<HumanDuration>,
    /// After this time without the head of an answer an idempotent call without a body is given up at the endpoint and sent to
    /// another healthy one, within the retry budget; where that is not possible it goes on until `timeout`, which then counts
    /// for all tries together. Default: that of `[upstream]`.
    pub try_timeout: Option<HumanDuration>,
    /// Statuses after which an idempotent call without a body is sent to another healthy endpoint, within the retry budget:
    /// 500 to 599. Default: none. Example: `[502, 503, 504]`.
    #[serde(default)]
    pub retry_statuses: Vec<u16>,
    /// To open a connection. Default: that of `[upstream]`.
    pub connect_timeout: Option<HumanDuration>,
    /// Connections to one endpoint at a time. Default: that of `[upstream]`.
    pub connections_max: Option<usize>,
    /// Calls at one endpoint at a time, where that should be fewer than its connections carry: a connection of HTTP/1 carries
    /// one, one of h2c `streams_max`. Default: as many as they carry.
    pub requests_max: Option<usize>,
    /// Calls that wait at one endpoint when it has no room and no other healthy one has; with 0 none waits. Default: any
    /// number.
    pub queue_max: Option<usize>,
    /// Retries in hundredths of all calls; 0 for none. Default: that of `[upstream]`.
    pub retry_percent: Option<u32>,
    /// Retries on top of that, each second. Default: that of `[upstream]`.
    pub retry_min_per_second: Option<u32>,
    /// When an endpoint that fails is left out.
    #[serde(default)]
    pub ejection: Ejection,
    /// Whether answers with a status of 500 to 599 count for `ejection.failure_percent`. Leave it out where such answers tell
    /// of the call and not of the endpoint. Default: false.
    #[serde(default)]
    pub server_errors_count: bool,
    /// When calls of the service are refused at once because nearly all of them fail; `{}` for the defaults. Default: never.
    pub breaker: Option<breaker::Config>,
    /// Ask every endpoint regularly. Default: no probes.
    pub probe: Option<ProbeConfig>,
}

/// What a service speaks, as written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProtocolConfig {
    /// HTTP/1.1 with keepalive.
    #[default]
    Http1,
    /// HTTP/2 without TLS, with prior knowledge; for gRPC and other services with response trailers.
    H2c,
}

/// `probe`: how endpoints are asked whether they are well. Any 2xx or 3xx answer says so.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeConfig {
    /// The path asked for with GET. Example: `"/healthz"`.
    pub path: String,
    /// Between two questions to an endpoint. Default: `"5s"`.
    #[serde(default = "default_interval")]
    pub interval: HumanDuration,
    /// For one answer. Default: `"1s"`.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
    /// Good answers in a row after which an endpoint that was out is used again. Default: 2.
    #[serde(default = "default_rise")]
    pub rise: u32,
    /// Bad ones in a row after which an endpoint is left out. Default: 3.
    #[serde(default = "default_fall")]
    pub fall: u32,
}

fn default_interval() -> HumanDuration {
    HumanDuration::from_secs(5)
}

fn default_timeout() -> HumanDuration {
    HumanDuration::from_secs(1)
}

fn default_rise() -> u32 {
    2
}

fn default_fall() -> u32 {
    3
}

/// A service as compiled.
pub struct Service {
    /// Its name.
    pub name: Arc<str>,
    /// Its endpoints.
    pub members: Members,
    /// Where they are looked for, and how that goes; `None` when the catalog lists them.
    pub discovered: Option<(Source, Arc<Discovered>)>,
    /// Refuses calls while nearly all fail.
    pub breaker: Option<Arc<Breaker>>,
    /// What is spoken.
    pub protocol: Protocol,
    /// From the end of the request's body to the head of the answer, where the API does not say otherwise.
    pub timeout: Duration,
    /// After which a call is tried elsewhere, where the API does not say otherwise.
    pub try_timeout: Option<Duration>,
    /// Statuses after which a call is tried elsewhere.
    pub retry_statuses: Box<[StatusCode]>,
    /// How much may be repeated.
    pub retries: Arc<RetryBudget>,
    /// How endpoints are asked whether they are well.
    pub probe: Option<ProbeConfig>,
    /// What is counted of it.
    pub counters: Arc<Counters>,
    server_errors_count: bool,
    recipe: Recipe,
}

/// What every service is compiled with.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// `[upstream]`: what a service does not say itself.
    pub defaults: &'a super::Config,
    /// The zone of this node.
    pub zone: Option<&'a str>,
    /// What bounds expressions and scripts.
    pub flow: &'a crate::admit::flow_rule::Bounds,
    /// What bounds aggregates.
    pub aggregate: &'a super::aggregate::config::Bounds,
    /// Schemas and OpenAPI documents.
    pub documents: &'a crate::admit::validation::document::Documents,
    /// The files of uids that splits name.
    pub uids: &'a super::split::uids::UidFiles,
}

impl fmt::Debug for Service {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Service").field("name", &self.name).field("members", &self.members).finish_non_exhaustive()
    }
}

impl Service {
    /// Compiles a service; health and connections of endpoints that stay come from `before`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(
        written: &Config,
        at: &At<'_>,
        surroundings: Surroundings<'_>,
        before: Option<&Self>,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        check_name(&written.name, at, &mut errors);
        errors.collect(written.ejection.check(&at.key("ejection"), at.positions));
        errors.collect(written.balance.check(&at.key("balance"), at.positions));
        let source = Source::compile(written.dns.as_ref(), written.registry.as_ref(), &written.name, at, &mut errors);
        let is_found = written.dns.is_some() || written.registry.is_some();
        let specs = match is_found && written.endpoints.is_empty() {
            true => None,
            false => errors.collect(compile_endpoints(&written.endpoints, &at.key("endpoints"), at.positions)),
        };
        let defaults = surroundings.defaults;
        let limits = limits(written, defaults);
        check_limits(written, &limits, at, &mut errors);
        let timeout = written.timeout.unwrap_or(defaults.timeout).get();
        for (key, duration) in [("timeout", timeout), ("connect_timeout", limits.connect_timeout)] {
            if duration.is_zero() {
                errors.push(at.error(key, "a timeout of nothing fails every call", "write at least \"1ms\""));
            }
        }
        let try_timeout = written.try_timeout.or(defaults.try_timeout).map(HumanDuration::get);
        check_try_timeout("try_timeout", written.try_timeout, at, &mut errors);
        let retry_statuses = retry_statuses(&written.retry_statuses, at, &mut errors);
        if let Some(breaker) = &written.breaker {
            breaker.check(at, &mut errors);
        }
        if let Some(probe) = &written.probe {
            check_probe(probe, at, &mut errors);
        }
        let retry_percent = written.retry_percent.unwrap_or(defaults.retry_percent);
        let retry_min = written.retry_min_per_second.unwrap_or(defaults.retry_min_per_second);
        if retry_percent > 100 {
            errors.push(at.error("retry_percent", "more retries than calls", "write 0 to 100"));
        }
        errors.into_result(())?;
        // What is missing here has its errors above.
        let specs = specs.unwrap_or_default();

        let protocol = match written.protocol {
            ProtocolConfig::Http1 => Protocol::Http1,
            ProtocolConfig::H2c => Protocol::H2c,
        };
        let balance = balance(written, surroundings.zone);
        let counters = before.map_or_else(Arc::default, |before| Arc::clone(&before.counters));
        let recipe = Recipe { balance, protocol, limits, counters: Arc::clone(&counters) };
        let now = clock::now();
        let same_budget = before.map(|before| &before.retries).filter(|it| it.is_for(retry_percent, retry_min));
        let discovered = source.map(|source| discovered(source, before, now));
        let before_set = before.map(|before| before.members.now());
        let members = match &discovered {
            None => Members::Fixed(recipe.set(&specs, before_set.as_deref(), now)),
            Some(_) => Members::Found(ArcSwap::from_pointee(found_first(&recipe, &specs, before_set.as_deref(), now))),
        };
        Ok(Self {
            name: written.name.as_str().into(),
            members,
            discovered,
            breaker: written.breaker.map(|config| breaker(config, before, now)),
            protocol,
            timeout,
            try_timeout,
            retry_statuses,
            retries: same_budget.map_or_else(|| Arc::new(RetryBudget::new(retry_percent, retry_min, now)), Arc::clone),
            probe: written.probe.clone(),
            counters,
            server_errors_count: written.server_errors_count,
            recipe,
        })
    }

    /// Goes on with these endpoints, if they are others than before; tells whether they are.
    pub fn found(&self, specs: &[EndpointSpec], now: Instant) -> bool {
        self.members.replace(&self.recipe, specs, now)
    }

    /// Refuses a call that would be refused when it is sent.
    ///
    /// # Errors
    /// While the service is out of order.
    pub fn check_breaker(&self, now: Instant) -> Result<(), breaker::Open> {
        self.breaker.as_ref().map_or(Ok(()), |breaker| breaker.peek(now))
    }

    /// What a call says about the service that ended with this answer, or without one.
    #[must_use]
    pub fn verdict<T>(&self, outcome: &Result<Response<T>, DispatchError>) -> Verdict {
        match outcome {
            Ok(answer) if self.outcome_of(answer.status()) == Outcome::Ok => Verdict::Well,
            Ok(_) => Verdict::Ill,
            Err(error) => error.verdict(),
        }
    }

    /// What an answer with this status says about the endpoint.
    #[must_use]
    pub fn outcome_of(&self, status: StatusCode) -> Outcome {
        if self.server_errors_count && status.is_server_error() { Outcome::ServerError } else { Outcome::Ok }
    }
}

/// The set that a service begins with whose endpoints have to be found: those of the generation before, even if they were found
/// elsewhere, and otherwise those that the catalog gives to start with.
fn found_first(recipe: &Recipe, first: &[EndpointSpec], before: Option<&Set>, now: Instant) -> Set {
    let known = before.map(|before| &*before.specs).filter(|specs| !specs.is_empty());
    recipe.set(known.unwrap_or(first), before, now)
}

fn balance(written: &Config, zone: Option<&str>) -> PoolConfig {
    PoolConfig {
        strategy: written.strategy,
        tuning: written.balance,
        ejection: written.ejection.clone(),
        probe: written.probe.as_ref().map(|probe| ProbeThresholds { rise: probe.rise, fall: probe.fall }),
        zone: zone.map(Into::into),
        seed: random_seed(),
    }
}

/// The breaker of the generation before, if it was made with the same values.
fn breaker(config: breaker::Config, before: Option<&Service>, now: Instant) -> Arc<Breaker> {
    let same = before.and_then(|before| before.breaker.as_ref()).filter(|known| known.is_for(&config));
    same.map_or_else(|| Arc::new(Breaker::new(config, now)), Arc::clone)
}

/// The source with what is counted of it, which goes on if the generation before looked there, too.
fn discovered(source: Source, before: Option<&Service>, now: Instant) -> (Source, Arc<Discovered>) {
    let same = before.and_then(|before| before.discovered.as_ref()).filter(|(known, _)| *known == source);
    let status = same.map_or_else(|| Arc::new(Discovered::new(now)), |(_, status)| Arc::clone(status));
    (source, status)
}

fn limits(written: &Config, defaults: &super::Config) -> Limits {
    Limits {
        connections: written.connections_max.unwrap_or(defaults.connections_max),
        streams: defaults.streams_max,
        requests: written.requests_max,
        queue: written.queue_max,
        connect_timeout: written.connect_timeout.unwrap_or(defaults.connect_timeout).get(),
        idle_timeout: defaults.idle_timeout.get(),
        max_age: defaults.max_age.get(),
    }
}

fn check_limits(written: &Config, limits: &Limits, at: &At<'_>, errors: &mut ConfigErrors) {
    if limits.connections == 0 {
        errors.push(at.error("connections_max", "no connection, so no call", "write at least 1"));
    }
    if limits.requests == Some(0) {
        errors.push(at.error("requests_max", "no call at a time", "write at least 1, or leave it out"));
    }
    let carried = match written.protocol {
        ProtocolConfig::Http1 => limits.connections,
        ProtocolConfig::H2c => limits.connections.saturating_mul(limits.streams),
    };
    if limits.requests.is_some_and(|requests| requests > carried) {
        let remedy = "raise connections_max with it, or leave it out";
        errors.push(at.error("requests_max", format!("the connections carry {carried} calls at a time"), remedy));
    }
}

/// A service, an API or `[upstream]` may say after which time a call is tried elsewhere.
pub fn check_try_timeout(key: &str, written: Option<HumanDuration>, at: &At<'_>, errors: &mut ConfigErrors) {
    if written.is_some_and(|written| written.get().is_zero()) {
        errors.push(at.error(key, "no endpoint answers in no time", "write at least \"1ms\", or leave it out"));
    }
}

fn retry_statuses(written: &[u16], at: &At<'_>, errors: &mut ConfigErrors) -> Box<[StatusCode]> {
    let mut statuses = Vec::with_capacity(written.len());
    for (index, number) in written.iter().enumerate() {
        match StatusCode::from_u16(*number) {
            Ok(status) if status.is_server_error() && !statuses.contains(&status) => statuses.push(status),
            _ => {
                let remedy = "write each status of 500 to 599 once: others tell of the call and not of the endpoint";
                errors.push(at.error(&format!("retry_statuses[{index}]"), format!("not {number} here"), remedy));
            }
        }
    }
    statuses.into()
}

fn check_probe(probe: &ProbeConfig, at: &At<'_>, errors: &mut ConfigErrors) {
    let is_target = probe.path.starts_with('/') && probe.path.parse::<http::uri::PathAndQuery>().is_ok();
    if !is_target {
        errors.push(at.error("probe.path", format!("{:?} is not a path", probe.path), "write one, as in \"/healthz\""));
    }
    for (key, duration) in [("probe.interval", probe.interval), ("probe.timeout", probe.timeout)] {
        if duration.get().is_zero() {
            errors.push(at.error(key, "must be longer than nothing", "write at least \"1ms\""));
        }
    }
}

#[cfg(test)]
mod tests;
