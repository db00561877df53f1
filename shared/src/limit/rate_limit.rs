//! A limit on how many events a key may cause in a time.

use std::sync::{Arc, atomic::AtomicU64};
use std::time::{Duration, Instant};

use crate::config::{ConfigErrors, Positions};

use super::config::{Algorithm, Check, LONGEST, RateLimitConfig};
use super::decision::{Decision, policy_field};
use super::key::Key;
use super::meter::{Epoch, Meter, Mode, Reading, Ticks, nanos};
use super::sliding_window::{self, SlidingWindow};
use super::table::{Full, Generation, Table, Usage};
use super::token_bucket::{self, TokenBucket};
use super::turnstile::{Passage, Passing, Turnstile};

/// A limit on how many events (requests, items, answers of a kind) each key may cause in a time.
///
/// Every method takes the time, and takes one short lock; none allocates, except when a key is new.
#[derive(Debug)]
pub struct RateLimit {
    name: Box<str>,
    key: Box<str>,
    policy_field: Box<str>,
    meters: Meters,
}

#[derive(Debug)]
enum Meters {
    TokenBucket(Metered<TokenBucket>),
    SlidingWindow(Metered<SlidingWindow>),
}

/// The counts of all keys, which generations share, and what this generation says about them.
#[derive(Debug)]
struct Metered<M: Meter> {
    epoch: Epoch,
    table: Arc<Table<M>>,
    generation: Arc<Generation<M::Rule>>,
}

/// Calls the same on either kind of meters.
macro_rules! with_meters {
    ($meters:expr, $each:ident => $call:expr) => {
        match $meters {
            Meters::TokenBucket($each) => $call,
            Meters::SlidingWindow($each) => $call,
        }
    };
}

impl RateLimit {
    /// Compiles a limit that is written at `path`.
    ///
    /// Counts and bans are those of `before` when name, key and algorithm are the same. Rate, burst, ban and number of
    /// keys may change: a key keeps the tokens it is missing or the events it had in the window (the longer window of a
    /// new rate knows no more than the shorter one remembered). Nothing of `before` changes until the new limit is used;
    /// from then on both count by the new rate.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    pub fn compile(
        config: &RateLimitConfig,
        before: Option<&Self>,
        path: &str,
        positions: &Positions,
        now: Instant,
    ) -> Result<Self, ConfigErrors> {
        let mut check = Check::new(path, positions);
        check.name(&config.name);
        check.max_keys(config.max_keys);
        check.ban(config.ban);
        check.window(config.rate);
        let count = check.count(config.rate.count, "rate");
        let burst = config.burst.map_or(count, |burst| check.count(burst, "burst"));
        let per = nanos(config.rate.per);
        let ban = config.ban.map_or(0, |ban| nanos(ban.get()));
        let bucket = token_bucket::Rule { count, per, burst, ban };
        match config.algorithm {
            Algorithm::TokenBucket => {
                let fills = bucket.time_to_fill() <= nanos(LONGEST);
                check.expect(fills, "burst", "must come back at the rate within 366d");
            }
            Algorithm::SlidingWindow => {
                let none = "belongs to a token_bucket: a sliding_window admits the rate's count and no more";
                check.expect(config.burst.is_none(), "burst", none);
            }
        }
        check.finish()?;
        let before = before.filter(|before| *before.name == *config.name && *before.key == *config.key);
        let meters = match (config.algorithm, before.map(|before| &before.meters)) {
            (Algorithm::TokenBucket, Some(Meters::TokenBucket(before))) => {
                Meters::TokenBucket(before.under(bucket, config.max_keys, bucket.time_to_fill()))
            }
            (Algorithm::TokenBucket, _) => {
                Meters::TokenBucket(Metered::new(bucket, config.max_keys, bucket.time_to_fill(), now))
            }
            (Algorithm::SlidingWindow, before) => {
                let rule = sliding_window::Rule::new(count, per, ban);
                Meters::SlidingWindow(match before {
                    Some(Meters::SlidingWindow(before)) => before.under(rule, config.max_keys, rule.longest()),
                    _ => Metered::new(rule, config.max_keys, rule.longest(), now),
                })
            }
        };
        Ok(Self {
            name: config.name.as_str().into(),
            key: config.key.as_str().into(),
            policy_field: policy_field(&config.name, config.rate.count, config.rate.per),
            meters,
        })
    }

    /// Asks whether `cost` may pass, and counts it if so. A refusal begins the ban, if there is one.
    ///
    /// # Errors
    /// The table is full of keys in use and this one is new: it is counted nowhere, and should be counted as part of
    /// something larger, such as the network of the client.
    #[inline]
    pub fn admit(&self, key: Key, cost: u32, now: impl Into<Ticks>) -> Result<Decision, Full> {
        with_meters!(&self.meters, meters => meters.apply(key, cost, Mode::Take, now.into()))
    }

    /// What most requests need of this limit, in little memory.
    #[must_use]
    pub fn turnstile(&self) -> Turnstile {
        Turnstile(match &self.meters {
            Meters::TokenBucket(meters) => Passing::TokenBucket(meters.passage()),
            Meters::SlidingWindow(meters) => Passing::SlidingWindow(meters.passage()),
        })
    }

    /// Counts `cost` whether it may pass or not, for what is known only afterwards: the items of a batch, the status of
    /// an answer. What is above the limit is owed: a token bucket goes below zero (by one hour or one bucketful at most).
    /// The decision says whether it was within the limit, and a breach begins the ban.
    ///
    /// # Errors
    /// As for [`Self::admit`].
    pub fn charge(&self, key: Key, cost: u32, now: impl Into<Ticks>) -> Result<Decision, Full> {
        with_meters!(&self.meters, meters => meters.apply(key, cost, Mode::Charge, now.into()))
    }

    /// Gives back what [`Self::admit`] has counted a moment ago, because the request goes no further for another reason.
    /// A sliding window forgets its latest events: when others have come meanwhile, theirs count in its place, up to 1/31
    /// of the window less long.
    pub fn give_back(&self, key: Key, cost: u32, now: impl Into<Ticks>) {
        with_meters!(&self.meters, meters => meters.give_back(key, cost, now.into()));
    }

    /// What [`Self::admit`] would say, without counting anything. A cost of 0 may pass unless the key is above its limit
    /// (after a charge) or banned.
    pub fn peek(&self, key: Key, cost: u32, now: impl Into<Ticks>) -> Decision {
        with_meters!(&self.meters, meters => meters.peek(key, cost, now.into()))
    }

    /// Bans a key for some time from now on, or for longer if it already is.
    ///
    /// # Errors
    /// As for [`Self::admit`].
    pub fn ban(&self, key: Key, time: Duration, now: impl Into<Ticks>) -> Result<(), Full> {
        with_meters!(&self.meters, meters => meters.ban(key, time, now.into()))
    }

    /// Ends the ban of a key and forgets what it was charged.
    pub fn pardon(&self, key: Key) {
        with_meters!(&self.meters, meters => meters.pardon(key));
    }

    /// Gives the places of idle keys back. New keys do the same when they need them; call it every few seconds so that
    /// the memory of a past flood is returned. Takes about 10 ns a key, and locks one shard at a time.
    pub fn reclaim(&self, now: impl Into<Ticks>) {
        with_meters!(&self.meters, meters => meters.table.reclaim(meters.epoch.nanos(now.into())));
    }

    /// How full the table of keys is. Locks one shard after the other: for metrics, not for requests.
    #[must_use]
    pub fn usage(&self) -> Usage {
        with_meters!(&self.meters, meters => meters.table.usage())
    }

    /// How many have passed its turnstiles, in this generation and those whose counts it took over. Locks one shard after the
    /// other.
    #[must_use]
    pub fn passed(&self) -> u64 {
        with_meters!(&self.meters, meters => meters.table.passed())
    }

    /// Has `total` told what [`Self::passed`] is, once no generation has these counts any more.
    pub fn tell_passed(&self, total: &Arc<AtomicU64>) {
        with_meters!(&self.meters, meters => meters.table.tell_passed(total));
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The member of `RateLimit-Policy` about this limit; that of `RateLimit` is [`Decision::field`].
    #[must_use]
    pub fn policy_field(&self) -> &str {
        &self.policy_field
    }
}

