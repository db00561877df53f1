//! Where answers are kept: in memory, bounded in bytes, the least useful ones given up first.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header;
use pingora::Result;
use pingora::cache::key::{CacheHashKey, HashBinary};
use pingora::cache::storage::{HandleHit, HandleMiss, MissFinishType, PurgeOutcome, PurgeTarget, PurgeType};
use pingora::cache::trace::SpanHandle;
use pingora::cache::{CacheKey, CacheMeta, HitHandler, MissHandler, Storage};
use pingora::http::ResponseHeader;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::key;

/// What an entry weighs beside its parts, in bytes: its own fields, its place in the table, and what an allocator rounds up.
const OVERHEAD: usize = size_of::<Entry>() + 128;
/// What a header field weighs beside its name and value: its place in the map and in the index, and two counted buffers.
const FIELD: usize = 160;

/// The answers of this node.
#[derive(Debug)]
pub struct Store {
    entries: Cache<HashBinary, Arc<Entry>, Weight>,
    bound: AtomicU64,
}

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<HashBinary, Arc<Entry>> for Weight {
    fn weight(&self, _: &HashBinary, entry: &Arc<Entry>) -> u64 {
        entry.weight
    }
}

/// An answer.
#[derive(Debug)]
struct Entry {
    key: Box<[u8]>,
    fresh_until: SystemTime,
    updated: SystemTime,
    stale_while_revalidate: u32,
    stale_if_error: u32,
    head: ResponseHeader,
    body: Bytes,
    weight: u64,
}

impl Entry {
    /// One whose body is still to come.
    fn begin(key: &CacheKey, meta: &CacheMeta) -> Self {
        Self {
            key: key.primary_key().into(),
            fresh_until: meta.fresh_until(),
            updated: meta.updated(),
            stale_while_revalidate: meta.stale_while_revalidate_sec(),
            stale_if_error: meta.stale_if_error_sec(),
            head: meta.response_header_copy(),
            body: Bytes::new(),
            weight: 0,
        }
    }

    fn with_body(mut self, body: Bytes) -> Self {
        // What is whole has a length.
        self.head.remove_header(&header::TRANSFER_ENCODING);
        if self.head.insert_header(header::CONTENT_LENGTH, body.len()).is_err() {
            tracing::debug!("an answer has no room for its length");
        }
        let fields: usize =
            self.head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD).sum();
        self.weight = u64::try_from(self.key.len() + fields + body.len() + OVERHEAD).unwrap_or(u64::MAX);
        self.body = body;
        self
    }

    fn meta(&self) -> CacheMeta {
        let head = self.head.clone();
        CacheMeta::new(self.fresh_until, self.updated, self.stale_while_revalidate, self.stale_if_error, head)
    }
}

impl Store {
    /// A store of `max_bytes`.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        /// What an answer weighs that is neither large nor small.
        const USUAL: u64 = 4 * 1024;
        let expected = usize::try_from(max_bytes / USUAL).unwrap_or(usize::MAX).clamp(16, 1 << 20);
        Self { entries: Cache::with_weighter(expected, max_bytes, Weight), bound: AtomicU64::new(max_bytes) }
    }

    /// Gives it another bound; what no longer fits is given up.
    pub fn bound(&self, max_bytes: u64) {
        if self.bound.swap(max_bytes, Ordering::Relaxed) != max_bytes {
            self.entries.set_capacity(max_bytes);
        }
    }

    /// How many answers there are, and their bytes.
    #[must_use]
    pub fn size(&self) -> (usize, u64) {
        (self.entries.len(), self.entries.weight())
    }

    /// Gives up the answers of a host (of all, without) whose target begins with `prefix`; tells how many.
    pub fn forget(&self, host: Option<&str>, prefix: &str) -> usize {
        let before = self.entries.len();
        self.entries.retain(|_, entry| {
            let is_meant = key::place(&entry.key).is_some_and(|(of, target)| {
                host.is_none_or(|host| host.as_bytes().eq_ignore_ascii_case(of))
                    && target.starts_with(prefix.as_bytes())
            });
            !is_meant
        });
        before.saturating_sub(self.entries.len())
    }
}

#[async_trait]
impl Storage for Store {
    async fn lookup(&'static self, key: &CacheKey, _: &SpanHandle) -> Result<Option<(CacheMeta, HitHandler)>> {
        let Some(entry) = self.entries.get(&key.combined_bin()) else { return Ok(None) };
        let (meta, body) = (entry.meta(), entry.body.clone());
        let hit: HitHandler = Box::new(Hit { left: Some(body.clone()), body });
        Ok(Some((meta, hit)))
    }

    async fn get_miss_handler(&'static self, key: &CacheKey, meta: &CacheMeta, _: &SpanHandle) -> Result<MissHandler> {
        let miss = Miss { store: self, bin: key.combined_bin(), entry: Entry::begin(key, meta), body: BytesMut::new() };
        Ok(Box::new(miss))
    }

    async fn purge(&'static self, target: PurgeTarget<'_>, _: PurgeType, _: &SpanHandle) -> Result<PurgeOutcome> {
        let removed = self.entries.remove(&target.key().combined_bin());
        Ok(if removed.is_some() { PurgeOutcome::Purged(None) } else { PurgeOutcome::NotFound })
    }

    async fn update_meta(&'static self, key: &CacheKey, meta: &CacheMeta, _: &SpanHandle) -> Result<bool> {
        let bin = key.combined_bin();
        let Some(before) = self.entries.get(&bin) else { return Ok(false) };
        self.entries.insert(bin, Arc::new(Entry::begin(key, meta).with_body(before.body.clone())));
        Ok(true)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync + 'static) {
        self
    }
}

/// A kept answer on its way to a client.
struct Hit {
    body: Bytes,
    left: Option<Bytes>,
}

#[async_trait]
impl HandleHit for Hit {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        Ok(self.left.take().filter(|body| !body.is_empty()))
    }

    async fn finish(self: Box<Self>, _: &'static (dyn Storage + Sync), _: &CacheKey, _: &SpanHandle) -> Result<()> {
        Ok(())
    }

    fn can_seek(&self) -> bool {
        true
    }

    fn seek(&mut self, start: usize, end: Option<usize>) -> Result<()> {
        let end = end.unwrap_or(self.body.len()).min(self.body.len());
        self.left = Some(if start < end { self.body.slice(start..end) } else { Bytes::new() });
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}

/// An answer that is being read for the first time. It is there for others once it is whole.
struct Miss {
    store: &'static Store,
    bin: HashBinary,
    entry: Entry,
    body: BytesMut,
}

#[async_trait]
impl HandleMiss for Miss {
    async fn write_body(&mut self, data: Bytes, _is_end: bool) -> Result<()> {
        self.body.extend_from_slice(&data);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<MissFinishType> {
        let Self { store, bin, entry, body } = *self;
        let length = body.len();
        store.entries.insert(bin, Arc::new(entry.with_body(body.freeze())));
        Ok(MissFinishType::Created(length))
    }
}
