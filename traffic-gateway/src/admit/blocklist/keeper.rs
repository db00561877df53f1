//! Makes changes of the blocklist, and keeps them.
//!
//! A change is stored first: in Redis, or, where there is none, in the node's file. Then it is in force on this node, then in
//! the audit log, and only then is whoever made it told. While Redis is away, a change counts on this node at once, is
//! kept in its file, and reaches the others when Redis is back; whoever made it is told that too.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gatehouse_shared::audit::{AuditLog, Event};
use gatehouse_shared::cidr::Network;
use gatehouse_shared::clock;
use gatehouse_store::block::{BlockFile, Entry, Expected, Head, MOST_ENTRIES, Record, RedisBlocks, Written};
use gatehouse_store::{Redis, Settings, StoreError};
use serde::Serialize;
use serde_json::Value;

use super::Mirror;

/// The file of records in the state directory.
pub const FILE: &str = "blocklist.jsonl";

/// The mark of changes that were never in Redis.
const ALONE: &str = "alone";

/// A change that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The network.
    pub network: Network,
    /// What is to be its entry; `None`: it is to be removed.
    pub entry: Option<Entry>,
    /// What has to be there for the change to be made.
    pub expected: Expected,
}

/// Who wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The name of the admin token, or of what acted by itself.
    pub name: String,
    /// The role of the token.
    pub role: Option<&'static str>,
    /// Where the call came from.
    pub from: Option<IpAddr>,
}

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// What was known before.
    pub before: Option<Record>,
    /// What is known now.
    pub after: Record,
}

/// Changes that were made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Each of them.
    pub changes: Vec<Changed>,
    /// Who obeys them.
    pub reach: Reach,
}

/// Who obeys a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// All nodes, within a second.
    Fleet,
    /// This node, which has no others.
    Alone,
    /// This node now, the others when Redis is back; with what is wrong with it.
    NodeOnly(String),
}

/// Why a change was not made, or not as it should have been.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Something else than expected is there.
    #[error("something else than expected is known of {0}")]
    Unexpected(Network, Option<Box<Record>>),
    /// There are too many entries.
    #[error("there are {MOST_ENTRIES} entries already")]
    Full,
    /// It cannot be written to the disk and is not in force.
    #[error("the change cannot be written to the disk, and is not in force")]
    Disk(#[source] io::Error),
    /// It is in force, but not in the audit log.
    #[error("the change is in force, but cannot be written to the audit log")]
    Audit(#[source] io::Error),
    /// The task that makes changes has died: a mistake in the code.
    #[error("making the change failed; whether it is in force is not known")]
    Broken,
}

/// Why a keeper cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Redis cannot be reached with these settings whatever happens.
    #[error("[store] does not serve: {0}")]
    Store(String),
    /// A file of the state directory cannot be read or written.
    #[error("cannot open {0}")]
    File(&'static str, #[source] io::Error),
}

/// How the blocklist is, for `/policy`, the API and the metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// `redis` or `file`.
    pub store: &'static str,
    /// Whether the store is there; always true for files.
    pub is_up: bool,
    /// What is wrong with it.
    pub error: Option<String>,
    /// The last change of the fleet's list that this node has.
    pub revision: u64,
    /// Changes that only this node knows of.
    pub pending: usize,
    /// When the fleet's list was last seen, Unix milliseconds; 0: never, or a file.
    pub synced_unix_ms: u64,
    /// Calls of the store that failed.
    pub failures_total: u64,
    /// Times that all records had to be compared with the store's.
    pub reconciled_total: u64,
}

/// Makes changes and keeps them.
#[derive(Debug)]
pub struct Keeper {
    pub(super) mirror: Arc<Mirror>,
    node: Box<str>,
    pub(super) redis: Option<RedisBlocks>,
    audit: AuditLog,
    /// Locked for one write at a time, on threads that may wait for the disk.
    file: Arc<Mutex<BlockFile>>,
    /// Held for one change or one look at Redis, so that what is known moves forward step by step.
    pub(super) writer: tokio::sync::Mutex<Writer>,
    /// Held while it is copied.
    status: Mutex<Status>,
}

/// How far this node is.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// The last change that is contained.
    pub(super) head: Head,
    /// When the shared list was last seen.
    pub(super) synced_unix_ms: u64,
    /// Networks with a change that Redis does not have.
    pub(super) pending: BTreeSet<Network>,
    /// When the file was last told how far this node is.
    pub(super) noted_unix_ms: u64,
    /// When outdated records were last looked for.
    pub(super) tidied_unix_ms: u64,
    pub(super) reconciled_total: u64,
}