impl<M: Meter> Metered<M> {
    fn new(rule: M::Rule, max_keys: usize, idle_after: u64, now: Instant) -> Self {
        let generation = Generation::new(rule, max_keys, idle_after);
        Self { epoch: Epoch(now.into()), table: Arc::new(Table::new(&generation)), generation }
    }

    /// The same counts under another rule.
    fn under(&self, rule: M::Rule, max_keys: usize, idle_after: u64) -> Self {
        let generation = Generation::new(rule, max_keys, idle_after);
        Self { epoch: self.epoch, table: Arc::clone(&self.table), generation }
    }

    #[inline]
    fn apply(&self, key: Key, cost: u32, mode: Mode, now: Ticks) -> Result<Decision, Full> {
        let now = self.epoch.nanos(now);
        let apply = |meter: &mut M, rule: &M::Rule| meter.apply(rule, cost, mode, now);
        Ok(self.decision(self.table.update(key, &self.generation, now, apply)?, now))
    }

    fn passage(&self) -> Passage<M> {
        let Generation { number, rule, .. } = &*self.generation;
        Passage { shards: self.table.shards(), epoch: self.epoch, generation: *number, rule: *rule }
    }

    fn peek(&self, key: Key, cost: u32, now: Ticks) -> Decision {
        let now = self.epoch.nanos(now);
        let ask = |meter: &M, rule: &M::Rule| { *meter }.apply(rule, cost, Mode::Ask, now);
        self.decision(self.table.read(key, &self.generation, now, ask), now)
    }

    fn give_back(&self, key: Key, cost: u32, now: Ticks) {
        let now = self.epoch.nanos(now);
        let give_back = |meter: &mut M, rule: &M::Rule| meter.give_back(rule, cost);
        // A key without a place has nothing to give back, and takes none.
        let _is_full = self.table.update(key, &self.generation, now, give_back).is_err();
    }

    fn ban(&self, key: Key, time: Duration, now: Ticks) -> Result<(), Full> {
        let now = self.epoch.nanos(now);
        let until = now.saturating_add(nanos(time));
        self.table.update(key, &self.generation, now, |meter, _| meter.ban(until))
    }

    fn pardon(&self, key: Key) {
        self.table.change(key, |meter| *meter = M::default());
    }

    #[inline]
    fn decision(&self, reading: Reading, now: u64) -> Decision {
        let after = |time: u64| Duration::from_nanos(time.saturating_sub(now));
        Decision {
            allowed: reading.is_allowed,
            remaining: reading.remaining,
            reset_after: after(reading.full_at),
            retry_after: (!reading.is_allowed).then(|| after(reading.retry_at)),
            banned_until: reading.banned_until.map(|end| self.epoch.instant(end)),
        }
    }
}
