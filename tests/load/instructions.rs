//! Instructions of the process itself for a request, counted by callgrind, which no neighbour on the host moves: what a change
//! saves by a hundredth is seen here, and in CPU time only in many rounds.
//!
//! Only when it is named (`BENCH_ONLY=instructions`). The kernel's part is not counted; SHA-256 is left out, because valgrind has none
//! of the processor's own instructions for it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::report::Report;
use crate::settings::Settings;
use crate::subject::{Field, Subject};

/// What stands for this in `BENCH_ONLY`.
const NAME: &str = "instructions";

/// What is counted, each with what it is divided by.
const SUBJECTS: [(&str, Option<&str>); 6] = [
    ("bare_pingora_h2c", None),
    ("edge_h2c", Some("bare_pingora_h2c")),
    ("guarded_edge", Some("bare_pingora_h2c")),
    ("bare_hyper_h2c", None),
    ("business_h2c", Some("bare_hyper_h2c")),
    ("admitted_h2c", Some("bare_hyper_h2c")),
];

/// Requests at a time.
const CONCURRENCY: usize = 16;

/// Seconds of load before anything is counted, and while it is.
const SECONDS: [u64; 2] = [4, 6];

/// Counts and reports.
///
/// # Errors
///
/// valgrind is missing, a server does not start under it, or answers errors.
pub(crate) fn measure(settings: &Settings, directory: &Path, report: &mut Report) -> anyhow::Result<()> {
    if !settings.names(NAME) {
        return Ok(());
    }
    let directory = directory.join(NAME);
    fs::create_dir_all(&directory)?;
    let [warm, counting] =
        SECONDS.map(|seconds| settings.counting(&SUBJECTS.map(|(name, _)| name), seconds, &directory));
    let field = Field::start(&warm, &directory)?;
    let mut counted = HashMap::new();
    for (name, beside) in SUBJECTS {
        let subject = field.subject(name).with_context(|| format!("{name} was not started"))?;
        let tool = subject.caller.tool();
        checked(field.measure(&warm, &directory, subject, tool, CONCURRENCY)?.complaint)?;
        control(&field, subject, &["-i", "on"])?;
        let sample = field.measure(&counting, &directory, subject, tool, CONCURRENCY)?;
        checked(sample.complaint)?;
        control(&field, subject, &["-i", "off"])?;
        control(&field, subject, &["-d"])?;
        let mut sum = 0.0;
        for id in field.processes(subject) {
            let file = directory.join(format!("{id}.1"));
            let profile = fs::read_to_string(&file).with_context(|| format!("no profile in {}", file.display()))?;
            sum += self_costs(&profile)?;
        }
        let each = sum / sample.outcome.requests;
        report.figure(format!("{NAME}_{name}"), each);
        if let Some(of) = beside.and_then(|beside| counted.get(beside)) {
            report.figure(format!("{NAME}_{name}_ratio"), each / of);
        }
        counted.insert(name, each);
    }
    Ok(())
}

fn checked(complaint: Option<String>) -> anyhow::Result<()> {
    ensure!(complaint.is_none(), "{}", complaint.unwrap_or_default());
    Ok(())
}

fn control(field: &Field, subject: &Subject, arguments: &[&str]) -> anyhow::Result<()> {
    for id in field.processes(subject) {
        let output = Command::new("callgrind_control").args(arguments).arg(id.to_string()).output();
        let output = output.context("callgrind_control is missing: apt-get install valgrind")?;
        ensure!(output.status.success(), "callgrind_control: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// The instructions of all functions but those of SHA-256, of a profile in callgrind's format: a function begins with `fn=(ID) NAME`, later
/// `fn=(ID)`; a line of numbers is a place and its cost, but that after `calls=` is what was called.
fn self_costs(profile: &str) -> anyhow::Result<f64> {
    let mut names: HashMap<&str, bool> = HashMap::new();
    let (mut is_left_out, mut is_call) = (false, false);
    let (mut sum, mut lines) = (0.0, 0_usize);
    for line in profile.lines() {
        if let Some(function) = line.strip_prefix("fn=") {
            let (id, name) = function.split_once(' ').unwrap_or((function, ""));
            if !name.is_empty() {
                names.insert(id, name.contains("sha256"));
            }
            is_left_out = names.get(id).copied().unwrap_or_default();
        } else if let Some((id, name)) = line.strip_prefix("cfn=").and_then(|called| called.split_once(' ')) {
            names.insert(id, name.contains("sha256"));
        } else if line.starts_with("calls=") {
            is_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '*')) {
            let cost = line.split(' ').nth(1).unwrap_or("0");
            let cost: f64 = cost.parse().with_context(|| format!("unknown line in a profile: {line}"))?;
            if !std::mem::take(&mut is_call) && !is_left_out {
                sum += cost;
                lines += 1;
            }
        }
    }
    ensure!(lines > 0, "a profile without a cost");
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::self_costs;

    #[test]
    fn what_was_called_and_sha256_are_not_counted_twice() {
        let profile = "events: Ir\nfn=(1) main\n10 5\n+1 7\ncfn=(2) ring_sha256_block\ncalls=1 20\n11 100\nfn=(2)\n20 100\nfn=(1)\n* 1\n";
        assert_eq!(self_costs(profile).unwrap(), 13.0);
        assert!(self_costs("events: Ir\n").is_err());
    }
}
