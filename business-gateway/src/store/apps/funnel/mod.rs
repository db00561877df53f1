//! One kind of thing that is looked up by key: local memory first, then the store, each read once however many wait for it.
//!
//! An entry is *fresh* for its time to live, then *stale*: still used, while one read in the background renews it; then
//! *expired*, and whoever needs it waits for the store, or is told that nobody can say. An unknown key is remembered, too, in
//! memory of its own, so that guesses push nothing out. An announced change drops an entry of an older version, and a read that
//! was begun before is made again; after a gap in the announcements everything counts as stale.
//!
//! A look-up that finds its entry takes no lock that anybody waits under, makes no system call and allocates nothing.

mod counters;
mod entry;
mod frequency;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use gatehouse_store::app::RecordKind;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, UnitWeighter};
use tokio::sync::watch;

pub use counters::{Count, Counters};
pub use entry::Gauge;
use entry::{Entry, Read, State, millis};
use frequency::Frequency;

use super::origin::{Origin, OriginError};
use super::rule::{ENTRIES, Pattern, Rules, Terms};

/// Unknown keys that are remembered.
const NEGATIVE_ENTRIES: usize = 10_000;
/// A read that was overtaken by changes so often is given up.
const MOST_TRIES: usize = 4;
/// Longest read, whatever the store promises.
const LONGEST_READ: Duration = Duration::from_secs(5);

/// A kind of value: how it is made from a record.
pub trait Kind: Debug + Send + Sync + 'static {
    /// What is looked up.
    type Value: Send + Sync + 'static;
    /// Its name.
    const KIND: RecordKind;

    /// The value that a record holds.
    ///
    /// # Errors
    /// A sentence for the log.
    fn decode(&self, key: &str, version: u64, record: &[u8]) -> Result<Self::Value, String>;

    /// About how many bytes a value takes beside its own size.
    fn weight(value: &Self::Value) -> usize;

    /// Whether there surely is no such key, as far as this node knows.
    fn denies(&self, key: &str) -> bool;

    /// What the patterns of cache rules are compared with.
    fn pattern_key(key: &str) -> &str {
        key
    }
}

/// What a look-up finds.
#[derive(Debug)]
pub enum Found<V> {
    /// The value.
    Value(Arc<V>),
    /// There is none.
    Unknown,
    /// Nobody can say now.
    Unavailable,
}

impl<V> Clone for Found<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Value(value) => Self::Value(Arc::clone(value)),
            Self::Unknown => Self::Unknown,
            Self::Unavailable => Self::Unavailable,
        }
    }
}

/// The funnel of one kind.
#[derive(Debug)]
pub struct Funnel<K: Kind> {
    kind: K,
    origin: Arc<dyn Origin>,
    start: Instant,
    plan: ArcSwap<Plan<K::Value>>,
    negative: Cache<Arc<str>, u64>,
    /// Reads under way. Held while one begins, ends or is overtaken, never across a wait.
    flights: Mutex<HashMap<Arc<str>, Flight<K::Value>>>,
    most_reads: usize,
    /// What was read before this time, in milliseconds since the start, is stale.
    stale_before: AtomicU64,
    /// Until this time it is certain that no announcement is missing.
    current_until: AtomicU64,
    gauge: Arc<Gauge>,
    /// What it counts.
    pub counters: Counters,
}

type Local<V> = Cache<Arc<str>, Arc<Entry<V>>, UnitWeighter, DefaultHashBuilder, Evictions>;

/// Sees what is pushed out of a region.
#[derive(Debug, Clone)]
struct Evictions(Arc<Frequency>);

impl<V> Lifecycle<Arc<str>, Arc<Entry<V>>> for Evictions {
    /// Entries are freed when the cache has let go of its lock.
    type RequestState = Vec<Arc<Entry<V>>>;

    fn on_evict(&self, freed: &mut Self::RequestState, key: Arc<str>, entry: Arc<Entry<V>>) {
        self.0.evicted(&key, entry.uses(self.0.age()));
        freed.push(entry);
    }
}

/// The rules in force, each with the memory it uses.
#[derive(Debug)]
struct Plan<V> {
    rules: Vec<(Pattern, Terms, Arc<Region<V>>)>,
    terms: Terms,
    shared: Arc<Region<V>>,
}

