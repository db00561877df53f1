//! A pool and its size: fixed or found, and divided by the live nodes of the fleet. Like [`Pool`] it knows no clock and no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::adaptive::{Adaptive, Bounds, Fleet};
use super::pool::{Entry, GroupStatus, Pool, Shape, Woken};

/// What one generation of the catalog says of a capacity. The newest that anybody enters by is in force for all.
#[derive(Debug)]
pub(super) struct Settings {
    number: u64,
    size: Size,
    shape: Shape,
    /// The longest wait.
    pub(super) wait_max: Duration,
    /// A moment that is the same on all nodes.
    epoch: Instant,
}

/// How large a capacity is, for all nodes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// So many calls.
    Fixed(u32),
    /// As many as the service can take.
    Adaptive(Bounds),
}

impl Settings {
    /// Settings that are newer than all before. `epoch` is a moment that all nodes of the fleet mean.
    pub(super) fn new(size: Size, shape: Shape, wait_max: Duration, epoch: Instant) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self { number: LAST.fetch_add(1, Ordering::Relaxed) + 1, size, shape, wait_max, epoch }
    }
}

/// A pool with its size.
#[derive(Debug)]
pub(super) struct Capacity<W> {
    pool: Pool<W>,
    shape: Shape,
    adaptive: Option<Adaptive>,
    /// The settings in force.
    number: u64,
    nodes: u32,
}

/// How a capacity stands on this node.
#[derive(Debug, Clone)]
pub struct Status {
    /// Calls at a time.
    pub size: usize,
    /// Between which sizes, where the size is found.
    pub between: Option<(usize, usize)>,
    /// Slots closed to the lowest group.
    pub reserve: usize,
    /// Calls under way.
    pub in_flight: usize,
    /// Mean time that a call has its slot, once one has ended.
    pub mean: Option<Duration>,
    /// What the service takes to answer when nothing waits inside it, where the size is found.
    pub baseline: Option<Duration>,
    /// Each group, the lowest last; then those that the catalog no longer has, until their calls have ended.
    pub groups: Vec<GroupStatus>,
}

impl<W> Capacity<W> {
    /// A capacity that nobody uses, on one of `nodes` nodes.
    pub(super) fn new(settings: &Settings, nodes: u32, now: Instant) -> Self {
        let adaptive = settings.adaptive(nodes, now);
        let size = settings.size_of(adaptive.as_ref(), nodes);
        let shape = settings.shape.clone();
        Self { pool: Pool::new(&shape, size), shape, adaptive, number: settings.number, nodes }
    }

    /// Takes newer settings and another number of nodes over; returns whether there was anything to take over. Then
    /// [`Self::next`] says who may go.
    pub(super) fn adopt(&mut self, settings: &Settings, nodes: u32, now: Instant) -> bool {
        if settings.number < self.number || settings.number == self.number && nodes == self.nodes {
            return false;
        }
        (self.number, self.nodes) = (settings.number, nodes);
        self.adaptive = match (self.adaptive.take(), settings.bounds(nodes)) {
            (Some(mut adaptive), Some(bounds)) => {
                adaptive.rebound(bounds, settings.fleet(nodes));
                Some(adaptive)
            }
            _ => settings.adaptive(nodes, now),
        };
        self.shape = settings.shape.clone();
        self.pool.reshape(&self.shape, settings.size_of(self.adaptive.as_ref(), nodes));
        true
    }

    /// A call wants a slot; see [`Pool::enter`].
    pub(super) fn enter(
        &mut self,
        group: &Arc<str>,
        now: Instant,
        start_by: Instant,
        call: impl FnOnce() -> W,
    ) -> Entry {
        let entry = self.pool.enter(group, now, start_by, call);
        self.look();
        entry
    }

    /// A call that waited gave up.
    pub(super) fn give_up(&mut self, group: &Arc<str>, ticket: u64) {
        self.pool.give_up(group, ticket);
    }

    /// What the service has shown.
    pub(super) fn learn(&mut self, shown: Shown) {
        match (&mut self.adaptive, shown) {
            (Some(adaptive), Shown::Answered(took)) => adaptive.answered(took),
            (Some(adaptive), Shown::NotYet(waited)) => adaptive.gave_up(waited),
            (None, _) => {}
        }
    }

    /// A call gives its slot back that it had for `held`. Then [`Self::next`] says who may go.
    pub(super) fn leave(&mut self, group: &Arc<str>, held: Duration, now: Instant) {
        self.pool.leave(group, Some(held), now);
    }

    /// A slot that was granted comes back, because nobody was there to take it.
    pub(super) fn return_unused(&mut self, group: &Arc<str>, now: Instant) {
        self.pool.leave(group, None, now);
    }

