//! Applications: looked up on the nodes of a fleet over a real Redis, in files, and changed by the real commands.

mod commands;
mod fleet;
mod local;
mod measured;

use std::path::{Path, PathBuf};
use std::time::Duration;

use business_gateway::store::apps::record::Record;
use business_gateway::store::apps::{Lookup, Status};
use gatehouse_shared::clock;

use crate::support::redis::RedisServer;
use crate::support::service::Service;
use crate::support::{SOON, Site, catalog};

/// `[apps]` with keys that are in `dir`.
fn keys(dir: &Path, more: &str) -> String {
    std::fs::write(dir.join("seal.key"), "s".repeat(48)).unwrap();
    std::fs::write(dir.join("check.key"), "c".repeat(48)).unwrap();
    let path = |name: &str| dir.join(name).display().to_string();
    format!(
        "[apps]\nsealing_keys = [{{ id = \"a\", secret = {{ file = \"{}\" }} }}]\ncheck_key = {{ file = \"{}\" }}\n{more}\n",
        path("seal.key"),
        path("check.key")
    )
}

/// Nodes that share a Redis.
struct Nodes {
    _dir: tempfile::TempDir,
    redis: RedisServer,
    service: Service,
    sites: Vec<Site>,
}

impl Nodes {
    async fn start(count: usize, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let redis = RedisServer::start(&dir.path().join("redis")).await;
        let service = Service::start().await;
        let settings =
            redis.toml() + "connect_timeout = \"10s\"\ncommand_timeout = \"10s\"\n" + &*keys(dir.path(), more);
        let mut sites = Vec::new();
        for _ in 0..count {
            sites.push(Site::with(&catalog(&[service.address], ""), &settings).await);
        }
        let nodes = Self { _dir: dir, redis, service, sites };
        for site in &nodes.sites {
            wait("the filter", async || (metric(site, "gatehouse_business_app_filters_total") > 0).then_some(())).await;
        }
        nodes
    }
}

async fn wait<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "no {what} in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A figure of the metrics; 0 when it is not there.
fn metric(site: &Site, name: &str) -> u64 {
    let text = site.gateway.metrics.render();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or(0)
}

fn reads(site: &Site) -> u64 {
    ["answered", "failed"]
        .map(|result| metric(site, &format!("gatehouse_business_app_reads_total{{kind=\"app\",result=\"{result}\"}}")))
        .iter()
        .sum()
}

fn named(name: &str) -> Record {
    Record { name: name.to_owned(), ..Record::new() }
}

/// The name of an application, or why there is none.
async fn look(site: &Site, key: &str) -> String {
    match site.gateway.apps.find(key, clock::now()).await {
        Lookup::Found(app) if app.status == Status::Enabled => app.name.to_string(),
        Lookup::Found(_) => "DISABLED".to_owned(),
        Lookup::Unknown => "UNKNOWN".to_owned(),
        Lookup::Unavailable => "UNAVAILABLE".to_owned(),
    }
}

fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_business-gateway"))
}
