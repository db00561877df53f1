//! How many connections a client may open in a time.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use gatehouse_shared::config::{ConfigErrors, Positions, Rate};
use gatehouse_shared::limit::{Algorithm, KeyHasher, RateLimitConfig};

use super::guard::network;
use crate::admit::limit::counter::{Counter, Moment, Plan};

/// Clients counted at a time, 55 bytes each; more are counted by network.
const CLIENTS_MAX: usize = 500_000;
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// `connection_rate`, compiled: a token bucket for each client.
#[derive(Debug)]
pub struct ConnectionRate {
    counter: Counter,
    hasher: KeyHasher,
}

impl ConnectionRate {
    /// Compiles a rate; counts are those of `before`.
    ///
    /// # Errors
    /// The rate cannot be kept.
    pub fn compile(
        rate: Rate,
        before: Option<&Self>,
        positions: &Positions,
        now: Instant,
    ) -> Result<Self, ConfigErrors> {
        if u32::try_from(rate.count).is_err() || rate.count == 0 || rate.per > LONGEST {
            let message = "connection_rate must be 1 to 4294967295 in at most 366d";
            return Err(positions.error("accept.connection_rate", message, None).into());
        }
        let plan = Plan::Node(RateLimitConfig {
            name: "connections".to_owned(),
            key: "client".to_owned(),
            algorithm: Algorithm::TokenBucket,
            rate,
            burst: None,
            ban: None,
            max_keys: CLIENTS_MAX,
        });
        let counter = Counter::compile(&plan, before.map(|before| &before.counter), "accept", positions, now)?;
        Ok(Self { counter, hasher: KeyHasher::of_process() })
    }

    /// Counts a connection of a client; whether it may have it.
    pub(super) fn admit(&self, client: IpAddr, now: Instant) -> bool {
        let key = self.hasher.key().address(network(client)).finish();
        let (decision, _counted) = self.counter.admit(key, client, Moment { now: now.into(), unix_ms: 0 });
        decision.allowed
    }

    /// Gives the places of clients who have not come for long back.
    pub fn reclaim(&self, now: Instant) {
        self.counter.reclaim(Moment { now: now.into(), unix_ms: 0 });
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::clock;

    use super::*;

    #[test]
    fn connections_come_back_at_the_rate_and_counts_survive_a_reload() {
        let (start, positions) = (clock::now(), Positions::default());
        let rate = |text: &str, before| ConnectionRate::compile(text.parse().unwrap(), before, &positions, start);
        let first = rate("2/1s", None).unwrap();
        let [four, six] = ["192.0.2.1", "2001:db8::1"].map(|client| client.parse().unwrap());
        assert!((0..2).all(|_| first.admit(four, start)) && !first.admit(four, start));
        assert!((0..2).all(|_| first.admit(six, start)));
        assert!(!first.admit("2001:db8::ffff".parse().unwrap(), start), "an IPv6 client is its /64 network");
        let second = rate("4/1s", Some(&first)).unwrap();
        assert!((0..2).all(|_| second.admit(four, start)) && !second.admit(four, start));
        assert!(second.admit(four, start + Duration::from_millis(250)));
        assert!(rate("0/1s", None).is_err());
    }
}
