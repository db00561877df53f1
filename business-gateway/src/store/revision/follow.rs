//! Taking over what others have published: Redis is asked often, and what it has is believed only when it is signed, newer
//! and valid. Whatever else it has is counted and shown, and this node keeps what it has.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gatehouse_shared::clock;
use gatehouse_shared::config::ConfigErrors;
use gatehouse_shared::live::{Live, ReloadOutcome};
use gatehouse_store::catalog::{RedisCatalog, Sealed};
use gatehouse_store::{Redis, StoreError};
use serde::Serialize;
use serde_json::{Value, json};

use super::last_good::{self, Kept};
use super::{Settings, candidate};
use crate::metrics::CatalogMetrics;
use crate::policy::Policy;
use crate::store::catalog::objects::Objects;

/// After this time a revision that was refused is looked at again: a key may have been added since.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How often a node without Redis looks whether it has one now.
const IDLE: Duration = Duration::from_secs(1);
/// Findings kept of a revision that was refused.
const MOST_FINDINGS: usize = 20;

/// The catalog of this node: what is in force, and how it changes.
pub struct Revisions {
    pub(super) live: Arc<Live<Policy>>,
    pub(super) node: String,
    redis: Option<RedisCatalog>,
    pub(super) metrics: CatalogMetrics,
    /// Held by whoever changes the catalog or takes one over, one at a time; the request path never takes it.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Held while a few fields are copied.
    seen: Mutex<Seen>,
}

impl std::fmt::Debug for Revisions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Revisions").field("node", &self.node).finish_non_exhaustive()
    }
}

/// What was found in Redis.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// The current revision there, when it was last asked.
    current: Option<u64>,
    /// When it answered last, in Unix milliseconds.
    asked_unix_ms: u64,
    /// The revision that was refused last.
    refused: Option<Refused>,
    /// Whether Redis has less than this node.
    is_behind: bool,
}

/// A revision that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Its number.
    pub revision: u64,
    /// When it was first refused, in Unix milliseconds.
    pub unix_ms: u64,
    /// Why, one finding each.
    pub errors: Vec<String>,
    #[serde(skip)]
    reason: &'static str,
    #[serde(skip)]
    looked: Instant,
}

/// What came of asking Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It has what this node has, or nothing yet.
    Same,
    /// It had a newer revision, which is in force now.
    Accepted(u64),
    /// It has a newer revision, which is not accepted.
    Refused(u64),
    /// It has less than this node.
    Behind,
}

impl Revisions {
    /// The catalog of the node of this name; `redis` is where the fleet keeps it, if it does.
    #[must_use]
    pub fn new(live: Arc<Live<Policy>>, node: String, redis: Option<Arc<Redis>>, metrics: CatalogMetrics) -> Arc<Self> {
        let redis = redis.map(RedisCatalog::new);
        Arc::new(Self { live, node, redis, metrics, turn: tokio::sync::Mutex::default(), seen: Mutex::default() })
    }

