//! The metrics of limits, which mirror what they count.

use gatehouse_shared::telemetry::metrics::{Catalogue, IntCounter, IntCounterVec, IntGaugeVec, MetricError, mirror};

use super::limit::Limits;
use super::quotas::Quotas;

const LIMIT: (&str, &str) = ("limit", "name of the limit");

/// The metrics of limits.
pub(crate) struct QuotaMetrics {
    calls: IntCounterVec,
    refunded: IntCounterVec,
    refills: IntCounterVec,
    waits: IntCounterVec,
    store_failures: IntCounterVec,
    full: IntCounterVec,
    held: IntGaugeVec,
    rounds: IntCounterVec,
    healed: IntCounter,
    queue_full: IntCounter,
}

impl QuotaMetrics {
    pub(crate) fn new(catalogue: &Catalogue) -> Result<Self, MetricError> {
        let of_limit = |name, help| catalogue.counters(name, help, &[LIMIT]);
        Ok(Self {
            calls: catalogue.counters(
                "gatehouse_business_quota_calls_total",
                "Calls that met a limit.",
                &[LIMIT, ("verdict", "`admitted`, `denied`, or `observed`: would have been denied")],
            )?,
            refunded: of_limit(
                "gatehouse_business_quota_refunded_total",
                "Calls that got their tokens back, because nothing was sent to a service.",
            )?,
            refills: of_limit(
                "gatehouse_business_quota_refills_total",
                "Times the store was asked for tokens of one counter, or given some back.",
            )?,
            waits: of_limit(
                "gatehouse_business_quota_waits_total",
                "Waits of calls for tokens from the store: newcomers of a window, or a node that ran out.",
            )?,
            store_failures: of_limit(
                "gatehouse_business_quota_store_failures_total",
                "Calls for which there were no tokens here while the store was away.",
            )?,
            full: of_limit(
                "gatehouse_business_quota_full_total",
                "Calls of newcomers while max_keys counters of the limit were in use.",
            )?,
            held: catalogue.gauges("gatehouse_business_quota_keys", "Counters held in memory.", &[LIMIT])?,
            rounds: catalogue.counters(
                "gatehouse_business_quota_rounds_total",
                "Round trips to the store, each for everything that was to be asked and told.",
                &[("result", "`ok` or `failed`")],
            )?,
            healed: catalogue.counter(
                "gatehouse_business_quota_healed_total",
                "Counters that the store had lost after it had acknowledged them, and that this node told it again.",
            )?,
            queue_full: catalogue.counter(
                "gatehouse_business_quota_queue_full_total",
                "Counters that had to ask again because 100,000 were waiting for the store.",
            )?,
        })
    }

    pub(crate) fn refresh(&self, limits: &Limits, quotas: &Quotas) {
        for limit in limits.iter() {
            let (name, counters): (&str, _) = (&limit.name, &limit.counters);
            for (verdict, count) in
                [("admitted", &counters.admitted), ("denied", &counters.denied), ("observed", &counters.observed)]
            {
                mirror(&self.calls.with_label_values(&[name, verdict]), count.get());
            }
            for (metric, count) in [
                (&self.refunded, &counters.refunded),
                (&self.refills, &counters.refills),
                (&self.waits, &counters.waits),
                (&self.store_failures, &counters.store_failures),
                (&self.full, &counters.full),
            ] {
                mirror(&metric.with_label_values(&[name]), count.get());
            }
            self.held.with_label_values(&[name]).set(i64::try_from(limit.held()).unwrap_or(i64::MAX));
        }
        mirror(&self.rounds.with_label_values(&["ok"]), quotas.totals.rounds.get());
        mirror(&self.rounds.with_label_values(&["failed"]), quotas.totals.failed_rounds.get());
        mirror(&self.healed, quotas.totals.healed.get());
        mirror(&self.queue_full, quotas.totals.queue_full.get());
    }
}
