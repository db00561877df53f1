//! Clients banned by limits: in force on this node at once, and handed on for the rest of the fleet at a bounded pace.
//!
//! Nothing here waits. What is handed on lies in a bounded queue until somebody drains it; a flood of bans neither fills
//! memory nor the fleet's blocklist: at most so many go out a second, and when more wait, eight and more clients of one
//! network (/24, IPv6: /48) go out as that network.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use gatehouse_shared::cidr::{Network, around};

use super::part::NETWORK;
use crate::accept::guard::network;

/// Most clients banned on this node at a time, about 100 bytes each.
const HELD_MAX: usize = 65_536;
/// Most bans that wait to be handed on.
const WAITING_MAX: usize = 4_096;
/// Clients of one network whose bans become one of the network.
const NETWORK_FROM: usize = 8;

/// A client, or a network of them, that limits have banned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Whom: an IPv4 address, an IPv6 /64 network, or a whole network in a flood of bans.
    pub client: Network,
    /// Until when, Unix milliseconds.
    pub until_unix_ms: u64,
    /// The limit that banned it.
    pub limit: Arc<str>,
}

/// A ban that is in force.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) until_unix_ms: u64,
    pub(super) limit: Arc<str>,
}

/// Every ban of this node; outlives configurations.
#[derive(Debug, Default)]
pub struct Bans {
    /// Bans in force, ended ones included until room is needed. A lock is held for one look-up; when there is no room also for
    /// one sweep, once a second at most.
    held: Mutex<InForce>,
    held_count: AtomicUsize,
    /// Bans to be handed on; locked for a push, and for one drain.
    waiting: Mutex<Waiting>,
    banned: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct InForce {
    bans: HashMap<IpAddr, Held>,
    /// The second in which it was last swept.
    swept: u64,
}

#[derive(Debug, Default)]
struct Waiting {
    bans: VecDeque<Ban>,
    /// The second in which bans last went out, and how many in it.
    second: u64,
    sent: usize,
}

/// What became of bans since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BanTotals {
    /// Clients banned.
    pub banned: u64,
    /// Bans that were not handed on, or not even kept, because too many waited.
    pub dropped: u64,
    /// Clients banned now, ended bans included until room is needed.
    pub held: usize,
}

