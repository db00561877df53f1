//! Compiled rules.
//!
//! [`RuleSet::compile`] reads a [`Program`] in three passes: `draft` joins chains, applies defaults and updates;
//! `compile` resolves names, markers, transformations and operators to numbers and compiled comparisons; `units`
//! builds the prefilter. All errors are collected, each with its position. What results never changes and is shared by
//! all transactions.

mod options;
mod draft;
mod selection;
pub(crate) mod names;
pub(crate) mod template;
pub(crate) mod marks;
pub(crate) mod pipeline;
pub(crate) mod rule;
mod settings;
mod compile;
mod actions;
mod targets;
mod constant;
mod kept;
pub(crate) mod prefilter;
pub(crate) mod tree;
pub(crate) mod units;
pub(crate) mod memo;
mod cost;

use std::sync::Arc;

use crate::seclang::ast::{Position, Program};

pub use cost::Cost;
pub use options::Options;

use cost::Costs;
use marks::MarkTable;
use memo::Memo;
use names::{NameId, Names};
use pipeline::Pipelines;
use prefilter::Scanner;
use rule::{Rule, RuntimeExclusion, Side};
use settings::Settings;
use template::Template;
use units::Units;

/// Everything compiled from a [`Program`].
#[derive(Debug)]
pub struct RuleSet {
    pub(crate) options: Options,
    pub(crate) settings: Settings,
    /// By phase, then in the order of the files.
    pub(crate) rules: Vec<Rule>,
    /// First rule of each phase, and one past the last of all.
    pub(crate) phases: [usize; 6],
    /// Rules that run whatever the prefilter says, as a row of bits.
    pub(crate) always: Box<[u64]>,
    pub(crate) pipelines: Pipelines,
    pub(crate) marks: MarkTable,
    pub(crate) tx: Names,
    pub(crate) members: Names,
    pub(crate) constants: Vec<Box<[u8]>>,
    /// `TX` at the beginning of a transaction: number and value.
    pub(crate) initial: Vec<(names::TxId, i64)>,
    pub(crate) exclusions: Vec<RuntimeExclusion>,
    pub(crate) scanners: [Scanner; 2],
    pub(crate) units: Units,
    /// Values of requests and answers that wake none of the filtered rules.
    pub(crate) memo: Memo,
    pub(crate) costs: Costs,
    /// Rules that look at the content of files, whatever their phase.
    pub(crate) file_rules: Vec<usize>,
    sources: Vec<Arc<str>>,
    signatures: Vec<String>,
}

/// Why a program is not a rule set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct CompileError {
    /// Where the mistake is.
    pub position: Position,
    /// What it is.
    pub text: String,
}

/// A rule for people who ask which rules there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSummary {
    /// Number of the rule.
    pub id: u32,
    /// Phase, 1 to 5.
    pub phase: u8,
    /// Message as written.
    pub message: String,
    /// Tags as written.
    pub tags: Vec<String>,
    /// Paranoia level by its tag `paranoia-level/N`, 0 without one.
    pub paranoia: u8,
    /// Severity, 0 (emergency) to 7 (debug).
    pub severity: Option<u8>,
    /// File the rule is in.
    pub source: Arc<str>,
    /// Where it begins.
    pub position: Position,
    /// Whether it can run with the options of the set.
    pub active: bool,
    /// Names of the transformations of each link of its chain, in order; one link for a rule without a chain.
    pub transformations: Vec<Vec<&'static str>>,
}

impl RuleSet {
    /// Compiles a program. `files` reads the files that operators name, relative to where the caller sees fit.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, in the order of the files.
    pub fn compile(
        program: &Program,
        files: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
        options: &Options,
    ) -> Result<Self, Vec<CompileError>> {
        compile::compile(program, files, options)
    }

    /// All rules by phase and in the order of the files; chains are one rule.
    pub fn rules(&self) -> impl Iterator<Item = RuleSummary> {
        self.rules.iter().map(|rule| RuleSummary {
            id: rule.id,
            phase: rule.phase,
            message: rule.message.as_ref().map(|text| self.written(text)).unwrap_or_default(),
            tags: rule.tags.iter().map(|tag| self.written(tag)).collect(),
            paranoia: rule.paranoia,
            severity: rule.severity,
            source: self.source(rule.position),
            position: rule.position,
            active: !rule.dead,
            transformations: rule.links.iter().map(|link| self.pipelines.names(link.pipeline)).collect(),
        })
    }

    /// The name of the file a position is in.
    #[must_use]
    pub fn source(&self, position: Position) -> Arc<str> {
        self.sources.get(position.source as usize).map_or_else(|| Arc::from(""), Arc::clone)
    }

    /// What the rules call themselves (`SecComponentSignature`).
    #[must_use]
    pub fn signatures(&self) -> &[String] {
        &self.signatures
    }

    /// How often each rule ran and matched, and how long it took when [`Options::clock`] is set.
    pub fn costs(&self) -> impl Iterator<Item = Cost> {
        self.rules.iter().zip(self.costs.iter()).map(|(rule, counted)| counted.cost(rule.id))
    }

    /// The scanner of one side.
    pub(crate) const fn scanner(&self, side: Side) -> &Scanner {
        let [request, response] = &self.scanners;
        match side {
            Side::Request => request,
            Side::Response => response,
        }
    }

    /// The number of a member's name.
    pub(crate) fn name_id(&self, name: &[u8]) -> NameId {
        self.members.find(name).map_or_else(NameId::default, NameId)
    }

    fn written(&self, text: &Template) -> String {
        let mut written = String::new();
        for part in &text.pieces {
            match part {
                template::Part::Plain(plain) => written.push_str(&String::from_utf8_lossy(plain)),
                template::Part::Tx(id) => written.push_str(&format!("%{{TX.{}}}", self.tx.name(id.0))),
                template::Part::Value(variable, None) => written.push_str(&format!("%{{{}}}", variable.name())),
                template::Part::Value(variable, Some(member)) => {
                    written.push_str(&format!("%{{{}.{member}}}", variable.name()));
                }
            }
        }
        written
    }
}
