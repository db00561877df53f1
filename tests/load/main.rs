//! Side-by-side measurements, one `name = value` line a figure: what a request, a connection and a service cost.
//!
//! Everything is measured in one run on one machine, because figures of different runs do not compare: CPU time a request moves
//! by about 5 % from run to run on a shared machine, throughput by half. So rounds are interleaved, medians are taken and the
//! spread is shown. Servers under test share one core, load and sample service the other. A figure with errors behind it is not a
//! figure: the run then fails.
//!
//! Files in reading order: [`settings`], the tools that make load ([`load`], [`client`]), the processes ([`child`], [`service`], [`proxies`],
//! [`gatehouse`], [`guarded`], [`admitted`]), what is measured ([`subject`], [`rounds`], [`idle`], [`short`], [`sweep`], [`timing`],
//! [`instructions`], [`overload`], [`composed`], [`lists`], [`waf`]) and what is printed ([`report`]).

mod settings;
mod load;
mod client;
mod child;
mod service;
mod proxies;
mod gatehouse;
mod guarded;
mod admitted;
mod subject;
mod rounds;
mod idle;
mod short;
mod sweep;
mod timing;
mod instructions;
mod overload;
mod composed;
mod lists;
mod waf;
mod report;

use std::process::ExitCode;

use anyhow::Context;

use crate::report::Report;
use crate::settings::Settings;
use crate::subject::Field;

/// The rules of the WAF are measured in this process, too, with the allocator of the gates.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match measure() {
        Ok(report) if report.failures().is_empty() => ExitCode::SUCCESS,
        Ok(report) => {
            for failure in report.failures() {
                report::note(&format!("bench failed: {failure}"));
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            report::note(&format!("bench stopped: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Measures everything and prints as it goes.
fn measure() -> anyhow::Result<Report> {
    let settings = Settings::from_environment()?;
    settings::raise_descriptor_limit()?;
    let directory = tempfile::Builder::new().prefix("gatehouse-bench-").tempdir().context("no temporary directory")?;
    let mut report = Report::default();
    report::heading(&settings);
    let before = settings::machine_ticks()?;
    let field = Field::start(&settings, directory.path())?;
    if field.is_wanted(&settings) {
        let table = rounds::measure(&settings, &field, directory.path(), &mut report)?;
        report.rounds(&table);
        short::measure(&settings, &field, directory.path(), &mut report)?;
        sweep::measure(&settings, &field, directory.path(), &mut report)?;
        timing::measure(&settings, &field, directory.path(), &mut report)?;
    }
    drop(field);
    instructions::measure(&settings, directory.path(), &mut report)?;
    overload::measure(&settings, directory.path(), &mut report)?;
    composed::measure(&settings, directory.path(), &mut report)?;
    idle::measure(&settings, directory.path(), &mut report)?;
    lists::measure(&settings, directory.path(), &mut report)?;
    if let Err(error) = waf::measure(&settings, directory.path(), &mut report) {
        report.fail(format!("rules: {error:#}"));
    }
    report.figure("stolen_share", settings::stolen_share(before, settings::machine_ticks()?));
    report.figures();
    Ok(report)
}
