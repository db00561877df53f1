//! `[cache]` of `business.toml`: as written, and as compiled.

use std::time::Duration;

use gatehouse_shared::config::{ByteSize, ConfigError, ConfigErrors, HumanDuration, Positions};
use schemars::JsonSchema;
use serde::Deserialize;

use super::memory::Memory;
use crate::store::catalog::Catalog;
use crate::store::file;

/// `[cache]`: what a node keeps of answers.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Memory for answers of all APIs together; those that are used least go when it is full. Default: `"256MiB"`.
    pub memory_max: ByteSize,
    /// Memory for answers that are on their way into the cache; beyond it answers pass through and are not kept.
    /// Default: `"64MiB"`.
    pub filling_max: ByteSize,
    /// How long a body may take that is to be kept; one that takes longer passes through, from where it is. Default: `"5s"`.
    pub body_timeout: HumanDuration,
    /// How long a key whose answer could not be kept is not waited for: its calls go to the service side by side.
    /// Default: `"10s"`.
    pub pass_for: HumanDuration,
    /// How long a service that has just failed is not asked again for an answer that may be given stale. Default: `"1s"`.
    pub hold_off: HumanDuration,
    /// Calls that ask services anew in the background, at a time; beyond it stale answers are given all the same.
    /// Default: 64.
    pub refreshes_max: usize,
    /// Textual bodies from this length on are kept compressed in memory; `"0B"` for none. Shorter ones are given faster as they
    /// are. Default: `"64KiB"`.
    pub compress_from: ByteSize,
    /// How long a call waits for an answer that the fleet keeps in Redis before it goes on without. Default: `"10ms"`.
    pub fleet_timeout: HumanDuration,
    /// The largest answer in Redis, compressed. Default: `"256KiB"`.
    pub fleet_answer_max: ByteSize,
    /// How long a purged answer may be given by a node that cannot hear of purges because Redis is away. Default: `"30s"`.
    pub blind_max: HumanDuration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory_max: ByteSize::mib(256),
            filling_max: ByteSize::mib(64),
            body_timeout: HumanDuration::from_secs(5),
            pass_for: HumanDuration::from_secs(10),
            hold_off: HumanDuration::from_secs(1),
            refreshes_max: 64,
            compress_from: ByteSize::kib(64),
            fleet_timeout: HumanDuration::from_millis(10),
            fleet_answer_max: ByteSize::kib(256),
            blind_max: HumanDuration::from_secs(30),
        }
    }
}

/// `[cache]` as compiled.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bytes of memory.
    pub memory_max: u64,
    /// Bytes of answers on their way in.
    pub filling_max: u64,
    /// How long a body may take.
    pub body_timeout: Duration,
    /// How long a key whose answer cannot be kept is not waited for, in milliseconds.
    pub pass_for_ms: u64,
    /// How long a failed service is not asked again, in milliseconds.
    pub hold_off_ms: u64,
    /// Background calls at a time.
    pub refreshes_max: usize,
    /// Bodies from this length on are compressed in memory; 0 for none.
    pub compress_from: usize,
    /// How long a call waits for Redis.
    pub fleet_timeout: Duration,
    /// The largest value in Redis, in bytes.
    pub fleet_answer_max: usize,
    /// How long an answer may be given that may have been purged, in milliseconds.
    pub blind_max_ms: u64,
}

impl Settings {
    /// Compiles `[cache]`.
    ///
    /// # Errors
    /// Numbers that cannot work.
    pub fn compile(config: &Config, positions: &Positions) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut check = |holds: bool, key: &str, message: &str, remedy: &str| {
            if !holds {
                errors.push(positions.error(&format!("cache.{key}"), message, Some(remedy.to_owned())));
            }
        };
        let millis = |duration: HumanDuration| u64::try_from(duration.get().as_millis()).unwrap_or(u64::MAX);
        check(config.memory_max.get() >= 1 << 20, "memory_max", "too small for anything", "write at least \"1MiB\"");
        check(config.filling_max.get() >= 1 << 16, "filling_max", "too small for anything", "write at least \"64KiB\"");
        for (key, duration) in [("body_timeout", config.body_timeout), ("fleet_timeout", config.fleet_timeout)] {
            check(millis(duration) > 0, key, "a wait of nothing never gets anything", "write at least \"1ms\"");
        }
        check(
            millis(config.fleet_timeout) <= 1_000,
            "fleet_timeout",
            "calls would wait that long",
            "write at most \"1s\"",
        );
        check(
            config.fleet_answer_max.get() <= 8 << 20,
            "fleet_answer_max",
            "values of that size hold up everybody else's",
            "write at most \"8MiB\"",
        );
        errors.into_result(Self {
            memory_max: config.memory_max.get(),
            filling_max: config.filling_max.get(),
            body_timeout: config.body_timeout.get(),
            pass_for_ms: millis(config.pass_for),
            hold_off_ms: millis(config.hold_off),
            refreshes_max: config.refreshes_max,
            compress_from: config.compress_from.as_usize(),
            fleet_timeout: config.fleet_timeout.get(),
            fleet_answer_max: config.fleet_answer_max.as_usize(),
            blind_max_ms: millis(config.blind_max),
        })
    }
}

/// Whether what APIs keep fits into what nodes have: their memory, and a store that the fleet shares.
///
/// # Errors
/// Every API that does not fit.
pub fn check(catalog: &Catalog, settings: &Settings, store: &gatehouse_store::Settings) -> Result<(), ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let largest = Memory::largest(settings.memory_max);
    for api in &catalog.apis {
        let Some(rules) = &api.cache else { continue };
        let mut refuse = |message: String, remedy: &str| {
            errors.push(ConfigError::about_file(file::CATALOG, message).with_remedy(remedy));
        };
        if rules.answer_max > largest {
            let message = format!("the API {:?} keeps answers larger than a sixteenth of cache.memory_max", api.name);
            refuse(message, "lower its answer_max, or raise memory_max in business.toml");
        }
        if rules.fleet && matches!(store, gatehouse_store::Settings::File) {
            let message =
                format!("the API {:?} shares its cache, and there is no store that the fleet shares", api.name);
            refuse(message, "remove fleet = true, or write [store] with kind = \"redis\" into business.toml");
        }
    }
    errors.into_result(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_cannot_keep_anything_is_refused() {
        let positions = Positions::default();
        assert!(Settings::compile(&Config::default(), &positions).is_ok());
        let wrong = Config {
            memory_max: ByteSize::kib(1),
            filling_max: ByteSize::kib(1),
            body_timeout: HumanDuration::from_secs(0),
            fleet_timeout: HumanDuration::from_secs(5),
            fleet_answer_max: ByteSize::mib(9),
            ..Config::default()
        };
        assert_eq!(Settings::compile(&wrong, &positions).unwrap_err().len(), 5);
    }
}
