//! Processes this run starts: pinned to a core, logged to a file, ended by their own id when they go out of scope.
//!
//! All of them are single processes (nginx without its master), so that one line of `/proc` tells what a server cost.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use gatehouse_shared::clock;
use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take until it accepts connections: under callgrind, one that reads a list of a million takes long.
const START_DEADLINE: Duration = Duration::from_secs(120);

/// How long a server may take to end by itself when it is asked to.
const END_DEADLINE: Duration = Duration::from_millis(500);

/// Pause between two looks at a condition.
const POLL: Duration = Duration::from_millis(10);

/// Clock ticks a second in `/proc/PID/stat`: 100 on every Linux that user space sees.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running child process.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    log: PathBuf,
}

impl Child {
    /// Starts a program on one core, its output going to `<name>.log` in `directory`. The kernel ends it with this process,
    /// even when that is killed and nothing can be dropped.
    ///
    /// # Errors
    ///
    /// The program cannot be started.
    pub(crate) fn start(
        name: &str,
        core: usize,
        directory: &Path,
        program: &Path,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let process = Command::new("taskset")
            .args(["-c", &core.to_string(), "setpriv", "--pdeathsig", "KILL"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { process, log })
    }

    /// Waits until `ready` gives a value.
    ///
    /// # Errors
    ///
    /// The process ended or the deadline passed: with what it printed last.
    pub(crate) fn wait_until<T>(&mut self, mut ready: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
        let deadline = clock::now() + START_DEADLINE;
        loop {
            if let Some(value) = ready() {
                return Ok(value);
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("ended with {status}:\n{}", self.last_words());
            }
            if clock::now() >= deadline {
                bail!("not ready after {START_DEADLINE:?}:\n{}", self.last_words());
            }
            std::thread::park_timeout(POLL);
        }
    }

    /// Waits until the address accepts connections.
    ///
    /// # Errors
    ///
    /// As [`Child::wait_until`].
    pub(crate) fn wait_for(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        self.wait_until(|| TcpStream::connect(address).ok().map(drop))
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// File that holds what the process printed.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    fn last_words(&self) -> String {
        let output = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = output.lines().collect();
        lines.get(lines.len().saturating_sub(10)..).unwrap_or_default().join("\n")
    }

    /// User and system time of the process so far, in seconds.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read: the process is gone.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let id = self.process.id();
        let text = fs::read_to_string(format!("/proc/{id}/stat")).context("a process ended during the measurement")?;
        cpu_ticks(&text)
            .map(|ticks| ticks / TICKS_PER_SECOND)
            .with_context(|| format!("unknown form of /proc/{id}/stat"))
    }

    /// Private memory of the process, in bytes.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read: the process is gone.
    pub(crate) fn private_bytes(&self) -> anyhow::Result<f64> {
        let id = self.process.id();
        let rollup =
            fs::read_to_string(format!("/proc/{id}/smaps_rollup")).context("a process ended during the measurement")?;
        let kibibytes = rollup
            .lines()
            .filter(|line| line.starts_with("Private_"))
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        Ok(kibibytes.sum::<f64>() * 1024.0)
    }
}

impl Drop for Child {
    /// A polite end first, then the end.
    fn drop(&mut self) {
        if let Some(id) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            // Gone already is as good.
            let _gone = kill_process(id, Signal::TERM).is_err();
        }
        let deadline = clock::now() + END_DEADLINE;
        while clock::now() < deadline && matches!(self.process.try_wait(), Ok(None)) {
            std::thread::park_timeout(POLL);
        }
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A loopback address nobody listens on at this moment; for programs that cannot tell which port they were given.
///
/// # Errors
///
/// No port is left.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// User and system time in clock ticks: fields 14 and 15, counted after the name, which is in parentheses and may hold anything.
fn cpu_ticks(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::cpu_ticks;

    #[test]
    fn counts_user_and_system_time_whatever_the_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 7 8 20 0 1 0 100";
        assert_eq!(cpu_ticks(stat), Some(300.0));
    }
}
