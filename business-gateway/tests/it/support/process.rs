//! The real binary: a node as a process of its own, and commands that call it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gatehouse_shared::admin::Role;
use gatehouse_shared::admin::client::{Call, Node};
use gatehouse_shared::process::Ports;
use serde_json::Value;

use super::client::HOP_SECRET;
use super::{read_lines, until};

const BINARY: &str = env!("CARGO_BIN_EXE_business-gateway");

/// A node as a process. Dropping it kills it.
pub(crate) struct Process {
    dir: PathBuf,
    child: Child,
    pub(crate) address: SocketAddr,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl Process {
    /// Starts a node whose files are in `dir`; `settings` are appended to business.toml.
    pub(crate) async fn start(dir: &Path, node: &str, catalog: &str, settings: &str) -> Self {
        let config = dir.join("config");
        std::fs::create_dir_all(&config).unwrap();
        std::fs::write(config.join("hop.key"), HOP_SECRET).unwrap();
        std::fs::write(config.join("catalog.toml"), catalog).unwrap();
        let text = format!(
            "[process]\nnode = {node:?}\nstate_dir = {:?}\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nthreads = 1\n\
             [hop]\nkeys = [{{ id = \"a\", secret = {{ file = \"hop.key\" }} }}]\n[access_log]\nsink = {:?}\n{settings}\n",
            dir.join("state").display().to_string(),
            dir.join("access.log").display().to_string(),
        );
        std::fs::write(config.join("business.toml"), text).unwrap();
        let (child, address) = Self::spawn(dir).await;
        Self { dir: dir.to_owned(), child, address }
    }

    async fn spawn(dir: &Path) -> (Child, SocketAddr) {
        let state = dir.join("state");
        drop(std::fs::remove_file(Ports::path(&state)));
        let log = std::fs::File::options().create(true).append(true).open(dir.join("process.log")).unwrap();
        let mut command = Command::new(BINARY);
        command.args(["run", "--config"]).arg(dir.join("config"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let ports = until("ports of a node", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the node ended: {status}\n{}", std::fs::read_to_string(dir.join("process.log")).unwrap());
            }
            Ports::read(&state).ok()
        });
        let address = ports.await.listeners[0];
        (child, address)
    }

    /// Kills it without a warning and starts it again.
    pub(crate) async fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (self.child, self.address) = Self::spawn(&self.dir).await;
    }

    /// Runs a command of the binary with this node's configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Outcome {
        let output =
            Command::new(BINARY).args(arguments).arg("--config").arg(self.dir.join("config")).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Outcome { code: output.status.code(), out: text(&output.stdout), error: text(&output.stderr) }
    }

    /// The access log so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        read_lines(&self.dir.join("access.log"))
    }

    /// Waits for a line.
    pub(crate) async fn line(&self, matches: impl Fn(&Value) -> bool) -> Value {
        until("a line of the access log", || self.lines().into_iter().find(|line| matches(line))).await
    }

    /// Where its admin listener is.
    pub(crate) fn admin(&self) -> SocketAddr {
        Ports::read(&self.dir.join("state")).unwrap().admin
    }

    /// The value of a metric, with its labels.
    pub(crate) fn metric(&self, name: &str) -> Option<u64> {
        let node = Node::find(&self.dir.join("state"), None, Role::Read).unwrap();
        let answer = node.call(&Call { method: "GET", path: "/metrics".into(), ..Call::default() }).unwrap();
        let line = answer.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.parse().ok()
    }

    /// The most memory that it ever had resident, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// The actions in the audit log so far.
    pub(crate) fn audited(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.join("state/audit.jsonl")).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.map(|line| line["action"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
