//! The two gates as subjects: one thread each, defaults of the shipped configuration otherwise.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use gatehouse_shared::clock;
use gatehouse_shared::config::Secret;
use gatehouse_shared::hop::{HOP_HEADER, Hop, HopKey, HopKeys, Scheme};
use gatehouse_shared::id::RequestId;
use serde::Deserialize;

use crate::child::Child;
use crate::proxies::Server;
use crate::settings::{Settings, TARGET};
use crate::subject::HandOff;

/// The hand-off that `deploy/config/edge` ships with: the figures without a protocol in their name are its.
pub(crate) const DEFAULT_HAND_OFF: HandOff = HandOff::H2c;

/// Secret of the bench's hop key; both gates of this run share it and nobody else.
const HOP_SECRET: &str = "bench-bench-bench-bench-bench-bench";

/// Whether the access log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessLog {
    /// To a file, a line a request.
    File,
    /// To nowhere.
    Off,
}

/// What an edge hands its requests to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The sample service itself, which knows no probe and ignores the hop.
    Service(SocketAddr),
    /// A business node.
    Business(SocketAddr),
}

/// An edge that hands everything to one node.
///
/// # Errors
///
/// It does not start.
pub(crate) fn edge(
    name: &str,
    settings: &Settings,
    directory: &Path,
    next: Next,
    hand_off: HandOff,
    log: AccessLog,
) -> anyhow::Result<Server> {
    edge_with(name, settings, directory, next, hand_off, log, "")
}

/// What has an edge turn away whom a list file names.
pub(crate) fn denying(file: &Path) -> String {
    format!("[[access.list]]\nname = \"denied\"\nfiles = [\"{}\"]\n", file.display())
}

/// An edge with `more` in its configuration.
///
/// # Errors
///
/// It does not start.
pub(crate) fn edge_with(
    name: &str,
    settings: &Settings,
    directory: &Path,
    next: Next,
    hand_off: HandOff,
    log: AccessLog,
    more: &str,
) -> anyhow::Result<Server> {
    let place = Place::new(directory, name)?;
    let (node, probed) = match next {
        Next::Service(node) => (node, false),
        Next::Business(node) => (node, true),
    };
    let text = format!(
        r#"
[process]
node = "{name}"
threads = 1
state_dir = "{state}"
admin = "127.0.0.1:0"
[[process.listener]]
address = "127.0.0.1:0"
[hop]
keys = [{{ id = "bench", secret = {{ file = "hop.key" }} }}]
[[route]]
path_prefix = "/"
cluster = "next"
[[cluster]]
name = "next"
nodes = ["{node}"]
protocol = "{protocol}"
probe = {{ enabled = {probed} }}
[access_log]
sink = "{sink}"
[accept]                    # all load comes from one address
connections_per_client = 0
{more}"#,
        state = place.state.display(),
        protocol = hand_off.name(),
        sink = place.sink(log),
    );
    fs::write(place.config.join("edge.toml"), text)?;
    place.start("traffic-gateway", name, settings)
}

/// A business node with one API in front of the service.
///
/// # Errors
///
/// It does not start.
pub(crate) fn business(settings: &Settings, directory: &Path, service: SocketAddr) -> anyhow::Result<Server> {
    let place = Place::new(directory, "business")?;
    fs::write(place.config.join("business.toml"), place.business("business", AccessLog::File))?;
    let catalog = format!(
        r#"
[[service]]
name = "sample"
endpoints = ["{service}"]
[[api]]
name = "bench"
access = "open"
schemes = []
service = "sample"
methods = ["GET"]
path = "/bench"
"#
    );
    fs::write(place.config.join("catalog.toml"), catalog)?;
    place.start("business-gateway", "business", settings)
}

/// A header line with a hop that the business tier accepts for the bench's request during the next 15 s.
///
/// # Errors
///
/// The key is refused.
pub(crate) fn signed_hop(entry: SocketAddr) -> anyhow::Result<String> {
    hop("GET", &entry.to_string(), "/bench", TARGET, Duration::from_secs(30))
}

/// The same for any request, which may take as long as is `left`.
///
/// # Errors
///
/// The key is refused.
pub(crate) fn hop(method: &str, authority: &str, path: &str, target: &str, left: Duration) -> anyhow::Result<String> {
    let keys = HopKeys::new(vec![HopKey::new("bench", &Secret::new(HOP_SECRET.into()))?])?;
    let now = clock::unix_ms();
    let hop = Hop {
        request_id: RequestId::new(now),
        client: SocketAddr::from(([192, 0, 2, 1], 4711)),
        scheme: Scheme::Http,
        tls: None,
        subject: None,
        fingerprint: None,
        path,
        left,
        edge: "bench",
        held: false,
    };
    Ok(format!("{HOP_HEADER}: {}", keys.sign(&hop, method, authority, target, now)))
}

/// Directories of one gate.
pub(crate) struct Place {
    /// Its configuration, with the key of the hop.
    pub(crate) config: PathBuf,
    /// What it writes.
    pub(crate) state: PathBuf,
}

/// What a gate writes once it is ready.
#[derive(Deserialize)]
struct Ports {
    listeners: Option<Vec<SocketAddr>>,
    listen: Option<SocketAddr>,
}

impl Place {
    pub(crate) fn new(directory: &Path, name: &str) -> anyhow::Result<Self> {
        let place = Self { config: directory.join(name).join("config"), state: directory.join(name).join("state") };
        fs::create_dir_all(&place.config)?;
        fs::create_dir_all(&place.state)?;
        fs::write(place.config.join("hop.key"), HOP_SECRET)?;
        Ok(place)
    }

    /// What `business.toml` says of any node.
    pub(crate) fn business(&self, node: &str, log: AccessLog) -> String {
        format!(
            r#"
[process]
node = "{node}"
threads = 1
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"
state_dir = "{state}"
[hop]
keys = [{{ id = "bench", secret = {{ file = "hop.key" }} }}]
[access_log]
sink = "{sink}"
"#,
            state = self.state.display(),
            sink = self.sink(log),
        )
    }

    fn sink(&self, log: AccessLog) -> String {
        match log {
            AccessLog::File => self.state.join("access.log").display().to_string(),
            AccessLog::Off => "off".to_owned(),
        }
    }

    pub(crate) fn start(&self, binary: &str, name: &str, settings: &Settings) -> anyhow::Result<Server> {
        let config = self.config.to_string_lossy();
        let arguments = ["run", "--config", &config];
        let (program, arguments) = settings.command_line(settings.binary(binary)?, &arguments)?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut child = Child::start(name, settings.subject_core, &self.state, &program, &arguments)?;
        let ports = self.state.join("ports.json");
        let address = child.wait_until(|| {
            let ports: Ports = serde_json::from_str(&fs::read_to_string(&ports).ok()?).ok()?;
            ports.listen.or_else(|| ports.listeners?.first().copied())
        });
        let address = address.with_context(|| format!("{name} does not start"))?;
        child.wait_for(address)?;
        Ok(Server { child, address })
    }
}
