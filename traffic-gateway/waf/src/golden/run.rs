//! Runs a case against rules.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::{Case, Expected, Ids, Request};
use crate::RuleSet;
use crate::transaction::{Mode, Report, Start, Transaction, Verdict};

/// Bytes of a body that arrive together: few, so that what rules look for lies across several pieces.
const PIECE: usize = 1000;

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was decided.
    pub verdict: Verdict,
    /// The rules that matched, and the scores.
    pub report: Report,
}

/// What of an outcome was not expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It was refused.
    #[error("refused, was to pass")]
    Refused,
    /// It passed.
    #[error("passed, was to be refused")]
    Passed,
    /// A rule did not match.
    #[error("none of {0} matched")]
    Missing(Ids),
    /// A rule matched.
    #[error("rule {0} matched")]
    Unwanted(u32),
}

/// Sends a request through the rules, blocking, as the edge does: a body is not looked at once the head is refused.
#[must_use]
pub fn run(rules: &Arc<RuleSet>, request: &Request) -> Outcome {
    let documentation = |last: u8, port: u16| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, last)), port);
    let start = Start {
        client: documentation(7, 50_000),
        server: documentation(1, 443),
        unique_id: "golden",
        unix_time: 1_800_000_000,
        random: 0,
    };
    let mut transaction = Transaction::new(Arc::clone(rules), Mode::Block, start);
    transaction.request_line(&request.method, &request.target, &request.version);
    for (name, value) in &request.fields {
        transaction.request_header(name, value);
    }
    let mut verdict = transaction.request_head_end();
    if verdict == Verdict::Pass && transaction.wants_request_body() {
        let mut pieces = request.body.chunks(PIECE);
        while let Some(piece) = pieces.next().filter(|_| verdict == Verdict::Pass) {
            verdict = transaction.request_body(piece);
        }
    }
    if verdict == Verdict::Pass {
        verdict = transaction.request_end();
    }
    Outcome { verdict, report: transaction.finish() }
}

impl Outcome {
    /// What of it the case did not expect.
    #[must_use]
    pub fn failures(&self, case: &Case) -> Vec<Failure> {
        let mut failures = Vec::new();
        match (case.expected, &self.verdict) {
            (Expected::Pass, Verdict::Pass) => {}
            (Expected::Pass, _) => failures.push(Failure::Refused),
            (Expected::Deny, Verdict::Pass) => failures.push(Failure::Passed),
            (Expected::Deny, _) => {}
        }
        let matched = |ids: &Ids| self.report.matches.iter().map(|found| found.id).find(|&id| ids.contains(id));
        failures.extend(case.must.iter().filter(|ids| matched(ids).is_none()).cloned().map(Failure::Missing));
        failures.extend(case.must_not.iter().filter_map(matched).map(Failure::Unwanted));
        failures
    }
}
