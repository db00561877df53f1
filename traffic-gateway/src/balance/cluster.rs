//! A group of business nodes: how they are spoken to, and the Pingora peer for each.
//!
//! Which node is chosen, and when one is left out, is decided by [`gatehouse_shared::balance::Pool`]; how many
//! connections there may be by [`super::connections`]. Both outlive a reload for every node whose address stays.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use gatehouse_shared::{
    balance::{
        Ejection, EndpointConfig, EndpointStatus, Pool, PoolConfig, PoolTotals, Strategy, Tuning, compile_endpoints,
        random_seed,
    },
    clock,
    config::{ByteSize, ConfigErrors, HumanDuration, Positions},
};
use pingora::{
    protocols::{ALPN, TcpKeepalive},
    upstreams::peer::HttpPeer,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Look, Ticket, channel,
    connections::{Bounds, Connections},
    opener::{self, Openers},
    probe,
};

/// One `[[cluster]]`: business nodes that serve the same requests.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name by which routes refer to it.
    pub name: String,
    /// The nodes: addresses of their data ports, such as `"10.0.0.7:8081"`, or tables that also give `weight` (1 to 1000;
    /// default: 1) and `zone`, such as `{ address = "10.0.0.7:8081", weight = 3, zone = "a" }`.
    pub nodes: Vec<EndpointConfig>,
    /// How requests are handed over: `h2c` (few connections, many requests on each) or `http1` (one at a time).
    #[serde(default)]
    pub protocol: Protocol,
    /// Most connections to one node. Default: 4 with `h2c`, 256 with `http1`. At the bound requests wait until one is
    /// free or their deadline has passed. With `h2c`, routes with a `cache` use as many of their own.
    pub connections_per_node: Option<usize>,
    /// Most requests at once on one `h2c` connection; must not exceed what the nodes allow.
    #[serde(default = "default_streams")]
    pub streams_per_connection: usize,
    /// Age at which an `h2c` connection takes no new requests and is replaced, so that load follows new nodes.
    #[serde(default = "default_max_age")]
    pub connection_max_age: HumanDuration,
    /// A connection unused for this long is closed; must be shorter than the nodes keep it.
    #[serde(default = "default_idle_timeout")]
    pub idle_timeout: HumanDuration,
    /// How a node is chosen.
    #[serde(default)]
    pub strategy: Strategy,
    /// The fine points of choosing: slow start, zones, bounds.
    #[serde(default)]
    pub balance: Tuning,
    /// Longest wait for a connection to a node.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: HumanDuration,
    /// Longest wait until a node takes the next piece of a request.
    #[serde(default = "default_write_timeout")]
    pub write_timeout: HumanDuration,
    /// Flow-control window of one `h2c` response: what may be under way before the client has taken it.
    #[serde(default = "default_stream_window")]
    pub stream_window: ByteSize,
    /// Flow-control window of a whole `h2c` connection; much larger, so that one slow client holds up nobody else.
    #[serde(default = "default_connection_window")]
    pub connection_window: ByteSize,
    /// When a node is left out for failing.
    #[serde(default)]
    pub ejection: Ejection,
    /// How nodes are asked whether they are ready.
    #[serde(default)]
    pub probe: probe::Config,
}

/// The protocol of the hand-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/2 in clear text by prior knowledge.
    #[default]
    H2c,
    /// HTTP/1.1.
    Http1,
}

fn default_streams() -> usize {
    200
}

fn default_max_age() -> HumanDuration {
    HumanDuration::from_secs(1800)
}

fn default_idle_timeout() -> HumanDuration {
    HumanDuration::from_secs(45)
}

fn default_connect_timeout() -> HumanDuration {
    HumanDuration::from_secs(1)
}

fn default_write_timeout() -> HumanDuration {
    HumanDuration::from_secs(30)
}

fn default_stream_window() -> ByteSize {
    ByteSize::kib(256)
}

fn default_connection_window() -> ByteSize {
    ByteSize::mib(16)
}

/// A compiled cluster.
#[derive(Debug)]
pub struct Cluster {
    /// Its name.
    pub name: Box<str>,
    /// How requests are handed over.
    pub protocol: Protocol,
    /// Chooses nodes and knows their health.
    pub pool: Pool,
    /// How nodes are probed; `None` when they are not.
    pub probe: Option<probe::Probe>,
    nodes: Vec<Node>,
}

