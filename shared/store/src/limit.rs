//! What the nodes of a fleet have counted for limits that they keep together, exchanged through Redis.
//!
//! Every process tells totals, not differences: what was told twice counts once, so an exchange whose answer was lost is
//! simply made again. What a process told that has ended since, or that is being replaced, stays. For each limit and window there is one hash ([`Key::limit`]) with two fields for a key: `KEY@PROCESS`, what
//! that one has told, and `KEY`, the sum of these. One script brings both up to date and answers what all the others have
//! counted, so an exchange costs the same however many nodes there are. Everything a node tells goes into one pipeline.

use std::collections::HashMap;
use std::sync::Arc;

use gatehouse_shared::limit;

use crate::fleet::heartbeat;
use crate::key::Key;
use crate::redis::{Batch, Command, Redis, StoreError};

/// Counts told by one script: a fraction of a millisecond of Redis's time.
const CHUNK: usize = 250;

/// ARGV: milliseconds the counts live, process, then key and total of each. Answers what all others have counted of each.
const TELL: &str = r"
local life, process = ARGV[1], ARGV[2]
local others = {}
for i = 3, #ARGV, 2 do
  local key, total = ARGV[i], tonumber(ARGV[i + 1])
  local own = key .. '@' .. process
  local before = tonumber(redis.call('HGET', KEYS[1], own) or 0)
  local sum
  if total == before then
    sum = tonumber(redis.call('HGET', KEYS[1], key) or 0)
  else
    redis.call('HSET', KEYS[1], own, total)
    sum = redis.call('HINCRBY', KEYS[1], key, total - before)
  end
  others[#others + 1] = sum - total
end
redis.call('PEXPIRE', KEYS[1], life)
return others
";

/// What a node has admitted under one key of one limit in one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The name of the limit.
    pub limit: Arc<str>,
    /// The number of the window since 1970.
    pub window: u64,
    /// When the window ends, Unix milliseconds.
    pub window_end_unix_ms: u64,
    /// The key; the same on every node.
    pub key: limit::Key,
    /// All that this process has admitted in the window.
    pub total: u32,
}

/// What a node learns in an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Nodes that are alive, this one included.
    pub live_nodes: u32,
    /// What all others together have admitted, for each [`Told`] in order.
    pub others: Vec<u64>,
}

/// The counts of a fleet in Redis, as one node sees them.
#[derive(Clone, Debug)]
pub struct LimitCounts {
    redis: Arc<Redis>,
    node: Box<str>,
    /// The node and a number of this process.
    process: Box<str>,
}

impl LimitCounts {
    /// What a new process of the node of this name tells and hears. Two nodes of one name count as one that is alive, and
    /// nevertheless have counts of their own.
    #[must_use]
    pub fn new(redis: Arc<Redis>, node: &str) -> Self {
        Self { redis, node: node.into(), process: format!("{node}.{:08x}", fastrand::u32(..)).into() }
    }

    /// Tells what this node has counted and hears what the others have, in one round trip. May be repeated after any error.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn exchange(&self, told: &[Told]) -> Result<Heard, StoreError> {
        let mut batch = Batch::new().with(heartbeat(&Key::edge_nodes(), &self.node));
        let mut places = Vec::new();
        for positions in by_window(told) {
            for chunk in positions.chunks(CHUNK) {
                let Some(command) = self.tell(told, chunk) else { continue };
                batch.push(command);
                places.push(chunk.to_vec());
            }
        }
        let mut replies = self.redis.run(&batch).await?;
        let live_nodes = replies.take::<u32>()?.max(1);
        let mut others = vec![0; told.len()];
        for positions in places {
            let counts: Vec<i64> = replies.take()?;
            for (position, count) in positions.into_iter().zip(counts) {
                if let Some(other) = others.get_mut(position) {
                    *other = u64::try_from(count).unwrap_or(0);
                }
            }
        }
        Ok(Heard { live_nodes, others })
    }

    /// The script for some of `told`, which are all of one limit and window. `None` for a limit without a name.
    fn tell(&self, told: &[Told], positions: &[usize]) -> Option<Command> {
        let first = told.get(*positions.first()?)?;
        let hash = Key::limit(&first.limit, first.window).ok()?;
        Some(tell(&hash, &self.process, told, positions))
    }
}

/// The script for some of `told`, which are all of one limit and window, whose hash this is.
pub(crate) fn tell(hash: &Key, process: &str, told: &[Told], positions: &[usize]) -> Command {
    let mut of_hash = positions.iter().filter_map(|position| told.get(*position)).peekable();
    let window = of_hash.peek().map_or(0, |first| first.window_end_unix_ms / first.window.saturating_add(1));
    let mut command = Command::script(TELL, &[hash]).arg(window.saturating_mul(2)).arg(process);
    for told in of_hash {
        command = command.arg(told.key.to_bytes().as_slice()).arg(told.total);
    }
    command
}

/// The positions of what is about the same limit and window.
pub(crate) fn by_window(told: &[Told]) -> Vec<Vec<usize>> {
    let mut groups: HashMap<(&str, u64), Vec<usize>> = HashMap::new();
    for (position, told) in told.iter().enumerate() {
        groups.entry((&told.limit, told.window)).or_default().push(position);
    }
    groups.into_values().collect()
}
