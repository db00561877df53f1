//! What is counted of answers that are shaped.

use gatehouse_shared::telemetry::metrics::{Catalogue, IntCounter, IntCounterVec, IntGauge, MetricError};

/// What becomes of answers between the service and the edge.
#[derive(Clone)]
pub struct ShapeMetrics {
    /// Answers of which parts were hidden.
    pub filtered: IntCounter,
    /// Values that were hidden.
    pub masked: IntCounter,
    withheld: IntCounterVec,
    defaults: IntCounterVec,
    transformed: IntCounterVec,
    cors: IntCounterVec,
    compressed: IntCounterVec,
    /// Bytes of answers that were compressed, before.
    pub compressed_in: IntCounter,
    /// And after.
    pub compressed_out: IntCounter,
}

impl std::fmt::Debug for ShapeMetrics {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ShapeMetrics").finish_non_exhaustive()
    }
}

const API: (&str, &str) = ("api", "name of the API");

impl ShapeMetrics {
    /// Declares them.
    ///
    /// # Errors
    /// When two metrics have the same name, which is a mistake in the code.
    pub fn new(catalogue: &Catalogue) -> Result<Self, MetricError> {
        Ok(Self {
            filtered: catalogue.counter(
                "gatehouse_business_fields_filtered_total",
                "Answers that were looked through for fields above the caller's level.",
            )?,
            masked: catalogue.counter(
                "gatehouse_business_fields_masked_total",
                "Values that were removed from answers or masked in them.",
            )?,
            withheld: catalogue.counters(
                "gatehouse_business_fields_withheld_total",
                "Answers, or the rest of them, that were not sent because they could not be read for hidden fields.",
                &[(
                    "cause",
                    "`media_type`, `charset`, `compressed`, `partial`, `not_json`, `cut_off`, `too_deep`, `name_too_long`, \
                     `broken`, `deadline`, or `emptied`: the body of an error that is not JSON",
                )],
            )?,
            defaults: catalogue.counters(
                "gatehouse_business_default_answers_total",
                "Answers with the default value of an API, because its service failed.",
                &[API, ("cause", "the problem code, or `status`: the service answered with one that counts as failure")],
            )?,
            transformed: catalogue.counters(
                "gatehouse_business_transformed_total",
                "Bodies that were transformed.",
                &[("side", "`request` or `answer`"), ("outcome", "`done` or `failed`")],
            )?,
            cors: catalogue.counters(
                "gatehouse_business_cors_total",
                "Calls of APIs with `cors` that pages of other origins make.",
                &[("outcome", "`preflight`, `preflight_refused`, `allowed` or `refused`: the page may not read the answer")],
            )?,
            compressed: catalogue.counters(
                "gatehouse_business_compressed_total",
                "Answers that were compressed.",
                &[("encoding", "`br` or `gzip`")],
            )?,
            compressed_in: catalogue.counter(
                "gatehouse_business_compressed_in_bytes_total",
                "Bytes of the answers that were compressed, before.",
            )?,
            compressed_out: catalogue.counter(
                "gatehouse_business_compressed_out_bytes_total",
                "Bytes of the answers that were compressed, after.",
            )?,
        })
    }

    /// Counts an answer that was not sent, or not to its end.
    pub fn withheld(&self, cause: &str) {
        self.withheld.with_label_values(&[cause]).inc();
    }

    /// Counts an answer that is compressed.
    pub fn compressed(&self, encoding: &str) {
        self.compressed.with_label_values(&[encoding]).inc();
    }

    /// Counts a default value.
    pub fn default_of(&self, api: &str, cause: &str) {
        self.defaults.with_label_values(&[api, cause]).inc();
    }

    /// Counts a body that was transformed, or could not be.
    pub fn transformed(&self, side: &str, is_done: bool) {
        self.transformed.with_label_values(&[side, if is_done { "done" } else { "failed" }]).inc();
    }

    /// Counts a call that a page of another origin makes.
    pub fn cors(&self, outcome: &str) {
        self.cors.with_label_values(&[outcome]).inc();
    }
}

/// What mirrors the room for bodies that are transformed: bytes held, and bodies for which there was none.
pub(super) fn room(catalogue: &Catalogue) -> Result<(IntGauge, IntCounter), MetricError> {
    Ok((
        catalogue.gauge(
            "gatehouse_business_transform_held_bytes",
            "Memory taken for bodies that are being transformed, sixteen times their length.",
        )?,
        catalogue.counter(
            "gatehouse_business_transform_no_room_total",
            "Bodies that were not transformed because shape.held_max was taken.",
        )?,
    ))
}
