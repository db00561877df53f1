//! Metrics of limits and bans, read when somebody asks for them.

use std::sync::atomic::Ordering;

use gatehouse_shared::telemetry::metrics::{
    Catalogue, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, MetricError, mirror,
};

use crate::admit::{Admission, limit::Standing};

/// What is known of limits and bans.
pub(super) struct LimitMetrics {
    requests: IntCounterVec,
    keys: IntGaugeVec,
    bytes: IntGaugeVec,
    full: IntCounterVec,
    uncounted: IntCounterVec,
    banned: IntCounter,
    banned_now: IntGauge,
    dropped: IntCounter,
    exchanges: IntCounterVec,
}

impl LimitMetrics {
    pub(super) fn declare(catalogue: &Catalogue) -> Result<Self, MetricError> {
        let limit = ("limit", "name of the limit");
        let verdict =
            ("verdict", "`admitted`, `delayed`, `refused`, or `observed`: would have been refused, delayed or banned");
        Ok(Self {
            requests: catalogue.counters(
                "gatehouse_edge_limit_requests_total",
                "Requests that a limit covered, by what it said.",
                &[limit, verdict],
            )?,
            keys: catalogue.gauges(
                "gatehouse_edge_limit_keys",
                "Keys that a limit counts by now, idle ones included.",
                &[limit],
            )?,
            bytes: catalogue.gauges("gatehouse_edge_limit_bytes", "Memory of the counts of a limit.", &[limit])?,
            full: catalogue.counters(
                "gatehouse_edge_limit_full_total",
                "Requests with a new key that found the table of a limit full; they were counted by network.",
                &[limit],
            )?,
            uncounted: catalogue.counters(
                "gatehouse_edge_limit_uncounted_total",
                "Requests that found the table of networks full as well; they passed uncounted.",
                &[limit],
            )?,
            banned: catalogue.counter("gatehouse_edge_limit_bans_total", "Clients that limits have banned.")?,
            banned_now: catalogue.gauge(
                "gatehouse_edge_limit_banned",
                "Clients banned by limits of this node, some ended bans included.",
            )?,
            exchanges: catalogue.counters(
                "gatehouse_edge_limit_exchanges_total",
                "Exchanges of what limits of the fleet have counted.",
                &[("result", "`done` or `failed`")],
            )?,
            dropped: catalogue.counter(
                "gatehouse_edge_limit_bans_dropped_total",
                "Bans that were not handed on to the fleet, or not kept at all, because there were too many.",
            )?,
        })
    }

    pub(super) fn show(&self, admission: &Admission) {
        let bans = admission.upkeep().bans().totals();
        mirror(&self.banned, bans.banned);
        mirror(&self.dropped, bans.dropped);
        let exchanges = admission.upkeep().exchanges();
        for (result, total) in [("done", &exchanges.done), ("failed", &exchanges.failed)] {
            mirror(&self.exchanges.with_label_values(&[result]), total.load(Ordering::Relaxed));
        }
        self.banned_now.set(i64::try_from(bans.held).unwrap_or(i64::MAX));
        admission.limits().into_iter().flat_map(|limits| limits.standings()).for_each(|standing| self.limit(&standing));
    }

    fn limit(&self, standing: &Standing<'_>) {
        let (name, totals) = (standing.name, standing.totals);
        for (verdict, total) in [
            ("admitted", standing.admitted),
            ("delayed", totals.delayed.load(Ordering::Relaxed)),
            ("refused", totals.refused.load(Ordering::Relaxed)),
            ("observed", totals.observed.load(Ordering::Relaxed)),
        ] {
            mirror(&self.requests.with_label_values(&[name, verdict]), total);
        }
        let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.keys.with_label_values(&[name]).set(whole(standing.own.keys + standing.networks.keys));
        self.bytes.with_label_values(&[name]).set(whole(standing.own.bytes + standing.networks.bytes));
        mirror(&self.full.with_label_values(&[name]), standing.own.full_total);
        mirror(&self.uncounted.with_label_values(&[name]), standing.networks.full_total);
    }
}
