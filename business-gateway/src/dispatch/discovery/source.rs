//! Where the endpoints of a service are looked for, as written and as compiled.

use std::time::Duration;

use gatehouse_shared::config::{ConfigErrors, HumanDuration};
use hickory_resolver::proto::rr::Name;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::store::catalog::{At, is_name};

/// `dns`: the endpoints of a service are what the DNS says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsConfig {
    /// The name asked for. Example: `"orders.internal"`, or `"_http._tcp.orders.internal"` for `srv`.
    pub name: String,
    /// What is asked for: `"address"`, the addresses (A, AAAA); `"srv"`, the services (SRV) with their ports and weights.
    /// Default: `"address"`.
    #[serde(default)]
    pub record: Record,
    /// The port of all endpoints; for `record = "address"` only, which needs it.
    pub port: Option<u16>,
    /// Which addresses count: `"ipv4"`, `"ipv6"` or `"both"`. Default: `"both"`.
    #[serde(default)]
    pub family: Family,
    /// The shortest time between two questions, however short the TTL; also that after a failure. Default: `"5s"`.
    #[serde(default = "default_interval_min")]
    pub interval_min: HumanDuration,
    /// The longest time between two questions, however long the TTL. Default: `"5m"`.
    #[serde(default = "default_interval_max")]
    pub interval_max: HumanDuration,
    /// Whether an answer without any address takes all endpoints away. Otherwise the last ones stay. Default: false.
    #[serde(default)]
    pub allow_empty: bool,
}

fn default_interval_min() -> HumanDuration {
    HumanDuration::from_secs(5)
}

fn default_interval_max() -> HumanDuration {
    HumanDuration::from_secs(300)
}

/// What is asked for in the DNS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// Addresses.
    #[default]
    Address,
    /// Services: host names with ports, priorities and weights.
    Srv,
}

/// Which addresses count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// A and AAAA.
    #[default]
    Both,
    /// A.
    Ipv4,
    /// AAAA.
    Ipv6,
}

/// `registry`: the endpoints of a service are those that registered themselves in the store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// The name they register under. Default: that of the service.
    pub name: Option<String>,
    /// Between two looks into the registry. Default: `"1s"`.
    pub interval: HumanDuration,
    /// Whether an empty registry takes all endpoints away. Otherwise the last ones stay. Default: false.
    pub allow_empty: bool,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self { name: None, interval: HumanDuration::from_secs(1), allow_empty: false }
    }
}

/// Where endpoints are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The DNS.
    Dns(Dns),
    /// The registry of the store.
    Registry(Registry),
}

/// What is asked for in the DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// The name.
    pub name: Name,
    /// The port of all endpoints; `None`: SRV says it.
    pub port: Option<u16>,
    /// Which addresses count.
    pub family: Family,
    /// Bounds of the time between two questions.
    pub interval: (Duration, Duration),
    /// Whether no address is an answer.
    pub allow_empty: bool,
}

/// What is asked for in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// The name they register under.
    pub name: Box<str>,
    /// Between two looks.
    pub interval: Duration,
    /// Whether an empty registry is an answer.
    pub allow_empty: bool,
}

impl Source {
    /// The source of the service `service`; `None` when the catalog lists the endpoints, or when it is wrong.
    pub fn compile(
        dns: Option<&DnsConfig>,
        registry: Option<&RegistryConfig>,
        service: &str,
        at: &At<'_>,
        errors: &mut ConfigErrors,
    ) -> Option<Self> {
        if dns.is_some() && registry.is_some() {
            let remedy = "write either \"dns\" or \"registry\"";
            errors.push(at.error("registry", "endpoints are looked for in two places", remedy));
        }
        match (dns, registry) {
            (Some(dns), _) => compile_dns(dns, at, errors).map(Self::Dns),
            (None, Some(registry)) => compile_registry(registry, service, at, errors).map(Self::Registry),
            (None, None) => None,
        }
    }

    /// Whether no endpoint is an answer.
    #[must_use]
    pub fn allows_empty(&self) -> bool {
        match self {
            Self::Dns(dns) => dns.allow_empty,
            Self::Registry(registry) => registry.allow_empty,
        }
    }

    /// As it stands in logs and at `/policy`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Dns(dns) => match dns.port {
                Some(port) => format!("dns {}:{port}", dns.name),
                None => format!("dns srv {}", dns.name),
            },
            Self::Registry(registry) => format!("registry {}", registry.name),
        }
    }
}

fn compile_dns(written: &DnsConfig, at: &At<'_>, errors: &mut ConfigErrors) -> Option<Dns> {
    let mut refuse = |key: &str, message: String, remedy: &str| errors.push(at.error(key, message, remedy));
    let port = match (written.record, written.port) {
        (Record::Address, None | Some(0)) => {
            refuse("dns.port", "addresses have no ports".to_owned(), "write the port that the endpoints listen on");
            None
        }
        (Record::Srv, Some(_)) => {
            refuse(
                "dns.port",
                "SRV records bring their own ports".to_owned(),
                "take it out, or write record = \"address\"",
            );
            None
        }
        (_, port) => port,
    };
    let interval = (written.interval_min.get(), written.interval_max.get());
    if interval.0.is_zero() {
        refuse("dns.interval_min", "the DNS would be asked all the time".to_owned(), "write at least \"1ms\"");
    }
    if interval.1 < interval.0 {
        refuse("dns.interval_max", "shorter than \"interval_min\"".to_owned(), "write at least as much");
    }
    let is_plain = |name: &str| name.parse::<std::net::IpAddr>().is_err() && !name.is_empty();
    match Name::from_utf8(&written.name) {
        Ok(name) if is_plain(&written.name) => {
            Some(Dns { name, port, family: written.family, interval, allow_empty: written.allow_empty })
        }
        _ => {
            refuse(
                "dns.name",
                format!("{:?} is not a host name", written.name),
                "write one, as in \"orders.internal\"",
            );
            None
        }
    }
}

fn compile_registry(
    written: &RegistryConfig,
    service: &str,
    at: &At<'_>,
    errors: &mut ConfigErrors,
) -> Option<Registry> {
    let name = written.name.as_deref().unwrap_or(service);
    if !is_name(name) && written.name.is_some() {
        let remedy = "use 1 to 64 letters, digits, \".\", \"_\" and \"-\"";
        errors.push(at.error("registry.name", format!("{name:?} is not a name"), remedy));
        return None;
    }
    if written.interval.get().is_zero() {
        errors.push(at.error("registry.interval", "the store would be asked all the time", "write at least \"1ms\""));
    }
    Some(Registry { name: name.into(), interval: written.interval.get(), allow_empty: written.allow_empty })
}