/// Memory for some entries.
#[derive(Debug)]
struct Region<V> {
    name: Box<str>,
    local: Local<V>,
    frequency: Arc<Frequency>,
    entries: AtomicU64,
}

impl<V> Region<V> {
    fn new(name: &str, entries: usize) -> Arc<Self> {
        let count = u64::try_from(entries).unwrap_or(u64::MAX);
        let frequency = Arc::new(Frequency::new(entries));
        let evictions = Evictions(Arc::clone(&frequency));
        let local = Cache::with(entries, count, UnitWeighter, DefaultHashBuilder::default(), evictions);
        Arc::new(Self { name: name.into(), local, frequency, entries: AtomicU64::new(count) })
    }

    fn resize(&self, entries: usize) {
        let count = u64::try_from(entries).unwrap_or(u64::MAX);
        if self.entries.swap(count, Ordering::Relaxed) != count {
            self.local.set_capacity(count);
            self.frequency.resize(entries);
        }
    }

    /// Keeps what was read, unless what it would push out is used more often. `known` is the entry it replaces.
    fn keep(&self, key: &Arc<str>, read: Read<V>, known: Option<&Entry<V>>, weight: usize, gauge: &Arc<Gauge>) -> bool {
        let age = self.frequency.age();
        let uses = known.map_or_else(|| self.frequency.count(key), |known| known.uses(age));
        let is_kept = known.is_some() || self.frequency.admits(uses);
        if is_kept {
            self.local.insert(Arc::clone(key), Arc::new(Entry::new(read, (uses, age), weight, gauge)));
        }
        is_kept
    }
}

impl<V> Plan<V> {
    fn of(&self, key: &str) -> (&Terms, &Arc<Region<V>>) {
        let fits = |(pattern, ..): &&(Pattern, Terms, Arc<Region<V>>)| pattern.fits(key);
        self.rules.iter().find(fits).map_or((&self.terms, &self.shared), |(_, terms, region)| (terms, region))
    }

    fn regions(&self) -> impl Iterator<Item = &Arc<Region<V>>> {
        self.rules.iter().map(|(.., region)| region).chain([&self.shared])
    }
}

/// A read under way.
#[derive(Debug)]
struct Flight<V> {
    answer: watch::Receiver<Option<Found<V>>>,
    /// The latest version that was announced meanwhile: an older answer is not the last word.
    floor: u64,
}

impl<K: Kind> Funnel<K> {
    /// An empty funnel over `origin`, at most `most_reads` reads at a time.
    #[must_use]
    pub fn new(kind: K, origin: Arc<dyn Origin>, most_reads: usize, now: Instant) -> Arc<Self> {
        let plan = Plan { rules: Vec::new(), terms: Terms::of(K::KIND), shared: Region::new("", ENTRIES) };
        Arc::new(Self {
            kind,
            origin,
            start: now,
            plan: ArcSwap::from_pointee(plan),
            negative: Cache::new(NEGATIVE_ENTRIES),
            flights: Mutex::default(),
            most_reads,
            stale_before: AtomicU64::new(0),
            current_until: AtomicU64::new(0),
            gauge: Arc::default(),
            counters: Counters::default(),
        })
    }

    /// Looks a key up. Ready at once unless the store must be asked.
    pub async fn find(self: &Arc<Self>, key: &str, now: Instant) -> Found<K::Value> {
        match self.known(key, now) {
            Some(found) => found,
            None => self.ask(key, now).await,
        }
    }

    /// What can be said without asking the store.
    pub fn known(self: &Arc<Self>, key: &str, now: Instant) -> Option<Found<K::Value>> {
        let now_ms = self.millis(now);
        let plan = self.plan.load();
        let (terms, region) = plan.of(K::pattern_key(key));
        if terms.is_cached
            && let Some(entry) = region.local.get(key)
        {
            match entry.state(terms, now_ms, self.stale_before.load(Ordering::Acquire)) {
                State::Fresh => self.counters.fresh.add(),
                State::Stale => {
                    self.counters.stale.add();
                    if entry.takes_turn(now_ms) {
                        drop(self.join(key, now));
                    }
                }
                State::Expired => return None,
            }
            entry.used();
            return Some(Found::Value(Arc::clone(&entry.value)));
        }
        // Whether a key is unknown is only certain while no announcement is missing.
        if now_ms >= self.current_until.load(Ordering::Acquire) {
            return None;
        }
        let counts_from =
            self.stale_before.load(Ordering::Acquire).max(now_ms.saturating_sub(millis(terms.negative_ttl)));
        if self.negative.get(key).is_some_and(|at| at >= counts_from) {
            self.counters.negative.add();
            return Some(Found::Unknown);
        }
        if self.kind.denies(key) {
            self.counters.filtered.add();
            return Some(Found::Unknown);
        }
        None
    }

