//! One gateway process: its directory, its configuration, its life.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::admin::Admin;
use crate::binaries;
use crate::process::{self, Process, Signal};
use crate::settings::Settings;
use crate::until::{SOON, until};

/// Which of the two gates a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// `traffic-gateway`.
    Edge,
    /// `business-gateway`.
    Business,
}

impl Tier {
    /// The name of its binary.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Edge => "traffic-gateway",
            Self::Business => "business-gateway",
        }
    }

    /// The name of its main configuration file.
    #[must_use]
    pub fn main_file(self) -> &'static str {
        match self {
            Self::Edge => "edge.toml",
            Self::Business => "business.toml",
        }
    }
}

/// A gateway process with its files: `config/`, `state/`, `process.log`, `access.log` and, of an edge, `security.log` in one
/// directory.
#[derive(Debug)]
pub struct Node {
    /// Its name, as configured.
    pub name: String,
    /// Its process.
    pub process: Process,
    /// Its configuration as written last.
    pub settings: Settings,
    tier: Tier,
    directory: PathBuf,
    ports: Ports,
}

/// What a node wrote into `ports.json` once it was ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// The process that serves.
    pub pid: u32,
    /// Where it takes requests.
    pub listeners: Vec<SocketAddr>,
    /// Its admin listener.
    pub admin: SocketAddr,
}

/// The directory of a node that has not been started yet.
#[derive(Debug)]
pub struct Prepared {
    tier: Tier,
    name: String,
    directory: PathBuf,
}

impl Prepared {
    /// Makes the directories of a node called `name` below `site`.
    ///
    /// # Errors
    /// A directory cannot be made.
    pub fn new(tier: Tier, name: &str, site: &Path) -> anyhow::Result<Self> {
        let directory = site.join(name);
        fs::create_dir_all(directory.join("config"))?;
        fs::create_dir_all(directory.join("state"))?;
        Ok(Self { tier, name: name.to_owned(), directory })
    }

    /// The directory of its configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.directory.join("config")
    }

    /// The node's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes `settings` and starts the node; returns when it is ready.
    ///
    /// # Errors
    /// It did not become ready.
    pub async fn start(self, settings: Settings) -> anyhow::Result<Node> {
        settings.write(&self.config().join(self.tier.main_file()))?;
        let mut process =
            launch(self.tier, &self.name, &self.directory, &["run"], &self.directory.join("process.log"))?;
        let ports = wait_until_ready(&mut process, &self.directory, &self.name).await?;
        Ok(Node { name: self.name, process, settings, tier: self.tier, directory: self.directory, ports })
    }
}

impl Node {
    /// The address of listener number `index`.
    #[must_use]
    pub fn listener(&self, index: usize) -> Option<SocketAddr> {
        self.ports.listeners.get(index).copied()
    }

