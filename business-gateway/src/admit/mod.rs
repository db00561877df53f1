//! May it pass: which API a call means, and later who calls, what they may do, and how often.
//!
//! - [`api`]: the API of a call
//! - [`flow_rule`]: operators' rules, in CEL and Rhai
//! - [`pattern`]: which APIs an entry of the catalog is about
//! - [`path`]: path templates
//! - [`matcher`]: from host, path and method to the API

pub mod api;
pub mod flow_rule;
pub mod matcher;
pub mod path;
pub mod pattern;
