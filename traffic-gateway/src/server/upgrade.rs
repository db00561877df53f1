//! Replacing the running process by a new one without closing a listening socket.
//!
//! 1. `traffic-gateway upgrade` loads the configuration as `check` does; an invalid one changes nothing.
//! 2. It starts `traffic-gateway run --upgrade`, which does everything that can fail and then waits for the sockets on the
//!    upgrade socket (Pingora's protocol, at most 5 seconds).
//! 3. Once that process waits, the old one gets SIGQUIT. It checks the same thing again, because Pingora would end even if
//!    nobody took the sockets, passes them on, goes on serving for five seconds, then closes its listeners and drains.
//! 4. The new process writes `ports.json` and serves. From there on both accept from the same sockets, so that no
//!    connection is refused at any time; the kernel's queue of connections is never emptied by a close.
//!
//! If the new process fails in step 2, the old one never notices. A port that only the new configuration has is bound in
//! step 2 as well; a port that it no longer has is closed with the old process.

use std::{
    fs, io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use gatehouse_shared::{clock, process::Ports};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Longest wait for each step of the new process.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there was no upgrade.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// Nothing to replace.
    #[error("no running process is known in {state_dir}; start one with `run`")]
    NotRunning {
        /// The state directory.
        state_dir: String,
    },
    /// The new process could not be started.
    #[error("the new process cannot be started")]
    Start(#[source] io::Error),
    /// The new process ended before it took the sockets.
    #[error("the new process ended ({status}) before it took the sockets; its messages say why")]
    Ended {
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// The new process is stuck.
    #[error("the new process did not {step} within {PATIENCE:?}")]
    Late {
        /// What it did not do.
        step: &'static str,
    },
    /// The old process could not be told.
    #[error("the running process {pid} cannot be signalled")]
    Signal {
        /// Its id.
        pid: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Starts a new process on the configuration in `config_dir` and lets it replace the running one. Returns its id.
///
/// # Errors
///
/// See [`UpgradeError`]; unless the new process failed after it had the sockets, the running one keeps serving.
pub fn replace(config_dir: &Path, state_dir: &Path, upgrade_socket: &Path) -> Result<u32, UpgradeError> {
    let old = Ports::read(state_dir)
        .ok()
        .and_then(|ports| Pid::from_raw(ports.pid.try_into().ok()?))
        .filter(|pid| test_kill_process(*pid).is_ok())
        .ok_or_else(|| UpgradeError::NotRunning { state_dir: state_dir.display().to_string() })?;
    let mut new = start(config_dir).map_err(UpgradeError::Start)?;
    if let Err(error) = hand_over(&mut new, old, upgrade_socket) {
        if let Err(error) = new.kill() {
            tracing::debug!(%error, "the new process had ended already");
        }
        return Err(error);
    }
    // From here on the old process drains, so the new one is left alone however long it takes.
    let id = new.id();
    wait_until(&mut new, "take the sockets", || Ports::read(state_dir).is_ok_and(|ports| ports.pid == id))?;
    Ok(id)
}

fn start(config_dir: &Path) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .arg("run")
        .arg("--upgrade")
        .arg("--config")
        .arg(config_dir)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
}

fn hand_over(new: &mut Child, old: Pid, upgrade_socket: &Path) -> Result<(), UpgradeError> {
    wait_until(new, "wait for the sockets", || is_awaited(upgrade_socket))?;
    let pid = old.as_raw_nonzero().get().unsigned_abs();
    kill_process(old, Signal::QUIT).map_err(|error| UpgradeError::Signal { pid, source: error.into() })
}

fn wait_until(new: &mut Child, step: &'static str, is_so: impl Fn() -> bool) -> Result<(), UpgradeError> {
    let deadline: Instant = clock::now() + PATIENCE;
    while !is_so() {
        if let Ok(Some(status)) = new.try_wait() {
            return Err(UpgradeError::Ended { status });
        }
        if clock::now() > deadline {
            return Err(UpgradeError::Late { step });
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Whether a process waits on the upgrade socket: whether the kernel lists it as listening.
#[must_use]
pub fn is_awaited(upgrade_socket: &Path) -> bool {
    let wanted = upgrade_socket.to_string_lossy();
    fs::read_to_string("/proc/net/unix").is_ok_and(|table| table.lines().any(|line| is_listening_at(line, &wanted)))
}

/// `Num RefCount Protocol Flags Type St Inode Path`; the flag of a listening socket is `__SO_ACCEPTCON`.
fn is_listening_at(line: &str, path: &str) -> bool {
    const LISTENING: &str = "00010000";
    let mut fields = line.split_ascii_whitespace();
    fields.nth(3) == Some(LISTENING) && fields.nth(3) == Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn sees_whether_a_process_waits_on_a_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("upgrade.sock");
        assert!(!is_awaited(&path));
        let listener = UnixListener::bind(&path).unwrap();
        assert!(is_awaited(&path));
        drop(listener);
        assert!(path.exists() && !is_awaited(&path), "a stale file is nobody");
    }

    #[test]
    fn without_a_running_process_there_is_nothing_to_replace() {
        let dir = tempfile::tempdir().unwrap();
        let error = replace(dir.path(), dir.path(), &dir.path().join("upgrade.sock")).unwrap_err();
        assert!(matches!(error, UpgradeError::NotRunning { .. }));
    }
}
