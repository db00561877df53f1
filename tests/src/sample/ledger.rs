//! The execution ledger: how often each request id was executed here.
//!
//! An id is noted the moment the service begins with its request, before the body is read: a request that was begun twice
//! counts as executed twice. The counts are in memory; with a file they also survive the process.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Ids beyond this many are counted in `overflow` only, so that the memory has a bound.
const MOST_IDS: usize = 2_000_000;

/// Counts executions by id.
#[derive(Debug)]
pub struct Ledger {
    // Guards the counts and the order of lines in the file; held for one insertion.
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    counts: HashMap<Box<str>, u32>,
    overflow: u64,
    file: Option<File>,
}

impl Ledger {
    /// An empty ledger, appending to `path` when one is given.
    ///
    /// # Errors
    /// The file cannot be opened for appending.
    pub fn open(path: Option<&Path>) -> io::Result<Self> {
        let file = path.map(|path| OpenOptions::new().create(true).append(true).open(path)).transpose()?;
        Ok(Self { pages: Mutex::new(Pages { file, ..Pages::default() }) })
    }

    /// Notes one execution of `id`.
    pub fn note(&self, id: &str) {
        let mut pages = self.pages();
        if let Some(count) = pages.counts.get_mut(id) {
            *count += 1;
        } else if pages.counts.len() < MOST_IDS {
            pages.counts.insert(id.into(), 1);
        } else {
            pages.overflow += 1;
        }
        if let Some(file) = pages.file.as_mut() {
            // One write per line: appended lines of several processes do not mix.
            drop(file.write_all(format!("{id}\n").as_bytes()));
        }
    }

    /// Forgets everything noted so far; the file keeps its lines.
    pub fn clear(&self) {
        let mut pages = self.pages();
        pages.counts.clear();
        pages.overflow = 0;
    }

    /// One JSON object a line: `{"id":"…","count":1}`, in no particular order.
    #[must_use]
    pub fn to_json_lines(&self) -> Bytes {
        let pages = self.pages();
        let mut lines = Vec::with_capacity(pages.counts.len() * 40);
        for (id, count) in &pages.counts {
            lines.extend_from_slice(serde_json::json!({ "id": id, "count": count }).to_string().as_bytes());
            lines.push(b'\n');
        }
        if pages.overflow > 0 {
            lines.extend_from_slice(serde_json::json!({ "overflow": pages.overflow }).to_string().as_bytes());
            lines.push(b'\n');
        }
        lines.into()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Ledger;

    #[test]
    fn counts_every_execution_of_an_id_and_appends_it_to_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        let ledger = Ledger::open(Some(&path)).unwrap();
        ledger.note("a");
        ledger.note("b");
        ledger.note("a");
        let lines = ledger.to_json_lines();
        let mut counts: Vec<(String, u64)> = lines
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
            .map(|line| (line["id"].as_str().unwrap().to_owned(), line["count"].as_u64().unwrap()))
            .collect();
        counts.sort();
        assert_eq!(counts, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nb\na\n");
        ledger.clear();
        assert!(ledger.to_json_lines().is_empty());
    }
}
