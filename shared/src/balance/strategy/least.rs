//! Least connections, plain and by weight. What counts is requests in flight: over multiplexed connections there are no others.

use std::sync::atomic::Ordering;

use super::Choice;
use crate::balance::pool::Member;

/// Requests in flight by weight. Fractions are compared by their products, so nothing is rounded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    in_flight: u64,
    weight: u64,
}

impl Load {
    pub(super) fn of(member: &Member) -> Self {
        let in_flight = member.endpoint.in_flight.load(Ordering::Relaxed);
        Self { in_flight: u64::try_from(in_flight).unwrap_or(u64::MAX), weight: u64::from(member.weight) }
    }

    pub(super) fn is_below(&self, other: &Self) -> bool {
        self.in_flight.saturating_mul(other.weight) < other.in_flight.saturating_mul(self.weight)
    }

    /// Whether there is more in flight than `capacity` for each point of weight.
    pub(super) fn exceeds(&self, capacity: u64) -> bool {
        self.in_flight > self.weight.saturating_mul(capacity)
    }

    /// Whether there is less in flight than half of `capacity` for each point of weight.
    pub(super) fn is_below_half_of(&self, capacity: u64) -> bool {
        self.in_flight.saturating_mul(2) < self.weight.saturating_mul(capacity)
    }
}

impl Choice<'_> {
    /// The one with the fewest requests in flight; among equals the next one's turn, as in round robin. Without a lock.
    ///
    /// The counts may change while they are read: with `c` callers at once, the choice is at most `c - 1` requests off.
    pub(super) fn least_connections(&self) -> Option<usize> {
        let members = &*self.pool.members;
        let (before, after) = members.split_at_checked(self.first_among(members.len())?)?;
        let numbered = (before.len()..).zip(after).chain((0..).zip(before));
        let mut least: Option<(usize, usize)> = None;
        for (index, member) in numbered {
            if !self.qualifies(index, member) {
                // Turns count those who qualify, or the next one would get this one's.
                return self.least_connections_of_some();
            }
            let in_flight = member.endpoint.in_flight.load(Ordering::Relaxed);
            if least.is_none_or(|(_, other)| in_flight < other) {
                least = Some((index, in_flight));
            }
        }
        least.map(|(index, _)| index)
    }

    /// The same where somebody is out, which takes a second look at everybody.
    fn least_connections_of_some(&self) -> Option<usize> {
        let skip = self.first_among(self.candidates().count())?;
        let rotated = self.candidates().skip(skip).chain(self.candidates().take(skip));
        let least = rotated.min_by_key(|(_, member)| member.endpoint.in_flight.load(Ordering::Relaxed));
        least.map(|(index, _)| index)
    }

    /// The one with the fewest requests in flight for its weight (`wlc` of IPVS, `least_conn` of nginx); among equals by
    /// smooth weighted round robin, so that an idle pool is used in proportion to the weights, too. Only those take part for
    /// whom `takes_part` holds.
    ///
    /// The counts may change while they are read: with `c` callers at once, the choice is at most `c - 1` requests off.
    pub(super) fn weighted_least_connections(&self, takes_part: impl Fn(&Member) -> bool) -> Option<usize> {
        let (index, least, is_alone) = self.least_loaded(&takes_part)?;
        if is_alone {
            return Some(index);
        }
        let is_equal = |member: &Member| takes_part(member) && !least.is_below(&Load::of(member));
        // Nobody is equal any more when all of them took a request meanwhile.
        self.weighted_round_robin(is_equal).or(Some(index))
    }

    /// The least loaded for whom `takes_part` holds, and whether no other is equal; the first among equals.
    pub(super) fn least_loaded(&self, takes_part: impl Fn(&Member) -> bool) -> Option<(usize, Load, bool)> {
        let mut least: Option<(usize, Load, bool)> = None;
        for (index, member) in self.candidates().filter(|(_, member)| takes_part(member)) {
            let load = Load::of(member);
            least = match least {
                Some((other, least, is_alone)) if !load.is_below(&least) => {
                    Some((other, least, is_alone && least.is_below(&load)))
                }
                _ => Some((index, load, true)),
            };
        }
        least
    }
}
