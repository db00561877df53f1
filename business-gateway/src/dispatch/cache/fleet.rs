//! What nodes leave for each other in Redis, and how they hear of purges.
//!
//! A call waits for Redis a bounded while, and goes on as if nothing were there. Answers are written in the background, a few at
//! a time; what there is no room for is not written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gatehouse_shared::clock;
use gatehouse_store::Redis;
use gatehouse_store::cache::{Followed, RedisCache};
use gatehouse_store::redis::StoreError;
use http::HeaderMap;
use tokio::sync::Mutex;

use super::Cache;
use super::answer::{Kept, Stored};
use super::codec::{self, Left};
use super::key::Key;
use super::purge::Purges;
use super::settings::Settings;
use super::squeeze;
use super::tag::Purge;
use crate::gateway::Gateway;

/// Shortest and longest time between two looks for purges, in milliseconds: different each time, so that nodes spread out.
const BETWEEN_MS: std::ops::Range<u64> = 150..250;
/// A node that has not heard of purges for longer does not read what others have left, in milliseconds.
const HEARD_MS: u64 = 2_000;
/// What Redis keeps of an answer beyond its end, so that it can be confirmed.
const LONGER_MS: u64 = 60_000;

/// What nodes leave for each other.
#[derive(Debug)]
pub struct FleetCache {
    redis: RedisCache,
    /// Held for one look for purges.
    turn: Mutex<()>,
    /// What is counted.
    pub counters: Counters,
}

/// What became of reads and writes.
#[derive(Debug, Default)]
pub struct Counters {
    hit: AtomicU64,
    miss: AtomicU64,
    purged: AtomicU64,
    late: AtomicU64,
    failed: AtomicU64,
    written: AtomicU64,
    write_failed: AtomicU64,
    write_dropped: AtomicU64,
}

impl Counters {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("hit", &self.hit),
            ("miss", &self.miss),
            ("purged", &self.purged),
            ("late", &self.late),
            ("failed", &self.failed),
            ("written", &self.written),
            ("write_failed", &self.write_failed),
            ("write_dropped", &self.write_dropped),
        ]
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
        .into_iter()
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The API.
    pub api: &'a str,
    /// The key.
    pub key: &'a Key,
    /// The headers of the request.
    pub request: &'a HeaderMap,
    /// The largest body, in bytes.
    pub most: u64,
}

impl FleetCache {
    /// That of this Redis.
    #[must_use]
    pub fn new(redis: Arc<Redis>) -> Self {
        Self { redis: RedisCache::new(redis), turn: Mutex::default(), counters: Counters::default() }
    }

    /// The answer that a node has left, if it stands.
    pub async fn read(&self, purges: &Purges, settings: &Settings, wanted: Wanted<'_>) -> Option<Arc<Stored>> {
        let has_heard = purges.heard().is_some_and(|heard| clock::unix_ms().saturating_sub(heard) <= HEARD_MS);
        if !has_heard || purges.unsent().is_some() {
            return None;
        }
        let node = purges.now().node;
        let (counter, found) = match tokio::time::timeout(settings.fleet_timeout, self.find(node, wanted)).await {
            Ok(Ok(Some((stored, as_of)))) if purges.let_stand_of_fleet(&stored.tags, as_of) => {
                (&self.counters.hit, Some(stored))
            }
            Ok(Ok(Some(_))) => (&self.counters.purged, None),
            Ok(Ok(None)) => (&self.counters.miss, None),
            Ok(Err(error)) => {
                tracing::debug!(%error, "answers of the fleet cannot be read");
                (&self.counters.failed, None)
            }
            Err(_elapsed) => (&self.counters.late, None),
        };
        add(counter);
        found.map(|stored| Arc::new(ready(*stored, settings)))
    }

