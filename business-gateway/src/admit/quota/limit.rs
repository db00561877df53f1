//! Limits and plans, as compiled from the catalog.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_shared::config::{self, ConfigErrors, HumanDuration, Positions, nearest};
use gatehouse_shared::limit::{FleetConfig, FleetLimit, write_policy_field};
use gatehouse_shared::problem::{self, Reason};
use jiff::tz::TimeZone;

use super::config::{LimitConfig, Mode, OnStoreFailure, PlanConfig};
use super::counters::Counters;
use super::rate::{Rate, Span};
use super::subject::{By, Expression, Part, Subject};
use super::table::Table;
use super::window::Windows;
use crate::admit::flow_rule;
use crate::store::catalog::{At, check_name};

/// Windows shorter than this are too short for leases: nodes tell each other what they counted instead.
const LEASED_FROM: Duration = Duration::from_secs(10);
/// How often nodes tell each other what they counted.
pub(super) const EXCHANGE_EVERY: Duration = Duration::from_millis(200);
/// Most subjects that a node holds of a limit.
const KEYS_MAX: usize = 10_000_000;
/// Most that one call costs.
const COST_MAX: u32 = 1_000_000;

/// Makes an expression of its text, or says what is wrong with it.
pub type CompileExpression<'a> = &'a dyn Fn(&str) -> Result<Expression, String>;

/// Every limit of a catalog.
#[derive(Debug, Default)]
pub struct Limits {
    list: Vec<Arc<Limit>>,
}

/// One limit.
#[derive(Debug)]
pub struct Limit {
    /// Its name.
    pub name: Arc<str>,
    /// How many in a window, for those without a plan.
    pub rate: Rate,
    /// What one call costs.
    pub cost: u64,
    /// Whether it is obeyed.
    pub mode: Mode,
    /// What becomes of calls while the store is away.
    pub on_store_failure: OnStoreFailure,
    /// What is counted of it.
    pub counters: Arc<Counters>,
    pub(super) by: By,
    pub(super) windows: Windows,
    pub(super) max_keys: usize,
    pub(super) way: Way,
    /// The expression as written, or the parts: what counters stand for.
    key: String,
    /// Rates by plan, as a place in `rates`.
    plans: HashMap<Box<str>, usize>,
    /// How many in a window: its own, then those of plans.
    rates: Vec<u64>,
    /// What callers are told of each of them, in windows of the usual length.
    policies: Vec<Box<[u8]>>,
}

/// How a limit is kept by many nodes.
#[derive(Debug)]
pub(super) enum Way {
    /// Tokens are leased.
    Leased(Arc<Table>),
    /// Nodes tell each other what they counted: a count for each rate.
    Told(Vec<FleetLimit>),
}

impl Limits {
    /// Compiles limits and plans; what was counted so far is carried over from `before` by name.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn compile(
        limits: &[LimitConfig],
        plans: &[PlanConfig],
        positions: &Positions,
        expressions: CompileExpression<'_>,
        before: Option<&Self>,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        errors.collect(check_plans(limits, plans, positions));
        let mut list: Vec<Arc<Limit>> = Vec::with_capacity(limits.len());
        for (index, written) in limits.iter().enumerate() {
            let at = At { positions, path: format!("limit[{index}]") };
            if limits.iter().take(index).any(|other| other.name == written.name) {
                errors.push(at.error("name", format!("a second limit {:?}", written.name), "give each its own name"));
                continue;
            }
            let before = before.and_then(|before| before.find(&written.name));
            let compiled = Limit::compile(written, plans, &at, expressions, before.map(Arc::as_ref));
            list.extend(errors.collect(compiled).map(Arc::new));
        }
        errors.into_result(Self { list })
    }

    /// The limit of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Limit>> {
        self.list.iter().find(|limit| *limit.name == *name)
    }

    /// What rules charge a call beside the limits of its API. A limit that has left the catalog meanwhile is not charged.
    #[must_use]
    pub fn charged_by_rules(&self, charges: &[flow_rule::effect::Charge]) -> Vec<(Arc<Limit>, u64)> {
        charges.iter().filter_map(|charge| Some((Arc::clone(self.find(&charge.limit)?), charge.cost))).collect()
    }

    /// All of them, in the order written.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Limit>> {
        self.list.iter()
    }

    /// The limits that an API or a rule names in the list under `key`.
    ///
    /// # Errors
    /// Names that no limit has, unless `written` has a limit of that name, which then is wrong itself.
    pub fn named(
        &self,
        names: &[String],
        written: &[LimitConfig],
        at: &At<'_>,
        key: &str,
    ) -> Result<Vec<Arc<Limit>>, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut found: Vec<Arc<Limit>> = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let place = format!("{key}[{index}]");
            match self.find(name) {
                Some(limit) if found.iter().any(|other| other.name == limit.name) => {
                    errors.push(at.error(&place, format!("the limit {name:?} twice"), "remove one"));
                }
                Some(limit) => found.push(Arc::clone(limit)),
                None if written.iter().any(|limit| limit.name == *name) => {}
                None => errors.push(unknown(name, written, at, &place)),
            }
        }
        errors.into_result(found)
    }
}

