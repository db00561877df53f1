//! Networks: single ones, and sets that say which network an address belongs to.
//!
//! [`Network`] is one, as people write it. [`NetworkSet`] holds up to millions, each with a [`Note`] of who listed it, why
//! and until when; it never changes. [`LiveSet`] is one that changes while it is read, a change at a time. An IPv4-mapped
//! IPv6 address (`::ffff:192.0.2.1`) is the IPv4 address, everywhere.

mod network;
mod note;
mod set;
mod family;
mod text;
mod builder;
mod live_set;

pub use builder::{MAX_NETWORKS, NetworkSetBuilder, TooManyNetworks};
pub use live_set::{Change, LiveSet, Snapshot};
pub use network::{Network, NetworkError, around};
pub use note::Note;
pub use set::{Entry, NetworkSet};

#[cfg(test)]
mod tests;
