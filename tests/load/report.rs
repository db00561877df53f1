//! What a run prints: tables for people, then one `name = value` line a figure.

use std::io::Write as _;

use crate::gatehouse::DEFAULT_HAND_OFF;
use crate::rounds::{Quartiles, Table};
use crate::settings::Settings;

/// The most a bare reference may cost, in times of HAProxy: beyond it, it is no reference for what its library can do.
const REFERENCE_LIMIT: f64 = 1.9;

/// Figures and failures collected over a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<(String, f64)>,
    failures: Vec<String>,
}

impl Report {
    /// Remembers why the run failed.
    pub(crate) fn fail(&mut self, failure: String) {
        note(&failure);
        self.failures.push(failure);
    }

    /// Why the run failed; empty when it did not.
    pub(crate) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Adds a figure.
    pub(crate) fn figure(&mut self, name: impl Into<String>, value: f64) {
        self.figures.push((name.into(), value));
    }

    /// Adds and prints the ratio of two subjects' costs when both were measured.
    fn ratio(&mut self, name: &str, table: &Table, one: &str, other: &str, concurrency: usize) {
        if let Some(ratio) = table.ratio(one, other, concurrency) {
            self.quartiles(name, ratio);
        }
    }

    /// Adds the median of a figure that every round has its own of, and prints it with its quartiles.
    pub(crate) fn quartiles(&mut self, name: &str, rounds: Quartiles) {
        print(&format!("{name:<40}{:>10.3}{:>12.3}{:>12.3}", rounds.median, rounds.lower, rounds.upper));
        self.figure(name, rounds.median);
    }

    /// Prints the table of the rounds, and makes the figures it holds.
    pub(crate) fn rounds(&mut self, table: &Table) {
        print("");
        print(&format!(
            "{:<22}{:>4}{:>11}{:>10}{:>12}{:>10}{:>10}",
            "subject", "at", "cpu µs", "spread %", "requests/s", "p50 µs", "p99 µs"
        ));
        for (name, concurrency, row) in table.rows() {
            print(&format!(
                "{name:<22}{concurrency:>4}{:>11.2}{:>10.1}{:>12.0}{:>10.0}{:>10.0}",
                row.cpu, row.spread, row.rate, row.p50, row.p99
            ));
            self.figure(format!("cpu_us_{name}_{concurrency}"), row.cpu);
        }
        self.ratios(table);
    }

    /// Same tool, same protocol on both sides of a ratio. The plain name is the figure at 64 concurrent requests, and that of
    /// the default hand-off.
    fn ratios(&mut self, table: &Table) {
        let default = DEFAULT_HAND_OFF.name();
        let (edge, business) = (format!("edge_{default}"), format!("business_{default}"));
        let admitted = format!("admitted_{default}");
        let (bare_pingora, bare_hyper) = (format!("bare_pingora_{default}"), format!("bare_hyper_{default}"));
        print("");
        print(&format!("{:<40}{:>10}{:>12}{:>12}", "ratio of cpu, median of the rounds", "median", "lower", "upper"));
        for (suffix, concurrency) in [("", 64), ("_at_16", 16)] {
            for (name, one, other) in [
                ("edge_vs_bare_pingora", edge.as_str(), bare_pingora.as_str()),
                ("edge_vs_bare_pingora_http1", "edge_http1", "bare_pingora_http1"),
                ("edge_vs_bare_pingora_h2c", "edge_h2c", "bare_pingora_h2c"),
                ("edge_vs_bare_pingora_log_off", "edge_http1_log_off", "bare_pingora_http1"),
                ("guarded_edge_vs_bare_pingora", "guarded_edge", "bare_pingora_h2c"),
                ("edge_vs_nginx", "edge_http1", "nginx"),
                ("edge_vs_haproxy", "edge_http1", "haproxy"),
                ("business_vs_bare_hyper", &business, &bare_hyper),
                ("business_vs_bare_hyper_http1", "business_http1", "bare_hyper_http1"),
                ("business_vs_bare_hyper_h2c", "business_h2c", "bare_hyper_h2c"),
                ("admitted_vs_bare_hyper", &admitted, &bare_hyper),
                ("admitted_vs_bare_hyper_http1", "admitted_http1", "bare_hyper_http1"),
                ("admitted_vs_bare_hyper_h2c", "admitted_h2c", "bare_hyper_h2c"),
                ("h2c_vs_http1_handoff", "two_tiers_h2c", "two_tiers_http1"),
            ] {
                self.ratio(&format!("{name}{suffix}"), table, one, other, concurrency);
            }
            if let Some(row) = table.row(&format!("two_tiers_{default}"), concurrency) {
                self.figure(format!("two_tiers_cpu_us{suffix}"), row.cpu);
            }
        }
        if let Some(row) = table.row(&format!("two_tiers_{default}"), 64) {
            self.figure("reuse_ratio", row.reuse);
        }
        self.check_references(table);
    }

    fn check_references(&mut self, table: &Table) {
        for name in ["bare_pingora_http1", "bare_hyper_http1"] {
            let Some(ratio) = table.ratio(name, "haproxy", 64).map(|ratio| ratio.median) else { continue };
            self.figure(format!("{name}_vs_haproxy"), ratio);
            if ratio > REFERENCE_LIMIT {
                self.fail(format!(
                    "{name} costs {ratio:.2} times HAProxy, more than {REFERENCE_LIMIT}: it is no reference"
                ));
            }
        }
    }

    /// Prints every figure.
    pub(crate) fn figures(&self) {
        print("");
        for (name, value) in &self.figures {
            let digits = if value.abs() >= 1000.0 { 0 } else { 3 };
            print(&format!("{name} = {value:.digits$}"));
        }
    }
}

/// Prints what was measured how, so that the figures can be judged.
pub(crate) fn heading(settings: &Settings) {
    print(&format!(
        "{} interleaved rounds of {} s; servers under test with one thread on core {}, load and sample service on core {}.",
        settings.rounds, settings.seconds, settings.subject_core, settings.load_core
    ));
    print(
        "CPU is user and system time a request, of the gates' processes together; medians; spread is (dearest - cheapest round) / median; a ratio is the median of the rounds' ratios, lower and upper its quartiles.",
    );
    print(
        "GET with one query, a browser's user agent and a cookie, answer of 100 bytes. Access log: ours to a file, except log_off; nginx and HAProxy without.",
    );
}

/// Prints a line of a table or a figure.
pub(crate) fn print(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// Tells how the run goes, aside from its results.
pub(crate) fn note(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}