impl Limit {
    fn compile(
        written: &LimitConfig,
        plans: &[PlanConfig],
        at: &At<'_>,
        expressions: CompileExpression<'_>,
        before: Option<&Self>,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        check_name(&written.name, at, &mut errors);
        let zone = TimeZone::get(&written.time_zone);
        if zone.is_err() {
            let message = format!("no time zone {:?}", written.time_zone);
            errors.push(at.error(
                "time_zone",
                message,
                "write its name in the IANA database, such as \"Europe/Berlin\"",
            ));
        }
        if !(1..=COST_MAX).contains(&written.cost) {
            errors.push(at.error("cost", "a call costs 1 to 1000000", "write 1 for a call that counts once"));
        }
        if !(1..=KEYS_MAX).contains(&written.max_keys) {
            errors.push(at.error("max_keys", "1 to 10000000 counters", "leave it out for 200000"));
        }
        let by = errors.collect(by(written, at, expressions));
        let (by, zone) = match (by, zone) {
            (Some(by), Ok(zone)) if errors.is_empty() => (by, zone),
            _ => return Err(errors),
        };
        let key = written.key.clone().unwrap_or_else(|| {
            let parts: Vec<&str> = parts(written).into_iter().map(Part::as_str).collect();
            parts.join(", ")
        });
        let (plans, rates) = rates(written, plans);
        let before = before.filter(|before| before.key == key && before.windows.span() == written.rate.span);
        let is_told = matches!(written.rate.span, Span::Fixed(length) if length < LEASED_FROM);
        let way = if is_told {
            Way::Told(told(written, &key, &rates, at, before)?)
        } else {
            let table = before.and_then(|before| before.way.table()).cloned();
            Way::Leased(table.unwrap_or_else(|| Arc::new(Table::new())))
        };
        let policies = rates.iter().map(|most| policy(&written.name, *most, usual_length(written.rate.span)));
        Ok(Self {
            policies: policies.collect(),
            name: written.name.as_str().into(),
            rate: written.rate,
            cost: written.cost.into(),
            mode: written.mode,
            on_store_failure: written.on_store_failure,
            counters: before.map(|before| Arc::clone(&before.counters)).unwrap_or_default(),
            by,
            windows: Windows::new(written.rate.span, zone),
            max_keys: written.max_keys,
            way,
            key,
            plans,
            rates,
        })
    }

    /// How many in a window for this subject, and the place of that rate.
    #[inline]
    pub(super) fn most(&self, subject: &Subject<'_>) -> (u64, usize) {
        let place = subject.plan.and_then(|plan| self.plans.get(plan)).copied().unwrap_or(0);
        (self.rates.get(place).copied().unwrap_or(self.rate.count), place)
    }

    /// What callers are told of the rate at a place, as a member of `RateLimit-Policy`; the window has so many seconds.
    pub(super) fn policy(&self, place: usize, window_s: u64) -> Cow<'_, [u8]> {
        match self.policies.get(place) {
            Some(policy) if self.is_usual(window_s) => Cow::Borrowed(policy),
            // Days in which clocks are changed, and months.
            _ => Cow::Owned(
                policy(&self.name, self.rates.get(place).copied().unwrap_or(self.rate.count), window_s).into(),
            ),
        }
    }

    /// The same for those without a plan, in a window of the usual length.
    pub(super) fn usual_policy(&self) -> Cow<'_, [u8]> {
        self.policy(0, usual_length(self.windows.span()))
    }

    /// Whether a window of so many seconds has the usual length.
    pub(super) fn is_usual(&self, window_s: u64) -> bool {
        window_s == usual_length(self.windows.span())
    }

    /// Why a call above it is refused.
    #[must_use]
    pub fn reason(&self) -> &'static Reason {
        match &self.by {
            By::Parts(parts) => match **parts {
                [] | [Part::Api] => &problem::QUOTA_API,
                [Part::App] => &problem::QUOTA_APP,
                [Part::Api, Part::App] => &problem::QUOTA_APP_API,
                _ => &problem::QUOTA_DYNAMIC,
            },
            By::Expression(_) => &problem::QUOTA_DYNAMIC,
        }
    }

    /// What it counts by, in the order of [`Part`]; `None` for an expression.
    #[must_use]
    pub fn parts(&self) -> Option<&[Part]> {
        match &self.by {
            By::Parts(parts) => Some(parts),
            By::Expression(_) => None,
        }
    }

    /// How many subjects this node holds.
    #[must_use]
    pub fn held(&self) -> usize {
        match &self.way {
            Way::Leased(table) => table.held(),
            Way::Told(counts) => counts.iter().map(|count| count.usage().keys).sum(),
        }
    }
}

/// The seconds that a window usually has.
fn usual_length(span: Span) -> u64 {
    match span {
        Span::Fixed(length) => u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(1).div_ceil(1_000),
        Span::Day => 86_400,
        Span::Month => 30 * 86_400,
    }
}

