//! What the gateway knows: the catalog of services and APIs, and where it comes from.
//!
//! - [`apps`]: applications, and what they prove themselves with
//! - [`heartbeat`]: which nodes share the store
//! - [`catalog`]: services and APIs, cross-checked, as one immutable value
//! - [`mod@file`]: the catalog in files beside `business.toml`
//! - [`import`]: from an OpenAPI document to objects of the catalog
//! - [`revision`]: the catalog as it was written, its revisions in Redis, and how it changes

pub mod apps;
pub mod heartbeat;
pub mod catalog;
pub mod file;
pub mod import;
pub mod revision;

pub use gatehouse_store::Config;
