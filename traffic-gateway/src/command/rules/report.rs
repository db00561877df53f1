//! `rules report`: what the rules of the running node have found.

use std::cmp::Reverse;
use std::process::ExitCode;

use clap::Args;
use gatehouse_shared::admin::Role;
use serde_json::Value;

use super::{RulesError, counted, printable};
use crate::command::call::{Call, Where, explained};
use crate::command::print;

#[derive(Debug, Args)]
pub(super) struct Report {
    #[command(flatten)]
    at: Where,
}

/// A rule as the node describes it.
struct Rule<'a>(&'a Value);

impl Rule<'_> {
    fn number(&self, name: &str) -> u64 {
        self.0.get(name).and_then(Value::as_u64).unwrap_or_default()
    }

    fn text(&self, name: &str) -> String {
        self.0.get(name).and_then(Value::as_str).map(printable).unwrap_or_default()
    }

    fn is_active(&self) -> bool {
        self.0.get("active") == Some(&Value::Bool(true))
    }

    /// Time of one run; `-` where it is not counted.
    fn cost(&self) -> String {
        match self.0.get("nanoseconds").and_then(Value::as_u64) {
            Some(nanoseconds) => format!("{} ns", nanoseconds / self.number("runs").max(1)),
            None => "-".to_owned(),
        }
    }
}

impl Report {
    pub(super) fn run(&self) -> Result<ExitCode, RulesError> {
        let call = Call { method: "GET", path: "/waf/rules".into(), ..Call::default() };
        let answer = self.at.node(Role::Read)?.call(&call)?;
        if !(200..300).contains(&answer.status) {
            return Err(RulesError::Impossible(explained(&answer)));
        }
        let answer: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let rules = answer.get("rules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if rules.is_empty() {
            return Err(RulesError::Impossible("the node runs no rules".to_owned()));
        }
        let rules: Vec<Rule<'_>> = rules.iter().map(Rule).collect();
        let inspected = answer.get("inspected").and_then(Value::as_u64).unwrap_or_default();
        Ok(print(&text(rules, inspected)))
    }
}

fn text(rules: Vec<Rule<'_>>, inspected: u64) -> String {
    let (mut hit, never): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| rule.number("matches") > 0);
    hit.sort_by_key(|rule| Reverse((rule.number("matches"), rule.number("runs"))));
    let mut text = String::from("matches\truns\ttime of a run\trule\tphase\tplace\tmessage\n");
    for rule in &hit {
        let columns = [
            rule.number("matches").to_string(),
            rule.number("runs").to_string(),
            rule.cost(),
            rule.number("id").to_string(),
            rule.number("phase").to_string(),
            format!("{}:{}", rule.text("file"), rule.number("line")),
            rule.text("message"),
        ];
        text.push_str(&columns.join("\t"));
        text.push('\n');
    }
    let (idle, off): (Vec<_>, Vec<_>) = never.into_iter().partition(Rule::is_active);
    for (what, rules) in [("never matched", &idle), ("cannot run with these settings", &off)] {
        if !rules.is_empty() {
            let ids: Vec<String> = rules.iter().map(|rule| rule.number("id").to_string()).collect();
            text.push_str(&format!("{what}: {}: {}\n", counted(rules.len(), "rule"), ids.join(", ")));
        }
    }
    text.push_str(&format!(
        "requests that rules have looked at since the process started: {inspected}; rules are counted since their files changed; \
         runs, and matches of rules with nolog, are estimated from one request in 64\n"
    ));
    text
}
