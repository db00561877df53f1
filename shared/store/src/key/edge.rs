//! Keys of the edge.

use super::{Key, KeyError, Owner, part};

impl Key {
    /// The dynamic blocklist. Hash: network → record (revision, stamp, entry), and `@head`. Lives for ever;
    /// written by edge nodes, commands and the API; read by edge nodes. It shares its place in a Cluster with its log, so
    /// that one script changes both.
    #[must_use]
    pub fn block() -> Self {
        Self::fixed(Owner::Edge, "{block}")
    }

    /// Changes of the blocklist. Stream, capped. Lives for ever; written with [`Key::block`], followed by edge nodes.
    #[must_use]
    pub fn block_log() -> Self {
        Self::fixed(Owner::Edge, "{block}:log")
    }

    /// Usage of a fleet-wide limit in one window. Hash: `KEY@PROCESS` → its count, `KEY` → their sum. Lives for two windows; written and read by edge
    /// nodes. All windows of a limit share their place in a Cluster.
    ///
    /// # Errors
    /// When the name of the limit is empty or too long.
    pub fn limit(name: &str, window: u64) -> Result<Self, KeyError> {
        Ok(Self::fixed(Owner::Edge, &format!("limit:{{{}}}:{window}", part(name)?)))
    }

    /// Routes that are cut off. Hash: route → record. Records leave a day after their end; written and read by edge nodes.
    #[must_use]
    pub fn cut() -> Self {
        Self::fixed(Owner::Edge, "cut")
    }

    /// Live edge nodes. Sorted set: node → heartbeat in Unix milliseconds. Lives for ever; written and read by edge nodes.
    #[must_use]
    pub fn edge_nodes() -> Self {
        Self::fixed(Owner::Edge, "nodes")
    }
}
