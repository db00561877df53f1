//! `[access]` as it is written.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::admit::{Action, Mode};

/// `[access]`: who and what is let through or turned away by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What passes; the name of this list is `access.allow`.
    pub allow: Allow,
    /// What is turned away; the name of this list is `access.deny`.
    pub deny: Deny,
    /// Lists in files, each with a name and an effect of its own. Of several that fit, the first one counts.
    pub list: Vec<ListConfig>,
}

/// `[access.allow]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Allow {
    /// Networks whose requests pass everything but strict HTTP: neither denied entries nor limits nor the WAF concern them.
    /// Each is written like a line of a list: `NETWORK [until=TIME] [owner=NAME] [ticket=ID] [# reason]`.
    #[schemars(example = ["10.20.0.0/16", "2001:db8::7 until=2027-01-31T18:00:00Z # pentest"])]
    pub networks: Vec<String>,
    /// Regular expressions for canonical path and query of requests that the WAF does not look at. They are matched from the
    /// beginning of the path, so that no query can choose to be skipped, and must begin with a slash.
    #[schemars(example = ["/healthz$", "/assets/"])]
    pub urls: Vec<String>,
}

/// `[access.deny]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Deny {
    /// Networks that are turned away, unless an allowed network has the address too. Each is written like a line of a list:
    /// `NETWORK [until=TIME] [owner=NAME] [ticket=ID] [# reason]`.
    #[schemars(example = ["192.0.2.0/24", "198.51.100.7 until=2027-01-31T18:00:00Z owner=soc ticket=SEC-7 # scans"])]
    pub networks: Vec<String>,
    /// Hosts that are turned away: `example.com`, `*.example.com` for every name below it, or `~` and a regular expression.
    #[schemars(example = ["*.internal.example.com", "~^[0-9.]+$"])]
    pub hosts: Vec<String>,
    /// Methods that are turned away here although the listeners accept them.
    #[schemars(example = ["PATCH"])]
    pub methods: Vec<String>,
    /// Regular expressions for user agents that are turned away, whatever the case of their letters; `^$` is a request
    /// without a user agent.
    #[schemars(example = ["sqlmap", "^python-requests/"])]
    pub user_agents: Vec<String>,
    /// Regular expressions for canonical path and query (as it was sent) of requests that are turned away; found anywhere
    /// unless anchored by `^` and `$`.
    #[schemars(example = ["\\.(bak|sql)$", "^/internal/"])]
    pub urls: Vec<String>,
    /// `"enforce"`, or `"observe"`: nothing is turned away, the security log says what would be. Default: `"enforce"`.
    pub mode: Mode,
    /// How the client is answered: `"page"`, `"drop"` or `"redirect"`. Default: as `[answer]` says, and connections from
    /// denied networks are closed as soon as they are there; with `"page"` or `"redirect"` they are let in to be answered.
    pub action: Option<Action>,
}

/// One `[[access.list]]`: entries of one kind in files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListConfig {
    /// Its name in logs and on `/policy`: 1 to 64 letters, digits, `_` and `-`.
    #[schemars(example = &"firehol")]
    pub name: String,
    /// Its files, relative to the configuration directory, up to 256 MiB each. Networks: our own format, FireHOL netsets,
    /// Spamhaus DROP text, or plain addresses. Hosts, user agents and URLs: one a line; lines that begin with `#` are comments.
    #[schemars(example = ["lists/firehol_level1.netset", "lists/drop.txt"])]
    pub files: Vec<PathBuf>,
    /// What its entries are: `"networks"`, `"hosts"`, `"user_agents"` or `"urls"`. Default: `"networks"`.
    #[serde(default)]
    pub kind: ListKind,
    /// What becomes of what fits: `"deny"`, or `"allow"` (networks and URLs only). Default: `"deny"`.
    #[serde(default)]
    pub effect: Effect,
    /// `"enforce"`, or `"observe"`: nothing is turned away, the security log says what would be. Default: `"enforce"`.
    #[serde(default)]
    pub mode: Mode,
    /// How a client is answered that is turned away: `"page"`, `"drop"` or `"redirect"`. Default: as in `[access.deny]`.
    #[serde(default)]
    pub action: Option<Action>,
}

/// What the entries of a list are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListKind {
    /// Networks.
    #[default]
    Networks,
    /// Hosts.
    Hosts,
    /// Regular expressions for user agents.
    UserAgents,
    /// Regular expressions for path and query.
    Urls,
}

/// What becomes of what fits an entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It is turned away.
    #[default]
    Deny,
    /// A network passes everything but strict HTTP; a URL is not looked at by the WAF.
    Allow,
}

impl ListKind {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Networks => "networks",
            Self::Hosts => "hosts",
            Self::UserAgents => "user_agents",
            Self::Urls => "urls",
        }
    }
}

impl Effect {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Allow => "allow",
        }
    }
}
