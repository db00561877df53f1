//! `[quota]` of `business.toml`, `[[limit]]` and `[[plan]]` of the catalog, as written.

use std::collections::BTreeMap;

use gatehouse_shared::config::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rate::Rate;
use super::subject::Part;

/// `[quota]`: what all limits have in common.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How callers are told where they stand: `"draft"` for `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10),
    /// `"classic"` for `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` about the limit that is nearest to its end, or
    /// `"off"`. `Retry-After` is always there. Default: `"draft"`.
    pub headers: Headers,
    /// Longest wait of a call for tokens that the store is asked for, when those of the node are used up; 0 to 1 s. Default: `"5ms"`.
    pub refill_wait: HumanDuration,
    /// Longest wait of a call for the store's first answer about somebody in a window; 1 ms to 5 s. Default: `"100ms"`.
    pub first_wait: HumanDuration,
    /// Nodes to assume until the store was heard for the first time, 1 to 1000. Default: 1.
    pub nodes: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            headers: Headers::Draft,
            refill_wait: HumanDuration::from_millis(5),
            first_wait: HumanDuration::from_millis(100),
            nodes: 1,
        }
    }
}

/// How callers are told where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Headers {
    /// `RateLimit` and `RateLimit-Policy`.
    Draft,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining`, `X-RateLimit-Reset`.
    Classic,
    /// Not at all.
    Off,
}

/// `[[limit]]`: how many calls somebody may make in a window, as written. It holds for the APIs that name it in `limits`, all of which
/// share its counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitConfig {
    /// Its name in logs, metrics, header fields and `limits`; unique. Letters, digits, `.`, `_` and `-`. Example: `"app-day"`.
    pub name: String,
    /// What has a counter of its own: any of `"api"`, `"app"`, `"user"` and `"client"`. Calls that lack one are counted together.
    /// Default: nothing, all calls together. Example: `["app", "api"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<Part>,
    /// Instead of `by`: a CEL expression whose text has a counter of its own; calls for which it has no value are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How many in which window: `"1000/1s"` up to a day, where `"1d"` is a calendar day, or `"month"`, a calendar month.
    /// Limits on windows of less than 10 s are kept to about 3 %, longer ones exactly.
    pub rate: Rate,
    /// Whose days and months, as in the IANA time zone database. Default: `"UTC"`. Example: `"Asia/Shanghai"`.
    #[serde(default = "utc", skip_serializing_if = "is_utc")]
    pub time_zone: String,
    /// What one call costs, 1 to 1,000,000. Default: 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub cost: u32,
    /// What becomes of a call that this node has no tokens for while the store is away. `"open"`: the node goes on with its part
    /// of what was left; `"closed"`: 503. Default: `"open"`.
    #[serde(default)]
    pub on_store_failure: OnStoreFailure,
    /// `"enforce"`, or `"observe"`: nothing is refused, but counted as if. Default: `"enforce"`.
    #[serde(default)]
    pub mode: Mode,
    /// Most counters that this node holds at a time, 1 to 10,000,000, about 400 bytes each. Beyond them a newcomer is treated as
    /// while the store is away, but with `"open"` not counted. Default: 200,000.
    #[serde(default = "max_keys", skip_serializing_if = "is_max_keys")]
    pub max_keys: usize,
}

/// What becomes of calls while the store is away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnStoreFailure {
    /// The node goes on with its part.
    #[default]
    Open,
    /// They are refused.
    Closed,
}

/// Whether a limit is obeyed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is.
    #[default]
    Enforce,
    /// It only counts.
    Observe,
}

/// `[[plan]]`: other rates for applications that have it, as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanConfig {
    /// Its name, as it stands at applications; unique. Letters, digits, `.`, `_` and `-`. Example: `"gold"`.
    pub name: String,
    /// Rates by name of the limit, with the same windows; limits that are not named keep their own.
    /// Example: `{ "app-day" = "1000000/1d" }`.
    #[serde(default)]
    pub limits: BTreeMap<String, Rate>,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn is_utc(zone: &str) -> bool {
    zone == "UTC"
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_one(cost: &u32) -> bool {
    *cost == 1
}

fn max_keys() -> usize {
    200_000
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_max_keys(keys: &usize) -> bool {
    *keys == max_keys()
}
