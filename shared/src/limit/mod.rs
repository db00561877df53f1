//! Limits: how much each client, route, … may do. Pure code: time is a parameter, nothing waits, nothing is sent.
//!
//! - [`RateLimit`]: so many in a time, by [`Algorithm::TokenBucket`] or [`Algorithm::SlidingWindow`], with bans on breach
//!   and costs that may be counted after the fact.
//! - [`ConcurrencyLimit`]: so many in flight; a [`Permit`] counts until it is dropped.
//! - [`FleetLimit`]: so many in a window on all nodes of a fleet together, which exchange what they counted.
//!
//! All three count by [`Key`], a keyed hash that a [`KeyHasher`] makes of whatever the configuration counts by. A key is
//! made once for a request and serves every limit that counts by the same.
//!
//! # The table of keys
//!
//! Every key has a counter of its own: no client is ever taken for another, however many there are. A table holds at most
//! `max_keys` keys and costs at most 90 bytes for each (a token bucket 65), plus 64 bytes for each of its shards. A key is *idle* when its counter
//! says no more than that of a key never seen; idle keys make room for new ones. Keys in use are never given up, not even
//! in a flood: when the table is full of them a new key gets [`Full`] and is counted nowhere, and the caller counts it as
//! part of something larger, such as its network. Until a full table notices that a key has become idle, 1/16 of the
//! time may pass after which keys become idle.
//!
//! Counts belong to the process, not to a configuration: `compile` takes the counters of the limit `before` over where
//! they mean the same.

mod siphash;
mod key;
mod index;
mod table;
mod meter;
mod token_bucket;
mod sliding_window;
mod config;
mod decision;
mod rate_limit;
mod concurrency;
mod fleet;

pub use concurrency::{ConcurrencyLimit, Permit, Refused};
pub use config::{Algorithm, ConcurrencyConfig, FleetConfig, RateLimitConfig};
pub use decision::Decision;
pub use fleet::{Delta, FleetLimit};
pub use key::{Key, KeyBuilder, KeyHasher};
pub use rate_limit::RateLimit;
pub use table::{Full, Usage};

#[cfg(test)]
mod tests;
