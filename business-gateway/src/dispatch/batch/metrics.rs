//! What is counted of batches. The calls that are made of items count among those of their APIs, too.

use gatehouse_shared::telemetry::metrics::{Catalogue, IntCounter, IntCounterVec, MetricError};

/// The metrics of all batches.
#[derive(Debug)]
pub struct BatchMetrics {
    batches: IntCounterVec,
    items: IntCounterVec,
    merged: IntCounter,
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An answer with a status below 400.
    Answered,
    /// An answer with another status.
    Failed,
    /// It is no request, or says what an item cannot say.
    Invalid,
    /// It was not begun: the deadline was over, or the answers were full.
    Skipped,
    /// Its answer could not be given.
    Lost,
}

impl BatchMetrics {
    /// Declares them.
    ///
    /// # Errors
    /// When two metrics have the same name, which is a mistake in the code.
    pub fn new(catalogue: &Catalogue) -> Result<Self, MetricError> {
        Ok(Self {
            batches: catalogue.counters(
                "gatehouse_business_batches_total",
                "Batches whose items were begun.",
                &[("form", "`json` or `text`")],
            )?,
            items: catalogue.counters(
                "gatehouse_business_batch_items_total",
                "Items of batches, by what became of them.",
                &[(
                    "outcome",
                    "`answered` (status below 400), `failed` (any other status), `invalid` (not a request that an item may be), \
                     `skipped` (the deadline was over or the answers were full before it began) or `lost` (its answer was too \
                     large, came too late or broke off)",
                )],
            )?,
            merged: catalogue.counter(
                "gatehouse_business_batch_items_merged_total",
                "Items that were answered by the answer to the same read of their batch.",
            )?,
        })
    }

    /// Counts a batch.
    pub fn batch(&self, form: &str) {
        self.batches.with_label_values(&[form]).inc();
    }

    /// Counts items that share an answer.
    pub fn items(&self, outcome: Outcome, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.items.with_label_values(&[outcome.as_str()]).inc_by(count);
        self.merged.inc_by(count.saturating_sub(1));
    }
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Invalid => "invalid",
            Self::Skipped => "skipped",
            Self::Lost => "lost",
        }
    }
}
