//! `[access]` as it is written.

use std::path::PathBuf;

use gatehouse_shared::cidr::Network;
use schemars::JsonSchema;
use serde::Deserialize;

/// `[access]`: who and what is let through or turned away by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What passes.
    pub allow: Allow,
    /// What is turned away.
    pub deny: Deny,
}

/// `[access.allow]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Allow {
    /// Networks whose requests pass everything but strict HTTP: neither denied entries nor limits nor the WAF concern them.
    #[schemars(example = ["10.20.0.0/16", "2001:db8::7"])]
    pub networks: Vec<Network>,
    /// Files of such networks, relative to the configuration directory; a line is `NETWORK [until=TIME] [owner=NAME]
    /// [ticket=ID] [# reason]`.
    #[schemars(example = ["lists/partners.netset"])]
    pub network_files: Vec<PathBuf>,
    /// Regular expressions for canonical path and query of requests that the WAF does not look at. They are matched from the
    /// beginning of the path, so that no query can choose to be skipped, and must begin with a slash.
    #[schemars(example = ["/healthz$", "/assets/"])]
    pub urls: Vec<String>,
    /// Files of such expressions, one a line; lines that begin with `#` are comments.
    #[schemars(example = ["lists/white-urls.txt"])]
    pub url_files: Vec<PathBuf>,
}

/// `[access.deny]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Deny {
    /// Networks that are turned away, unless an allowed network has the address too.
    #[schemars(example = ["192.0.2.0/24"])]
    pub networks: Vec<Network>,
    /// Files of such networks, up to 256 MiB each: our own format, FireHOL netsets, Spamhaus DROP text, or plain addresses.
    #[schemars(example = ["lists/firehol_level1.netset", "lists/drop.txt"])]
    pub network_files: Vec<PathBuf>,
    /// Hosts that are turned away: `example.com`, `*.example.com` for every name below it, or `~` and a regular expression.
    #[schemars(example = ["*.internal.example.com", "~^[0-9.]+$"])]
    pub hosts: Vec<String>,
    /// Files of such hosts, one a line; lines that begin with `#` are comments.
    #[schemars(example = ["lists/bad-hosts.txt"])]
    pub host_files: Vec<PathBuf>,
    /// Methods that are turned away here although the listeners accept them.
    #[schemars(example = ["TRACE"])]
    pub methods: Vec<String>,
    /// Regular expressions for user agents that are turned away, whatever the case of their letters; `^$` is a request
    /// without a user agent.
    #[schemars(example = ["sqlmap", "^python-requests/"])]
    pub user_agents: Vec<String>,
    /// Files of such expressions, one a line; lines that begin with `#` are comments.
    #[schemars(example = ["lists/bad-agents.txt"])]
    pub user_agent_files: Vec<PathBuf>,
    /// Regular expressions for canonical path and query (as it was sent) of requests that are turned away; found anywhere
    /// unless anchored by `^` and `$`.
    #[schemars(example = ["\\.(bak|sql)$", "^/internal/"])]
    pub urls: Vec<String>,
    /// Files of such expressions, one a line; lines that begin with `#` are comments.
    #[schemars(example = ["lists/bad-urls.txt"])]
    pub url_files: Vec<PathBuf>,
}
