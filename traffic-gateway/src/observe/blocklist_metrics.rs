//! What is known of the dynamic blocklist and its store.

use std::sync::Arc;

use gatehouse_shared::telemetry::metrics::{Catalogue, IntCounter, IntGauge, MetricError, mirror};

use super::metrics::whole;
use crate::admit::blocklist::Keeper;

/// The metrics.
pub(super) struct BlocklistMetrics {
    entries: IntGauge,
    revision: IntGauge,
    pending: IntGauge,
    synced: IntGauge,
    reconciled: IntCounter,
    up: IntGauge,
    failures: IntCounter,
}

impl BlocklistMetrics {
    pub(super) fn declare(catalogue: &Catalogue) -> Result<Self, MetricError> {
        Ok(Self {
            entries: catalogue.gauge(
                "gatehouse_edge_blocklist_entries",
                "Networks on the dynamic blocklist, some of those included that have ended lately.",
            )?,
            revision: catalogue.gauge(
                "gatehouse_edge_blocklist_revision",
                "The last change of the blocklist that this node has. Nodes of a fleet show the same.",
            )?,
            pending: catalogue.gauge(
                "gatehouse_edge_blocklist_pending",
                "Changes of the blocklist that the other nodes do not have, because Redis is away.",
            )?,
            synced: catalogue.gauge(
                "gatehouse_edge_blocklist_synced_timestamp_seconds",
                "When the fleet's blocklist was last seen, in Unix seconds; 0: never, or the store is a file.",
            )?,
            reconciled: catalogue.counter(
                "gatehouse_edge_blocklist_reconciled_total",
                "How often all entries had to be compared with those in Redis.",
            )?,
            up: catalogue.gauge("gatehouse_edge_store_up", "1 while Redis answers, or where the store is a file.")?,
            failures: catalogue
                .counter("gatehouse_edge_store_failures_total", "Connections to Redis that failed or were lost.")?,
        })
    }

    /// Shows how it is whenever somebody asks.
    pub(super) fn watch(self, catalogue: &Catalogue, keeper: &Arc<Keeper>) {
        let keeper = Arc::clone(keeper);
        catalogue.on_render(move || {
            let status = keeper.status();
            let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            self.entries.set(whole(keeper.mirror().current().len()));
            self.revision.set(number(status.revision));
            self.pending.set(whole(status.pending));
            self.synced.set(number(status.synced_unix_ms / 1_000));
            mirror(&self.reconciled, status.reconciled_total);
            self.up.set(i64::from(status.is_up));
            mirror(&self.failures, status.failures_total);
        });
    }
}