impl Keeper {
    /// Opens the files of a state directory; what they hold is in force when this returns, with or without Redis.
    ///
    /// # Errors
    /// The files cannot be read or written, or the settings do not serve.
    pub fn open(mirror: Arc<Mirror>, settings: &Settings, dir: &Path, node: &str) -> Result<Arc<Self>, OpenError> {
        let redis = match settings {
            Settings::File => None,
            Settings::Redis(settings) => {
                let redis = Redis::new(settings).map_err(OpenError::Store)?;
                Some(RedisBlocks::new(Arc::new(redis)))
            }
        };
        let (file, kept) = BlockFile::open(&dir.join(FILE)).map_err(|error| OpenError::File(FILE, error))?;
        let audit = AuditLog::open(dir, node).map_err(|error| OpenError::File(gatehouse_shared::audit::FILE, error))?;
        let now = clock::unix_ms() / 1_000;
        let records: Vec<Record> = kept.records.into_values().filter(|record| !record.is_over(now)).collect();
        mirror.apply(&records);
        let is_pending = |record: &&Record| redis.is_some() && record.revision == 0;
        let mut head = kept.head;
        if redis.is_none() {
            // Numbers are given here, and the file may not have been told the last ones.
            head.revision = records.iter().map(|record| record.revision).fold(head.revision, u64::max);
        }
        let writer = Writer {
            head,
            synced_unix_ms: kept.synced_unix_ms,
            pending: records.iter().filter(is_pending).map(|record| record.network).collect(),
            ..Writer::default()
        };
        let mut keeper = Self {
            mirror,
            node: node.into(),
            redis,
            audit,
            file: Arc::new(Mutex::new(file)),
            writer: tokio::sync::Mutex::default(),
            status: Mutex::default(),
        };
        keeper.publish(&writer);
        *keeper.writer.get_mut() = writer;
        Ok(Arc::new(keeper))
    }

    /// The entries.
    #[must_use]
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// The list in Redis, where there is one.
    #[must_use]
    pub fn redis(&self) -> Option<&RedisBlocks> {
        self.redis.as_ref()
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.lock_status().clone()
    }

    /// Makes changes of different networks, all or none (of an import that finds the list full: those up to there). When
    /// this returns they are stored, in force on this node, and in the audit log. A caller that stops waiting does not stop
    /// them.
    ///
    /// # Errors
    /// As [`ChangeError`] says.
    pub async fn change(
        self: &Arc<Self>,
        wanted: Vec<Wanted>,
        actor: Actor,
        action: &'static str,
    ) -> Result<Done, ChangeError> {
        let keeper = Arc::clone(self);
        let changing = tokio::spawn(async move { keeper.make(wanted, &actor, action).await });
        changing.await.unwrap_or(Err(ChangeError::Broken))
    }

    async fn make(&self, wanted: Vec<Wanted>, actor: &Actor, action: &str) -> Result<Done, ChangeError> {
        let mut writer = self.writer.lock().await;
        let now_ms = clock::unix_ms();
        let changes = self.records(wanted, actor, now_ms);
        let (records, refused, reach) = self.store(&mut writer, &changes, now_ms / 1_000).await;
        match self.append(&records).await {
            Ok(()) => {}
            // Redis has it, and the next start reads it there.
            Err(error) if reach == Reach::Fleet => tracing::error!(%error, "the blocklist is not written to the disk"),
            Err(error) => return Err(ChangeError::Disk(error)),
        }
        let taken = self.mirror.apply(&records);
        if matches!(reach, Reach::NodeOnly(_)) {
            writer.pending.extend(records.iter().map(|record| record.network));
        }
        self.publish(&writer);
        let changes: Vec<Changed> = taken.into_iter().map(|(before, after)| Changed { before, after }).collect();
        // Still as the one who writes, so that the lines come in the order of the changes.
        self.write_audit(&changes, actor, action)?;
        refused.map_or(Ok(Done { changes, reach }), Err)
    }

    /// The records that the changes would make.
    fn records(&self, wanted: Vec<Wanted>, actor: &Actor, now_ms: u64) -> Vec<(Record, Expected)> {
        let record = |wanted: Wanted| {
            let known = self.mirror.get(wanted.network).map_or(0, |known| known.stamp);
            let record = Record {
                network: wanted.network,
                entry: wanted.entry,
                by: actor.name.clone(),
                node: self.node.to_string(),
                stamp: now_ms.max(known.saturating_add(1)),
                revision: 0,
            };
            (record, wanted.expected)
        };
        wanted.into_iter().map(record).collect()
    }

    /// Stores what can be stored, and says what was refused.
    async fn store(
        &self,
        writer: &mut Writer,
        changes: &[(Record, Expected)],
        now: u64,
    ) -> (Vec<Record>, Option<ChangeError>, Reach) {
        let Some(redis) = &self.redis else {
            return match self.checked(changes, now) {
                Ok(records) => (self.numbered(writer, records), None, Reach::Alone),
                Err(error) => (Vec::new(), Some(error), Reach::Alone),
            };
        };
        match redis.write(changes, now).await {
            Ok(written) => {
                let (records, refused) = sorted_out(changes, written);
                (records, refused, Reach::Fleet)
            }
            Err(error) => {
                let reach = Reach::NodeOnly(error.to_string());
                self.fail(&error);
                match self.checked(changes, now) {
                    Ok(records) => (records, None, reach),
                    Err(error) => (Vec::new(), Some(error), reach),
                }
            }
        }
    }

