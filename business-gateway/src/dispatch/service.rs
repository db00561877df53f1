//! A service: its endpoints, how one is chosen, and the connections to each.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_shared::balance::{
    Ejection, EndpointConfig, Outcome, Pool, PoolConfig, ProbeThresholds, RetryBudget, Strategy, Tuning,
    compile_endpoints, random_seed,
};
use gatehouse_shared::clock;
use gatehouse_shared::config::{ConfigErrors, HumanDuration};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::counters::Counters;
use super::upstream::pool::{Endpoint, Limits, Protocol};
use crate::store::catalog::{At, check_name};

/// `[[service]]`: who answers, as written. What is not given comes from `[upstream]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The service's name in APIs, logs, metrics and messages; unique. Letters, digits, `.`, `_` and `-`. Example: `"orders"`.
    pub name: String,
    /// Addresses with ports, such as `"10.0.0.1:9001"`, or tables that also give `weight` (1 to 1000; default: 1) and `zone`,
    /// such as `{ address = "10.0.0.1:9001", weight = 3, zone = "a" }`.
    pub endpoints: Vec<EndpointConfig>,
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
    /// To open a connection. Default: that of `[upstream]`.
    pub connect_timeout: Option<HumanDuration>,
    /// Connections to one endpoint at a time. Default: that of `[upstream]`.
    pub connections_max: Option<usize>,
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
    /// Chooses an endpoint and knows which are well.
    pub balance: Pool,
    /// The connections to each endpoint, in the order of the balance.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// What is spoken.
    pub protocol: Protocol,
    /// From the end of the request's body to the head of the answer, where the API does not say otherwise.
    pub timeout: Duration,
    /// How much may be repeated.
    pub retries: Arc<RetryBudget>,
    /// How endpoints are asked whether they are well.
    pub probe: Option<ProbeConfig>,
    /// What is counted of it.
    pub counters: Arc<Counters>,
    server_errors_count: bool,
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
    /// The files of uids that splits name.
    pub uids: &'a super::split::uids::UidFiles,
}

impl fmt::Debug for Service {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Service")
            .field("name", &self.name)
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
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
        let specs = errors.collect(compile_endpoints(&written.endpoints, &at.key("endpoints"), at.positions));
        let defaults = surroundings.defaults;
        let limits = limits(written, defaults);
        if limits.connections == 0 {
            errors.push(at.error("connections_max", "no connection, so no call", "write at least 1"));
        }
        let timeout = written.timeout.unwrap_or(defaults.timeout).get();
        for (key, duration) in [("timeout", timeout), ("connect_timeout", limits.connect_timeout)] {
            if duration.is_zero() {
                errors.push(at.error(key, "a timeout of nothing fails every call", "write at least \"1ms\""));
            }
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
        let config = PoolConfig {
            strategy: written.strategy,
            tuning: written.balance,
            ejection: written.ejection.clone(),
            probe: written.probe.as_ref().map(|probe| ProbeThresholds { rise: probe.rise, fall: probe.fall }),
            zone: surroundings.zone.map(Into::into),
            seed: random_seed(),
        };
        let counters = before.map_or_else(Arc::default, |before| Arc::clone(&before.counters));
        let known = before.map(|before| before.endpoints.as_slice()).unwrap_or_default();
        let endpoint = |address: &SocketAddr| {
            let same = known.iter().find(|known| known.serves(*address, protocol, &limits));
            same.map_or_else(|| Arc::new(Endpoint::new(*address, protocol, limits, Arc::clone(&counters))), Arc::clone)
        };
        let endpoints = specs.iter().map(|spec| endpoint(&spec.address)).collect();
        let now = clock::now();
        let same_budget = before.map(|before| &before.retries).filter(|it| it.is_for(retry_percent, retry_min));
        Ok(Self {
            name: written.name.as_str().into(),
            balance: Pool::compile(&config, &specs, before.map(|before| &before.balance), now),
            endpoints,
            protocol,
            timeout,
            retries: same_budget.map_or_else(|| Arc::new(RetryBudget::new(retry_percent, retry_min, now)), Arc::clone),
            probe: written.probe.clone(),
            counters,
            server_errors_count: written.server_errors_count,
        })
    }

    /// What an answer with this status says about the endpoint.
    #[must_use]
    pub fn outcome_of(&self, status: StatusCode) -> Outcome {
        if self.server_errors_count && status.is_server_error() { Outcome::ServerError } else { Outcome::Ok }
    }
}

fn limits(written: &Config, defaults: &super::Config) -> Limits {
    Limits {
        connections: written.connections_max.unwrap_or(defaults.connections_max),
        streams: defaults.streams_max,
        connect_timeout: written.connect_timeout.unwrap_or(defaults.connect_timeout).get(),
        idle_timeout: defaults.idle_timeout.get(),
        max_age: defaults.max_age.get(),
    }
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
