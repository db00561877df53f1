//! Whole transactions: rules as text, requests as text, verdicts and numbers of rules.

mod actions;
mod bodies;
mod chains;
mod crs;
mod golden;
mod memory;
mod phases;
mod property;
mod streaming;
mod variables;

use std::sync::Arc;

use super::{Mode, Report, Start, Transaction, Verdict};
use crate::rules::{Options, RuleSet};
use crate::seclang::{files::Memory, parse_text};

/// Compiles rules that are right.
pub(super) fn rules_with(text: &str, options: &Options) -> Arc<RuleSet> {
    let (program, _) = parse_text(&Memory::default(), "test.conf", text).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let rules = RuleSet::compile(&program, &mut |name| Err(format!("no file {name}")), options);
    Arc::new(rules.unwrap_or_else(|errors| panic!("{errors:#?}")))
}

pub(super) fn rules(text: &str) -> Arc<RuleSet> {
    rules_with(text, &Options::default())
}

/// What is wrong with rules.
pub(super) fn errors(text: &str) -> Vec<String> {
    let (program, _) = parse_text(&Memory::default(), "test.conf", text).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let rules = RuleSet::compile(&program, &mut |name| Err(format!("no file {name}")), &Options::default());
    rules
        .err()
        .unwrap_or_default()
        .into_iter()
        .map(|error| format!("{}: {}", error.position.line, error.text))
        .collect()
}

pub(super) fn start() -> Start<'static> {
    Start {
        client: "192.0.2.7:40000".parse().unwrap(),
        server: "198.51.100.1:443".parse().unwrap(),
        unique_id: "req-1",
        unix_time: 1_709_210_096,
        random: 41,
    }
}

/// Feeds a request, written as `METHOD TARGET PROTOCOL`, headers, an empty line and a body, and gives what each phase
/// says.
pub(super) fn feed(transaction: &mut Transaction, request: &str) -> Verdict {
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().splitn(3, ' ');
    let mut word = || first.next().unwrap_or("HTTP/1.1").as_bytes();
    let (method, target, protocol) = (word(), word(), word());
    transaction.request_line(method, target, protocol);
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
        transaction.request_header(name.as_bytes(), value.as_bytes());
    }
    let mut verdict = transaction.request_head_end();
    if verdict == Verdict::Pass && !body.is_empty() {
        for piece in body.as_bytes().chunks(7) {
            verdict = transaction.request_body(piece);
            if verdict != Verdict::Pass {
                return verdict;
            }
        }
    }
    if verdict == Verdict::Pass { transaction.request_end() } else { verdict }
}

/// Runs a request to its end.
pub(super) fn run_with(rules: &Arc<RuleSet>, mode: Mode, request: &str) -> (Verdict, Report) {
    let mut transaction = Transaction::new(Arc::clone(rules), mode, start());
    let verdict = feed(&mut transaction, request);
    let report = transaction.finish();
    (verdict, report)
}

/// Runs a request and gives the verdict and the numbers of the rules that matched.
pub(super) fn run(text: &str, request: &str) -> (Verdict, Vec<u32>) {
    let (verdict, report) = run_with(&rules(text), Mode::Block, request);
    (verdict, ids(&report))
}

pub(super) fn ids(report: &Report) -> Vec<u32> {
    report.matches.iter().map(|found| found.id).collect()
}

/// A denial with the usual status.
pub(super) fn denied(by: u32) -> Verdict {
    Verdict::Deny { status: 403, by }
}
