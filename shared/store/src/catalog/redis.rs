//! Revisions of the catalog in Redis.

use std::sync::Arc;

use super::Sealed;
use crate::key::Key;
use crate::redis::{Batch, Command, Redis, StoreError};

/// Publishes a revision if the current one is still the one expected.
///
/// KEYS: the current revision, the log, the revision. ARGV: expected revision or nothing, revision, how many are kept, head,
/// document, key, mac. The answer is the revision that is current before, or nothing, and whether it was the one expected.
const PUBLISH: &str = r"
local current = redis.call('GET', KEYS[1]) or ''
if current ~= ARGV[1] then return {0, current} end
redis.call('DEL', KEYS[3])
redis.call('HSET', KEYS[3], 'head', ARGV[4], 'document', ARGV[5], 'key', ARGV[6], 'mac', ARGV[7])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[2])
redis.call('SET', KEYS[1], ARGV[2])
local over = redis.call('ZCARD', KEYS[2]) - ARGV[3]
if over > 0 then
  for _, old in ipairs(redis.call('ZRANGE', KEYS[2], 0, over - 1)) do
    redis.call('ZREM', KEYS[2], old)
    if old ~= ARGV[2] then redis.call('DEL', KEYS[1] .. ':' .. old) end
  end
end
return {1, current}
";

/// Revisions asked for in one round trip.
const PAGE: usize = 100;

/// Changes kept in the stream, about.
const CHANGES_KEPT: usize = 100_000;

/// The greatest revision: a sorted set knows no greater number exactly.
const MOST_REVISIONS: u64 = 1 << 53;

/// What became of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is the current one.
    Stored,
    /// Another one is current than was expected; nothing was changed.
    Unexpected(Option<u64>),
}

/// The catalog in Redis.
#[derive(Clone, Debug)]
pub struct RedisCatalog {
    redis: Arc<Redis>,
    current: Key,
    log: Key,
}

impl RedisCatalog {
    /// The catalog in this Redis.
    #[must_use]
    pub fn new(redis: Arc<Redis>) -> Self {
        Self { redis, current: Key::catalog(), log: Key::catalog_log() }
    }

    /// The current revision; `None` where there is none.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn current(&self) -> Result<Option<u64>, StoreError> {
        self.current_text().await?.map(|text| number(&text)).transpose()
    }

    /// What stands where the current revision should, whatever it is.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn current_text(&self) -> Result<Option<String>, StoreError> {
        self.redis.one(Command::on("GET", &self.current)).await
    }

    /// A revision; `None` where it is not kept.
    ///
    /// # Errors
    /// As [`StoreError`] says; [`StoreError::Unexpected`] for a document longer than `document_max` bytes, which is not read.
    pub async fn read(&self, revision: u64, document_max: usize) -> Result<Option<Sealed>, StoreError> {
        let key = Key::catalog_revision(revision);
        let length: usize = self.redis.one(Command::on("HSTRLEN", &key).arg("document")).await?;
        if length > document_max {
            let message =
                format!("revision {revision} of the catalog has {length} bytes, document_max are {document_max}");
            return Err(StoreError::Unexpected(message.into()));
        }
        let fields = Command::on("HMGET", &key).arg(&["head", "document", "key", "mac"]);
        let fields: [Option<String>; 4] = self.redis.one(fields).await?;
        let [Some(head), Some(document), Some(key), Some(mac)] = fields else { return Ok(None) };
        Ok(Some(Sealed { head, document, key, mac }))
    }

    /// Makes a revision the current one if `expected` still stands there, and forgets the oldest where there are more than `keep`.
    ///
    /// # Errors
    /// As [`StoreError`] says; after [`StoreError::Lost`] it may be stored or not.
    pub async fn publish(
        &self,
        expected: Option<&str>,
        revision: u64,
        sealed: &Sealed,
        keep: usize,
    ) -> Result<Published, StoreError> {
        let keys = [&self.current, &self.log, &Key::catalog_revision(revision)];
        let command = Command::script(PUBLISH, &keys)
            .arg(expected.unwrap_or_default())
            .arg(revision)
            .arg(keep.max(1))
            .arg(&[&sealed.head, &sealed.document, &sealed.key, &sealed.mac]);
        let (is_stored, current): (u8, String) = self.redis.one(command).await?;
        match (is_stored, current.as_str()) {
            (1, _) => Ok(Published::Stored),
            (_, "") => Ok(Published::Unexpected(None)),
            (_, current) => number(current).map(|current| Published::Unexpected(Some(current))),
        }
    }

    /// Tells who follows the changes of the business tier that there is a new revision. Nodes ask for it all the same.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn announce(&self, revision: u64) -> Result<(), StoreError> {
        let command = Command::on("XADD", &Key::changes())
            .arg(&["MAXLEN", "~"])
            .arg(CHANGES_KEPT)
            .arg(&["*", "kind", "catalog", "key", "", "version"])
            .arg(revision);
        self.redis.one::<String>(command).await.map(|_id| ())
    }

    /// The last revisions, the newest first, at most so many, without their documents.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn history(&self, most: usize) -> Result<Vec<(u64, Sealed)>, StoreError> {
        let range = Command::on("ZREVRANGE", &self.log).arg(0).arg(most.saturating_sub(1));
        let revisions: Vec<String> = self.redis.one(range).await?;
        let revisions: Vec<u64> = revisions.iter().filter_map(|text| number(text).ok()).collect();
        let mut history = Vec::with_capacity(revisions.len());
        for page in revisions.chunks(PAGE) {
            let fields = ["head", "key", "mac"];
            let batch =
                page.iter().map(|revision| Command::on("HMGET", &Key::catalog_revision(*revision)).arg(&fields));
            let batch = batch.fold(Batch::new(), Batch::with);
            let mut replies = self.redis.run(&batch).await?;
            for revision in page {
                let [head, key, mac]: [Option<String>; 3] = replies.take()?;
                if let (Some(head), Some(key), Some(mac)) = (head, key, mac) {
                    history.push((*revision, Sealed { head, document: String::new(), key, mac }));
                }
            }
        }
        Ok(history)
    }
}

/// A revision as Redis has it.
fn number(text: &str) -> Result<u64, StoreError> {
    let number = text.parse().ok().filter(|number| (1..=MOST_REVISIONS).contains(number));
    number.ok_or_else(|| {
        let text: String = text.chars().take(40).collect();
        StoreError::Unexpected(format!("{text:?} is no revision of the catalog").into())
    })
}
