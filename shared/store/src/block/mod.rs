//! The dynamic blocklist of the edge: what it consists of, and where it is kept.
//!
//! An [`Entry`] is one network, which is also its id: there is at most one for each. What is kept of it is a [`Record`]: the
//! entry and the *stamp* of its last change, by which any two records of a network can be compared, wherever they come from
//! ([`Record::is_newer_than`]). A removed entry leaves a record without entry (a tombstone) for [`TOMBSTONE_LIFE`], so that
//! nobody who has not heard of the removal brings it back.
//!
//! Every node has all records in memory and in a file of its own ([`BlockFile`]). With Redis ([`RedisBlocks`]) the nodes of a
//! fleet agree: a change is one script, which sets the record, counts the revision up and appends to the log of changes in
//! one step; nodes follow the log; and where the log does not say what a node has missed, or Redis has lost what a node still
//! knows, both sides exchange all records and the newer one of each network wins. So a change that was made while Redis was
//! away, and one that Redis has lost in a failover or with its memory, is there again on all nodes once they can talk.

mod file;
mod log;
mod record;
mod redis;

pub use file::{BlockFile, Kept};
pub use log::{Change, Head};
pub use record::{Entry, Record};
pub use redis::{Expected, Followed, RedisBlocks, Written};

use std::time::Duration;

/// Most entries of a blocklist. One takes about 300 bytes in Redis and 500 in a node.
pub const MOST_ENTRIES: usize = 200_000;

/// Changes kept in the log; a node that has missed more reads all records.
pub const LOG_LENGTH: usize = 10_000;

/// How long an entry is kept after its end, for clocks that differ. Nobody can bring it back.
pub const EXPIRED_LIFE: Duration = Duration::from_secs(3_600);

/// How long a removal is remembered. A node that was away for longer takes what the others have.
pub const TOMBSTONE_LIFE: Duration = Duration::from_secs(7 * 86_400);
