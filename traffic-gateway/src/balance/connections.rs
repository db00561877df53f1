//! The connections to one node: how many there may be, and which of them a request takes.
//!
//! * **HTTP/1.1**: a request holds one of `connections` places while it is at the node; in use plus idle is never more.
//! * **h2c**: the node has `connections` slots. A request joins the first slot that is not filled (few busy connections gather more frames
//!   into each read and write than many idle ones; measured 10 to 15 % of both tiers' CPU), or else the one with the fewest
//!   streams. The slot has a connection of our own ([`super::channel`]); the first request that finds none holds the slot's gate while
//!   it opens one, those behind it wait and then share it, or fail with it.
//!
//! What goes Pingora's way over h2c (routes whose answers are kept) shares places and slots, and has connections of its own: each slot is a key in
//! Pingora's pool. Pingora opens a connection whenever its pool has none at hand, so a burst of first requests would open one
//! each, and it takes a multiplexed connection out of its pool for a moment whenever a stream is added. So a request holds the gate while Pingora finds or
//! opens the connection ([`Ticket::queue`]). Between threads there is one more gap: a connection is out of the pool for a moment
//! while one of its streams is given back. Whoever looks for it right then is told by [`super::opener`] that the slot has a connection, and
//! looks again. A connection of Pingora's older than the maximum age is left behind by moving its slot to the next epoch of its key: no new stream
//! finds it, the running ones end in peace, and it closes when idle. While they end, a slot has one more connection.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use gatehouse_shared::clock;
use h2::client::SendRequest;
use tokio::sync::Semaphore;

use super::channel::{self, Channel, Unreached};

/// Streams from which on the next slot is used: enough to gather, few enough for one connection's order to hold up nobody.
const FILLED: usize = 32;

/// How many connections a node may have, and how they are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most connections to the node.
    pub connections: usize,
    /// Most requests at once on one connection: 1 means HTTP/1.1.
    pub streams: usize,
    /// Age at which a multiplexed connection takes no new requests.
    pub max_age: Duration,
}

/// The connections of one node.
#[derive(Debug)]
pub struct Connections {
    bounds: Bounds,
    room: Semaphore,
    slots: Box<[Slot]>,
    created: Instant,
    waited: AtomicU64,
    opened: AtomicU64,
    open: AtomicUsize,
}

#[derive(Debug)]
struct Slot {
    gate: Semaphore,
    streams: AtomicUsize,
    epoch: AtomicU64,
    /// Milliseconds after `created` at which the connection was opened, plus one; zero when none was.
    opened_at: AtomicU64,
    failures: AtomicU64,
    /// Touched when a connection of Pingora's opens or closes, never by a request that finds one.
    live: Mutex<Live>,
    /// Our own connection, if one takes requests.
    channel: Mutex<Option<Channel>>,
}

/// The open connections of one epoch of a slot.
#[derive(Debug, Default)]
struct Live {
    epoch: u64,
    count: usize,
}

/// Why a request got no place at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Every place stayed taken until the deadline.
    #[error("no connection came free in time")]
    Full,
    /// The connection this request waited for could not be opened.
    #[error("the connection could not be opened")]
    ConnectFailed,
}

/// A request's place at a node; given back when dropped.
#[derive(Debug)]
pub struct Ticket {
    connections: Arc<Connections>,
    slot: usize,
    /// The id of the channel it goes by.
    channel: u64,
    holds_gate: bool,
    has_waited: bool,
}

