//! Makes changes, keeps them, and follows what other nodes change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gatehouse_shared::clock;
use gatehouse_shared::process::write_atomically;
use gatehouse_store::Redis;
use gatehouse_store::shed::{MOST_SHEDS, RedisSheds, Shed};
use tokio::sync::Mutex;

use super::Sheds;
use crate::gateway::Gateway;

/// The file in the state directory: all there is without a store, the last good state with it.
const FILE: &str = "sheds.json";
/// Only the owner reads it.
const PERMISSIONS: u32 = 0o600;
/// Shortest and longest time between two looks at the store, in milliseconds: different each time, so that nodes spread out.
const BETWEEN_MS: std::ops::Range<u64> = 150..250;

/// Who obeys a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// All nodes, within a second.
    Fleet,
    /// This node, which has no others.
    Alone,
    /// This node now, the others when the store is back; with what is wrong with it.
    NodeOnly(String),
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ShedError {
    /// The group is not shut off.
    #[error("the group is not shut off")]
    NotShed,
    /// As many groups as there may be are known already.
    #[error("there are {MOST_SHEDS} records of groups already")]
    Full,
    /// The change cannot be kept; it was not made.
    #[error("cannot write {FILE}")]
    Disk(#[source] io::Error),
}

/// A change that was made.
#[derive(Debug, Clone)]
pub struct Changed {
    /// What was known before.
    pub before: Option<Shed>,
    /// What counts now.
    pub after: Shed,
    /// For whom.
    pub reach: Reach,
}

/// Makes changes and keeps them.
#[derive(Debug)]
pub struct Keeper {
    sheds: Sheds,
    node: Box<str>,
    store: Option<RedisSheds>,
    path: PathBuf,
    /// Held for one change or one look at the store.
    turn: Mutex<()>,
}

impl Keeper {
    /// Opens the file of a state directory; what it holds is in force when this returns.
    ///
    /// # Errors
    /// The file cannot be read. One that can, but makes no sense, is put aside.
    pub fn open(store: Option<Arc<Redis>>, dir: &Path, node: &str) -> io::Result<Self> {
        let (sheds, path) = (Sheds::default(), dir.join(FILE));
        match std::fs::read(&path) {
            Ok(text) => match serde_json::from_slice(&text) {
                Ok(known) => drop(sheds.merge(known, clock::unix_ms() / 1_000)),
                Err(error) => {
                    std::fs::rename(&path, dir.join(format!("{FILE}.damaged")))?;
                    tracing::error!(file = %path.display(), %error, "unreadable; put aside: no group is shut off by it");
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(Self { sheds, node: node.into(), store: store.map(RedisSheds::new), path, turn: Mutex::default() })
    }

    /// What is known.
    #[must_use]
    pub fn list(&self) -> &Sheds {
        &self.sheds
    }

    /// Shuts a group off, or with `percent` 0 lets it through again, in the name of the token `by`. When this returns that is
    /// in force on this node and on its disk, and says whether the others know.
    ///
    /// # Errors
    /// As [`ShedError`] says.
    pub async fn change(&self, wanted: Shed, by: &str) -> Result<Changed, ShedError> {
        let _turn = self.turn.lock().await;
        let now_ms = clock::unix_ms();
        let now = now_ms / 1_000;
        let before = self.sheds.of(&wanted.group);
        if wanted.percent == 0 && !before.as_ref().is_some_and(|shed| shed.counts_at(now)) {
            return Err(ShedError::NotShed);
        }
        let mut all = self.sheds.all();
        if before.is_none() && all.len() >= MOST_SHEDS {
            return Err(ShedError::Full);
        }
        let stamp = now_ms.max(before.as_ref().map_or(0, |shed| shed.stamp.saturating_add(1)));
        let after = Shed { by: by.to_owned(), node: self.node.to_string(), stamp, ..wanted };
        all.retain(|known| known.group != after.group);
        all.push(after.clone());
        self.write(all.clone()).await.map_err(ShedError::Disk)?;
        self.sheds.merge(vec![after.clone()], now);
        let reach = match &self.store {
            None => Reach::Alone,
            Some(store) => match store.exchange(&all, now).await {
                Ok(heard) => {
                    self.sheds.merge(heard, now);
                    Reach::Fleet
                }
                Err(error) => Reach::NodeOnly(error.to_string()),
            },
        };
        Ok(Changed { before, after, reach })
    }

    /// One look at the store.
    async fn look(&self, store: &RedisSheds) {
        let _turn = self.turn.lock().await;
        let now = clock::unix_ms() / 1_000;
        match store.exchange(&self.sheds.all(), now).await {
            Ok(heard) => {
                if self.sheds.merge(heard, now)
                    && let Err(error) = self.write(self.sheds.all()).await
                {
                    tracing::error!(file = %self.path.display(), %error, "groups shut off are not written to the disk");
                }
            }
            Err(error) => tracing::debug!(%error, "groups shut off not exchanged"),
        }
    }

    async fn write(&self, sheds: Vec<Shed>) -> io::Result<()> {
        let path = self.path.clone();
        let writing = tokio::task::spawn_blocking(move || {
            write_atomically(&path, &serde_json::to_vec_pretty(&sheds)?, PERMISSIONS)
        });
        writing.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

/// Follows what other nodes change, until the task is dropped. Only with a store that the fleet shares.
pub async fn follow(gateway: Arc<Gateway>) {
    let keeper = &gateway.sheds;
    let Some(store) = &keeper.store else { return };
    loop {
        keeper.look(store).await;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(BETWEEN_MS))).await;
    }
}
