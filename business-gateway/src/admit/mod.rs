//! May it pass: which API a call means, and later who calls, what they may do, and how often.
//!
//! - [`api`]: the API of a call
//! - [`caller`]: who calls, once that is proven
//! - [`path`]: path templates
//! - [`matcher`]: from host, path and method to the API

pub mod api;
pub mod caller;
pub mod matcher;
pub mod path;
pub mod traffic_group;