    async fn find(&self, node: u64, wanted: Wanted<'_>) -> Result<Option<(Box<Stored>, u64)>, StoreError> {
        let most = usize::try_from(wanted.most).unwrap_or(usize::MAX);
        let Some(bytes) = self.redis.read(wanted.api, &wanted.key.to_hex()).await? else { return Ok(None) };
        let bytes = match codec::read(&bytes, node, most) {
            Some(Left::Varies(names)) => {
                let key = wanted.key.variant(names.iter().map(|name| (name, wanted.request)));
                let Some(bytes) = self.redis.read(wanted.api, &key.to_hex()).await? else { return Ok(None) };
                bytes
            }
            Some(Left::Answer(stored, as_of)) => {
                return Ok(Some((stored, as_of)).filter(|(stored, _)| stored.suits(wanted.request)));
            }
            None => return Ok(None),
        };
        match codec::read(&bytes, node, most) {
            Some(Left::Answer(stored, as_of)) if stored.suits(wanted.request) => Ok(Some((stored, as_of))),
            _ => Ok(None),
        }
    }

    /// Leaves an answer for others; `as_of` is the place up to which this node had heard of purges when it asked.
    async fn leave(&self, settings: &Settings, api: &str, key: &Key, stored: &Stored, as_of: u64) {
        let bytes = codec::write(stored, as_of);
        if bytes.len() > settings.fleet_answer_max {
            return;
        }
        let left = stored.times.end().saturating_sub(clock::unix_ms());
        let life = Duration::from_millis(left.saturating_add(LONGER_MS));
        let (place, names) = match stored.by.is_empty() {
            true => (*key, None),
            false => {
                let values: HeaderMap = stored
                    .by
                    .iter()
                    .flat_map(|(name, values)| values.iter().map(move |value| (name.clone(), value.clone())))
                    .collect();
                let place = key.variant(stored.by.iter().map(|(name, _)| (name, &values)));
                (place, Some(codec::write_varies(stored.by.iter().map(|(name, _)| name))))
            }
        };
        let written = match names {
            Some(names) => self.redis.write(api, &key.to_hex(), &names, life).await,
            None => Ok(()),
        };
        let written = match written {
            Ok(()) => self.redis.write(api, &place.to_hex(), &bytes, life).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(()) => add(&self.counters.written),
            Err(error) => {
                tracing::debug!(%error, "an answer cannot be left for the fleet");
                add(&self.counters.write_failed);
            }
        }
    }

    /// Tells all nodes of a purge, and returns its place.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn announce(&self, purge: &Purge) -> Result<u64, StoreError> {
        let (kind, name) = purge.words();
        self.redis.announce(kind, name).await
    }

    /// One look for purges; what could not be sent before goes first.
    async fn look(&self, purges: &Purges) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        while let Some(unsent) = purges.unsent() {
            let place = self.announce(&unsent).await?;
            purges.apply(&unsent, Some(place));
            purges.sent(&unsent);
        }
        loop {
            let now = clock::unix_ms();
            match self.redis.follow(purges.now().fleet).await? {
                Followed::Purges(heard) if heard.is_empty() => {
                    purges.heard_all(now);
                    return Ok(());
                }
                Followed::Purges(heard) => {
                    for (place, kind, name) in heard {
                        // Of a kind that is not known, a newer version may have purged anything.
                        let purge = Purge::from_words(&kind, &name).unwrap_or(Purge::All);
                        purges.apply(&purge, Some(place));
                        purges.reached(place);
                    }
                }
                Followed::Gap(place) => {
                    tracing::info!("which purges there were is not known: everything that was kept counts as purged");
                    purges.forget_all(place);
                    purges.reached(place);
                }
            }
        }
    }
}

/// An answer as this node keeps it: short ones are given faster as they are.
fn ready(stored: Stored, settings: &Settings) -> Stored {
    let is_kept_small = settings.compress_from > 0 && stored.body.length() >= settings.compress_from;
    match (&stored.body, is_kept_small) {
        (Kept::Squeezed(bytes, length), false) => match squeeze::plain(bytes, *length) {
            Some(plain) => Stored { body: Kept::Plain(plain), ..stored },
            None => stored,
        },
        _ => stored,
    }
}

