//! What rules cost: the engine alone ([`engine`]), and the edge with and without them, beside nginx and nginx with ModSecurity 3.
//!
//! Servers and engine judge the same [`requests`]; [`sets`] says by which rules. A server must first pass what is harmless and
//! refuse every attack ([`guards`]); then it is sent each request so often that a round is filled ([`repetition`]), and
//! [`figures`] makes differences of what that cost with rules and without.

mod requests;
mod sets;
mod worst;
mod engine;
mod guards;
mod repetition;
mod figures;

use std::path::Path;

use crate::report::{Report, note};
use crate::service::Service;
use crate::settings::Settings;

use figures::Table;
use guards::Guard;
use repetition::Repetition;
use requests::ordinary;

/// Rounds of a server that needs longer than a round for one request.
const SLOW_ROUNDS: usize = 3;

/// Measures all of it.
///
/// # Errors
///
/// A set of rules or a server is not what it should be, or the tools fail.
pub(crate) fn measure(settings: &Settings, directory: &Path, report: &mut Report) -> anyhow::Result<()> {
    if settings.wants("waf_engine") {
        engine::measure(settings, report)?;
    }
    if settings.wants("waf_servers") {
        let directory = &directory.join("waf");
        std::fs::create_dir_all(directory)?;
        servers(settings, directory, report)?;
    }
    Ok(())
}

/// Measures every server with every request, in interleaved rounds.
fn servers(settings: &Settings, directory: &Path, report: &mut Report) -> anyhow::Result<()> {
    note("rules: servers with and without");
    let service = Service::start(settings, directory)?;
    let guards = Guard::start_all(settings, directory, service.address)?;
    for guard in &guards {
        guard.prove(&service)?;
    }
    let requests = ordinary();
    let mut repetitions = Vec::new();
    for request in &requests {
        for guard in &guards {
            repetitions.push(Repetition::new(settings, directory, guard, request)?);
        }
    }
    let mut table = Table::default();
    for round in 1..=settings.rounds {
        note(&format!("round {round} of {}", settings.rounds));
        let mut order: Vec<&Repetition<'_>> = repetitions.iter().collect();
        if round % 2 == 0 {
            order.reverse();
        }
        for repetition in order {
            let is_left_out = repetition.times == 1 && round > SLOW_ROUNDS;
            let cost = if is_left_out { None } else { repetition.measure(settings, directory, &service, report)? };
            table.push(repetition.guard.name, repetition.request.name, cost);
        }
    }
    table.figures(report);
    Ok(())
}
