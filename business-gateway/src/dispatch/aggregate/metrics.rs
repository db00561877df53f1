//! What is counted of aggregates.

use gatehouse_shared::telemetry::metrics::{Catalogue, IntCounter, IntCounterVec, IntGauge, MetricError, mirror};

use super::{Aggregate, Aggregates};

/// The metrics of all aggregates.
#[derive(Clone)]
pub struct AggregateMetrics {
    answers: IntCounterVec,
    parts: IntCounterVec,
    bounds: IntCounterVec,
    held: IntGauge,
    no_room: IntCounter,
}

impl std::fmt::Debug for AggregateMetrics {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("AggregateMetrics").finish_non_exhaustive()
    }
}

/// The metrics of one aggregate.
#[derive(Debug)]
pub struct OfAggregate {
    /// All well.
    pub whole: IntCounter,
    /// Without some of its parts.
    pub partial: IntCounter,
    /// No answer.
    pub failed: IntCounter,
    /// By call, in the order written.
    pub parts: Vec<OfPart>,
}

/// The metrics of one call of an aggregate.
#[derive(Debug)]
pub struct OfPart {
    /// Answered.
    pub answered: IntCounter,
    /// Not answered.
    pub failed: IntCounter,
    /// Not made.
    pub skipped: IntCounter,
}

impl AggregateMetrics {
    /// Declares them.
    ///
    /// # Errors
    /// When two metrics have the same name, which is a mistake in the code.
    pub fn new(catalogue: &Catalogue) -> Result<Self, MetricError> {
        const AGGREGATE: (&str, &str) = ("aggregate", "name of the aggregate");
        Ok(Self {
            answers: catalogue.counters(
                "gatehouse_business_aggregate_answers_total",
                "Calls of aggregates by what became of them.",
                &[AGGREGATE, ("outcome", "`whole`, `partial` (an optional part failed) or `failed`")],
            )?,
            parts: catalogue.counters(
                "gatehouse_business_aggregate_parts_total",
                "Parts of aggregates by what became of them.",
                &[
                    AGGREGATE,
                    ("part", "name of the call"),
                    ("outcome", "`answered`, `failed` (a default value in its place included) or `skipped`"),
                ],
            )?,
            bounds: catalogue.counters(
                "gatehouse_business_aggregate_bounds_total",
                "Bounds of `[aggregate]` that were hit.",
                &[("bound", "`request_max`, `part_max`, `sum_max`, `value_max`, `answer_max`, `depth_max`, `fuel` or `held_max`")],
            )?,
            held: catalogue.gauge(
                "gatehouse_business_aggregate_held_bytes",
                "Bytes of requests and answers that this node holds for aggregates now.",
            )?,
            no_room: catalogue.counter(
                "gatehouse_business_aggregate_no_room_total",
                "Requests and answers for which there was no room because `aggregate.held_max` bytes were held.",
            )?,
        })
    }

    /// Copies what is counted elsewhere.
    pub fn refresh(&self, aggregates: &Aggregates) {
        self.held.set(i64::try_from(aggregates.room.used()).unwrap_or(i64::MAX));
        mirror(&self.no_room, aggregates.room.refused());
    }

    /// Counts a bound that was hit.
    pub fn hit(&self, bound: &str) {
        self.bounds.with_label_values(&[bound]).inc();
    }

    /// The metrics of one aggregate; looked up once for each generation.
    #[must_use]
    pub fn of(&self, aggregate: &Aggregate) -> OfAggregate {
        let answers = |outcome: &str| self.answers.with_label_values(&[&aggregate.name, outcome]);
        let parts = aggregate.calls.iter().map(|call| {
            let parts = |outcome: &str| self.parts.with_label_values(&[&aggregate.name, &call.name, outcome]);
            OfPart { answered: parts("answered"), failed: parts("failed"), skipped: parts("skipped") }
        });
        OfAggregate {
            parts: parts.collect(),
            whole: answers("whole"),
            partial: answers("partial"),
            failed: answers("failed"),
        }
    }
}
