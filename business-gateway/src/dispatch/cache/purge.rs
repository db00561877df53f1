//! Purges: which answers do not stand any more.
//!
//! Nothing is searched for when a purge comes: it gets the next number, and an answer that is looked up is compared with the
//! purges since it was asked for, once. So a purge costs the same whatever is kept, and one that comes while an answer is on its
//! way counts for that answer too.
//!
//! There are two numbers. The node counts what it has applied, which is what answers in its memory are compared by. The fleet
//! has the places of its purges in Redis, which is what answers in Redis are compared by: an answer carries the last place that
//! its node had heard of *before* it asked the service, so a node that lags behind can only purge too much.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::answer::Stored;
use super::tag::{Purge, Tag};

/// Purges that are known one by one, about 100 bytes each. Of older ones only the latest number is known: everything that was
/// asked for before counts as purged.
pub const MOST_PURGES: usize = 50_000;
/// Purges that wait for a store that is away.
const MOST_UNSENT: usize = 1_000;

/// A point between two purges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AsOf {
    /// By the count of the node.
    pub node: u64,
    /// By the place in Redis.
    pub fleet: u64,
}

/// What is purged.
#[derive(Debug)]
pub struct Purges {
    /// The number of the last one; written after it is in the table.
    node: AtomicU64,
    /// The place up to which the fleet's are in the table.
    fleet: AtomicU64,
    /// When the node last knew of all of the fleet's, in Unix milliseconds; 0: not yet.
    heard: AtomicU64,
    /// Held for one look-up or one purge; never across an await.
    table: Mutex<Table>,
    most: usize,
}

#[derive(Debug, Default)]
struct Table {
    last: HashMap<Tag, AsOf>,
    /// Which is forgotten next, oldest first.
    order: VecDeque<(Tag, u64)>,
    /// What was asked for before does not stand.
    floor: AsOf,
    unsent: Vec<Purge>,
}

impl Default for Purges {
    fn default() -> Self {
        Self::with_room_for(MOST_PURGES)
    }
}

impl Purges {
    fn with_room_for(most: usize) -> Self {
        let zero = || AtomicU64::new(0);
        Self { node: zero(), fleet: zero(), heard: zero(), table: Mutex::default(), most }
    }

    /// Now: what is asked for from here on is not concerned by any purge that is known.
    #[must_use]
    pub fn now(&self) -> AsOf {
        AsOf { node: self.node.load(Ordering::Acquire), fleet: self.fleet.load(Ordering::Acquire) }
    }

    /// Applies a purge; `fleet` is its place in Redis, if it has one already.
    pub fn apply(&self, purge: &Purge, fleet: Option<u64>) {
        let mut table = self.lock();
        let node = self.node.load(Ordering::Relaxed).saturating_add(1);
        let tag = purge.tag();
        // Without a place, it counts for what any node may have written to Redis by now.
        let place = fleet.unwrap_or_else(|| self.fleet.load(Ordering::Relaxed).saturating_add(1));
        let known = table.last.entry(tag).or_default();
        *known = AsOf { node, fleet: known.fleet.max(place) };
        table.order.push_back((tag, node));
        while table.order.len() > self.most {
            let Some((tag, node)) = table.order.pop_front() else { break };
            let Some(gone) = table.last.get(&tag).copied().filter(|known| known.node == node) else { continue };
            table.last.remove(&tag);
            table.floor = AsOf { node: table.floor.node.max(node), fleet: table.floor.fleet.max(gone.fleet) };
        }
        self.node.store(node, Ordering::Release);
    }

    /// What was purged up to `place` in Redis is not known one by one: nothing that was asked for before stands.
    pub fn forget_all(&self, place: u64) {
        let mut table = self.lock();
        let node = self.node.load(Ordering::Relaxed).saturating_add(1);
        table.last.clear();
        table.order.clear();
        table.floor = AsOf { node, fleet: place };
        self.node.store(node, Ordering::Release);
    }

    /// Everything of the fleet's up to `place` is applied.
    pub fn reached(&self, place: u64) {
        self.fleet.store(place, Ordering::Release);
    }

    /// At `now`, in Unix milliseconds, the node knew of all of the fleet's.
    pub fn heard_all(&self, now: u64) {
        self.heard.store(now, Ordering::Release);
    }

    /// When the node last knew of all of the fleet's; `None`: not yet.
    #[must_use]
    pub fn heard(&self) -> Option<u64> {
        Some(self.heard.load(Ordering::Acquire)).filter(|heard| *heard > 0)
    }

    /// Whether an answer in memory stands. What was found out is noted in it, so that this is one comparison as long as nothing
    /// else is purged.
    #[must_use]
    pub fn let_stand(&self, stored: &Stored) -> bool {
        let node = self.node.load(Ordering::Acquire);
        let checked = stored.checked.load(Ordering::Relaxed);
        if checked >= node {
            return true;
        }
        let table = self.lock();
        let is_later = |tag: &Tag| table.last.get(tag).is_some_and(|purged| purged.node > checked);
        if table.floor.node > checked || stored.tags.iter().any(is_later) {
            return false;
        }
        drop(table);
        stored.checked.fetch_max(node, Ordering::Relaxed);
        true
    }

