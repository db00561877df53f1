//! What a run prints: tables for people, then one `name = value` line a figure.

use std::io::Write as _;

use crate::gatehouse::DEFAULT_HAND_OFF;
use crate::rounds::Table;
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

    /// Adds the ratio of two figures when both were measured.
    fn ratio(&mut self, name: &str, one: Option<f64>, other: Option<f64>) {
        if let (Some(one), Some(other)) = (one, other) {
            self.figure(name, one / other);
        }
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

    /// Same tool, same protocol on both sides of a ratio. The plain name is the figure at 64 concurrent requests.
    fn ratios(&mut self, table: &Table) {
        let default = DEFAULT_HAND_OFF.name();
        for (suffix, concurrency) in [("", 64), ("_at_16", 16)] {
            let cpu = |name: &str| table.row(name, concurrency).map(|row| row.cpu);
            self.ratio(&format!("edge_vs_bare_pingora{suffix}"), cpu("edge_http1"), cpu("bare_pingora_http1"));
            self.ratio(&format!("edge_vs_bare_pingora_h2c{suffix}"), cpu("edge_h2c"), cpu("bare_pingora_h2c"));
            self.ratio(
                &format!("edge_vs_bare_pingora_log_off{suffix}"),
                cpu("edge_http1_log_off"),
                cpu("bare_pingora_http1"),
            );
            self.ratio(&format!("edge_vs_nginx{suffix}"), cpu("edge_http1"), cpu("nginx"));
            self.ratio(&format!("edge_vs_haproxy{suffix}"), cpu("edge_http1"), cpu("haproxy"));
            let business = format!("business_{default}");
            self.ratio(
                &format!("business_vs_bare_hyper{suffix}"),
                cpu(&business),
                cpu(&format!("bare_hyper_{default}")),
            );
            self.ratio(
                &format!("business_vs_bare_hyper_http1{suffix}"),
                cpu("business_http1"),
                cpu("bare_hyper_http1"),
            );
            self.ratio(&format!("business_vs_bare_hyper_h2c{suffix}"), cpu("business_h2c"), cpu("bare_hyper_h2c"));
            if let Some(both) = cpu(&format!("two_tiers_{default}")) {
                self.figure(format!("two_tiers_cpu_us{suffix}"), both);
            }
            self.ratio(&format!("h2c_vs_http1_handoff{suffix}"), cpu("two_tiers_h2c"), cpu("two_tiers_http1"));
        }
        if let Some(row) = table.row(&format!("two_tiers_{default}"), 64) {
            self.figure("reuse_ratio", row.reuse);
        }
        self.check_references(table);
    }

    fn check_references(&mut self, table: &Table) {
        let cpu = |name: &str| table.row(name, 64).map(|row| row.cpu);
        for name in ["bare_pingora_http1", "bare_hyper_http1"] {
            let (Some(reference), Some(haproxy)) = (cpu(name), cpu("haproxy")) else { continue };
            let ratio = reference / haproxy;
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
        "CPU is user and system time a request, of the gates' processes together; medians; spread is (dearest - cheapest round) / median.",
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
