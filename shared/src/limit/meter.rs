//! What the algorithms have in common: how they are asked, what they answer, and bans.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::table::State;
use crate::clock;

/// A time as limits are told it: nanoseconds since an hour before limits were first asked for one in this process. Made once
/// of an [`Instant`], it serves all limits that a request meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(u64);

impl Ticks {
    /// What they count from: early enough for times that were read a little before.
    fn start() -> Instant {
        static START: LazyLock<Instant> = LazyLock::new(|| {
            let now = clock::now();
            now.checked_sub(Duration::from_secs(3_600)).unwrap_or(now)
        });
        *START
    }

    /// Nanoseconds since an earlier time; 0 if that is later.
    #[inline]
    #[must_use]
    pub fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<Instant> for Ticks {
    fn from(time: Instant) -> Self {
        Self(nanos(time.saturating_duration_since(Self::start())))
    }
}

/// The algorithms count nanoseconds since the table was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epoch(pub(super) Ticks);

impl Epoch {
    /// The time as the algorithms count it; 0 before the epoch.
    #[inline]
    pub(super) fn nanos(self, now: Ticks) -> u64 {
        now.nanos_since(self.0)
    }

    /// When that is.
    pub(super) fn instant(self, nanos: u64) -> Instant {
        Ticks::start() + Duration::from_nanos(self.0.0.saturating_add(nanos))
    }
}

/// A duration in nanoseconds; longer ones than 584 years are cut.
pub(super) fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}

/// What is to be done with the cost of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing; the answer is what [`Mode::Take`] would say.
    Ask,
    /// Count it if it is within the limit.
    Take,
    /// Count it in any case.
    Charge,
}

/// Where a key stands. Times are nanoseconds since the epoch and not before the time of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) is_allowed: bool,
    /// What could still be admitted.
    pub(super) remaining: u64,
    /// When the whole limit will be available again.
    pub(super) full_at: u64,
    /// When as much as was asked for can be admitted; now, if it is allowed.
    pub(super) retry_at: u64,
    /// When the ban ends, if there is one.
    pub(super) banned_until: Option<u64>,
}

/// The state of an algorithm that counts events.
pub(super) trait Meter: State<Rule: Copy> {
    /// Asks for `cost`, and counts it as the mode says. A breach by anything but asking begins the ban of the rule.
    fn apply(&mut self, rule: &Self::Rule, cost: u32, mode: Mode, now: u64) -> Reading;

    /// The same as [`Mode::Take`], without saying where the key stands: whether it is allowed. What is not allowed changes
    /// nothing and begins no ban.
    fn take(&mut self, rule: &Self::Rule, cost: u32, now: u64) -> bool;

    /// Forgets `cost` that was counted a moment ago.
    fn give_back(&mut self, rule: &Self::Rule, cost: u32);

    /// Bans the key until then, or for longer if it is already.
    fn ban(&mut self, until: u64);
}

/// A number of 128 bits that is aligned like one of 64, so that states lie closer together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wide {
    low: u64,
    high: u64,
}

impl Wide {
    #[inline]
    pub(super) fn number(self) -> u128 {
        u128::from(self.low) | u128::from(self.high) << 64
    }

    /// Its halves, the low one first.
    #[inline]
    pub(super) fn halves(self) -> [u64; 2] {
        [self.low, self.high]
    }
}

impl From<u128> for Wide {
    #[inline]
    fn from(number: u128) -> Self {
        let half = |shift| u64::try_from(number >> shift & u128::from(u64::MAX)).unwrap_or_default();
        Self { low: half(0), high: half(64) }
    }
}

/// The end of a ban, in steps of 2²⁶ ns (67 ms) since the epoch, rounded up; 0 for none. The steps last nine years: a
/// process that runs for longer bans nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ban(u32);

impl Ban {
    const STEP_BITS: u32 = 26;

    pub(super) fn until(nanos: u64) -> Self {
        Self(u32::try_from(nanos.div_ceil(1 << Self::STEP_BITS)).unwrap_or(u32::MAX))
    }

    /// When it ends, if it is still on.
    #[inline]
    pub(super) fn end(self, now: u64) -> Option<u64> {
        let end = u64::from(self.0) << Self::STEP_BITS;
        (end > now).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_is_never_shorter_and_at_most_one_step_longer() {
        for until in [1, 1 << 26, (1 << 26) + 1, 86_400_000_000_000] {
            let end = Ban::until(until).end(0).unwrap();
            assert!((until..until + (1 << 26)).contains(&end), "{until}: {end}");
            assert_eq!(Ban::until(until).end(end), None);
        }
        assert_eq!(Ban::default().end(0), None);
        assert!(Ban::until(u64::MAX).end(0).is_some());
    }

    #[test]
    fn times_before_the_epoch_are_the_epoch() {
        let start = clock::now();
        let epoch = Epoch(start.into());
        assert_eq!(epoch.nanos((start - Duration::from_secs(1)).into()), 0);
        assert_eq!(epoch.nanos((start + Duration::from_millis(1_500)).into()), 1_500_000_000);
        assert_eq!(epoch.instant(1_500_000_000), start + Duration::from_millis(1_500));
    }
}
