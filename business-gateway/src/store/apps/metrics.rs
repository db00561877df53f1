//! What is counted of applications, copied into metrics when somebody asks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gatehouse_shared::telemetry::metrics::{
    Catalogue, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, MetricError, mirror,
};

use super::Apps;
use super::funnel::{Counters, Funnel, Kind};

const KIND: (&str, &str) = ("kind", "`app`, `session` or `subject`");

/// The metrics of the funnels, their filter and the changes that were heard of.
pub struct AppMetrics {
    lookups: IntCounterVec,
    reads: IntCounterVec,
    joined: IntCounterVec,
    refused: IntCounterVec,
    older: IntCounterVec,
    overtaken: IntCounterVec,
    passed: IntCounterVec,
    entries: IntGaugeVec,
    bytes: IntGaugeVec,
    filter_keys: IntGauge,
    filter_bytes: IntGauge,
    filters: IntCounter,
    heard: IntCounter,
    gaps: IntCounter,
    unheard: IntCounter,
}

impl std::fmt::Debug for AppMetrics {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("AppMetrics").finish_non_exhaustive()
    }
}

impl AppMetrics {
    /// Declares them.
    ///
    /// # Errors
    /// When two have the same name, which is a mistake in the code.
    pub fn new(catalogue: &Catalogue) -> Result<Self, MetricError> {
        Ok(Self {
            lookups: catalogue.counters(
                "gatehouse_business_app_lookups_total",
                "Look-ups of applications, sessions and subjects that are in no file, by the level that answered.",
                &[
                    KIND,
                    (
                        "level",
                        "`fresh` and `stale`: from memory; `forged`: wrong checksum; `negative`: known to be unknown; `filter`; \
                         `store`: read; `unknown`: not in the store; `unavailable`",
                    ),
                ],
            )?,
            reads: catalogue.counters(
                "gatehouse_business_app_reads_total",
                "Reads from the store, those in the background included.",
                &[KIND, ("result", "`answered`, `failed` or `damaged`")],
            )?,
            joined: catalogue.counters(
                "gatehouse_business_app_reads_joined_total",
                "Look-ups and refreshes that joined a read that was under way.",
                &[KIND],
            )?,
            refused: catalogue.counters(
                "gatehouse_business_app_reads_refused_total",
                "Look-ups refused because as many reads as allowed were under way.",
                &[KIND],
            )?,
            older: catalogue.counters(
                "gatehouse_business_app_older_total",
                "Answers of the store that were older than what this node knew, and not taken.",
                &[KIND],
            )?,
            overtaken: catalogue.counters(
                "gatehouse_business_app_overtaken_total",
                "Entries dropped from memory because a change was announced.",
                &[KIND],
            )?,
            passed: catalogue.counters(
                "gatehouse_business_app_not_kept_total",
                "Reads of something that was not kept, since memory is full of what is used more often.",
                &[KIND],
            )?,
            entries: catalogue.gauges("gatehouse_business_app_entries", "Entries in memory.", &[KIND])?,
            bytes: catalogue.gauges("gatehouse_business_app_bytes", "Weight of these entries in bytes, about.", &[KIND])?,
            filter_keys: catalogue
                .gauge("gatehouse_business_app_filter_keys", "Keys in the filter of applications, about.")?,
            filter_bytes: catalogue.gauge("gatehouse_business_app_filter_bytes", "Size of that filter.")?,
            filters: catalogue
                .counter("gatehouse_business_app_filters_total", "Filters of applications that were made or loaded.")?,
            heard: catalogue
                .counter("gatehouse_business_app_changes_total", "Changes of applications that were heard of.")?,
            gaps: catalogue.counter(
                "gatehouse_business_app_gaps_total",
                "Times that changes may have been missed, after which all that is known is read again.",
            )?,
            unheard: catalogue.counter(
                "gatehouse_business_app_changes_failed_total",
                "Attempts to hear of changes that failed because the store was away.",
            )?,
        })
    }

    /// Copies what is counted.
    pub fn refresh(&self, apps: &Apps) {
        let Some(kept) = &apps.kept else { return };
        self.refresh_funnel(&kept.apps);
        self.refresh_funnel(&kept.sessions);
        self.refresh_funnel(&kept.subjects);
        if let Some(filter) = kept.filter.current() {
            self.filter_keys.set(whole(filter.held()));
            self.filter_bytes.set(whole(filter.bytes()));
        }
        mirror(&self.filters, kept.filter.made());
        if let Some(follower) = &kept.follower {
            mirror(&self.heard, follower.heard.load(Ordering::Relaxed));
            mirror(&self.gaps, follower.gaps.load(Ordering::Relaxed));
            mirror(&self.unheard, follower.failed.load(Ordering::Relaxed));
        }
    }

    fn refresh_funnel<K: Kind>(&self, funnel: &Arc<Funnel<K>>) {
        let kind = K::KIND.as_str();
        let Counters {
            fresh,
            stale,
            negative,
            filtered,
            forged,
            read,
            unknown,
            unavailable,
            joined,
            reads,
            failed,
            crowded,
            older,
            damaged,
            overtaken,
            passed,
        } = &funnel.counters;
        for (level, count) in [
            ("fresh", fresh),
            ("stale", stale),
            ("forged", forged),
            ("negative", negative),
            ("filter", filtered),
            ("store", read),
            ("unknown", unknown),
            ("unavailable", unavailable),
        ] {
            mirror(&self.lookups.with_label_values(&[kind, level]), count.get());
        }
        let answered = reads.get().saturating_sub(failed.get()).saturating_sub(damaged.get());
        for (result, count) in [("answered", answered), ("failed", failed.get()), ("damaged", damaged.get())] {
            mirror(&self.reads.with_label_values(&[kind, result]), count);
        }
        for (metric, count) in [
            (&self.joined, joined),
            (&self.refused, crowded),
            (&self.older, older),
            (&self.overtaken, overtaken),
            (&self.passed, passed),
        ] {
            mirror(&metric.with_label_values(&[kind]), count.get());
        }
        self.entries.with_label_values(&[kind]).set(whole(funnel.gauge().entries()));
        self.bytes.with_label_values(&[kind]).set(whole(funnel.gauge().bytes()));
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
