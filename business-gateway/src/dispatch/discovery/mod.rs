//! Where the endpoints of services are found that the catalog does not list: in the DNS, or in the registry of the store.
//!
//! - [`source`]: what is asked for
//! - [`dns`]: asking the DNS
//! - [`status`]: how it goes
//!
//! One task looks for all of them, beside the calls; a call takes what was found last and never waits. An answer that fails, and
//! one without endpoints unless that is allowed, changes nothing: the last endpoints stay, and how old they are is a metric. What
//! is found replaces the endpoints of the service in the current generation, and again in the next one, so no answer gets lost
//! when a reload comes in between.

pub mod dns;
pub mod source;
pub mod status;

use std::collections::HashMap;
use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatehouse_shared::balance::EndpointSpec;
use gatehouse_shared::clock;
use gatehouse_shared::config::{ConfigErrors, HumanDuration, Positions};
use gatehouse_store::Redis;
use gatehouse_store::registry::Registry;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::task::JoinSet;

use self::dns::Resolver;
use self::source::Source;
use self::status::Discovered;
use super::service::Service;
use crate::policy::Policy;

/// Questions under way at a time; the others are late.
const MOST_UNDER_WAY: usize = 64;
/// Longest time for one answer, whatever becomes of the questions.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks whether the first answers are there.
const LOOK: Duration = Duration::from_millis(5);

/// `[upstream.discovery]`: where endpoints are looked for that the catalog does not list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Networks in which found endpoints may be; others are left out. Default: everywhere but loopback, link-local, multicast
    /// and unspecified addresses, so that whoever writes into the DNS or the registry cannot make calls of this node to itself.
    #[schemars(with = "Option<Vec<String>>")]
    pub networks: Option<Vec<IpNet>>,
    /// Endpoints of one service; more are left out. Default: 256.
    pub endpoints_max: usize,
    /// How long the process waits at its start for the first answers before it takes calls. Default: `"2s"`.
    pub start_wait: HumanDuration,
    /// `[upstream.discovery.dns]`: who is asked.
    pub dns: dns::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            networks: None,
            endpoints_max: 256,
            start_wait: HumanDuration::from_secs(2),
            dns: dns::Config::default(),
        }
    }
}

impl Config {
    /// Checks what would leave services without endpoints.
    ///
    /// # Errors
    /// Everything that cannot work.
    pub fn check(&self, positions: &Positions) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut check = |holds: bool, key: &str, message: &str, remedy: &str| {
            if !holds {
                let place = format!("upstream.discovery.{key}");
                errors.push(positions.error(&place, message, Some(remedy.to_owned())));
            }
        };
        let has_networks = self.networks.as_ref().is_none_or(|networks| !networks.is_empty());
        check(has_networks, "networks", "no endpoint may be anywhere", "write the networks, or leave it out");
        check(self.endpoints_max > 0, "endpoints_max", "no endpoint, so nobody answers", "write at least 1");
        check(
            !self.dns.timeout.get().is_zero(),
            "dns.timeout",
            "no server answers in no time",
            "write at least \"1ms\"",
        );
        let has_ports = self.dns.servers.iter().all(|server| server.port() != 0);
        check(has_ports, "dns.servers", "a server without a port", "write the port, usually 53");
        errors.into_result(())
    }

    /// Whether an endpoint that was found may be there.
    fn may_be_at(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        match &self.networks {
            Some(networks) => networks.iter().any(|network| network.contains(&ip)),
            None => is_elsewhere(ip),
        }
    }
}

/// Whether an address is that of another machine, as far as an address tells.
fn is_elsewhere(ip: IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || is_link_local)
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// By address, each once.
    pub endpoints: Vec<EndpointSpec>,
    /// How long it counts, where it says so.
    pub ttl: Option<Duration>,
    /// Endpoints beyond the bound.
    pub cut: usize,
    /// Endpoints that cannot be read, or may not be where they are.
    pub refused: usize,
}

