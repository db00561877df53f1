//! What is counted of the branches of splits, for Prometheus.

use std::time::Duration;

use gatehouse_shared::telemetry::metrics::{
    Catalogue, Histogram, HistogramVec, IntCounter, IntCounterVec, MetricError, SECONDS,
};

/// The metrics of all splits.
pub struct SplitMetrics {
    requests: IntCounterVec,
    errors: IntCounterVec,
    seconds: HistogramVec,
}

impl std::fmt::Debug for SplitMetrics {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SplitMetrics").finish_non_exhaustive()
    }
}

/// The metrics of one branch.
#[derive(Debug)]
pub struct BranchMetrics {
    requests: IntCounter,
    errors: IntCounter,
    seconds: Histogram,
}

const LABELS: &[(&str, &str)] = &[("split", "name of the split"), ("branch", "name of the branch")];

impl SplitMetrics {
    /// Declares them.
    ///
    /// # Errors
    /// When two have the same name, which is a mistake in the code.
    pub fn new(catalogue: &Catalogue) -> Result<Self, MetricError> {
        Ok(Self {
            requests: catalogue.counters(
                "gatehouse_business_split_requests_total",
                "Calls for the service of a branch, those that its open breaker refused included.",
                LABELS,
            )?,
            errors: catalogue.counters(
                "gatehouse_business_split_errors_total",
                "Calls of a branch that its service answered with a status of 500 to 599, or not at all, or not to the end.",
                LABELS,
            )?,
            seconds: catalogue.histograms(
                "gatehouse_business_split_seconds",
                "From the first try of a call to the head of the answer of the branch's service, or to giving up.",
                SECONDS,
                LABELS,
            )?,
        })
    }

    /// The metrics of a branch; looked up once for each generation.
    #[must_use]
    pub fn of(&self, split: &str, branch: &str) -> BranchMetrics {
        let labels = [split, branch];
        BranchMetrics {
            requests: self.requests.with_label_values(&labels),
            errors: self.errors.with_label_values(&labels),
            seconds: self.seconds.with_label_values(&labels),
        }
    }
}

impl BranchMetrics {
    /// Counts a call; `waited` is `None` where nobody waited for the answer to the end.
    pub fn add(&self, waited: Option<Duration>, is_error: bool) {
        self.requests.inc();
        if is_error {
            self.errors.inc();
        }
        if let Some(waited) = waited {
            self.seconds.observe(waited.as_secs_f64());
        }
    }
}
