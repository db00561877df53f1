//! What all limits of a process share: the store, what waits to be asked of it, and what is known of the fleet.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gatehouse_shared::clock::Clock;
use gatehouse_store::Fleet;
use gatehouse_store::quota::Accounts;
use tokio::sync::Notify;

use super::counters::Counter;
use super::lease::Wish;
use super::table::Held;

/// Most subjects that wait to be asked about; 8 bytes each. What finds no place asks again with its next call.
const QUEUE_MAX: usize = 100_000;
/// A round that takes longer counts as a store that is away, for those who would have to wait for it.
const SLOW: Duration = Duration::from_millis(100);

/// What all limits of a process share.
#[derive(Debug)]
pub struct Quotas {
    pub(super) accounts: Accounts,
    clock: Clock,
    began: Instant,
    began_unix_ms: u64,
    /// How far the store's clock is ahead of what this process makes of its own, in milliseconds.
    ahead_ms: AtomicI64,
    fleet: Arc<Fleet>,
    /// Locked for a push, and for taking everything.
    queue: Mutex<Vec<Arc<Held>>>,
    pub(super) wake: Notify,
    is_failing: AtomicBool,
    was_heard: AtomicBool,
    /// When the round under way began, in milliseconds of this process, plus one; 0 without one.
    round_began: AtomicU64,
    holders: AtomicU64,
    /// An account was found that had lost something: others may have, too.
    pub(super) must_tell_all: AtomicBool,
    /// What is counted of rounds.
    pub totals: Totals,
}

/// What is counted of rounds: exchanges with the store, one round trip each.
#[derive(Debug, Default)]
pub struct Totals {
    /// Rounds that worked.
    pub rounds: Counter,
    /// Rounds that failed.
    pub failed_rounds: Counter,
    /// Accounts that had lost what the store had acknowledged, and were told again.
    pub healed: Counter,
    /// Times the queue was full.
    pub queue_full: Counter,
}

impl Quotas {
    /// Quotas over these accounts.
    #[must_use]
    pub fn new(accounts: Accounts, fleet: Arc<Fleet>, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            accounts,
            began: clock.now(),
            began_unix_ms: clock.unix_ms(),
            clock,
            ahead_ms: AtomicI64::new(0),
            fleet,
            queue: Mutex::default(),
            wake: Notify::new(),
            is_failing: AtomicBool::new(false),
            was_heard: AtomicBool::new(false),
            round_began: AtomicU64::new(0),
            // 0 is nobody.
            holders: AtomicU64::new(1),
            must_tell_all: AtomicBool::new(false),
            totals: Totals::default(),
        })
    }

    /// The store's time at a moment, as far as this process knows it, in Unix milliseconds. It does not follow the wall clock of
    /// this machine, so a jump of that changes no window.
    #[inline]
    #[must_use]
    pub fn unix_ms(&self, now: Instant) -> u64 {
        let since = self.millis(now);
        self.began_unix_ms.saturating_add(since).saturating_add_signed(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// Whether the store does not answer, or not fast enough to wait for it.
    #[inline]
    #[must_use]
    pub fn is_away(&self, now: Instant) -> bool {
        if self.is_failing.load(Ordering::Relaxed) {
            return true;
        }
        let began = self.round_began.load(Ordering::Relaxed);
        began > 0
            && self.millis(now).saturating_add(1).saturating_sub(began)
                > SLOW.as_millis().try_into().unwrap_or(u64::MAX)
    }

    /// Nodes that are alive; `assumed` until the store was heard.
    #[must_use]
    pub fn nodes(&self, assumed: u32) -> u32 {
        let live = self.fleet.live_nodes().max(1);
        if self.was_heard.load(Ordering::Relaxed) { live } else { live.max(assumed) }
    }

    /// A number that nobody else has.
    pub(super) fn holder(&self) -> u64 {
        self.holders.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Does what a lease wishes.
    #[inline]
    pub(super) fn serve(&self, held: &Arc<Held>, wish: Wish) {
        if wish != Wish::None {
            self.queue(held, wish);
        }
    }

    #[cold]
    fn queue(&self, held: &Arc<Held>, wish: Wish) {
        if wish != Wish::Hurry && !self.push(held) {
            held.lease().unqueue();
            return;
        }
        // While the store is away it is asked now and then only.
        if wish != Wish::Soon && !self.is_failing.load(Ordering::Relaxed) {
            self.wake.notify_one();
        }
    }

    /// Queues what is marked as queued.
    pub(super) fn push(&self, held: &Arc<Held>) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() >= QUEUE_MAX {
            drop(queue);
            self.totals.queue_full.add();
            return false;
        }
        queue.push(Arc::clone(held));
        true
    }

    /// Takes what waits, at most `most`, those first that have waited longest.
    pub(super) fn take(&self, most: usize) -> Vec<Arc<Held>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let count = queue.len().min(most);
        queue.drain(..count).collect()
    }

    /// Whether something waits.
    pub(super) fn has_queue(&self) -> bool {
        !self.queue.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// A round begins.
    pub(super) fn begin_round(&self, now: Instant) {
        self.round_began.store(self.millis(now).saturating_add(1), Ordering::Relaxed);
    }

    /// A round ended: it worked, or not. The store said what time it was.
    pub(super) fn end_round(&self, has_worked: bool, store_ms: Option<u64>, began: Instant, now: Instant) {
        self.round_began.store(0, Ordering::Relaxed);
        let was_failing = self.is_failing.swap(!has_worked, Ordering::Relaxed);
        if !has_worked {
            self.totals.failed_rounds.add();
            if !was_failing {
                tracing::warn!("quotas: the store is away; limits go on as on_store_failure says");
            }
            return;
        }
        self.totals.rounds.add();
        self.was_heard.store(true, Ordering::Relaxed);
        if was_failing {
            tracing::info!("quotas: the store answers again");
        }
        if let Some(store_ms) = store_ms {
            self.set_clock(store_ms, began, now);
        }
    }

    /// The store said its time somewhere between two moments; what is known is only changed when it is outside of that.
    fn set_clock(&self, store_ms: u64, began: Instant, now: Instant) {
        let (earliest, latest) = (self.unix_ms(began), self.unix_ms(now));
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let by = if store_ms < earliest {
            signed(store_ms) - signed(earliest)
        } else if store_ms > latest {
            signed(store_ms) - signed(latest)
        } else {
            return;
        };
        self.ahead_ms.fetch_add(by, Ordering::Relaxed);
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }
}
