//! How endpoints are chosen, as written in configuration files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Ejection;
use crate::config::{ConfigErrors, HumanDuration, Positions};

/// How the next endpoint is chosen among those that can take a request. `docs/BALANCING.md` says which one is for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// One after the other, whatever their weights.
    #[default]
    RoundRobin,
    /// One after the other in proportion to their weights, the turns of each spread as evenly as can be.
    WeightedRoundRobin,
    /// The one with the fewest requests in flight; among equals, one after the other.
    LeastConnections,
    /// The one with the fewest requests in flight for its weight; among equals, in proportion to their weights.
    WeightedLeastConnections,
    /// Every authority keeps one endpoint, until that one is overloaded or out (LBLC of IPVS).
    Locality,
    /// Every authority keeps a set of endpoints, which grows under load and shrinks after it (LBLCR of IPVS).
    LocalityReplicated,
    /// Every client address keeps one endpoint (consistent hashing).
    SourceHash,
    /// Every authority keeps one endpoint (consistent hashing), unless that one has more than its bounded share of the load.
    DestinationHash,
    /// Of two drawn at random, the one with the lower product of recent latency and requests in flight.
    P2cEwma,
}

impl Strategy {
    /// Its name in configuration files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::WeightedRoundRobin => "weighted_round_robin",
            Self::LeastConnections => "least_connections",
            Self::WeightedLeastConnections => "weighted_least_connections",
            Self::Locality => "locality",
            Self::LocalityReplicated => "locality_replicated",
            Self::SourceHash => "source_hash",
            Self::DestinationHash => "destination_hash",
            Self::P2cEwma => "p2c_ewma",
        }
    }
}

/// `balance`: the fine points of choosing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tuning {
    /// How long an endpoint that returns, or that a reload adds, takes to come up to its full share of the requests; it
    /// begins with a tenth of it. 0 switches slow start off.
    #[schemars(example = "30s")]
    pub slow_start: HumanDuration,
    /// Whether endpoints in the zone of this node (`[process] zone`) go first, as long as enough of them can take
    /// requests. Without zones it has no effect.
    #[schemars(example = true)]
    pub prefer_own_zone: bool,
    /// For `destination_hash`: the most an endpoint may have in flight, in percent of its fair share. 101 to 1000.
    #[schemars(example = 125)]
    pub load_bound_percent: u32,
    /// For `locality` and `locality_replicated`: requests in flight that one point of weight stands for; with more than
    /// that an endpoint is overloaded. At least 1.
    #[schemars(example = 64)]
    pub requests_per_weight: u32,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            slow_start: HumanDuration::from_secs(0),
            prefer_own_zone: true,
            load_bound_percent: 125,
            requests_per_weight: 64,
        }
    }
}

impl Tuning {
    /// Checks the values as written at `path`.
    ///
    /// # Errors
    /// Everything that makes no sense.
    pub fn check(&self, path: &str, positions: &Positions) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut expect = |holds: bool, key: &str, message: &str| {
            if !holds {
                errors.push(positions.error(&format!("{path}.{key}"), format!("\"{path}.{key}\" {message}"), None));
            }
        };
        expect((101..=1_000).contains(&self.load_bound_percent), "load_bound_percent", "must be 101 to 1000");
        expect((1..=1_000_000).contains(&self.requests_per_weight), "requests_per_weight", "must be 1 to 1000000");
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
    /// The fine points of that.
    pub tuning: Tuning,
    /// When endpoints are ejected.
    pub ejection: Ejection,
    /// Thresholds of the active probe; `None` when nobody probes.
    pub probe: Option<ProbeThresholds>,
    /// The zone of this node.
    pub zone: Option<Box<str>>,
    /// Where random draws begin, for the first generation of a pool: nodes of a fleet must not draw alike.
    pub seed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strategy_is_called_what_is_written() {
        for strategy in [
            Strategy::RoundRobin,
            Strategy::WeightedRoundRobin,
            Strategy::LeastConnections,
            Strategy::WeightedLeastConnections,
            Strategy::Locality,
            Strategy::LocalityReplicated,
            Strategy::SourceHash,
            Strategy::DestinationHash,
            Strategy::P2cEwma,
        ] {
            assert_eq!(serde_json::to_value(strategy).unwrap(), strategy.as_str());
        }
    }
}
