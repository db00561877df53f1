//! Who goes next, as a state machine: calls enter, wait in the queue of their group, and leave. No clock, no lock, no task: time
//! is a parameter, and who waits is whatever the caller gives.
//!
//! A *slot* is one call under way. What holds at every moment:
//!
//! - no more slots are taken than the pool has (except after it shrank: calls are not preempted);
//! - a free slot goes to a waiting call at once, except that the lowest group never has the slots of the reserve;
//! - a free slot goes to a group with a *claim* before one without. A group has a claim while it has less than its share; and,
//!   because calls come in bursts, while it has up to a quarter more than its share and not yet spent what it *saved* by having
//!   less of late. Whoever never got more than his share at any moment would get less than it on average;
//! - among groups with a claim to the one that saved most of its ratio; then, and among those without, to the one that has least
//!   of its ratio, then to the one named first; inside a group to the call that came first;
//! - the queue of a group is bounded, and nobody waits longer than makes sense for him.
//!
//! Groups are known by name, so that a slot taken under one configuration is given back under the next. A group that the
//! configuration no longer has keeps its place without a share until its last call has left.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shares::divide;

/// How much the call that ended last counts in the mean time that slots are held.
const MEAN_WEIGHT: f64 = 0.1;
/// What a group without a share is taken to have when its wait is estimated, in slots.
const MIN_SHARE: f64 = 0.01;
/// A group saves what it does not use of its share for this long, in seconds.
const SAVED_MAX: f64 = 1.0;
/// Who has saved may go beyond his share by one part in so many of it.
const BEYOND: usize = 4;

/// The state of a pool. `W` is what is kept of a call that waits.
#[derive(Debug)]
pub(super) struct Pool<W> {
    size: usize,
    reserve: usize,
    queue_max: usize,
    /// Those of the configuration in its order, the last being the lowest; then those that are gone.
    groups: Vec<Group<W>>,
    /// How many of them the configuration has.
    known: usize,
    in_flight: usize,
    next_ticket: u64,
    /// Mean time that a slot is held, in seconds; `None` before the first was given back.
    mean: Option<f64>,
}

#[derive(Debug)]
struct Group<W> {
    name: Arc<str>,
    ratio: u32,
    share: usize,
    in_flight: usize,
    /// How much less than its share it had of late, in slots times seconds; spent by having more.
    saved: f64,
    /// Up to when that is reckoned.
    saved_until: Option<Instant>,
    /// By ticket, so the oldest first; a tree, because who gives up leaves from the middle.
    queue: BTreeMap<u64, Waiter<W>>,
}

#[derive(Debug)]
struct Waiter<W> {
    start_by: Instant,
    call: W,
}

/// What a pool is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// The groups and their ratios, the lowest last.
    pub(super) groups: Vec<(Arc<str>, u32)>,
    /// Hundredths of the slots that are closed to the lowest group.
    pub(super) reserve_percent: u8,
    /// Most calls that wait in one group.
    pub(super) queue_max: usize,
}

/// What happens to a call that wants a slot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It has one.
    Go,
    /// It waits under this ticket.
    Wait(u64),
    /// It does not get one.
    Refuse(Refusal),
}

/// Why a call gets no slot, and when it may be worth trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) why: Why,
    /// About how long until those before it are through.
    pub(super) after: Duration,
}

/// Why a call gets no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// As many calls of its group wait as may.
    QueueFull,
    /// It would wait longer than it has time.
    Hopeless,
}

/// A call that waited and waits no more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Woken<W> {
    /// It has a slot.
    Granted(Arc<str>, W),
    /// Its time was over before a slot was free.
    Expired(W),
}

/// How a group stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Slots that are its own when all are wanted.
    pub share: usize,
    /// Slots it has.
    pub in_flight: usize,
    /// Calls that wait for one.
    pub waiting: usize,
}

impl<W> Pool<W> {
    /// A pool with nobody in it.
    pub(super) fn new(shape: &Shape, size: usize) -> Self {
        let mut pool = Self {
            size: 0,
            reserve: 0,
            queue_max: 0,
            groups: Vec::new(),
            known: 0,
            in_flight: 0,
            next_ticket: 0,
            mean: None,
        };
        pool.reshape(shape, size);
        pool
    }

