//! Turns: plain and smooth weighted round robin.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::Choice;
use crate::balance::pool::Member;

impl Choice<'_> {
    /// One after the other. The turn counts those who qualify, not places: the neighbour of one that is out does not get
    /// its share, too. Without a lock.
    pub(super) fn round_robin(&self) -> Option<usize> {
        let count = self.candidates().count();
        let skip = self.first_among(count)?;
        if count == self.pool.members.len() {
            return Some(skip);
        }
        // Who qualifies may change while we look; then the first that still does is chosen.
        self.candidates().nth(skip).or_else(|| self.candidates().next()).map(|(index, _)| index)
    }

    /// How many of `count` candidates to skip at this turn; `None` without candidates.
    pub(super) fn first_among(&self, count: usize) -> Option<usize> {
        let skip = self.turn.checked_rem(u64::try_from(count).unwrap_or(u64::MAX))?;
        usize::try_from(skip).ok()
    }

    /// Smooth weighted round robin among those for whom `takes_part` holds, by the definition that nginx made known
    /// (1.3.1, "Upstream: smooth weighted round-robin balancing"): at each choice everybody's current weight grows by its
    /// weight, the greatest is chosen, and falls by the sum of the weights that took part.
    ///
    /// So with weights that stay the same everybody is chosen exactly as often as its weight says within each round of so
    /// many choices as there is weight, and its turns are spread over the round: weights 5, 1, 1 give a a b a c a a.
    /// During its slow start an endpoint has only a part of its weight.
    ///
    /// The current weights are one state that each choice changes as a whole, hence a lock: held for one addition and one
    /// comparison an endpoint, and never while anything waits. Two choices at once would otherwise take the same turn.
    pub(super) fn weighted_round_robin(&self, takes_part: impl Fn(&Member) -> bool) -> Option<usize> {
        let _one_at_a_time = self.pool.shared.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let mut total: i64 = 0;
        let mut greatest: Option<(usize, &Member, i64)> = None;
        for (index, member) in self.candidates().filter(|(_, member)| takes_part(member)) {
            let weight = i64::try_from(u64::from(member.weight) * self.share(member)).unwrap_or(i64::MAX);
            total = total.saturating_add(weight);
            let current = &member.endpoint.current_weight;
            let grown = current.load(Ordering::Relaxed).saturating_add(weight);
            current.store(grown, Ordering::Relaxed);
            if greatest.is_none_or(|(.., other)| grown > other) {
                greatest = Some((index, member, grown));
            }
        }
        let (index, member, grown) = greatest?;
        member.endpoint.current_weight.store(grown.saturating_sub(total), Ordering::Relaxed);
        Some(index)
    }
}
