//! Who goes first when there is not enough for everybody: the call waits for a slot of its pool, or is refused at once.
//!
//! A *pool* is what a service can take: so many calls at a time, all nodes of the fleet together; this node has its part. A
//! *group* is calls that are equally important, by the level of the API and the class of the application. Below the size of the
//! pool every group may have as much as it wants; at it, each has its share. The rules are those of `pool`, the numbers come
//! from `[[pool]]` and `[[group]]` in the catalog, and from `level`, `pool` and `concurrency` of the API.
//!
//! In order: is the group shut off ([`shed`]); is there room under the API's own cap, which is a pool with one user; is there
//! room in the pool. Every refusal is a 503 that says when to come back, and nothing of the call was executed.
//!
//! - `pool`: who goes next, as a state machine
//! - `adaptive`: a size that nobody measured
//! - `capacity`: a pool with its size, divided by the nodes
//! - `slots`: the same for tasks that wait
//! - [`shed`]: groups that operators have shut off
//! - `config`: what is written
//! - [`metrics`]: what is counted

mod adaptive;
mod capacity;
mod config;
pub mod metrics;
mod pool;
mod shares;
pub mod shed;
mod slots;

#[cfg(test)]
mod simulation;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gatehouse_shared::clock;
use gatehouse_shared::config::{ConfigErrors, Positions, nearest};

use self::capacity::{Settings, Shown, Size};
use self::metrics::GroupMetrics;
use self::pool::{Refusal, Shape};
use self::slots::{Limit, NoSlot, Slot};
use super::api;
use super::caller::Caller;
use crate::accept::body::Progress;
use crate::gateway::Gateway;
use crate::store::catalog::{At, CatalogConfig};

pub use self::capacity::Status;
pub use self::config::{GroupConfig, PoolConfig, When};
pub use self::pool::GroupStatus;

/// The group there is when the catalog names none.
const ONLY_GROUP: &str = "all";

/// A group as compiled.
#[derive(Debug)]
pub struct Group {
    /// Its name.
    pub name: Arc<str>,
    /// Its part of a pool, in relation to those of the others.
    pub ratio: u32,
    when: Vec<When>,
    /// Where its calls are counted; looked up at the first call.
    metrics: OnceLock<GroupMetrics>,
}

/// Groups, pools and caps of one generation.
#[derive(Debug, Default)]
pub struct TrafficGroups {
    /// In the order written, the lowest last.
    pub groups: Vec<Arc<Group>>,
    pools: BTreeMap<String, Pool>,
    /// Caps of APIs by the name of the API.
    caps: BTreeMap<String, Arc<Limit>>,
}

#[derive(Debug)]
struct Pool {
    /// `None`: not limited.
    limit: Option<Arc<Limit>>,
}

