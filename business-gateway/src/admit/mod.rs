//! May it pass: which API a call means, who calls, what they may do, and what operators say of it.
//!
//! - [`api`]: the API of a call
//! - [`app`]: who calls
//! - [`caller`]: who calls, once that is proven
//! - [`permission`]: what an application may call
//! - [`flow_rule`]: operators' rules, in CEL and Rhai
//! - [`pattern`]: which APIs an entry of the catalog is about
//! - [`path`]: path templates
//! - [`route`]: predicates, where several APIs share host, path and method
//! - [`matcher`]: from host, path and method to the API
//! - [`validation`]: whether it is as its API declares
//! - [`quota`]: how often

pub mod api;
pub mod app;
pub mod caller;
pub mod permission;
pub mod flow_rule;
pub mod pattern;
pub mod matcher;
pub mod path;
pub mod route;
pub mod quota;
pub mod validation;
pub mod traffic_group;
