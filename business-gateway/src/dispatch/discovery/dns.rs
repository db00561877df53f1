//! Asking the DNS, never on the path of a call.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use gatehouse_shared::balance::EndpointSpec;
use gatehouse_shared::config::HumanDuration;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Answer;
use super::source::{Dns, Family};

/// The largest weight of an endpoint; weights of SRV records go up to 65535.
const WEIGHT_MAX: u32 = 1_000;

/// `[upstream.discovery.dns]`: who is asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// DNS servers with ports, such as `"10.0.0.2:53"`; names are then taken as they are, without search domains and without
    /// `/etc/hosts`. Default: what `/etc/resolv.conf` says, read anew before each question.
    pub servers: Vec<SocketAddr>,
    /// For one question to one server. Default: `"1s"`.
    pub timeout: HumanDuration,
    /// Questions after the first, when no answer came. Default: 2.
    pub retries: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { servers: Vec::new(), timeout: HumanDuration::from_secs(1), retries: 2 }
    }
}

/// Who answers questions.
#[derive(Clone)]
pub struct Resolver(TokioResolver);

impl std::fmt::Debug for Resolver {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Resolver {
    /// A resolver that keeps no answer: whoever asks knows how long it counts.
    ///
    /// # Errors
    /// `/etc/resolv.conf` cannot be read, or makes no sense.
    pub fn new(config: &Config) -> Result<Self, NetError> {
        let mut builder = if config.servers.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let servers = config.servers.iter().map(server).collect();
            let resolver = ResolverConfig::from_parts(None, Vec::new(), servers);
            let mut builder = TokioResolver::builder_with_config(resolver, TokioRuntimeProvider::default());
            builder.options_mut().use_hosts_file = hickory_resolver::config::ResolveHosts::Never;
            builder
        };
        bound(builder.options_mut(), config);
        Ok(Self(builder.build()?))
    }

    /// The endpoints of a service.
    ///
    /// # Errors
    /// When a question was not answered. That there is nothing is an answer.
    pub async fn endpoints(&self, dns: &Dns, most: usize) -> Result<Answer, NetError> {
        match dns.port {
            Some(port) => {
                let Found { addresses, ttl } = self.addresses(&dns.name, dns.family).await?;
                let endpoints = addresses.into_iter().map(|ip| SocketAddr::new(ip, port).into()).collect();
                Ok(Answer::new(endpoints, ttl, most))
            }
            None => self.services(dns, most).await,
        }
    }

    async fn services(&self, dns: &Dns, most: usize) -> Result<Answer, NetError> {
        let records = self.records(&dns.name, RecordType::SRV).await?;
        let mut ttl = shortest(&records);
        let targets: Vec<_> = records
            .iter()
            .filter_map(|record| match &record.data {
                // A target that is the root says that the service is not offered (RFC 2782).
                RData::SRV(srv) if !srv.target.is_root() => Some(srv),
                _ => None,
            })
            .collect();
        let cut = targets.len().saturating_sub(most);
        let found = join_all(targets.iter().take(most).map(|srv| self.addresses(&srv.target, dns.family))).await;
        // Those of the lowest priority that has any address; the others are for when it has none.
        let mut by_priority: BTreeMap<u16, Vec<EndpointSpec>> = BTreeMap::new();
        for (srv, found) in targets.into_iter().zip(found) {
            let found = found?;
            ttl = shorter(ttl, found.ttl);
            let weight = u32::from(srv.weight);
            let endpoints = by_priority.entry(srv.priority).or_default();
            endpoints.extend(found.addresses.into_iter().map(|ip| EndpointSpec {
                address: SocketAddr::new(ip, srv.port),
                weight,
                zone: None,
            }));
        }
        let mut endpoints = by_priority.into_values().find(|endpoints| !endpoints.is_empty()).unwrap_or_default();
        scale(&mut endpoints);
        let mut answer = Answer::new(endpoints, ttl, most);
        answer.cut += cut;
        Ok(answer)
    }

    async fn addresses(&self, name: &Name, family: Family) -> Result<Found, NetError> {
        let wanted: &[RecordType] = match family {
            Family::Both => &[RecordType::A, RecordType::AAAA],
            Family::Ipv4 => &[RecordType::A],
            Family::Ipv6 => &[RecordType::AAAA],
        };
        let mut found = Found { addresses: Vec::new(), ttl: None };
        for records in join_all(wanted.iter().map(|record| self.records(name, *record))).await {
            // Half an answer would take the other half of the endpoints away.
            let records = records?;
            found.ttl = shorter(found.ttl, shortest(&records));
            found.addresses.extend(records.iter().filter_map(|record| match &record.data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                _ => None,
            }));
        }
        Ok(found)
    }

    /// The records of a name; none where it has none, or is none.
    async fn records(&self, name: &Name, record: RecordType) -> Result<Vec<Record>, NetError> {
        match self.0.lookup(name.clone(), record).await {
            Ok(lookup) => Ok(lookup.answers().to_vec()),
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// Addresses, and how long they count.
struct Found {
    addresses: Vec<IpAddr>,
    ttl: Option<Duration>,
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn bound(options: &mut ResolverOpts, config: &Config) {
    options.timeout = config.timeout.get();
    options.attempts = config.retries;
    options.cache_size = 0;
    options.edns0 = true;
}

/// Weights of SRV records are from 0, where 0 means little, to 65535.
fn scale(endpoints: &mut [EndpointSpec]) {
    let largest = endpoints.iter().map(|endpoint| endpoint.weight).max().unwrap_or(0);
    for endpoint in endpoints {
        if largest > WEIGHT_MAX {
            endpoint.weight = endpoint.weight.saturating_mul(WEIGHT_MAX).div_ceil(largest);
        }
        endpoint.weight = endpoint.weight.max(1);
    }
}

fn shortest(records: &[Record]) -> Option<Duration> {
    records.iter().map(|record| Duration::from_secs(u64::from(record.ttl))).min()
}

fn shorter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_keep_their_proportions_within_the_bound() {
        for (weights, expected) in [
            (vec![], vec![]),
            (vec![0, 0], vec![1, 1]),
            (vec![1, 3, 0], vec![1, 3, 1]),
            (vec![65_535, 0, 32_768], vec![1_000, 1, 501]),
        ] {
            let mut endpoints: Vec<EndpointSpec> = weights
                .iter()
                .map(|weight| EndpointSpec { address: "10.0.0.1:1".parse().unwrap(), weight: *weight, zone: None })
                .collect();
            scale(&mut endpoints);
            assert_eq!(endpoints.iter().map(|endpoint| endpoint.weight).collect::<Vec<_>>(), expected);
        }
    }
}
