//! The records in a file of the node: the whole store where there is no Redis, the last good state where there is.
//!
//! Lines of JSON. The first says from when the file is; each further one is a record, and of several for one network the last
//! counts. A change is appended and flushed to the disk before anybody is told of it; when half of the lines are outdated
//! the file is written anew, whole, and takes the old one's place in one step.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use gatehouse_shared::cidr::Network;
use gatehouse_shared::clock;
use gatehouse_shared::process::write_atomically;
use serde::{Deserialize, Serialize};

use super::{Head, Record};

/// Outdated lines that are no reason to write the file anew.
const FEW: usize = 1_000;
/// Only the owner reads it: reasons and tickets are nobody else's business.
const PERMISSIONS: u32 = 0o600;

/// Everything a node keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// One record for each network.
    pub records: BTreeMap<Network, Record>,
    /// The last change of the shared list that is contained.
    pub head: Head,
    /// When the shared list was last heard of, in Unix milliseconds; 0: never.
    pub synced_unix_ms: u64,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    State { head: Head, synced_unix_ms: u64 },
    Record(Record),
}

/// The file.
#[derive(Debug)]
pub struct BlockFile {
    path: PathBuf,
    file: File,
    lines: usize,
}

impl BlockFile {
    /// Opens the file, or makes an empty one. Lines that cannot be read are left out, logged, and kept in a copy beside it.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn open(path: &Path) -> io::Result<(Self, Kept)> {
        let text = match fs::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let (kept, damaged) = read(&text);
        if damaged > 0 {
            let mut copy = path.as_os_str().to_owned();
            copy.push(format!(".damaged-{}", clock::unix_ms()));
            fs::copy(path, &copy)?;
            tracing::error!(file = %path.display(), lines = damaged, "unreadable lines of the blocklist are left out");
        }
        write_whole(path, &kept)?;
        Ok((Self { path: path.to_owned(), file: reopen(path)?, lines: kept.records.len() + 1 }, kept))
    }

    /// Appends records and flushes them to the disk.
    ///
    /// # Errors
    /// They may be on the disk or not.
    pub fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let mut text = Vec::new();
        for record in records {
            write_line(&mut text, &Line::Record(record.clone()))?;
        }
        self.file.write_all(&text)?;
        self.file.sync_data()?;
        self.lines += records.len();
        Ok(())
    }

    /// Notes up to where the shared list is contained; after a crash it may be an older note that is there.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note(&mut self, head: &Head, synced_unix_ms: u64) -> io::Result<()> {
        let mut text = Vec::new();
        write_line(&mut text, &Line::State { head: head.clone(), synced_unix_ms })?;
        self.lines += 1;
        self.file.write_all(&text)
    }

    /// Whether so many lines are outdated that [`BlockFile::rewrite`] is due, where `live` records count.
    #[must_use]
    pub fn is_rewrite_due(&self, live: usize) -> bool {
        self.lines > 2 * live + FEW
    }

    /// Writes everything anew.
    ///
    /// # Errors
    /// The old file is still there.
    pub fn rewrite(&mut self, kept: &Kept) -> io::Result<()> {
        write_whole(&self.path, kept)?;
        self.file = reopen(&self.path)?;
        self.lines = kept.records.len() + 1;
        Ok(())
    }
}

/// What the lines say, and how many say nothing. The last one may be cut off: it was not acknowledged.
fn read(text: &str) -> (Kept, usize) {
    let (mut kept, mut damaged) = (Kept::default(), 0);
    let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
    for line in whole.lines() {
        match serde_json::from_str(line) {
            Ok(Line::Record(record)) => {
                kept.records.insert(record.network, record);
            }
            Ok(Line::State { head, synced_unix_ms }) => (kept.head, kept.synced_unix_ms) = (head, synced_unix_ms),
            Err(_) => damaged += 1,
        }
    }
    (kept, damaged)
}

fn write_whole(path: &Path, kept: &Kept) -> io::Result<()> {
    let mut text = Vec::new();
    write_line(&mut text, &Line::State { head: kept.head.clone(), synced_unix_ms: kept.synced_unix_ms })?;
    for record in kept.records.values() {
        write_line(&mut text, &Line::Record(record.clone()))?;
    }
    write_atomically(path, &text, PERMISSIONS)
}

fn write_line(text: &mut Vec<u8>, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *text, line)?;
    text.push(b'\n');
    Ok(())
}

fn reopen(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(PERMISSIONS).open(path)
}

#[cfg(test)]
mod tests {
    use super::super::Entry;
    use super::*;

    fn record(network: &str, stamp: u64) -> Record {
        let entry = Entry { until: Some(2_000_000_000), owner: None, ticket: None, reason: Some("a\nb".to_owned()) };
        let network = network.parse().unwrap();
        Record { network, entry: Some(entry), by: "operate".into(), node: "edge-1".into(), stamp, revision: 1 }
    }

    #[test]
    fn what_was_appended_is_there_after_a_crash_and_a_cut_off_line_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blocklist.jsonl");
        let (mut file, kept) = BlockFile::open(&path).unwrap();
        assert_eq!(kept, Kept::default());
        file.append(&[record("192.0.2.1", 1), record("2001:db8::/32", 2)]).unwrap();
        file.append(&[record("192.0.2.1", 3)]).unwrap();
        drop(file);
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("{\"network\":\"198.51.100.7\"");
        fs::write(&path, text).unwrap();
        let (_file, kept) = BlockFile::open(&path).unwrap();
        assert_eq!(kept.records.len(), 2);
        assert_eq!(kept.records[&"192.0.2.1".parse().unwrap()], record("192.0.2.1", 3));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a cut-off line is no damage");
    }

    #[test]
    fn damaged_lines_are_left_out_and_kept_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blocklist.jsonl");
        let (mut file, _) = BlockFile::open(&path).unwrap();
        file.append(&[record("192.0.2.1", 1)]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("garbage\n{text}")).unwrap();
        let (_file, kept) = BlockFile::open(&path).unwrap();
        assert_eq!(kept.records.len(), 1);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_rewrite_drops_what_is_outdated_and_keeps_the_head() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blocklist.jsonl");
        let (mut file, mut kept) = BlockFile::open(&path).unwrap();
        for stamp in 0..=FEW as u64 + 2 {
            file.append(&[record("192.0.2.1", stamp)]).unwrap();
        }
        assert!(file.is_rewrite_due(1));
        kept.records.insert("192.0.2.1".parse().unwrap(), record("192.0.2.1", 9_999));
        kept.head = Head { revision: 7, mark: "0a0b0c0d".to_owned() };
        kept.synced_unix_ms = 5;
        file.rewrite(&kept).unwrap();
        assert!(!file.is_rewrite_due(1));
        file.append(&[record("192.0.2.2", 1)]).unwrap();
        let (_file, again) = BlockFile::open(&path).unwrap();
        kept.records.insert("192.0.2.2".parse().unwrap(), record("192.0.2.2", 1));
        assert_eq!(again, kept);
    }
}
