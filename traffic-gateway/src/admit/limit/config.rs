//! `[[limit]]`, `[limits]` and `[cc]` as they are written.

use gatehouse_shared::{
    config::{HumanDuration, Rate},
    limit::Algorithm,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::admit::Mode;

/// One `[[limit]]`: how much each client, route, … may do in a time. One limit is one counter, however many routes it
/// covers. See docs/LIMITS.md.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitConfig {
    /// Its name in logs, metrics and `RateLimit` fields: 1 to 64 letters, digits, dots, dashes and underscores.
    #[schemars(example = "per-client")]
    pub name: String,
    /// What is counted by, all parts together: `client` (an IPv6 client is its /64 network), `network` (the same as
    /// `network:24,48`: prefix lengths for IPv4 and IPv6), `host`, `path`, `route`, `method`, `header:NAME`, `cookie:NAME`,
    /// `query:NAME`. Empty: one counter for all. A request without the header, cookie or argument is not counted.
    #[serde(default)]
    #[schemars(example = ["client", "path"])]
    pub key: Vec<String>,
    /// Which requests it covers; all unless said otherwise.
    #[serde(default, rename = "match")]
    pub covers: Match,
    /// How many in which time: `"100/60s"`.
    #[schemars(example = "100/60s")]
    pub rate: Rate,
    /// How many may come at once, for `token_bucket`. Default: as many as the rate's count.
    #[schemars(example = 50)]
    pub burst: Option<u64>,
    /// How requests are counted: `token_bucket` (the default) or `sliding_window`. A limit of the fleet has fixed windows
    /// and takes neither.
    pub algorithm: Option<Algorithm>,
    /// Whose requests count: those of this node, or those of all edges together.
    #[serde(default)]
    pub scope: Scope,
    /// What is counted.
    #[serde(default)]
    pub count: Count,
    /// Which statuses are counted with `count = "client_errors"`. Default: all of 4xx, but not that a client has left.
    #[serde(default)]
    #[schemars(example = [401, 403])]
    pub statuses: Vec<u16>,
    /// What happens to a request above the limit.
    #[serde(default)]
    pub action: LimitAction,
    /// With `deny`: for how long everything under the key is refused once it is above the limit. Default: until the rate
    /// allows the next.
    #[schemars(example = "60s")]
    pub deny_for: Option<HumanDuration>,
    /// With `ban`: for how long the client is banned.
    #[schemars(example = "10m")]
    pub ban: Option<HumanDuration>,
    /// With `delay`: the longest that a request is held back, at most 10s; one that would have to wait for longer is refused.
    #[schemars(example = "2s")]
    pub delay: Option<HumanDuration>,
    /// `enforce`, or `observe`: nothing is refused, banned or delayed; what would have been is in the security log.
    #[serde(default)]
    pub mode: Mode,
    /// Most keys at a time, at most 87 bytes each while they are in use. New keys beyond it are counted by the client's
    /// network (/24, IPv6: /48), which may do 8 times as much.
    #[serde(default = "default_max_keys")]
    pub max_keys: usize,
    /// Whether clients are told about it in `RateLimit` and `RateLimit-Policy`. Default: as `[limits]` says.
    pub headers: Option<bool>,
}

/// Which requests a limit covers: those that meet every condition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// Hosts: `shop.example.com`, or `*.example.com` for every name below it. Empty: any.
    #[schemars(example = ["shop.example.com"])]
    pub hosts: Vec<String>,
    /// Canonical paths, of which a `*` stands for anything: `/login`, `/api/*`, `*.php`. Empty: any.
    #[schemars(example = ["/login", "/api/*"])]
    pub paths: Vec<String>,
    /// Methods. Empty: any.
    #[schemars(example = ["POST"])]
    pub methods: Vec<String>,
    /// Routes by name, hosts and path prefix as configured: `shop.example.com/api`, `*/`. Empty: any, and none.
    #[schemars(example = ["*/"])]
    pub routes: Vec<String>,
    /// Only calls that are `unauthenticated` (no location of `[limits] credentials` is used; calls whose credentials tier two
    /// finds wrong are counted too, and refused when these alone are above the limit) or `authenticated` (one is used).
    pub only: Option<Only>,
}

/// Whether a call brings credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Only {
    /// It does not, or wrong ones.
    Unauthenticated,
    /// It does.
    Authenticated,
}

/// Whose requests count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Those of this node.
    #[default]
    Node,
    /// Those of all edges, which tell each other several times a second; without an exchange each has its share.
    Fleet,
}

/// What is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    /// Requests.
    #[default]
    Requests,
    /// Answers with a status of 4xx, whoever made them, except those of limits themselves.
    ClientErrors,
    /// Items executed, as tier two says after the fact; at least one for each request.
    Cost,
}

/// What happens to a request above a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitAction {
    /// It is refused: 429 with `Retry-After`.
    #[default]
    Deny,
    /// Its client is banned from everything for a time. Such a limit counts every request it covers, also those that another
    /// limit refuses.
    Ban,
    /// It is held back until the rate allows it.
    Delay,
}

/// `[limits]`: what concerns all limits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether clients are told where they stand, in `RateLimit` and `RateLimit-Policy` of every answer; a limit may differ.
    pub headers: bool,
    /// Where callers put credentials: `header:NAME`, `cookie:NAME`, `query:NAME`, and `certificate` for a client certificate.
    /// A request that uses none of them is unauthenticated.
    pub credentials: Vec<String>,
    /// Most clients that limits ban fleet-wide in a second, from this node. Beyond it they wait, and eight and more of a network
    /// (/24, IPv6: /48) become one ban of that network. On this node itself every ban is in force at once.
    pub bans_per_second: u32,
    /// Edges of the fleet, as long as they have not heard of each other: each then has its share of a limit of the fleet.
    pub nodes: u32,
    /// How often edges tell each other what they counted for limits of the fleet: 50ms to 1s.
    pub exchange_every: HumanDuration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            headers: true,
            credentials: vec!["header:authorization".into(), "certificate".into()],
            bans_per_second: 20,
            nodes: 1,
            exchange_every: HumanDuration::from_millis(150),
        }
    }
}

/// `[cc]`: protection against floods of requests for one path, by the classic count over seconds. Two limits in short:
/// `cc` by client and path, and `cc-client` by client. Who goes over one is refused for as long as its time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CcConfig {
    /// Requests of one client for one path: `"100/60"` are 100 in 60 seconds.
    #[schemars(example = "100/60")]
    pub rate: Rate,
    /// Requests of one client for all paths together. Default: not limited here.
    #[schemars(example = "1000/60")]
    pub client_rate: Option<Rate>,
    /// For how long a client that goes over is banned from everything. Default: it is not.
    #[schemars(example = "10m")]
    pub ban: Option<HumanDuration>,
    /// `enforce` or `observe`.
    #[serde(default)]
    pub mode: Mode,
    /// Which requests it covers; all unless said otherwise.
    #[serde(default, rename = "match")]
    pub covers: Match,
    /// Most keys at a time, for each of the two.
    #[serde(default = "default_max_keys")]
    pub max_keys: usize,
}

pub(super) fn default_max_keys() -> usize {
    250_000
}
