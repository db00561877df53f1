//! Counts by key, and by the client's network what a full table has no place for.
//!
//! A table never gives up a key in use. When all its places are taken, a new key is counted as part of its client's network
//! (/24, IPv6: /48) in a smaller table, where [`NETWORK_SHARE`] times as much may pass. When that is full as well, the
//! request passes uncounted: memory stays bounded, and nobody is refused for what others did. Both are counted.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use gatehouse_shared::{
    config::{ConfigErrors, Positions, Rate},
    limit::{
        Algorithm, Decision, FleetConfig, FleetLimit, Full, Key, KeyHasher, RateLimit, RateLimitConfig, Ticks,
        Turnstile, Usage,
    },
};

use super::part::{NETWORK, network_of};

/// How many times as much as one key a network may do whose clients have no places of their own.
const NETWORK_SHARE: u64 = 8;
/// The table of networks has a place for so many keys of the other one, within bounds.
const KEYS_PER_NETWORK: usize = 8;
const NETWORKS: (usize, usize) = (1_024, 65_536);

/// When something happens, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Ticks,
    pub(crate) unix_ms: u64,
}

/// Counts of one limit.
#[derive(Debug)]
pub(crate) struct Counter {
    own: Meter,
    by_network: RateLimit,
    hasher: KeyHasher,
    /// How many have passed the turnstiles of counts that are gone.
    passed_before: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Meter {
    Node(RateLimit),
    Fleet(FleetLimit),
}

/// What is to be compiled.
#[derive(Debug)]
pub(crate) enum Plan {
    Node(RateLimitConfig),
    Fleet(FleetConfig),
}

/// Where a request was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Under its key.
    Own,
    /// Under its client's network, for the table is full.
    Network,
    /// Nowhere.
    Nowhere,
}

impl Counter {
    /// Compiles a counter; counts are those of `before` where they mean the same.
    pub(crate) fn compile(
        plan: &Plan,
        before: Option<&Self>,
        path: &str,
        positions: &Positions,
        now: Instant,
    ) -> Result<Self, ConfigErrors> {
        let own = match (plan, before.map(|before| &before.own)) {
            (Plan::Node(config), before) => {
                let before = before.and_then(|meter| if let Meter::Node(limit) = meter { Some(limit) } else { None });
                Meter::Node(RateLimit::compile(config, before, path, positions, now)?)
            }
            (Plan::Fleet(config), before) => {
                let before = before.and_then(|meter| if let Meter::Fleet(limit) = meter { Some(limit) } else { None });
                Meter::Fleet(FleetLimit::compile(config, before, path, positions)?)
            }
        };
        let networks = plan.of_networks();
        let networks_before = before.map(|before| &before.by_network);
        let by_network = RateLimit::compile(&networks, networks_before, path, positions, now)?;
        let passed_before = before.map(|before| Arc::clone(&before.passed_before)).unwrap_or_default();
        if let Meter::Node(limit) = &own {
            limit.tell_passed(&passed_before);
        }
        Ok(Self { own, by_network, hasher: KeyHasher::of_process(), passed_before })
    }

    /// Asks whether one more may pass, and counts it if so.
    #[inline]
    pub(crate) fn admit(&self, key: Key, client: IpAddr, at: Moment) -> (Decision, Counted) {
        let decision = match &self.own {
            Meter::Node(limit) => limit.admit(key, 1, at.now),
            Meter::Fleet(limit) => limit.admit(key, 1, at.unix_ms),
        };
        self.or_by_network(decision, client, |limit, network| limit.admit(network, 1, at.now))
    }

    /// What lets most requests pass; where it does not, nothing has changed, and [`Self::admit`] is to be asked.
    pub(super) fn turnstile(&self) -> Option<Turnstile> {
        if let Meter::Node(limit) = &self.own { Some(limit.turnstile()) } else { None }
    }

    /// How many have passed turnstiles, those of earlier counts included.
    pub(super) fn passed(&self) -> u64 {
        let now = if let Meter::Node(limit) = &self.own { limit.passed() } else { 0 };
        self.passed_before.load(Ordering::Relaxed).saturating_add(now)
    }

    /// Counts `cost`, whether it may pass or not.
    pub(crate) fn charge(&self, key: Key, client: IpAddr, cost: u32, at: Moment) -> (Decision, Counted) {
        let decision = match &self.own {
            Meter::Node(limit) => limit.charge(key, cost, at.now),
            Meter::Fleet(limit) => limit.charge(key, cost, at.unix_ms),
        };
        self.or_by_network(decision, client, |limit, network| limit.charge(network, cost, at.now))
    }

    /// What [`Self::admit`] would say, without counting.
    pub(crate) fn peek(&self, key: Key, client: IpAddr, at: Moment) -> Decision {
        let decision = match &self.own {
            Meter::Node(limit) => limit.peek(key, 1, at.now),
            Meter::Fleet(limit) => limit.peek(key, 1, at.unix_ms),
        };
        // Nothing is known of the key: perhaps it had no place.
        if decision.reset_after.is_zero() {
            let of_network = self.by_network.peek(self.network(client), 1, at.now);
            if !of_network.allowed {
                return of_network;
            }
        }
        decision
    }

    /// Gives back what [`Self::admit`] has counted a moment ago.
    pub(crate) fn give_back(&self, key: Key, client: IpAddr, counted: Counted, at: Moment) {
        match (counted, &self.own) {
            (Counted::Own, Meter::Node(limit)) => limit.give_back(key, 1, at.now),
            (Counted::Own, Meter::Fleet(limit)) => limit.give_back(key, 1, at.unix_ms),
            (Counted::Network, _) => self.by_network.give_back(self.network(client), 1, at.now),
            (Counted::Nowhere, _) => {}
        }
    }