    /// Follows Redis until the task is dropped.
    pub async fn run(self: Arc<Self>) {
        loop {
            let pause = match self.store() {
                Some((settings, redis)) => {
                    let _turn = self.turn.lock().await;
                    if let Err(error) = self.catch_up(&settings, redis).await {
                        self.metrics.poll_failures.inc();
                        tracing::debug!(%error, "the catalog in Redis cannot be asked for");
                    }
                    settings.poll.mul_f64(0.8 + 0.4 * fastrand::f64())
                }
                None => IDLE,
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Where the catalog is, when that is Redis.
    pub(super) fn store(&self) -> Option<(Arc<Settings>, &RedisCatalog)> {
        let generation = self.live.current();
        generation.value.written.settings.clone().zip(self.redis.as_ref())
    }

    /// Asks Redis and takes over what is newer.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub(super) async fn catch_up(&self, settings: &Arc<Settings>, redis: &RedisCatalog) -> Result<Asked, StoreError> {
        let known = self.live.current().value.written.revision();
        let current = redis.current().await.inspect_err(|error| {
            if let StoreError::Unexpected(why) = error {
                self.refuse(0, "damaged", vec![why.to_string()]);
            }
        })?;
        let is_behind = current.unwrap_or(0) < known;
        let was_behind = self.saw(current, is_behind);
        if is_behind {
            if !was_behind {
                self.metrics.refused("older");
                tracing::error!(
                    redis = current,
                    node = known,
                    "Redis has lost revisions of the catalog; this node keeps its own"
                );
            }
            return Ok(Asked::Behind);
        }
        match current {
            Some(revision) if revision > known => self.look(settings, redis, revision).await,
            _ => Ok(Asked::Same),
        }
    }

    /// Looks at a newer revision.
    async fn look(&self, settings: &Arc<Settings>, redis: &RedisCatalog, revision: u64) -> Result<Asked, StoreError> {
        let recently = |refused: &Refused| refused.revision == revision && clock::now() < refused.looked + LOOK_AGAIN;
        if self.refused().as_ref().is_some_and(recently) {
            return Ok(Asked::Refused(revision));
        }
        let sealed = match redis.read(revision, settings.document_max).await {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return Ok(self.refuse(revision, "missing", vec!["it is announced and not there".to_owned()])),
            Err(StoreError::Unexpected(why)) => return Ok(self.refuse(revision, "damaged", vec![why.to_string()])),
            Err(error) => return Err(error),
        };
        let Kept { head, objects } = match last_good::understand(settings, &sealed) {
            Ok(kept) if kept.head.revision == revision => kept,
            Ok(kept) => {
                let why = format!("it is revision {}, stored under another number", kept.head.revision);
                return Ok(self.refuse(revision, "signature", vec![why]));
            }
            Err(why) => return Ok(self.refuse(revision, "signature", vec![why])),
        };
        if let Err(errors) = self.check(objects).await {
            let findings = errors.sorted().into_iter().take(MOST_FINDINGS).map(ToString::to_string).collect();
            return Ok(self.refuse(revision, "invalid", findings));
        }
        match self.take(settings, sealed).await {
            Ok(()) => {
                tracing::info!(revision, by = head.by, node = head.node, what = head.what, "took over the catalog");
                self.saw(Some(revision), false);
                self.metrics.accepted.inc();
                Ok(Asked::Accepted(revision))
            }
            Err(why) => Ok(self.refuse(revision, "not_taken", vec![why])),
        }
    }

    /// Keeps a revision that was checked and puts it into force.
    pub(super) async fn take(&self, settings: &Arc<Settings>, sealed: Sealed) -> Result<(), String> {
        let (settings, live) = (Arc::clone(settings), Arc::clone(&self.live));
        let taken = tokio::task::spawn_blocking(move || {
            last_good::write(&settings, &sealed)
                .map_err(|error| format!("it cannot be written to the disk: {error}"))?;
            match live.reload() {
                ReloadOutcome::Replaced(_) | ReloadOutcome::Unchanged => Ok(()),
                ReloadOutcome::Failed(errors) => Err(format!("it cannot be loaded: {errors}")),
            }
        });
        taken.await.unwrap_or_else(|panicked| Err(panicked.to_string()))
    }

    /// Whether this node could run with a catalog: everything that a load checks.
    ///
    /// # Errors
    /// Everything that is wrong with it, or with the rest of the configuration on the disk.
    pub async fn check(&self, objects: Objects) -> Result<(), ConfigErrors> {
        let live = Arc::clone(&self.live);
        let checked = tokio::task::spawn_blocking(move || {
            let before = live.current();
            Policy::load_from(live.dir(), Some(&before.value), |_, _| candidate(objects)).map(|_loaded| ())
        });
        checked.await.unwrap_or_else(|panicked| {
            Err(gatehouse_shared::config::ConfigError::about_file("catalog", panicked.to_string()).into())
        })
    }

    fn refuse(&self, revision: u64, reason: &'static str, errors: Vec<String>) -> Asked {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut seen.refused {
            Some(known) if (known.revision, known.reason, &known.errors) == (revision, reason, &errors) => {
                known.looked = clock::now();
            }
            refused => {
                self.metrics.refused(reason);
                tracing::error!(
                    revision,
                    reason,
                    why = errors.join("; "),
                    "a revision of the catalog is refused; the last good one stays"
                );
                let (unix_ms, looked) = (clock::unix_ms(), clock::now());
                *refused = Some(Refused { revision, unix_ms, errors, reason, looked });
            }
        }
        Asked::Refused(revision)
    }

    /// Remembers what Redis has; the answer is whether it was behind before.
    fn saw(&self, current: Option<u64>, is_behind: bool) -> bool {
        let known = self.live.current().value.written.revision();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.current, seen.asked_unix_ms) = (current, clock::unix_ms());
        seen.refused.take_if(|refused| refused.revision <= known);
        std::mem::replace(&mut seen.is_behind, is_behind)
    }

    /// The revision that was refused last, if none that is newer was accepted since.
    #[must_use]
    pub fn refused(&self) -> Option<Refused> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).refused.clone()
    }

    /// Which catalog is in force and what Redis has, for `/policy`.
    #[must_use]
    pub fn status(&self) -> Value {
        let written = self.live.current().value.written.clone();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let redis = self.store().map(|_| {
            json!({
                "revision": seen.current,
                "asked_unix_ms": seen.asked_unix_ms,
                "is_behind": seen.is_behind,
                "refused": seen.refused,
            })
        });
        json!({
            "source": if self.store().is_some() { "redis" } else { "files" },
            "revision": written.revision(),
            "head": written.head(),
            "objects": written.objects.counts(),
            "redis": redis,
        })
    }
}
