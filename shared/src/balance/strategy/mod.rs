//! The strategies: each chooses one of the endpoints that qualify.
//!
//! | file | strategies | state |
//! |---|---|---|
//! | `turn` | `round_robin`, `weighted_round_robin` | a counter; a current weight for each endpoint under a lock |
//! | `least` | `least_connections`, `weighted_least_connections` | requests in flight |
//! | `rendezvous` | `source_hash`, `destination_hash` | none |
//! | `locality` | `locality`, `locality_replicated` | which authority is at home where, at most 4,096 of them |
//! | `p2c` | `p2c_ewma` | a moving average of each endpoint's latency |

mod turn;
mod least;
mod rendezvous;
pub(super) mod locality;
mod p2c;

use std::time::Instant;

use super::hash::{MILLION, happens, mix, of_authority, of_client};
use super::pool::{Inner, Member};
use super::zone::Side;
use super::{Call, Strategy};

/// One choice: among whom, and what it may depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<'a> {
    pub(super) pool: &'a Inner,
    pub(super) call: &'a Call<'a>,
    /// Indices of endpoints not to be chosen again.
    pub(super) tried: &'a [usize],
    pub(super) now: Instant,
    /// Counts choices; among equals it is the next one's turn.
    pub(super) turn: u64,
    pub(super) among: Among,
}

/// Who may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Among {
    /// Those who can take a request, are in the zone that is to be preferred, and, after a return, whose share of the
    /// requests allows it.
    Preferred(Option<Side>),
    /// Those who can take a request.
    Usable,
    /// Everybody.
    All,
}

impl<'a> Choice<'a> {
    /// The index of the endpoint chosen; `None` when nobody qualifies.
    pub(super) fn pick(&self) -> Option<usize> {
        match self.pool.config.strategy {
            Strategy::RoundRobin => self.round_robin(),
            Strategy::WeightedRoundRobin => self.weighted_round_robin(|_member| true),
            Strategy::LeastConnections => self.least_connections(),
            Strategy::WeightedLeastConnections => self.weighted_least_connections(|_member| true),
            Strategy::Locality | Strategy::LocalityReplicated => self.locality(),
            Strategy::SourceHash => self.source_hash(),
            Strategy::DestinationHash => self.destination_hash(),
            Strategy::P2cEwma => self.p2c_ewma(),
        }
    }

    /// Those who qualify, with their index.
    fn candidates(&self) -> impl Iterator<Item = (usize, &'a Member)> {
        self.pool.members.iter().enumerate().filter(|(index, member)| self.qualifies(*index, member))
    }

    /// Whether it does.
    fn qualifies(&self, index: usize, member: &Member) -> bool {
        if self.tried.contains(&index) {
            return false;
        }
        match self.among {
            Among::All => true,
            Among::Usable => self.pool.is_usable(member, self.now),
            Among::Preferred(side) => {
                self.pool.is_usable(member, self.now)
                    && side.is_none_or(|side| side.has(member))
                    && (!self.pool.starts_slowly() || self.is_due(member))
            }
        }
    }

    /// Whether a returned endpoint's share of the requests allows it this one.
    ///
    /// The share is kept by leaving the endpoint out of a part of the choices, drawn at random: out of so many that it
    /// gets at most its share, however eagerly the strategy takes it. Strategies that choose by a key draw by the key, so
    /// that keys come back one after the other and each only once.
    fn is_due(&self, member: &Member) -> bool {
        let share = self.share(member);
        if share >= MILLION {
            return true;
        }
        let by_turn = || mix(self.draw() ^ member.identity);
        match self.pool.config.strategy {
            // It weighs the share itself, or only for those that get a new home.
            Strategy::WeightedRoundRobin | Strategy::Locality | Strategy::LocalityReplicated => true,
            Strategy::RoundRobin => happens(by_turn(), share),
            // Two are drawn, and one with nothing in flight wins.
            Strategy::P2cEwma => happens(by_turn(), share / 2),
            // An endpoint with nothing in flight would be chosen every time.
            Strategy::LeastConnections | Strategy::WeightedLeastConnections => {
                happens(by_turn(), self.pool.fair_share(member) * share / MILLION)
            }
            Strategy::SourceHash => happens(mix(of_client(self.call.client) ^ member.identity.rotate_left(32)), share),
            Strategy::DestinationHash => {
                happens(mix(of_authority(self.call.authority) ^ member.identity.rotate_left(32)), share)
            }
        }
    }

    /// How much of its share an endpoint gets, in millionths.
    fn share(&self, member: &Member) -> u64 {
        member.endpoint.share(self.pool.config.tuning.slow_start.get(), self.now)
    }

    /// A number that looks random, another one for each choice.
    pub(super) fn draw(&self) -> u64 {
        mix(self.pool.shared.seed.wrapping_add(self.turn))
    }
}
