//! What is counted of copies of calls.

use gatehouse_shared::telemetry::metrics::{Catalogue, IntCounter, IntCounterVec, IntGaugeVec, MetricError};
use http::StatusCode;

use super::{Failed, Skipped};
use crate::store::catalog::Catalog;

/// The metrics of all mirrors.
pub struct Metrics {
    sent: IntCounterVec,
    answers: IntCounterVec,
    failed: IntCounterVec,
    skipped: IntCounterVec,
    under_way: IntGaugeVec,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The metrics of one mirror.
#[derive(Debug)]
pub struct MirrorMetrics {
    sent: IntCounter,
    answers: [IntCounter; 5],
    unreachable: IntCounter,
    timeout: IntCounter,
    broken: IntCounter,
    busy: IntCounter,
    body_too_large: IntCounter,
    no_room: IntCounter,
    body_cut: IntCounter,
    target: IntCounter,
}

const API: (&str, &str) = ("api", "name of the API whose calls are copied");

impl Metrics {
    /// Declares them.
    ///
    /// # Errors
    /// When two have the same name, which is a mistake in the code.
    pub fn new(catalogue: &Catalogue) -> Result<Self, MetricError> {
        Ok(Self {
            sent: catalogue.counters(
                "gatehouse_business_mirror_sent_total",
                "Copies of calls sent to the service of a mirror.",
                &[API],
            )?,
            answers: catalogue.counters(
                "gatehouse_business_mirror_answers_total",
                "Answers to copies, by class of the status.",
                &[API, ("status", "1xx to 5xx")],
            )?,
            failed: catalogue.counters(
                "gatehouse_business_mirror_failed_total",
                "Copies that were sent and have no answer.",
                &[API, ("reason", "`unreachable`, `timeout` or `broken`")],
            )?,
            skipped: catalogue.counters(
                "gatehouse_business_mirror_skipped_total",
                "Calls that were meant to be copied and were not.",
                &[
                    API,
                    (
                        "reason",
                        "`busy` (concurrency), `body_too_large` (body_max), `no_room` (credentials.held_max), `body_cut` (it did \
                         not come to its end) or `target`",
                    ),
                ],
            )?,
            under_way: catalogue.gauges("gatehouse_business_mirror_under_way", "Copies under way now.", &[API])?,
        })
    }

    /// The metrics of the mirror of an API; looked up once for each generation.
    #[must_use]
    pub fn of(&self, api: &str) -> MirrorMetrics {
        let answers = |class: &str| self.answers.with_label_values(&[api, class]);
        let failed = |reason: &str| self.failed.with_label_values(&[api, reason]);
        let skipped = |reason: &str| self.skipped.with_label_values(&[api, reason]);
        MirrorMetrics {
            sent: self.sent.with_label_values(&[api]),
            answers: [answers("1xx"), answers("2xx"), answers("3xx"), answers("4xx"), answers("5xx")],
            unreachable: failed("unreachable"),
            timeout: failed("timeout"),
            broken: failed("broken"),
            busy: skipped("busy"),
            body_too_large: skipped("body_too_large"),
            no_room: skipped("no_room"),
            body_cut: skipped("body_cut"),
            target: skipped("target"),
        }
    }

    /// Copies what mirrors hold now.
    pub fn refresh(&self, catalog: &Catalog) {
        for (api, under_way) in &catalog.mirrored {
            let count = under_way.load(std::sync::atomic::Ordering::Relaxed);
            self.under_way.with_label_values(&[api]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

impl MirrorMetrics {
    /// A copy was sent.
    pub fn sent(&self) {
        self.sent.inc();
    }

    /// A copy was answered.
    pub fn answered(&self, status: StatusCode) {
        if let Some(answers) = self.answers.get(usize::from(status.as_u16() / 100).saturating_sub(1)) {
            answers.inc();
        }
    }

    /// A copy has no answer.
    pub fn failed(&self, failed: Failed) {
        match failed {
            Failed::Unreachable => &self.unreachable,
            Failed::Timeout => &self.timeout,
            Failed::Broken => &self.broken,
        }
        .inc();
    }

    /// A call was not copied.
    pub fn skipped(&self, skipped: Skipped) {
        match skipped {
            Skipped::Busy => &self.busy,
            Skipped::BodyTooLarge => &self.body_too_large,
            Skipped::NoRoom => &self.no_room,
            Skipped::BodyCut => &self.body_cut,
            Skipped::Target => &self.target,
        }
        .inc();
    }
}
