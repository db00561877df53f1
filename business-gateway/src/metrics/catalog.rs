//! What is counted of the catalog's revisions and changes.

use gatehouse_shared::telemetry::metrics::{Catalogue, IntCounter, IntCounterVec, IntGauge, MetricError};

/// How the catalog is kept up to date.
#[derive(Clone)]
pub struct CatalogMetrics {
    revision: IntGauge,
    /// Revisions of others that were taken over.
    pub accepted: IntCounter,
    refused: IntCounterVec,
    /// Times Redis could not be asked.
    pub poll_failures: IntCounter,
    changes: IntCounterVec,
}

impl std::fmt::Debug for CatalogMetrics {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("CatalogMetrics").finish_non_exhaustive()
    }
}

impl CatalogMetrics {
    /// Declares them.
    ///
    /// # Errors
    /// When two metrics have the same name, which is a mistake in the code.
    pub fn new(catalogue: &Catalogue) -> Result<Self, MetricError> {
        Ok(Self {
            revision: catalogue.gauge(
                "gatehouse_business_catalog_revision",
                "The revision of the catalog in force; 0 while it comes from files.",
            )?,
            accepted: catalogue.counter(
                "gatehouse_business_catalog_accepted_total",
                "Revisions of the catalog, published through other nodes, that this node took over.",
            )?,
            refused: catalogue.counters(
                "gatehouse_business_catalog_refused_total",
                "Revisions of the catalog in Redis that this node did not accept.",
                &[(
                    "reason",
                    "`signature`, `invalid`, `missing`, `damaged`, `not_taken`, or `older`: Redis has less than this node",
                )],
            )?,
            poll_failures: catalogue.counter(
                "gatehouse_business_catalog_poll_failures_total",
                "Times this node could not ask Redis for the current revision of the catalog.",
            )?,
            changes: catalogue.counters(
                "gatehouse_business_catalog_changes_total",
                "Changes of the catalog asked for at this node.",
                &[("result", "`made` or `refused`")],
            )?,
        })
    }

    /// Shows which revision is in force.
    pub fn set_to(&self, revision: u64) {
        self.revision.set(i64::try_from(revision).unwrap_or(i64::MAX));
    }

    /// Counts a revision that was not accepted.
    pub fn refused(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    /// Counts a change.
    pub fn changed(&self, is_made: bool) {
        self.changes.with_label_values(&[if is_made { "made" } else { "refused" }]).inc();
    }
}
