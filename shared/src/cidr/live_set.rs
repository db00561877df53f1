//! A set of networks that changes while it is read.
//!
//! A [`Snapshot`] is a stack of [`NetworkSet`]s, newest first: what stands in one overrides the same network in those below
//! it, and an entry that ended at the dawn of time says that its network is removed. A change rebuilds only the small set
//! on top; when that one is full it is merged into the next; and [`LiveSet::compact`] makes one set of all, on a thread of
//! its own, while changes go on.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::builder::{NetworkSetBuilder, TooManyNetworks};
use super::network::{Network, Start};
use super::note::Note;
use super::set::{Entry, NetworkSet};

/// Networks in the set on top, which every change rebuilds.
const RECENT_MAX: usize = 256;
/// Networks in the set below it, above which [`LiveSet::compact`] is due.
const MIDDLE_MAX: usize = 8_192;
/// The end of an entry that says that its network is removed.
const REMOVED: u64 = 0;

/// One change of a [`LiveSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Adds a network, or replaces what is said of it.
    Insert(Network, Note<'a>),
    /// Takes a network out.
    Remove(Network),
}

impl<'a> Change<'a> {
    /// The network and what is to be kept of it.
    fn entry(&self) -> (Network, Note<'a>) {
        match *self {
            Change::Insert(network, note) => (network, note),
            Change::Remove(network) => (network, Note { until: Some(REMOVED), ..Note::default() }),
        }
    }
}

/// A set of networks that changes while it is read.
///
/// A change is seen by whoever calls [`LiveSet::current`] next. As long as [`LiveSet::compact`] is called when it is due, a
/// change costs the same small time whatever the size of the set: *measured* 30 µs, one in 256 of them 2 ms.
pub struct LiveSet {
    list: Box<str>,
    current: ArcSwap<Snapshot>,
    /// Held while the sets on top are rebuilt, so that no change is lost; readers never take it.
    writing: Mutex<()>,
    /// Held for a whole compaction, so that there is one at a time.
    compacting: Mutex<()>,
    recent_max: usize,
    middle_max: usize,
}

impl LiveSet {
    /// An empty set; `list` is its name in findings.
    #[must_use]
    pub fn new(list: &str) -> Self {
        Self {
            list: list.into(),
            current: ArcSwap::from_pointee(Snapshot::default()),
            writing: Mutex::default(),
            compacting: Mutex::default(),
            recent_max: RECENT_MAX,
            middle_max: MIDDLE_MAX,
        }
    }

    /// What it holds now. Cheap enough for every request: no lock, one reference count.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts a whole set in place of everything.
    pub fn replace(&self, set: NetworkSet) {
        let _one_writer = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let len = set.len();
        self.current.store(Arc::new(Snapshot { older: [Arc::new(set)].into(), len, ..Snapshot::default() }));
    }

