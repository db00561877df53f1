//! One flow rule: as written in the catalog, compiled, and judged for one call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gatehouse_shared::config::{ConfigErrors, nearest};
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Bounds;
use super::effect::{Denial, EffectError, Effects, header_name};
use super::expression::{Expression, ExpressionError, Place, Stage, Yields};
use super::input::Input;
use super::script::{Interpreter, Script, ScriptError};
use crate::admit::pattern::ApiPattern;
use crate::store::catalog::{At, check_name};

/// `[[flow_rule]]`: what becomes of calls for which something holds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The rule's name in logs, metrics and messages; unique. Letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// APIs it is for, beside those that name it in `flow_rules`: names, or the start of names with a star, as in `"orders.*"`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apis: Vec<String>,
    /// When it is judged: `"request"`, before quotas, or `"response"`, when the service has answered. Default: `"request"`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub at: When,
    /// `"enforce"`, or `"observe"`: judged, counted and logged, but not acted on. Default: `"enforce"`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: Mode,
    /// What becomes of a call when the rule fails or is cut: `"pass"` or `"deny"`. Default: `"pass"`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_error: OnError,
    /// The time zone of `time.hour` and its like, by its IANA name. Default: `"UTC"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// A CEL expression; the rule acts on calls of which it is true. Default: all. Example: `"app.plan == 'free'"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Refuse the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny: Option<DenyConfig>,
    /// Charge limits, beside those of the API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charge: Vec<ChargeConfig>,
    /// Header fields to set: each value is a CEL expression that gives a text. Example: `{ x-plan = "app.plan" }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set_headers: BTreeMap<String, String>,
    /// Header fields to remove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove_headers: Vec<String>,
    /// Parameters of the query to set: each value is a CEL expression that gives a text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set_query: BTreeMap<String, String>,
    /// Parameters of the query to remove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove_query: Vec<String>,
    /// Tags of the call, for routing and the log: each value is a CEL expression that gives a text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The status of the answer; only for rules on answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_status: Option<u16>,
    /// Instead of the effects above, a script in Rhai that asks for them on its `gate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
}

/// When a rule is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Before the call goes on to quotas and a service.
    #[default]
    Request,
    /// When the service has answered.
    Response,
}

/// Whether a rule is acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is.
    #[default]
    Enforce,
    /// It is only counted and logged.
    Observe,
}

/// What becomes of a call when its rule fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// As if the rule were not there.
    #[default]
    Pass,
    /// It is refused.
    Deny,
}

/// How a call is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DenyConfig {
    /// The status, 400 to 599. Default: 403.
    pub status: Option<u16>,
    /// What clients may match on: the end of `sub_code`. Letters, digits, `.`, `_` and `-`. Default: `"flow-rule"`.
    pub code: Option<String>,
    /// What people read, in the answer's `detail`; at most 500 characters. Default: none.
    pub detail: Option<String>,
}

/// A limit that is charged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChargeConfig {
    /// The `[[limit]]`.
    pub limit: String,
    /// How many calls it counts for. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<u32>,
    /// Instead of `cost`, a CEL expression that gives a whole number. Example: `"size(query_all['id'])"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_by: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A rule as compiled.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub name: Arc<str>,
    /// When it is judged.
    pub stage: Stage,
    /// Whether it is acted on.
    pub mode: Mode,
    /// What becomes of a call when it fails.
    pub on_error: OnError,
    /// APIs it is for, beside those that name it.
    pub apis: Vec<ApiPattern>,
    /// What became of the calls it was judged for.
    pub counters: Arc<RuleCounters>,
    /// When true of a call, the rule acts.
    pub when: Option<Expression>,
    /// What it does then.
    pub action: Action,
    zone: TimeZone,
    limits: Arc<BTreeSet<String>>,
}

/// What a rule does.
#[derive(Debug)]
pub enum Action {
    /// Always the same.
    Fixed(Effects),
    /// Effects of which some values depend on the call.
    Computed(Computed),
    /// What a script asks for.
    Script(Script),
}

/// Effects of which some values are expressions.
#[derive(Debug, Default)]
pub struct Computed {
    fixed: Effects,
    charges: Vec<(Arc<str>, Expression)>,
    headers: Vec<(String, Expression)>,
    query: Vec<(String, Expression)>,
    tags: Vec<(String, Expression)>,
}

/// Why a rule gave nothing for a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It reached a bound.
    #[error("{0}")]
    Cut(String),
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

