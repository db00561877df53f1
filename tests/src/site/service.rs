//! A sample service as a process.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, ensure};
use http::Method;
use serde::Deserialize;

use crate::binaries;
use crate::client::Target;
use crate::process::Process;
use crate::until::{SOON, until};

/// A running sample service.
#[derive(Debug)]
pub struct Service {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its name, as in `x-served-by`.
    pub name: String,
}

/// What a service says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Stats {
    /// Connections accepted since its start, this question's included.
    #[serde(rename = "connections_opened")]
    pub opened: u64,
    /// Connections open now, this question's included.
    #[serde(rename = "connections_live")]
    pub live: u64,
    /// Requests begun since its start.
    pub requests: u64,
    /// Uploads that came whole since its start.
    pub uploads: u64,
}

impl Service {
    /// Starts a service called `name` on a free port, with its log and ledger in `directory`.
    ///
    /// # Errors
    /// It did not start.
    pub async fn start(name: &str, directory: &Path) -> anyhow::Result<Self> {
        Self::start_at(name, SocketAddr::from(([127, 0, 0, 1], 0)), directory).await
    }

    /// Starts a service called `name` at `address`.
    ///
    /// # Errors
    /// It did not start.
    pub async fn start_at(name: &str, address: SocketAddr, directory: &Path) -> anyhow::Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let ledger = directory.join(format!("{name}.ledger"));
        let arguments = [
            "--listen".into(),
            address.to_string().into(),
            "--name".into(),
            name.into(),
            "--ledger".into(),
            ledger.into_os_string(),
        ];
        drop(std::fs::remove_file(&log));
        let mut process = Process::start(name, &binaries::find("sample-service")?, &arguments, &log)?;
        let address = until(format!("the address of {name}"), SOON, async || {
            if let Err(error) = process.must_run() {
                return Some(Err(error));
            }
            let log = process.log();
            log.lines().find_map(|line| line.strip_prefix("listening on ")?.parse().ok()).map(Ok)
        })
        .await??;
        Ok(Self { process, address, name: name.to_owned() })
    }

    /// Plain HTTP/1.1 straight to the service.
    #[must_use]
    pub fn target(&self) -> Target {
        Target::plain(self.address)
    }

    /// What it executed, by request id.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn executions(&self) -> anyhow::Result<HashMap<String, u32>> {
        let answer = self.target().get("/_ledger").await?;
        let mut executions = HashMap::new();
        for line in answer.text().lines() {
            let line: LedgerLine =
                serde_json::from_str(line).with_context(|| format!("{} executed more ids than it keeps", self.name))?;
            executions.insert(line.id, line.count);
        }
        Ok(executions)
    }

    /// Treats every request so from now on: `ms=N` answers later, `status=N` answers with that status, empty is normal.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn behave(&self, how: &str) -> anyhow::Result<()> {
        let answer = self.target().fetch(Method::PUT, &format!("/_behaviour?{how}")).await?;
        ensure!(answer.status == 200, "{} does not behave: {}", self.name, answer.text());
        Ok(())
    }

    /// What it counts.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn stats(&self) -> anyhow::Result<Stats> {
        let answer = self.target().get("/_stats").await?;
        serde_json::from_slice(&answer.body).with_context(|| format!("no counters: {}", answer.text()))
    }
}

#[derive(Deserialize)]
struct LedgerLine {
    id: String,
    count: u32,
}
