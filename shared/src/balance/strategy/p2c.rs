//! The power of two choices by latency.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Choice;
use crate::balance::pool::Member;

impl Choice<'_> {
    /// Of two drawn at random, the one with the lower cost: latency × (requests in flight + 1) ÷ weight, where the latency is
    /// a moving average that forgets over ten seconds (see [`super::super::latency`]).
    ///
    /// Two random choices keep the fullest endpoint nearly as empty as looking at all would (Mitzenmacher, "The power of two
    /// choices in randomized load balancing", IEEE TPDS 12(10), 2001), and, unlike looking at all, gateways that know the same
    /// do not all send to the same one. The product of latency and requests in flight is that of Finagle's `PeakEwma`, but
    /// with the plain average, as in ingress-nginx: with the peak one slow API of a service would make any of its endpoints
    /// look slow. An endpoint that has not answered yet costs as if it were as fast as the other one.
    pub(super) fn p2c_ewma(&self) -> Option<usize> {
        let count = self.candidates().count();
        let draw = self.draw();
        let first = within(draw >> 32, count)?;
        let Some(second) = within(draw & u64::from(u32::MAX), count - 1) else {
            return self.candidates().next().map(|(index, _)| index);
        };
        // Of the others, so never the same.
        let second = if second >= first { second + 1 } else { second };
        let mut drawn = self.candidates().enumerate().filter(|(place, _)| *place == first || *place == second);
        let (place, (index, member)) = drawn.next()?;
        // Who qualifies may change while we look.
        let Some((_, (other_index, other))) = drawn.next() else { return Some(index) };
        // Among equals the one drawn first.
        let is_better =
            if place == first { !is_cheaper(other, member, self.now) } else { is_cheaper(member, other, self.now) };
        Some(if is_better { index } else { other_index })
    }
}

fn is_cheaper(one: &Member, other: &Member, now: Instant) -> bool {
    let average = |member: &Member| member.endpoint.latency.average(member.endpoint.millis(now));
    let (known, others) = (average(one), average(other));
    let latency = known.or(others).unwrap_or(1.0);
    let others_latency = others.or(known).unwrap_or(1.0);
    cost(one, latency) < cost(other, others_latency)
}

fn cost(member: &Member, latency: f32) -> f64 {
    let waiting = member.endpoint.in_flight.load(Ordering::Relaxed).saturating_add(1);
    f64::from(latency) * waiting as f64 / f64::from(member.weight)
}

/// A 32-bit number made one below `count`; `None` when there is none.
fn within(number: u64, count: usize) -> Option<usize> {
    let scaled = number.checked_mul(u64::try_from(count).ok()?)? >> 32;
    (count > 0).then(|| usize::try_from(scaled).ok())?
}