/// A cluster as shown at `/policy`.
#[derive(Debug, Serialize)]
pub struct Description<'a> {
    /// Its name.
    pub name: &'a str,
    /// How requests are handed over.
    pub protocol: Protocol,
    /// How a node is chosen.
    pub strategy: Strategy,
    /// How often the rules of choosing had to bend.
    pub totals: PoolTotals,
    /// Its nodes, in the order of the configuration.
    pub nodes: Vec<NodeDescription>,
}

/// A node as shown at `/policy`.
#[derive(Debug, Serialize)]
pub struct NodeDescription {
    /// Address, weight, zone, health and counts.
    #[serde(flatten)]
    pub health: EndpointStatus,
    /// Most connections to it.
    pub connections_max: usize,
    /// Connections open.
    pub connections: usize,
    /// Connections opened to it since it was first configured.
    pub connections_opened_total: u64,
    /// Requests that had to wait because every connection was full.
    pub waited_total: u64,
}

/// One node of a cluster.
#[derive(Debug)]
pub struct Node {
    /// Its data port.
    pub address: SocketAddr,
    /// The connections to it.
    pub connections: Arc<Connections>,
    /// How our own connections to it are opened.
    pub channel: channel::Settings,
    template: HttpPeer,
    openers: Box<[Openers]>,
}

impl Cluster {
    /// Compiles one cluster for a node in `zone`; health, counters and connections of nodes that stay are taken over from
    /// `before`.
    ///
    /// # Errors
    ///
    /// Every value that cannot work. `path` is the place of the table, such as `cluster[0]`.
    pub fn compile(
        config: &Config,
        zone: Option<&str>,
        before: Option<&Self>,
        positions: &Positions,
        path: &str,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = check(config, positions, path);
        let bounds = bounds(config);
        let endpoints = errors.collect(compile_endpoints(&config.nodes, &format!("{path}.nodes"), positions));
        let endpoints = endpoints.unwrap_or_default();
        errors.collect(config.balance.check(&format!("{path}.balance"), positions));
        errors.collect(config.ejection.check(&format!("{path}.ejection"), positions));
        let probe = errors.collect(probe::Probe::compile(&config.probe, positions, &format!("{path}.probe"))).flatten();
        let pool = PoolConfig {
            strategy: config.strategy,
            tuning: config.balance,
            ejection: config.ejection.clone(),
            probe: probe.as_ref().map(|probe| probe.thresholds),
            zone: zone.map(Into::into),
            seed: random_seed(),
        };
        let pool = Pool::compile(&pool, &endpoints, before.map(|before| &before.pool), clock::now());
        let nodes = endpoints
            .iter()
            .map(|endpoint| endpoint.address)
            .map(|address| {
                let kept = kept_connections(before, address, bounds);
                Node::new(config, address, kept.unwrap_or_else(|| Connections::new(bounds)))
            })
            .collect();
        let protocol = config.protocol;
        errors.into_result(Self { name: config.name.as_str().into(), protocol, pool, probe, nodes })
    }

    /// The node at a position of the pool.
    #[must_use]
    pub fn node(&self, index: usize) -> Option<&Node> {
        self.nodes.get(index)
    }

    /// What operators see of the cluster: its nodes, their health and their connections.
    #[must_use]
    pub fn describe(&self, now: Instant) -> Description<'_> {
        let status = self.pool.status(now);
        let nodes = self.nodes.iter().zip(status).map(|(node, health)| NodeDescription {
            health,
            connections_max: node.connections.bounds().connections,
            connections: node.connections.open(),
            connections_opened_total: node.connections.opened(),
            waited_total: node.connections.waited(),
        });
        Description {
            name: &self.name,
            protocol: self.protocol,
            strategy: self.pool.strategy(),
            totals: self.pool.totals(),
            nodes: nodes.collect(),
        }
    }

    /// Most connections to all nodes together.
    #[must_use]
    pub fn most_connections(&self) -> usize {
        self.nodes.iter().map(|node| node.connections.bounds().connections).sum()
    }

    /// Every node, in the order of the configuration and of the pool.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }
}

impl Node {
    fn new(config: &Config, address: SocketAddr, connections: Arc<Connections>) -> Self {
        let openers = (0..connections.slots())
            .map(|slot| Openers::new(&connections, slot, config.connect_timeout.get()))
            .collect();
        let channel = channel::Settings {
            address,
            connect_timeout: config.connect_timeout.get(),
            idle_timeout: config.idle_timeout.get(),
            write_timeout: config.write_timeout.get(),
            stream_window: window(config.stream_window),
            connection_window: window(config.connection_window),
        };
        Self { address, connections, channel, template: template(config, address), openers }
    }

