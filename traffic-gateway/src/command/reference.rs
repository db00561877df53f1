//! `reference`: the pages of the documentation that are generated from the code.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use gatehouse_shared::{config::reference_markdown, problem};

use super::print;
use crate::{config::Config, observe::metrics};

/// Arguments of `reference`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Which page
    page: Page,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Page {
    /// Every key of edge.toml
    Config,
    /// Every error code
    Errors,
    /// Every metric
    Metrics,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    print(&match arguments.page {
        Page::Config => reference_markdown(&schemars::schema_for!(Config)),
        Page::Errors => problem::reference_markdown(),
        Page::Metrics => metrics::reference_markdown(),
    })
}
