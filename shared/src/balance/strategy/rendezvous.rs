//! Consistent hashing, by client or by authority: rendezvous hashing with weights.
//!
//! Every endpoint draws a number for a key, the same one everywhere and always, and the greatest wins (Thaler and Ravishankar,
//! "Using name-based mappings to increase hit rates", IEEE/ACM Transactions on Networking 6(1), 1998; with weights `w` the
//! least of `-ln(u) / w`, "Weighted distributed hash tables", Schindelhauer and Schomaker, SPAA 2005). When an endpoint
//! leaves, its keys and no others move, each to the endpoint that came second for it, so they spread over all others: of `n`
//! equal ones that is `1/n` of the keys, plus or minus chance. When it is back, so are they.
//!
//! There is no table: nothing to build at a reload, nothing to keep. It costs a few multiplications an endpoint, which is no
//! more than it costs to look whether the endpoint is healthy; a ring or a Maglev table would answer large pools faster, but
//! takes 16 to 128 KiB a pool, and a gateway has as many pools as services.

use std::sync::atomic::Ordering;

use super::Choice;
use crate::balance::hash::{mix, of_authority, of_client};
use crate::balance::pool::Member;

impl Choice<'_> {
    /// The endpoint of a client's address, see [`of_client`].
    pub(super) fn source_hash(&self) -> Option<usize> {
        self.rendezvous(of_client(self.call.client), |_member| true)
    }

    /// The endpoint of an authority, among those whose load is within its bound (Mirrokni, Thorup and Zadimoghaddam,
    /// "Consistent hashing with bounded loads", SODA 2018).
    ///
    /// With `m` requests in flight at all who qualify and weights that add up to `W`, an endpoint of weight `w` may have
    /// `ceil(c · (m + 1) · w / W)`, this one included, where `c` is `load_bound_percent`. Somebody is always below: all
    /// bounds together exceed `m`. With several callers at once each may overlook the others' requests.
    pub(super) fn destination_hash(&self) -> Option<usize> {
        let (mut in_flight, mut weights) = (0_u64, 0_u64);
        for (_, member) in self.candidates() {
            in_flight = in_flight.saturating_add(load(member));
            weights += u64::from(member.weight);
        }
        let percent = u64::from(self.pool.config.tuning.load_bound_percent.max(100));
        let all = in_flight.saturating_add(1).saturating_mul(percent);
        let is_within_bound = |member: &Member| {
            let bound = all.saturating_mul(u64::from(member.weight)).div_ceil(weights.saturating_mul(100).max(1));
            load(member) < bound
        };
        let key = of_authority(self.call.authority);
        self.rendezvous(key, is_within_bound).or_else(|| self.rendezvous(key, |_member| true))
    }

    /// The endpoint that draws the greatest number for `key`.
    fn rendezvous(&self, key: u64, takes_part: impl Fn(&Member) -> bool) -> Option<usize> {
        let drawn = self.candidates().filter(|(_, member)| takes_part(member)).map(|(index, member)| {
            let drawn = mix(key ^ member.identity);
            (index, drawn, member.weight)
        });
        if self.pool.weighs_alike {
            return drawn.max_by_key(|(_, drawn, _)| *drawn).map(|(index, ..)| index);
        }
        let scored = drawn.map(|(index, drawn, weight)| (index, -unit(drawn).ln() / f64::from(weight)));
        scored.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(index, _)| index)
    }
}

fn load(member: &Member) -> u64 {
    u64::try_from(member.endpoint.in_flight.load(Ordering::Relaxed)).unwrap_or(u64::MAX)
}

/// A number between 0 and 1, neither included, from the 53 high bits of another.
fn unit(drawn: u64) -> f64 {
    ((drawn >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}
