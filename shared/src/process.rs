//! The process and its machine: node name, descriptor limit, memory, listening sockets, state directory.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpSocket};

/// Descriptors a process needs beside its client connections: listeners, logs, configuration files, and the pooled
/// connections to the next tier.
pub const RESERVED_DESCRIPTORS: u64 = 256;

/// Connections that may wait to be accepted; the system may allow fewer (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// Listens on an address, with room for a burst of connections.
///
/// Beyond the backlog the system drops a connection's first packet, and the client tries again only a second later:
/// with the 128 that are usual otherwise, two hundred first requests at once meet connect timeouts.
///
/// # Errors
/// The address is taken or not of this machine.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The machine's host name, the default name of a node; `node` when it has none that is usable.
#[must_use]
pub fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if is_node_name(name) { name.to_owned() } else { "node".to_owned() }
}

/// Whether a name is fit for a node: 1 to 64 of letters, digits, `-`, `_` and `.`; it appears in logs, metrics and hops.
#[must_use]
pub fn is_node_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

/// How many descriptors this process may open; `u64::MAX` without a limit.
#[must_use]
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Checks that so many connections, and [`RESERVED_DESCRIPTORS`] for everything else, fit below the descriptor limit.
///
/// # Errors
/// A sentence for the operator.
pub fn check_connections(max_connections: u64, limit: u64) -> Result<(), String> {
    let needed = max_connections.saturating_add(RESERVED_DESCRIPTORS);
    if needed <= limit {
        return Ok(());
    }
    Err(format!(
        "{max_connections} connections need {needed} file descriptors, but the limit of this process is {limit}"
    ))
}

/// Makes sure that the state directory exists, belongs to this user only, and can be written.
///
/// # Errors
/// When it cannot be created or written, or others may write to it.
pub fn prepare_state_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mode = fs::metadata(dir)?.permissions().mode();
    if mode & 0o022 != 0 {
        let message = format!("others may write to {}: remove that with chmod go-w", dir.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    let probe = dir.join(format!(".write-test-{}", std::process::id()));
    File::create(&probe)?;
    fs::remove_file(&probe)
}

/// Replaces a file as a whole, so that a reader sees the old content or the new one, also after a crash.
///
/// # Errors
/// When it cannot be written.
pub fn write_atomically(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".tmp-{}", std::process::id()));
    let aside = path.with_file_name(name);
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&aside)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    write().inspect_err(|_error| {
        // What is left of the attempt is of no use; the error that matters is the one returned.
        let _removed = fs::remove_file(&aside).is_ok();
    })
}

/// Where a running process listens: written to `ports.json` in its state directory once it is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// The process id.
    pub pid: u32,
    /// The data listeners with their actual ports, in the order of the configuration.
    pub listeners: Vec<SocketAddr>,
    /// The admin listener.
    pub admin: SocketAddr,
}

impl Ports {
    /// The file in a state directory.
    #[must_use]
    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("ports.json")
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, state_dir: &Path) -> io::Result<()> {
        write_atomically(&Self::path(state_dir), &serde_json::to_vec(self)?, 0o644)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When it is not there or damaged.
    pub fn read(state_dir: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(Self::path(state_dir))?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_name_and_a_limit() {
        assert!(is_node_name(&host_name()));
        assert!(descriptor_limit() > RESERVED_DESCRIPTORS);
        for wrong in ["", "a b", "a\"b", "é", &"a".repeat(65)] {
            assert!(!is_node_name(wrong), "{wrong}");
        }
    }

    #[test]
    fn connections_must_fit_below_the_limit() {
        assert_eq!(check_connections(15_000, 20_000), Ok(()));
        assert_eq!(
            check_connections(20_000, 20_000).unwrap_err(),
            "20000 connections need 20256 file descriptors, but the limit of this process is 20000"
        );
        assert!(check_connections(u64::MAX, 20_000).is_err());
    }

    #[test]
    fn the_state_directory_is_private() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("state/edge");
        prepare_state_dir(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(&dir, Permissions::from_mode(0o777)).unwrap();
        assert!(prepare_state_dir(&dir).unwrap_err().to_string().contains("chmod go-w"));
    }

    #[test]
    fn ports_survive_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let ports = Ports { pid: 7, listeners: vec![address(1), address(2)], admin: address(3) };
        ports.write(dir.path()).unwrap();
        ports.write(dir.path()).unwrap();
        assert_eq!(Ports::read(dir.path()).unwrap(), ports);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
