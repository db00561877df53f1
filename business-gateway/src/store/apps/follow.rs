//! What the nodes of a fleet tell each other: changes of applications, heard in their order, and the filter of app keys.
//!
//! A node reads the stream of changes [`Pace::poll`] after [`Pace::poll`]. A change that was announced before a reading began is
//! known after it; so for [`Pace::lease`] from the beginning of a reading this node is *current*: what it takes for unknown was
//! unknown then. Who makes a new application announces it, waits for a lease, and hands the key out: by then every node has
//! either heard of it or knows that it is no longer current and asks the store.
//!
//! Where the stream does not go back to the place a node has read to, the node has missed something: all it knows is stale, and
//! the filter is made anew. The filter is made from the index of all keys, and left in Redis with the place in the stream at
//! which it was begun, so that a node that starts reads it and follows from there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gatehouse_shared::clock;
use gatehouse_store::StoreError;
use gatehouse_store::app::{Announced, Followed, Position, RecordKind, RedisApps};
use tokio::sync::Notify;

use super::bloom::Bloom;
use super::filter::Filter;
use super::keyring::Keyring;

/// Keys of the index read at a time.
const PAGE: usize = 2_000;
/// The largest filter that is left for others, in bytes: it has to be read within one command's time.
const LARGEST_LEFT: u64 = 32 << 20;
/// A failed attempt at a new filter is repeated so soon.
const AGAIN: Duration = Duration::from_secs(1);

/// How often a node asks for changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From one reading of changes to the next.
    pub poll: Duration,
    /// From one filter to the next.
    pub rebuild: Duration,
}

impl Pace {
    /// For how long after the beginning of a reading a node is current.
    #[must_use]
    pub fn lease(self) -> Duration {
        self.poll * 3
    }
}

/// Who wants to hear of changes.
pub trait Listener: Send + Sync + 'static {
    /// A record was changed.
    fn changed(&self, change: &Announced, now: Instant);
    /// Changes may have been missed.
    fn missed(&self, now: Instant);
    /// Nothing that was announced before is missing until then.
    fn is_current_until(&self, until: Instant);
}

/// One node that follows the changes of its fleet.
#[derive(Debug)]
pub struct Follower {
    redis: RedisApps,
    filter: Arc<Filter>,
    keyring: Arc<Keyring>,
    pace: Pace,
    /// A new filter is wanted.
    wanted: Notify,
    is_following: AtomicBool,
    /// Changes heard of.
    pub heard: AtomicU64,
    /// Times that changes may have been missed.
    pub gaps: AtomicU64,
    /// Readings that failed.
    pub failed: AtomicU64,
}

