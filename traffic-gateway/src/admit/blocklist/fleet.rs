//! Follows what other nodes change, and brings both sides together after an outage.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gatehouse_shared::cidr::Network;
use gatehouse_shared::clock;
use gatehouse_shared::live::Live;
use gatehouse_store::StoreError;
use gatehouse_store::block::{
    BlockFile, Entry, Expected, Followed, Kept, Record, RedisBlocks, TOMBSTONE_LIFE, Written,
};
use pingora::{server::ShutdownWatch, services::background::BackgroundService};
use tokio::time::sleep;

use super::keeper::{Actor, Keeper, Wanted, Writer};
use super::overlapped;
use crate::policy::Policy;

/// Shortest and longest time between two looks at Redis, in milliseconds: different each time, so that nodes spread out.
const BETWEEN_MS: std::ops::Range<u64> = 150..250;
/// Reads of the log in one look; more come with the next one.
const MOST_READS: usize = 20;
/// How often the file is told how far this node is.
const NOTE_EVERY_MS: u64 = 60_000;
/// How often outdated records are looked for, in milliseconds.
const TIDY_EVERY_MS: u64 = 600_000;

/// The background task.
pub struct Following {
    keeper: Arc<Keeper>,
    live: Arc<Live<Policy>>,
}

impl Following {
    /// A task that follows the fleet's list, and makes the entries that limits ask for.
    #[must_use]
    pub fn new(keeper: Arc<Keeper>, live: Arc<Live<Policy>>) -> Self {
        Self { keeper, live }
    }

    /// Makes entries of the clients that limits have banned; the bans of this node alone end with that. What overlaps an
    /// allowed or trusted network stays this node's business.
    async fn ban(&self) {
        let generation = self.live.current();
        let policy = &generation.value;
        let now_ms = clock::unix_ms();
        for ban in policy.admission.upkeep().drain_bans(now_ms) {
            if overlapped(policy, ban.client, now_ms / 1_000).is_some() {
                continue;
            }
            let until = ban.until_unix_ms.div_ceil(1_000);
            let lasts = |record: Record| record.entry.is_some_and(|entry| entry.until.is_none_or(|end| end >= until));
            if !self.keeper.mirror().get(ban.client).is_some_and(lasts) {
                let reason = Some(format!("banned by the limit {}", ban.limit));
                let entry = Entry { until: Some(until), owner: None, ticket: None, reason };
                let wanted = vec![Wanted { network: ban.client, entry: Some(entry), expected: Expected::Anything }];
                let actor = Actor { name: format!("limit:{}", ban.limit), role: None, from: None };
                if let Err(error) = self.keeper.change(wanted, actor, "blocklist.ban").await {
                    tracing::error!(network = %ban.client, %error, "ban not handed on");
                    continue;
                }
            }
            policy.admission.upkeep().bans().lift(&ban.client);
        }
    }
}

#[async_trait]
impl BackgroundService for Following {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        while !*shutdown.borrow() {
            self.keeper.look().await;
            self.ban().await;
            let pause =
                Duration::from_millis(BETWEEN_MS.start + clock::unix_ms() % (BETWEEN_MS.end - BETWEEN_MS.start));
            tokio::select! {
                () = sleep(pause) => {}
                changed = shutdown.changed() => if changed.is_err() { return },
            }
        }
    }
}

impl Keeper {
    /// One look at Redis, and what is due besides.
    pub async fn look(&self) {
        let mut writer = self.writer.lock().await;
        self.hear_of_the_other_process(&mut writer).await;
        if let Some(redis) = &self.redis {
            match self.follow(redis, &mut writer).await {
                Ok(()) => writer.synced_unix_ms = clock::unix_ms(),
                Err(error) => self.fail(&error),
            }
        }
        self.tidy(&mut writer).await;
        self.publish(&writer);
        drop(writer);
        if self.mirror.is_compaction_due() {
            let mirror = self.mirror.clone();
            let compacting = tokio::task::spawn_blocking(move || mirror.compact(clock::unix_ms() / 1_000));
            if compacting.await.is_err() {
                tracing::error!("compacting the blocklist panicked");
            }
        }
    }

    /// Takes over what the other process of an upgrade was told while both listened.
    async fn hear_of_the_other_process(&self, writer: &mut Writer) {
        match self.with_file(BlockFile::news).await {
            Ok(records) => {
                self.mirror.apply(&records);
                let is_pending = |record: &&Record| self.redis.is_some() && record.revision == 0;
                writer.pending.extend(records.iter().filter(is_pending).map(|record| record.network));
            }
            Err(error) => tracing::error!(%error, "the blocklist cannot be read"),
        }
    }

    async fn follow(&self, redis: &RedisBlocks, writer: &mut Writer) -> Result<(), StoreError> {
        self.push_pending(redis, writer).await?;
        for _read in 0..MOST_READS {
            match redis.follow(&writer.head).await? {
                Followed::Nothing => return Ok(()),
                Followed::Changes(records, head) => {
                    self.take(writer, &records).await;
                    writer.head = head;
                }
                Followed::Unknown => return self.reconcile(redis, writer).await,
            }
        }
        Ok(())
    }