impl TrafficGroups {
    /// Compiles the groups, the pools and the caps of a catalog. Slots that calls have are carried over from `before`, by name.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn compile(
        written: &CatalogConfig,
        positions: &Positions,
        before: Option<&Self>,
    ) -> Result<Self, ConfigErrors> {
        config::check(&written.pool, &written.group, positions)?;
        let groups: Vec<Arc<Group>> = match written.group.as_slice() {
            [] => vec![Arc::new(Group::only())],
            groups => groups.iter().map(|group| Arc::new(Group::new(group))).collect(),
        };
        let ratios: Vec<(Arc<str>, u32)> = groups.iter().map(|group| (Arc::clone(&group.name), group.ratio)).collect();
        let epoch = last_minute();
        let settings = |size: Size, pool: Option<&PoolConfig>, reserve_percent: u8| {
            let queue_max = pool.map_or(QUEUE_OF_A_CAP, |pool| pool.queue_max);
            let wait_max = pool.map_or(WAIT_AT_A_CAP, |pool| pool.wait_max.get());
            Settings::new(size, Shape { groups: ratios.clone(), reserve_percent, queue_max }, wait_max, epoch)
        };
        let pools = written.pool.iter().map(|pool| {
            let before = before.and_then(|before| before.pools.get(&pool.name)?.limit.as_deref());
            let limit =
                pool.size().map(|size| Arc::new(Limit::new(settings(size, Some(pool), pool.reserve_percent), before)));
            (pool.name.clone(), Pool { limit })
        });
        let caps = written.api.iter().filter_map(|api| {
            let pool = written.pool.iter().find(|pool| pool.name == *pool_of(api));
            let cap = api.concurrency.or_else(|| pool?.api_concurrency)?;
            let before = before.and_then(|before| before.caps.get(&api.name).map(Arc::as_ref));
            Some((api.name.clone(), Arc::new(Limit::new(settings(Size::Fixed(cap), pool, 0), before))))
        });
        Ok(Self { pools: pools.collect(), caps: caps.collect(), groups })
    }

    /// What an API has to do with groups and pools.
    pub fn of_api(&self, written: &api::Config, at: &At<'_>, errors: &mut ConfigErrors) -> OfApi {
        if written.concurrency == Some(0) {
            errors.push(at.error("concurrency", "no call would pass", "write at least 1, or leave it out"));
        }
        if let Some(name) = written.pool.as_deref().filter(|name| !self.pools.contains_key(*name)) {
            let remedy = match nearest(name, self.pools.keys().map(String::as_str)) {
                Some(name) => format!("did you mean {name:?}?"),
                None => format!("add [[pool]] with name = {name:?}"),
            };
            errors.push(at.error("pool", format!("no pool {name:?}"), remedy));
        }
        let levels = || self.groups.iter().flat_map(|group| &group.when).filter_map(|when| when.level.as_deref());
        if let Some(level) = written.level.as_deref().filter(|level| !levels().any(|known| known == *level)) {
            let remedy = match nearest(level, levels()) {
                Some(level) => format!("did you mean {level:?}?"),
                None => format!("add when = [{{ level = {level:?} }}] to a [[group]]"),
            };
            errors.push(at.error("level", format!("no group takes calls of the level {level:?}"), remedy));
        }
        OfApi {
            choices: choices(&self.groups, written.level.as_deref()),
            cap: self.caps.get(&written.name).cloned(),
            pool: self.pools.get(pool_of(written)).and_then(|pool| pool.limit.clone()),
            expected_nanos: AtomicU64::new(0),
        }
    }

    /// How each pool with a size stands on this node, one of `nodes`.
    pub fn pools(&self, nodes: u32) -> impl Iterator<Item = (&str, Status)> {
        let limited = self.pools.iter().filter_map(|(name, pool)| Some((name.as_str(), pool.limit.as_ref()?)));
        limited.map(move |(name, limit)| (name, limit.status(nodes)))
    }

    /// How each API with a cap stands on this node, one of `nodes`.
    pub fn caps(&self, nodes: u32) -> impl Iterator<Item = (&str, Status)> {
        self.caps.iter().map(move |(name, limit)| (name.as_str(), limit.status(nodes)))
    }
}

/// When the minute began that the wall clock shows, which is the same moment on all nodes of a fleet as far as their clocks agree.
fn last_minute() -> Instant {
    let (now, over) = (clock::now(), Duration::from_millis(clock::unix_ms() % 60_000));
    now.checked_sub(over).unwrap_or(now)
}

/// Calls of one group that wait under the cap of an API without a pool.
const QUEUE_OF_A_CAP: usize = 1_000;
/// How long they wait.
const WAIT_AT_A_CAP: Duration = Duration::from_secs(1);

/// The name of the pool of an API: that it names, or that of its service.
fn pool_of(api: &api::Config) -> &str {
    api.pool.as_deref().or(api.service.as_deref()).unwrap_or_default()
}

/// The groups that take calls of a level, in order, each with the class of application it takes; none after one that takes all.
fn choices(groups: &[Arc<Group>], level: Option<&str>) -> Vec<(Option<String>, Arc<Group>)> {
    let mut choices = Vec::new();
    for group in groups {
        if group.when.is_empty() {
            choices.push((None, Arc::clone(group)));
        }
        for when in group.when.iter().filter(|when| when.level.is_none() || when.level.as_deref() == level) {
            choices.push((when.class.clone(), Arc::clone(group)));
        }
        if choices.last().is_some_and(|(class, _)| class.is_none()) {
            break;
        }
    }
    choices
}

