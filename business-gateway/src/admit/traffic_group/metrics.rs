//! What is counted of groups and pools. Groups are counted as calls come; how pools stand is looked up when somebody asks.

use gatehouse_shared::telemetry::metrics::{
    Catalogue, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, MetricError, SECONDS,
};

use super::TrafficGroups;
use super::slots::NoSlot;

/// The metrics of all groups and pools.
#[derive(Debug)]
pub struct TrafficMetrics {
    admitted: IntCounterVec,
    refused: IntCounterVec,
    wait_seconds: HistogramVec,
    size: IntGaugeVec,
    in_flight: IntGaugeVec,
    waiting: IntGaugeVec,
    baseline: IntGaugeVec,
    shares: IntGaugeVec,
    group_in_flight: IntGaugeVec,
    group_waiting: IntGaugeVec,
}

/// The metrics of one group.
#[derive(Debug)]
pub(super) struct GroupMetrics {
    pub(super) admitted: IntCounter,
    pub(super) wait_seconds: Histogram,
    pub(super) shed: IntCounter,
    pub(super) api_busy: IntCounter,
    queue_full: IntCounter,
    hopeless: IntCounter,
    waited_out: IntCounter,
}

const GROUP: (&str, &str) = ("group", "name of the traffic group");
const POOL: (&str, &str) = ("pool", "name of the pool");

impl TrafficMetrics {
    /// Declares them.
    ///
    /// # Errors
    /// When two metrics have the same name, which is a mistake in the code.
    pub fn new(catalogue: &Catalogue) -> Result<Self, MetricError> {
        let of_pool = |name, help| catalogue.gauges(name, help, &[POOL]);
        let of_both = |name, help| catalogue.gauges(name, help, &[POOL, GROUP]);
        Ok(Self {
            admitted: catalogue.counters(
                "gatehouse_business_group_admitted_total",
                "Calls of a traffic group that went on to their service, at once or after a wait.",
                &[GROUP],
            )?,
            refused: catalogue.counters(
                "gatehouse_business_group_refused_total",
                "Calls of a traffic group that did not get their turn.",
                &[
                    GROUP,
                    (
                        "reason",
                        "`shed` (shut off), `api_busy` (cap of the API), `queue_full` (as many waited as may), `hopeless` (the \
                         wait would have been too long) or `waited_out` (it was)",
                    ),
                ],
            )?,
            wait_seconds: catalogue.histograms(
                "gatehouse_business_group_wait_seconds",
                "How long calls waited that had to wait for a slot and got one.",
                SECONDS,
                &[GROUP],
            )?,
            size: of_pool("gatehouse_business_pool_size", "Calls that a pool takes at a time on this node.")?,
            in_flight: of_pool("gatehouse_business_pool_in_flight", "Calls under way in a pool.")?,
            waiting: of_pool("gatehouse_business_pool_waiting", "Calls that wait for a slot of a pool.")?,
            baseline: of_pool(
                "gatehouse_business_pool_baseline_microseconds",
                "Time to the head of an answer that a pool whose size is found takes for the usual one; 0: not known.",
            )?,
            shares: of_both("gatehouse_business_pool_group_share", "Slots that are a group's own when all are wanted.")?,
            group_in_flight: of_both("gatehouse_business_pool_group_in_flight", "Calls of a group under way in a pool.")?,
            group_waiting: of_both("gatehouse_business_pool_group_waiting", "Calls of a group that wait in a pool.")?,
        })
    }

    /// The metrics of one group; looked up once for each generation.
    pub(super) fn of_group(&self, group: &str) -> GroupMetrics {
        let refused = |reason: &str| self.refused.with_label_values(&[group, reason]);
        GroupMetrics {
            admitted: self.admitted.with_label_values(&[group]),
            wait_seconds: self.wait_seconds.with_label_values(&[group]),
            shed: refused("shed"),
            api_busy: refused("api_busy"),
            queue_full: refused("queue_full"),
            hopeless: refused("hopeless"),
            waited_out: refused("waited_out"),
        }
    }

    /// Brings up to date how pools stand.
    pub fn refresh(&self, groups: &TrafficGroups, nodes: u32) {
        for (pool, status) in groups.pools(nodes) {
            let waiting = status.groups.iter().map(|group| group.waiting).sum();
            for (metric, count) in
                [(&self.size, status.size), (&self.in_flight, status.in_flight), (&self.waiting, waiting)]
            {
                metric.with_label_values(&[pool]).set(whole(count));
            }
            let baseline = status.baseline.map_or(0, |baseline| baseline.as_micros());
            self.baseline.with_label_values(&[pool]).set(i64::try_from(baseline).unwrap_or(i64::MAX));
            for group in &status.groups {
                let labels = [pool, &*group.name];
                self.shares.with_label_values(&labels).set(whole(group.share));
                self.group_in_flight.with_label_values(&labels).set(whole(group.in_flight));
                self.group_waiting.with_label_values(&labels).set(whole(group.waiting));
            }
        }
    }
}

impl GroupMetrics {
    /// Where a call is counted that got no slot of its pool.
    pub(super) fn refused(&self, none: NoSlot) -> &IntCounter {
        match none.as_str() {
            "queue_full" => &self.queue_full,
            "hopeless" => &self.hopeless,
            _ => &self.waited_out,
        }
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
