//! What operators say of calls in their own words: rules in CEL and Rhai that refuse a call, charge it, or change a little of its
//! request or answer. Rules are judged in the order in which the catalog lists them, however they are attached; the first that
//! refuses ends it.
//!
//! - [`input`]: what a rule may look at
//! - [`expression`]: CEL, for conditions, keys and values
//! - [`script`]: Rhai, for several statements
//! - [`effect`]: what a rule may do
//! - [`rule`]: one rule
//! - [`judge`]: the rules of an API, at work
//! - [`key`]: what a limit counts by, as an expression
//! - [`sample`]: made-up calls
//!
//! A rule can never stop a node: what an expression may cost is computed at load, what a script does is counted, and one that
//! fails or is cut follows its `on_error`.

pub mod effect;
pub mod expression;
pub mod input;
pub mod judge;
pub mod key;
pub mod rule;
pub mod sample;
pub mod script;

use gatehouse_shared::config::{ByteSize, ConfigErrors, Positions};
use schemars::JsonSchema;
use serde::Deserialize;

pub use self::expression::{Expression, ExpressionError, Place, Stage, Yields};
pub use self::input::{AppInput, Counters, Input};
pub use self::judge::{ApiRules, Facts, FlowRules, Kept, Notes, Refused};
pub use self::rule::Config;

/// Stack of the threads that serve, in bytes. The deepest expression or script that is let in takes most of the usual 2 MiB in a
/// build that is not optimised; of what is not used, nothing is ever in memory.
pub const STACK: usize = 8 << 20;

/// `[flow]` of `business.toml`: what bounds expressions and scripts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BoundsConfig {
    /// The longest expression or script. Default: `"16KiB"`.
    pub source_max: ByteSize,
    /// Steps that an expression may take, as computed at load. Default: 200000.
    pub cost_max: u64,
    /// Operations that a script may take; then it is cut. Default: 20000.
    pub operations_max: u64,
    /// The longest text that a script may make. Default: `"16KiB"`.
    pub text_max: ByteSize,
    /// Entries of the largest list or map that a script may make. Default: 256.
    pub entries_max: usize,
}

impl Default for BoundsConfig {
    fn default() -> Self {
        Self {
            source_max: ByteSize::kib(16),
            cost_max: 200_000,
            operations_max: 20_000,
            text_max: ByteSize::kib(16),
            entries_max: 256,
        }
    }
}

/// `[flow]` as compiled.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of an expression or script.
    pub source_max: usize,
    /// Steps of an expression.
    pub cost_max: u64,
    /// Operations of a script.
    pub operations_max: u64,
    /// Bytes of a text.
    pub text_max: usize,
    /// Entries of a list or map.
    pub entries_max: usize,
}

impl Bounds {
    /// Compiles `[flow]`.
    ///
    /// # Errors
    /// Bounds of nothing, and such that bound nothing.
    pub fn compile(config: &BoundsConfig, positions: &Positions) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut check = |value: u64, most: u64, key: &str| {
            if value == 0 || value > most {
                let remedy = format!("write 1 to {most}");
                errors.push(positions.error(&format!("flow.{key}"), "no bound for rules", Some(remedy)));
            }
        };
        check(config.source_max.get(), 1 << 20, "source_max");
        check(config.cost_max, 100_000_000, "cost_max");
        check(config.operations_max, 10_000_000, "operations_max");
        check(config.text_max.get(), 1 << 20, "text_max");
        check(u64::try_from(config.entries_max).unwrap_or(u64::MAX), 10_000, "entries_max");
        errors.into_result(Self {
            source_max: config.source_max.as_usize(),
            cost_max: config.cost_max,
            operations_max: config.operations_max,
            text_max: config.text_max.as_usize(),
            entries_max: config.entries_max,
        })
    }
}

impl Default for Bounds {
    fn default() -> Self {
        let config = BoundsConfig::default();
        Self {
            source_max: config.source_max.as_usize(),
            cost_max: config.cost_max,
            operations_max: config.operations_max,
            text_max: config.text_max.as_usize(),
            entries_max: config.entries_max,
        }
    }
}
