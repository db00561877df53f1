//! `aggregate`: aggregates without a running node.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use gatehouse_shared::live::Load as _;

use super::{ConfigDir, fail, print, refuse};
use crate::dispatch::aggregate::explain::explain;
use crate::policy::Policy;

/// What to do with aggregates.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what an aggregate calls, in which order and at the same time as what
    Explain(Arguments),
}

/// Arguments of `aggregate explain`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigDir,
    /// The aggregate
    name: String,
}

/// Why there is nothing to explain.
#[derive(Debug, thiserror::Error)]
#[error("no aggregate {0:?}; there are: {1}")]
struct Unknown(String, String);

pub(super) fn run(command: &Command) -> ExitCode {
    let Command::Explain(arguments) = command;
    let policy = match Policy::load(&arguments.config.dir, None) {
        Ok(loaded) => loaded.value,
        Err(errors) => return refuse(&errors),
    };
    let catalog = &policy.catalog;
    let Some(aggregate) = catalog.aggregates.find(&arguments.name) else {
        let names: Vec<&str> = catalog.aggregates.iter().map(|aggregate| &*aggregate.name).collect();
        return fail(&Unknown(arguments.name.clone(), names.join(", ")));
    };
    match explain(aggregate, catalog) {
        Ok(text) => print(&text),
        Err(error) => fail(&error),
    }
}
