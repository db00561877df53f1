//! The slots of a capacity as calls take and give them back: [`Capacity`] behind a lock, and tasks that wait.
//!
//! The lock is held for the arithmetic of one call among a handful of groups, far below a microsecond, and never while anybody
//! is woken or anything is awaited. Who waits has a channel of his own, so a wake-up reaches the one it is meant for. What is
//! sent through it *is* the slot: whether the receiver takes it, has gone, or goes in the same moment, somebody drops it, and
//! dropping gives it back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gatehouse_shared::clock;
use tokio::sync::oneshot;

use super::capacity::{Capacity, Settings, Shown, Status};
use super::pool::{Entry, Refusal, Why, Woken};

/// A capacity by the settings of one generation.
#[derive(Debug)]
pub(super) struct Limit {
    settings: Settings,
    slots: Arc<Slots>,
}

/// The slots themselves; they outlive generations.
#[derive(Debug)]
struct Slots {
    capacity: Mutex<Capacity<oneshot::Sender<Slot>>>,
    /// Whether the size is found, so that answers count.
    is_found: AtomicBool,
}

type Guard<'a> = MutexGuard<'a, Capacity<oneshot::Sender<Slot>>>;

/// A call under way, until this is dropped.
#[derive(Debug)]
#[must_use = "a slot that is dropped is free"]
pub(super) struct Slot {
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    slots: Arc<Slots>,
    group: Arc<str>,
    since: Instant,
}

/// Why there is no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoSlot {
    /// It was refused at once.
    AtOnce(Refusal),
    /// It waited as long as made sense.
    WaitedOut,
}

impl NoSlot {
    /// What the metrics call it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::AtOnce(Refusal { why: Why::QueueFull, .. }) => "queue_full",
            Self::AtOnce(Refusal { why: Why::Hopeless, .. }) => "hopeless",
            Self::WaitedOut => "waited_out",
        }
    }
}

impl Limit {
    /// Calls that have slots by `before` keep them.
    pub(super) fn new(settings: Settings, before: Option<&Self>) -> Self {
        let fresh = || {
            let capacity = Capacity::new(&settings, 1, clock::now());
            Arc::new(Slots { is_found: AtomicBool::new(capacity.is_found()), capacity: Mutex::new(capacity) })
        };
        let slots = before.map_or_else(fresh, |before| Arc::clone(&before.slots));
        Self { settings, slots }
    }

    /// Takes a slot at `now`, or waits for one as long as makes sense with the answer due at `deadline` and the service taking
    /// `expected`. Also tells how long it waited, where it did.
    pub(super) async fn enter(
        &self,
        group: &Arc<str>,
        deadline: Instant,
        expected: Duration,
        nodes: u32,
        now: Instant,
    ) -> Result<(Slot, Option<Duration>), NoSlot> {
        // A call that cannot be answered in time any more is not worth a slot; but an estimate is not the truth.
        let left = deadline.saturating_duration_since(now);
        let start_by = now + (left - expected.min(left / 2)).min(self.settings.wait_max);
        let mut waiting = None;
        let entry = self.slots.current(&self.settings, nodes, now).enter(group, now, start_by, || {
            let (sender, receiver) = oneshot::channel();
            waiting = Some(receiver);
            sender
        });
        match (entry, waiting) {
            (Entry::Go, _) => Ok((Slot::new(&self.slots, group, now), None)),
            (Entry::Wait(ticket), Some(receiver)) => {
                let waiting = Waiting { slots: &self.slots, group, ticket };
                let outcome = tokio::time::timeout_at(start_by.into(), receiver).await;
                drop(waiting);
                let Ok(Ok(slot)) = outcome else { return Err(NoSlot::WaitedOut) };
                let waited = slot.since().map_or(Duration::ZERO, |since| since.saturating_duration_since(now));
                Ok((slot, Some(waited)))
            }
            (Entry::Refuse(refusal), _) => Err(NoSlot::AtOnce(refusal)),
            // Who waits was asked for what he waits with.
            (Entry::Wait(_), None) => Err(NoSlot::WaitedOut),
        }
    }

    /// How it stands on this node, one of `nodes`.
    pub(super) fn status(&self, nodes: u32) -> Status {
        self.slots.current(&self.settings, nodes, clock::now()).status()
    }
}

impl Slots {
    /// The capacity with these settings in force, or newer ones.
    fn current(self: &Arc<Self>, settings: &Settings, nodes: u32, now: Instant) -> Guard<'_> {
        let mut capacity = self.lock();
        if capacity.adopt(settings, nodes, now) {
            self.is_found.store(capacity.is_found(), Ordering::Relaxed);
            self.settle(capacity, now);
            capacity = self.lock();
        }
        capacity
    }

    /// Wakes everybody who waits no more, one after the other and without the lock.
    fn settle<'a>(self: &'a Arc<Self>, mut capacity: Guard<'a>, now: Instant) {
        while let Some(woken) = capacity.next(now) {
            drop(capacity);
            let unused = match woken {
                Woken::Granted(group, sender) => sender.send(Slot::new(self, &group, now)).err(),
                // Without a sender the receiver knows.
                Woken::Expired(_sender) => None,
            };
            // Who gave up in this very moment has no use for it. Not left to Drop, which would come here again.
            let unused = unused.and_then(|mut slot| slot.held.take());
            capacity = self.lock();
            if let Some(unused) = unused {
                capacity.return_unused(&unused.group, now);
            }
        }
    }

    fn lock(&self) -> Guard<'_> {
        self.capacity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn new(slots: &Arc<Slots>, group: &Arc<str>, since: Instant) -> Self {
        let (slots, group) = (Arc::clone(slots), Arc::clone(group));
        Self { held: Some(Held { slots, group, since }) }
    }

    /// What the service has shown.
    pub(super) fn learn(&self, shown: Shown) {
        if let Some(held) = self.held.as_ref().filter(|held| held.slots.is_found.load(Ordering::Relaxed)) {
            held.slots.lock().learn(shown);
        }
    }

    /// Since when it is taken.
    pub(super) fn since(&self) -> Option<Instant> {
        self.held.as_ref().map(|held| held.since)
    }
}

impl Slot {
    /// Gives it back; `now` is what the caller read off the clock just before.
    pub(super) fn leave(&mut self, now: Instant) {
        let Some(Held { slots, group, since }) = self.held.take() else { return };
        let mut capacity = slots.lock();
        capacity.leave(&group, now.saturating_duration_since(since), now);
        slots.settle(capacity, now);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.held.is_some() {
            self.leave(clock::now());
        }
    }
}

/// A call in a queue; it leaves the queue when it is dropped.
struct Waiting<'a> {
    slots: &'a Slots,
    group: &'a Arc<str>,
    ticket: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.slots.lock().give_up(self.group, self.ticket);
    }
}

#[cfg(test)]
mod tests;
