//! How throughput and latency hold while keepalive clients grow from 50 to 2,000.

use std::path::Path;

use crate::load::Tool;
use crate::report::{Report, note, print};
use crate::rounds::microseconds;
use crate::settings::Settings;
use crate::subject::Field;

/// Concurrent clients, one table row each.
const CLIENTS: [usize; 6] = [50, 100, 200, 500, 1000, 2000];

/// Who is swept.
const SUBJECTS: [&str; 5] = ["nginx", "bare_pingora_http1", "edge_http1", "two_tiers_http1", "two_tiers_h2c"];

/// Measures every subject at every number of clients once, and prints the table.
///
/// # Errors
///
/// The tools fail.
pub(crate) fn measure(settings: &Settings, field: &Field, directory: &Path, report: &mut Report) -> anyhow::Result<()> {
    note("sweep of concurrent clients");
    print("");
    print(&format!(
        "{:<22}{:>8}{:>12}{:>11}{:>10}{:>10}{:>8}",
        "subject", "clients", "requests/s", "cpu µs", "p50 µs", "p99 µs", "errors"
    ));
    for clients in CLIENTS {
        for subject in SUBJECTS.iter().filter_map(|name| field.subject(name)) {
            let sample = field.measure(settings, directory, subject, Tool::Wrk, clients)?;
            let outcome = &sample.outcome;
            print(&format!(
                "{:<22}{clients:>8}{:>12.0}{:>11.2}{:>10.0}{:>10.0}{:>8.0}",
                subject.name,
                outcome.rate,
                sample.cpu,
                microseconds(outcome.p50),
                microseconds(outcome.p99),
                outcome.errors
            ));
            if let Some(complaint) = sample.complaint {
                report.fail(format!("sweep: {complaint}"));
            }
        }
    }
    Ok(())
}
