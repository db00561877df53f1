//! One's own zone first.
//!
//! Of the requests, the share `1.4 × h` stays in the own zone, at most all of them, where `h` is the part of the zone's weight
//! that can take requests; the rest goes to the other zones, to each endpoint as the strategy says. So the zone keeps
//! everything down to 71 % of its weight, and hands over a growing share below, before those who are left there are
//! overrun. The rule and the 1.4 are Envoy's ("overprovisioning factor" of priority levels).

use super::Strategy;
use super::hash::{MILLION, happens, mix, of_authority, of_client};
use super::pool::Member;
use super::strategy::Choice;

/// How much more than its share an endpoint can carry, in millionths.
const OVERPROVISIONING: u64 = 1_400_000;

/// Which endpoints a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Those in this node's zone.
    Own,
    /// All others.
    Other,
}

impl Side {
    pub(super) fn has(self, member: &Member) -> bool {
        member.is_in_own_zone == (self == Self::Own)
    }
}

/// The weight of all endpoints in the own zone; `None` when there are none, or no others.
pub(super) fn own_weight(members: &[Member]) -> Option<u64> {
    let own = members.iter().filter(|member| member.is_in_own_zone);
    let count = own.clone().count();
    (count > 0 && count < members.len()).then(|| own.map(|member| u64::from(member.weight)).sum())
}

impl Choice<'_> {
    /// The side this request should go to; `None` when it makes no difference.
    pub(super) fn side(&self) -> Option<Side> {
        let own_weight = self.pool.own_weight?;
        let (mut usable, mut has_others) = (0, false);
        for member in self.pool.members.iter().filter(|member| self.pool.is_usable(member, self.now)) {
            match member.is_in_own_zone {
                true => usable += u64::from(member.weight),
                false => has_others = true,
            }
        }
        if usable == 0 || !has_others {
            return None;
        }
        let share = usable * OVERPROVISIONING / own_weight;
        let stays = share >= MILLION || happens(self.zone_draw(), share);
        Some(if stays { Side::Own } else { Side::Other })
    }

    /// Drawn by the key where the strategy has one: a client or authority does not go back and forth.
    fn zone_draw(&self) -> u64 {
        match self.pool.config.strategy {
            Strategy::SourceHash => of_client(self.call.client),
            Strategy::DestinationHash | Strategy::Locality | Strategy::LocalityReplicated => {
                of_authority(self.call.authority)
            }
            // Not the number itself: the strategy may draw by it, too.
            _ => mix(self.draw()),
        }
    }
}
