//! The sliding window: how many in the last minute, whenever that is asked.
//!
//! An exact window remembers the time of every event: 8 bytes × the limit for each key. The usual ways out are two
//! counters weighted by time, which admit up to twice the limit when the events of the earlier window are bunched at its
//! end, and windows that begin on the minute, which do so at every boundary. Here a window is 32 *slices* of 1/31 of its
//! length; each has a counter of one byte, and an event counts until its slice has left the window entirely. Hence:
//!
//! - **In any span as long as the window, wherever it begins, never more than the limit is admitted.** An event is
//!   counted for at least the length of the window, for 31 whole slices lie between its slice and the one after the last
//!   in which it counts.
//! - **A client that never asks for more than the limit within 32/31 of the window (3.2 % longer) is never refused.**
//!   An event is counted for at most 32 slices. In particular an even stream of up to 96 % of the rate passes whole.
//! - Who asks for more all the time gets exactly the limit in each such span, all of it as early as possible.
//!
//! Limits above 254 count in *units* of more than one event, such that the limit is at most 254 units. Events that do
//! not fill a unit are kept apart and move on to the present slice, until they do: the sum is always exact, and less
//! than one unit (0.4 % of the limit, rounded up) leaves the window later than its slice.

use super::meter::{Ban, Meter, Mode, Reading, Wide};
use super::table::State;

/// Slices that count at a time: the present one and 31 before it, which cover a window.
const SLICES: u64 = 32;
/// A slice that counts no further is above the limit all by itself, so that what it did not count does not matter.
const MOST_UNITS: u64 = 255;

/// The state of one key: 48 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SlidingWindow {
    /// Units by slice, a byte each, the latest in the lowest: the latest 16 slices, and the 16 before.
    recent: Wide,
    earlier: Wide,
    /// The latest slice: the number of slices since the epoch.
    slice: u64,
    /// Events of the latest slice, or before, that do not fill a unit.
    odd: u32,
    ban: Ban,
}

/// What the configuration says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    limit: u32,
    /// Events in a unit, such that 255 units are above the limit.
    unit: u32,
    /// The length of a slice in nanoseconds.
    slice: u64,
    /// How long a breach bans, in nanoseconds; 0 for not at all.
    ban: u64,
}

impl Rule {
    /// `limit` events in any `window` nanoseconds; neither may be 0.
    pub(super) fn new(limit: u32, window: u64, ban: u64) -> Self {
        Self { limit, unit: limit / 255 + 1, slice: window.div_ceil(SLICES - 1).max(1), ban }
    }

    /// Nanoseconds for which an event is counted at most.
    pub(super) fn longest(&self) -> u64 {
        self.slice.saturating_mul(SLICES)
    }

    /// When what was counted in the slice `age` before the latest of `state` is counted no more.
    fn end(&self, state: &SlidingWindow, age: u64) -> u64 {
        (state.slice.saturating_sub(age)).saturating_add(SLICES).saturating_mul(self.slice)
    }
}

impl SlidingWindow {
    /// The same at a later slice. A time before the latest slice is in it: threads read the clock before they lock.
    #[inline]
    fn at(&self, slice: u64) -> Self {
        if slice <= self.slice {
            return *self;
        }
        self.moved_to(slice)
    }

    /// The same at a later slice.
    fn moved_to(&self, slice: u64) -> Self {
        let by = slice.saturating_sub(self.slice);
        let bits = u32::try_from(by.min(SLICES) * 8).unwrap_or_default();
        let (recent, earlier) = (self.recent.number(), self.earlier.number());
        let (recent, earlier) = match by {
            ..16 => (recent << bits, earlier << bits | recent >> (128 - bits)),
            16..SLICES => (0, recent << (bits - 128)),
            _ => return Self { slice, ban: self.ban, ..Self::default() },
        };
        Self { recent: recent.into(), earlier: earlier.into(), slice, ..*self }
    }

    fn is_empty(&self) -> bool {
        self.words().all(|word| word == 0) && self.odd == 0
    }

    /// Events that count.
    #[inline]
    fn total(&self, rule: &Rule) -> u64 {
        // Thirty-two bytes fit in sixteen bits many times over.
        let units = sum_of_pairs(self.words().map(pairs_of_bytes).sum());
        units * u64::from(rule.unit) + u64::from(self.odd)
    }

