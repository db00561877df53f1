//! Few records that all nodes know: each tells what it knows, and takes what the others know.
//!
//! Of two records of the same name the one with the later *stamp* counts, wherever they meet, so that the order of exchanges
//! does not matter and a change made while Redis was away is not lost. An ended record is kept for a while, so that who has not
//! heard of the end does not bring the old one back.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::key::Key;
use crate::redis::{Command, Redis, StoreError};

/// How long an ended record is kept, in seconds.
pub(crate) const MEMORY: u64 = 86_400;

/// ARGV: most records, the Unix second before which ended records are forgotten, then name and record of each. Answers all
/// records. A record has the fields `stamp` and `until`.
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

/// A record that nodes exchange. It is written as JSON with the fields `stamp` and `until`.
pub(crate) trait Record: Serialize + DeserializeOwned {
    /// What it is about.
    fn name(&self) -> &str;
}

/// Tells what this node knows and returns what all nodes know together, at `now` in Unix seconds; at most `most` names. May be
/// repeated.
///
/// # Errors
/// As [`StoreError`] says.
pub(crate) async fn exchange<R: Record>(
    redis: &Redis,
    key: &Key,
    most: usize,
    known: &[R],
    now: u64,
) -> Result<Vec<R>, StoreError> {
    let mut command = Command::script(EXCHANGE, &[key]).arg(most).arg(now.saturating_sub(MEMORY));
    for record in known {
        let text = serde_json::to_string(record).map_err(|error| StoreError::Unexpected(error.to_string().into()))?;
        command = command.arg(record.name()).arg(text);
    }
    let records: Vec<String> = redis.one(command).await?;
    Ok(records.iter().filter_map(|record| serde_json::from_str(record).ok()).collect())
}