impl Follower {
    /// A node that has read nothing yet.
    #[must_use]
    pub fn new(redis: RedisApps, filter: Arc<Filter>, keyring: Arc<Keyring>, pace: Pace) -> Self {
        Self {
            redis,
            filter,
            keyring,
            pace,
            wanted: Notify::new(),
            is_following: AtomicBool::new(false),
            heard: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// How often it reads.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Follows for ever.
    pub async fn run<L: Listener>(&self, listener: &L) {
        tokio::join!(self.follow(listener), self.keep_filter());
    }

    async fn follow<L: Listener>(&self, listener: &L) {
        let mut turns = tokio::time::interval(self.pace.poll);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut position = None;
        loop {
            turns.tick().await;
            let read = match position.take() {
                None => self.start().await,
                Some(at) => self.read(at, listener).await,
            };
            match read {
                Ok(at) => position = Some(at),
                Err((at, error)) => {
                    tracing::debug!(%error, "changes of applications are not heard");
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    position = at;
                }
            }
        }
    }

    /// Where to begin: at the filter that was left, or at the end of the stream.
    async fn start(&self) -> Result<Position, (Option<Position>, StoreError)> {
        let left = self.redis.filter().await.map_err(|error| (None, error))?;
        let end = self.redis.end().await.map_err(|error| (None, error))?;
        self.is_following.store(true, Ordering::Release);
        if let Some((position, filter)) = left.as_deref().and_then(read_left) {
            let attempt = self.filter.begin();
            self.filter.finish(attempt, filter);
            return Ok(position);
        }
        self.wanted.notify_one();
        Ok(end)
    }

    /// Hears of everything since a place.
    async fn read<L: Listener>(
        &self,
        mut position: Position,
        listener: &L,
    ) -> Result<Position, (Option<Position>, StoreError)> {
        loop {
            let began = clock::now();
            match self.redis.follow(&position).await {
                Ok(Followed::Changes(changes, reached)) => {
                    let is_end = reached == position;
                    for change in &changes {
                        if change.kind == RecordKind::App {
                            self.filter.insert(self.keyring.mark(&change.key));
                        }
                        listener.changed(change, began);
                    }
                    self.heard.fetch_add(u64::try_from(changes.len()).unwrap_or(0), Ordering::Relaxed);
                    position = reached;
                    if is_end {
                        listener.is_current_until(began + self.pace.lease());
                        return Ok(position);
                    }
                }
                Ok(Followed::Gap(end)) => {
                    tracing::warn!("changes of applications were missed; all that is known is read again");
                    self.gaps.fetch_add(1, Ordering::Relaxed);
                    // What was added in the gap is in no filter: begun anew before anything else is believed.
                    self.filter.forget();
                    listener.missed(began);
                    self.wanted.notify_one();
                    position = end;
                }
                Err(error) => return Err((Some(position), error)),
            }
        }
    }

    /// Makes a new filter when one is wanted, and once in a while, so that what was removed leaves it.
    async fn keep_filter(&self) {
        loop {
            let pause = self.pace.rebuild.mul_f64(0.75 + fastrand::f64() / 2.0);
            tokio::select! {
                () = self.wanted.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            if !self.is_following.load(Ordering::Acquire) {
                continue;
            }
            while let Err(error) = self.make_filter().await {
                tracing::debug!(%error, "no new filter of applications");
                self.filter.abandon();
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    /// Makes a filter of all keys in the index, and leaves it for others.
    async fn make_filter(&self) -> Result<(), StoreError> {
        let attempt = self.filter.begin();
        let position = self.redis.end().await?;
        let count = self.redis.count().await?;
        // With room for what is added until the next one.
        let filter = Bloom::with_room(count.saturating_add(count / 4));
        let mut after: Option<String> = None;
        loop {
            let keys = self.redis.keys(after.as_deref(), PAGE).await?;
            for key in &keys {
                filter.insert(self.keyring.mark(key));
            }
            match keys.into_iter().next_back() {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        let Some(filter) = self.filter.finish(attempt, filter) else {
            return Err(StoreError::Unexpected("changes were missed while the filter was made".into()));
        };
        tracing::info!(keys = filter.held(), bytes = filter.bytes(), "the filter of applications is made");
        if filter.bytes() <= LARGEST_LEFT {
            let mut left = position.as_str().as_bytes().to_vec();
            left.push(b'\n');
            left.extend(filter.to_bytes());
            self.redis.leave_filter(&left).await?;
        }
        Ok(())
    }

    /// A new filter is made soon if the one in use is full.
    pub fn look_after_filter(&self) {
        if self.filter.current().is_some_and(|filter| filter.is_full()) {
            self.wanted.notify_one();
        }
    }
}

/// A filter that was left, and the place in the stream from which on it may lack something.
fn read_left(bytes: &[u8]) -> Option<(Position, Bloom)> {
    let end = bytes.iter().take(64).position(|byte| *byte == b'\n')?;
    let (position, rest) = bytes.split_at_checked(end)?;
    let filter = Bloom::from_bytes(rest.get(1..)?)?;
    Some((Position::from_text(std::str::from_utf8(position).ok()?), filter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_was_left_is_read_with_its_place() {
        let filter = Bloom::with_room(1_000);
        filter.insert((1, 2));
        let mut left = b"17-3\n".to_vec();
        left.extend(filter.to_bytes());
        let (position, again) = read_left(&left).unwrap();
        assert_eq!((position.as_str(), again.held()), ("17-3", 1));
        assert!(again.may_hold((1, 2)));
        assert!(read_left(&left[..100]).is_none() && read_left(b"").is_none() && read_left(b"17-3").is_none());
    }
}
