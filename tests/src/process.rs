//! A child process: its log, its signals, its memory, and its end.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::until::until;

/// Log lines shown of every process when a test fails.
const TAIL_LINES: usize = 25;

/// A process this test started. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program`; both its output streams are appended to the file `log`.
    ///
    /// # Errors
    /// The log cannot be opened or the program cannot be started.
    pub fn start<A: AsRef<OsStr>>(name: &str, program: &Path, arguments: &[A], log: &Path) -> anyhow::Result<Self> {
        Self::start_with(name, program, arguments, &[], log)
    }

    /// The same with further environment variables.
    ///
    /// # Errors
    /// The log cannot be opened or the program cannot be started.
    pub fn start_with<A: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        arguments: &[A],
        environment: &[(String, String)],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends `signal`.
    ///
    /// # Errors
    /// The process is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        send(self.id(), signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Kills the process, as `kill -9` does, and waits for its end.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        // An error means that it has ended already.
        drop(self.child.kill());
        self.child.wait()?;
        Ok(())
    }

    /// The status the process ended with, when it has.
    #[must_use]
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    /// It still runs after `within`.
    pub async fn wait_for_exit(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        until(format!("the end of {}", self.name), within, async || self.exit_status()).await
    }

    /// An error when the process has ended.
    ///
    /// # Errors
    /// The process has ended; the message holds the end of its log.
    pub fn must_run(&mut self) -> anyhow::Result<()> {
        match self.exit_status() {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}:\n{}", self.name, tail(&self.log)),
        }
    }

    /// Everything the process has written.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let state = self.exit_status().map_or_else(|| "running".to_owned(), |status| status.to_string());
            eprintln!("---- {} ({state}), end of {}\n{}", self.name, self.log.display(), tail(&self.log));
        }
        drop(self.kill());
    }
}

/// Sends `signal` to the process `id`, which must be one this test caused to start.
///
/// # Errors
/// There is no such process.
pub fn send(id: u32, signal: Signal) -> anyhow::Result<()> {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw).context("not a process id")?;
    Ok(kill_process(id, signal)?)
}

/// Private memory of a process (what it alone holds), in bytes.
///
/// # Errors
/// The process is gone.
pub fn private_bytes(id: u32) -> anyhow::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
    Ok(rollup.lines().filter(|line| line.starts_with("Private_")).filter_map(kibibytes).sum::<u64>() * 1024)
}

/// The most memory a process ever had resident, in bytes.
///
/// # Errors
/// The process is gone.
pub fn peak_resident_bytes(id: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM:")).and_then(kibibytes);
    Ok(peak.context("no VmHWM")? * 1024)
}

/// Connections established to the local TCP port `port` of this machine, seen from the side that accepted them.
///
/// # Errors
/// The kernel's table cannot be read.
pub fn connections_to_port(port: u16) -> anyhow::Result<usize> {
    let table = fs::read_to_string("/proc/net/tcp")?;
    let local = format!(":{port:04X}");
    // Columns: number, local address, remote address, state (01 is established).
    let is_ours = |line: &&str| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        columns.next().is_some_and(|address| address.ends_with(&local)) && columns.nth(1) == Some("01")
    };
    Ok(table.lines().filter(is_ours).count())
}

fn kibibytes(line: &str) -> Option<u64> {
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default().join("\n")
}