    /// Units by slice, eight to a word: the earliest word first, and in each the earliest slice in the highest byte.
    #[inline]
    fn words(&self) -> impl Iterator<Item = u64> {
        let ([third, fourth], [first, second]) = (self.earlier.halves(), self.recent.halves());
        [fourth, third, second, first].into_iter()
    }

    /// Units by slice, the earliest first.
    fn units(&self) -> impl Iterator<Item = u8> {
        self.words().flat_map(u64::to_be_bytes)
    }

    /// Counts events in the latest slice.
    #[inline]
    fn add(&mut self, rule: &Rule, events: u64) {
        let (unit, recent) = (u64::from(rule.unit), self.recent.number());
        let [present, ..] = recent.to_le_bytes();
        let events = events.saturating_add(u64::from(self.odd));
        // Most requests do not fill a unit, or are one; to divide takes as long as everything else here.
        let (units, odd) = match unit {
            1 => (events, 0),
            unit if events < unit => (0, events),
            unit => (events / unit, events % unit),
        };
        let units = units.saturating_add(present.into()).min(MOST_UNITS);
        self.odd = if units == MOST_UNITS { 0 } else { u32::try_from(odd).unwrap_or_default() };
        self.recent = (recent & !0xff | u128::from(units)).into();
    }

    /// Counts events in the latest slice, if there may be so many more.
    #[inline]
    fn take_in_latest(&mut self, rule: &Rule, events: u64, now: u64) -> bool {
        let is_allowed = self.total(rule) + events <= u64::from(rule.limit) && self.ban.end(now).is_none();
        if is_allowed {
            self.add(rule, events);
        }
        is_allowed
    }

    /// Forgets so many events, the latest first.
    fn remove(&mut self, rule: &Rule, events: u64) {
        let unit = u64::from(rule.unit);
        let mut missing = u128::from(events.saturating_sub(self.odd.into()).div_ceil(unit));
        let mut opened = 0;
        for half in [&mut self.recent, &mut self.earlier] {
            let mut units = half.number();
            for bits in (0..u128::BITS).step_by(8) {
                let gone = missing.min(units >> bits & 0xff);
                units -= gone << bits;
                missing -= gone;
                opened += u64::try_from(gone).unwrap_or_default() * unit;
            }
            *half = units.into();
        }
        let odd = (u64::from(self.odd) + opened).saturating_sub(events);
        self.odd = u32::try_from(odd).unwrap_or_default();
    }

    /// When so many events count no more.
    fn end_of(&self, rule: &Rule, events: u64) -> u64 {
        let events = events.div_ceil(u64::from(rule.unit));
        let (mut gone, mut age) = (0, SLICES - 1);
        for word in self.words() {
            let all = gone + sum_of_bytes(word);
            if all < events {
                gone = all;
                age = age.saturating_sub(8);
                continue;
            }
            for units in word.to_be_bytes() {
                gone += u64::from(units);
                if gone >= events {
                    return rule.end(self, age);
                }
                age = age.saturating_sub(1);
            }
        }
        rule.end(self, 0)
    }
}

/// The sum of eight bytes.
fn sum_of_bytes(word: u64) -> u64 {
    sum_of_pairs(pairs_of_bytes(word))
}

/// The sums of every two of eight bytes, in sixteen bits each.
#[inline]
fn pairs_of_bytes(word: u64) -> u64 {
    const EVERY_OTHER: u64 = 0x00ff_00ff_00ff_00ff;
    (word & EVERY_OTHER) + (word >> 8 & EVERY_OTHER)
}

/// The sum of four numbers in sixteen bits each, which must fit in as many.
#[inline]
fn sum_of_pairs(pairs: u64) -> u64 {
    pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48
}

impl State for SlidingWindow {
    type Rule = Rule;

    fn is_idle(&self, rule: &Rule, now: u64) -> bool {
        (self.is_empty() || rule.end(self, 0) <= now) && self.ban.end(now).is_none()
    }

