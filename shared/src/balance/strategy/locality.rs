//! Locality-based least connections, with and without replication: LBLC and LBLCR of IPVS, by authority instead of by
//! destination address.
//!
//! Without replication, every authority has one home, the endpoint that had the fewest requests for its weight when the
//! authority was first seen. It gets another one when its home is out, or overloaded while somebody else is idle: when the
//! home has more in flight than its weight stands for, and another endpoint less than half of that.
//!
//! With replication, every authority has a set of homes and goes to the least loaded of them. In the same two cases the set
//! grows by the least loaded of all endpoints; when it has not changed for [`REPLICA_LIFE`], it loses the most loaded one.
//!
//! Two things are bounded here that IPVS leaves open: an authority has at most [`MOST_HOMES`] homes, the newest; and at most
//! [`SHARDS`] × [`MOST_AUTHORITIES`] authorities have one, those called last. One that is forgotten is only seen for the first
//! time again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Choice;
use super::least::Load;
use crate::balance::Strategy;
use crate::balance::hash::{MILLION, happens, mix, of_authority};
use crate::balance::pool::Member;

/// How long a set of homes stays as it is before it shrinks. IPVS takes a day by default, for caches of files; services
/// come back from a burst within minutes.
const REPLICA_LIFE: Duration = Duration::from_secs(60);
/// Homes of one authority.
const MOST_HOMES: usize = 8;
/// Parts of the table, each with a lock of its own.
const SHARDS: usize = 16;
/// Authorities in one part: 4,096 in all, which is 0.5 MB when the table is full.
const MOST_AUTHORITIES: usize = 256;

/// Which authority is at home where. It outlives reloads: homes are known by the hash of their address.
#[derive(Debug, Default)]
pub(in crate::balance) struct Homes {
    /// Held for one look-up or one change; at most for a look through [`MOST_AUTHORITIES`] entries, when a new one takes
    /// the place of an old one.
    shards: [Mutex<HashMap<u64, Entry>>; SHARDS],
}

/// The homes of one authority, the oldest first; the rest is 0.
#[derive(Clone, Copy, Debug)]
struct Entry {
    homes: [u64; MOST_HOMES],
    changed: Instant,
    used: Instant,
}

impl Entry {
    fn count(&self) -> usize {
        self.homes.iter().filter(|home| **home != 0).count()
    }

    fn has(&self, member: &Member) -> bool {
        self.homes.contains(&member.identity)
    }

    /// Adds a home; a full set loses its oldest one.
    fn add(&mut self, home: u64, now: Instant) {
        if self.homes.contains(&home) {
            return;
        }
        if self.count() == MOST_HOMES {
            self.homes.rotate_left(1);
            if let Some(last) = self.homes.last_mut() {
                *last = 0;
            }
        }
        if let Some(free) = self.homes.iter_mut().find(|home| **home == 0) {
            *free = home;
        }
        self.changed = now;
    }

    fn remove(&mut self, home: u64, now: Instant) {
        if let Some(place) = self.homes.iter().position(|other| *other == home)
            && let Some(rest) = self.homes.get_mut(place..)
        {
            rest.rotate_left(1);
            if let Some(last) = rest.last_mut() {
                *last = 0;
            }
            self.changed = now;
        }
    }
}

impl Homes {
    fn shard(&self, authority: u64) -> Option<MutexGuard<'_, HashMap<u64, Entry>>> {
        let index = usize::try_from(authority >> 32).ok()? % SHARDS;
        // A panic while it was held cannot leave half an entry.
        self.shards.get(index).map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn find(&self, authority: u64, now: Instant) -> Option<Entry> {
        let mut shard = self.shard(authority)?;
        let entry = shard.get_mut(&authority)?;
        entry.used = now;
        Some(*entry)
    }

    fn change(&self, authority: u64, now: Instant, change: impl FnOnce(&mut Entry)) {
        let Some(mut shard) = self.shard(authority) else { return };
        if !shard.contains_key(&authority)
            && shard.len() >= MOST_AUTHORITIES
            && let Some(oldest) = shard.iter().min_by_key(|(_, entry)| entry.used).map(|(authority, _)| *authority)
        {
            shard.remove(&oldest);
        }
        change(shard.entry(authority).or_insert(Entry { homes: [0; MOST_HOMES], changed: now, used: now }));
    }

    /// How many authorities have a home.
    #[cfg(test)]
    pub(in crate::balance) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

impl Choice<'_> {
    /// The home of an authority, or one of its homes.
    pub(super) fn locality(&self) -> Option<usize> {
        let homes = self.pool.homes.as_deref()?;
        let replicates = self.pool.config.strategy == Strategy::LocalityReplicated;
        let authority = of_authority(self.call.authority);
        if let Some(entry) = homes.find(authority, self.now) {
            if entry.count() > 1 && self.now.saturating_duration_since(entry.changed) > REPLICA_LIFE {
                self.shrink(homes, authority, &entry);
            }
            if let Some((index, ..)) = self.least_loaded(|member| entry.has(member))
                && !self.is_overloaded(index)
            {
                return Some(index);
            }
        }
        let index = self.new_home()?;
        let home = self.pool.members.get(index)?.identity;
        homes.change(authority, self.now, |entry| {
            if !replicates {
                entry.homes = [0; MOST_HOMES];
            }
            entry.add(home, self.now);
        });
        Some(index)
    }

    /// The least loaded of all by weight. One that has just returned gets homes only as its share allows it.
    fn new_home(&self) -> Option<usize> {
        let is_due = |member: &Member| {
            let share = self.share(member);
            let fair = self.pool.fair_share(member);
            share >= MILLION || happens(mix(self.draw() ^ member.identity), fair * share / MILLION)
        };
        self.weighted_least_connections(is_due).or_else(|| self.weighted_least_connections(|_member| true))
    }

    /// Whether it has more in flight than its weight stands for while somebody else has less than half of that.
    fn is_overloaded(&self, index: usize) -> bool {
        let Some(home) = self.pool.members.get(index) else { return false };
        let capacity = u64::from(self.pool.config.tuning.requests_per_weight);
        Load::of(home).exceeds(capacity)
            && self.candidates().any(|(_, member)| Load::of(member).is_below_half_of(capacity))
    }

    /// Takes the most loaded home from a set; first one that is no endpoint any more.
    fn shrink(&self, homes: &Homes, authority: u64, entry: &Entry) {
        let find = |home: u64| self.pool.members.iter().find(|member| member.identity == home);
        let mut most: Option<(u64, Load)> = None;
        for home in entry.homes.iter().copied().filter(|home| *home != 0) {
            let Some(member) = find(home) else {
                return homes.change(authority, self.now, |entry| entry.remove(home, self.now));
            };
            let load = Load::of(member);
            if most.is_none_or(|(_, other)| other.is_below(&load)) {
                most = Some((home, load));
            }
        }
        if let Some((home, _)) = most {
            homes.change(authority, self.now, |entry| entry.remove(home, self.now));
        }
    }
}