    /// The peer for one attempt that may wait `wait` for each piece of the response.
    #[must_use]
    pub fn peer(&self, ticket: &Ticket, wait: Duration, look: Look) -> Box<HttpPeer> {
        let mut peer = Box::new(self.template.clone());
        peer.group_key = ticket.key();
        peer.options.custom_l4 = self.openers.get(ticket.slot_index()).map(|openers| {
            let may_share = self.connections.bounds().streams > 1;
            Arc::clone(if may_share && look == Look::First { &openers.careful } else { &openers.plain })
        });
        peer.options.read_timeout = Some(wait.max(Duration::from_millis(1)));
        peer
    }
}

fn check(config: &Config, positions: &Positions, path: &str) -> ConfigErrors {
    let mut errors = ConfigErrors::new();
    let mut expect = |holds: bool, field: &str, message: &str| {
        if !holds {
            errors.push(positions.error(&format!("{path}.{field}"), message, None));
        }
    };
    expect(config.connections_per_node != Some(0), "connections_per_node", "connections_per_node must be at least 1");
    expect(
        (2..=10_000).contains(&config.streams_per_connection),
        "streams_per_connection",
        "streams_per_connection must be 2 to 10000; use protocol \"http1\" for one request a connection",
    );
    expect(!config.connect_timeout.get().is_zero(), "connect_timeout", "connect_timeout must be above zero");
    expect(!config.write_timeout.get().is_zero(), "write_timeout", "write_timeout must be above zero");
    let windows = 1..=(1 << 31) - 1;
    expect(windows.contains(&config.stream_window.get()), "stream_window", "a window must be below 2GiB");
    expect(windows.contains(&config.connection_window.get()), "connection_window", "a window must be below 2GiB");
    expect(
        config.connection_window >= config.stream_window,
        "connection_window",
        "connection_window must not be smaller than stream_window",
    );
    errors
}

fn bounds(config: &Config) -> Bounds {
    let (connections, streams) = match config.protocol {
        Protocol::H2c => (config.connections_per_node.unwrap_or(4), config.streams_per_connection),
        Protocol::Http1 => (config.connections_per_node.unwrap_or(256), 1),
    };
    Bounds { connections, streams, max_age: config.connection_max_age.get() }
}

fn kept_connections(before: Option<&Cluster>, address: SocketAddr, bounds: Bounds) -> Option<Arc<Connections>> {
    let node = before?.nodes.iter().find(|node| node.address == address)?;
    (node.connections.bounds() == bounds).then(|| Arc::clone(&node.connections))
}

/// Bytes of a window; that they are few enough was checked.
fn window(size: ByteSize) -> u32 {
    u32::try_from(size.get()).unwrap_or(u32::MAX >> 1)
}

/// The peer as every attempt needs it. Pingora leaves all timeouts out and allows one stream a connection unless told.
fn template(config: &Config, address: SocketAddr) -> HttpPeer {
    let mut peer = HttpPeer::new(address, false, String::new());
    let options = &mut peer.options;
    options.connection_timeout = Some(config.connect_timeout.get());
    options.total_connection_timeout = Some(config.connect_timeout.get());
    options.write_timeout = Some(config.write_timeout.get());
    options.idle_timeout = Some(config.idle_timeout.get());
    options.tcp_keepalive = Some(TcpKeepalive {
        idle: opener::PROBED_AFTER,
        interval: opener::PROBED_EVERY,
        count: usize::try_from(opener::PROBES).unwrap_or(usize::MAX),
        #[cfg(target_os = "linux")]
        user_timeout: opener::PROBED_FOR,
    });
    match config.protocol {
        Protocol::Http1 => options.alpn = ALPN::H1,
        Protocol::H2c => {
            options.alpn = ALPN::H2;
            // The bound is kept by `connections`; Pingora must never open a connection because of its own count.
            options.max_h2_streams = usize::MAX;
            options.h2_ping_interval = Some(channel::PING_INTERVAL);
            options.h2_stream_window_size = Some(window(config.stream_window));
            options.h2_connection_window_size = Some(window(config.connection_window));
        }
    }
    peer
}
