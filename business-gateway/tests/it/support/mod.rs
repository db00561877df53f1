//! A gateway in process, a service behind it, and an edge that signs.

pub(crate) mod client;
pub(crate) mod dns;
pub(crate) mod process;
pub(crate) mod redis;
pub(crate) mod service;
pub(crate) mod switch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use business_gateway::admit::quota::refill;
use business_gateway::dispatch::upkeep;
use business_gateway::gateway::Gateway;
use business_gateway::metrics::Metrics;
use business_gateway::policy::Policy;
use business_gateway::server::Server;
use gatehouse_shared::live::Live;
use gatehouse_shared::telemetry::access_log::LineWriter;
use serde_json::Value;
use tokio::net::TcpListener;

/// What is long enough for anything to happen.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A gateway with its configuration in a directory of its own.
pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) server: Arc<Server>,
    pub(crate) address: SocketAddr,
    log: LineWriter,
}

/// One service `sample` at `endpoints` and an API that takes every path; `more` goes to the `[[service]]`.
pub(crate) fn catalog(endpoints: &[SocketAddr], more: &str) -> String {
    let endpoints: Vec<String> = endpoints.iter().map(|address| format!("\"{address}\"")).collect();
    format!(
        "[[service]]\nname = \"sample\"\nendpoints = [{}]\n{more}\n[[api]]\nname = \"all\"\naccess = \"open\"\nservice = \"sample\"\npath = \"/{{*rest}}\"\n",
        endpoints.join(", ")
    )
}

impl Site {
    pub(crate) async fn start(catalog: &str) -> Self {
        Self::with(catalog, "").await
    }

    /// `settings` are appended to business.toml.
    pub(crate) async fn with(catalog: &str, settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        std::fs::create_dir(&config).unwrap();
        std::fs::write(config.join("hop.key"), client::HOP_SECRET).unwrap();
        std::fs::write(config.join("catalog.toml"), catalog).unwrap();
        let sink = dir.path().join("access.log").display().to_string();
        // The state directory stands first in the table, so that tests may add to it.
        let process = format!("[process]\nstate_dir = \"{}\"", dir.path().join("state").display());
        let (process, settings) = match settings.strip_prefix("[process]") {
            Some(more) => (process + more, ""),
            None => (process, settings),
        };
        let text = format!(
            "{process}\n[hop]\nkeys = [{{ id = \"a\", secret = {{ file = \"hop.key\" }} }}]\n[access_log]\nsink = \"{sink}\"\n{settings}\n"
        );
        std::fs::write(config.join("business.toml"), text).unwrap();
        let live = Live::<Policy>::start(&config).unwrap_or_else(|errors| panic!("{errors}"));
        let log = LineWriter::start(&live.current().value.access_log).unwrap();
        let metrics = Metrics::new().unwrap();
        let gateway = Gateway::new("test".to_owned(), Arc::clone(&live), metrics, log.clone()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let most = live.current().value.process.max_connections;
        let server = Arc::new(Server::new(Arc::clone(&gateway), most));
        tokio::spawn({
            let server = Arc::clone(&server);
            async move { server.run(listener).await }
        });
        tokio::spawn(upkeep::run(Arc::clone(&gateway)));
        tokio::spawn(Arc::clone(&gateway.revisions).run());
        tokio::spawn(refill::run(Arc::clone(&gateway)));
        tokio::spawn(Arc::clone(&gateway.apps).run());
        Self { dir, gateway, server, address, log }
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.config().join(name), text).unwrap();
    }

    /// The access log so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        read_lines(&self.dir.path().join("access.log"))
    }

    /// Waits for a line.
    pub(crate) async fn line(&self, matches: impl Fn(&Value) -> bool) -> Value {
        until("a line of the access log", || self.lines().into_iter().find(|line| matches(line))).await
    }

    /// What a service counted.
    pub(crate) fn service(&self, name: &str) -> Arc<business_gateway::dispatch::service::Service> {
        Arc::clone(&self.gateway.live.current().value.catalog.services[name])
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.log.close();
    }
}

fn read_lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// When a call began by the gate's own clock, in milliseconds.
pub(crate) fn began_ms(line: &Value) -> f64 {
    let time: jiff::Timestamp = line["time"].as_str().unwrap().parse().unwrap();
    time.as_millisecond() as f64
}

/// How long it took by the same, in milliseconds.
pub(crate) fn took_ms(line: &Value) -> f64 {
    line["duration_ms"].as_f64().unwrap()
}

/// Polls `look` until it finds something.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "no {what} in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
