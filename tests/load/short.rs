//! What connection management saves a service: its CPU time a request when every client opens a new connection for each.

use std::path::Path;

use crate::gatehouse::DEFAULT_HAND_OFF;
use crate::load::Tool;
use crate::report::{Report, note};
use crate::rounds::{median, sorted};
use crate::settings::Settings;
use crate::subject::Field;

/// Clients at a time.
const CLIENTS: usize = 64;

/// Measures the service behind short connections, directly and through both gates.
///
/// # Errors
///
/// The tools fail.
pub(crate) fn measure(settings: &Settings, field: &Field, directory: &Path, report: &mut Report) -> anyhow::Result<()> {
    note("a new connection for every request");
    let gates = format!("two_tiers_{}", DEFAULT_HAND_OFF.name());
    let pairs = [("direct", field.subject("service")), ("through_gate", field.subject(&gates))];
    let mut costs = [Vec::new(), Vec::new()];
    let mut requests_a_connection = Vec::new();
    for _ in 0..settings.rounds {
        for ((_, subject), costs) in pairs.iter().zip(&mut costs) {
            let Some(subject) = subject else { continue };
            let sample = field.measure(settings, directory, subject, Tool::WrkShort, CLIENTS)?;
            match &sample.complaint {
                Some(complaint) => report.fail(format!("new connection for every request: {complaint}")),
                None => costs.push(sample.service_cpu),
            }
            if subject.name == gates {
                requests_a_connection.push(sample.outcome.requests / sample.service_connections.max(1.0));
            }
        }
    }
    for ((name, _), costs) in pairs.iter().zip(costs) {
        if let Some(cost) = median(&sorted(costs.into_iter())) {
            report.figure(format!("service_cpu_short_{name}"), cost);
        }
    }
    if let Some(reuse) = median(&sorted(requests_a_connection.into_iter())) {
        report.figure("reuse_ratio_short", reuse);
    }
    Ok(())
}
