//! What is counted of how APIs are found. An API without predicates at a place of its own is found without counting anything.

use gatehouse_shared::telemetry::metrics::{Catalogue, IntCounter, IntCounterVec, MetricError};

use super::search::HoldFault;
use crate::admit::matcher::Miss;

/// The metrics of routing.
#[derive(Debug)]
pub struct RouteMetrics {
    judged: IntCounter,
    misses: IntCounterVec,
    bodies: IntCounterVec,
}

impl RouteMetrics {
    /// Declares them.
    ///
    /// # Errors
    /// When two metrics have the same name, which is a mistake in the code.
    pub fn new(catalogue: &Catalogue) -> Result<Self, MetricError> {
        Ok(Self {
            judged: catalogue.counter(
                "gatehouse_business_route_judged_total",
                "APIs whose predicates were judged to find the API of a call.",
            )?,
            misses: catalogue.counters(
                "gatehouse_business_route_misses_total",
                "Calls that mean no API.",
                &[("by", "what no API takes: `path` (or host), `method` or `predicates`")],
            )?,
            bodies: catalogue.counters(
                "gatehouse_business_route_bodies_total",
                "Bodies that were wanted whole to find the API of a call.",
                &[(
                    "outcome",
                    "`held`, `too_large` (`routing.body_max`), `no_room` (`credentials.held_max`) or `failed`",
                )],
            )?,
        })
    }

    /// Counts APIs whose predicates were judged for one call.
    pub fn judged(&self, apis: u32) {
        if apis > 0 {
            self.judged.inc_by(u64::from(apis));
        }
    }

    /// Counts a call that means no API.
    pub fn missed(&self, miss: &Miss) {
        let by = match miss {
            Miss::Path => "path",
            Miss::Method(_) => "method",
            Miss::Predicates => "predicates",
            Miss::Undecided => return,
        };
        self.misses.with_label_values(&[by]).inc();
    }

    /// Counts a body.
    pub fn held<T>(&self, outcome: &Result<T, HoldFault>) {
        let outcome = match outcome {
            Ok(_) => "held",
            Err(HoldFault::TooLarge) => "too_large",
            Err(HoldFault::NoRoom) => "no_room",
            Err(HoldFault::Upload(_) | HoldFault::Deadline) => "failed",
        };
        self.bodies.with_label_values(&[outcome]).inc();
    }
}
