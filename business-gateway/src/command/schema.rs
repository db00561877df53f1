//! `schema`: the JSON schema of a configuration file, for editors.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use schemars::schema_for;

use super::{fail, print};
use crate::config::Config;
use crate::store::catalog::CatalogConfig;

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Which file
    #[arg(default_value = "business")]
    file: File,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum File {
    /// business.toml
    Business,
    /// catalog.toml
    Catalog,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let schema = match arguments.file {
        File::Business => schema_for!(Config),
        File::Catalog => schema_for!(CatalogConfig),
    };
    match serde_json::to_string_pretty(&schema) {
        Ok(text) => print(&format!("{text}\n")),
        Err(error) => fail(&error),
    }
}
