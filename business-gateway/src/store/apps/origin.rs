//! Where records come from and go to, behind the memory of a node: Redis, files, or another store one day.
//!
//! An [`Origin`] keeps sealed records under a kind and a key with a version each, and changes one only when the version is the one
//! that the caller has seen. A database that keeps the same is one more implementation.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use gatehouse_store::StoreError;
use gatehouse_store::app::{Announced, RecordKind, RedisApps, Versioned, Written};

use super::keyring::Keyring;

/// Why a store did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OriginError {
    /// It cannot be reached, or did not answer; a change may be made or not.
    #[error("the store is away: {0}")]
    Away(Arc<str>),
    /// It has as much as it may have.
    #[error("the store is full: {0}")]
    Full(Arc<str>),
}

/// An answer to wait for.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = Result<T, OriginError>> + Send + 'a>>;

/// A change of a record.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// What it is.
    pub kind: RecordKind,
    /// Its key.
    pub key: &'a str,
    /// The version it must have now; 0: never seen.
    pub expected: u64,
    /// What it is to be; `None`: removed.
    pub record: Option<&'a [u8]>,
    /// When it ends by itself, in Unix milliseconds.
    pub until: Option<u64>,
}

/// A store of sealed records.
pub trait Origin: Debug + Send + Sync {
    /// A record; version 0 when there never was one.
    fn read<'a>(&'a self, kind: RecordKind, key: &'a str) -> Waiting<'a, Versioned>;

    /// Several records of a kind, in the order of their keys.
    fn read_many<'a>(&'a self, kind: RecordKind, keys: &'a [String]) -> Waiting<'a, Vec<Versioned>>;

    /// Changes a record, if it has the expected version.
    fn write<'a>(&'a self, change: Change<'a>) -> Waiting<'a, Written>;

    /// Tells all nodes of a change that was made.
    fn announce<'a>(&'a self, change: &'a Announced) -> Waiting<'a, ()>;

    /// The keys of applications in alphabetical order, at most so many of those behind `after`.
    fn keys<'a>(&'a self, after: Option<&'a str>, most: usize) -> Waiting<'a, Vec<String>>;

    /// About how many applications there are.
    fn count(&self) -> Waiting<'_, u64>;
}

/// Records in Redis.
#[derive(Debug)]
pub struct InRedis {
    redis: RedisApps,
    keyring: Arc<Keyring>,
}

impl InRedis {
    /// Those in this Redis; subjects are found by the hashes that `keyring` makes.
    #[must_use]
    pub fn new(redis: RedisApps, keyring: Arc<Keyring>) -> Self {
        Self { redis, keyring }
    }

    fn id<'k>(&self, kind: RecordKind, key: &'k str) -> std::borrow::Cow<'k, str> {
        if kind == RecordKind::Subject { self.keyring.hash_of_subject(key).into() } else { key.into() }
    }
}

impl From<StoreError> for OriginError {
    fn from(error: StoreError) -> Self {
        Self::Away(error.to_string().into())
    }
}

impl Origin for InRedis {
    fn read<'a>(&'a self, kind: RecordKind, key: &'a str) -> Waiting<'a, Versioned> {
        Box::pin(async move { self.redis.read(kind, &self.id(kind, key)).await.map_err(OriginError::from) })
    }

    fn read_many<'a>(&'a self, kind: RecordKind, keys: &'a [String]) -> Waiting<'a, Vec<Versioned>> {
        Box::pin(async move {
            let ids: Vec<String> = keys.iter().map(|key| self.id(kind, key).into_owned()).collect();
            self.redis.read_many(kind, &ids).await.map_err(OriginError::from)
        })
    }

    fn write<'a>(&'a self, change: Change<'a>) -> Waiting<'a, Written> {
        Box::pin(async move {
            let Change { kind, key, expected, record, until } = change;
            // In the index before it exists: who makes a filter from the index misses none.
            if kind == RecordKind::App && record.is_some() {
                self.redis.list(&[key]).await?;
            }
            let written = self.redis.write(kind, &self.id(kind, key), expected, record, until).await?;
            let is_gone = kind == RecordKind::App && record.is_none() && matches!(written, Written::Stored(_));
            if is_gone {
                self.redis.unlist(key).await?;
            }
            Ok(written)
        })
    }

    fn announce<'a>(&'a self, change: &'a Announced) -> Waiting<'a, ()> {
        Box::pin(async move { self.redis.announce(change).await.map(|_position| ()).map_err(OriginError::from) })
    }

    fn keys<'a>(&'a self, after: Option<&'a str>, most: usize) -> Waiting<'a, Vec<String>> {
        Box::pin(async move { self.redis.keys(after, most).await.map_err(OriginError::from) })
    }

    fn count(&self) -> Waiting<'_, u64> {
        Box::pin(async move { self.redis.count().await.map_err(OriginError::from) })
    }
}
