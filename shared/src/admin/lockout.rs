//! Failures by client: who guesses tokens is locked out for a while.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::cidr::{Network, around};

/// Failures within the window that lock a client out.
const MAX_FAILURES: u32 = 10;
/// How long failures count, from the first one on.
const WINDOW: Duration = Duration::from_secs(60);
/// Clients remembered; when there are more, the one whose window began first is forgotten.
const MAX_CLIENTS: usize = 1_024;

#[derive(Debug)]
struct Failures {
    since: Instant,
    count: u32,
}

/// Failures of clients, IPv6 ones by /64.
#[derive(Debug, Default)]
pub(super) struct Lockout {
    clients: HashMap<Network, Failures>,
}

impl Lockout {
    /// How long the client is still locked out.
    pub(super) fn remaining(&self, client: IpAddr, now: Instant) -> Option<Duration> {
        let failures = self.clients.get(&key(client))?;
        let until = failures.since + WINDOW;
        (failures.count >= MAX_FAILURES && until > now).then(|| until - now)
    }

    /// Counts a failure.
    pub(super) fn failed(&mut self, client: IpAddr, now: Instant) {
        let key = key(client);
        if !self.clients.contains_key(&key) && self.clients.len() >= MAX_CLIENTS {
            self.clients.retain(|_, failures| failures.since + WINDOW > now);
            if self.clients.len() >= MAX_CLIENTS {
                let oldest = self.clients.iter().min_by_key(|(_, failures)| failures.since).map(|(key, _)| *key);
                oldest.map(|oldest| self.clients.remove(&oldest));
            }
        }
        let failures = self.clients.entry(key).or_insert(Failures { since: now, count: 0 });
        if failures.since + WINDOW <= now {
            *failures = Failures { since: now, count: 0 };
        }
        failures.count = failures.count.saturating_add(1);
    }
}

fn key(client: IpAddr) -> Network {
    around(client, 32, 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn client(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn ten_failures_lock_out_for_the_rest_of_the_minute() {
        let mut lockout = Lockout::default();
        let now = clock::now();
        for second in 0..10 {
            assert_eq!(lockout.remaining(client(1), now), None);
            lockout.failed(client(1), now + Duration::from_secs(second));
        }
        let later = now + Duration::from_secs(10);
        assert_eq!(lockout.remaining(client(1), later), Some(Duration::from_secs(50)));
        assert_eq!(lockout.remaining(client(2), later), None);
        assert_eq!(lockout.remaining(client(1), now + WINDOW), None);
        lockout.failed(client(1), now + WINDOW);
        assert_eq!(lockout.remaining(client(1), now + WINDOW), None);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut lockout = Lockout::default();
        let now = clock::now();
        for n in 0..5_000 {
            lockout.failed(client(n), now + Duration::from_millis(u64::from(n)));
        }
        assert_eq!(lockout.clients.len(), MAX_CLIENTS);
        assert!(lockout.clients.contains_key(&key(client(4_999))));
    }

    #[test]
    fn one_ipv6_network_is_one_client() {
        let mut lockout = Lockout::default();
        let now = clock::now();
        for n in 0..10 {
            lockout.failed(format!("2001:db8::{n}").parse().unwrap(), now);
        }
        assert!(lockout.remaining("2001:db8::ffff".parse().unwrap(), now).is_some());
    }
}
