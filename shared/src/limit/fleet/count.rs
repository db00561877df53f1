//! What a node of a fleet knows of a key, and how far it may go.

use std::time::Duration;

use crate::limit::decision::Decision;
use crate::limit::meter::Mode;
use crate::limit::table::State;

/// What is granted until the next exchange, in tenths of the node's share of what is left.
const GRANTED_TENTHS: u64 = 7;
/// What all nodes but one may be granted in a rush, as a part of the limit …
const RUSH_PART: u64 = 10;
/// … or in periods of the rate, if that is more.
const RUSH_PERIODS: u64 = 4;
/// A count that is stale by up to one period is stale by 2/5 of what grows in a period; simulated best.
const UNTOLD_FIFTHS: u64 = 2;
/// A key is not told of before it has had this part of limit ÷ nodes, so that the many clients who come once cost no
/// exchange; all nodes but one together can hold back 1/32 of the limit at most.
const UNTOLD_PART: u64 = 32;
/// A whole share.
const WHOLE: u64 = 1 << 15;
/// Growth is kept in this part of an event.
const GROWTH_UNIT: u64 = 16;

/// What the configuration says; times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) limit: u32,
    pub(super) window: u64,
    pub(super) exchange_every: u64,
}

/// What is known of the fleet at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fleet {
    pub(super) nodes: u32,
    pub(super) is_connected: bool,
}

/// What a node knows of a key. All numbers concern the window, except those said to be smoothed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    /// The number of the window since 1970.
    pub(super) window: u64,
    /// What this node has admitted, and what it had at the last exchange.
    pub(super) local: u32,
    told: u32,
    /// What the others have admitted, by the last exchange, and what they may have by the next.
    others: u32,
    others_may: u32,
    /// How far `local` may go until the next exchange, and how far when there is none any more.
    granted: u32,
    alone: u32,
    /// When the last exchange was, in milliseconds after the window began, from 1 on; 0 when there was none.
    merged: u32,
    /// How much `others` grows in a period, smoothed, in 1/16.
    growth: u32,
    /// Which part of everything this node admits, smoothed; 0 to [`WHOLE`].
    share: u16,
    is_in_rush: bool,
    /// Whether the key waits to be exchanged.
    pub(super) is_waiting: bool,
}

impl State for Count {
    type Rule = Rule;

    /// A key is remembered for one window without events, as its share and growth are of use.
    fn is_idle(&self, rule: &Rule, now: u64) -> bool {
        self.window.abs_diff(now / rule.window) > 1
    }

    /// A changed limit counts from the next exchange on.
    fn convert(&mut self, _: &Rule, _: &Rule, _: u64) {}
}

impl Count {
    /// Begins a new window when it is time. A time just before the window is in it: threads read the clock before they
    /// lock.
    pub(super) fn roll(&mut self, rule: &Rule, fleet: Fleet, now: u64) {
        let window = now / rule.window;
        if window == self.window || window + 1 == self.window {
            return;
        }
        let is_known = fleet.is_connected && self.merged != 0 && self.window + 1 == window;
        let before = if is_known { *self } else { Self::default() };
        *self = Self { window, is_waiting: self.is_waiting, ..Self::default() };
        self.alone = (rule.limit / fleet.nodes).max(1);
        if is_known {
            (self.growth, self.share, self.is_in_rush) = (before.growth, before.share, before.is_in_rush);
            self.grant(rule, fleet);
        } else {
            self.granted = self.alone;
            self.others_may = rule.limit.saturating_sub(self.alone);
        }
    }

    /// Counts `cost` as the mode says, if it may pass; the time is in the window.
    pub(super) fn apply(&mut self, rule: &Rule, fleet: Fleet, cost: u32, mode: Mode, now: u64) -> Decision {
        self.roll(rule, fleet, now);
        let bound = if fleet.is_connected { self.granted } else { self.granted.max(self.alone) };
        let after = self.local.saturating_add(cost);
        let allowed = after <= bound.min(rule.limit);
        if allowed && mode == Mode::Take || mode == Mode::Charge {
            self.local = after;
        }
        let left = self.left(rule);
        let end = Duration::from_millis(((self.window + 1) * rule.window).saturating_sub(now));
        let next = Duration::from_millis(rule.exchange_every).min(end);
        Decision {
            allowed,
            remaining: if allowed { left } else { 0 },
            reset_after: if self.local == 0 { Duration::ZERO } else { end },
            retry_after: (!allowed).then_some(if u64::from(cost) <= left && fleet.is_connected { next } else { end }),
            banned_until: None,
        }
    }