impl Group {
    fn new(written: &GroupConfig) -> Self {
        Self {
            name: written.name.as_str().into(),
            ratio: written.ratio,
            when: written.when.clone(),
            metrics: OnceLock::new(),
        }
    }

    fn only() -> Self {
        Self { name: ONLY_GROUP.into(), ratio: 1, when: Vec::new(), metrics: OnceLock::new() }
    }

    /// The conditions, of which one must hold.
    #[must_use]
    pub fn when(&self) -> &[When] {
        &self.when
    }

    fn metrics(&self, gateway: &Gateway) -> &GroupMetrics {
        self.metrics.get_or_init(|| gateway.metrics.traffic.of_group(&self.name))
    }
}

/// What an API has to do with groups and pools.
#[derive(Debug)]
pub struct OfApi {
    /// Class of application and the group it goes to; the first that fits counts.
    choices: Vec<(Option<String>, Arc<Group>)>,
    cap: Option<Arc<Limit>>,
    /// `None`: not limited, which is also right for calls that only wrap others: they would wait for themselves.
    pool: Option<Arc<Limit>>,
    /// Mean time to the head of an answer. Two answers at once may lose one of the two; it is an estimate.
    expected_nanos: AtomicU64,
}

/// An answer counts for one part in so many of the mean of its API.
const MEAN_OF: u64 = 8;

impl OfApi {
    /// The group of a call by an application of this class.
    #[must_use]
    pub fn group(&self, class: Option<&str>) -> Option<&Arc<Group>> {
        let fits = |wanted: &Option<String>| wanted.is_none() || wanted.as_deref() == class;
        self.choices.iter().find(|(wanted, _)| fits(wanted)).map(|(_, group)| group)
    }

    fn expected(&self) -> Duration {
        Duration::from_nanos(self.expected_nanos.load(Ordering::Relaxed))
    }

    fn learn(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let mean = match self.expected_nanos.load(Ordering::Relaxed) {
            0 => took,
            mean => mean - mean / MEAN_OF + took / MEAN_OF,
        };
        self.expected_nanos.store(mean, Ordering::Relaxed);
    }
}

/// What a call has of pools, and what is noted of that for the log.
#[derive(Debug, Default)]
pub struct Notes {
    /// Its group.
    pub group: Option<Arc<Group>>,
    /// How long it waited for its turn.
    pub waited: Option<Duration>,
    is_answered: bool,
    /// Dropped in this order: the slot of the pool before that of the API.
    pool: Option<Slot>,
    cap: Option<Slot>,
}

impl Notes {
    /// The head of the answer to a call of `api` came at `at`. It counts from when the request's body was sent: a slow client
    /// says nothing about the service.
    pub fn answered(&mut self, api: &OfApi, upload: Option<&Progress>, at: Instant) {
        self.is_answered = true;
        if let Some(took) = self.since_sent(upload, at) {
            api.learn(took);
            self.learn(Shown::Answered(took));
        }
    }

    /// Nobody waits for the answer any more at `at`. Nothing happens when it has begun.
    pub fn gave_up(&mut self, upload: Option<&Progress>, at: Instant) {
        if let Some(waited) = self.since_sent(upload, at).filter(|_| !self.is_answered) {
            self.learn(Shown::NotYet(waited));
        }
    }

    /// How long all of the request had been sent at `at`, if it has a slot and all of it was.
    fn since_sent(&self, upload: Option<&Progress>, at: Instant) -> Option<Duration> {
        let since = self.since()?;
        let sent = match upload {
            None => since,
            Some(upload) => upload.ended_at()?.max(since),
        };
        Some(at.saturating_duration_since(sent))
    }

    fn since(&self) -> Option<Instant> {
        self.pool.as_ref().or(self.cap.as_ref()).and_then(Slot::since)
    }

    fn learn(&self, shown: Shown) {
        if let Some(slot) = &self.pool {
            slot.learn(shown);
        }
    }

