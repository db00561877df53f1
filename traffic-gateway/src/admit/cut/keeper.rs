//! Makes changes, keeps them, and follows what other nodes change.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use gatehouse_shared::{audit::Event, clock, process::write_atomically};
use gatehouse_store::cut::{Cut, MOST_CUTS, RedisCuts};
use pingora::{server::ShutdownWatch, services::background::BackgroundService};
use serde_json::Value;
use tokio::{sync::Mutex, time::sleep};

use super::Cuts;
use crate::admit::blocklist::{self, Actor, Reach};

/// The file in the state directory: all there is without Redis, the last good state with it.
const FILE: &str = "cuts.json";
/// Only the owner reads it.
const PERMISSIONS: u32 = 0o600;
/// Shortest and longest time between two looks at Redis, in milliseconds: different each time, so that nodes spread out.
const BETWEEN_MS: std::ops::Range<u64> = 150..250;

/// Why a change was not made, or not as it should have been.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// The route is not cut off.
    #[error("the route serves already")]
    NotCut,
    /// As many routes as there may be are known already.
    #[error("there are {MOST_CUTS} records of routes already")]
    Full,
    /// The change cannot be kept; it was not made.
    #[error("cannot write {FILE}")]
    Disk(#[source] io::Error),
    /// The change was made, but is not in the audit log.
    #[error("the change is in force, but cannot be written to the audit log")]
    Audit(#[source] io::Error),
}

/// Makes changes and keeps them.
#[derive(Debug)]
pub struct Keeper {
    cuts: Arc<Cuts>,
    node: Box<str>,
    redis: Option<RedisCuts>,
    path: PathBuf,
    /// Has the audit log.
    blocklist: Arc<blocklist::Keeper>,
    /// Held for one change or one look at Redis.
    turn: Mutex<()>,
}

impl Keeper {
    /// Opens the file of a state directory; what it holds is in force when this returns. The Redis and the audit log are those
    /// of the blocklist.
    ///
    /// # Errors
    /// The file cannot be read. One that can, but makes no sense, is put aside.
    pub fn open(cuts: Arc<Cuts>, blocklist: Arc<blocklist::Keeper>, dir: &Path, node: &str) -> io::Result<Arc<Self>> {
        let path = dir.join(FILE);
        match std::fs::read(&path) {
            Ok(text) => match serde_json::from_slice(&text) {
                Ok(known) => drop(cuts.merge(known, clock::unix_ms() / 1_000)),
                Err(error) => {
                    std::fs::rename(&path, dir.join(format!("{FILE}.damaged")))?;
                    tracing::error!(file = %path.display(), %error, "unreadable; put aside: no route is stopped by it");
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let redis = blocklist.redis().map(|blocks| RedisCuts::new(Arc::clone(blocks.redis())));
        Ok(Arc::new(Self { cuts, node: node.into(), redis, path, blocklist, turn: Mutex::default() }))
    }

    /// What is known.
    #[must_use]
    pub fn cuts(&self) -> &Cuts {
        &self.cuts
    }

    /// Cuts a route off, or with `percent` 0 lets it serve again. When this returns that is in force on this node, on its disk
    /// and in the audit log, and says whether the others know.
    ///
    /// # Errors
    /// As [`CutError`] says.
    pub async fn change(&self, wanted: Cut, actor: &Actor) -> Result<(Cut, Reach), CutError> {
        let _turn = self.turn.lock().await;
        let now_ms = clock::unix_ms();
        let now = now_ms / 1_000;
        let before = self.cuts.of(&wanted.route);
        if wanted.percent == 0 && !before.as_ref().is_some_and(|cut| cut.counts_at(now)) {
            return Err(CutError::NotCut);
        }
        let mut all = self.cuts.all();
        if before.is_none() && all.len() >= MOST_CUTS {
            return Err(CutError::Full);
        }
        let stamp = now_ms.max(before.as_ref().map_or(0, |cut| cut.stamp.saturating_add(1)));
        let cut = Cut { by: actor.name.clone(), node: self.node.to_string(), stamp, ..wanted };
        all.retain(|known| known.route != cut.route);
        all.push(cut.clone());
        self.write(all.clone()).await.map_err(CutError::Disk)?;
        self.cuts.merge(vec![cut.clone()], now);
        let reach = match &self.redis {
            None => Reach::Alone,
            Some(redis) => match redis.exchange(&all, now).await {
                Ok(heard) => {
                    self.cuts.merge(heard, now);
                    Reach::Fleet
                }
                Err(error) => Reach::NodeOnly(error.to_string()),
            },
        };
        self.audit(before.as_ref(), &cut, actor).map_err(CutError::Audit)?;
        Ok((cut, reach))
    }

    fn audit(&self, before: Option<&Cut>, after: &Cut, actor: &Actor) -> io::Result<()> {
        let value = |cut: Option<&Cut>| serde_json::to_value(cut).unwrap_or(Value::Null);
        let event = Event {
            who: &actor.name,
            role: actor.role,
            from: actor.from.map(|from| from.to_string()),
            node: &self.node,
            action: if after.percent > 0 { "route.stop" } else { "route.start" },
            target: after.route.clone(),
            why: after.reason.as_deref(),
            before: value(before),
            after: value(Some(after)),
        };
        self.blocklist.audit().append(&[event]).map(drop)
    }

    /// One look at Redis.
    async fn look(&self, redis: &RedisCuts) {
        let _turn = self.turn.lock().await;
        let now = clock::unix_ms() / 1_000;
        match redis.exchange(&self.cuts.all(), now).await {
            Ok(heard) => {
                if self.cuts.merge(heard, now)
                    && let Err(error) = self.write(self.cuts.all()).await
                {
                    tracing::error!(file = %self.path.display(), %error, "stopped routes are not written to the disk");
                }
            }
            Err(error) => tracing::debug!(%error, "stopped routes not exchanged"),
        }
    }

    async fn write(&self, cuts: Vec<Cut>) -> io::Result<()> {
        let path = self.path.clone();
        let writing = tokio::task::spawn_blocking(move || {
            write_atomically(&path, &serde_json::to_vec_pretty(&cuts)?, PERMISSIONS)
        });
        writing.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

/// The background task.
#[derive(Debug)]
pub struct Following(pub Arc<Keeper>);

#[async_trait]
impl BackgroundService for Following {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let Some(redis) = &self.0.redis else { return };
        while !*shutdown.borrow() {
            self.0.look(redis).await;
            let spread = clock::unix_ms() % (BETWEEN_MS.end - BETWEEN_MS.start);
            let pause = Duration::from_millis(BETWEEN_MS.start + spread);
            tokio::select! {
                () = sleep(pause) => {}
                changed = shutdown.changed() => if changed.is_err() { return },
            }
        }
    }
}
