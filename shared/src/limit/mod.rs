//! Limits: how much each client, route, … may do. Pure code: time is a parameter, nothing waits, nothing is sent.
//!
//! - [`RateLimit`]: so many in a time, by [`Algorithm::TokenBucket`] or [`Algorithm::SlidingWindow`], with bans on breach
//!   and costs that may be counted after the fact.
//! - [`FleetLimit`]: so many in a window on all nodes of a fleet together, which exchange what they counted.
//!
//! Both count by [`Key`], a keyed hash that a [`KeyHasher`] makes of whatever the configuration counts by. The parts
//! of keys are hashed once for a request (about 20 ns each) and serve every limit that counts by them; a check then costs 30
//! to 50 ns.
//!
//! ```
//! use gatehouse_shared::config::Positions;
//! use gatehouse_shared::limit::{Algorithm, KeyHasher, RateLimit, RateLimitConfig};
//!
//! let config = RateLimitConfig {
//!     name: "per-client".into(),
//!     key: "client".into(),
//!     algorithm: Algorithm::SlidingWindow,
//!     rate: "2/60s".parse()?,
//!     burst: None,
//!     ban: None,
//!     max_keys: 1_000_000,
//! };
//! let now = gatehouse_shared::clock::now();
//! let limit = RateLimit::compile(&config, None, "limit[0]", &Positions::default(), now)?;
//!
//! let client = KeyHasher::of_process().key().address([192, 0, 2, 7].into()).finish();
//! assert!(limit.admit(client, 2, now)?.allowed);
//! let refused = limit.admit(client, 1, now)?;
//! assert!(!refused.allowed);
//! assert_eq!(refused.field(limit.name()), "\"per-client\";r=0;t=62");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which algorithm
//!
//! | | admits | of one who asks for more all the time | a key costs |
//! |---|---|---|---|
//! | token bucket | in any time *t* at most rate × *t* + burst | exactly that | 55 bytes at most |
//! | sliding window | in any span of the window's length at most the limit | the limit in each span of 32/31 windows | 87 bytes at most |
//!
//! Neither ever refuses who stays within that; `token_bucket.rs` and `sliding_window.rs` say why, and test it.
//!
//! # The table of keys
//!
//! Every key has a counter of its own: no client is ever taken for another, however many there are. A table holds at most
//! `max_keys` keys and costs what the table above says for each, plus 64 bytes for each of its shards, of which
//! there are 256 (fewer in tables for less than 4,096 keys, more in tables for more than a million). A key is *idle* when its counter says no more than that of
//! a key never seen; idle keys make room for new ones. Keys in use are never given up, not even in a flood: when the table
//! is full of them a new key gets [`Full`] and is counted nowhere, and the caller counts it as part of something larger,
//! such as its network. A full table may take up to 1/16 of a window (or of the time to fill a bucket) to notice that a
//! key has become idle.
//!
//! # Reload
//!
//! Counts belong to the process, not to a configuration: `compile` takes over those of the limit `before` where they mean
//! the same, and says when they do.

mod siphash;
mod key;
mod index;
mod table;
mod meter;
mod token_bucket;
mod sliding_window;
mod config;
mod decision;
mod turnstile;
mod rate_limit;
mod fleet;

pub use config::{Algorithm, FleetConfig, RateLimitConfig};
pub use decision::{Decision, write_field, write_number, write_policy_field};
pub use fleet::{Delta, FleetLimit};
pub use key::{Key, KeyBuilder, KeyHasher};
pub use meter::Ticks;
pub use rate_limit::RateLimit;
pub use table::{Full, Usage};
pub use turnstile::Turnstile;

#[cfg(test)]
mod tests;
