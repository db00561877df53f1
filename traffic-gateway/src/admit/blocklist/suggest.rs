//! Candidates for the blocklist: who is refused most, and who connects most without ever logging in.
//!
//! Both are counted by network in two periods of five minutes, the current one and the one before. Each period has
//! [`MOST_NETWORKS`] places and counts by the *space-saving* method (Metwally, Agrawal, El Abbadi, 2005): a new network
//! takes the place of the one with the lowest count and inherits it as its possible error. A count is exact as long as
//! there are no more networks than places; beyond that it is never too low, and too high by at most the stated error, which
//! is at most all that was counted in the period divided by the places. Who has more than that is there for certain.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gatehouse_shared::cidr::{Network, around};
use gatehouse_shared::problem::Reason;

/// Networks counted in a period.
pub const MOST_NETWORKS: usize = 1_024;
/// How long a period is.
pub const PERIOD: Duration = Duration::from_secs(300);

/// Networks of a /24 (IPv6: /48) with fewer new connections than this are nobody's concern.
pub const MANY_CONNECTIONS: u64 = 100;
/// Most networks remembered in a period for having logged in.
const MOST_KNOWN: usize = 65_536;

/// How often something happened, by network.
#[derive(Debug, Default)]
pub struct Often {
    /// Held for one count.
    periods: Mutex<Periods<Period>>,
}

/// Clients that are refused.
#[derive(Debug, Default)]
pub struct Refused(Often);

/// Networks that open many connections, and never make a call with good credentials.
#[derive(Debug, Default)]
pub struct Crawlers {
    connections: Often,
    /// Who has logged in of late. When there are too many, further ones are not remembered, and may look like crawlers until the
    /// period ends: what is found here are candidates, which somebody looks at. Held for one entry, once for each connection
    /// on which somebody has logged in.
    known: Mutex<Periods<HashSet<Network>>>,
}

/// What is noted in the current period, and in the one before.
#[derive(Debug, Default)]
struct Periods<T> {
    /// When the current one began.
    since: Option<Instant>,
    current: T,
    before: T,
}

/// The counts of one period.
#[derive(Debug, Default)]
struct Period {
    counts: HashMap<Network, Count>,
    /// Networks that had the lowest count when they were last looked for, and that count: so that a flood of new networks does
    /// not look through all places for each.
    least: Vec<Network>,
    fewest: u64,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    count: u64,
    error: u64,
    note: &'static str,
}

/// A network about which something happened often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The network.
    pub network: Network,
    /// How often, in the last five to ten minutes; never too low.
    pub count: u64,
    /// By how much that may be too high.
    pub error: u64,
    /// What was said of the last time.
    pub note: &'static str,
}

impl Refused {
    /// Counts a refusal of a client (IPv6: of its /64).
    pub fn count(&self, client: IpAddr, reason: &'static Reason, now: Instant) {
        self.0.count(around(client, 32, 64), reason.code, now);
    }

    /// The clients with the most refusals, each with the code of its last one; the worst first.
    #[must_use]
    pub fn most(&self, now: Instant) -> Vec<Candidate> {
        self.0.most(now)
    }
}

impl Crawlers {
    /// Counts a new connection of a client.
    pub fn connected(&self, client: IpAddr, now: Instant) {
        self.connections.count(wide(client), "", now);
    }

    /// A client has made a call with good credentials.
    pub fn logged_in(&self, client: IpAddr, now: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.roll(now);
        if known.current.len() < MOST_KNOWN {
            known.current.insert(wide(client));
        }
    }

    /// The networks with the most connections of which nobody has logged in, the worst first.
    #[must_use]
    pub fn most(&self, now: Instant) -> Vec<Candidate> {
        let mut candidates = self.connections.most(now);
        candidates.retain(|candidate| candidate.count - candidate.error >= MANY_CONNECTIONS);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.roll(now);
        candidates.retain(|candidate| {
            !known.current.contains(&candidate.network) && !known.before.contains(&candidate.network)
        });
        candidates
    }
}

/// The network of a client as crawlers have them: a /24, or a /48 of IPv6.
fn wide(client: IpAddr) -> Network {
    around(client, 24, 48)
}

impl Often {
    /// Counts once more.
    pub fn count(&self, network: Network, note: &'static str, now: Instant) {
        let mut periods = self.periods.lock().unwrap_or_else(PoisonError::into_inner);
        periods.roll(now);
        periods.current.count(network, note);
    }

    /// The networks with the highest counts, the worst first.
    #[must_use]
    pub fn most(&self, now: Instant) -> Vec<Candidate> {
        let mut periods = self.periods.lock().unwrap_or_else(PoisonError::into_inner);
        periods.roll(now);
        let mut sums = periods.before.counts.clone();
        for (network, count) in &periods.current.counts {
            let sum = sums.entry(*network).or_insert(Count { count: 0, error: 0, note: count.note });
            *sum = Count { count: sum.count + count.count, error: sum.error + count.error, note: count.note };
        }
        drop(periods);
        let mut candidates: Vec<Candidate> = sums
            .into_iter()
            .map(|(network, Count { count, error, note })| Candidate { network, count, error, note })
            .collect();
        candidates.sort_by(|a, b| b.count.cmp(&a.count).then(a.network.cmp(&b.network)));
        candidates
    }
}