impl Connections {
    /// The connections of a node that has none yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Arc<Self> {
        let slots = if bounds.streams > 1 { bounds.connections } else { 1 };
        Arc::new(Self {
            bounds,
            room: Semaphore::new((bounds.connections * bounds.streams).min(Semaphore::MAX_PERMITS)),
            slots: (0..slots).map(|_| Slot::new()).collect(),
            created: clock::now(),
            waited: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            open: AtomicUsize::new(0),
        })
    }

    /// The bounds these connections were made with.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Requests that had to wait because every place was taken.
    #[must_use]
    pub fn waited(&self) -> u64 {
        self.waited.load(Ordering::Relaxed)
    }

    /// Connections opened since the start.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many slots there are: keys of connections in Pingora's pool.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Whether the slot has an open connection of its present epoch.
    pub(super) fn has_live(&self, slot: usize) -> bool {
        self.slots.get(slot).is_some_and(|slot| {
            let live = slot.live();
            live.count > 0 && live.epoch == slot.epoch.load(Ordering::Relaxed)
        })
    }

    /// A connection of the slot was opened; gives its epoch, for [`Connections::closed`].
    pub(super) fn opened_in(&self, slot: usize) -> u64 {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        let Some(slot) = self.slots.get(slot) else { return 0 };
        let epoch = slot.epoch.load(Ordering::Relaxed);
        slot.opened_at.store(self.age_of_node(clock::now()).saturating_add(1), Ordering::Relaxed);
        let mut live = slot.live();
        if live.epoch != epoch {
            *live = Live { epoch, count: 0 };
        }
        live.count += 1;
        epoch
    }

    /// A connection of the slot and epoch was closed.
    pub(super) fn closed(&self, slot: usize, epoch: u64) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(slot) = self.slots.get(slot) {
            let mut live = slot.live();
            if live.epoch == epoch {
                live.count = live.count.saturating_sub(1);
            }
        }
    }

    /// One of our own connections was opened; gives what tells it from others.
    pub(super) fn channel_opened(&self) -> u64 {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.opened.fetch_add(1, Ordering::Relaxed)
    }

    /// One of our own connections was closed.
    pub(super) fn channel_closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Has a channel take no more requests.
    pub(super) fn let_go(&self, slot: usize, id: u64) {
        if let Some(slot) = self.slots.get(slot) {
            slot.channel().take_if(|channel| channel.id == id);
        }
    }

    /// How many requests a channel took, and whether its slot has any now; `None` when it takes no more.
    pub(super) fn taken(&self, slot: usize, id: u64) -> Option<(u64, bool)> {
        let slot = self.slots.get(slot)?;
        let taken = slot.channel().as_ref().filter(|channel| channel.id == id)?.taken;
        Some((taken, slot.streams.load(Ordering::Relaxed) > 0))
    }

    /// Takes a place at the node, waiting at most until `deadline`.
    ///
    /// # Errors
    ///
    /// [`Refused::Full`] at the deadline.
    pub async fn enter(self: &Arc<Self>, deadline: Instant) -> Result<Ticket, Refused> {
        let mut has_waited = false;
        if let Ok(permit) = self.room.try_acquire() {
            permit.forget();
        } else {
            has_waited = true;
            self.waited.fetch_add(1, Ordering::Relaxed);
            acquire(&self.room, deadline).await?;
        }
        let slot = self.next_slot();
        let Some(taken) = self.slots.get(slot) else { return Err(Refused::Full) };
        taken.streams.fetch_add(1, Ordering::Relaxed);
        Ok(Ticket { connections: Arc::clone(self), slot, channel: 0, holds_gate: false, has_waited })
    }

    fn next_slot(&self) -> usize {
        let mut best = 0;
        let mut fewest = usize::MAX;
        for (index, slot) in self.slots.iter().enumerate() {
            let streams = slot.streams.load(Ordering::Relaxed);
            if streams < FILLED {
                return index;
            }
            if streams < fewest {
                (best, fewest) = (index, streams);
            }
        }
        best
    }

    fn age_of_node(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.created).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Slot {
    fn new() -> Self {
        Self {
            gate: Semaphore::new(1),
            streams: AtomicUsize::new(0),
            epoch: AtomicU64::new(0),
            opened_at: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            live: Mutex::default(),
            channel: Mutex::default(),
        }
    }

    fn channel(&self) -> std::sync::MutexGuard<'_, Option<Channel>> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> std::sync::MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called with the gate held.
    fn retire_if_old(&self, age_of_node: u64, max_age: Duration) {
        let opened_at = self.opened_at.load(Ordering::Relaxed);
        if opened_at != 0 && u128::from(age_of_node.saturating_sub(opened_at)) > max_age.as_millis() {
            self.opened_at.store(0, Ordering::Relaxed);
            self.epoch.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Ticket {
    /// What tells this connection from the others of its node in Pingora's pool.
    #[must_use]
    pub fn key(&self) -> u64 {
        let slots = self.connections.slots.len() as u64;
        self.slot().map_or(0, |slot| slot.epoch.load(Ordering::Relaxed) * slots + self.slot as u64)
    }

    /// The position of the slot.
    pub(super) fn slot_index(&self) -> usize {
        self.slot
    }

    /// Waits for its turn to have Pingora find or open the slot's connection; nobody else does until [`Self::connected`] or
    /// [`Self::failed`]. Over HTTP/1.1 it is always its turn.
    ///
    /// # Errors
    ///
    /// [`Refused::Full`] at the deadline, [`Refused::ConnectFailed`] when it waited for a connection that another request
    /// then failed to open.
    pub async fn queue(&mut self, now: Instant, deadline: Instant) -> Result<(), Refused> {
        if self.connections.bounds.streams == 1 {
            return Ok(());
        }
        self.pass_gate(deadline).await?;
        if let Some(slot) = self.slot() {
            slot.retire_if_old(self.connections.age_of_node(now), self.connections.bounds.max_age);
        }
        Ok(())
    }

    /// A hand on the slot's own connection, and whether it was there before; opens it if there is none.
    ///
    /// # Errors
    ///
    /// As [`Self::queue`], or the connection cannot be opened: [`Self::failed`] tells those who wait for it.
    pub async fn channel(
        &mut self,
        settings: &channel::Settings,
        now: Instant,
        deadline: Instant,
    ) -> Result<(SendRequest<Bytes>, bool), Unreached> {
        let max_age = self.connections.bounds.max_age;
        if let Some(sender) = self.take_channel(now, max_age) {
            return Ok((sender, true));
        }
        self.pass_gate(deadline).await?;
        if let Some(sender) = self.take_channel(now, max_age) {
            self.open_gate();
            return Ok((sender, true));
        }
        match Channel::open(settings, &self.connections, self.slot).await {
            Ok(channel) => {
                if let Some(slot) = self.slot() {
                    *slot.channel() = Some(channel);
                }
                let sender = self.take_channel(now, Duration::MAX);
                self.open_gate();
                sender.map(|sender| (sender, false)).ok_or(Refused::ConnectFailed.into())
            }
            Err(error) => Err(Unreached::Connect(error)),
        }
    }

    /// The connection that [`Self::channel`] gave takes no more requests: the next one opens another.
    pub fn lost(&self) {
        self.connections.let_go(self.slot, self.channel);
    }

    fn take_channel(&mut self, now: Instant, max_age: Duration) -> Option<SendRequest<Bytes>> {
        let mut channel = self.connections.slots.get(self.slot)?.channel();
        let (id, sender) = channel.as_mut().map(|channel| (channel.id, channel.take(now, max_age)))?;
        self.channel = id;
        if sender.is_none() {
            *channel = None;
        }
        sender
    }

    async fn pass_gate(&mut self, deadline: Instant) -> Result<(), Refused> {
        let Some(slot) = self.connections.slots.get(self.slot) else { return Err(Refused::Full) };
        if let Ok(permit) = slot.gate.try_acquire() {
            permit.forget();
            self.holds_gate = true;
            return Ok(());
        }
        let failures = slot.failures.load(Ordering::Acquire);
        acquire(&slot.gate, deadline).await?;
        (self.holds_gate, self.has_waited) = (true, true);
        if slot.failures.load(Ordering::Acquire) == failures { Ok(()) } else { Err(Refused::ConnectFailed) }
    }

    /// Whether the place was not free at once.
    #[must_use]
    pub fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// The connection was found or opened: those who wait for it may go on.
    pub fn connected(&mut self) {
        self.open_gate();
    }

    /// The connection could not be opened: those who wait for it fail as well, instead of trying one by one.
    pub fn failed(&mut self) {
        if let Some(slot) = self.slot() {
            slot.failures.fetch_add(1, Ordering::Release);
        }
        self.open_gate();
    }

    fn slot(&self) -> Option<&Slot> {
        self.connections.slots.get(self.slot)
    }

    fn open_gate(&mut self) {
        if std::mem::take(&mut self.holds_gate)
            && let Some(slot) = self.slot()
        {
            slot.gate.add_permits(1);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.open_gate();
        if let Some(slot) = self.slot() {
            slot.streams.fetch_sub(1, Ordering::Relaxed);
        }
        self.connections.room.add_permits(1);
    }
}

/// Takes one permit for good; the ticket gives it back.
async fn acquire(semaphore: &Semaphore, deadline: Instant) -> Result<(), Refused> {
    match tokio::time::timeout_at(deadline.into(), semaphore.acquire()).await {
        Ok(Ok(permit)) => {
            permit.forget();
            Ok(())
        }
        _ => Err(Refused::Full),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(connections: usize, streams: usize) -> Bounds {
        Bounds { connections, streams, max_age: Duration::from_secs(60) }
    }

    fn soon() -> Instant {
        clock::now() + Duration::from_millis(50)
    }

    async fn turn(node: &Arc<Connections>, deadline: Instant) -> Result<Ticket, Refused> {
        let mut ticket = node.enter(deadline).await?;
        ticket.queue(clock::now(), deadline).await?;
        Ok(ticket)
    }

    #[tokio::test]
    async fn http1_gives_out_no_more_places_than_connections() {
        let node = Connections::new(bounds(2, 1));
        let first = turn(&node, soon()).await.unwrap();
        let _second = turn(&node, soon()).await.unwrap();
        assert_eq!(turn(&node, soon()).await.unwrap_err(), Refused::Full);
        drop(first);
        turn(&node, soon()).await.unwrap();
        assert_eq!(node.waited(), 1);
    }

    #[tokio::test]
    async fn a_burst_over_h2c_opens_one_connection_a_slot() {
        let node = Connections::new(bounds(4, 100));
        let mut tasks = Vec::new();
        for _ in 0..4 * FILLED {
            let node = Arc::clone(&node);
            tasks.push(tokio::spawn(async move {
                let mut ticket = turn(&node, clock::now() + Duration::from_secs(5)).await.unwrap();
                let slot = ticket.slot().unwrap();
                if slot.opened_at.load(Ordering::Relaxed) == 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    node.opened_in(ticket.slot_index());
                }
                ticket.connected();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(node.opened(), 4);
    }

    #[tokio::test]
    async fn those_who_wait_fail_with_the_one_that_connects() {
        let node = Connections::new(bounds(1, 100));
        let mut first = turn(&node, soon()).await.unwrap();
        let waiting = tokio::spawn({
            let node = Arc::clone(&node);
            async move { turn(&node, clock::now() + Duration::from_secs(5)).await }
        });
        while node.slots[0].streams.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        first.failed();
        assert_eq!(waiting.await.unwrap().unwrap_err(), Refused::ConnectFailed);
        assert!(turn(&node, soon()).await.is_ok(), "the gate is open again");
    }

    #[tokio::test]
    async fn an_old_connection_gets_no_new_stream() {
        let node = Connections::new(Bounds { max_age: Duration::ZERO, ..bounds(1, 10) });
        let mut ticket = turn(&node, soon()).await.unwrap();
        let key = ticket.key();
        let epoch = node.opened_in(0);
        ticket.connected();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(node.has_live(0));
        assert_ne!(turn(&node, soon()).await.unwrap().key(), key);
        assert!(!node.has_live(0), "the slot has moved on");
        assert_eq!(node.open(), 1);
        node.closed(0, epoch);
        assert_eq!(node.open(), 0);
    }
}
