//! What all requests of the process share, and how it is put together when the process starts.

use std::io;
use std::sync::Arc;

use gatehouse_shared::audit::AuditLog;
use gatehouse_shared::clock::Clock;
use gatehouse_shared::live::Live;
use gatehouse_shared::shutdown::{InFlight, Shutdown};
use gatehouse_shared::telemetry::access_log::LineWriter;
use gatehouse_shared::telemetry::metrics::MetricError;
use gatehouse_store::quota::Accounts;
use gatehouse_store::{Fleet, Redis, Settings};

use crate::accept::room::Room;
use crate::admit::app::Identity;
use crate::admit::quota::Quotas;
use crate::admit::traffic_group::shed::Keeper;
use crate::dispatch::cache::Cache;
use crate::metrics::{ApiMetrics, Metrics};
use crate::policy::Policy;
use crate::store::apps::Apps;
use crate::store::revision::follow::Revisions;

/// What all requests of the process share.
pub struct Gateway {
    /// The name of this node in logs.
    pub node: String,
    /// The current generation of configuration and catalog.
    pub live: Arc<Live<Policy>>,
    /// The access log.
    pub log: LineWriter,
    /// What is counted.
    pub metrics: Metrics,
    /// Where requests without an API are counted.
    pub without_api: ApiMetrics,
    /// The store of the fleet; none where every node works from its own files.
    pub store: Option<Arc<Redis>>,
    /// All applications.
    pub apps: Arc<Apps>,
    /// The nodes that share it.
    pub fleet: Arc<Fleet>,
    /// The catalog of this node: where it comes from, and how it changes.
    pub revisions: Arc<Revisions>,
    /// What the process keeps of who calls.
    pub identity: Arc<Identity>,
    /// Room for bodies that are transformed.
    pub shape_room: Arc<Room>,
    /// What is left of quotas.
    pub quotas: Arc<Quotas>,
    /// Answers of services that are kept.
    pub cache: Arc<Cache>,
    /// The traffic groups that are shut off.
    pub sheds: Keeper,
    /// What operators change is written down here before they hear that it is done.
    pub audit: AuditLog,
    /// The phase of the process.
    pub shutdown: Shutdown,
    /// Requests under way.
    pub in_flight: InFlight,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Gateway").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Gateway {
    /// What all requests share, at the start of a process.
    ///
    /// # Errors
    /// As [`StartError`] says.
    pub fn new(
        node: String,
        live: Arc<Live<Policy>>,
        metrics: Metrics,
        log: LineWriter,
    ) -> Result<Arc<Self>, StartError> {
        let in_flight = InFlight::new();
        let policy = live.current();
        let store = match &policy.value.store {
            Settings::File => None,
            Settings::Redis(settings) => Some(Arc::new(Redis::new(settings).map_err(StartError::Store)?)),
        };
        let fleet = Arc::new(Fleet::new(store.clone(), &node));
        let state_dir = &policy.value.process.state_dir;
        std::fs::create_dir_all(state_dir).map_err(StartError::Audit)?;
        let audit = AuditLog::open(state_dir, &node).map_err(StartError::Audit)?;
        let accounts = match &store {
            Some(redis) => Accounts::in_redis(Arc::clone(redis), &node),
            None => Accounts::in_memory(&node, Clock::System),
        };
        let quotas = Quotas::new(accounts, Arc::clone(&fleet), Clock::System);
        let apps = Arc::new(Apps::open(Arc::clone(&live), store.as_ref()).map_err(StartError::Apps)?);
        let identity = Arc::new(Identity::new(store.clone()));
        let sheds = Keeper::open(store.clone(), state_dir, &node).map_err(StartError::Sheds)?;
        let cache = Cache::new(&policy.value.cache, store.as_ref());
        metrics.watch_cache(&cache);
        metrics.watch(&live, &log, &in_flight, &fleet)?;
        metrics.watch_apps(&apps)?;
        metrics.watch_credentials(&identity, &live)?;
        metrics.watch_quotas(&live, &quotas)?;
        let shape_room = Arc::<Room>::default();
        metrics.watch_shaping(&shape_room)?;
        let without_api = metrics.of_api("");
        let shutdown = Shutdown::new();
        let revisions = Revisions::new(Arc::clone(&live), node.clone(), store.clone(), metrics.catalog.clone());
        Ok(Arc::new(Self {
            revisions,
            node,
            live,
            log,
            metrics,
            without_api,
            store,
            apps,
            fleet,
            identity,
            shape_room,
            quotas,
            cache,
            sheds,
            audit,
            shutdown,
            in_flight,
        }))
    }

    /// Whether new requests should come here: the configuration is loaded (or the process would not be there) and the process
    /// is not draining. Services, the edge and stores have no say.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.shutdown.is_draining()
    }
}

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Two metrics have the same name, which is a mistake in the code.
    #[error("no metrics")]
    Metrics(#[from] MetricError),
    /// The addresses or certificates of the store cannot be used.
    #[error("no store: {0}")]
    Store(String),
    /// What is kept of groups that are shut off cannot be read.
    #[error("no list of groups that are shut off")]
    Sheds(#[source] io::Error),
    /// The audit log cannot be opened.
    #[error("no audit log")]
    Audit(#[source] io::Error),
    /// The applications of this node, or its keys, cannot be read.
    #[error("no applications")]
    Apps(#[source] io::Error),
}
