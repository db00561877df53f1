//! How many connections there are, in all and of each client; a guard is released by dropping it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::tls_failure::{TlsFailure, TlsFailures};

/// Locks over which clients are spread, so that two workers rarely meet.
const SHARDS: usize = 64;

/// The connections of a process.
#[derive(Debug)]
pub struct Connections {
    accepted: AtomicU64,
    tls_failures: TlsFailures,
    open: AtomicUsize,
    open_max: usize,
    /// Open connections by client, one map a shard. A lock is held for one look-up; entries are at most as many as
    /// connections.
    clients: Box<[Mutex<HashMap<IpAddr, u32>>]>,
}

impl Connections {
    /// At most `open_max` at a time.
    #[must_use]
    pub fn new(open_max: usize) -> Arc<Self> {
        let clients = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        Arc::new(Self {
            accepted: AtomicU64::new(0),
            tls_failures: TlsFailures::default(),
            open: AtomicUsize::new(0),
            open_max,
            clients,
        })
    }

    /// How many have been taken from the listeners, refused ones included.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many TLS handshakes have failed, by kind.
    pub fn tls_failures(&self) -> impl Iterator<Item = (TlsFailure, u64)> {
        self.tls_failures.totals()
    }

    /// Counts a failed TLS handshake.
    pub(super) fn count_tls_failure(&self, failure: TlsFailure) {
        self.tls_failures.count(failure);
    }

    /// How many are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts one more connection, unless there are as many as there may be.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Guard> {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.open_max {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Guard { connections: Arc::clone(self), client: None })
    }

    fn shard(&self, client: IpAddr) -> Option<&Mutex<HashMap<IpAddr, u32>>> {
        let mixed = match client {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or_default(),
        };
        let mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
        self.clients.get(usize::try_from(mixed).unwrap_or_default())
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Guard {
    connections: Arc<Connections>,
    client: Option<IpAddr>,
}

impl Guard {
    /// Counts the connection for its client; false when that client has `most` already. An IPv6 client is its /64 network.
    pub(super) fn count_client(&mut self, address: IpAddr, most: u32) -> bool {
        if most == 0 {
            return true;
        }
        let client = network(address);
        let Some(shard) = self.connections.shard(client) else { return true };
        let mut counts = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_insert(0);
        if *count >= most {
            return false;
        }
        *count += 1;
        self.client = Some(client);
        true
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.connections.open.fetch_sub(1, Ordering::Relaxed);
        let Some(client) = self.client else { return };
        let Some(shard) = self.connections.shard(client) else { return };
        let mut counts = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = counts.entry(client) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// Who counts as one client: an IPv4 address or an IPv6 /64 network.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_all_connections_and_those_of_each_client() {
        let connections = Connections::new(3);
        let enter = |client: &str| {
            let mut guard = connections.enter()?;
            guard.count_client(client.parse().unwrap(), 2).then_some(guard)
        };
        let first = enter("192.0.2.1").unwrap();
        let _second = enter("::ffff:192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        drop(first);
        let _third = enter("192.0.2.1").unwrap();
        let _other = enter("2001:db8::1").unwrap();
        assert!(enter("2001:db8:0:1::1").is_none(), "the cap on all connections");
        assert_eq!((connections.open(), connections.accepted()), (3, 6));
    }

    #[test]
    fn an_ipv6_client_is_its_network_and_forgotten_when_gone() {
        let connections = Connections::new(10);
        let mut first = connections.enter().unwrap();
        assert!(first.count_client("2001:db8::1".parse().unwrap(), 1));
        let mut second = connections.enter().unwrap();
        assert!(!second.count_client("2001:db8::ffff:1".parse().unwrap(), 1));
        drop((first, second));
        assert_eq!(connections.open(), 0);
        assert!(connections.clients.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}
