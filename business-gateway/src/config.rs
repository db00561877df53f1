//! `business.toml` as written: one field for each step, each of the step's own `Config` type.

use std::net::SocketAddr;
use std::path::PathBuf;

use gatehouse_shared::config::HumanDuration;
use gatehouse_shared::hop::HopKeyConfig;
use gatehouse_shared::telemetry::access_log;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::admit::app;
use crate::admit::flow_rule;
use crate::admit::quota;
use crate::admit::route::search;
use crate::admit::validation;
use crate::respond::shaping;
use crate::{accept, dispatch, store};

/// The file's name in the configuration directory.
pub const FILE: &str = "business.toml";

/// `business.toml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `[process]`: what needs a restart.
    #[serde(default)]
    pub process: Process,
    /// `[accept]`: what bounds the connections from the edge.
    #[serde(default)]
    pub accept: accept::Config,
    /// `[hop]`: how a request proves that it came through the edge.
    pub hop: Hop,
    /// `[routing]`: what bounds the search for the API of a call.
    #[serde(default)]
    pub routing: search::Config,
    /// `[credentials]`: what counts for the credentials of every call.
    #[serde(default)]
    pub credentials: app::Config,
    /// `[upstream]`: connections to services, where a service does not say otherwise.
    #[serde(default)]
    pub upstream: dispatch::Config,
    /// `[flow]`: what bounds expressions and scripts.
    #[serde(default)]
    pub flow: flow_rule::BoundsConfig,
    /// `[aggregate]`: what bounds calls that are made of several.
    #[serde(default)]
    pub aggregate: dispatch::aggregate::config::BoundsConfig,
    /// `[validation]`: what bounds the validation of calls.
    #[serde(default)]
    pub validation: validation::config::BoundsConfig,
    /// `[quota]`: what all limits on calls have in common.
    #[serde(default)]
    pub quota: quota::Config,
    /// `[shape]`: what bounds the shaping of answers.
    #[serde(default)]
    pub shape: shaping::Config,
    /// `[access_log]`: one line of JSON for each call.
    #[serde(default)]
    pub access_log: access_log::Config,
    /// `[cache]`: what this node keeps of answers of services.
    #[serde(default)]
    pub cache: dispatch::cache::settings::Config,
    /// `[drain]`: how the process stops.
    #[serde(default)]
    pub drain: Drain,
    /// `[apps]`: how applications that are not in files are kept.
    #[serde(default)]
    pub apps: store::apps::Config,
    /// `[store]`: where the catalog is kept.
    #[serde(default)]
    pub store: store::Config,
    /// `[catalog]`: how the catalog is kept in Redis.
    #[serde(default)]
    pub catalog: store::revision::Config,
}

/// `[process]`: what needs a restart; a reload that changes it logs a warning.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Process {
    /// The name of this node in logs. Default: the host name.
    pub node: Option<String>,
    /// The zone of this node, such as `"a"`: endpoints in the same zone go first. Default: none.
    pub zone: Option<String>,
    /// Threads that serve requests. Default: one for each core the process may use.
    pub threads: Option<usize>,
    /// Where the edge connects. Default: `"127.0.0.1:8081"`. Port 0 takes a free one; `ports.json` in the state directory
    /// says which.
    pub listen: SocketAddr,
    /// Where operators connect. Default: `"127.0.0.1:9181"`.
    pub admin: SocketAddr,
    /// Host names, beside addresses, under which the admin listener may be asked. Default: none.
    pub admin_hosts: Vec<String>,
    /// Where this node keeps its own files: admin tokens, ports. Default: `"/var/lib/gatehouse/business"`.
    pub state_dir: PathBuf,
    /// Connections from edges at a time; with those to services below the descriptor limit. Default: 4096.
    pub max_connections: usize,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            node: None,
            zone: None,
            threads: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
            admin: SocketAddr::from(([127, 0, 0, 1], 9181)),
            admin_hosts: Vec::new(),
            state_dir: PathBuf::from("/var/lib/gatehouse/business"),
            max_connections: 4096,
        }
    }
}

/// `[hop]`: how a request proves that it came through the edge.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hop {
    /// One or two live keys, the same as at the edge. Example: `[{ id = "a", secret = { file = "hop.key" } }]`.
    pub keys: Vec<HopKeyConfig>,
}

/// `[drain]`: how the process stops.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// How long readiness is false before the listener closes, so that the edge's probes and its pooled connections notice; a
    /// process without connections does not wait. Keep it above the edge's `probe.interval` times `probe.fall`. Default: `"3s"`.
    pub delay: HumanDuration,
    /// How long calls under way may take after that. Default: `"30s"`.
    pub deadline: HumanDuration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay: HumanDuration::from_secs(3), deadline: HumanDuration::from_secs(30) }
    }
}
