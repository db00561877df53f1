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

mod count;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::{ConfigErrors, Positions};

use super::config::{Check, FleetConfig};
use super::decision::{Decision, policy_field};
use super::key::Key;
use super::meter::Mode;
use super::table::{Full, Generation, Table, Usage};
use count::{Count, Fleet, Rule, narrow};

/// Periods without an exchange after which it counts as dead.
const DEAD_AFTER: u64 = 5;
/// The longest period of an exchange in milliseconds; it should be 100 to 200.
const LONGEST_PERIOD: u64 = 10_000;
/// Most keys that wait to be exchanged, 16 bytes each; when there are more, they wait to wait.
const MOST_WAITING: usize = 65_536;

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
        let holds = (1..=LONGEST_PERIOD.min(window)).contains(&exchange_every);
        check.expect(holds, "exchange_every", "must be over 0ms, at most 10s, and at most the time of the rate");
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

    /// Gives back what [`Self::admit`] has counted a moment ago. What was told of it meanwhile is corrected with the next
    /// exchange, for nodes tell totals.
    pub fn give_back(&self, key: Key, cost: u32, unix_ms: u64) {
        let window = self.window(unix_ms);
        self.shared.table.change(key, |count| {
            if count.window == window {
                count.local = count.local.saturating_sub(cost);
            }
        });
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
            let is_news = decision.allowed || mode == Mode::Charge || count.left(rule) > 0;
            let is_new = is_news && !count.is_waiting && count.is_worth_telling(rule, fleet);
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

    /// When the window of this number ends, Unix milliseconds.
    #[must_use]
    pub fn window_end(&self, window: u64) -> u64 {
        window.saturating_add(1).saturating_mul(self.generation.rule.window)
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
