//! What this process tells the machine about itself: `ports.json` in the state directory.
//!
//! Written once the sockets are bound or taken over, whole or not at all (rename). It says where the listeners really
//! are when the configuration says port 0, and whom `traffic-gateway upgrade` has to replace.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Where this process listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// Process id.
    pub pid: u32,
    /// Listeners in the order of `[[process.listener]]`.
    pub listeners: Vec<SocketAddr>,
    /// The admin listener.
    pub admin: SocketAddr,
}

impl Ports {
    /// Reads what the running process wrote; `None` when there is nothing readable.
    #[must_use]
    pub fn read(state_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path(state_dir)).ok()?).ok()
    }

    /// Replaces the file.
    ///
    /// # Errors
    ///
    /// The state directory cannot be written.
    pub fn write(&self, state_dir: &Path) -> io::Result<()> {
        let part = state_dir.join(format!("ports.json.{}", self.pid));
        fs::write(&part, serde_json::to_vec(self)?)?;
        fs::rename(&part, path(state_dir))
    }

    /// Removes the file, unless a newer process has written its own meanwhile.
    pub fn withdraw(&self, state_dir: &Path) {
        if Self::read(state_dir).as_ref() == Some(self)
            && let Err(error) = fs::remove_file(path(state_dir))
        {
            tracing::warn!(%error, "ports.json not removed");
        }
    }
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("ports.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(pid: u32) -> Ports {
        Ports {
            pid,
            listeners: vec!["127.0.0.1:8080".parse().unwrap()],
            admin: "127.0.0.1:9180".parse().unwrap(),
        }
    }

    #[test]
    fn is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        ports(7).write(dir.path()).unwrap();
        assert_eq!(Ports::read(dir.path()), Some(ports(7)));
    }

    #[test]
    fn withdrawing_leaves_the_file_of_a_newer_process() {
        let dir = tempfile::tempdir().unwrap();
        ports(8).write(dir.path()).unwrap();
        ports(7).withdraw(dir.path());
        assert_eq!(Ports::read(dir.path()), Some(ports(8)));
        ports(8).withdraw(dir.path());
        assert_eq!(Ports::read(dir.path()), None);
    }
}
