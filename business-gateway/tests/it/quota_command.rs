//! The process itself: calls, `quota show`, and what it gives back when it stops.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use gatehouse_shared::process::Ports;
use gatehouse_store::Key;

use crate::support::client::{Edge, HOP_SECRET, Protocol};
use crate::support::redis::RedisServer;
use crate::support::service::Service;
use crate::support::{catalog, until};

/// A running gateway. Dropping it kills it.
struct Gateway {
    child: Child,
    config: PathBuf,
    address: SocketAddr,
}

impl Gateway {
    async fn start(dir: &Path, catalog: &str, settings: &str) -> Self {
        let (config, state) = (dir.join("config"), dir.join("state"));
        std::fs::create_dir_all(&config).unwrap();
        std::fs::write(config.join("hop.key"), HOP_SECRET).unwrap();
        std::fs::write(config.join("catalog.toml"), catalog).unwrap();
        let text = format!(
            "[process]\nnode = \"one\"\nstate_dir = \"{}\"\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[hop]\nkeys = [{{ id = \"a\", \
             secret = {{ file = \"hop.key\" }} }}]\n{settings}",
            state.display()
        );
        std::fs::write(config.join("business.toml"), text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_business-gateway"));
        command.args(["run", "--config"]).arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let ports = until("ports", || Ports::read(&state).ok()).await;
        Self { child, config, address: ports.listeners[0] }
    }

    fn show(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_business-gateway"));
        command.args(["quota", "show", "--config"]).arg(&self.config).args(arguments).output().unwrap()
    }

    fn stop(&mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().ok();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_says_what_was_used_and_a_process_that_stops_gives_the_rest_back() {
    let dir = tempfile::tempdir().unwrap();
    let redis = RedisServer::start(&dir.path().join("redis")).await;
    let service = Service::start().await;
    let limits = "limits = [\"api-day\", \"api-second\"]\n[[limit]]\nname = \"api-day\"\nby = [\"api\"]\nrate = \"1000/1d\"\n[[limit]]\nname = \"api-second\"\nby = [\"api\"]\nrate = \"1000/1s\"\n";
    let catalog = format!("{}{limits}", catalog(&[service.address], ""));
    let mut gateway = Gateway::start(dir.path(), &catalog, &redis.toml()).await;
    let mut edge = Edge::connect(gateway.address, Protocol::Http1).await;
    for _ in 0..7 {
        assert_eq!(edge.get("/echo").await.status, 200);
    }
    let shown = gateway.show(&["--api", "all", "--limit", "api-day"]);
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(text.starts_with("api-day\tapi=all\tused 7 of 1000 as of "), "{text}");
    let shown = gateway.show(&["--api", "all", "--json"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["quotas"][0]["used"], 7);
    assert_eq!(shown["quotas"][1]["limit"], "api-second");
    let window = shown["quotas"][0]["window"]["number"].as_u64().unwrap();
    let refused = gateway.show(&["--limit", "api-dax"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no limit \"api-dax\""), "{refused:?}");
    let missing = gateway.show(&["--limit", "api-day"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("counts by api: say which"), "{missing:?}");
    drop(edge);
    gateway.stop();
    let key = Key::quota("api-day", "api=all", window).unwrap();
    let total: u64 = redis.client().one(gatehouse_store::Command::on("HGET", &key).arg("total")).await.unwrap();
    assert_eq!(total, 7, "nothing is left with a process that has ended");
}