    /// Events stay, each in the slice that contains the end of the one it was counted in, so that none is forgotten too
    /// early. A longer window begins with what the shorter one remembered.
    fn convert(&mut self, from: &Rule, to: &Rule, now: u64) {
        if self.is_empty() {
            return;
        }
        let source = self.at(now / from.slice);
        let latest = now / to.slice;
        let mut carried = Self { ban: self.ban, ..Self::default() };
        for (age, units) in (0..SLICES).rev().zip(source.units()) {
            let end = (source.slice + 1).saturating_sub(age).saturating_mul(from.slice).saturating_sub(1);
            carried = carried.at((end / to.slice).min(latest));
            carried.add(to, u64::from(units) * u64::from(from.unit));
        }
        carried = carried.at(latest);
        carried.add(to, u64::from(source.odd));
        *self = carried;
    }
}

impl Meter for SlidingWindow {
    fn apply(&mut self, rule: &Rule, cost: u32, mode: Mode, now: u64) -> Reading {
        let present = self.at(now / rule.slice);
        let (limit, cost, total) = (u64::from(rule.limit), u64::from(cost), present.total(rule));
        let was_banned = self.ban.end(now).is_some();
        let is_allowed = total + cost <= limit && !was_banned;
        let counts = match mode {
            Mode::Take => is_allowed,
            Mode::Charge => true,
            Mode::Ask => false,
        };
        let mut state = present;
        if counts && cost > 0 {
            state.add(rule, cost);
            *self = state;
        }
        if !is_allowed && mode != Mode::Ask && rule.ban > 0 && !was_banned {
            self.ban(now.saturating_add(rule.ban));
        }
        let after = total + if counts { cost } else { 0 };
        let banned_until = self.ban.end(now);
        let no_earlier = now.max(banned_until.unwrap_or(0));
        let excess = (after + cost.min(limit)).saturating_sub(limit);
        Reading {
            is_allowed,
            remaining: if banned_until.is_some() { 0 } else { limit.saturating_sub(after) },
            full_at: if after == 0 { no_earlier } else { rule.end(self, 0).max(no_earlier) },
            retry_at: if is_allowed || excess == 0 { no_earlier } else { state.end_of(rule, excess).max(no_earlier) },
            banned_until,
        }
    }

    #[inline]
    fn take(&mut self, rule: &Rule, cost: u32, now: u64) -> bool {
        // Most requests come in the latest slice, or before its end by another thread's clock.
        if now < self.slice.saturating_add(1).saturating_mul(rule.slice) {
            return self.take_in_latest(rule, cost.into(), now);
        }
        let mut later = self.moved_to(now / rule.slice);
        let is_allowed = later.take_in_latest(rule, cost.into(), now);
        if is_allowed {
            *self = later;
        }
        is_allowed
    }

    fn give_back(&mut self, rule: &Rule, cost: u32) {
        self.remove(rule, cost.into());
    }

