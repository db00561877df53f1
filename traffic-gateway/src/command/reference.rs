//! `reference`: the pages of the documentation that are generated from the code.

use std::{path::Path, process::ExitCode};

use clap::{Args, ValueEnum};
use gatehouse_shared::{
    config::{ConfigErrors, Sources, reference_markdown},
    live::{Live, Load, Loaded},
    problem,
    telemetry::access_log::{self, LineWriter},
};

use super::{fail, print, refuse};
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
    /// Every name that rules of the WAF can use
    Rules,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match arguments.page {
        Page::Config => print(&reference_markdown(&schemars::schema_for!(Config))),
        Page::Errors => print(&problem::reference_markdown()),
        Page::Metrics => metrics_page(),
        Page::Rules => print(&gatehouse_waf::seclang::reference::markdown()),
    }
}

/// Metrics of reloads are declared from a live configuration; the page needs none of its values.
struct Nothing;

impl Load for Nothing {
    fn load(dir: &Path, _before: Option<&Self>) -> Result<Loaded<Self>, ConfigErrors> {
        Ok(Loaded::new(Self, Sources::new(dir)))
    }
}

fn metrics_page() -> ExitCode {
    let live = match Live::<Nothing>::start("") {
        Ok(live) => live,
        Err(errors) => return refuse(&errors),
    };
    let log = match LineWriter::start(&access_log::Config { sink: "off".to_owned(), ..Default::default() }) {
        Ok(log) => log,
        Err(error) => return fail(&error),
    };
    match metrics::reference_markdown(&live, &log) {
        Ok(page) => print(&page),
        Err(error) => fail(&error),
    }
}
