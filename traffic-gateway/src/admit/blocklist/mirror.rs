//! Everything this node knows of the blocklist, in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gatehouse_shared::cidr::{Change, LiveSet, Network, Snapshot};
use gatehouse_store::block::Record;

/// The name of the list in logs.
pub(super) const NAME: &str = "blocklist";

/// All records, and the entries among them ready to be looked up.
pub struct Mirror {
    /// What requests look into.
    live: LiveSet,
    /// What changes are compared with; requests never take it. Held while some records are copied or put in.
    records: Mutex<BTreeMap<Network, Record>>,
}

impl Default for Mirror {
    fn default() -> Self {
        Self { live: LiveSet::new(NAME), records: Mutex::default() }
    }
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mirror").field("records", &self.lock().len()).finish_non_exhaustive()
    }
}

/// Some entries in the order of their networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The entries.
    pub records: Vec<Record>,
    /// Whether there are more behind the last one.
    pub has_more: bool,
    /// Entries in all.
    pub total: usize,
}

impl Mirror {
    /// What is blocked now. Cheap enough for every request.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.live.current()
    }

    /// Takes over the records that are newer than what is known, and returns those with what was known before.
    pub fn apply(&self, records: &[Record]) -> Vec<(Option<Record>, Record)> {
        let mut known = self.lock();
        let mut taken = Vec::new();
        for record in records {
            let before = known.get(&record.network);
            if before.is_none_or(|before| record.is_newer_than(before)) {
                taken.push((known.insert(record.network, record.clone()), record.clone()));
            } else if before.is_some_and(|before| before.stamp == record.stamp && before.revision < record.revision) {
                // The same change, which has got its number.
                known.insert(record.network, record.clone());
            }
        }
        let changes: Vec<Change<'_>> = taken.iter().map(|(_, record)| change(record)).collect();
        if !changes.is_empty()
            && let Err(error) = self.live.apply(&changes)
        {
            tracing::error!(%error, "changes of the blocklist are not in force");
        }
        taken
    }

    /// Forgets records for good.
    pub fn forget(&self, networks: &[Network]) {
        let mut known = self.lock();
        let changes: Vec<Change<'_>> = networks.iter().map(|network| Change::Remove(*network)).collect();
        if !changes.is_empty()
            && let Err(error) = self.live.apply(&changes)
        {
            tracing::error!(%error, "changes of the blocklist are not in force");
        }
        for network in networks {
            known.remove(network);
        }
    }

    /// What is known of a network.
    #[must_use]
    pub fn get(&self, network: Network) -> Option<Record> {
        self.lock().get(&network).cloned()
    }

    /// All records that `wants` takes.
    pub fn records(&self, wants: impl Fn(&Record) -> bool) -> Vec<Record> {
        self.lock().values().filter(|record| wants(record)).cloned().collect()
    }

    /// Up to `most` entries that count at `now`, in Unix seconds, behind the network `after`.
    #[must_use]
    pub fn page(&self, after: Option<Network>, most: usize, now: u64) -> Page {
        let known = self.lock();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut behind = known.range((from, Bound::Unbounded)).map(|(_, record)| record);
        let mut records: Vec<Record> =
            behind.by_ref().filter(|record| record.counts_at(now)).take(most.saturating_add(1)).cloned().collect();
        let has_more = records.len() > most;
        records.truncate(most);
        Page { records, has_more, total: known.values().filter(|record| record.counts_at(now)).count() }
    }

    /// How many records there are, those of removed and expired entries included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether [`Mirror::compact`] is due.
    #[must_use]
    pub fn is_compaction_due(&self) -> bool {
        self.live.is_compaction_due()
    }

    /// Arranges the entries anew, without those that have expired at `now`, in Unix seconds. Takes a while; nobody waits.
    pub fn compact(&self, now: u64) {
        if let Err(error) = self.live.compact(now) {
            tracing::error!(%error, "the blocklist is not compacted");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Network, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn change(record: &Record) -> Change<'_> {
    match &record.entry {
        Some(entry) => Change::Insert(record.network, entry.note()),
        None => Change::Remove(record.network),
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_store::block::Entry;
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    fn record(network: u8, stamp: u64, is_entry: bool) -> Record {
        let entry = Entry { until: None, owner: None, ticket: None, reason: Some(format!("{stamp}")) };
        Record {
            network: format!("192.0.2.{network}").parse().unwrap(),
            entry: is_entry.then_some(entry),
            by: "operate".into(),
            node: "edge-1".into(),
            stamp,
            revision: 0,
        }
    }

    #[test]
    fn pages_follow_each_other_and_leave_out_what_was_removed() {
        let mirror = Mirror::default();
        let records: Vec<Record> = (0..10).map(|number| record(number, 1, number != 4)).collect();
        mirror.apply(&records);
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = mirror.page(after, 4, 0);
            assert_eq!(page.total, 9);
            seen.extend(page.records.iter().map(|record| record.network));
            after = seen.last().copied();
            if !page.has_more {
                break;
            }
        }
        let expected: Vec<Network> =
            records.iter().filter(|record| record.entry.is_some()).map(|r| r.network).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn an_older_change_changes_nothing_and_a_number_is_taken_over() {
        let mirror = Mirror::default();
        mirror.apply(&[record(1, 5, true)]);
        assert_eq!(mirror.apply(&[record(1, 4, false)]), []);
        assert_eq!(mirror.apply(&[Record { revision: 9, ..record(1, 5, true) }]), []);
        assert_eq!(mirror.get("192.0.2.1".parse().unwrap()), Some(Record { revision: 9, ..record(1, 5, true) }));
        mirror.forget(&["192.0.2.1".parse().unwrap()]);
        assert!(mirror.is_empty() && mirror.current().is_empty());
    }

    proptest! {
        /// However changes arrive, in whatever order and how often, all nodes end with the same list.
        #[test]
        fn the_order_of_arrival_does_not_matter(
            changes in proptest::collection::vec((0u8..6, 1u64..8, proptest::bool::ANY), 0..40),
            order in proptest::collection::vec(0usize..40, 0..80),
        ) {
            let records: Vec<Record> = changes.iter().map(|(n, stamp, is)| record(*n, *stamp, *is)).collect();
            let (straight, shuffled) = (Mirror::default(), Mirror::default());
            straight.apply(&records);
            for place in order {
                shuffled.apply(records.get(place).map(std::slice::from_ref).unwrap_or_default());
            }
            for record in records.iter().rev() {
                shuffled.apply(std::slice::from_ref(record));
            }
            prop_assert_eq!(straight.records(|_| true), shuffled.records(|_| true));
            let blocked = |mirror: &Mirror| {
                let mut networks: Vec<Network> = mirror.current().iter().map(|entry| entry.network()).collect();
                networks.sort();
                networks
            };
            prop_assert_eq!(blocked(&straight), blocked(&shuffled));
            let known = straight.records(|record| record.entry.is_some());
            prop_assert_eq!(blocked(&straight), known.iter().map(|r| r.network).collect::<Vec<_>>());
        }
    }
}
