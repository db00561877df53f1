//! A limit that all nodes of a fleet keep together, without asking each other about a request.
//!
//! Windows are fixed and begin at multiples of their length since 1970, so that all nodes mean the same by one. Each node
//! counts what it admits, and every 100 to 200 ms nodes tell each other their counts. The exchange itself is not here:
//! whoever does it calls [`FleetLimit::take_deltas`], sends them, calls [`FleetLimit::merge`] with what the others
//! admitted, and [`FleetLimit::exchanged`] when all of that worked.
//!
//! Between two exchanges a node may admit its *grant*: at most 7/10 of what the fleet has left, times the node's share.
//!
//! - What is left is the limit less all counts, less what the others have probably admitted since they told: they go on
//!   at the rate of late.
//! - The share is half an equal one and half by who admitted how much of late. The grants of all nodes together are then
//!   less than what is left, so nobody overdraws as long as loads are steady; and what one node does not use is granted
//!   anew at the next exchange.
//! - A node that uses much of the limit between two exchanges is in a *rush*, and so perhaps are the others. Then it
//!   takes what they may have been granted as used until they have told, and grants are so small that all of them
//!   together are 1/10 of the limit (or four times what nodes at the limit admit in the period, for short windows).
//! - A key that is new to a node has limit ÷ nodes until the first exchange that finds no rush.
//! - When the exchange is dead (nothing for five of its periods), a node may admit limit ÷ nodes in each window; in the
//!   window in which it died, what was left at its last exchange ÷ nodes.
//!
//! Simulated with three nodes, loads of 70/20/10, an exchange every 100 to 200 ms and one in twenty lost (see the tests):
//! at twice the limit the total over a minute is within 1 % of the limit for windows of 10 s and more, and within 2.5 %
//! for windows of 1 s; no window of 10 s or more gets above 1.07 × the limit, at 1 to 100 times the limit, when the
//! exchange dies in the middle, or when a flood begins all at once. Limits below about 20 are as exact as whole requests
//! allow: each node but one may admit one too many.
//!
//! What is *not* promised: a client that exhausts one node and goes to one that has never heard of it gets limit ÷ nodes
//! there again, and a node that alone is cut off from the exchange adds as much. Windows are fixed: at the turn of one, up
//! to twice the limit may pass within its length.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::{ConfigErrors, Positions};

use super::config::{Check, FleetConfig};
use super::decision::{Decision, policy_field};
use super::key::Key;
use super::meter::Mode;
use super::table::{Full, Generation, State, Table, Usage};

/// Periods without an exchange after which it counts as dead.
const DEAD_AFTER: u64 = 5;
/// Most keys that wait to be exchanged, 16 bytes each; when there are more, they wait to wait.
const MOST_WAITING: usize = 65_536;
/// What is granted until the next exchange, in tenths of the node's share of what is left.
const GRANTED_TENTHS: u64 = 7;
/// What all nodes but one may be granted in a rush, as a part of the limit …
const RUSH_PART: u64 = 10;
/// … or in periods of the rate, if that is more.
const RUSH_PERIODS: u64 = 4;
/// A count that is stale by up to one period is stale by 2/5 of what grows in a period; simulated best.
const UNTOLD_FIFTHS: u64 = 2;
/// A whole share.
const WHOLE: u64 = 1 << 15;
/// Growth is kept in this part of an event.
const GROWTH_UNIT: u64 = 16;

/// A limit on how many events each key may cause in a window on all nodes together.
///
/// Times are milliseconds by the wall clock, as windows are the same on all nodes. When the clock jumps, at most one more
/// window's worth is admitted.
#[derive(Debug)]
pub struct FleetLimit {
    name: Box<str>,
    key: Box<str>,
    policy_field: Box<str>,
    generation: Arc<Generation<Rule>>,
    shared: Arc<Shared>,
}

/// What generations share.
#[derive(Debug)]
struct Shared {
    table: Table<Count>,
    /// Keys that wait to be exchanged. Locked for a push once for each key and exchange, and for taking them all.
    waiting: Mutex<Vec<Key>>,
    /// When the last exchange worked; 0 before the first.
    exchanged_at: AtomicU64,
    nodes: AtomicU32,
}

/// What the configuration says; times in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Rule {
    limit: u32,
    window: u64,
    exchange_every: u64,
}

