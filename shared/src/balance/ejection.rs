//! When an endpoint is left alone because requests to it fail, as written in configuration files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{ConfigErrors, HumanDuration, Positions};

/// When an endpoint is left alone because requests to it fail, and for how long. Whichever of the three limits comes first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ejection {
    /// Failures in a row that eject. At least 1.
    #[schemars(example = 3)]
    pub consecutive_failures: u32,
    /// Refused connections in a row that eject; they count as failures, too. At least 1.
    #[schemars(example = 1)]
    pub consecutive_connect_failures: u32,
    /// The share of requests that may fail, in percent: an endpoint that reaches it is ejected. 0 to 100; 0 switches this
    /// limit off.
    #[schemars(example = 50)]
    pub failure_percent: u8,
    /// The time over which that share is taken; between half of it and all of it counts.
    #[schemars(example = "10s")]
    pub failure_window: HumanDuration,
    /// Requests within that time, below which the share says nothing; so many in a row that all fail eject, however many went
    /// well before. At least 1.
    #[schemars(example = 20)]
    pub failure_requests_min: u32,
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
            consecutive_connect_failures: 1,
            failure_percent: 50,
            failure_window: HumanDuration::from_secs(10),
            failure_requests_min: 20,
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
        let mut expect = |holds: bool, key: &str, message: &str| {
            if !holds {
                errors.push(positions.error(&format!("{path}.{key}"), format!("\"{path}.{key}\" {message}"), None));
            }
        };
        expect(self.consecutive_failures > 0, "consecutive_failures", "must be at least 1");
        expect(self.consecutive_connect_failures > 0, "consecutive_connect_failures", "must be at least 1");
        expect(self.failure_percent <= 100, "failure_percent", "must be 0 to 100");
        expect(self.failure_window >= HumanDuration::from_millis(10), "failure_window", "must be at least 10ms");
        expect(self.failure_requests_min > 0, "failure_requests_min", "must be at least 1");
        expect(!self.time.get().is_zero(), "time", "must be longer than 0s");
        expect(self.time_max >= self.time, "time_max", "must not be shorter than \"time\"");
        expect(self.max_percent <= 100, "max_percent", "must be 0 to 100");
        errors.into_result(())
    }

    /// Whether so many failures among so many requests are too many.
    pub(super) fn is_too_often(&self, failed: u64, requests: u64) -> bool {
        self.failure_percent > 0
            && requests >= u64::from(self.failure_requests_min)
            && failed.saturating_mul(100) >= requests.saturating_mul(u64::from(self.failure_percent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_often_is_a_share_of_enough_requests() {
        let half = Ejection::default();
        for (failed, requests, expected) in
            [(10, 20, true), (9, 20, false), (19, 19, false), (20, 20, true), (499, 1000, false), (500, 1000, true)]
        {
            assert_eq!(half.is_too_often(failed, requests), expected, "{failed} of {requests}");
        }
        let off = Ejection { failure_percent: 0, ..half };
        assert!(!off.is_too_often(100, 100));
    }
}
