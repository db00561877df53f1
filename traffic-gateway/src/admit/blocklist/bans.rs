//! Bans: entries that the gate makes by itself, where a limit says so.
//!
//! A request only leaves a wish here. The background task turns wishes into entries, at most [`PER_SECOND`] of them a second on
//! each node, so that whoever has many addresses can neither flood Redis nor the audit log. When more wait than that, clients
//! of one network are banned together: a /24 (IPv6: /48) in which [`TOGETHER`] clients wait. What overlaps an allowed or
//! trusted network is never banned.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gatehouse_shared::cidr::{Network, around};

/// Entries made in a second.
pub const PER_SECOND: usize = 10;
/// Clients of one network that are banned together.
pub const TOGETHER: usize = 16;
/// Wishes that wait; further ones are dropped and counted. Who goes on will be wished for again.
pub const MOST_WAITING: usize = 4_096;

/// Wishes that wait.
#[derive(Debug, Default)]
pub struct Bans {
    /// Held for one wish, which a client makes once a ban.
    waiting: Mutex<Waiting>,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    wishes: HashMap<Network, Wish>,
    /// The current second, and entries made in it.
    second: (u64, usize),
}

#[derive(Debug, Clone)]
struct Wish {
    until: u64,
    limit: Arc<str>,
}

/// An entry to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// A client, or a network of many.
    pub network: Network,
    /// When it ends, in Unix seconds.
    pub until: u64,
    /// The limit that asked for it; of several one.
    pub limit: Arc<str>,
    /// Clients it stands for.
    pub clients: usize,
}

impl Bans {
    /// Asks for a ban of a client (IPv6: its /64) from `unix_ms` on. Cheap enough for a request that is refused.
    pub fn ask(&self, client: IpAddr, lasting: Duration, limit: &Arc<str>, unix_ms: u64) {
        let end = unix_ms.saturating_add(u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX));
        let wish = Wish { until: end.div_ceil(1_000), limit: Arc::clone(limit) };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let client = around(client, 32, 64);
        if waiting.wishes.len() >= MOST_WAITING && !waiting.wishes.contains_key(&client) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.wishes.insert(client, wish);
    }

    /// Wishes that were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The entries to be made now, in Unix seconds; `may_be_banned` says which networks may.
    pub(super) fn take(&self, now: u64, may_be_banned: impl Fn(Network) -> bool) -> Vec<Ban> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.second.0 != now {
            waiting.second = (now, 0);
        }
        let room = PER_SECOND.saturating_sub(waiting.second.1);
        if room == 0 || waiting.wishes.is_empty() {
            return Vec::new();
        }
        waiting.wishes.retain(|network, wish| wish.until > now && may_be_banned(*network));
        let mut bans = Vec::new();
        if waiting.wishes.len() > room {
            bans = waiting.together(&may_be_banned);
            bans.truncate(room);
            for ban in &bans {
                waiting.wishes.retain(|client, _| !ban.network.contains(client.as_ipnet().addr()));
            }
        }
        let alone: Vec<Network> = waiting.wishes.keys().take(room - bans.len()).copied().collect();
        for network in alone {
            if let Some(Wish { until, limit }) = waiting.wishes.remove(&network) {
                bans.push(Ban { network, until, limit, clients: 1 });
            }
        }
        waiting.second.1 += bans.len();
        bans
    }
}

impl Waiting {
    /// Networks in which enough clients wait, those with the most first; until the first of them would be free again.
    fn together(&self, may_be_banned: impl Fn(Network) -> bool) -> Vec<Ban> {
        let mut networks: HashMap<Network, Ban> = HashMap::new();
        for (client, wish) in &self.wishes {
            let network = around(client.as_ipnet().addr(), 24, 48);
            let limit = || Arc::clone(&wish.limit);
            let ban = networks.entry(network).or_insert_with(|| Ban {
                network,
                until: wish.until,
                limit: limit(),
                clients: 0,
            });
            ban.until = ban.until.min(wish.until);
            ban.clients += 1;
        }
        let is_due = |ban: &Ban| ban.clients >= TOGETHER && may_be_banned(ban.network);
        let mut bans: Vec<Ban> = networks.into_values().filter(is_due).collect();
        bans.sort_by_key(|ban| (usize::MAX - ban.clients, ban.network));
        bans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(bans: &Bans, clients: impl IntoIterator<Item = [u8; 4]>) {
        for client in clients {
            bans.ask(client.into(), Duration::from_secs(60), &"logins".into(), 1_000_500);
        }
    }

    fn networks(bans: &[Ban]) -> Vec<String> {
        let mut networks: Vec<String> = bans.iter().map(|ban| ban.network.to_string()).collect();
        networks.sort();
        networks
    }

    #[test]
    fn few_clients_are_banned_one_by_one() {
        let bans = Bans::default();
        ask(&bans, [[192, 0, 2, 1], [192, 0, 2, 2], [192, 0, 2, 1]]);
        let taken = bans.take(1_000, |_| true);
        assert_eq!(networks(&taken), ["192.0.2.1", "192.0.2.2"]);
        assert_eq!((taken[0].until, &*taken[0].limit, taken[0].clients), (1_061, "logins", 1));
        assert_eq!(bans.take(1_001, |_| true), []);
    }

    #[test]
    fn never_more_than_so_many_a_second_and_a_crowd_together() {
        let bans = Bans::default();
        ask(&bans, (0..40).map(|n| [192, 0, 2, n]));
        ask(&bans, (0..30).map(|n| [198, 51, n, 1]));
        let first = bans.take(1_000, |_| true);
        assert_eq!(first.len(), PER_SECOND);
        assert_eq!((first[0].network.to_string().as_str(), first[0].clients), ("192.0.2.0/24", 40));
        assert!(first[1..].iter().all(|ban| ban.clients == 1 && ban.network.to_string().starts_with("198.51.")));
        assert_eq!(bans.take(1_000, |_| true), [], "the second is full");
        let rest: usize = (1_001..1_005).map(|now| bans.take(now, |_| true).len()).sum();
        assert_eq!(rest, 30 - (PER_SECOND - 1));
    }

    #[test]
    fn what_may_not_be_banned_is_not_alone_nor_in_a_crowd() {
        let bans = Bans::default();
        ask(&bans, (0..40).map(|n| [192, 0, 2, n]));
        let allowed: Network = "192.0.2.7".parse().unwrap();
        let may = |network: Network| !network.contains(allowed.as_ipnet().addr());
        let taken = bans.take(1_000, may);
        assert!(taken.len() == PER_SECOND && taken.iter().all(|ban| ban.clients == 1 && ban.network != allowed));
    }

    #[test]
    fn wishes_are_bounded() {
        let bans = Bans::default();
        ask(&bans, (0..=255).flat_map(|a| (0..=255).map(move |b| [10, 0, a, b])));
        assert_eq!(bans.dropped(), 65_536 - MOST_WAITING as u64);
        assert_eq!(bans.take(2_000, |_| true), [], "they are over");
    }
}
