//! The outer gate.

pub mod config;
pub mod policy;
pub mod accept;