    /// Whether the others should know, and this node should know of the others: not before it has admitted enough to
    /// matter, and not after all is used up.
    pub(super) fn is_worth_telling(&self, rule: &Rule, fleet: Fleet) -> bool {
        let matters = u64::from(self.local) * u64::from(fleet.nodes) * UNTOLD_PART >= u64::from(rule.limit);
        matters || self.merged != 0
    }

    /// What the fleet has left, by all that was told.
    pub(super) fn left(&self, rule: &Rule) -> u64 {
        u64::from(rule.limit).saturating_sub(u64::from(self.local) + u64::from(self.others))
    }

    /// Takes in what the others have admitted.
    pub(super) fn merge(&mut self, rule: &Rule, fleet: Fleet, others: u32, now: u64) {
        let at = (now % rule.window).saturating_add(1);
        let elapsed = at.saturating_sub(u64::from(self.merged)).max(1);
        let grown = u64::from(others.saturating_sub(self.others)) * GROWTH_UNIT * rule.exchange_every / elapsed;
        self.growth = narrow((u64::from(self.growth) + grown) / 2);
        self.merged = narrow(at);
        self.others = self.others.max(others);
        let all = u64::from(self.local) + u64::from(self.others);
        if let Some(share) = (u64::from(self.local) * WHOLE).checked_div(all) {
            let smoothed = if self.share == 0 { share } else { (3 * u64::from(self.share) + share) / 4 };
            self.share = u16::try_from(smoothed).unwrap_or(u16::MAX);
        }
        let used = self.local.saturating_sub(self.told);
        self.told = self.local;
        self.is_in_rush = u64::from(used) >= self.rush(rule, fleet);
        self.alone = self.local.saturating_add(narrow(self.left(rule) / u64::from(fleet.nodes)));
        self.grant(rule, fleet);
    }

    /// Sets how far `local` may go until the next exchange.
    fn grant(&mut self, rule: &Rule, fleet: Fleet) {
        let untold = u64::from(self.growth) * UNTOLD_FIFTHS / (5 * GROWTH_UNIT);
        let mut others = u64::from(self.others) + untold;
        if self.is_in_rush {
            others = others.max(u64::from(self.others_may));
        }
        let left = u64::from(rule.limit).saturating_sub(u64::from(self.local) + others);
        let share = self.share_of_grants(fleet);
        let (granted, most) = match (fleet.nodes, self.is_in_rush) {
            (1, _) => (left, u64::MAX),
            (_, true) => ((left * share * GRANTED_TENTHS).div_ceil(10 * WHOLE), self.rush(rule, fleet)),
            (_, false) => ((left * share * GRANTED_TENTHS).div_ceil(10 * WHOLE), u64::MAX),
        };
        self.granted = self.local.saturating_add(narrow(granted.min(most)));
        let others_granted = left * (WHOLE - share) * GRANTED_TENTHS / (10 * WHOLE);
        self.others_may = self.others.saturating_add(narrow(others_granted));
    }

    /// The part of what is left that is this node's, 0 to [`WHOLE`].
    fn share_of_grants(&self, fleet: Fleet) -> u64 {
        (WHOLE / u64::from(fleet.nodes) + u64::from(self.share)) / 2
    }

    /// What a node may be granted in a rush; and who uses as much between two exchanges is in one.
    fn rush(&self, rule: &Rule, fleet: Fleet) -> u64 {
        let limit = u64::from(rule.limit);
        let part = limit / (RUSH_PART * u64::from(fleet.nodes - 1).max(1));
        let in_periods = limit * self.share_of_grants(fleet) * RUSH_PERIODS / WHOLE;
        part.max(in_periods * rule.exchange_every / rule.window).max(2)
    }
}

/// A number in 32 bits; larger ones are cut.
pub(super) fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
