//! What limits are compiled from; tiers build it from their own configuration.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{ConfigErrors, HumanDuration, Positions, Rate};

/// The longest window, time to fill a bucket, or ban.
pub(super) const LONGEST: Duration = Duration::from_secs(366 * 86_400);
/// The shortest window: a process reads its clock to nanoseconds, but not what happens within a millisecond in order.
const SHORTEST: Duration = Duration::from_millis(1);
/// The largest number of keys: 100 bytes each are 10 GB.
const MOST_KEYS: usize = 100_000_000;
/// The longest name, for it is written into header fields and names of metrics.
const LONGEST_NAME: usize = 64;

/// How requests are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// Tokens come at the rate and are saved up to the burst: in any time t at most rate × t + burst pass.
    #[default]
    TokenBucket,
    /// In any span as long as that of the rate, wherever it begins, at most its count passes.
    SlidingWindow,
}

/// A limit on requests, or on whatever else is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimitConfig {
    /// Its name: 1 to 64 letters, digits, dots, dashes and underscores.
    pub name: String,
    /// What a key stands for, such as `client, path`. Counts are kept across a reload only while this stays the same.
    pub key: String,
    /// How requests are counted.
    pub algorithm: Algorithm,
    /// How many in which time: 1 to 4,294,967,295 in 1 ms to 366 days.
    pub rate: Rate,
    /// What a token bucket holds; as many as the rate's count when not given. A sliding window has none.
    pub burst: Option<u64>,
    /// For how long a breach bans the key; not at all when not given.
    pub ban: Option<HumanDuration>,
    /// Most keys at a time, 1 to 100,000,000.
    pub max_keys: usize,
}

/// A limit that all nodes of a fleet keep together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetConfig {
    /// Its name: 1 to 64 letters, digits, dots, dashes and underscores.
    pub name: String,
    /// What a key stands for. Counts are kept across a reload only while this stays the same.
    pub key: String,
    /// How many in which window: 1 to 4,294,967,295 in 1 ms to 366 days. Windows begin at multiples of their length since
    /// 1970-01-01T00:00:00Z; they should be at least five exchanges long.
    pub rate: Rate,
    /// How often nodes exchange what they counted: 1 ms to 10 s, best 100 to 200 ms, and not longer than the window.
    pub exchange_every: HumanDuration,
    /// Nodes to assume until the first exchange.
    pub nodes: u32,
    /// Most keys at a time, 1 to 100,000,000.
    pub max_keys: usize,
}

/// Finds everything wrong with one table of the configuration, written at `path`.
pub(super) struct Check<'a> {
    path: &'a str,
    positions: &'a Positions,
    errors: ConfigErrors,
}

impl<'a> Check<'a> {
    pub(super) fn new(path: &'a str, positions: &'a Positions) -> Self {
        Self { path, positions, errors: ConfigErrors::new() }
    }

    pub(super) fn expect(&mut self, holds: bool, key: &str, message: &str) {
        if !holds {
            let path = format!("{}.{key}", self.path);
            self.errors.push(self.positions.error(&path, format!("\"{path}\" {message}"), None));
        }
    }

    pub(super) fn name(&mut self, name: &str) {
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let holds = (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(is_fine);
        self.expect(holds, "name", "must be 1 to 64 letters, digits, dots, dashes and underscores");
    }

    pub(super) fn max_keys(&mut self, max_keys: usize) {
        self.expect((1..=MOST_KEYS).contains(&max_keys), "max_keys", "must be 1 to 100000000");
    }

    pub(super) fn ban(&mut self, ban: Option<HumanDuration>) {
        let holds = ban.is_none_or(|ban| !ban.get().is_zero() && ban.get() <= LONGEST);
        self.expect(holds, "ban", "must be longer than 0s and at most 366d");
    }

    pub(super) fn window(&mut self, rate: Rate) {
        self.expect((SHORTEST..=LONGEST).contains(&rate.per), "rate", "must have a time of 1ms to 366d");
    }

    /// A number that must be above 0 and fit in 32 bits; 1 when it does not.
    pub(super) fn count(&mut self, count: u64, key: &str) -> u32 {
        let count = u32::try_from(count).ok().filter(|count| *count > 0);
        let message = if key == "rate" { "must have a count of 1 to 4294967295" } else { "must be 1 to 4294967295" };
        self.expect(count.is_some(), key, message);
        count.unwrap_or(1)
    }

    pub(super) fn finish(self) -> Result<(), ConfigErrors> {
        self.errors.into_result(())
    }
}
