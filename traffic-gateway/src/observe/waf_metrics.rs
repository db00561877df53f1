//! Metrics of the rules, read when somebody asks for them. What they refuse is in `gatehouse_edge_admission_verdicts_total`.

use std::sync::atomic::Ordering;

use gatehouse_shared::telemetry::metrics::{Catalogue, IntCounter, IntGauge, MetricError, mirror};

use crate::admit::Admission;

/// What is known of rules.
pub(super) struct WafMetrics {
    rules: IntGauge,
    inspected: IntCounter,
    body_bytes: IntCounter,
    prefix_only: IntCounter,
    streamed: IntCounter,
    held: IntGauge,
}

impl WafMetrics {
    pub(super) fn declare(catalogue: &Catalogue) -> Result<Self, MetricError> {
        Ok(Self {
            rules: catalogue.gauge("gatehouse_edge_waf_rules", "Rules of the running generation.")?,
            inspected: catalogue.counter("gatehouse_edge_waf_requests_total", "Requests shown to the rules.")?,
            body_bytes: catalogue
                .counter("gatehouse_edge_waf_body_bytes_total", "Bytes of request bodies that rules have judged.")?,
            prefix_only: catalogue.counter(
                "gatehouse_edge_waf_prefix_only_total",
                "Bodies of which only the beginning was looked at, because they were longer than what is held back.",
            )?,
            streamed: catalogue.counter(
                "gatehouse_edge_waf_streamed_total",
                "Bodies whose files were looked at and went on before their end.",
            )?,
            held: catalogue
                .gauge("gatehouse_edge_waf_held_bytes", "Bytes of request bodies that wait for their verdict.")?,
        })
    }

    pub(super) fn show(&self, admission: &Admission) {
        let Some(waf) = admission.waf() else {
            self.rules.set(0);
            return;
        };
        let totals = waf.totals();
        self.rules.set(whole(waf.rules().rules().count()));
        self.held.set(whole(waf.held_bytes()));
        mirror(&self.inspected, totals.inspected.load(Ordering::Relaxed));
        mirror(&self.body_bytes, totals.body_bytes.load(Ordering::Relaxed));
        mirror(&self.prefix_only, totals.prefix_only.load(Ordering::Relaxed));
        mirror(&self.streamed, totals.streamed.load(Ordering::Relaxed));
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
