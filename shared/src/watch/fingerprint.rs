//! What a configuration directory looks like at a moment, to see changes that no event told of.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use ring::digest;

use crate::config::Fingerprint;

/// Files and subdirectories looked at; a directory with more is not a configuration directory.
const MAX_ENTRIES: usize = 1_000;

/// A hash over the content of the files that were read, and over name, size and time stamp of all other files in the
/// directory and its subdirectories: one of those may be what a failing load is missing.
pub(super) fn fingerprint(dir: &Path, read: Vec<PathBuf>) -> Vec<u8> {
    let read: BTreeSet<PathBuf> = read.into_iter().collect();
    let mut hash = digest::Context::new(&digest::SHA256);
    for file in &read {
        hash.update(file.as_os_str().as_encoded_bytes());
        match Fingerprint::of(file) {
            Ok(content) => hash.update(content.bytes()),
            Err(error) => hash.update(error.kind().to_string().as_bytes()),
        }
    }
    let below = subdirectories(dir);
    for dir in below.iter().map(PathBuf::as_path).chain([dir]) {
        for (path, metadata) in entries(dir).filter(|(path, metadata)| metadata.is_file() && !read.contains(path)) {
            hash.update(path.as_os_str().as_encoded_bytes());
            let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            hash.update(&modified.unwrap_or_default().as_nanos().to_be_bytes());
            hash.update(&metadata.len().to_be_bytes());
        }
    }
    hash.finish().as_ref().to_vec()
}

/// The subdirectories that are not hidden.
pub(super) fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    entries(dir).filter(|(_, metadata)| metadata.is_dir()).map(|(path, _)| path).collect()
}

/// What is in a directory by name, without what is hidden: editors' copies, and the targets of Kubernetes' links.
fn entries(dir: &Path) -> impl Iterator<Item = (PathBuf, fs::Metadata)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let visible = entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    let paths: BTreeSet<PathBuf> = visible.take(MAX_ENTRIES).map(|entry| entry.path()).collect();
    // Follows links: what counts is the file behind one.
    paths.into_iter().filter_map(|path| fs::metadata(&path).ok().map(|metadata| (path, metadata)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_every_change_that_could_matter() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("config");
        let outside = root.path().join("cert.pem");
        fs::create_dir_all(dir.join("rules")).unwrap();
        fs::write(dir.join("edge.toml"), "a").unwrap();
        fs::write(&outside, "a").unwrap();
        let now = || fingerprint(&dir, vec![dir.join("edge.toml"), outside.clone()]);
        let mut seen = vec![now()];
        assert_eq!(seen[0], now());
        let mut changed = |what: &str| {
            let hash = now();
            assert!(!seen.contains(&hash), "{what}");
            seen.push(hash);
        };
        fs::write(dir.join("edge.toml"), "b").unwrap();
        changed("a file that was read");
        fs::write(&outside, "b").unwrap();
        changed("a file outside that was read");
        fs::write(dir.join("rules/new.conf"), "a").unwrap();
        changed("a new file in a subdirectory");
        fs::write(dir.join("rules/new.conf"), "ab").unwrap();
        changed("a file that was not read");
        fs::remove_file(dir.join("edge.toml")).unwrap();
        changed("a file that is gone");
        fs::write(dir.join(".edge.toml.swp"), "b").unwrap();
        assert_eq!(seen.last(), Some(&now()), "hidden files do not count");
    }
}
