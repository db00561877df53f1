//! The only crate that may know Redis: which keys exist, who owns them, and how they are reached.
//!
//! This version has the embedded store only ([`Kind::File`]): every node works from its own files. [`key`] already fixes
//! the names that a fleet will share, so that they are decided in one place and tested.

pub mod config;
pub mod key;

pub use config::{Config, Kind};
pub use key::{Key, KeyError, Owner};
