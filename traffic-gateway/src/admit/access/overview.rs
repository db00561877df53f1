//! What `/policy` says about a list.

use gatehouse_shared::config::Fingerprint;
use serde::Serialize;

use super::config::ListConfig;

/// One `[[access.list]]` as it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overview {
    name: String,
    kind: &'static str,
    effect: &'static str,
    mode: &'static str,
    /// Entries of all files; of a network that a file names twice, one counts.
    entries: usize,
    files: Vec<File>,
}

/// One file of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct File {
    file: String,
    entries: usize,
    /// The SHA-256 of its content, in hexadecimal digits.
    sha256: String,
}

impl Overview {
    /// A list without files.
    pub(super) fn of(list: &ListConfig) -> Self {
        let ListConfig { name, kind, effect, mode, .. } = list;
        let (kind, effect, mode) = (kind.name(), effect.name(), mode.name());
        Self { name: name.clone(), kind, effect, mode, entries: 0, files: Vec::new() }
    }

    /// Adds a file that was loaded.
    pub(super) fn add(&mut self, file: &str, entries: usize, fingerprint: Fingerprint) {
        self.entries += entries;
        self.files.push(File { file: file.to_owned(), entries, sha256: fingerprint.to_string() });
    }

    /// How many entries it has.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.entries
    }
}
