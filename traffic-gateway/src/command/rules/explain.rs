//! `rules explain`: why a request passes or does not.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use gatehouse_waf::golden::Case;
use gatehouse_waf::rules::RuleSummary;
use gatehouse_waf::transaction::{Match, Verdict};

use super::{RulesError, cases, escaped, printable};
use crate::admit::waf::offline::{Judgement, Offline};
use crate::command::{ConfigDir, print};

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// File with the request as it is on the wire; - is the standard input. A comment before it, and ---- with a
    /// verdict behind it, may stand there as in files of `rules test`
    request: PathBuf,
    #[command(flatten)]
    config: ConfigDir,
}

impl Explain {
    pub(super) fn run(&self) -> Result<ExitCode, RulesError> {
        let offline = Offline::of_directory(&self.config.dir)?;
        let rules: HashMap<u32, RuleSummary> = offline.rules.rules().map(|rule| (rule.id, rule)).collect();
        let mut judge = offline.judge();
        let mut text = String::new();
        for case in cases::read_requests(&self.request)? {
            text.push_str(&explained(&case, &judge.judge(&case.request, None), &rules, offline.thresholds()));
        }
        Ok(print(&text))
    }
}

fn explained(
    case: &Case,
    judgement: &Judgement,
    rules: &HashMap<u32, RuleSummary>,
    (inbound, outbound): (u32, u32),
) -> String {
    let report = &judgement.report;
    let mut text = format!("{} {}\n", escaped(&case.request.method), escaped(&case.request.target));
    for found in &report.matches {
        text.push_str(&rule(found, rules.get(&found.id)));
    }
    let shown = |id: &u32| report.matches.iter().any(|found| found.id == *id);
    let silent: Vec<String> = judgement.matched.iter().filter(|id| !shown(id)).map(ToString::to_string).collect();
    if !silent.is_empty() {
        text.push_str(&format!("matched without being logged: {}\n", silent.join(", ")));
    }
    text.push_str(&format!("score of the request: {}, refused from {inbound} on\n", report.inbound_score));
    if report.outbound_score != 0 {
        text.push_str(&format!("score of the answer: {}, refused from {outbound} on\n", report.outbound_score));
    }
    if report.truncated {
        text.push_str("the rules have not seen everything: it is more than they look at\n");
    }
    text.push_str(&format!("decision: {}\n", decision(judgement)));
    text
}

fn rule(found: &Match, summary: Option<&RuleSummary>) -> String {
    let mut text = format!("rule {} in phase {}, {}:{}", found.id, found.phase, found.source, found.position.line);
    if found.paranoia > 0 {
        text.push_str(&format!(", paranoia level {}", found.paranoia));
    }
    text.push_str(&format!("\n  message: {}\n", printable(&found.message)));
    for target in &found.targets {
        text.push_str(&format!("  matched: {} = \"{}\"\n", printable(&target.name), escaped(&target.bytes)));
    }
    if !found.data.is_empty() {
        text.push_str(&format!("  data: {}\n", printable(&found.data)));
    }
    let links = summary.map(|summary| summary.transformations.as_slice()).unwrap_or_default();
    for (number, steps) in (1..).zip(links) {
        let steps = if steps.is_empty() { "none".to_owned() } else { steps.join(" → ") };
        match links.len() {
            1 => text.push_str(&format!("  transformations: {steps}\n")),
            _ => text.push_str(&format!("  transformations of link {number}: {steps}\n")),
        }
    }
    text.push_str(&format!("  score: {}\n", found.score));
    text
}

fn decision(judgement: &Judgement) -> String {
    if judgement.too_long {
        return "refused with 413: the body is longer than what is held back".to_owned();
    }
    match &judgement.report.decision {
        None | Some(Verdict::Pass) => "passes".to_owned(),
        Some(Verdict::Deny { status, by: 0 }) => format!("refused with {status} by a limit"),
        Some(Verdict::Deny { status, by }) => format!("refused with {status} by rule {by}"),
        Some(Verdict::Drop { by }) => format!("connection closed by rule {by}"),
        Some(Verdict::Redirect { status, location, by }) => {
            format!("redirected with {status} to {} by rule {by}", printable(location))
        }
    }
}