/// What is known of the fleet at a moment.
#[derive(Clone, Copy, Debug)]
struct Fleet {
    nodes: u32,
    is_connected: bool,
}

/// What a node knows of a key. All numbers concern the window, except those said to be smoothed.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// The number of the window since 1970.
    window: u64,
    /// What this node has admitted, and what it had at the last exchange.
    local: u32,
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
    is_waiting: bool,
}

/// What a node tells the others about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The key.
    pub key: Key,
    /// The number of the window since 1970.
    pub window: u64,
    /// All that this node has admitted in the window.
    pub total: u32,
}

impl State for Count {
    type Rule = Rule;

    /// A key is remembered for one window without events, as its share and growth are of use.
    fn is_idle(&self, rule: &Rule, now: u64) -> bool {
        self.window + 1 < now / rule.window
    }

    /// A changed limit counts from the next exchange on.
    fn convert(&mut self, _: &Rule, _: &Rule, _: u64) {}
}

impl Count {
    /// Begins a new window when it is time. A time just before the window is in it: threads read the clock before they
    /// lock.
    fn roll(&mut self, rule: &Rule, fleet: Fleet, now: u64) {
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
    fn apply(&mut self, rule: &Rule, fleet: Fleet, cost: u32, mode: Mode, now: u64) -> Decision {
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

    /// What the fleet has left, by all that was told.
    fn left(&self, rule: &Rule) -> u64 {
        u64::from(rule.limit).saturating_sub(u64::from(self.local) + u64::from(self.others))
    }

    /// Takes in what the others have admitted.
    fn merge(&mut self, rule: &Rule, fleet: Fleet, others: u32, now: u64) {
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

impl FleetLimit {
    /// Compiles a limit that is written at `path`. Counts are those of `before` when name, key and window are the same.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    pub fn compile(
        config: &FleetConfig,
        before: Option<&Self>,
        path: &str,
        positions: &Positions,
    ) -> Result<Self, ConfigErrors> {
        let mut check = Check::new(path, positions);
        check.name(&config.name);
        check.max_keys(config.max_keys);
        check.window(config.rate);
        let limit = check.count(config.rate.count, "rate");
        let nodes = check.count(config.nodes.into(), "nodes");
        let window = millis(config.rate.per);
        let exchange_every = millis(config.exchange_every.get());
        let holds = exchange_every > 0 && exchange_every <= window;
        check.expect(holds, "exchange_every", "must be over 0ms and at most the time of the rate");
        check.finish()?;
        let rule = Rule { limit, window, exchange_every };
        let generation = Generation::new(rule, config.max_keys, window.saturating_mul(2));
        let before = before.filter(|before| {
            *before.name == *config.name && *before.key == *config.key && before.generation.rule.window == window
        });
        let shared = before.map(|before| Arc::clone(&before.shared));
        Ok(Self {
            name: config.name.as_str().into(),
            key: config.key.as_str().into(),
            policy_field: policy_field(&config.name, config.rate.count, config.rate.per),
            shared: shared.unwrap_or_else(|| Arc::new(Shared::new(&generation, nodes))),
            generation,
        })
    }

    /// Asks whether `cost` may pass, and counts it if so.
    ///
    /// # Errors
    /// The table is full of keys in use and this one is new; see [`super::RateLimit::admit`].
    pub fn admit(&self, key: Key, cost: u32, unix_ms: u64) -> Result<Decision, Full> {
        self.apply(key, cost, Mode::Take, unix_ms)
    }

    /// Counts `cost` whether it may pass or not, for what is known only afterwards.
    ///
    /// # Errors
    /// As for [`Self::admit`].
    pub fn charge(&self, key: Key, cost: u32, unix_ms: u64) -> Result<Decision, Full> {
        self.apply(key, cost, Mode::Charge, unix_ms)
    }

    /// What [`Self::admit`] would say, without counting anything.
    pub fn peek(&self, key: Key, cost: u32, unix_ms: u64) -> Decision {
        let fleet = self.shared.fleet(&self.generation.rule, unix_ms);
        let ask = |count: &Count, rule: &Rule| { *count }.apply(rule, fleet, cost, Mode::Ask, unix_ms);
        self.shared.table.read(key, &self.generation, unix_ms, ask)
    }

    fn apply(&self, key: Key, cost: u32, mode: Mode, unix_ms: u64) -> Result<Decision, Full> {
        let fleet = self.shared.fleet(&self.generation.rule, unix_ms);
        let (decision, is_new) = self.shared.table.update(key, &self.generation, unix_ms, |count, rule| {
            let decision = count.apply(rule, fleet, cost, mode, unix_ms);
            // What was counted is to be told, and who was refused too early wants to know whether there is more.
            let is_new = !count.is_waiting && (decision.allowed || mode == Mode::Charge || count.left(rule) > 0);
            count.is_waiting |= is_new;
            (decision, is_new)
        })?;
        if is_new {
            self.wait(key);
        }
        Ok(decision)
    }

    /// Takes what is to be told to the others: at most `max` keys, those first that have waited longest.
    #[must_use]
    pub fn take_deltas(&self, max: usize) -> Vec<Delta> {
        let keys: Vec<Key> = {
            let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let count = max.min(waiting.len());
            waiting.drain(..count).collect()
        };
        let delta = |key: Key| {
            self.shared.table.change(key, |count| {
                count.is_waiting = false;
                Delta { key, window: count.window, total: count.local }
            })
        };
        keys.into_iter().filter_map(delta).collect()
    }

    /// Puts back what could not be told.
    pub fn put_back(&self, deltas: &[Delta]) {
        for delta in deltas {
            let was_waiting =
                self.shared.table.change(delta.key, |count| std::mem::replace(&mut count.is_waiting, true));
            if was_waiting == Some(false) {
                self.wait(delta.key);
            }
        }
    }

    /// Takes in what all other nodes together have admitted of a key in a window, as of `unix_ms`. Reports about another
    /// window than the present one are of no use any more.
    pub fn merge(&self, key: Key, window: u64, others: u64, unix_ms: u64) {
        let fleet = Fleet { is_connected: true, ..self.shared.fleet(&self.generation.rule, unix_ms) };
        let merge = |count: &mut Count, rule: &Rule| {
            count.roll(rule, fleet, unix_ms);
            if count.window == window {
                count.merge(rule, fleet, narrow(others), unix_ms);
            }
        };
        // A key that others use and this node does not is only worth a place while there is one.
        let _is_full = self.shared.table.update(key, &self.generation, unix_ms, merge).is_err();
    }

    /// An exchange has worked, and so many nodes take part, this one included. Call it every time, also when there was
    /// nothing to tell: without it the exchange counts as dead.
    pub fn exchanged(&self, live_nodes: u32, unix_ms: u64) {
        self.shared.nodes.store(live_nodes.max(1), Ordering::Relaxed);
        self.shared.exchanged_at.store(unix_ms, Ordering::Relaxed);
    }

    /// The number of the window at a time.
    #[must_use]
    pub fn window(&self, unix_ms: u64) -> u64 {
        unix_ms / self.generation.rule.window
    }

    /// Gives the places of idle keys back; see [`super::RateLimit::reclaim`].
    pub fn reclaim(&self, unix_ms: u64) {
        self.shared.table.reclaim(unix_ms);
    }

    /// How full the table of keys is. Locks one shard after the other: for metrics, not for requests.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.shared.table.usage()
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The member of `RateLimit-Policy` about this limit.
    #[must_use]
    pub fn policy_field(&self) -> &str {
        &self.policy_field
    }

    /// Queues a key that is marked as waiting; unmarks it when the queue is full, so that its next event tries again.
    fn wait(&self, key: Key) {
        let is_queued = {
            let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let has_room = waiting.len() < MOST_WAITING;
            if has_room {
                waiting.push(key);
            }
            has_room
        };
        if !is_queued {
            self.shared.table.change(key, |count| count.is_waiting = false);
        }
    }
}

impl Shared {
    fn new(generation: &Arc<Generation<Rule>>, nodes: u32) -> Self {
        Self {
            table: Table::new(generation),
            waiting: Mutex::default(),
            exchanged_at: AtomicU64::new(0),
            nodes: AtomicU32::new(nodes),
        }
    }

    fn fleet(&self, rule: &Rule, now: u64) -> Fleet {
        let since = now.saturating_sub(self.exchanged_at.load(Ordering::Relaxed));
        Fleet {
            nodes: self.nodes.load(Ordering::Relaxed).max(1),
            is_connected: since <= rule.exchange_every.saturating_mul(DEAD_AFTER),
        }
    }
}

/// A number in 32 bits; larger ones are cut.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
