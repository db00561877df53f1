//! A service: its endpoints, how one is chosen, and the connections to each.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_shared::balance::{Ejection, Pool, PoolConfig, ProbeThresholds, Strategy};
use gatehouse_shared::clock;
use gatehouse_shared::config::{ConfigErrors, HumanDuration};
use schemars::JsonSchema;
use serde::Deserialize;

use super::budget::RetryBudget;
use super::counters::Counters;
use super::upstream::pool::{Endpoint, Limits, Protocol};
use crate::store::catalog::{At, check_name};

/// `[[service]]`: who answers, as written. What is not given comes from `[upstream]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The service's name in APIs, logs, metrics and messages; unique. Letters, digits, `.`, `_` and `-`. Example: `"orders"`.
    pub name: String,
    /// Addresses with ports. Example: `["10.0.0.1:9001", "10.0.0.2:9001"]`.
    pub endpoints: Vec<String>,
    /// What the service speaks. Default: `"http1"`.
    #[serde(default)]
    pub protocol: ProtocolConfig,
    /// How an endpoint is chosen. Default: `"round_robin"`.
    #[serde(default)]
    pub strategy: Strategy,
    /// From the end of the request's body to the head of the answer. Default: that of `[upstream]`.
    pub timeout: Option<HumanDuration>,
    /// To open a connection. Default: that of `[upstream]`.
    pub connect_timeout: Option<HumanDuration>,
    /// Connections to one endpoint at a time. Default: that of `[upstream]`.
    pub connections_max: Option<usize>,
    /// Retries in hundredths of all calls; 0 for none. Default: that of `[upstream]`.
    pub retry_percent: Option<u32>,
    /// When an endpoint that fails is left out.
    #[serde(default)]
    pub ejection: Ejection,
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
    retry_percent: u32,
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
        defaults: &super::Config,
        before: Option<&Self>,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        check_name(&written.name, at, &mut errors);
        errors.collect(written.ejection.check(&at.key("ejection"), at.positions));
        let addresses = parse_endpoints(&written.endpoints, at, &mut errors);
        let limits = Limits {
            connections: written.connections_max.unwrap_or(defaults.connections_max),
            streams: defaults.streams_max,
            connect_timeout: written.connect_timeout.unwrap_or(defaults.connect_timeout).get(),
            idle_timeout: defaults.idle_timeout.get(),
            max_age: defaults.max_age.get(),
        };
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
        errors.into_result(())?;

        let protocol = match written.protocol {
            ProtocolConfig::Http1 => Protocol::Http1,
            ProtocolConfig::H2c => Protocol::H2c,
        };
        let config = PoolConfig {
            strategy: written.strategy,
            ejection: written.ejection.clone(),
            probe: written.probe.as_ref().map(|probe| ProbeThresholds { rise: probe.rise, fall: probe.fall }),
        };
        let counters = before.map_or_else(Arc::default, |before| Arc::clone(&before.counters));
        let known = before.map(|before| before.endpoints.as_slice()).unwrap_or_default();
        let endpoint = |address: &SocketAddr| {
            let same = known.iter().find(|known| known.serves(*address, protocol, &limits));
            same.map_or_else(|| Arc::new(Endpoint::new(*address, protocol, limits, Arc::clone(&counters))), Arc::clone)
        };
        let endpoints = addresses.iter().map(endpoint).collect();
        let retry_percent = written.retry_percent.unwrap_or(defaults.retry_percent);
        let same_budget = before.filter(|before| before.retry_percent == retry_percent);
        Ok(Self {
            name: written.name.as_str().into(),
            balance: Pool::compile(&config, &addresses, before.map(|before| &before.balance), clock::now()),
            endpoints,
            protocol,
            timeout,
            retries: same_budget
                .map_or_else(|| Arc::new(RetryBudget::new(retry_percent)), |before| Arc::clone(&before.retries)),
            probe: written.probe.clone(),
            counters,
            retry_percent,
        })
    }
}

fn parse_endpoints(written: &[String], at: &At<'_>, errors: &mut ConfigErrors) -> Vec<SocketAddr> {
    if written.is_empty() {
        errors.push(at.error(
            "endpoints",
            "no endpoint, so nobody answers",
            "write at least one, as in [\"10.0.0.1:9001\"]",
        ));
    }
    let mut addresses: Vec<SocketAddr> = Vec::with_capacity(written.len());
    for (index, text) in written.iter().enumerate() {
        let key = format!("endpoints[{index}]");
        match text.parse::<SocketAddr>() {
            Ok(address) if addresses.contains(&address) => {
                errors.push(at.error(&key, format!("the endpoint {text:?} twice"), "remove one"));
            }
            Ok(address) if address.port() == 0 => {
                errors.push(at.error(&key, format!("{text:?} has no port"), "write the port the service listens on"));
            }
            Ok(address) => addresses.push(address),
            Err(_) => {
                let remedy = "write an IP address and a port, as in \"10.0.0.1:9001\" or \"[::1]:9001\"";
                errors.push(at.error(&key, format!("{text:?} is not an address"), remedy));
            }
        }
    }
    addresses
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