impl Cache {
    /// Does what nobody has to wait for when an answer was kept: compresses it where that pays, and leaves it for the fleet.
    /// `as_of` is when it was asked for.
    pub fn settle(self: &Arc<Self>, settings: &Settings, api: &Arc<str>, key: Key, stored: &Arc<Stored>, left: Leave) {
        let is_text = squeeze::is_text(&stored.headers);
        let is_long = settings.compress_from > 0 && stored.body.length() >= settings.compress_from && is_text;
        let for_fleet = left.for_fleet && self.fleet.is_some();
        if !(is_long || for_fleet) {
            return;
        }
        let Ok(permit) = Arc::clone(&self.settling).try_acquire_owned() else {
            if let Some(fleet) = self.fleet.as_ref().filter(|_| for_fleet) {
                add(&fleet.counters.write_dropped);
            }
            return;
        };
        let (cache, settings, api, stored) = (Arc::clone(self), settings.clone(), Arc::clone(api), Arc::clone(stored));
        tokio::spawn(async move {
            let _permit = permit;
            let plain = match &stored.body {
                Kept::Plain(bytes) if is_text => Some(bytes.clone()),
                _ => None,
            };
            let squeezed = match plain {
                // It takes milliseconds, in which other calls would wait.
                Some(plain) => {
                    let length = plain.len();
                    let squeezing = tokio::task::spawn_blocking(move || squeeze::squeezed(&plain));
                    squeezing
                        .await
                        .ok()
                        .flatten()
                        .map(|bytes| Arc::new(stored.with_body(Kept::Squeezed(bytes, length))))
                }
                None => None,
            };
            if let Some(squeezed) = squeezed.as_ref().filter(|_| is_long) {
                cache.memory.replace(key, &stored, squeezed);
            }
            if let Some(fleet) = cache.fleet.as_ref().filter(|_| for_fleet) {
                fleet.leave(&settings, &api, &key, squeezed.as_ref().unwrap_or(&stored), left.as_of).await;
            }
        });
    }

    /// Purges, at once on this node, and within a second on all that reach the store.
    ///
    /// # Errors
    /// As [`PurgeError`] says; nothing was purged then.
    pub async fn purge(&self, purge: &Purge) -> Result<Reach, PurgeError> {
        let (place, reach) = match &self.fleet {
            None => (None, Reach::Alone),
            Some(fleet) => match fleet.announce(purge).await {
                Ok(place) => {
                    // What is asked for from here on is then known to be newer, also by the other nodes.
                    if let Err(error) = fleet.look(&self.purges).await {
                        tracing::debug!(%error, "purges are not heard of");
                    }
                    (Some(place), Reach::Fleet)
                }
                Err(error) if self.purges.keep_unsent(purge.clone()) => (None, Reach::NodeOnly(error.to_string())),
                Err(error) => return Err(PurgeError(error)),
            },
        };
        if place.is_none_or(|place| self.purges.now().fleet < place) {
            self.purges.apply(purge, place);
        }
        if *purge == Purge::All {
            self.memory.clear();
        }
        Ok(reach)
    }
}

/// Where a purge is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// On all nodes, within a second.
    Fleet,
    /// On this node, which has no others.
    Alone,
    /// On this node now, on the others when the store is back; with what is wrong with it.
    NodeOnly(String),
}

/// The store is away, and as many purges wait for it as may.
#[derive(Debug, thiserror::Error)]
#[error("the store is away, and as many purges wait for it as may")]
pub struct PurgeError(#[source] StoreError);

/// Whether an answer is left for the fleet, and as of which place.
#[derive(Debug, Clone, Copy)]
pub struct Leave {
    /// Whether it is.
    pub for_fleet: bool,
    /// The place.
    pub as_of: u64,
}

/// Follows the purges of other nodes and the settings of the memory, until the task is dropped.
pub async fn follow(gateway: Arc<Gateway>) {
    let cache = &gateway.cache;
    loop {
        cache.memory.resize(gateway.live.current().value.cache.memory_max);
        if let Some(fleet) = &cache.fleet
            && let Err(error) = fleet.look(&cache.purges).await
        {
            tracing::debug!(%error, "purges are not heard of");
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(BETWEEN_MS))).await;
    }
}
