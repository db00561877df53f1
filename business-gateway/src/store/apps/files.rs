//! Records in files of this node: the store of a gateway without Redis.
//!
//! One file for each record, written as a whole, in `apps/KIND/` of the state directory. All of them are in memory while the
//! node runs; nobody else changes them.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatehouse_shared::clock;
use gatehouse_shared::process::write_atomically;
use gatehouse_store::app::{Announced, RecordKind, Versioned, Written};
use serde::{Deserialize, Serialize};

use super::keyring::Keyring;
use super::origin::{Change, Origin, OriginError, Waiting};

/// The directory in the state directory.
pub const DIRECTORY: &str = "apps";
/// Most records of a kind; a larger platform keeps them in Redis.
const MOST_RECORDS: usize = 200_000;
/// Only the owner reads them.
const PERMISSIONS: u32 = 0o600;

/// A record as a file holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    key: String,
    version: u64,
    /// When it ends by itself, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    /// The sealed record in Base64; none: it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record: Option<String>,
}

/// A record in memory.
#[derive(Debug, Clone)]
struct Kept {
    stored: Versioned,
    until: Option<u64>,
}

type Records = BTreeMap<RecordKind, BTreeMap<String, Kept>>;

/// The records of this node.
#[derive(Debug)]
pub struct InFiles {
    directory: PathBuf,
    keyring: Arc<Keyring>,
    /// Held while one is read from memory, or written with its file; look-ups that find an entry never come here.
    records: Mutex<Records>,
}

impl InFiles {
    /// Reads all files of a state directory.
    ///
    /// # Errors
    /// The directory or one of its files cannot be read, or a file is damaged.
    pub fn open(state_dir: &Path, keyring: Arc<Keyring>) -> io::Result<Self> {
        let directory = state_dir.join(DIRECTORY);
        let mut records = Records::new();
        for kind in RecordKind::ALL {
            let of_kind = directory.join(kind.as_str());
            std::fs::create_dir_all(&of_kind)?;
            records.insert(kind, read_all(&of_kind)?);
        }
        Ok(Self { directory, keyring, records: Mutex::new(records) })
    }

    /// How many applications there are, those removed included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records().get(&RecordKind::App).map_or(0, BTreeMap::len)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys of all applications.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.listed(None, usize::MAX)
    }

    fn path(&self, kind: RecordKind, key: &str) -> PathBuf {
        let name = match kind {
            RecordKind::Subject => self.keyring.hash_of_subject(key),
            // App keys and ids of sessions have letters, digits, `-` and `_` only.
            RecordKind::App | RecordKind::Session => key.replace('/', "."),
        };
        self.directory.join(kind.as_str()).join(format!("{name}.json"))
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stored(&self, kind: RecordKind, key: &str) -> Versioned {
        let records = self.records();
        let kept = records.get(&kind).and_then(|of_kind| of_kind.get(key));
        let lasts = |kept: &&Kept| kept.until.is_none_or(|until| until > clock::unix_ms());
        kept.filter(lasts).map(|kept| kept.stored.clone()).unwrap_or_default()
    }

    fn change(&self, change: Change<'_>) -> Result<Written, OriginError> {
        let mut records = self.records();
        let of_kind = records.entry(change.kind).or_default();
        let now = clock::unix_ms();
        let known = of_kind.get(change.key).filter(|kept| kept.until.is_none_or(|until| until > now));
        let version = known.map_or(0, |kept| kept.stored.version);
        if version != change.expected {
            return Ok(Written::Unexpected(version));
        }
        if known.is_none() && of_kind.len() >= MOST_RECORDS {
            return Err(OriginError::Full(format!("{MOST_RECORDS} records in files").into()));
        }
        let version = version + 1;
        let record = change.record.map(|record| STANDARD.encode(record));
        let file = File { key: change.key.to_owned(), version, until: change.until, record };
        let failed = |error: io::Error| OriginError::Away(error.to_string().into());
        let bytes = serde_json::to_vec(&file).map_err(|error| failed(error.into()))?;
        write_atomically(&self.path(change.kind, change.key), &bytes, PERMISSIONS).map_err(failed)?;
        let stored = Versioned { version, record: change.record.map(<[u8]>::to_vec) };
        of_kind.insert(change.key.to_owned(), Kept { stored, until: change.until });
        Ok(Written::Stored(version))
    }

    fn listed(&self, after: Option<&str>, most: usize) -> Vec<String> {
        let records = self.records();
        let Some(apps) = records.get(&RecordKind::App) else { return Vec::new() };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let is_there = |(_, kept): &(&String, &Kept)| kept.stored.record.is_some();
        apps.range::<str, _>((from, Bound::Unbounded)).filter(is_there).take(most).map(|(key, _)| key.clone()).collect()
    }
}

