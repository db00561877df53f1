//! What the gateway knows: the catalog of services and APIs, and where it comes from.
//!
//! - [`catalog`]: services and APIs, cross-checked, as one immutable value
//! - [`file`]: the catalog in files beside `business.toml`

pub mod catalog;
pub mod file;

use schemars::JsonSchema;
use serde::Deserialize;

/// `[store]`: where the catalog is kept.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Default: `"file"`, `catalog.toml` beside `business.toml`.
    #[serde(default)]
    pub kind: Kind,
}

/// The kinds of store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `catalog.toml` beside `business.toml`.
    #[default]
    File,
}