fn policy(name: &str, most: u64, window_s: u64) -> Box<[u8]> {
    let mut text = Vec::new();
    // Writing into memory cannot fail.
    let _infallible = write_policy_field(&mut text, name, most, window_s);
    text.into()
}

impl Way {
    fn table(&self) -> Option<&Arc<Table>> {
        match self {
            Self::Leased(table) => Some(table),
            Self::Told(_) => None,
        }
    }

    fn told(&self, count: u64) -> Option<&FleetLimit> {
        let Self::Told(counts) = self else { return None };
        let name = format!("..{count}");
        counts.iter().find(|limit| limit.name().ends_with(&name))
    }
}

fn parts(written: &LimitConfig) -> Vec<Part> {
    let mut parts = written.by.clone();
    parts.sort_unstable();
    parts.dedup();
    parts
}

fn by(written: &LimitConfig, at: &At<'_>, expressions: CompileExpression<'_>) -> Result<By, ConfigErrors> {
    let Some(expression) = &written.key else { return Ok(By::Parts(parts(written).into())) };
    if !written.by.is_empty() {
        return Err(at.error("key", "an expression instead of \"by\"", "keep one of the two").into());
    }
    let compiled = expressions(expression);
    compiled.map(By::Expression).map_err(|error| at.error("key", error, "see docs/QUOTAS.md").into())
}

/// The rates of a limit, and which of them plans have.
fn rates(written: &LimitConfig, plans: &[PlanConfig]) -> (HashMap<Box<str>, usize>, Vec<u64>) {
    let mut rates = vec![written.rate.count];
    let mut by_plan = HashMap::new();
    for plan in plans {
        let Some(rate) = plan.limits.get(&written.name) else { continue };
        let place = rates.iter().position(|count| *count == rate.count).unwrap_or_else(|| {
            rates.push(rate.count);
            rates.len() - 1
        });
        by_plan.insert(plan.name.as_str().into(), place);
    }
    (by_plan, rates)
}

/// The counts of a limit that nodes tell each other.
fn told(
    written: &LimitConfig,
    key: &str,
    rates: &[u64],
    at: &At<'_>,
    before: Option<&Limit>,
) -> Result<Vec<FleetLimit>, ConfigErrors> {
    let Span::Fixed(per) = written.rate.span else { return Ok(Vec::new()) };
    let mut errors = ConfigErrors::new();
    let mut counts = Vec::with_capacity(rates.len());
    for count in rates {
        if u32::try_from(*count).is_err() {
            let message = "more than 4294967295 in less than 10 s";
            errors.push(at.error("rate", message, "limits on short windows, plans included, count to that"));
            continue;
        }
        let config = FleetConfig {
            // The counts of two rates are told apart.
            name: format!("{:.40}..{count}", written.name),
            key: key.to_owned(),
            rate: config::Rate { count: *count, per },
            exchange_every: HumanDuration::from_millis(u64::try_from(EXCHANGE_EVERY.as_millis()).unwrap_or(u64::MAX)),
            nodes: 1,
            max_keys: written.max_keys,
        };
        let before = before.and_then(|before| before.way.told(*count));
        counts.extend(errors.collect(FleetLimit::compile(&config, before, &at.path, at.positions)));
    }
    errors.into_result(counts)
}

fn check_plans(limits: &[LimitConfig], plans: &[PlanConfig], positions: &Positions) -> Result<(), ConfigErrors> {
    let mut errors = ConfigErrors::new();
    for (index, plan) in plans.iter().enumerate() {
        let at = At { positions, path: format!("plan[{index}]") };
        check_name(&plan.name, &at, &mut errors);
        if plans.iter().take(index).any(|other| other.name == plan.name) {
            errors.push(at.error("name", format!("a second plan {:?}", plan.name), "give each its own name"));
        }
        for (name, rate) in &plan.limits {
            let place = format!("limits.{name}");
            let Some(limit) = limits.iter().find(|limit| limit.name == *name) else {
                errors.push(unknown(name, limits, &at, &place));
                continue;
            };
            if limit.key.is_none() && !limit.by.contains(&Part::App) {
                let message = format!("{name:?} does not count by application, so no plan can change it");
                errors.push(at.error(&place, message, "add \"app\" to the limit's by, or leave it out here"));
            }
            if limit.rate.span != rate.span {
                let message = format!("{name:?} has another window: {}", limit.rate);
                errors.push(at.error(&place, message, "write another count in the same window"));
            }
        }
    }
    errors.into_result(())
}

fn unknown(name: &str, limits: &[LimitConfig], at: &At<'_>, place: &str) -> config::ConfigError {
    let known = limits.iter().map(|limit| limit.name.as_str());
    let remedy = match nearest(name, known) {
        Some(name) => format!("did you mean {name:?}?"),
        None => format!("add [[limit]] with name = {name:?}"),
    };
    at.error(place, format!("no limit {name:?}"), remedy)
}