impl<T: Default> Periods<T> {
    fn roll(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let age = now.saturating_duration_since(since);
        if age >= PERIOD {
            self.before = std::mem::take(&mut self.current);
            if age >= 2 * PERIOD {
                self.before = T::default();
            }
            self.since = Some(now);
        }
    }
}

impl Period {
    fn count(&mut self, network: Network, note: &'static str) {
        if let Some(count) = self.counts.get_mut(&network) {
            count.count += 1;
            count.note = note;
            return;
        }
        let error = if self.counts.len() >= MOST_NETWORKS { self.give_up_one() } else { 0 };
        self.counts.insert(network, Count { count: error + 1, error, note });
    }

    /// Gives up the place of a network with the lowest count, and says how much it was.
    fn give_up_one(&mut self) -> u64 {
        while let Some(client) = self.least.pop() {
            if self.counts.get(&client).is_some_and(|count| count.count == self.fewest) {
                self.counts.remove(&client);
                return self.fewest;
            }
        }
        self.fewest = self.counts.values().map(|count| count.count).min().unwrap_or(0);
        let is_least = |(client, count): (&Network, &Count)| (count.count == self.fewest).then_some(*client);
        self.least = self.counts.iter().filter_map(is_least).collect();
        if let Some(client) = self.least.pop() {
            self.counts.remove(&client);
        }
        self.fewest
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::clock;
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    fn client(number: u32) -> Network {
        IpAddr::from(number.to_be_bytes()).into()
    }

    #[test]
    fn few_clients_are_counted_exactly_and_the_worst_comes_first() {
        let (refused, now) = (Often::default(), clock::now());
        for number in 1..=5 {
            for _ in 0..number {
                refused.count(client(number), "overloaded", now);
            }
        }
        let most = refused.most(now);
        let counts: Vec<(u64, u64)> = most.iter().map(|candidate| (candidate.count, candidate.error)).collect();
        assert_eq!(counts, [(5, 0), (4, 0), (3, 0), (2, 0), (1, 0)]);
        assert_eq!((most[0].network, most[0].note), (client(5), "overloaded"));
    }

    #[test]
    fn refusals_are_forgotten_after_two_periods() {
        let (refused, now) = (Often::default(), clock::now());
        refused.count(client(1), "overloaded", now);
        refused.count(client(1), "overloaded", now + PERIOD);
        assert_eq!(refused.most(now + PERIOD)[0].count, 2);
        assert_eq!(refused.most(now + 2 * PERIOD)[0].count, 1);
        assert_eq!(refused.most(now + 4 * PERIOD), []);
    }

    #[test]
    fn a_network_that_connects_often_is_a_crawler_unless_somebody_has_logged_in() {
        let (crawlers, now) = (Crawlers::default(), clock::now());
        for number in 0..MANY_CONNECTIONS {
            let last = u8::try_from(number).unwrap();
            crawlers.connected(IpAddr::from([198, 51, 100, last]), now);
            crawlers.connected(IpAddr::from([203, 0, 113, last]), now);
            if number > 0 {
                crawlers.connected(IpAddr::from([192, 0, 2, last]), now);
            }
        }
        crawlers.logged_in(IpAddr::from([203, 0, 113, 200]), now);
        let networks = |at| crawlers.most(at).iter().map(|most| most.network.to_string()).collect::<Vec<_>>();
        assert_eq!(networks(now), ["198.51.100.0/24"]);
        assert_eq!(networks(now + PERIOD), ["198.51.100.0/24"]);
        assert!(networks(now + 2 * PERIOD).is_empty(), "forgotten");
    }

    proptest! {
        /// In a flood of many clients the count of each that is listed is between the truth and the truth plus its error, and
        /// who has more than its share is listed.
        #[test]
        fn a_flood_does_not_hide_the_worst(clients in proptest::collection::vec(0u32..3_000, 0..8_000), worst in 10u32..200) {
            let (refused, now) = (Often::default(), clock::now());
            let mut truth: HashMap<Network, u64> = HashMap::new();
            let all = clients.iter().copied().chain(std::iter::repeat_n(9_999, usize::try_from(worst).unwrap()));
            let mut total = 0;
            for number in all {
                refused.count(client(number), "overloaded", now);
                *truth.entry(client(number)).or_default() += 1;
                total += 1;
            }
            let most = refused.most(now);
            prop_assert!(most.len() <= MOST_NETWORKS);
            let share = total / MOST_NETWORKS as u64;
            for candidate in &most {
                let real = truth[&candidate.network];
                prop_assert!(real <= candidate.count && candidate.count <= real + candidate.error);
                prop_assert!(candidate.error <= share);
            }
            for (network, real) in truth {
                prop_assert!(real <= share || most.iter().any(|candidate| candidate.network == network));
            }
        }
    }
}