    /// Makes changes in their order, all seen at once. Many in one call are much cheaper than one call each.
    ///
    /// # Errors
    /// More networks than a set can hold; nothing is changed then.
    pub fn apply(&self, changes: &[Change<'_>]) -> Result<(), TooManyNetworks> {
        let _one_writer = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current.load_full();
        let last: HashMap<Network, Note<'_>> = changes.iter().map(Change::entry).collect();
        let mut builder = NetworkSetBuilder::new(&self.list);
        let mut len = before.len;
        for (network, note) in &last {
            builder.add(*network, note, 0);
            len += usize::from(note.until != Some(REMOVED));
            len -= usize::from(before.entry(*network).is_some());
        }
        let mut recent = merged(&[&builder.build()?, &before.recent], &self.list, |_| true)?;
        let mut middle = Arc::clone(&before.middle);
        if recent.len() > self.recent_max {
            middle = Arc::new(merged(&[&recent, &middle], &self.list, |_| true)?);
            recent = NetworkSet::default();
        }
        self.current.store(Arc::new(Snapshot { recent: Arc::new(recent), middle, older: before.older.clone(), len }));
        Ok(())
    }

    /// Whether [`LiveSet::compact`] should be called soon: until it is, changes become slower.
    #[must_use]
    pub fn is_compaction_due(&self) -> bool {
        let current = self.current.load();
        current.middle.len() > self.middle_max || current.older.len() > 1
    }

    /// Makes one set of all, without what has expired at `now`, in Unix seconds. Takes about 200 ms for a million networks;
    /// neither readers nor changes wait for it.
    ///
    /// # Errors
    /// More networks than a set can hold; nothing is lost then.
    pub fn compact(&self, now: u64) -> Result<(), TooManyNetworks> {
        let _one_at_a_time = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        self.finish_compaction(&self.begin_compaction(), now)
    }

    /// Begins new sets on top, so that all others stay as they are while they are compacted.
    pub(super) fn begin_compaction(&self) -> Box<[Arc<NetworkSet>]> {
        let _one_writer = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current.load_full();
        let layers = [&before.recent, &before.middle].into_iter().chain(&before.older);
        let older: Box<[_]> = layers.filter(|layer| !layer.is_empty()).map(Arc::clone).collect();
        self.current.store(Arc::new(Snapshot { older: older.clone(), len: before.len, ..Snapshot::default() }));
        older
    }

    /// Puts one set in place of those that were there at the beginning, unless everything was replaced meanwhile.
    pub(super) fn finish_compaction(&self, older: &[Arc<NetworkSet>], now: u64) -> Result<(), TooManyNetworks> {
        let layers: Vec<&NetworkSet> = older.iter().map(Arc::as_ref).collect();
        let compacted = merged(&layers, &self.list, |entry| entry.counts_at(now))?;
        let _one_writer = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current.load_full();
        let is_same = |(now, then): (&Arc<NetworkSet>, &Arc<NetworkSet>)| Arc::ptr_eq(now, then);
        if before.older.len() != older.len() || !before.older.iter().zip(older).all(is_same) {
            return Ok(());
        }
        let (recent, middle) = (Arc::clone(&before.recent), Arc::clone(&before.middle));
        let mut len = compacted.len();
        let since = recent.iter().chain(middle.iter().filter(|entry| recent.entry(entry.network()).is_none()));
        for entry in since {
            len += usize::from(entry.until() != Some(REMOVED));
            len -= usize::from(compacted.entry(entry.network()).is_some());
        }
        self.current.store(Arc::new(Snapshot { recent, middle, older: [Arc::new(compacted)].into(), len }));
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn with_limits(recent_max: usize, middle_max: usize) -> Self {
        Self { recent_max, middle_max, ..Self::new("list") }
    }
}

/// One set of several, newest first: of each network what the newest says, where that is wanted.
fn merged(
    layers: &[&NetworkSet],
    list: &str,
    is_wanted: impl Fn(&Entry<'_>) -> bool,
) -> Result<NetworkSet, TooManyNetworks> {
    let mut builder = NetworkSetBuilder::new(list);
    let (four, six) =
        layers.iter().map(|layer| layer.counts()).fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1));
    builder.reserve(four, six);
    let mut layers: Vec<_> =
        layers.iter().map(|layer| layer.iter().map(|entry| (entry.network(), entry)).peekable()).collect();
    let mut last = None;
    // In the order of the networks, so that building has nothing left to sort. The first of equal ones is the newest.
    while let Some(next) =
        layers.iter_mut().filter_map(|layer| Some((layer.peek()?.0, layer))).min_by_key(|(network, _)| *network)
        && let Some((network, entry)) = next.1.next()
    {
        if last.replace(network) != Some(network) && is_wanted(&entry) {
            builder.add(network, &entry.note(), entry.line());
        }
    }
    builder.build()
}

/// What a [`LiveSet`] holds at a moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    recent: Arc<NetworkSet>,
    middle: Arc<NetworkSet>,
    /// One set, or several while they are compacted.
    older: Box<[Arc<NetworkSet>]>,
    len: usize,
}

impl Snapshot {
    /// How many networks there are, those included that have expired since the last compaction.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most specific network with this address that has not expired at `now`, in Unix seconds.
    #[must_use]
    pub fn find(&self, address: IpAddr, now: u64) -> Option<Entry<'_>> {
        let address = Start::from(address);
        let counts = |entry: &Entry<'_>, depth| entry.counts_at(now) && !self.is_overridden(entry.network(), depth);
        let found = self.layers().enumerate();
        let found = found.filter_map(|(depth, layer)| layer.most_specific(address, |entry| counts(entry, depth)));
        found.max_by_key(Entry::prefix)
    }

    /// The entry for exactly this network, expired or not.
    #[must_use]
    pub fn entry(&self, network: Network) -> Option<Entry<'_>> {
        self.layers().find_map(|layer| layer.entry(network)).filter(|entry| entry.until() != Some(REMOVED))
    }

    /// All networks, those included that have expired since the last compaction.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        let all = self.layers().enumerate().flat_map(|(depth, layer)| layer.iter().map(move |entry| (depth, entry)));
        let there =
            all.filter(|(depth, entry)| entry.until() != Some(REMOVED) && !self.is_overridden(entry.network(), *depth));
        there.map(|(_, entry)| entry)
    }

    fn layers(&self) -> impl Iterator<Item = &NetworkSet> {
        [&self.recent, &self.middle].into_iter().chain(&self.older).map(Arc::as_ref)
    }

    /// Whether something newer than the layer at this depth is said of the network.
    fn is_overridden(&self, network: Network, depth: usize) -> bool {
        self.layers().take(depth).any(|newer| newer.entry(network).is_some())
    }
}