/// What became of the calls a rule was judged for; outlives reloads.
#[derive(Debug, Default)]
pub struct RuleCounters {
    counts: [AtomicU64; OUTCOMES.len()],
}

/// What became of a call by a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Pass,
    /// It was refused.
    Deny,
    /// A limit was charged.
    Charge,
    /// Its request, its answer or its tags were changed.
    Change,
    /// Something would have become of it if the rule were enforced.
    Observed,
    /// The rule failed.
    Failed,
    /// The rule was cut.
    Cut,
}

/// Every outcome with its label.
pub const OUTCOMES: [(Outcome, &str); 7] = [
    (Outcome::Pass, "pass"),
    (Outcome::Deny, "deny"),
    (Outcome::Charge, "charge"),
    (Outcome::Change, "change"),
    (Outcome::Observed, "observed"),
    (Outcome::Failed, "failed"),
    (Outcome::Cut, "cut"),
];

impl RuleCounters {
    /// Counts a call.
    pub fn add(&self, outcome: Outcome) {
        if let Some(count) = self.counts.iter().zip(OUTCOMES).find(|(_, (known, _))| *known == outcome) {
            count.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Each label with its count.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        OUTCOMES.iter().zip(&self.counts).map(|((_, label), count)| (*label, count.load(Ordering::Relaxed)))
    }
}

/// What all rules of a catalog are compiled with.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// What bounds them.
    pub bounds: &'a Bounds,
    /// For scripts.
    pub interpreter: &'a Interpreter,
    /// The names of all APIs.
    pub apis: &'a [&'a str],
    /// The names of all limits.
    pub limits: &'a Arc<BTreeSet<String>>,
}

impl Rule {
    /// Compiles a rule; its counts are carried over from `before`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(
        config: &Config,
        at: &At<'_>,
        surroundings: &Surroundings<'_>,
        before: Option<&Self>,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        check_name(&config.name, at, &mut errors);
        let zone = errors.collect(zone(config, at));
        let stage = match config.at {
            When::Request => Stage::Request,
            When::Response => Stage::Response,
        };
        let apis = errors.collect(ApiPattern::compile_all(&config.apis, "apis", at, surroundings.apis));
        errors.collect(check_sense(config, at));
        let utc = TimeZone::UTC;
        let compile = Compile { config, at, surroundings, stage, zone: zone.as_ref().unwrap_or(&utc) };
        let when = config.when.as_ref().map(|text| compile.expression(text, "when", Yields::Bool));
        let when = when.map(|compiled| errors.collect(compiled));
        let action = errors.collect(compile.action());
        let (Some(zone), Some(apis), Some(action)) = (zone, apis, action) else { return Err(errors) };
        errors.into_result(Self {
            name: config.name.as_str().into(),
            stage,
            mode: config.mode,
            on_error: config.on_error,
            apis,
            counters: before.map(|before| Arc::clone(&before.counters)).unwrap_or_default(),
            when: when.flatten(),
            action,
            zone,
            limits: Arc::clone(surroundings.limits),
        })
    }

    /// What the rule asks for, for one call.
    ///
    /// # Errors
    /// When it fails or is cut.
    pub fn effects(&self, input: &Input<'_>) -> Result<Effects, RuleError> {
        self.effects_by(input, None)
    }

    /// The same with another script in place of the rule's own: one that is counted.
    ///
    /// # Errors
    /// When it fails or is cut.
    pub fn effects_by(&self, input: &Input<'_>, counted: Option<&Script>) -> Result<Effects, RuleError> {
        if let Some(when) = &self.when
            && !when.test(input)?
        {
            return Ok(Effects::default());
        }
        match &self.action {
            Action::Fixed(effects) => Ok(effects.clone()),
            Action::Computed(computed) => computed.effects(input),
            Action::Script(script) => {
                let effects = counted.unwrap_or(script).run(input, &self.zone).map_err(|error| match error {
                    ScriptError::Cut(text) => RuleError::Cut(text),
                    ScriptError::Failed(text) => RuleError::Failed(text),
                })?;
                match effects.charges.iter().find(|charge| !self.limits.contains(&*charge.limit)) {
                    Some(charge) => Err(RuleError::Failed(format!("no limit {:?}", charge.limit))),
                    None if self.is_out_of_place(&effects) => Err(RuleError::Failed(self.out_of_place().to_owned())),
                    None => Ok(effects),
                }
            }
        }
    }

    /// Whether a script asked for what its stage does not have.
    fn is_out_of_place(&self, effects: &Effects) -> bool {
        match self.stage {
            Stage::Request => effects.status.is_some(),
            Stage::Response => effects.denial.is_some() || !effects.charges.is_empty() || !effects.query.is_empty(),
        }
    }

    fn out_of_place(&self) -> &'static str {
        match self.stage {
            Stage::Request => "set_status is for rules on answers",
            Stage::Response => "deny, charge and set_query are for rules on requests",
        }
    }

    /// The expressions of its effects.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let computed = if let Action::Computed(computed) = &self.action { Some(computed) } else { None };
        computed.into_iter().flat_map(Computed::expressions)
    }

    /// The zone of its times.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Whether it looks at an input.
    #[must_use]
    pub fn looks_at(&self, field: super::input::Field) -> bool {
        let in_expression = |expression: &Expression| expression.fields().any(|known| known == field);
        self.when.as_ref().is_some_and(in_expression)
            || match &self.action {
                Action::Fixed(_) => false,
                Action::Computed(computed) => computed.expressions().any(in_expression),
                Action::Script(script) => script.mentions(field),
            }
    }
}