    /// Whether an answer from Redis stands, which its node has asked for at the place `fleet`.
    #[must_use]
    pub fn let_stand_of_fleet(&self, tags: &[Tag], fleet: u64) -> bool {
        let table = self.lock();
        let is_later = |tag: &Tag| table.last.get(tag).is_some_and(|purged| purged.fleet > fleet);
        table.floor.fleet <= fleet && !tags.iter().any(is_later)
    }

    /// How many are known one by one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().last.len()
    }

    /// Keeps a purge for a store that is away; false when there are too many.
    #[must_use]
    pub fn keep_unsent(&self, purge: Purge) -> bool {
        let mut table = self.lock();
        let has_room = table.unsent.len() < MOST_UNSENT;
        if has_room && !table.unsent.contains(&purge) {
            table.unsent.push(purge);
        }
        has_room
    }

    /// The purge that waits longest for the store.
    #[must_use]
    pub fn unsent(&self) -> Option<Purge> {
        self.lock().unsent.first().cloned()
    }

    /// It is sent.
    pub fn sent(&self, purge: &Purge) {
        self.lock().unsent.retain(|unsent| unsent != purge);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;
    use crate::dispatch::cache::answer::tests::stored;

    fn tagged(tags: &[&str], as_of: AsOf) -> Stored {
        let mut stored = stored("");
        stored.tags = tags.iter().map(|tag| Tag::named(tag)).collect();
        stored.checked = AtomicU64::new(as_of.node);
        stored
    }

    fn tag(name: &str) -> Purge {
        Purge::Tag(name.to_owned())
    }

    #[test]
    fn what_was_asked_for_before_a_purge_does_not_stand() {
        let purges = Purges::default();
        let (old, other) = (tagged(&["a", "b"], purges.now()), tagged(&["c"], purges.now()));
        assert!(purges.let_stand(&old));
        purges.apply(&tag("b"), None);
        assert!(!purges.let_stand(&old) && !purges.let_stand(&old));
        assert!(purges.let_stand(&other) && purges.let_stand(&tagged(&["a", "b"], purges.now())));
        purges.apply(&tag("c"), None);
        assert!(!purges.let_stand(&other), "also after it was found to stand");
    }

    #[test]
    fn what_is_forgotten_purges_everything_before_it() {
        let purges = Purges::with_room_for(2);
        let (before, stays) = (tagged(&["x"], purges.now()), tagged(&["x"], AsOf { node: 1, fleet: 0 }));
        for name in ["a", "b", "c"] {
            purges.apply(&tag(name), None);
        }
        assert!(!purges.let_stand(&before), "the purge of \"a\" is not known any more");
        assert!(purges.let_stand(&stays));
        assert_eq!(purges.count(), 2);
    }

    #[test]
    fn an_answer_of_the_fleet_is_compared_by_the_place_of_its_node() {
        let purges = Purges::default();
        let tags = [Tag::named("a")];
        assert!(purges.let_stand_of_fleet(&tags, 0));
        purges.apply(&tag("a"), Some(70));
        purges.reached(70);
        assert!(!purges.let_stand_of_fleet(&tags, 69) && purges.let_stand_of_fleet(&tags, 70));
        purges.apply(&tag("a"), None);
        assert!(!purges.let_stand_of_fleet(&tags, 70), "purged here while the store was away");
        assert!(purges.let_stand_of_fleet(&tags, 71));
        let here = tagged(&["b"], purges.now());
        purges.forget_all(90);
        assert!(!purges.let_stand(&here) && !purges.let_stand_of_fleet(&[], 89) && purges.let_stand_of_fleet(&[], 90));
    }

    #[test]
    fn what_could_not_be_sent_waits_once() {
        let purges = Purges::default();
        assert!(purges.keep_unsent(tag("a")) && purges.keep_unsent(tag("a")) && purges.keep_unsent(tag("b")));
        purges.sent(&tag("a"));
        assert_eq!(purges.unsent(), Some(tag("b")));
        purges.sent(&tag("b"));
        assert_eq!(purges.unsent(), None);
    }

    proptest! {
        #[test]
        fn agrees_with_a_list_of_everything(
            purged in proptest::collection::vec(0_u8..6, 0..30),
            answers in proptest::collection::vec((0_usize..30, proptest::collection::vec(0_u8..6, 0..3)), 0..20),
        ) {
            let purges = Purges::default();
            let mut points = vec![purges.now()];
            for name in &purged {
                purges.apply(&tag(&name.to_string()), None);
                points.push(purges.now());
            }
            for (at, tags) in answers {
                let at = at.min(purged.len());
                let names: Vec<String> = tags.iter().map(u8::to_string).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let expected = !purged[at..].iter().any(|name| tags.contains(name));
                prop_assert_eq!(purges.let_stand(&tagged(&names, points[at])), expected);
            }
        }
    }
}
