//! Routes that operators have cut off for a time: which, for how many clients, until when, by whom.
//!
//! There are a handful at most, so nodes exchange all of them (see `exchange.rs`).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::exchange::{self, Record, exchange};
use crate::key::Key;
use crate::redis::{Redis, StoreError};

/// Most routes with a record at a time.
pub const MOST_CUTS: usize = 1_000;

/// How long an ended record is kept, in seconds, so that who has not heard of the end does not bring the old one back.
pub const MEMORY: u64 = exchange::MEMORY;

/// What is known of a route: that it is cut off, or that it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The name of the route.
    pub route: String,
    /// How many of a hundred clients are refused; 0: it serves again.
    pub percent: u8,
    /// Until when, in Unix seconds.
    pub until: u64,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The name of the admin token that made the change.
    pub by: String,
    /// The node that was told.
    pub node: String,
    /// When the change was made, in Unix milliseconds by that node's clock, but always later than the change before.
    pub stamp: u64,
}

impl Cut {
    /// Whether anybody is refused at `now`, in Unix seconds.
    #[must_use]
    pub fn counts_at(&self, now: u64) -> bool {
        self.percent > 0 && self.until > now
    }

    /// Whether nobody needs to know of it any more at `now`, in Unix seconds.
    #[must_use]
    pub fn is_forgotten_at(&self, now: u64) -> bool {
        self.until.saturating_add(MEMORY) < now
    }
}

impl Record for Cut {
    fn name(&self) -> &str {
        &self.route
    }
}

/// The records of a fleet in Redis.
#[derive(Clone, Debug)]
pub struct RedisCuts {
    redis: Arc<Redis>,
}

impl RedisCuts {
    /// Those in this Redis.
    #[must_use]
    pub fn new(redis: Arc<Redis>) -> Self {
        Self { redis }
    }

    /// Tells what this node knows and returns what all nodes know together, at `now` in Unix seconds. May be repeated.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn exchange(&self, known: &[Cut], now: u64) -> Result<Vec<Cut>, StoreError> {
        exchange(&self.redis, &Key::cut(), MOST_CUTS, known, now).await
    }
}
