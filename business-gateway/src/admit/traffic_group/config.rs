//! `[[pool]]` and `[[group]]` as written, and what is wrong with them.

use std::collections::BTreeSet;

use gatehouse_shared::config::{ConfigErrors, HumanDuration, Positions};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::adaptive::Bounds;
use super::capacity::Size;
use crate::store::catalog::{At, check_name};

/// Groups there may be: each call looks at all of them.
const MOST_GROUPS: usize = 32;
/// The largest ratio.
const RATIO_MAX: u32 = 1_000_000;
/// The largest reserve, in hundredths: the lowest group must be able to work.
const RESERVE_MAX: u8 = 90;

/// `[[pool]]`: how many calls a service can take at a time, all nodes of the fleet together.
///
/// A pool with the name of a service is that of all its APIs which do not name another one in `pool`. Without `size`, or `min`
/// and `max`, it is not limited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolConfig {
    /// The pool's name; unique. The name of a service, or what APIs name in `pool`. Example: `"orders"`.
    pub name: String,
    /// Calls at a time. Default: not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// Find the size by how long the service takes to begin its answers: the smallest it may be. Default: not found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// The largest size that may be found, which is also the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// How often the size is looked at, where it is found. Default: `"200ms"`.
    #[serde(default = "default_window")]
    pub window: HumanDuration,
    /// Hundredths of the size that the lowest group never has, because calls are not interrupted when others come; 0 to 90.
    /// Default: 10.
    #[serde(default = "default_reserve")]
    pub reserve_percent: u8,
    /// Most calls of one group that wait at this node; one more is refused at once. Default: 1000.
    #[serde(default = "default_queue")]
    pub queue_max: usize,
    /// The longest wait, where the call's deadline does not end it before. `"0s"`: none waits. Default: `"1s"`.
    #[serde(default = "default_wait")]
    pub wait_max: HumanDuration,
    /// Calls at a time of each API that does not say so itself in `concurrency`. Default: not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_concurrency: Option<u32>,
}

fn default_window() -> HumanDuration {
    HumanDuration::from_millis(200)
}

fn default_reserve() -> u8 {
    10
}

fn default_queue() -> usize {
    1_000
}

fn default_wait() -> HumanDuration {
    HumanDuration::from_secs(1)
}

/// `[[group]]`: calls that are equally important. The first group of which a condition holds takes a call; the last one, the
/// *lowest*, has no conditions and takes what is left. Default: one group, `"all"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupConfig {
    /// The group's name in logs, metrics and commands; unique. Example: `"core"`.
    pub name: String,
    /// Its part of a pool at its size, in relation to those of the other groups. Example: 60, beside 30 and 10.
    pub ratio: u32,
    /// Conditions, of which one must hold. Example: `[{ level = "core" }, { level = "normal", class = "gold" }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<When>,
}

/// One condition of a group. What it does not name may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The `level` of the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// The `class` of the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
}

impl PoolConfig {
    /// The size, if it has one.
    pub(super) fn size(&self) -> Option<Size> {
        match (self.size, self.min, self.max) {
            (Some(size), ..) => Some(Size::Fixed(size)),
            (None, Some(min), Some(max)) => Some(Size::Adaptive(Bounds { min, max, window: self.window.get() })),
            _ => None,
        }
    }

    fn check(&self, at: &At<'_>, errors: &mut ConfigErrors) {
        check_name(&self.name, at, errors);
        let mut refuse = |key: &str, message: &str, remedy: &str| errors.push(at.error(key, message, remedy));
        for (key, count) in
            [("size", self.size), ("min", self.min), ("max", self.max), ("api_concurrency", self.api_concurrency)]
        {
            if count == Some(0) {
                refuse(key, "no call would pass", "write at least 1, or leave it out");
            }
        }
        match (self.size, self.min, self.max) {
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                refuse("size", "a size and one that is found", "write \"size\", or \"min\" and \"max\"");
            }
            (None, Some(min), Some(max)) if min > max => {
                refuse("min", "more than \"max\"", "write less than \"max\"");
            }
            (None, Some(_), None) => refuse("min", "no \"max\" beside it", "write both"),
            (None, None, Some(_)) => refuse("max", "no \"min\" beside it", "write both"),
            _ => {}
        }
        if self.window.get().is_zero() {
            refuse("window", "must be longer than nothing", "write at least \"1ms\"");
        }
        if self.reserve_percent > RESERVE_MAX {
            refuse("reserve_percent", "leaves the lowest group nothing", "write 0 to 90");
        }
    }
}

/// Finds everything that is wrong.
///
/// # Errors
/// All of it.
pub(super) fn check(pools: &[PoolConfig], groups: &[GroupConfig], positions: &Positions) -> Result<(), ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let mut names = BTreeSet::new();
    for (index, pool) in pools.iter().enumerate() {
        let at = At { positions, path: format!("pool[{index}]") };
        pool.check(&at, &mut errors);
        if !names.insert(pool.name.as_str()) {
            errors.push(at.error("name", format!("a second pool {:?}", pool.name), "give each its own name"));
        }
    }
    let mut names = BTreeSet::new();
    for (index, group) in groups.iter().enumerate() {
        let at = At { positions, path: format!("group[{index}]") };
        check_name(&group.name, &at, &mut errors);
        if !names.insert(group.name.as_str()) {
            errors.push(at.error("name", format!("a second group {:?}", group.name), "give each its own name"));
        }
        if group.ratio == 0 || group.ratio > RATIO_MAX {
            errors.push(at.error("ratio", "not a part of anything", "write 1 to 1000000"));
        }
        if index == MOST_GROUPS {
            errors.push(at.error("name", "more than 32 groups", "put those together that are equally important"));
        }
        let is_last = index + 1 == groups.len();
        if is_last && !group.when.is_empty() {
            let remedy = "leave \"when\" out, or add a group behind it that takes the rest";
            errors.push(at.error("when", "the last group takes every call that no other takes", remedy));
        }
        if !is_last && group.when.is_empty() {
            let remedy = "write \"when\", as in [{ level = \"core\" }], or make it the last one";
            errors.push(at.error("name", "without conditions it leaves nothing to the groups behind it", remedy));
        }
    }
    errors.into_result(())
}
