//! Who is refused most: candidates for the blocklist.
//!
//! Refusals are counted by client (IPv6 by /64) in two periods of five minutes, the current one and the one before. Each
//! period has [`MOST_CLIENTS`] places and counts by the *space-saving* method (Metwally, Agrawal, El Abbadi, 2005): a new
//! client takes the place of the one with the fewest refusals and inherits their number as its possible error. A count is
//! exact as long as there are no more clients than places; beyond that it is never too low, and too high by at most the
//! stated error, which is at most the refusals of the period divided by the places. Who has more refusals than that is there
//! for certain.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gatehouse_shared::cidr::{Network, around};
use gatehouse_shared::problem::Reason;

/// Clients counted in a period.
pub const MOST_CLIENTS: usize = 1_024;
/// How long a period is.
pub const PERIOD: Duration = Duration::from_secs(300);

/// Refusals by client.
#[derive(Debug, Default)]
pub struct Refused {
    /// Held for one count; only refused requests take it.
    periods: Mutex<Periods>,
}

#[derive(Debug, Default)]
struct Periods {
    /// When the current one began.
    since: Option<Instant>,
    current: Period,
    before: Period,
}

/// The counts of one period.
#[derive(Debug, Default)]
struct Period {
    counts: HashMap<Network, Count>,
    /// Clients that had the fewest refusals when they were last looked for, and how many: so that a flood of new clients does
    /// not look through all places for each.
    least: Vec<Network>,
    fewest: u64,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    refusals: u64,
    error: u64,
    reason: &'static str,
}

/// A client that was refused often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The address, or the /64 of an IPv6 client.
    pub network: Network,
    /// How often it was refused in the last five to ten minutes; never too low.
    pub refusals: u64,
    /// By how much that may be too high.
    pub error: u64,
    /// The code of its last refusal.
    pub reason: &'static str,
}

impl Refused {
    /// Counts a refusal.
    pub fn count(&self, client: IpAddr, reason: &'static Reason, now: Instant) {
        let mut periods = self.periods.lock().unwrap_or_else(PoisonError::into_inner);
        periods.roll(now);
        periods.current.count(around(client, 32, 64), reason.code);
    }

    /// The clients with the most refusals, the worst first.
    #[must_use]
    pub fn most(&self, now: Instant) -> Vec<Candidate> {
        let mut periods = self.periods.lock().unwrap_or_else(PoisonError::into_inner);
        periods.roll(now);
        let mut sums = periods.before.counts.clone();
        for (network, count) in &periods.current.counts {
            let sum = sums.entry(*network).or_insert(Count { refusals: 0, error: 0, reason: count.reason });
            *sum =
                Count { refusals: sum.refusals + count.refusals, error: sum.error + count.error, reason: count.reason };
        }
        drop(periods);
        let mut candidates: Vec<Candidate> = sums
            .into_iter()
            .map(|(network, Count { refusals, error, reason })| Candidate { network, refusals, error, reason })
            .collect();
        candidates.sort_by(|a, b| b.refusals.cmp(&a.refusals).then(a.network.cmp(&b.network)));
        candidates
    }
}

impl Periods {
    fn roll(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let age = now.saturating_duration_since(since);
        if age >= PERIOD {
            self.before = std::mem::take(&mut self.current);
            if age >= 2 * PERIOD {
                self.before = Period::default();
            }
            self.since = Some(now);
        }
    }
}

impl Period {
    fn count(&mut self, client: Network, reason: &'static str) {
        if let Some(count) = self.counts.get_mut(&client) {
            count.refusals += 1;
            count.reason = reason;
            return;
        }
        let error = if self.counts.len() >= MOST_CLIENTS { self.give_up_one() } else { 0 };
        self.counts.insert(client, Count { refusals: error + 1, error, reason });
    }

    /// Gives up the place of a client with the fewest refusals, and says how many it had.
    fn give_up_one(&mut self) -> u64 {
        while let Some(client) = self.least.pop() {
            if self.counts.get(&client).is_some_and(|count| count.refusals == self.fewest) {
                self.counts.remove(&client);
                return self.fewest;
            }
        }
        self.fewest = self.counts.values().map(|count| count.refusals).min().unwrap_or(0);
        let is_least = |(client, count): (&Network, &Count)| (count.refusals == self.fewest).then_some(*client);
        self.least = self.counts.iter().filter_map(is_least).collect();
        if let Some(client) = self.least.pop() {
            self.counts.remove(&client);
        }
        self.fewest
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::{clock, problem};
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    fn client(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn few_clients_are_counted_exactly_and_the_worst_comes_first() {
        let (refused, now) = (Refused::default(), clock::now());
        for number in 1..=5 {
            for _ in 0..number {
                refused.count(client(number), &problem::OVERLOADED, now);
            }
        }
        let most = refused.most(now);
        let counts: Vec<(u64, u64)> = most.iter().map(|candidate| (candidate.refusals, candidate.error)).collect();
        assert_eq!(counts, [(5, 0), (4, 0), (3, 0), (2, 0), (1, 0)]);
        assert_eq!((most[0].network, most[0].reason), (client(5).into(), "overloaded"));
    }

    #[test]
    fn refusals_are_forgotten_after_two_periods() {
        let (refused, now) = (Refused::default(), clock::now());
        refused.count(client(1), &problem::OVERLOADED, now);
        refused.count(client(1), &problem::OVERLOADED, now + PERIOD);
        assert_eq!(refused.most(now + PERIOD)[0].refusals, 2);
        assert_eq!(refused.most(now + 2 * PERIOD)[0].refusals, 1);
        assert_eq!(refused.most(now + 4 * PERIOD), []);
    }

    proptest! {
        /// In a flood of many clients the count of each that is listed is between the truth and the truth plus its error, and
        /// who has more than its share is listed.
        #[test]
        fn a_flood_does_not_hide_the_worst(clients in proptest::collection::vec(0u32..3_000, 0..8_000), worst in 10u32..200) {
            let (refused, now) = (Refused::default(), clock::now());
            let mut truth: HashMap<Network, u64> = HashMap::new();
            let all = clients.iter().copied().chain(std::iter::repeat_n(9_999, usize::try_from(worst).unwrap()));
            let mut total = 0;
            for number in all {
                refused.count(client(number), &problem::OVERLOADED, now);
                *truth.entry(client(number).into()).or_default() += 1;
                total += 1;
            }
            let most = refused.most(now);
            prop_assert!(most.len() <= MOST_CLIENTS);
            let share = total / MOST_CLIENTS as u64;
            for candidate in &most {
                let real = truth[&candidate.network];
                prop_assert!(real <= candidate.refusals && candidate.refusals <= real + candidate.error);
                prop_assert!(candidate.error <= share);
            }
            for (network, real) in truth {
                prop_assert!(real <= share || most.iter().any(|candidate| candidate.network == network));
            }
        }
    }
}
