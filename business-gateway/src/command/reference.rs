//! `reference`: the pages of the documentation that are generated from the code.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use gatehouse_shared::config::{ConfigErrors, Sources, reference_markdown};
use gatehouse_shared::live::{Live, Load, Loaded};
use gatehouse_shared::problem;
use gatehouse_shared::telemetry::access_log::{self, LineWriter};
use schemars::schema_for;

use super::{fail, print, refuse};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::store::catalog::CatalogConfig;

/// Arguments of `reference`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Which page
    page: Page,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Page {
    /// Every key of business.toml and catalog.toml
    Config,
    /// Every error code
    Errors,
    /// Every metric
    Metrics,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match arguments.page {
        Page::Config => {
            let business = reference_markdown(&schema_for!(Config));
            let catalog = reference_markdown(&schema_for!(CatalogConfig));
            print(&format!("{}\n\n{}\n", business.trim_end(), catalog.trim_end()))
        }
        Page::Errors => print(&problem::reference_markdown()),
        Page::Metrics => metrics(),
    }
}

/// Nothing to load: the reference needs no configuration.
struct Nothing;

impl Load for Nothing {
    fn load(dir: &Path, _before: Option<&Self>) -> Result<Loaded<Self>, ConfigErrors> {
        Ok(Loaded::new(Self, Sources::new(dir)))
    }
}

fn metrics() -> ExitCode {
    let live = match Live::<Nothing>::start(".") {
        Ok(live) => live,
        Err(errors) => return refuse(&errors),
    };
    let log = match LineWriter::start(&access_log::Config { sink: "off".to_owned(), queue: 1 }) {
        Ok(log) => log,
        Err(error) => return fail(&error),
    };
    match Metrics::reference_markdown(&live, &log) {
        Ok(page) => print(&page),
        Err(error) => fail(&error),
    }
}
