//! The records in a file of the node: the whole store where there is no Redis, the last good state where there is.
//!
//! Lines of JSON. The first says from when the file is; each further one is a record, and of several for one network the last
//! counts. A change is appended and flushed to the disk before anybody is told of it; when half of the lines are outdated
//! the file is written anew, whole, and takes the old one's place in one step.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use gatehouse_shared::cidr::Network;
use gatehouse_shared::clock;
use gatehouse_shared::process::write_atomically;
use serde::{Deserialize, Serialize};

use super::{Head, Record};

/// Outdated lines that are no reason to write the file anew.
const FEW: usize = 1_000;
/// How often the file may be replaced between opening and locking it.
const REPLACED_MAX: usize = 10;
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

/// The file. The two processes of an upgrade write to it for a while, one after the other: each takes a lock for a write and
/// reads what the other has written ([`BlockFile::news`]).
#[derive(Debug)]
pub struct BlockFile {
    path: PathBuf,
    file: File,
    lines: usize,
    /// Bytes that are known.
    known: u64,
    /// Records that somebody else has written.
    news: Vec<Record>,
}

impl BlockFile {
    /// Opens the file, or makes an empty one. Lines that cannot be read are left out, logged, and kept in a copy beside it.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn open(path: &Path) -> io::Result<(Self, Kept)> {
        let file = reopen(path)?;
        let mut opened = Self { path: path.to_owned(), file, lines: 0, known: 0, news: Vec::new() };
        let (kept, damaged) = opened.locked(Self::read_on)?;
        if damaged > 0 {
            let mut copy = path.as_os_str().to_owned();
            copy.push(format!(".damaged-{}", clock::unix_ms()));
            fs::copy(path, &copy)?;
            tracing::error!(file = %path.display(), lines = damaged, "unreadable lines of the blocklist are left out");
            opened.rewrite(&kept)?;
        }
        Ok((opened, kept))
    }

    /// Appends records and flushes them to the disk.
    ///
    /// # Errors
    /// They may be on the disk or not.
    pub fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let lines: Vec<Line> = records.iter().cloned().map(Line::Record).collect();
        self.locked(|file| {
            file.catch_up()?;
            file.write(&lines)?;
            file.file.sync_data()
        })
    }

    /// Notes up to where the shared list is contained; after a crash it may be an older note that is there.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note(&mut self, head: &Head, synced_unix_ms: u64) -> io::Result<()> {
        let line = Line::State { head: head.clone(), synced_unix_ms };
        self.locked(|file| {
            file.catch_up()?;
            file.write(&[line])
        })
    }

    /// Records that another process has written since the last call.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn news(&mut self) -> io::Result<Vec<Record>> {
        let (there, ours) = (fs::metadata(&self.path)?, self.file.metadata()?);
        if there.ino() != ours.ino() || there.len() != self.known {
            self.locked(Self::catch_up)?;
        }
        Ok(std::mem::take(&mut self.news))
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
        let since = self.locked(|file| {
            file.catch_up()?;
            write_whole(&file.path, kept)?;
            Ok(file.news.clone())
        })?;
        (self.file, self.lines, self.known) = (reopen(&self.path)?, kept.records.len() + 1, 0);
        self.known = self.file.metadata()?.len();
        // What the other process has written is not among what is kept.
        if since.is_empty() { Ok(()) } else { self.append(&since) }
    }

    /// Does something while no other process writes, with the file that is in place.
    fn locked<T>(&mut self, work: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        self.file.lock()?;
        for _replaced in 0..REPLACED_MAX {
            if fs::metadata(&self.path)?.ino() == self.file.metadata()?.ino() {
                break;
            }
            (self.file, self.lines, self.known) = (reopen(&self.path)?, 0, 0);
            self.file.lock()?;
        }
        let done = work(self);
        // Closing it would unlock it, too.
        self.file.unlock()?;
        done
    }

    /// Takes note of what another process has written.
    fn catch_up(&mut self) -> io::Result<()> {
        let (kept, _damaged) = self.read_on()?;
        self.news.extend(kept.records.into_values());
        Ok(())
    }

    /// Reads what is not known yet, and how many lines of it say nothing. What a crash has cut off at the end was not
    /// acknowledged and is removed.
    fn read_on(&mut self) -> io::Result<(Kept, usize)> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(self.known))?;
        self.file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let text = String::from_utf8_lossy(bytes.get(..whole).unwrap_or_default());
        let read = read(&text);
        self.lines += text.lines().count();
        self.known += u64::try_from(whole).unwrap_or(0);
        if whole < bytes.len() {
            self.file.set_len(self.known)?;
        }
        Ok(read)
    }

    fn write(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut text = Vec::new();
        for line in lines {
            write_line(&mut text, line)?;
        }
        self.file.write_all(&text)?;
        self.lines += lines.len();
        self.known = self.file.metadata()?.len();
        Ok(())
    }
}

/// What the lines say, and how many say nothing.
fn read(text: &str) -> (Kept, usize) {
    let (mut kept, mut damaged) = (Kept::default(), 0);
    for line in text.lines() {
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
    OpenOptions::new().read(true).append(true).create(true).mode(PERMISSIONS).open(path)
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
    fn two_processes_hear_of_each_other_also_when_one_writes_the_file_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blocklist.jsonl");
        let (mut old, mut kept) = BlockFile::open(&path).unwrap();
        old.append(&[record("192.0.2.1", 1)]).unwrap();
        let (mut new, known) = BlockFile::open(&path).unwrap();
        assert_eq!(known.records.len(), 1);
        old.append(&[record("192.0.2.2", 2)]).unwrap();
        assert_eq!(new.news().unwrap(), [record("192.0.2.2", 2)]);
        assert_eq!((new.news().unwrap(), old.news().unwrap()), (vec![], vec![]));
        new.append(&[record("192.0.2.3", 3)]).unwrap();
        old.append(&[record("192.0.2.4", 4)]).unwrap();
        kept.records.extend((1..4).map(|n| record(&format!("192.0.2.{n}"), n)).map(|record| (record.network, record)));
        new.rewrite(&kept).unwrap();
        old.append(&[record("192.0.2.5", 5)]).unwrap();
        assert_eq!(new.news().unwrap(), [record("192.0.2.4", 4), record("192.0.2.5", 5)]);
        assert!(old.news().unwrap().contains(&record("192.0.2.3", 3)));
        drop((old, new));
        let (_file, all) = BlockFile::open(&path).unwrap();
        assert_eq!(all.records.values().map(|record| record.stamp).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
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
