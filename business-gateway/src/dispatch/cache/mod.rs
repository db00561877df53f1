//! Answers of services are kept, and given again to those who ask for the same.
//!
//! - [`config`], [`settings`]: what an API and a node say of it
//! - [`key`]: what tells answers apart, and what of a call reaches the service
//! - [`control`]: whether an answer may be kept, and for how long
//! - [`answer`]: an answer as it is kept, and how it is given
//! - [`memory`]: the answers of a node, bounded in bytes
//! - [`flight`]: of several who want the same one asks
//! - [`tag`], [`purge`]: which answers do not stand any more
//! - [`fleet`]: what nodes leave for each other in Redis, and how they hear of purges; [`codec`] is how it is written
//! - [`gather`]: the body of an answer that is to be kept
//! - [`squeeze`]: bodies are compressed where that pays
//! - [`metrics`]: what is counted
//!
//! The way of a call through it is [`crate::pipeline`]'s. What is kept is the answer of the service as it came, before anything
//! is made of it for an application.

pub mod config;
pub mod settings;
pub mod key;
pub mod control;
pub mod answer;
pub mod memory;
pub mod flight;
pub mod tag;
pub mod purge;
pub mod fleet;
pub mod codec;
pub mod gather;
pub mod squeeze;
pub mod metrics;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use gatehouse_store::Redis;
use http::HeaderMap;
use tokio::sync::Semaphore;

use self::answer::{State, Stored};
use self::fleet::FleetCache;
use self::flight::Flights;
use self::key::Key;
use self::memory::Memory;
use self::purge::Purges;
use self::settings::Settings;
use crate::accept::room::Room;

/// Answers that are compressed and left for the fleet at a time.
const SETTLING: usize = 16;

/// The cache of a process.
#[derive(Debug)]
pub struct Cache {
    /// Answers.
    pub memory: Memory,
    /// What is being asked for.
    pub flights: Arc<Flights>,
    /// What does not stand any more.
    pub purges: Purges,
    /// What nodes leave for each other; none without a store.
    pub fleet: Option<FleetCache>,
    /// Answers on their way in.
    pub filling: Arc<Room>,
    /// Room for what is done with an answer after it was kept.
    settling: Arc<Semaphore>,
    refreshing: AtomicUsize,
    refreshes: AtomicU64,
    refreshes_dropped: AtomicU64,
}

/// What was found.
#[derive(Debug)]
pub enum Found {
    /// An answer to give, and what it is good for; not one that is over.
    Answer(Arc<Stored>, State),
    /// None to give; perhaps one that is over, which the service may confirm or which helps when it fails.
    None(Option<Arc<Stored>>),
    /// None, and whoever asks does not wait for others.
    Pass(Option<Arc<Stored>>),
}

impl Cache {
    /// An empty one.
    #[must_use]
    pub fn new(settings: &Settings, store: Option<&Arc<Redis>>) -> Arc<Self> {
        Arc::new(Self {
            memory: Memory::new(settings.memory_max),
            flights: Arc::default(),
            purges: Purges::default(),
            fleet: store.map(|redis| FleetCache::new(Arc::clone(redis))),
            filling: Arc::default(),
            settling: Arc::new(Semaphore::new(SETTLING)),
            refreshing: AtomicUsize::new(0),
            refreshes: AtomicU64::new(0),
            refreshes_dropped: AtomicU64::new(0),
        })
    }

    /// What there is at `now` under `key` for a request with these headers. One look-up.
    #[must_use]
    pub fn find(&self, settings: &Settings, key: &Key, request: &HeaderMap, now: u64) -> Found {
        let Some(slot) = self.memory.find(key) else { return Found::None(None) };
        let stored = slot.find(request).filter(|stored| self.stands(settings, stored, now));
        match stored.map(|stored| (stored, stored.state(now))) {
            Some((stored, state)) if state != State::Over => Found::Answer(Arc::clone(stored), state),
            _ if now < slot.pass_until => Found::Pass(stored.cloned()),
            stored => Found::None(stored.map(|(stored, _)| Arc::clone(stored))),
        }
    }

    /// Whether an answer was not purged, as far as the node can know.
    #[must_use]
    pub fn stands(&self, settings: &Settings, stored: &Stored, now: u64) -> bool {
        let is_known = self.fleet.is_none() || {
            let heard = self.purges.heard().unwrap_or(0).max(stored.asked);
            now.saturating_sub(heard) <= settings.blind_max_ms
        };
        is_known && self.purges.let_stand(stored)
    }

    /// The key of a flight: that of the variant, as far as it is known what variants there are.
    #[must_use]
    pub fn flight_key(&self, key: &Key, request: &HeaderMap) -> Key {
        let slot = self.memory.find(key);
        let by = slot.as_ref().and_then(|slot| slot.variants.last()).map(|stored| stored.by.as_slice());
        match by {
            Some(by) if !by.is_empty() => key.variant(by.iter().map(|(name, _)| (name, request))),
            _ => *key,
        }
    }

    /// Room for one more call in the background.
    #[must_use]
    pub fn refresh(self: &Arc<Self>, settings: &Settings) -> Option<Refreshing> {
        if self.refreshing.fetch_add(1, Ordering::Relaxed) >= settings.refreshes_max {
            self.refreshing.fetch_sub(1, Ordering::Relaxed);
            self.refreshes_dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.refreshes.fetch_add(1, Ordering::Relaxed);
        Some(Refreshing(Arc::clone(self)))
    }

    /// Calls in the background so far, and those that there was no room for.
    #[must_use]
    pub fn refreshes(&self) -> (u64, u64) {
        (self.refreshes.load(Ordering::Relaxed), self.refreshes_dropped.load(Ordering::Relaxed))
    }
}

/// A call in the background.
#[derive(Debug)]
pub struct Refreshing(Arc<Cache>);

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.0.refreshing.fetch_sub(1, Ordering::Relaxed);
    }
}