    /// Gives Redis the changes that were made without it.
    async fn push_pending(&self, redis: &RedisBlocks, writer: &mut Writer) -> Result<(), StoreError> {
        if writer.pending.is_empty() {
            return Ok(());
        }
        let changes = writer.pending.iter().filter_map(|network| self.mirror.get(*network)).collect();
        self.push(redis, writer, changes).await?;
        writer.pending.clear();
        Ok(())
    }

    /// Stores records unless Redis has newer ones, which are taken over then.
    async fn push(&self, redis: &RedisBlocks, writer: &mut Writer, records: Vec<Record>) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        tracing::info!(entries = records.len(), "giving Redis what only this node knows of the blocklist");
        let changes: Vec<(Record, Expected)> = records.into_iter().map(|record| (record, Expected::Older)).collect();
        let mut known = Vec::new();
        for written in redis.write(&changes, clock::unix_ms() / 1_000).await? {
            match written {
                Written::Stored(record) | Written::Newer(record) => known.push(record),
                Written::Full => {
                    tracing::error!("the blocklist in Redis is full: some entries count on this node only")
                }
                Written::Unexpected(_) | Written::NotTried => {}
            }
        }
        self.take(writer, &known).await;
        Ok(())
    }

    /// Compares all records with those of Redis: the newer one of each network counts.
    async fn reconcile(&self, redis: &RedisBlocks, writer: &mut Writer) -> Result<(), StoreError> {
        let (stored, head) = redis.all().await?;
        let now_ms = clock::unix_ms();
        let stored_by_network: HashMap<Network, &Record> =
            stored.iter().map(|record| (record.network, record)).collect();
        let is_missing = |record: &Record| match stored_by_network.get(&record.network) {
            Some(stored) => record.is_newer_than(stored),
            // Of what was removed only those need to hear who still have it.
            None => record.counts_at(now_ms / 1_000),
        };
        let missing = self.mirror.records(is_missing);
        let absence = Duration::from_millis(now_ms.saturating_sub(writer.synced_unix_ms));
        // Who was away so long may know entries whose removal nobody remembers any more.
        let is_stale = writer.synced_unix_ms > 0 && absence > TOMBSTONE_LIFE && head.revision > 0;
        let (missing, stale): (Vec<Record>, Vec<Record>) =
            missing.into_iter().partition(|record| !is_stale || record.revision == 0);
        tracing::info!(stored = stored.len(), missing = missing.len(), stale = stale.len(), "blocklist compared");
        self.take(writer, &stored).await;
        self.mirror.forget(&stale.iter().map(|record| record.network).collect::<Vec<_>>());
        self.push(redis, writer, missing).await?;
        writer.head = head;
        writer.reconciled_total += 1;
        self.write_down(writer, !stale.is_empty()).await;
        Ok(())
    }

    /// Takes records over, in force first: the disk may wait.
    async fn take(&self, writer: &mut Writer, records: &[Record]) {
        let is_news = |record: &&Record| self.mirror.get(record.network).as_ref() != Some(*record);
        let news: Vec<Record> = records.iter().filter(is_news).cloned().collect();
        self.mirror.apply(&news);
        for record in &news {
            let Some(known) = self.mirror.get(record.network) else { continue };
            // Somebody who had not heard of our change has brought an older one back.
            if known.stamp > record.stamp && known.revision < record.revision {
                writer.pending.insert(record.network);
            } else if known.revision > 0 {
                writer.pending.remove(&record.network);
            }
        }
        if let Err(error) = self.append(&news).await {
            tracing::error!(%error, "the blocklist is not written to the disk");
        }
    }

    /// Forgets what is over, and writes the file anew when much of it is outdated.
    async fn tidy(&self, writer: &mut Writer) {
        let now_ms = clock::unix_ms();
        if now_ms >= writer.tidied_unix_ms + TIDY_EVERY_MS {
            writer.tidied_unix_ms = now_ms;
            let over = self.mirror.records(|record| record.is_over(now_ms / 1_000));
            if let Some(redis) = &self.redis
                && let Err(error) = redis.forget(&over).await
            {
                self.fail(&error);
            }
            let networks: Vec<Network> = over.iter().map(|record| record.network).collect();
            self.mirror.forget(&networks);
        }
        if now_ms >= writer.noted_unix_ms + NOTE_EVERY_MS {
            writer.noted_unix_ms = now_ms;
            self.write_down(writer, false).await;
        }
    }

    /// Tells the file how far this node is, or writes it anew where that is due.
    async fn write_down(&self, writer: &Writer, is_due: bool) {
        let (head, synced_unix_ms) = (writer.head.clone(), writer.synced_unix_ms);
        let mirror = self.mirror.clone();
        let live = mirror.len();
        let written = self.with_file(move |file| {
            if !is_due && !file.is_rewrite_due(live) {
                return file.note(&head, synced_unix_ms);
            }
            let records = mirror.records(|_| true).into_iter().map(|record| (record.network, record)).collect();
            file.rewrite(&Kept { records, head, synced_unix_ms })
        });
        if let Err(error) = written.await {
            tracing::error!(%error, "the blocklist is not written to the disk");
        }
    }
}