impl Answer {
    /// In the order of the addresses, so that the same endpoints are the same answer; `most` at most.
    #[must_use]
    pub fn new(mut endpoints: Vec<EndpointSpec>, ttl: Option<Duration>, most: usize) -> Self {
        endpoints.sort_by_key(|endpoint| (endpoint.address, std::cmp::Reverse(endpoint.weight)));
        endpoints.dedup_by_key(|endpoint| endpoint.address);
        let cut = endpoints.len().saturating_sub(most);
        endpoints.truncate(most);
        Self { endpoints, ttl, cut, refused: 0 }
    }

    fn within(mut self, config: &Config) -> Self {
        let found = self.endpoints.len();
        self.endpoints.retain(|endpoint| config.may_be_at(endpoint.address.ip()));
        self.refused += found - self.endpoints.len();
        self
    }
}

/// Why there is no answer.
type Failure = Box<dyn Error + Send + Sync>;

/// Looks for the endpoints of all services that have to be found.
#[derive(Debug)]
pub struct Discovery {
    store: Option<Arc<Redis>>,
    followed: HashMap<Arc<str>, Followed>,
    under_way: JoinSet<(Arc<str>, Source, Result<Answer, Failure>)>,
    /// Made of these settings; anew for each question where the system says who is asked.
    resolver: Option<(dns::Config, Resolver)>,
}

/// What is known of one service.
#[derive(Debug)]
struct Followed {
    source: Source,
    /// When it is asked for next.
    due: Instant,
    is_under_way: bool,
    /// Whether the last answer was good, so that one line is logged for many failures.
    is_well: bool,
    /// The last good answer.
    last: Option<Vec<EndpointSpec>>,
}

impl Discovery {
    /// Looks in the DNS, and in this store.
    #[must_use]
    pub fn new(store: Option<Arc<Redis>>) -> Self {
        Self { store, followed: HashMap::new(), under_way: JoinSet::new(), resolver: None }
    }

    /// Takes in what was found and asks for what is due. Called again and again.
    pub fn tend(&mut self, policy: &Policy, now: Instant) {
        let services = &policy.catalog.services;
        if self.followed.is_empty() && services.values().all(|service| service.discovered.is_none()) {
            return;
        }
        self.collect(policy, now);
        self.followed.retain(|name, followed| {
            let source = services.get(name).and_then(|service| service.discovered.as_ref());
            source.is_some_and(|(source, _)| *source == followed.source)
        });
        for service in services.values() {
            let Some((source, status)) = &service.discovered else { continue };
            self.follow(service, source, status, &policy.discovery, now);
        }
    }

    fn follow(&mut self, service: &Service, source: &Source, status: &Arc<Discovered>, config: &Config, now: Instant) {
        let new = || Followed { source: source.clone(), due: now, is_under_way: false, is_well: true, last: None };
        let followed = self.followed.entry(Arc::clone(&service.name)).or_insert_with(new);
        // A generation that was compiled before the last answer came has not heard of it.
        if let Some(last) = &followed.last
            && service.found(last, now)
        {
            status.changes.add();
            tracing::info!(service = %service.name, endpoints = last.len(), "endpoints have changed");
        }
        if followed.is_under_way || now < followed.due || self.under_way.len() >= MOST_UNDER_WAY {
            return;
        }
        followed.is_under_way = true;
        let asked = ask(source.clone(), config, self.store.clone(), &mut self.resolver);
        let (name, source) = (Arc::clone(&service.name), source.clone());
        self.under_way.spawn(async move {
            let outcome = tokio::time::timeout(PATIENCE, asked).await;
            (name, source, outcome.unwrap_or_else(|late| Err(late.into())))
        });
    }

    fn collect(&mut self, policy: &Policy, now: Instant) {
        while let Some(ended) = self.under_way.try_join_next() {
            let Ok((name, source, outcome)) = ended else { continue };
            let Some(followed) = self.followed.get_mut(&name).filter(|followed| followed.source == source) else {
                continue;
            };
            let service = policy.catalog.services.get(&name);
            let status = service.and_then(|service| service.discovered.as_ref()).map(|(_, status)| status);
            followed.is_under_way = false;
            followed.due = now + pause(&source, outcome.as_ref().ok());
            if let Some(status) = status {
                followed.take(&name, outcome.map(|answer| answer.within(&policy.discovery)), status, now);
            }
        }
    }
}

