//! What the stages of admission decided, counted by stage.

use gatehouse_shared::{
    problem::Reason,
    telemetry::metrics::{Catalogue, IntCounter, IntCounterVec, MetricError},
};

/// The label of verdicts that have no reason.
const NO_REASON: &str = "none";

/// The counters of all stages.
#[derive(Debug)]
pub struct Verdicts(IntCounterVec);

/// The counters of one stage that a clean request may meet.
#[derive(Debug)]
pub struct StageCounters {
    /// Nothing against it.
    pub pass: IntCounter,
    /// May do everything.
    pub trusted: IntCounter,
    /// May skip the WAF.
    pub skip_waf: IntCounter,
    /// May pass later.
    pub delay: IntCounter,
}

impl Verdicts {
    /// Declares the metric.
    ///
    /// # Errors
    ///
    /// The name is taken: a mistake in the code.
    pub(super) fn declare(catalogue: &Catalogue) -> Result<Self, MetricError> {
        let counters = catalogue.counters(
            "gatehouse_edge_admission_verdicts_total",
            "What the stages of admission decided about requests.",
            &[
                ("stage", "name of the stage"),
                ("verdict", "`pass`, `trusted`, `skip_waf`, `delay`, `deny`, or `observe`: would have been denied"),
                ("reason", "code of the denial, see docs/ERRORS.md; `none` for other verdicts"),
            ],
        )?;
        Ok(Self(counters))
    }

    /// The counters of `stage`.
    #[must_use]
    pub fn of_stage(&self, stage: &str) -> StageCounters {
        let counter = |verdict| self.0.with_label_values(&[stage, verdict, NO_REASON]);
        StageCounters {
            pass: counter("pass"),
            trusted: counter("trusted"),
            skip_waf: counter("skip_waf"),
            delay: counter("delay"),
        }
    }

    /// Counts a verdict that has a reason.
    pub fn count(&self, stage: &str, verdict: &str, reason: &Reason) {
        self.0.with_label_values(&[stage, verdict, reason.code]).inc();
    }
}