impl Origin for InFiles {
    fn read<'a>(&'a self, kind: RecordKind, key: &'a str) -> Waiting<'a, Versioned> {
        Box::pin(async move { Ok(self.stored(kind, key)) })
    }

    fn read_many<'a>(&'a self, kind: RecordKind, keys: &'a [String]) -> Waiting<'a, Vec<Versioned>> {
        Box::pin(async move { Ok(keys.iter().map(|key| self.stored(kind, key)).collect()) })
    }

    fn write<'a>(&'a self, change: Change<'a>) -> Waiting<'a, Written> {
        Box::pin(async move { self.change(change) })
    }

    fn announce<'a>(&'a self, _change: &'a Announced) -> Waiting<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn keys<'a>(&'a self, after: Option<&'a str>, most: usize) -> Waiting<'a, Vec<String>> {
        Box::pin(async move { Ok(self.listed(after, most)) })
    }

    fn count(&self) -> Waiting<'_, u64> {
        let count = self.len();
        Box::pin(async move { Ok(u64::try_from(count).unwrap_or(u64::MAX)) })
    }
}

/// All records of a directory. Files of records that have ended are removed.
fn read_all(directory: &Path) -> io::Result<BTreeMap<String, Kept>> {
    let mut records = BTreeMap::new();
    let now = clock::unix_ms();
    for file in std::fs::read_dir(directory)? {
        let path = file?.path();
        // What a crash has left of a file that was being written has another extension.
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let damaged = |what: &dyn std::fmt::Display| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged: {what}", path.display()))
        };
        let File { key, version, until, record } =
            serde_json::from_slice(&std::fs::read(&path)?).map_err(|error| damaged(&error))?;
        if until.is_some_and(|until| until <= now) {
            std::fs::remove_file(&path)?;
            continue;
        }
        let record = record.map(|record| STANDARD.decode(record)).transpose().map_err(|error| damaged(&error))?;
        records.insert(key, Kept { stored: Versioned { version, record }, until });
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::config::Secret;

    use super::*;

    fn keyring() -> Arc<Keyring> {
        let secret = || Secret::new(vec![b'x'; 32]);
        Arc::new(Keyring::new(&[("a".to_owned(), secret())], &secret()).unwrap())
    }

    fn change<'k>(key: &'k str, expected: u64, record: Option<&'static [u8]>) -> Change<'k> {
        Change { kind: RecordKind::App, key, expected, record, until: None }
    }

    #[test]
    fn what_is_written_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let files = InFiles::open(dir.path(), keyring()).unwrap();
        assert_eq!(files.change(change("shop", 0, Some(b"one"))).unwrap(), Written::Stored(1));
        assert_eq!(files.change(change("shop", 0, Some(b"two"))).unwrap(), Written::Unexpected(1));
        assert_eq!(files.change(change("shop", 1, Some(b"two"))).unwrap(), Written::Stored(2));
        assert_eq!(files.change(change("gone", 0, Some(b"x"))).unwrap(), Written::Stored(1));
        assert_eq!(files.change(change("gone", 1, None)).unwrap(), Written::Stored(2));
        let again = InFiles::open(dir.path(), keyring()).unwrap();
        let shop = again.stored(RecordKind::App, "shop");
        assert_eq!(shop, Versioned { version: 2, record: Some(b"two".to_vec()) });
        assert_eq!(again.stored(RecordKind::App, "gone"), Versioned { version: 2, record: None });
        assert_eq!(again.listed(None, 10), ["shop"]);
        assert_eq!(again.listed(Some("shop"), 10), Vec::<String>::new());
    }

    #[test]
    fn a_session_that_has_ended_is_gone_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let files = InFiles::open(dir.path(), keyring()).unwrap();
        let past = clock::unix_ms() - 1;
        let change =
            Change { kind: RecordKind::Session, key: "shop/ab", expected: 0, record: Some(b"x"), until: Some(past) };
        files.change(change).unwrap();
        assert_eq!(files.stored(RecordKind::Session, "shop/ab"), Versioned::default());
        let path = files.path(RecordKind::Session, "shop/ab");
        assert!(path.exists());
        InFiles::open(dir.path(), keyring()).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        InFiles::open(dir.path(), keyring()).unwrap();
        std::fs::write(dir.path().join("apps/app/shop.json"), "{}").unwrap();
        let error = InFiles::open(dir.path(), keyring()).unwrap_err().to_string();
        assert!(error.contains("shop.json is damaged"), "{error}");
    }
}
