//! A limit on how much a key may have in flight: requests, connections.

use std::sync::Arc;
use std::time::Instant;

use crate::config::{ConfigErrors, Positions};

use super::config::{Check, ConcurrencyConfig};
use super::key::Key;
use super::meter::Epoch;
use super::table::{Full, Generation, State, Table, Usage};

/// A full table is swept for keys with nothing in flight once a millisecond, as there is no telling when they get so.
const IDLE_AFTER: u64 = 16_000_000;

/// A limit on how much each key may have in flight at a time.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    name: Box<str>,
    key: Box<str>,
    epoch: Epoch,
    table: Arc<Table<InFlight>>,
    generation: Arc<Generation<u32>>,
}

/// What a key has in flight.
#[derive(Clone, Copy, Debug, Default)]
struct InFlight(u32);

impl State for InFlight {
    /// The most in flight.
    type Rule = u32;

    fn is_idle(&self, _: &u32, _: u64) -> bool {
        self.0 == 0
    }

    fn convert(&mut self, _: &u32, _: &u32, _: u64) {}
}

/// Why nothing more may be in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The key has as much in flight as it may.
    #[error("as much is in flight as may be")]
    Busy,
    /// The table is full of keys with something in flight, and this one is new.
    #[error(transparent)]
    Full(#[from] Full),
}

impl ConcurrencyLimit {
    /// Compiles a limit that is written at `path`. What is in flight stays counted when `before` has the same name and
    /// key; if it is more than the new limit allows, nothing more is admitted until it is less.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    pub fn compile(
        config: &ConcurrencyConfig,
        before: Option<&Self>,
        path: &str,
        positions: &Positions,
        now: Instant,
    ) -> Result<Self, ConfigErrors> {
        let mut check = Check::new(path, positions);
        check.name(&config.name);
        check.max_keys(config.max_keys);
        let max = check.count(config.max, "max");
        check.finish()?;
        let generation = Generation::new(max, config.max_keys, IDLE_AFTER);
        let before = before.filter(|before| *before.name == *config.name && *before.key == *config.key);
        Ok(Self {
            name: config.name.as_str().into(),
            key: config.key.as_str().into(),
            epoch: before.map_or(Epoch(now.into()), |before| before.epoch),
            table: before.map_or_else(|| Arc::new(Table::new(&generation)), |before| Arc::clone(&before.table)),
            generation,
        })
    }

    /// Counts one more in flight for a key until the permit is dropped.
    ///
    /// # Errors
    /// The key has as much in flight as it may, or is new in a full table.
    pub fn acquire(&self, key: Key, now: Instant) -> Result<Permit, Refused> {
        let one_more = |in_flight: &mut InFlight, max: &u32| {
            let is_allowed = in_flight.0 < *max;
            in_flight.0 += u32::from(is_allowed);
            is_allowed
        };
        match self.table.update(key, &self.generation, self.epoch.nanos(now.into()), one_more)? {
            true => Ok(Permit { table: Arc::clone(&self.table), key }),
            false => Err(Refused::Busy),
        }
    }

    /// What a key has in flight.
    #[must_use]
    pub fn in_flight(&self, key: Key, now: Instant) -> u32 {
        self.table.read(key, &self.generation, self.epoch.nanos(now.into()), |in_flight, _| in_flight.0)
    }

    /// Gives the places of keys with nothing in flight back; see [`super::RateLimit::reclaim`].
    pub fn reclaim(&self, now: Instant) {
        self.table.reclaim(self.epoch.nanos(now.into()));
    }

    /// How full the table of keys is. Locks one shard after the other: for metrics, not for requests.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.table.usage()
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// One in flight, until this is dropped.
#[derive(Debug)]
#[must_use = "a permit that is dropped counts nothing"]
pub struct Permit {
    table: Arc<Table<InFlight>>,
    key: Key,
}

impl Drop for Permit {
    fn drop(&mut self) {
        // The key is there: one with something in flight is never given up.
        self.table.change(self.key, |in_flight| in_flight.0 = in_flight.0.saturating_sub(1));
    }
}