    /// The next call that waits no more, if there is one. To be asked until there is none.
    pub(super) fn next(&mut self, now: Instant) -> Option<Woken<W>> {
        if let Some(adaptive) = &mut self.adaptive
            && adaptive.judge(now, self.pool.in_flight())
            && adaptive.size() != self.pool.size()
        {
            self.pool.reshape(&self.shape, adaptive.size());
        }
        let woken = self.pool.next(now);
        self.look();
        woken
    }

    /// Whether its size is found by how long answers take.
    pub(super) fn is_found(&self) -> bool {
        self.adaptive.is_some()
    }

    /// How it stands.
    pub(super) fn status(&self) -> Status {
        let adaptive = self.adaptive.as_ref();
        let between = adaptive.map(Adaptive::bounds).map(|bounds| (count(bounds.min), count(bounds.max)));
        Status {
            size: self.pool.size(),
            between,
            reserve: self.pool.reserve(),
            in_flight: self.pool.in_flight(),
            mean: self.pool.mean(),
            baseline: adaptive.and_then(Adaptive::baseline),
            groups: self.pool.groups().collect(),
        }
    }

    fn look(&mut self) {
        if let Some(adaptive) = &mut self.adaptive {
            adaptive.saw(self.pool.in_flight());
        }
    }
}

/// What a call tells about its service, counted from when all of it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// The head of the answer came after so long.
    Answered(Duration),
    /// Nothing came for so long, and nobody waits for it any more.
    NotYet(Duration),
}

impl Settings {
    fn bounds(&self, nodes: u32) -> Option<Bounds> {
        match self.size {
            Size::Fixed(_) => None,
            Size::Adaptive(Bounds { min, max, window }) => {
                Some(Bounds { min: part(min, nodes), max: part(max, nodes), window })
            }
        }
    }

    fn fleet(&self, nodes: u32) -> Fleet {
        Fleet { nodes, epoch: self.epoch }
    }

    fn adaptive(&self, nodes: u32, now: Instant) -> Option<Adaptive> {
        self.bounds(nodes).map(|bounds| Adaptive::new(bounds, self.fleet(nodes), now))
    }

    fn size_of(&self, adaptive: Option<&Adaptive>, nodes: u32) -> usize {
        match (self.size, adaptive) {
            (Size::Fixed(size), _) => count(part(size, nodes)),
            (Size::Adaptive(_), Some(adaptive)) => adaptive.size(),
            (Size::Adaptive(bounds), None) => count(part(bounds.max, nodes)),
        }
    }
}

/// One node's part of a size: rounded down, so that all together stay below it, but one call at least.
fn part(size: u32, nodes: u32) -> u32 {
    (size / nodes.max(1)).max(1)
}

fn count(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_shared::clock;

    fn settings(size: Size) -> Settings {
        let shape = Shape { groups: vec![("all".into(), 1)], reserve_percent: 10, queue_max: 10 };
        Settings::new(size, shape, Duration::from_secs(1), clock::now())
    }

    #[test]
    fn a_node_has_its_part_of_the_size_and_one_call_at_least() {
        let now = clock::now();
        let ten = settings(Size::Fixed(10));
        let mut capacity = Capacity::<u32>::new(&ten, 1, now);
        assert_eq!(capacity.status().size, 10);
        for (nodes, size) in [(2, 5), (3, 3), (20, 1), (0, 10), (1, 10)] {
            assert!(capacity.adopt(&ten, nodes, now));
            assert_eq!(capacity.status().size, size, "{nodes} nodes");
        }
        assert!(!capacity.adopt(&ten, 1, now), "nothing new");
    }

    #[test]
    fn older_settings_never_come_back() {
        let now = clock::now();
        let (older, newer) = (settings(Size::Fixed(10)), settings(Size::Fixed(20)));
        let mut capacity = Capacity::<u32>::new(&older, 1, now);
        assert!(capacity.adopt(&newer, 1, now));
        assert!(!capacity.adopt(&older, 2, now));
        assert_eq!(capacity.status().size, 20);
    }

    #[test]
    fn what_was_learned_outlives_a_reload_and_a_change_of_nodes() {
        let now = clock::now();
        let bounds = Bounds { min: 2, max: 100, window: Duration::from_millis(10) };
        let mut capacity = Capacity::<u32>::new(&settings(Size::Adaptive(bounds)), 1, now);
        // The first window does not count.
        for window in 1..=2 {
            (0..20).for_each(|_| capacity.learn(Shown::Answered(Duration::from_millis(7))));
            assert_eq!(capacity.next(now + bounds.window * window), None);
        }
        assert_eq!(capacity.status().baseline, Some(Duration::from_millis(7)));
        let again = settings(Size::Adaptive(bounds));
        capacity.adopt(&again, 4, now);
        assert_eq!(capacity.status().baseline, Some(Duration::from_millis(7)));
        assert_eq!((capacity.status().size, capacity.status().between), (25, Some((1, 25))));
        capacity.adopt(&settings(Size::Fixed(8)), 4, now);
        assert_eq!((capacity.status().size, capacity.status().between), (2, None));
    }
}