    /// The call is over at `now`: somebody else may go.
    pub fn release(&mut self, now: Instant) {
        if let Some(mut slot) = self.pool.take() {
            slot.leave(now);
        }
        if let Some(mut slot) = self.cap.take() {
            slot.leave(now);
        }
    }
}

/// Why a call does not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Operators have shut its group off.
    #[error("the group {group:?} is shut off")]
    Shed {
        /// The group.
        group: Arc<str>,
        /// How long yet.
        rest: Duration,
    },
    /// Its API has as many calls under way as it may.
    #[error("the cap of the API: {why}; group {group:?}")]
    ApiBusy {
        /// The group.
        group: Arc<str>,
        /// As the metrics call it.
        why: &'static str,
        /// When it may be worth trying again.
        after: Duration,
    },
    /// Its pool has as many calls under way as it may.
    #[error("the pool: {why}; group {group:?}")]
    Overloaded {
        /// The group.
        group: Arc<str>,
        /// As the metrics call it.
        why: &'static str,
        /// When it may be worth trying again.
        after: Duration,
    },
}

impl Refused {
    /// Seconds after which the call may be made again.
    #[must_use]
    pub fn retry_after(&self) -> u64 {
        /// Nobody can tell how it looks later than that.
        const AT_MOST: u64 = 60;
        match self {
            Self::Shed { rest, .. } => rest.as_secs() + 1,
            Self::ApiBusy { after, .. } | Self::Overloaded { after, .. } => (after.as_secs() + 1).min(AT_MOST),
        }
    }
}

/// Who calls, as far as groups are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// The application, if it is known.
    pub caller: Option<&'a Caller>,
    /// The client's address.
    pub client: IpAddr,
}

/// Lets a call of `api` that comes at `now` go on, at once or when it is its turn. Whatever it takes is noted in `notes` and given back with them.
/// Returns when it got what it took; `None` when there was nothing to take.
///
/// # Errors
/// [`Refused`] when it does not get its turn.
pub async fn enter(
    gateway: &Gateway,
    api: &OfApi,
    who: Who<'_>,
    deadline: Instant,
    mut now: Instant,
    notes: &mut Notes,
) -> Result<Option<Instant>, Refused> {
    let app = who.caller.and_then(|caller| caller.app.as_ref());
    let Some(group) = api.group(app.and_then(|app| app.class.as_deref())) else { return Ok(None) };
    notes.group = Some(Arc::clone(group));
    let metrics = group.metrics(gateway);
    if let Some(rest) = gateway.sheds.list().refuses(&group.name, app.map(|app| &*app.key), who.client) {
        metrics.shed.inc();
        return Err(Refused::Shed { group: Arc::clone(&group.name), rest });
    }
    let (nodes, expected) = (gateway.fleet.live_nodes(), api.expected());
    if let Some(cap) = &api.cap {
        let entered = cap.enter(&group.name, deadline, expected, nodes, now).await;
        let (slot, waited) = entered.map_err(|none| {
            metrics.api_busy.inc();
            Refused::ApiBusy { group: Arc::clone(&group.name), why: none.as_str(), after: none.after() }
        })?;
        if waited.is_some() {
            now = clock::now();
        }
        (notes.cap, notes.waited) = (Some(slot), waited);
    }
    if let Some(pool) = &api.pool {
        let entered = pool.enter(&group.name, deadline, expected, nodes, now).await;
        let (slot, waited) = entered.map_err(|none| {
            metrics.refused(none).inc();
            // Whoever comes next under the cap shall not wait for the answer to be written.
            notes.cap = None;
            Refused::Overloaded { group: Arc::clone(&group.name), why: none.as_str(), after: none.after() }
        })?;
        notes.pool = Some(slot);
        notes.waited = notes.waited.map_or(waited, |before| Some(before + waited.unwrap_or_default()));
    }
    metrics.admitted.inc();
    if let Some(waited) = notes.waited {
        metrics.wait_seconds.observe(waited.as_secs_f64());
    }
    Ok(notes.since())
}

impl NoSlot {
    /// About how long until it may be worth trying again.
    fn after(self) -> Duration {
        match self {
            Self::AtOnce(Refusal { after, .. }) => after,
            Self::WaitedOut => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests;
