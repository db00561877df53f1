//! Routes that operators have cut off for a time: which, for how many clients, until when, by whom.
//!
//! There are a handful at most, so nodes exchange all of them: each tells what it knows, and takes what the others know. Of
//! two records of a route the one with the later *stamp* counts, wherever they meet, so that the order of exchanges does not
//! matter and a change made while Redis was away is not lost.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::key::Key;
use crate::redis::{Command, Redis, StoreError};

/// Most routes with a record at a time.
pub const MOST_CUTS: usize = 1_000;

/// How long an ended record is kept, in seconds, so that who has not heard of the end does not bring the old one back.
pub const MEMORY: u64 = 86_400;

/// ARGV: most records, the Unix second before which ended records are forgotten, then route and record of each. Answers all
/// records.
const EXCHANGE: &str = r"
local most, forget = tonumber(ARGV[1]), tonumber(ARGV[2])
for i = 3, #ARGV, 2 do
  local old = redis.call('HGET', KEYS[1], ARGV[i])
  local is_newer = true
  if old then
    is_newer = cjson.decode(ARGV[i + 1]).stamp > cjson.decode(old).stamp
  elseif redis.call('HLEN', KEYS[1]) >= most then
    is_newer = false
  end
  if is_newer then redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
local all = redis.call('HGETALL', KEYS[1])
local records = {}
for i = 1, #all, 2 do
  if cjson.decode(all[i + 1])['until'] < forget then
    redis.call('HDEL', KEYS[1], all[i])
  else
    records[#records + 1] = all[i + 1]
  end
end
return records
";

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
        let mut command = Command::script(EXCHANGE, &[&Key::cut()]).arg(MOST_CUTS).arg(now.saturating_sub(MEMORY));
        for cut in known {
            let record =
                serde_json::to_string(cut).map_err(|error| StoreError::Unexpected(error.to_string().into()))?;
            command = command.arg(&cut.route).arg(record);
        }
        let records: Vec<String> = self.redis.one(command).await?;
        Ok(records.iter().filter_map(|record| serde_json::from_str(record).ok()).collect())
    }
}