    /// Asks the store, together with everybody else who wants to know the same.
    pub async fn ask(self: &Arc<Self>, key: &str, now: Instant) -> Found<K::Value> {
        let Some(mut answer) = self.join(key, now) else {
            self.counters.crowded.add();
            self.counters.unavailable.add();
            return Found::Unavailable;
        };
        let found = match answer.wait_for(Option::is_some).await {
            Ok(found) => found.clone().unwrap_or(Found::Unavailable),
            // The reader panicked.
            Err(_closed) => Found::Unavailable,
        };
        match &found {
            Found::Value(_) => self.counters.read.add(),
            Found::Unknown => self.counters.unknown.add(),
            Found::Unavailable => self.counters.unavailable.add(),
        }
        found
    }

    /// The read of this key that is under way, or a new one. `None` when too many are.
    fn join(self: &Arc<Self>, key: &str, now: Instant) -> Option<watch::Receiver<Option<Found<K::Value>>>> {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(key) {
            self.counters.joined.add();
            return Some(flight.answer.clone());
        }
        if flights.len() >= self.most_reads {
            return None;
        }
        let (sender, answer) = watch::channel(None);
        let key: Arc<str> = key.into();
        flights.insert(Arc::clone(&key), Flight { answer: answer.clone(), floor: 0 });
        drop(flights);
        // A task of its own, so that it ends even if nobody waits for it any more.
        let funnel = Arc::clone(self);
        let own = answer.clone();
        tokio::spawn(async move {
            let landing = Landing { funnel: &funnel, key: &key, answer: own };
            let found = funnel.read(&key, now).await;
            drop(landing);
            // Nobody may be waiting.
            sender.send_replace(Some(found));
        });
        Some(answer)
    }

    /// Reads a key until the answer is not older than what was announced meanwhile.
    async fn read(&self, key: &Arc<str>, now: Instant) -> Found<K::Value> {
        // Tries after the first begin a little later; counting them from the first is the safe side.
        let read_at = self.millis(now);
        for _try in 0..MOST_TRIES {
            self.counters.reads.add();
            let answer = tokio::time::timeout(LONGEST_READ, self.origin.read(K::KIND, key)).await;
            let answer = answer.unwrap_or_else(|_late| Err(OriginError::Away("no answer in time".into())));
            let record = match answer {
                Ok(record) => record,
                Err(error) => {
                    tracing::debug!(%error, kind = K::KIND.as_str(), "not read");
                    self.counters.failed.add();
                    return self.still_usable(key, read_at);
                }
            };
            let value = match record.record.as_deref().map(|bytes| self.kind.decode(key, record.version, bytes)) {
                None => None,
                Some(Ok(value)) => Some(value),
                Some(Err(error)) => {
                    self.counters.damaged.add();
                    tracing::error!(kind = K::KIND.as_str(), key = &**key, error, "a record cannot be used");
                    return self.still_usable(key, read_at);
                }
            };
            if let Some(found) = self.settle(key, record.version, value, read_at) {
                return found;
            }
        }
        self.counters.failed.add();
        Found::Unavailable
    }

