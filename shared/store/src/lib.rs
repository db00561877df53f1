//! The only crate that may know Redis: which keys exist, who owns them, and how they are reached.
//!
//! [`config`] is the `[store]` table. With `kind = "file"` every node works from its own files. With `kind = "redis"` a fleet
//! shares what it knows through [`redis`]; [`key`] fixes the names of all keys; [`fleet`] knows which nodes are alive. [`block`] is the dynamic blocklist of the edge
//! over either, [`limit`] the exchange of counts for limits that a fleet keeps together, [`quota`] the tokens of quotas, leased to
//! nodes, [`cut`] which routes are cut off, [`shed`] which traffic groups. [`app`] are the applications of the business tier,
//! [`nonce`] the signed calls they have made, [`catalog`] the signed revisions of its catalog, [`registry`] the endpoints that
//! registered themselves, [`cache`] answers of services.

pub mod config;
pub mod key;
pub mod redis;
pub mod fleet;
pub mod block;
pub mod limit;
pub mod quota;
mod exchange;
pub mod cut;
pub mod catalog;
pub mod shed;
pub mod nonce;
pub mod app;
pub mod cache;
pub mod registry;

pub use config::{Config, Kind, Mode, RedisSettings, Settings};
pub use fleet::Fleet;
pub use key::{Key, KeyError, Owner};
pub use redis::{Batch, Command, Redis, StoreError};