impl From<ExpressionError> for RuleError {
    fn from(error: ExpressionError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<EffectError> for RuleError {
    fn from(error: EffectError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Computed {
    fn effects(&self, input: &Input<'_>) -> Result<Effects, RuleError> {
        let mut effects = self.fixed.clone();
        for (limit, cost) in &self.charges {
            effects.charge(limit, cost.number_of(input)?)?;
        }
        for (name, value) in &self.headers {
            effects.set_header(name, &value.text_of(input)?)?;
        }
        for (name, value) in &self.query {
            effects.set_query(name, Some(&value.text_of(input)?))?;
        }
        for (name, value) in &self.tags {
            effects.tag(name, &value.text_of(input)?)?;
        }
        Ok(effects)
    }

    fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let named = self.headers.iter().chain(&self.query).chain(&self.tags).map(|(_, expression)| expression);
        self.charges.iter().map(|(_, expression)| expression).chain(named)
    }
}

fn zone(config: &Config, at: &At<'_>) -> Result<TimeZone, ConfigErrors> {
    match config.time_zone.as_deref() {
        None | Some("UTC") => Ok(TimeZone::UTC),
        Some(name) => TimeZone::get(name).map_err(|_error| {
            at.error("time_zone", format!("no time zone {name:?}"), "write an IANA name, as in \"Asia/Shanghai\"")
                .into()
        }),
    }
}

/// Combinations that cannot mean anything.
fn check_sense(config: &Config, at: &At<'_>) -> Result<(), ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let changes = [
        ("charge", !config.charge.is_empty()),
        ("set_headers", !config.set_headers.is_empty()),
        ("remove_headers", !config.remove_headers.is_empty()),
        ("set_query", !config.set_query.is_empty()),
        ("remove_query", !config.remove_query.is_empty()),
        ("tags", !config.tags.is_empty()),
        ("set_status", config.set_status.is_some()),
    ];
    let written = || changes.iter().filter(|(_, is_written)| *is_written).map(|(key, _)| *key);
    if config.script.is_some() && (config.deny.is_some() || written().next().is_some()) {
        errors.push(at.error(
            "script",
            "a script and effects beside it",
            "let the script ask for the effects on its gate",
        ));
    }
    if config.deny.is_some() && written().next().is_some() {
        errors.push(at.error("deny", "a rule that refuses a call does nothing else to it", "make two rules of it"));
    }
    if config.script.is_none() && config.deny.is_none() && written().next().is_none() {
        errors.push(at.error("name", "a rule that does nothing", "add deny, charge, set_headers, tags or script"));
    }
    for key in ["charge", "set_query", "remove_query"] {
        if config.at == When::Response && written().any(|known| known == key) {
            errors.push(at.error(key, "not for rules on answers: the call was made", "write at = \"request\""));
        }
    }
    if config.at == When::Response && config.deny.is_some() {
        errors.push(at.error("deny", "not for rules on answers: the call was made", "write set_status instead"));
    }
    if config.at == When::Request && config.set_status.is_some() {
        errors.push(at.error("set_status", "only for rules on answers", "write at = \"response\", or deny"));
    }
    errors.into_result(())
}

struct Compile<'a> {
    config: &'a Config,
    at: &'a At<'a>,
    surroundings: &'a Surroundings<'a>,
    stage: Stage,
    zone: &'a TimeZone,
}

impl Compile<'_> {
    fn expression(&self, text: &str, key: &str, yields: Yields) -> Result<Expression, ConfigErrors> {
        let bounds = self.surroundings.bounds;
        Expression::compile(text, yields, Place { at: self.at, key, stage: self.stage, bounds, zone: self.zone })
    }