    /// Takes another shape and size over. Who has a slot keeps it, who waits goes on waiting; afterwards [`Self::next`] says who
    /// may go.
    pub(super) fn reshape(&mut self, shape: &Shape, size: usize) {
        let mut before = std::mem::take(&mut self.groups);
        for (name, ratio) in &shape.groups {
            let mut group = match before.iter().position(|group| group.name == *name) {
                Some(index) => before.swap_remove(index),
                None => Group::new(name),
            };
            group.ratio = *ratio;
            self.groups.push(group);
        }
        self.known = self.groups.len();
        for mut gone in before {
            gone.ratio = 0;
            self.groups.push(gone);
        }
        self.queue_max = shape.queue_max;
        self.size = size;
        // A reserve against the only group there is would be of no use to anybody.
        let percent = if self.known > 1 { usize::from(shape.reserve_percent) } else { 0 };
        self.reserve = size.saturating_mul(percent) / 100;
        let ratios: Vec<u32> = self.groups.iter().map(|group| group.ratio).collect();
        for (group, share) in self.groups.iter_mut().zip(divide(size, &ratios)) {
            group.share = share;
        }
        self.forget_the_gone();
    }

    /// A call of `group` wants a slot, and to start at `start_by` at the latest. `call` is asked for when it has to wait.
    pub(super) fn enter(
        &mut self,
        group: &Arc<str>,
        now: Instant,
        start_by: Instant,
        call: impl FnOnce() -> W,
    ) -> Entry {
        let index = self.place(group);
        let queued = self.groups.get(index).map_or(0, |group| group.queue.len());
        if queued == 0 && self.may_go(index) {
            self.take(index, now);
            return Entry::Go;
        }
        let estimate = self.estimate(index);
        let refuse = |why| Entry::Refuse(Refusal { why, after: estimate });
        if queued >= self.queue_max {
            return refuse(Why::QueueFull);
        }
        if now >= start_by || estimate > start_by.saturating_duration_since(now) {
            return refuse(Why::Hopeless);
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        if let Some(group) = self.groups.get_mut(index) {
            group.queue.insert(ticket, Waiter { start_by, call: call() });
        }
        Entry::Wait(ticket)
    }

    /// A call that waited gave up. Nothing happens when it waits no more.
    pub(super) fn give_up(&mut self, group: &Arc<str>, ticket: u64) {
        if let Some(group) = self.groups.iter_mut().find(|known| known.name == *group) {
            group.queue.remove(&ticket);
        }
        self.forget_the_gone();
    }

    /// A call gives its slot back; `held` is how long it had it, and is left out when that says nothing. Afterwards
    /// [`Self::next`] says who may go.
    pub(super) fn leave(&mut self, group: &Arc<str>, held: Option<Duration>, now: Instant) {
        let Some(group) = self.groups.iter_mut().find(|known| known.name == *group) else { return };
        group.reckon(now);
        group.in_flight = group.in_flight.saturating_sub(1);
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(held) = held {
            let held = held.as_secs_f64();
            self.mean = Some(self.mean.map_or(held, |mean| mean + (held - mean) * MEAN_WEIGHT));
        }
        self.forget_the_gone();
    }

    /// The next call that waits no more, if there is one. To be asked until there is none.
    pub(super) fn next(&mut self, now: Instant) -> Option<Woken<W>> {
        let index = self.first_in_line(now)?;
        let group = self.groups.get_mut(index)?;
        let (_, waiter) = group.queue.pop_first()?;
        if waiter.start_by <= now {
            self.forget_the_gone();
            return Some(Woken::Expired(waiter.call));
        }
        let name = Arc::clone(&group.name);
        self.take(index, now);
        Some(Woken::Granted(name, waiter.call))
    }

    /// Slots.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Slots that are taken.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Slots that are closed to the lowest group.
    pub(super) fn reserve(&self) -> usize {
        self.reserve
    }

    /// Mean time that a slot is held.
    pub(super) fn mean(&self) -> Option<Duration> {
        self.mean.map(seconds)
    }

    /// How each group stands.
    pub(super) fn groups(&self) -> impl Iterator<Item = GroupStatus> {
        self.groups.iter().map(|group| GroupStatus {
            name: Arc::clone(&group.name),
            share: group.share,
            in_flight: group.in_flight,
            waiting: group.queue.len(),
        })
    }

    /// The place of a group. One that is not known, because the call began under an earlier configuration, gets one without a
    /// share.
    fn place(&mut self, name: &Arc<str>) -> usize {
        if let Some(index) = self.groups.iter().position(|group| group.name == *name) {
            return index;
        }
        self.groups.push(Group::new(name));
        self.groups.len() - 1
    }

    fn take(&mut self, index: usize, now: Instant) {
        if let Some(group) = self.groups.get_mut(index) {
            group.reckon(now);
            group.in_flight += 1;
            self.in_flight += 1;
        }
    }

    /// Whether a slot is free for a group.
    fn may_go(&self, index: usize) -> bool {
        let Some(group) = self.groups.get(index) else { return false };
        let is_lowest = index + 1 == self.known;
        let most = if is_lowest { (self.size - self.reserve).max(group.share) } else { self.size };
        self.in_flight < self.size && group.in_flight < most
    }

    /// The group that the next free slot goes to.
    fn first_in_line(&mut self, now: Instant) -> Option<usize> {
        self.groups.iter_mut().for_each(|group| group.reckon(now));
        let mut first: Option<(usize, &Group<W>)> = None;
        for (index, group) in self.groups.iter().enumerate() {
            if !group.queue.is_empty()
                && self.may_go(index)
                && first.is_none_or(|(_, before)| group.goes_before(before))
            {
                first = Some((index, group));
            }
        }
        first.map(|(index, _)| index)
    }

    /// How long the next call of a group would wait: its position times the mean time of a slot, divided by the slots that work
    /// for the group, which are its share or what it has beyond. Nothing as long as the mean is not known.
    fn estimate(&self, index: usize) -> Duration {
        let (Some(mean), Some(group)) = (self.mean, self.groups.get(index)) else { return Duration::ZERO };
        let sum: f64 = self.groups.iter().map(|group| f64::from(group.ratio)).sum();
        // Not rounded: a group may have less than one slot.
        let share = if sum > 0.0 { self.size as f64 * f64::from(group.ratio) / sum } else { 0.0 };
        let slots = share.max(group.in_flight as f64).max(MIN_SHARE);
        let position = (group.queue.len() + 1) as f64;
        seconds(mean * position / slots)
    }

    fn forget_the_gone(&mut self) {
        if self.groups.len() > self.known {
            let known = self.known;
            let mut index = 0;
            self.groups.retain(|group| {
                index += 1;
                index <= known || group.in_flight > 0 || !group.queue.is_empty()
            });
        }
    }
}

impl<W> Group<W> {
    fn new(name: &Arc<str>) -> Self {
        Self {
            name: Arc::clone(name),
            ratio: 0,
            share: 0,
            in_flight: 0,
            saved: 0.0,
            saved_until: None,
            queue: BTreeMap::new(),
        }
    }

