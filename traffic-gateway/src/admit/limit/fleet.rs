//! Limits of the fleet: edges tell each other what they have admitted, several times a second and off the request path.
//!
//! What a node may admit between two exchanges is decided by [`gatehouse_shared::limit::FleetLimit`]; here it is told and
//! heard. How is the business of an [`Exchange`].

use std::{error::Error, sync::Arc};

use async_trait::async_trait;
use gatehouse_shared::limit::{Delta, FleetLimit, Key};

use super::{Limits, rule::Rule};

/// Most keys told in one exchange, of all limits together; the others wait for the next, those first that have waited longest.
pub const TOLD_MAX: usize = 4_096;

/// What this node has admitted under one key of one limit in one window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The limit.
    pub limit: Arc<str>,
    /// The number of the window since 1970.
    pub window: u64,
    /// When the window ends, Unix milliseconds: nobody asks for it any more a window later.
    pub window_end_unix_ms: u64,
    /// The key; the same on every node.
    pub key: Key,
    /// All that this node has admitted in the window: a total, so that telling twice does no harm.
    pub total: u32,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Nodes that take part, this one included.
    pub live_nodes: u32,
    /// What all others together have admitted, for each [`Told`] in order.
    pub others: Vec<u64>,
}

/// Where edges meet.
///
/// With Redis one exchange is one pipelined call. A limit and window are one hash, `gh:e:limit:{NAME}:WINDOW`, with a field for
/// each key and node, `KEY:NODE` (the key in hexadecimal), so that nodes never write the same field and a repeated command does
/// no harm: `HSET` of this node's total, `HMGET` of the same key for the nodes that were alive at the exchange before, `PEXPIREAT`
/// two windows after the end; and once for all, `ZADD` of this node's heartbeat to `gh:e:nodes` and `ZRANGEBYSCORE` of the live
/// ones.
#[async_trait]
pub trait Exchange: Send + Sync {
    /// Tells the others and hears what they have told. It must end by itself within about 100 ms, for nothing is told meanwhile.
    ///
    /// # Errors
    ///
    /// It did not work; the same is told again with the next one.
    async fn exchange(&self, told: &[Told]) -> Result<Heard, ExchangeError>;
}

/// Why an exchange did not work.
#[derive(Debug, thiserror::Error)]
#[error("the exchange of limits failed")]
pub struct ExchangeError(#[source] pub Box<dyn Error + Send + Sync>);

impl Limits {
    /// Whether there are limits of the fleet.
    #[must_use]
    pub fn has_fleet(&self) -> bool {
        self.fleet().next().is_some()
    }

    /// Takes what is to be told: at most [`TOLD_MAX`] keys. It is to be given to [`Self::hear`] or [`Self::put_back`].
    #[must_use]
    pub fn tell(&self) -> Vec<Told> {
        let mut told = Vec::new();
        let mut left = self.fleet().count();
        for (rule, limit) in self.fleet() {
            // What one limit leaves is there for the next ones.
            let most = (TOLD_MAX - told.len()).checked_div(left).unwrap_or_default();
            left -= 1;
            told.extend(limit.take_deltas(most).into_iter().map(|delta| Told {
                limit: Arc::clone(&rule.name),
                window: delta.window,
                window_end_unix_ms: limit.window_end(delta.window),
                key: delta.key,
                total: delta.total,
            }));
        }
        told
    }

    /// Takes in what the others have told.
    pub fn hear(&self, told: &[Told], heard: &Heard, unix_ms: u64) {
        for (rule, limit) in self.fleet() {
            for (told, others) in told.iter().zip(&heard.others).filter(|(told, _)| told.limit == rule.name) {
                limit.merge(told.key, told.window, *others, unix_ms);
            }
            limit.exchanged(heard.live_nodes, unix_ms);
        }
    }

    /// The exchange did not work: the same is to be told with the next one.
    pub fn put_back(&self, told: &[Told]) {
        for (rule, limit) in self.fleet() {
            let of_limit = told.iter().filter(|told| told.limit == rule.name);
            let deltas: Vec<Delta> =
                of_limit.map(|told| Delta { key: told.key, window: told.window, total: told.total }).collect();
            limit.put_back(&deltas);
        }
    }

    fn fleet(&self) -> impl Iterator<Item = (&Rule, &FleetLimit)> {
        self.rules.iter().filter_map(|rule| Some((rule, rule.counter.fleet()?)))
    }
}
