//! Compiled rules.

use regex::bytes::Regex;

use crate::operator::Operator;
use crate::seclang::ast::{AllowScope, BodyProcessor, EngineMode, Position, Toggle, Variable, XPath};

use super::names::{NameId, TxId};
use super::pipeline::PipelineId;
use super::prefilter::Ask;
use super::template::Template;

/// A rule with all links of its chain.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: u32,
    pub(crate) phase: u8,
    pub(crate) position: Position,
    pub(crate) paranoia: u8,
    pub(crate) message: Option<Template>,
    pub(crate) data: Option<Template>,
    pub(crate) tags: Box<[Template]>,
    pub(crate) severity: Option<u8>,
    pub(crate) version: Option<Box<str>>,
    pub(crate) revision: Option<Box<str>>,
    pub(crate) disruption: Disruption,
    pub(crate) status: u16,
    /// The rule to go on with after a match, by its number.
    pub(crate) jump: Option<usize>,
    pub(crate) log: bool,
    pub(crate) audit: bool,
    pub(crate) links: Box<[Link]>,
    /// Whether the prefilter decides if the rule is worth running.
    pub(crate) filtered: Option<Side>,
    /// Whether the rule is left out, because it can never run with these options.
    pub(crate) dead: bool,
}

/// Which scanner a rule belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Response,
}

/// What follows from a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disruption {
    Pass,
    Deny,
    Drop,
    Redirect(Template),
    Allow(AllowScope),
}

/// One comparison of a rule.
#[derive(Debug)]
pub(crate) struct Link {
    /// Empty for `SecAction`, which matches once.
    pub(crate) targets: Box<[Target]>,
    pub(crate) exclusions: Box<[Exclusion]>,
    pub(crate) pipeline: PipelineId,
    pub(crate) multi_match: bool,
    pub(crate) capture: bool,
    pub(crate) negated: bool,
    pub(crate) test: Test,
    pub(crate) changes: Box<[SetVariable]>,
    pub(crate) controls: Box<[Control]>,
}

/// How a value is judged.
#[derive(Debug)]
pub(crate) enum Test {
    /// Every value matches.
    Always,
    /// No value matches.
    Never,
    /// As integers.
    Number(Comparison, NumberSource),
    /// By an operator; the argument is put together first when it holds references.
    Operator(Box<Operator>, Option<Template>),
}

impl Test {
    /// What the prefilter has to know before this comparison.
    pub(crate) fn ask(&self) -> Ask {
        match self {
            Self::Operator(operator, _) if operator.detector().is_some() => Ask::Grammars,
            _ => Ask::Literals,
        }
    }
}

/// Comparisons of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Eq,
    Ge,
    Gt,
    Le,
    Lt,
}

impl Comparison {
    pub(crate) const fn holds(self, value: i64, bound: i64) -> bool {
        match self {
            Self::Eq => value == bound,
            Self::Ge => value >= bound,
            Self::Gt => value > bound,
            Self::Le => value <= bound,
            Self::Lt => value < bound,
        }
    }
}

/// Where a number comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NumberSource {
    Constant(i64),
    Tx(TxId),
    Template(Template),
}

/// A variable or collection, or one member of it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) variable: Variable,
    pub(crate) count: bool,
    pub(crate) choice: Choice,
}

/// Values a rule does not look at.
#[derive(Clone, Debug)]
pub(crate) struct Exclusion {
    pub(crate) variable: Variable,
    pub(crate) choice: Choice,
}

/// Which members of a collection.
#[derive(Clone, Debug)]
pub(crate) enum Choice {
    All,
    Name(NameId, Box<[u8]>),
    Pattern(Box<NamePattern>),
    Tx(TxId),
    XPath(XPath),
}

/// An expression over names.
#[derive(Clone, Debug)]
pub(crate) struct NamePattern {
    pub(crate) regex: Regex,
    /// The numbered variables of `TX` that it names.
    pub(crate) tx: Box<[TxId]>,
}

/// `setvar`.
#[derive(Clone, Debug)]
pub(crate) struct SetVariable {
    pub(crate) name: TxName,
    pub(crate) change: Change,
    /// Whether the variable keeps a score, for reports.
    pub(crate) score: bool,
}

/// A name within `TX`.
#[derive(Clone, Debug)]
pub(crate) enum TxName {
    Fixed(TxId),
    Template(Template),
}

/// What becomes of the variable.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Unset,
    Set(Value),
    Add(NumberSource),
    Subtract(NumberSource),
}

/// A value to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Number(i64),
    /// Number of a constant of the rule set.
    Constant(u32),
    Tx(TxId),
    Template(Template),
}

/// `ctl`.
#[derive(Clone, Debug)]
pub(crate) enum Control {
    Engine(EngineMode),
    /// The rules to leave out, as a row of bits.
    Remove(Box<[u64]>),
    /// Number of a [`RuntimeExclusion`] of the rule set.
    Exclude(u32),
    BodyProcessor(BodyProcessor),
    ForceRequestBody(Toggle),
    RequestBodyAccess(Toggle),
    ResponseBodyAccess(Toggle),
    Audit(EngineMode),
}

/// Values that some rules do not look at once a `ctl` said so.
#[derive(Debug)]
pub(crate) struct RuntimeExclusion {
    pub(crate) rules: Box<[u64]>,
    pub(crate) exclusion: Exclusion,
}
