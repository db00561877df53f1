//! A Pingora proxy that forwards and does nothing else.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use pingora::modules::http::HttpModules;
use pingora::protocols::ALPN;
use pingora::server::Server;
use pingora::server::configuration::{Opt, ServerConf};
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

use crate::{Ends, Protocol};

/// Streams a shared HTTP/2 connection may carry: the same bound the gateways announce.
const STREAMS_PER_CONNECTION: usize = 100;

/// Idle connections the HTTP/1.1 pool keeps: more than any round of the bench has at once.
const POOL_SIZE: usize = 4096;

/// How the proxy is run.
#[derive(Debug, clap::Args)]
pub(crate) struct Config {
    #[command(flatten)]
    ends: Ends,
    /// Protocol towards the upstream.
    #[arg(long, value_enum, default_value = "http1")]
    hand_off: Protocol,
    /// Shared connections of an h2c hand-off.
    #[arg(long, default_value_t = 4)]
    connections: u64,
    /// Let threads take tasks from each other (dearer; to measure what it costs).
    #[arg(long)]
    work_stealing: bool,
}

struct Bare {
    peer: HttpPeer,
    connections: u64,
    next: AtomicU64,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    /// Not even the compression module that Pingora adds by default.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut Self::CTX) -> pingora::Result<Box<HttpPeer>> {
        let mut peer = self.peer.clone();
        if self.connections > 0 {
            peer.group_key = self.next.fetch_add(1, Ordering::Relaxed) % self.connections;
        }
        Ok(Box::new(peer))
    }
}

/// Runs the proxy until it is killed.
pub(crate) fn run(config: &Config) -> anyhow::Result<()> {
    let conf = ServerConf {
        threads: 1,
        work_stealing: config.work_stealing,
        upstream_keepalive_pool_size: POOL_SIZE,
        max_retries: 1,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(Opt::default(), conf);
    server.bootstrap();
    let mut peer = HttpPeer::new(config.ends.upstream, false, String::new());
    let connections = match config.hand_off {
        Protocol::Http1 => 0,
        Protocol::H2c => {
            peer.options.alpn = ALPN::H2;
            peer.options.max_h2_streams = STREAMS_PER_CONNECTION;
            config.connections.max(1)
        }
    };
    let bare = Bare { peer, connections, next: AtomicU64::new(0) };
    let mut service = http_proxy_service(&server.configuration, bare);
    service.add_tcp(&config.ends.listen.to_string());
    server.add_service(service);
    server.run_forever()
}
