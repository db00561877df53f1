//! How endpoints are chosen and judged, as written in configuration files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{ConfigErrors, HumanDuration, Positions};

/// How the next endpoint is chosen among those that can take a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in flight; among equals, one after the other.
    LeastConnections,
}

/// When an endpoint is left alone because requests to it fail, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ejection {
    /// Failures in a row that eject; a refused connection ejects at once. At least 1.
    #[schemars(example = 3)]
    pub consecutive_failures: u32,
    /// How long the first ejection lasts; each one that follows soon lasts twice as long.
    #[schemars(example = "10s")]
    pub time: HumanDuration,
    /// How long an ejection lasts at most.
    #[schemars(example = "5m")]
    pub time_max: HumanDuration,
    /// The share of endpoints that may be out at the same time, in percent: beyond it nobody else is ejected. 0 to 100;
    /// 0 switches ejection off.
    #[schemars(example = 50)]
    pub max_percent: u8,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            consecutive_failures: 3,
            time: HumanDuration::from_secs(10),
            time_max: HumanDuration::from_secs(300),
            max_percent: 50,
        }
    }
}

impl Ejection {
    /// Checks the values as written at `path`.
    ///
    /// # Errors
    /// Everything that makes no sense.
    pub fn check(&self, path: &str, positions: &Positions) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut refuse = |key: &str, message: &str| {
            errors.push(positions.error(&format!("{path}.{key}"), format!("\"{path}.{key}\" {message}"), None));
        };
        if self.consecutive_failures == 0 {
            refuse("consecutive_failures", "must be at least 1");
        }
        if self.time.get().is_zero() {
            refuse("time", "must be longer than 0s");
        }
        if self.time_max < self.time {
            refuse("time_max", "must not be shorter than \"time\"");
        }
        if self.max_percent > 100 {
            refuse("max_percent", "must be 0 to 100");
        }
        errors.into_result(())
    }
}

/// How many probes in a row change the state of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeThresholds {
    /// Successes that bring it back; 0 counts as 1.
    pub rise: u32,
    /// Failures that take it out; 0 counts as 1.
    pub fall: u32,
}

/// What a pool is compiled from; tiers build it from their own configuration.
#[derive(Clone, Debug, Default)]
pub struct PoolConfig {
    /// How the next endpoint is chosen.
    pub strategy: Strategy,
    /// When endpoints are ejected.
    pub ejection: Ejection,
    /// Thresholds of the active probe; `None` when nobody probes.
    pub probe: Option<ProbeThresholds>,
}
