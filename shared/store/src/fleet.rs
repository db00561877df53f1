//! Which nodes of a tier are alive: each tells so every second or so, by Redis's clock alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::key::Key;
use crate::redis::{Command, Redis, StoreError};

/// How long a node counts as alive after it was heard of.
const ALIVE: Duration = Duration::from_secs(3);

/// How long a node is remembered after it was heard of.
const REMEMBERED: Duration = Duration::from_secs(60);

/// How often a node should tell that it is alive.
pub const BEAT: Duration = Duration::from_millis(900);

/// ARGV: node, milliseconds it counts as alive and is remembered. Answers how many are alive.
const HEARTBEAT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - ARGV[3]))
return redis.call('ZCOUNT', KEYS[1], string.format('(%.0f', now - ARGV[2]), '+inf')
";

/// The command that tells that `node` is alive, and is answered with how many are.
pub(crate) fn heartbeat(nodes: &Key, node: &str) -> Command {
    Command::script(HEARTBEAT, &[nodes]).arg(node).arg(millis(ALIVE)).arg(millis(REMEMBERED))
}

/// The business nodes that share a store, as one of them knows them. Without a store it is alone.
#[derive(Debug)]
pub struct Fleet {
    redis: Option<Arc<Redis>>,
    node: Box<str>,
    /// As last heard; while the store is away this stays.
    live: AtomicU32,
}

impl Fleet {
    /// The fleet of a node of this name.
    #[must_use]
    pub fn new(redis: Option<Arc<Redis>>, node: &str) -> Self {
        Self { redis, node: node.into(), live: AtomicU32::new(1) }
    }

    /// Nodes alive, this one included: at least 1, and as last heard while the store is away.
    #[must_use]
    pub fn live_nodes(&self) -> u32 {
        self.live.load(Ordering::Relaxed)
    }

    /// Tells that this node is alive and hears how many are.
    ///
    /// # Errors
    /// As [`StoreError`] says; the number stays as it was.
    pub async fn beat(&self) -> Result<(), StoreError> {
        let Some(redis) = &self.redis else { return Ok(()) };
        let live: u32 = redis.one(heartbeat(&Key::business_nodes(), &self.node)).await?;
        self.live.store(live.max(1), Ordering::Relaxed);
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_a_store_is_alone() {
        assert_eq!(Fleet::new(None, "a").live_nodes(), 1);
    }
}