    fn ban(&mut self, until: u64) {
        self.ban = self.ban.max(Ban::until(until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};

    const SECOND: u64 = 1_000_000_000;
    const WINDOW: u64 = 10 * SECOND;

    /// What really happened: every admitted event with its time.
    #[derive(Default)]
    struct Log(Vec<(u64, u64)>);

    impl Log {
        /// Events after `since`.
        fn since(&self, since: Option<u64>) -> u64 {
            self.0.iter().filter(|(at, _)| since.is_none_or(|since| *at > since)).map(|(_, cost)| cost).sum()
        }
    }

    fn limits() -> impl Strategy<Value = u32> {
        proptest::prop_oneof![1..20_u32, 200..300_u32, 1_000..100_000_u32]
    }

    /// Gaps within a few windows, and costs in 1/32 of the limit (0 is one event).
    fn requests() -> impl Strategy<Value = Vec<(u64, u32)>> {
        let gap = proptest::prop_oneof![0..WINDOW / 1_000, 0..WINDOW / 20, WINDOW - 3..WINDOW + 3, 0..2 * WINDOW];
        proptest::collection::vec((gap, 0..8_u32), 1..150)
    }

    fn cost(limit: u32, part: u32) -> u32 {
        (limit / 32 * part).max(1)
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_the_limit(limit in limits(), requests in requests()) {
            let rule = Rule::new(limit, WINDOW, 0);
            let (mut state, mut log, mut now) = (SlidingWindow::default(), Log::default(), 0);
            for (gap, part) in requests {
                now += gap;
                let cost = cost(limit, part);
                let mut untold = state;
                let reading = state.apply(&rule, cost, Mode::Take, now);
                prop_assert_eq!((untold.take(&rule, cost, now), untold), (reading.is_allowed, state));
                if reading.is_allowed {
                    log.0.push((now, cost.into()));
                    // The events of a window that ends with this one; no window has more than the one its last event ends.
                    prop_assert!(log.since(now.checked_sub(WINDOW)) <= limit.into());
                } else {
                    let longest = log.since(now.checked_sub(rule.longest()));
                    let odd = u64::from(rule.unit) - 1;
                    prop_assert!(longest + odd + u64::from(cost) > limit.into(), "refused for {longest} events");
                    let asked_at = |now| { let mut copy = state; copy.apply(&rule, cost, Mode::Ask, now).is_allowed };
                    if cost <= limit {
                        prop_assert!(asked_at(reading.retry_at) && !asked_at(reading.retry_at - 1));
                    }
                }
                prop_assert_eq!(reading.remaining, u64::from(limit) - state.at(now / rule.slice).total(&rule));
                prop_assert!(state.is_idle(&rule, reading.full_at));
                prop_assert!(reading.full_at == now || !state.is_idle(&rule, reading.full_at - 1));
            }
        }

        #[test]
        fn what_is_given_back_was_never_counted(limit in limits(), requests in requests(), later in 0..WINDOW / 100) {
            let rule = Rule::new(limit, WINDOW, 0);
            let (mut state, mut now) = (SlidingWindow::default(), 0);
            for (gap, part) in requests {
                now += gap;
                let cost = cost(limit, part);
                let before = state.at(now / rule.slice);
                if state.apply(&rule, cost, Mode::Take, now).is_allowed {
                    let counted = state;
                    state.give_back(&rule, cost);
                    let (left, right) = (state.at((now + later) / rule.slice), before.at((now + later) / rule.slice));
                    prop_assert_eq!(left.total(&rule), right.total(&rule));
                    state = counted;
                }
            }
        }

        #[test]
        fn counts_the_same_as_32_counters(requests in requests()) {
            let rule = Rule::new(254, WINDOW, 0);
            let (mut state, mut slices, mut now) = (SlidingWindow::default(), std::collections::VecDeque::new(), 0);
            for (gap, part) in requests {
                now += gap;
                let slice = now / rule.slice;
                slices.retain(|(at, _)| slice - at < SLICES);
                let total: u64 = slices.iter().map(|(_, cost)| u64::from(*cost)).sum();
                prop_assert_eq!(state.at(slice).total(&rule), total);
                let cost = cost(254, part);
                if state.apply(&rule, cost, Mode::Take, now).is_allowed {
                    slices.push_back((slice, cost));
                }
            }
        }

        #[test]
        fn an_even_stream_within_the_rate_is_never_refused(limit in 50..100_000_u32, part in 1..=96_u64, start in 0..WINDOW) {
            let rule = Rule::new(limit, WINDOW, 0);
            let gap = WINDOW * 100 / (u64::from(limit) * part) + 1;
            let cost = (limit / 1_000).max(1);
            let mut state = SlidingWindow::default();
            for turn in 0..3_000 {
                let now = start + turn * gap * u64::from(cost);
                prop_assert!(state.apply(&rule, cost, Mode::Take, now).is_allowed, "turn {turn}");
            }
        }

        #[test]
        fn a_changed_rule_forgets_nothing_that_both_remember(
            limits in (limits(), limits()),
            windows in (WINDOW / 20..3 * WINDOW, WINDOW / 20..3 * WINDOW),
            requests in requests(),
            turning_point in 0..150_usize,
        ) {
            let rules = (Rule::new(limits.0, windows.0, 0), Rule::new(limits.1, windows.1, 0));
            let (mut state, mut log, mut now) = (SlidingWindow::default(), Log::default(), 0);
            for (turn, (gap, part)) in requests.into_iter().enumerate() {
                now += gap / 4;
                if turn == turning_point {
                    state.convert(&rules.0, &rules.1, now);
                }
                let (rule, limit) = if turn < turning_point { (&rules.0, limits.0) } else { (&rules.1, limits.1) };
                let cost = cost(limit, part);
                if state.apply(rule, cost, Mode::Take, now).is_allowed {
                    log.0.push((now, cost.into()));
                    let both = windows.0.min(windows.1);
                    prop_assert!(turn < turning_point || log.since(now.checked_sub(both)) <= limit.into());
                }
            }
        }
    }

    /// What a client gets that asks 100 times a second.
    fn admitted(limit: u32, times: impl Iterator<Item = u64>) -> Vec<u64> {
        let rule = Rule::new(limit, WINDOW, 0);
        let mut state = SlidingWindow::default();
        times.filter(|now| state.apply(&rule, 1, Mode::Take, *now).is_allowed).collect()
    }

    #[test]
    fn who_asks_too_often_gets_exactly_the_limit_again_and_again() {
        let longest = Rule::new(50, WINDOW, 0).longest();
        let times = admitted(50, (0..10_000).map(|n| n * SECOND / 100));
        for round in 0..9 {
            let (from, to) = (round * longest, (round + 1) * longest);
            assert_eq!(times.iter().filter(|at| (from..to).contains(at)).count(), 50, "round {round}");
        }
    }

    #[test]
    fn bunches_at_the_ends_of_windows_do_not_add_up() {
        let bunch = |from: u64| (0..50).map(move |n| from + n * SECOND / 1_000);
        assert_eq!(admitted(50, bunch(WINDOW - SECOND / 20).chain(bunch(WINDOW))).len(), 50);
        assert_eq!(admitted(50, bunch(WINDOW).chain(bunch(2 * WINDOW + WINDOW / 31))).len(), 100);
    }

    #[test]
    fn a_charge_above_the_limit_counts_for_a_window() {
        for limit in [1, 10, 254, 255, 1_000_000, u32::MAX] {
            let rule = Rule::new(limit, WINDOW, 0);
            let mut state = SlidingWindow::default();
            let reading = state.apply(&rule, u32::MAX, Mode::Charge, 0);
            assert_eq!((reading.is_allowed, reading.remaining), (limit == u32::MAX, 0));
            state.apply(&rule, 1, Mode::Charge, WINDOW / 2);
            assert!(!state.apply(&rule, 0, Mode::Take, WINDOW - 1).is_allowed, "it is above the limit");
            assert!(state.apply(&rule, limit.saturating_sub(rule.unit), Mode::Take, rule.longest()).is_allowed);
        }
    }

    #[test]
    fn an_earlier_time_counts_as_the_latest_known() {
        let rule = Rule::new(2, WINDOW, 0);
        let mut state = SlidingWindow::default();
        assert!(state.apply(&rule, 1, Mode::Take, 3 * WINDOW).is_allowed);
        assert!(state.apply(&rule, 1, Mode::Take, 3 * WINDOW - SECOND).is_allowed);
        assert!(!state.apply(&rule, 1, Mode::Take, 3 * WINDOW - SECOND).is_allowed);
        assert!(!state.apply(&rule, 1, Mode::Take, 4 * WINDOW - 1).is_allowed);
    }

    #[test]
    fn a_breach_bans_and_a_charge_can_breach() {
        let rule = Rule::new(1, WINDOW, 60 * SECOND);
        let mut state = SlidingWindow::default();
        assert!(state.apply(&rule, 1, Mode::Charge, 0).banned_until.is_none());
        let breach = state.apply(&rule, 1, Mode::Charge, SECOND);
        let end = breach.banned_until.unwrap();
        assert!((61 * SECOND..62 * SECOND).contains(&end));
        assert_eq!((breach.retry_at, breach.full_at, breach.remaining), (end, end, 0));
        assert!(!state.apply(&rule, 0, Mode::Take, 60 * SECOND).is_allowed);
        assert!(!state.is_idle(&rule, end - 1) && state.is_idle(&rule, end));
        assert!(state.apply(&rule, 1, Mode::Take, end).is_allowed);
    }
}
