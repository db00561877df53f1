//! `rules test`: requests with what is expected of them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use gatehouse_waf::golden::{Case, Expected};

use super::{RulesError, cases, counted, printable};
use crate::admit::waf::offline::{Judge, Judgement, Offline};
use crate::command::{ConfigDir, print};

#[derive(Debug, Args)]
pub(super) struct Test {
    /// Files of requests, or directories in which files ending in .http are searched
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    config: ConfigDir,
}

impl Test {
    pub(super) fn run(&self) -> Result<ExitCode, RulesError> {
        let offline = Offline::of_directory(&self.config.dir)?;
        let mut judge = offline.judge();
        let (mut all, mut failed, mut text) = (0, 0, String::new());
        for file in cases::files(&self.paths)? {
            let cases = cases::read(&file)?;
            let mut failures = 0;
            for case in &cases {
                if let Some(failure) = failure(case, &mut judge) {
                    failures += 1;
                    text.push_str(&format!("{}:{}: {}\n{failure}", file.display(), case.line, printable(&case.name)));
                }
            }
            let passed = cases.len() - failures;
            text.push_str(&format!("{}: {passed} of {} as expected\n", file.display(), counted(cases.len(), "case")));
            all += cases.len();
            failed += failures;
        }
        if all == 0 {
            return Err(RulesError::Usage("there is no file ending in .http in these directories".to_owned()));
        }
        text.push_str(&format!("{}: {} as expected, {failed} not\n", counted(all, "case"), all - failed));
        let code = print(&text);
        Ok(if failed > 0 { ExitCode::FAILURE } else { code })
    }
}

/// What is not as expected, if anything is.
fn failure(case: &Case, judge: &mut Judge<'_>) -> Option<String> {
    let judgement = judge.judge(&case.request, None);
    let has_matched = |wanted: &dyn Fn(u32) -> bool| judgement.matched.iter().any(|id| wanted(*id));
    let missing = case.must.iter().filter(|ids| !has_matched(&|id| ids.contains(id)));
    let missing: Vec<String> = missing.map(ToString::to_string).collect();
    let unwanted = |id: &u32| case.must_not.iter().any(|ids| ids.contains(*id));
    let unwanted: Vec<String> = judgement.matched.iter().copied().filter(unwanted).map(|id| id.to_string()).collect();
    let mut text = String::new();
    if (case.expected == Expected::Deny) != judgement.denies() {
        let expected = match case.expected {
            Expected::Pass => "pass",
            Expected::Deny => "deny",
        };
        text.push_str(&format!("  expected {expected}, got {}\n", verdict(&judgement)));
    }
    if !missing.is_empty() {
        text.push_str(&format!("  did not match: {}\n", missing.join(", ")));
    }
    if !unwanted.is_empty() {
        text.push_str(&format!("  matched and must not: {}\n", unwanted.join(", ")));
    }
    (!text.is_empty()).then_some(text)
}

/// `pass`, or `deny` with what led to it.
fn verdict(judgement: &Judgement) -> String {
    if judgement.too_long {
        return "deny (the body is longer than [waf.body] max)".to_owned();
    }
    let Some(by) = judgement.by() else { return "pass".to_owned() };
    let rules: Vec<String> = judgement.led_by().iter().map(|found| found.id.to_string()).collect();
    match rules.is_empty() {
        true => format!("deny by {by}"),
        false => format!("deny by {by} (rules {}, score {})", rules.join(", "), judgement.report.inbound_score),
    }
}