    /// Reckons up to now what it has saved; to be called before its slots change.
    fn reckon(&mut self, now: Instant) {
        let since = self.saved_until.replace(now).unwrap_or(now);
        let passed = now.saturating_duration_since(since).as_secs_f64();
        let share = self.share as f64;
        self.saved = (self.saved + (share - self.in_flight as f64) * passed).clamp(0.0, share * SAVED_MAX);
    }

    /// Whether a slot is its own: it has less than its share, or has saved enough for a little more.
    fn has_claim(&self) -> bool {
        let more = if self.saved > 0.0 { self.share.div_ceil(BEYOND) } else { 0 };
        self.in_flight < self.share + more
    }

    /// Whether the next free slot is rather this group's than that of one named before it.
    fn goes_before(&self, other: &Self) -> bool {
        if self.has_claim() != other.has_claim() {
            return self.has_claim();
        }
        if self.has_claim() {
            // saved / ratio, without the division.
            let weight = |group: &Self, by: &Self| group.saved * f64::from(by.ratio);
            match weight(self, other).total_cmp(&weight(other, self)) {
                Ordering::Greater => return true,
                Ordering::Less => return false,
                Ordering::Equal => {}
            }
        }
        // (in_flight + 1) / ratio, without the division; nothing is more than a ratio of 0.
        let weight = |group: &Self, by: &Self| (group.in_flight as u128 + 1) * u128::from(by.ratio);
        weight(self, other) < weight(other, self)
    }
}

/// A time; the longest there is for one that is longer.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests;