impl Followed {
    fn take(&mut self, name: &str, outcome: Result<Answer, Failure>, status: &Discovered, now: Instant) {
        let source = self.source.describe();
        let answer = match outcome {
            Ok(answer) => answer,
            Err(error) => {
                status.failures.add();
                if std::mem::take(&mut self.is_well) {
                    tracing::warn!(service = name, source, error = &*error as &dyn Error, "endpoints were not found");
                }
                return;
            }
        };
        (0..answer.cut).for_each(|_| status.cut.add());
        (0..answer.refused).for_each(|_| status.refused.add());
        if answer.endpoints.is_empty() && !self.source.allows_empty() {
            status.empty.add();
            if std::mem::take(&mut self.is_well) {
                let refused = answer.refused;
                tracing::warn!(service = name, source, refused, "there are no endpoints; the last ones stay");
            }
            return;
        }
        status.answered(now);
        if !std::mem::replace(&mut self.is_well, true) {
            tracing::info!(service = name, source, endpoints = answer.endpoints.len(), "endpoints are found again");
        }
        self.last = Some(answer.endpoints);
    }
}

/// How long an answer counts, or a failure: a tenth of it less or more, so that nodes spread out.
fn pause(source: &Source, answer: Option<&Answer>) -> Duration {
    let pause = match source {
        Source::Registry(registry) => registry.interval,
        Source::Dns(dns) => {
            let ttl = answer.and_then(|answer| answer.ttl).unwrap_or(dns.interval.0);
            ttl.clamp(dns.interval.0, dns.interval.1.max(dns.interval.0))
        }
    };
    pause.mul_f64(0.9 + 0.2 * fastrand::f64())
}

/// Asks once. What takes long is in the future.
fn ask(
    source: Source,
    config: &Config,
    store: Option<Arc<Redis>>,
    resolver: &mut Option<(dns::Config, Resolver)>,
) -> impl Future<Output = Result<Answer, Failure>> + Send + use<> {
    let known = resolver.as_ref().filter(|(of, _)| *of == config.dns && !of.servers.is_empty());
    let known = match (&source, known) {
        (Source::Registry(_), _) => None,
        (Source::Dns(_), Some((_, known))) => Some(Ok(known.clone())),
        (Source::Dns(_), None) => Some(Resolver::new(&config.dns)),
    };
    if let Some(Ok(known)) = &known {
        *resolver = Some((config.dns.clone(), known.clone()));
    }
    let most = config.endpoints_max;
    async move {
        match (source, known, store) {
            (Source::Dns(dns), Some(resolver), _) => Ok(resolver?.endpoints(&dns, most).await?),
            (Source::Registry(registry), _, Some(store)) => {
                let registered = Registry::new(store).read(&registry.name, most).await?;
                let endpoints = registered.endpoints.into_iter().map(|it| it.endpoint).collect();
                let mut answer = Answer::new(endpoints, None, most);
                answer.cut += usize::from(registered.is_cut);
                answer.refused += usize::try_from(registered.malformed).unwrap_or(usize::MAX);
                Ok(answer)
            }
            _ => Err("there is no store to look into".into()),
        }
    }
}

/// Waits until the endpoints of all services were found, or until `until`: calls that come before would be refused.
pub async fn wait_for_first(are_settled: impl Fn() -> bool, until: Instant) {
    while !are_settled() && clock::now() < until {
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether every service has endpoints, or knows that it has none.
#[must_use]
pub fn are_settled(policy: &Policy) -> bool {
    policy.catalog.services.values().all(|service| match &service.discovered {
        Some((_, status)) => status.has_answered() || !service.members.now().endpoints.is_empty(),
        None => true,
    })
}

#[cfg(test)]
mod tests;