    #[inline]
    fn or_by_network(
        &self,
        decision: Result<Decision, Full>,
        client: IpAddr,
        ask: impl FnOnce(&RateLimit, Key) -> Result<Decision, Full>,
    ) -> (Decision, Counted) {
        match decision {
            Ok(decision) => (decision, Counted::Own),
            Err(Full) => self.by_network(client, ask),
        }
    }

    #[cold]
    fn by_network(
        &self,
        client: IpAddr,
        ask: impl FnOnce(&RateLimit, Key) -> Result<Decision, Full>,
    ) -> (Decision, Counted) {
        match ask(&self.by_network, self.network(client)) {
            Ok(decision) => (decision, Counted::Network),
            Err(Full) => (PASSED, Counted::Nowhere),
        }
    }

    fn network(&self, client: IpAddr) -> Key {
        self.hasher.key().address(network_of(client, NETWORK)).finish()
    }

    /// The part of `RateLimit-Policy` about it.
    pub(crate) fn policy_field(&self) -> &str {
        match &self.own {
            Meter::Node(limit) => limit.policy_field(),
            Meter::Fleet(limit) => limit.policy_field(),
        }
    }

    /// The limit that all nodes keep together, if it is one.
    pub(crate) fn fleet(&self) -> Option<&FleetLimit> {
        if let Meter::Fleet(limit) = &self.own { Some(limit) } else { None }
    }

    /// How full both tables are.
    pub(crate) fn usage(&self) -> [Usage; 2] {
        let own = match &self.own {
            Meter::Node(limit) => limit.usage(),
            Meter::Fleet(limit) => limit.usage(),
        };
        [own, self.by_network.usage()]
    }

    /// Gives the places of idle keys back.
    pub(crate) fn reclaim(&self, at: Moment) {
        match &self.own {
            Meter::Node(limit) => limit.reclaim(at.now),
            Meter::Fleet(limit) => limit.reclaim(at.unix_ms),
        }
        self.by_network.reclaim(at.now);
    }
}

/// What is said of a request that is counted nowhere.
const PASSED: Decision =
    Decision { allowed: true, remaining: 0, reset_after: Duration::ZERO, retry_after: None, banned_until: None };

impl Plan {
    /// The same for the networks of clients who find no place. A node of a fleet keeps its share of them by itself.
    fn of_networks(&self) -> RateLimitConfig {
        let (config, nodes) = match self {
            Self::Node(config) => (config.clone(), 1),
            Self::Fleet(config) => {
                let same = RateLimitConfig {
                    name: config.name.clone(),
                    key: String::new(),
                    algorithm: Algorithm::SlidingWindow,
                    rate: config.rate,
                    burst: None,
                    ban: None,
                    max_keys: config.max_keys,
                };
                (same, u64::from(config.nodes.max(1)))
            }
        };
        let wider = |count: u64| (count.saturating_mul(NETWORK_SHARE) / nodes).clamp(1, u32::MAX.into());
        let (least, most) = NETWORKS;
        RateLimitConfig {
            key: "network".to_owned(),
            rate: Rate { count: wider(config.rate.count), ..config.rate },
            burst: config.burst.map(wider),
            max_keys: (config.max_keys / KEYS_PER_NETWORK).clamp(least, most),
            ..config
        }
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::clock;

    use super::*;

    fn counter(rate: &str, max_keys: usize) -> Counter {
        let config = RateLimitConfig {
            name: "a".into(),
            key: "client".into(),
            algorithm: Algorithm::SlidingWindow,
            rate: rate.parse().unwrap(),
            burst: None,
            ban: None,
            max_keys,
        };
        Counter::compile(&Plan::Node(config), None, "limit[0]", &Positions::default(), clock::now()).unwrap()
    }

    fn key(client: IpAddr) -> Key {
        KeyHasher::of_process().key().address(client).finish()
    }

    #[test]
    fn new_clients_of_a_full_table_are_counted_by_their_network() {
        let (counter, at) = (counter("2/60s", 10), Moment { now: clock::now().into(), unix_ms: 0 });
        let admit = |client: IpAddr| counter.admit(key(client), client, at);
        let client = |n: u8| IpAddr::from([192, 0, 2, n]);
        assert!((0..10).all(|n| admit(client(n)).1 == Counted::Own));
        // 16 for the network instead of 2 for each.
        assert!(
            (100..116)
                .all(|n| admit(client(n)).0.allowed
                    && !counter.peek(key(client(1)), client(1), at).reset_after.is_zero())
        );
        let (refused, counted) = admit(client(200));
        assert_eq!((refused.allowed, counted), (false, Counted::Network));
        assert!(!counter.peek(key(client(201)), client(201), at).allowed, "what is counted later is refused too");
        assert!(admit(client(1)).0.allowed, "who has a place keeps it");
        assert!(admit(IpAddr::from([198, 51, 100, 1])).0.allowed, "another network");
        counter.give_back(key(client(115)), client(115), Counted::Network, at);
        assert!(admit(client(202)).0.allowed);
        let [own, networks] = counter.usage();
        assert_eq!((own.keys, own.full_total, networks.keys), (10, 19, 2));
    }

    #[test]
    fn when_there_is_no_place_at_all_requests_pass_and_are_counted() {
        let (counter, at) = (counter("1/60s", 1), Moment { now: clock::now().into(), unix_ms: 0 });
        let client = |n: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(n << 8));
        for n in 0..=1_024 {
            assert!(counter.admit(key(client(n)), client(n), at).0.allowed);
        }
        assert_eq!(counter.admit(key(client(5_000)), client(5_000), at).1, Counted::Nowhere);
        assert_eq!(counter.usage()[1].full_total, 1);
    }
}
