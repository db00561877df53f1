//! `edge.toml` as it is written: one field per stage, each of the stage's own `Config` type.
//!
//! Nothing here reaches the request path; [`crate::policy`] compiles it. Unknown keys are errors, durations and sizes
//! carry units, secrets come from files or the environment.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use gatehouse_shared::{config::HumanDuration, hop::HopKeyConfig, telemetry::access_log};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    accept,
    admit::{self, limit, waf},
    answer, balance,
    observe::security_log,
};

/// Name of the file in the configuration directory.
pub const FILE: &str = "edge.toml";

/// The whole file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What belongs to the process; a change takes effect with the next start or upgrade.
    pub process: Process,
    /// Bounds on clients' connections and messages.
    #[serde(default)]
    pub accept: accept::Config,
    /// How the client's address is found.
    #[serde(default)]
    pub client: accept::client::Config,
    /// Certificates of the TLS listeners, chosen by server name; the first is the default. Swapped without restart.
    #[serde(default)]
    pub certificate: Vec<accept::tls::CertificateConfig>,
    /// Who and what is let through or turned away by name; see docs/LISTS.md.
    #[serde(default)]
    pub access: admit::access::Config,
    /// Rules that look into requests and answers; see docs/WAF.md.
    #[serde(default)]
    pub waf: waf::Config,
    /// What a client is told whose request this gate answers itself. Browsers get an HTML page, everyone else a problem
    /// document; see docs/DENIALS.md.
    #[serde(default)]
    pub answer: answer::Config,
    /// What the tiers share to trust each other.
    pub hop: Hop,
    /// Answers to anonymous reads that this node keeps for a short time; see docs/EDGE_CACHE.md.
    #[serde(default)]
    pub cache: answer::cache::Config,
    /// Which requests go to which cluster.
    #[serde(default)]
    pub route: Vec<balance::route::Config>,
    /// Groups of business nodes.
    #[serde(default)]
    pub cluster: Vec<balance::cluster::Config>,
    /// The access log.
    #[serde(default)]
    pub access_log: access_log::Config,
    /// One JSON line for every denial; see docs/DENIALS.md.
    #[serde(default)]
    pub security_log: security_log::Config,
    /// Where the nodes of a fleet share the dynamic blocklist and what limits have counted; a change takes effect with the next
    /// start or upgrade.
    #[serde(default)]
    pub store: gatehouse_store::Config,
    /// How much each client, route, … may do; see docs/LIMITS.md.
    #[serde(default)]
    pub limit: Vec<limit::config::LimitConfig>,
    /// What concerns all limits.
    #[serde(default)]
    pub limits: limit::config::Settings,
    /// Protection against floods of requests for one path.
    pub cc: Option<limit::config::CcConfig>,
    /// How the process ends.
    #[serde(default)]
    pub drain: Drain,
}

/// `[process]`: needs a restart or an upgrade to change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Name of this node in logs and in the hop. Default: the host name.
    pub node: Option<String>,
    /// Zone of this node, such as `a`: business nodes in the same zone go first. Default: none.
    pub zone: Option<String>,
    /// Worker threads. Default: one for each processor.
    pub threads: Option<usize>,
    /// Directory for tokens, `ports.json` and the upgrade socket; must be writable for this process alone.
    #[serde(default = "default_state_dir")]
    pub state_dir: PathBuf,
    /// Most client connections at once; must stay below the limit of descriptors. Default: 15,000, or less where the
    /// limit is low.
    pub max_connections: Option<usize>,
    /// Address of the admin listener; keep it private.
    #[serde(default = "default_admin")]
    pub admin: SocketAddr,
    /// Further host names by which the admin listener may be called, such as `edge-1.internal:9180`.
    #[serde(default)]
    pub admin_hosts: Vec<String>,
    /// Socket over which an upgrade passes the listening sockets. Default: `upgrade.sock` in the state directory.
    pub upgrade_socket: Option<PathBuf>,
    /// Where clients connect.
    pub listener: Vec<accept::ListenerConfig>,
}

impl Process {
    /// The socket over which an upgrade passes the listening sockets.
    #[must_use]
    pub fn upgrade_socket(&self) -> PathBuf {
        self.upgrade_socket.clone().unwrap_or_else(|| self.state_dir.join("upgrade.sock"))
    }
}

/// `[hop]`: the keys that sign requests to the business tier.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hop {
    /// One or two keys; the first signs. To rotate: add the new one second on both tiers, then make it first here.
    pub keys: Vec<HopKeyConfig>,
}

/// `[drain]`: how the process ends on SIGTERM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// From readiness going false until no connection is accepted any more; give the balancer before us time to look.
    pub delay: HumanDuration,
    /// Longest wait for requests in flight, counted from then.
    pub deadline: HumanDuration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay: HumanDuration::from_secs(0), deadline: HumanDuration::from_secs(30) }
    }
}

fn default_state_dir() -> PathBuf {
    Path::new("/var/lib/gatehouse/edge").to_owned()
}

fn default_admin() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9180))
}