    /// Keeps what was read. `None` when a change was announced meanwhile that it does not contain.
    fn settle(&self, key: &Arc<str>, version: u64, value: Option<K::Value>, read_at: u64) -> Option<Found<K::Value>> {
        // Held until the entry is there and the read is over, so that an announcement comes before or after both.
        let mut flights = self.flights();
        if flights.get(key).is_some_and(|flight| version < flight.floor) {
            return None;
        }
        flights.remove(key);
        let plan = self.plan.load();
        let (terms, region) = plan.of(K::pattern_key(key));
        let known = region.local.peek(&**key);
        if let Some(known) = &known
            && version < known.version
            && known.state(terms, read_at, 0) != State::Expired
        {
            // A store that has lost writes, as after a failover. What is known is used until its time is over.
            self.counters.older.add();
            return Some(Found::Value(Arc::clone(&known.value)));
        }
        let Some(value) = value else {
            region.local.remove(&**key);
            self.negative.insert(Arc::clone(key), read_at);
            return Some(Found::Unknown);
        };
        let weight = K::weight(&value).saturating_add(size_of::<K::Value>()).saturating_add(key.len());
        let value = Arc::new(value);
        if terms.is_cached {
            region.frequency.grow_old(self.counters.look_ups(), region.entries.load(Ordering::Relaxed));
            let read = Read { value: Arc::clone(&value), version, read_at };
            if !region.keep(key, read, known.as_deref(), weight, &self.gauge) {
                self.counters.passed.add();
            }
        }
        self.negative.remove(&**key);
        Some(Found::Value(value))
    }

    /// What is known of a key that cannot be read now.
    fn still_usable(&self, key: &str, now: u64) -> Found<K::Value> {
        let plan = self.plan.load();
        let (terms, region) = plan.of(K::pattern_key(key));
        let entry = region.local.peek(key).filter(|entry| entry.state(terms, now, 0) != State::Expired);
        entry.map_or(Found::Unavailable, |entry| Found::Value(Arc::clone(&entry.value)))
    }

    /// A change was announced: what is known of an older version is dropped, and read again if it was in use.
    pub fn changed(self: &Arc<Self>, key: &str, version: u64, now: Instant) {
        let mut flights = self.flights();
        if let Some(flight) = flights.get_mut(key) {
            flight.floor = flight.floor.max(version);
        }
        self.negative.remove(key);
        let mut was_known = false;
        for region in self.plan.load().regions() {
            was_known |= region.local.remove_if(key, |entry| entry.version < version).is_some();
        }
        drop(flights);
        if was_known {
            self.counters.overtaken.add();
            drop(self.join(key, now));
        }
    }

    /// Announcements may have been missed before `now`: everything that was read before is stale at once, and nothing is known
    /// to be unknown.
    pub fn missed(&self, now: Instant) {
        self.stale_before.fetch_max(self.millis(now), Ordering::AcqRel);
        self.negative.clear();
    }

    /// Until then it is certain that no announcement is missing.
    pub fn is_current_until(&self, until: Instant) {
        self.current_until.fetch_max(self.millis(until), Ordering::AcqRel);
    }

    /// Takes over the rules of a catalog; what is kept stays where it still fits.
    pub fn follow_rules(&self, rules: &Rules) {
        let before = self.plan.load_full();
        let mut shared_entries = ENTRIES;
        let mut after = Vec::new();
        for rule in rules.about(K::KIND) {
            let region = match rule.entries {
                // A rule for every key has the memory of the kind.
                Some(entries) if rule.keys.fits("") => {
                    shared_entries = entries;
                    Arc::clone(&before.shared)
                }
                Some(entries) => {
                    let known = before.rules.iter().map(|(.., region)| region).find(|region| *region.name == rule.name);
                    let region = known.map_or_else(|| Region::new(&rule.name, entries), Arc::clone);
                    region.resize(entries);
                    region
                }
                None => Arc::clone(&before.shared),
            };
            after.push((rule.keys.clone(), rule.terms, region));
        }
        before.shared.resize(shared_entries);
        self.plan.store(Arc::new(Plan { rules: after, terms: before.terms, shared: Arc::clone(&before.shared) }));
    }

    /// What its entries take.
    #[must_use]
    pub fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Arc<str>, Flight<K::Value>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn millis(&self, at: Instant) -> u64 {
        millis(at.saturating_duration_since(self.start))
    }
}

/// Ends a read that was not settled, even one that panicked.
struct Landing<'f, K: Kind> {
    funnel: &'f Funnel<K>,
    key: &'f str,
    answer: watch::Receiver<Option<Found<K::Value>>>,
}

impl<K: Kind> Drop for Landing<'_, K> {
    fn drop(&mut self) {
        let mut flights = self.funnel.flights();
        // The next read of the key may be under way already.
        if flights.get(self.key).is_some_and(|flight| flight.answer.same_channel(&self.answer)) {
            flights.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests;