impl Bans {
    /// Bans a client until then, or for longer if it is already. It is in force at once.
    pub fn ban(&self, client: IpAddr, until_unix_ms: u64, limit: &Arc<str>, now_unix_ms: u64) {
        let client = network(client);
        let is_new = {
            let mut held = lock(&self.held);
            let before = held.bans.get(&client).map(|ban| ban.until_unix_ms);
            if before.is_none() && !held.has_room(now_unix_ms) {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            } else if before.is_none_or(|before| before < until_unix_ms) {
                held.bans.insert(client, Held { until_unix_ms, limit: Arc::clone(limit) });
            }
            self.held_count.store(held.bans.len(), Ordering::Relaxed);
            before.is_none_or(|before| before <= now_unix_ms)
        };
        if !is_new {
            return;
        }
        self.banned.fetch_add(1, Ordering::Relaxed);
        let mut waiting = lock(&self.waiting);
        if waiting.bans.len() >= WAITING_MAX {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let client = around(client, 32, 64);
        waiting.bans.push_back(Ban { client, until_unix_ms, limit: Arc::clone(limit) });
    }

    /// The ban of a client that is in force. One atomic load when nobody is banned.
    pub(super) fn of(&self, client: IpAddr, now_unix_ms: u64) -> Option<Held> {
        if self.held_count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let client = network(client);
        let mut held = lock(&self.held);
        let ban = held.bans.get(&client)?;
        if ban.until_unix_ms > now_unix_ms {
            return Some(ban.clone());
        }
        held.bans.remove(&client);
        self.held_count.store(held.bans.len(), Ordering::Relaxed);
        None
    }

    /// Ends the bans of this node within a network, and takes back those that still wait; returns how many were in force.
    pub fn lift(&self, network: &Network) -> usize {
        lock(&self.waiting).bans.retain(|ban| !network.contains(ban.client.as_ipnet().addr()));
        let mut held = lock(&self.held);
        let before = held.bans.len();
        held.bans.retain(|client, _| !network.contains(*client));
        self.held_count.store(held.bans.len(), Ordering::Relaxed);
        before - held.bans.len()
    }

    /// Takes the bans that may be handed on now: at most `most` in each second. Those that have ended meanwhile are left out.
    #[must_use]
    pub fn drain(&self, most: usize, now_unix_ms: u64) -> Vec<Ban> {
        let mut waiting = lock(&self.waiting);
        let second = now_unix_ms / 1_000;
        if waiting.second != second {
            (waiting.second, waiting.sent) = (second, 0);
        }
        waiting.bans.retain(|ban| ban.until_unix_ms > now_unix_ms);
        let room = most.saturating_sub(waiting.sent);
        if waiting.bans.len() > room {
            waiting.aggregate();
        }
        let count = room.min(waiting.bans.len());
        waiting.sent += count;
        waiting.bans.drain(..count).collect()
    }

    /// Counters.
    #[must_use]
    pub fn totals(&self) -> BanTotals {
        BanTotals {
            banned: self.banned.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            held: self.held_count.load(Ordering::Relaxed),
        }
    }
}

impl InForce {
    /// Whether there is a place for another client.
    fn has_room(&mut self, now_unix_ms: u64) -> bool {
        let second = now_unix_ms / 1_000;
        if self.bans.len() >= HELD_MAX && self.swept != second {
            self.swept = second;
            self.bans.retain(|_, ban| ban.until_unix_ms > now_unix_ms);
        }
        self.bans.len() < HELD_MAX
    }
}

impl Waiting {
    /// Puts one ban in the place of those of a network that has many; such bans go first.
    fn aggregate(&mut self) {
        let of = |ban: &Ban| around(ban.client.as_ipnet().addr(), NETWORK.0, NETWORK.1);
        let mut counts = HashMap::<Network, usize>::new();
        for ban in &self.bans {
            *counts.entry(of(ban)).or_default() += 1;
        }
        counts.retain(|_, count| *count >= NETWORK_FROM);
        if counts.is_empty() {
            return;
        }
        let mut whole: Vec<Ban> = Vec::with_capacity(counts.len());
        let mut single = VecDeque::new();
        for ban in self.bans.drain(..) {
            let network = of(&ban);
            if !counts.contains_key(&network) {
                single.push_back(ban);
            } else if let Some(known) = whole.iter_mut().find(|known| known.client == network) {
                known.until_unix_ms = known.until_unix_ms.max(ban.until_unix_ms);
            } else {
                whole.push(Ban { client: network, ..ban });
            }
        }
        self.bans = whole.into_iter().chain(single).collect();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_169_880_000;

    fn limit() -> Arc<str> {
        "floods".into()
    }

    fn client(network: u8, host: u8) -> IpAddr {
        IpAddr::from([198, 51, network, host])
    }

    #[test]
    fn a_ban_is_in_force_until_it_ends() {
        let bans = Bans::default();
        assert!(bans.of(client(0, 1), NOW).is_none());
        bans.ban(client(0, 1), NOW + 1_000, &limit(), NOW);
        assert_eq!(bans.of(client(0, 1), NOW + 999).unwrap().until_unix_ms, NOW + 1_000);
        assert!(bans.of(client(0, 2), NOW).is_none());
        assert!(bans.of(client(0, 1), NOW + 1_000).is_none());
        assert_eq!(bans.totals(), BanTotals { banned: 1, dropped: 0, held: 0 });
        bans.ban("2001:db8::1".parse().unwrap(), NOW + 1_000, &limit(), NOW);
        assert!(bans.of("2001:db8::2".parse().unwrap(), NOW).is_some(), "an IPv6 client is its network");
        assert_eq!(bans.lift(&"2001:db8::/32".parse().unwrap()), 1);
        assert!(bans.of("2001:db8::2".parse().unwrap(), NOW).is_none());
        assert!(bans.drain(10, NOW).iter().all(|ban| ban.client == "198.51.0.1".parse().unwrap()), "taken back");
    }

    #[test]
    fn a_client_is_handed_on_once_for_each_ban() {
        let bans = Bans::default();
        bans.ban(client(0, 1), NOW + 1_000, &limit(), NOW);
        bans.ban(client(0, 1), NOW + 2_000, &limit(), NOW);
        assert_eq!(bans.of(client(0, 1), NOW).unwrap().until_unix_ms, NOW + 2_000, "the longer one counts");
        assert_eq!(bans.drain(10, NOW).len(), 1);
        bans.ban(client(0, 1), NOW + 5_000, &limit(), NOW + 3_000);
        assert_eq!(bans.drain(10, NOW + 3_000).len(), 1);
    }

    #[test]
    fn so_many_go_out_a_second_and_the_others_wait() {
        let bans = Bans::default();
        (0..50).for_each(|n| bans.ban(client(n, 1), NOW + 60_000, &limit(), NOW));
        assert_eq!(bans.drain(20, NOW).len(), 20);
        assert_eq!(bans.drain(20, NOW + 999).len(), 0);
        assert_eq!(bans.drain(20, NOW + 1_000).len(), 20);
        assert_eq!(bans.drain(20, NOW + 2_000).len(), 10);
        (0..50).for_each(|n| bans.ban(client(n, 2), NOW + 60_000, &limit(), NOW));
        assert_eq!(bans.drain(20, NOW + 60_000).len(), 0, "they have ended");
    }

    #[test]
    fn many_clients_of_a_network_become_the_network() {
        let bans = Bans::default();
        (0..7).for_each(|n| bans.ban(client(1, n), NOW + 60_000, &limit(), NOW));
        (0..200).for_each(|n| bans.ban(client(2, n), NOW + 60_000 + u64::from(n), &limit(), NOW));
        let drained = bans.drain(20, NOW);
        let expected =
            Ban { client: "198.51.2.0/24".parse().unwrap(), until_unix_ms: NOW + 60_199, limit: "floods".into() };
        assert_eq!((drained.len(), &drained[0]), (8, &expected));
        assert!(drained[1..].iter().all(|ban| ban.client.as_ipnet().prefix_len() == 32));
        assert!((0..200).all(|n| bans.of(client(2, n), NOW).is_some()) && bans.of(client(2, 250), NOW).is_none());
    }

    #[test]
    fn too_many_are_dropped_and_counted() {
        let bans = Bans::default();
        for n in 0..70_000_u32 {
            bans.ban(IpAddr::from(std::net::Ipv4Addr::from_bits(n << 8)), NOW + 60_000, &limit(), NOW);
        }
        let totals = bans.totals();
        assert_eq!((totals.banned, totals.held), (70_000, HELD_MAX));
        assert_eq!(totals.dropped, 70_000 - 65_536 + 70_000 - 4_096);
        bans.ban(client(0, 1), NOW + 90_000, &limit(), NOW + 60_000);
        assert_eq!(bans.totals().held, 1, "ended ones make room");
    }
}
