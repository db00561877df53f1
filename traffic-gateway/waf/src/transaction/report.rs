//! What a transaction leaves behind: every rule that matched, and the scores.

use std::sync::Arc;

use crate::rules::RuleSet;
use crate::rules::rule::Rule;
use crate::rules::template::Template;
use crate::seclang::ast::{EngineMode, Position, Variable};

use super::Verdict;
use super::items::{Item, MemberName};
use super::state::State;
use super::texts::TextId;
use super::tx::TxRef;

/// Rules that are reported for one transaction. More are counted.
pub const MATCHES: usize = 64;

/// Values that are reported for one rule.
pub const TARGETS: usize = 8;

/// Bytes of a value that are reported.
pub const MATCHED_BYTES: usize = 256;

/// What a transaction leaves behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What was decided in [`Mode::Block`](super::Mode::Block), or would have been in
    /// [`Mode::Detect`](super::Mode::Detect).
    pub decision: Option<Verdict>,
    /// Rules that matched, in the order in which they ran, at most [`MATCHES`]. Rules with `nolog` are left out.
    pub matches: Vec<Match>,
    /// Matches that are not listed.
    pub unlisted: u32,
    /// Sum of the scores of the request that count towards a denial (`TX.blocking_inbound_anomaly_score`).
    pub inbound_score: i64,
    /// The same for the answer (`TX.blocking_outbound_anomaly_score`).
    pub outbound_score: i64,
    /// Whether rules did not see everything, because it was more than is looked at.
    pub truncated: bool,
    /// What `ctl:auditEngine` asked for.
    pub audit: Option<EngineMode>,
}

/// A rule that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Number of the rule.
    pub id: u32,
    /// Phase it ran in.
    pub phase: u8,
    /// Its message, with references replaced.
    pub message: String,
    /// Its log data, with references replaced; bytes that are no text are replaced.
    pub data: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its severity, 0 (emergency) to 7 (debug).
    pub severity: Option<u8>,
    /// Paranoia level by its tag.
    pub paranoia: u8,
    /// What it added to variables that keep an anomaly score.
    pub score: i64,
    /// Whether the rule wants the exchange in the audit log (`auditlog`).
    pub audit: bool,
    /// The values that matched, of all links of a chain, at most [`TARGETS`].
    pub targets: Vec<MatchedTarget>,
    /// File the rule is in.
    pub source: Arc<str>,
    /// Where it begins.
    pub position: Position,
}

/// A value that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedTarget {
    /// Such as `ARGS:id`.
    pub name: String,
    /// What of it matched, after transformations: the match of a pattern, or the whole value; at most
    /// [`MATCHED_BYTES`]. It comes from the client: escape it before it is shown.
    pub bytes: Vec<u8>,
}

/// A value of the rule that runs.
#[derive(Clone, Copy, Debug)]
struct Hit {
    variable: Variable,
    member: MemberName,
    text: TextId,
}

/// What was found so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    pub(super) decided: Option<Verdict>,
    pub(super) audit: Option<EngineMode>,
    /// For looking up references.
    pub(super) items: Vec<Item>,
    matches: Vec<Match>,
    unlisted: u32,
    hits: Vec<Hit>,
    score: i64,
}

impl Findings {
    pub(super) fn clear(&mut self) {
        self.decided = None;
        self.audit = None;
        self.items.clear();
        self.matches.clear();
        self.unlisted = 0;
        self.begin_rule();
    }

    pub(super) fn begin_rule(&mut self) {
        self.hits.clear();
        self.score = 0;
    }

    pub(super) const fn add_score(&mut self, more: i64) {
        self.score = self.score.saturating_add(more);
    }

    pub(super) fn add_target(&mut self, variable: Variable, member: MemberName, text: TextId) {
        if self.hits.len() < TARGETS {
            self.hits.push(Hit { variable, member, text });
        }
    }
}

impl State {
    /// Writes a match down.
    pub(super) fn report(&mut self, rules: &RuleSet, rule: &Rule) {
        if self.findings.matches.len() >= MATCHES {
            self.findings.unlisted = self.findings.unlisted.saturating_add(1);
            return;
        }
        let targets = self.findings.hits.iter().map(|hit| self.target(rules, hit)).collect();
        let found = Match {
            id: rule.id,
            phase: rule.phase,
            message: self.shown(rules, rule, rule.message.as_ref()),
            data: self.shown(rules, rule, rule.data.as_ref()),
            tags: rule.tags.iter().map(|tag| self.shown(rules, rule, Some(tag))).collect(),
            severity: rule.severity,
            paranoia: rule.paranoia,
            score: self.findings.score,
            audit: rule.audit,
            targets,
            source: rules.source(rule.position),
            position: rule.position,
        };
        self.findings.matches.push(found);
    }

    fn target(&self, rules: &RuleSet, hit: &Hit) -> MatchedTarget {
        let mut name = Vec::new();
        self.write_name(rules, hit.variable, hit.member, &mut name);
        name.truncate(MATCHED_BYTES);
        let found = self.texts.bytes(hit.text);
        let bytes = found.get(..MATCHED_BYTES).unwrap_or(found).to_vec();
        MatchedTarget { name: String::from_utf8_lossy(&name).into_owned(), bytes }
    }

    fn shown(&mut self, rules: &RuleSet, rule: &Rule, template: Option<&Template>) -> String {
        let Some(template) = template else { return String::new() };
        let mut text = Vec::new();
        self.expand(rules, rule, template, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Everything that was found, once.
    pub(super) fn take_report(&mut self, rules: &RuleSet) -> Report {
        let score = |name: &str| {
            let id = rules.tx.find(name.as_bytes());
            id.map_or(0, |id| self.tx.number(rules, TxRef::Fixed(crate::rules::names::TxId(id))))
        };
        Report {
            inbound_score: score("blocking_inbound_anomaly_score"),
            outbound_score: score("blocking_outbound_anomaly_score"),
            decision: self.findings.decided.take(),
            matches: std::mem::take(&mut self.findings.matches),
            unlisted: self.findings.unlisted,
            truncated: self.truncated || self.body.too_long || self.response.too_long || self.tx.overflow,
            audit: self.findings.audit,
        }
    }
}