    fn action(&self) -> Result<Action, ConfigErrors> {
        let config = self.config;
        if let Some(text) = &config.script {
            let Surroundings { interpreter, bounds, .. } = self.surroundings;
            return Script::compile(text, interpreter, bounds, self.at, "script").map(Action::Script);
        }
        let mut errors = ConfigErrors::new();
        let mut computed = Computed::default();
        if let Some(deny) = &config.deny {
            match Denial::new(deny.status.map(i64::from), deny.code.as_deref(), deny.detail.as_deref()) {
                Ok(denial) => computed.fixed.denial = Some(denial),
                Err(error) => errors.push(self.at.error("deny", error.to_string(), "correct it")),
            }
        }
        if let Some(status) = config.set_status
            && let Err(error) = computed.fixed.set_status(i64::from(status))
        {
            errors.push(self.at.error("set_status", error.to_string(), "write another status"));
        }
        self.charges(&mut computed, &mut errors);
        for (name, text) in &config.set_headers {
            let key = format!("set_headers.{name}");
            if let Err(error) = header_name(name) {
                errors.push(self.at.error(&key, error.to_string(), "set another header"));
            }
            let value = errors.collect(self.expression(text, &key, Yields::Text));
            computed.headers.extend(value.map(|value| (name.clone(), value)));
        }
        for (index, name) in config.remove_headers.iter().enumerate() {
            if let Err(error) = computed.fixed.remove_header(name) {
                errors.push(self.at.error(
                    &format!("remove_headers[{index}]"),
                    error.to_string(),
                    "remove another header",
                ));
            }
        }
        for (name, text) in &config.set_query {
            let value = errors.collect(self.expression(text, &format!("set_query.{name}"), Yields::Text));
            computed.query.extend(value.map(|value| (name.clone(), value)));
        }
        for (index, name) in config.remove_query.iter().enumerate() {
            if let Err(error) = computed.fixed.set_query(name, None) {
                errors.push(self.at.error(&format!("remove_query[{index}]"), error.to_string(), "correct the name"));
            }
        }
        for (name, text) in &config.tags {
            let key = format!("tags.{name}");
            if let Err(error) = Effects::default().tag(name, "") {
                errors.push(self.at.error(&key, error.to_string(), "correct the name"));
            }
            let value = errors.collect(self.expression(text, &key, Yields::Text));
            computed.tags.extend(value.map(|value| (name.clone(), value)));
        }
        let is_fixed = computed.expressions().next().is_none();
        errors.into_result(if is_fixed { Action::Fixed(computed.fixed) } else { Action::Computed(computed) })
    }

    fn charges(&self, computed: &mut Computed, errors: &mut ConfigErrors) {
        for (index, charge) in self.config.charge.iter().enumerate() {
            let key = |name: &str| format!("charge[{index}].{name}");
            let limits = self.surroundings.limits;
            if !limits.contains(&charge.limit) {
                let remedy = match nearest(&charge.limit, limits.iter().map(String::as_str)) {
                    Some(name) => format!("did you mean {name:?}?"),
                    None => format!("add [[limit]] with name = {:?}", charge.limit),
                };
                errors.push(self.at.error(&key("limit"), format!("no limit {:?}", charge.limit), remedy));
            }
            match (&charge.cost_by, charge.cost) {
                (Some(_), Some(_)) => {
                    errors.push(self.at.error(&key("cost"), "two costs", "write cost or cost_by"));
                }
                (Some(text), None) => {
                    let cost = errors.collect(self.expression(text, &key("cost_by"), Yields::Number));
                    computed.charges.extend(cost.map(|cost| (charge.limit.as_str().into(), cost)));
                }
                (None, cost) => {
                    if let Err(error) = computed.fixed.charge(&charge.limit, i64::from(cost.unwrap_or(1))) {
                        errors.push(self.at.error(&key("cost"), error.to_string(), "write a smaller cost"));
                    }
                }
            }
        }
    }
}