    /// What Redis would have checked, by what this node knows.
    fn checked(&self, changes: &[(Record, Expected)], now: u64) -> Result<Vec<Record>, ChangeError> {
        let mut room = MOST_ENTRIES.saturating_sub(self.mirror.len());
        let mut records = Vec::with_capacity(changes.len());
        for (record, expected) in changes {
            let known = self.mirror.get(record.network);
            if !expected.is_met_by(known.as_ref(), now) {
                return Err(ChangeError::Unexpected(record.network, known.map(Box::new)));
            }
            if known.is_none() {
                room = room.checked_sub(1).ok_or(ChangeError::Full)?;
            }
            records.push(record.clone());
        }
        Ok(records)
    }

    /// Records with the numbers that Redis would have given.
    fn numbered(&self, writer: &mut Writer, mut records: Vec<Record>) -> Vec<Record> {
        for record in &mut records {
            writer.head = Head { revision: writer.head.revision + 1, mark: ALONE.to_owned() };
            record.revision = writer.head.revision;
        }
        records
    }

    /// Writes something to the audit log that is no change of an entry.
    ///
    /// # Errors
    /// [`ChangeError::Audit`] when it cannot be written.
    pub fn tell_audit(&self, actor: &Actor, action: &str, network: Network, before: Value) -> Result<(), ChangeError> {
        let event = Event {
            who: &actor.name,
            role: actor.role,
            from: actor.from.map(|from| from.to_string()),
            node: &self.node,
            action,
            target: network.to_string(),
            before,
            ..Event::default()
        };
        self.audit.append(&[event]).map(|_head| ()).map_err(ChangeError::Audit)
    }

    fn write_audit(&self, changes: &[Changed], actor: &Actor, action: &str) -> Result<(), ChangeError> {
        let entry = |record: Option<&Record>| {
            let entry = record.and_then(|record| record.entry.as_ref());
            serde_json::to_value(entry).unwrap_or(Value::Null)
        };
        let event = |changed: &Changed| Event {
            who: &actor.name,
            role: actor.role,
            from: actor.from.map(|from| from.to_string()),
            node: &self.node,
            action,
            target: changed.after.network.to_string(),
            why: None,
            before: entry(changed.before.as_ref()),
            after: entry(Some(&changed.after)),
        };
        let events: Vec<Event<'_>> = changes.iter().map(event).collect();
        if events.is_empty() {
            return Ok(());
        }
        self.audit.append(&events).map(|_head| ()).map_err(ChangeError::Audit)
    }

    /// Writes records to the disk.
    pub(super) async fn append(&self, records: &[Record]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let records = records.to_vec();
        self.with_file(move |file| file.append(&records)).await
    }

    /// Does something with the file on a thread that may wait for the disk.
    pub(super) async fn with_file<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut BlockFile) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let file = Arc::clone(&self.file);
        let working =
            tokio::task::spawn_blocking(move || work(&mut file.lock().unwrap_or_else(PoisonError::into_inner)));
        working.await.map_err(io::Error::other)?
    }

    /// Shows how far it is.
    pub(super) fn publish(&self, writer: &Writer) {
        let redis = self.redis.as_ref().map(|redis| redis.redis().status());
        let mut status = self.lock_status();
        status.store = if redis.is_some() { "redis" } else { "file" };
        if let Some(redis) = redis {
            status.is_up = redis.is_up && writer.synced_unix_ms > 0;
            status.failures_total = redis.failures_total;
            let is_clear = redis.is_up && writer.pending.is_empty();
            status.error =
                redis.last_error.map(|error| error.to_string()).or(status.error.take().filter(|_| !is_clear));
        } else {
            status.is_up = true;
        }
        status.revision = writer.head.revision;
        status.pending = writer.pending.len();
        status.synced_unix_ms = writer.synced_unix_ms;
        status.reconciled_total = writer.reconciled_total;
    }

    /// Notes what Redis has done wrong.
    pub(super) fn fail(&self, error: &StoreError) {
        self.lock_status().error = Some(error.to_string());
    }

    fn lock_status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What Redis has stored, and what it has refused.
fn sorted_out(changes: &[(Record, Expected)], written: Vec<Written>) -> (Vec<Record>, Option<ChangeError>) {
    let (mut records, mut refused) = (Vec::new(), None);
    for ((wanted, _), written) in changes.iter().zip(written) {
        match written {
            Written::Stored(record) | Written::Newer(record) => records.push(record),
            Written::Unexpected(known) => {
                refused = refused.or(Some(ChangeError::Unexpected(wanted.network, known.map(Box::new))));
            }
            Written::Full => refused = refused.or(Some(ChangeError::Full)),
            Written::NotTried => {}
        }
    }
    (records, refused)
}