    /// Where a business node takes requests, or the first listener of an edge.
    ///
    /// # Errors
    /// The node has no listener.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        self.listener(0).context("the node has no listener")
    }

    /// What the node wrote into `ports.json`.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The process that serves now: another one after a binary upgrade.
    #[must_use]
    pub fn serving_pid(&self) -> u32 {
        read_ports(&self.directory).map_or(self.ports.pid, |ports| ports.pid)
    }

    /// The directory of its configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.directory.join("config")
    }

    /// The directory of its state.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// Its admin listener, asked with the token of `role`.
    ///
    /// # Errors
    /// There is no such token.
    pub fn admin_as(&self, role: &str) -> anyhow::Result<Admin> {
        let path = self.state().join(format!("admin-token-{role}"));
        let token = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Admin::new(self.ports.admin, token.trim().to_owned()))
    }

    /// Its admin listener, asked with the token that may only read.
    ///
    /// # Errors
    /// There is no such token.
    pub fn admin(&self) -> anyhow::Result<Admin> {
        self.admin_as("read")
    }

    /// Lays `fragment` over the configuration and waits until the node runs it.
    ///
    /// # Errors
    /// The node did not take it.
    pub async fn reconfigure(&mut self, fragment: &str) -> anyhow::Result<u64> {
        self.settings.overlay(fragment)?;
        let text = self.settings.to_string();
        self.rewrite(self.tier.main_file(), &text).await
    }

    /// Replaces the configuration file `name` and waits until the node runs it.
    ///
    /// # Errors
    /// The node did not take it.
    pub async fn rewrite(&self, name: &str, text: &str) -> anyhow::Result<u64> {
        let before = self.admin()?.generation().await?;
        self.write(name, text)?;
        self.wait_for_generation(before + 1).await
    }

    /// Replaces the configuration file `name` as an editor does, by renaming, and does not wait.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let aside = self.directory.join(format!(".{name}.new"));
        fs::write(&aside, text)?;
        Ok(fs::rename(&aside, self.config().join(name))?)
    }

    /// Waits until the running generation is at least `wanted`, and returns it.
    ///
    /// # Errors
    /// It did not come.
    pub async fn wait_for_generation(&self, wanted: u64) -> anyhow::Result<u64> {
        let admin = self.admin()?;
        until(format!("generation {wanted} of {}", self.name), SOON, async || {
            admin.generation().await.ok().filter(|generation| *generation >= wanted)
        })
        .await
    }

    /// Tells the node to look at its configuration now.
    ///
    /// # Errors
    /// The node is gone.
    pub fn poke(&self) -> anyhow::Result<()> {
        process::send(self.serving_pid(), Signal::HUP)
    }

    /// Ends the node as `kill -9` does.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Starts the node again, once it has ended, on the ports it had.
    ///
    /// # Errors
    /// It did not become ready.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        if self.tier == Tier::Business {
            let listen = self.address()?;
            self.settings.overlay(&format!("[process]\nlisten = \"{listen}\"\nadmin = \"{}\"\n", self.ports.admin))?;
            self.settings.write(&self.config().join(self.tier.main_file()))?;
        }
        drop(fs::remove_file(self.directory.join("state/ports.json")));
        self.process = launch(self.tier, &self.name, &self.directory, &["run"], &self.directory.join("process.log"))?;
        self.ports = wait_until_ready(&mut self.process, &self.directory, &self.name).await?;
        Ok(())
    }

    /// Runs a subcommand of the node's binary on its configuration.
    ///
    /// # Errors
    /// The binary cannot be started.
    pub fn command(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(binaries::find(self.tier.program())?);
        Ok(command.args(arguments).arg("--config").arg(self.config()).output()?)
    }

    /// Replaces an edge by a new process, as an operator does, and returns when the command has ended.
    ///
    /// # Errors
    /// The command failed.
    pub async fn upgrade(&self) -> anyhow::Result<()> {
        // The new process keeps the command's output open, so that a pipe would never end.
        let log = self.directory.join("upgrade.log");
        let mut command = launch(self.tier, &self.name, &self.directory, &["upgrade"], &log)?;
        let status = command.wait_for_exit(2 * SOON).await?;
        ensure!(status.success(), "upgrade ended with {status}: {}", command.log());
        Ok(())
    }

    /// The access log so far, one JSON object a line.
    ///
    /// # Errors
    /// A line is not JSON.
    pub fn access_log(&self) -> anyhow::Result<Vec<Value>> {
        self.lines_of("access.log")
    }

    /// The security log of an edge so far, one JSON object a line.
    ///
    /// # Errors
    /// A line is not JSON.
    pub fn security_log(&self) -> anyhow::Result<Vec<Value>> {
        self.lines_of("security.log")
    }

    fn lines_of(&self, file: &str) -> anyhow::Result<Vec<Value>> {
        let text = fs::read_to_string(self.directory.join(file)).unwrap_or_default();
        // The last line may still be on its way.
        let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
        whole.lines().map(|line| serde_json::from_str(line).with_context(|| format!("line {line} of {file}"))).collect()
    }

    /// Waits for the first line of the access log that `matches`.
    ///
    /// # Errors
    /// It did not come.
    pub async fn access_line(&self, what: &str, matches: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        until(format!("an access log line of {} with {what}", self.name), SOON, async || {
            self.access_log().ok()?.into_iter().find(|line| matches(line))
        })
        .await
    }

    /// Waits for the first line of the security log that `matches`.
    ///
    /// # Errors
    /// It did not come.
    pub async fn security_line(&self, what: &str, matches: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        until(format!("a security log line of {} with {what}", self.name), SOON, async || {
            self.security_log().ok()?.into_iter().find(|line| matches(line))
        })
        .await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // After a binary upgrade a process serves that is not our child: end it when it runs on our configuration.
        let pid = self.serving_pid();
        if pid != self.process.id() && runs_on(pid, &self.config()) {
            drop(process::send(pid, Signal::KILL));
        }
    }
}

fn runs_on(pid: u32, config: &Path) -> bool {
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command_line).contains(&*config.to_string_lossy())
}

fn launch(tier: Tier, name: &str, directory: &Path, arguments: &[&str], log: &Path) -> anyhow::Result<Process> {
    let config = directory.join("config");
    let mut all: Vec<&std::ffi::OsStr> = arguments.iter().map(AsRef::as_ref).collect();
    all.extend(["--config".as_ref(), config.as_os_str()]);
    Process::start(name, &binaries::find(tier.program())?, &all, log)
}

async fn wait_until_ready(process: &mut Process, directory: &Path, name: &str) -> anyhow::Result<Ports> {
    let ports = until(format!("the ports of {name}"), SOON, async || {
        if let Err(error) = process.must_run() {
            return Some(Err(error));
        }
        read_ports(directory).ok().filter(|ports| ports.pid == process.id()).map(Ok)
    })
    .await??;
    let admin = Admin::new(ports.admin, String::new());
    until(format!("{name} to be ready"), SOON, async || admin.is_ready().await.then_some(())).await?;
    Ok(ports)
}

/// `ports.json` as a gateway writes it: an edge has several listeners, a business node one.
#[derive(Deserialize)]
struct PortsFile {
    pid: u32,
    #[serde(default)]
    listeners: Vec<SocketAddr>,
    listen: Option<SocketAddr>,
    admin: SocketAddr,
}

fn read_ports(directory: &Path) -> anyhow::Result<Ports> {
    let text = fs::read_to_string(directory.join("state/ports.json"))?;
    let file: PortsFile = serde_json::from_str(&text).with_context(|| format!("in {text}"))?;
    let listeners = file.listeners.into_iter().chain(file.listen).collect();
    Ok(Ports { pid: file.pid, listeners, admin: file.admin })
}
