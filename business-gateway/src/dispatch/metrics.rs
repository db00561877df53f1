//! What is shown of how services are taken care of: breakers, tries, room at endpoints, and where endpoints are found.

use gatehouse_shared::clock;
use gatehouse_shared::telemetry::metrics::{Catalogue, IntCounterVec, IntGaugeVec, MetricError, mirror};

use super::breaker::State;
use super::service::Service;

const SERVICE: (&str, &str) = ("service", "name of the service");

/// The metrics that mirror it.
pub struct CareMetrics {
    breaker: IntGaugeVec,
    opened: IntCounterVec,
    refused: IntCounterVec,
    slow: IntCounterVec,
    replaced: IntCounterVec,
    passed_on: IntCounterVec,
    queue_full: IntCounterVec,
    endpoints: IntGaugeVec,
    age: IntGaugeVec,
    answers: IntCounterVec,
    left_out: IntCounterVec,
    changes: IntCounterVec,
}

impl std::fmt::Debug for CareMetrics {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("CareMetrics").finish_non_exhaustive()
    }
}

impl CareMetrics {
    /// Declares them.
    ///
    /// # Errors
    /// When two metrics have the same name, which is a mistake in the code.
    pub fn new(catalogue: &Catalogue) -> Result<Self, MetricError> {
        let counters = |name, help| catalogue.counters(name, help, &[SERVICE]);
        let gauges = |name, help| catalogue.gauges(name, help, &[SERVICE]);
        Ok(Self {
            breaker: gauges(
                "gatehouse_business_breaker_state",
                "The circuit breaker of a service: 0 closed, 1 half-open, 2 open.",
            )?,
            opened: counters("gatehouse_business_breaker_opened_total", "Times the breaker of a service opened.")?,
            refused: counters(
                "gatehouse_business_breaker_refused_total",
                "Calls that were refused at once because the breaker of their service was open.",
            )?,
            slow: counters(
                "gatehouse_business_upstream_slow_tries_total",
                "Tries that were given up for another one after try_timeout.",
            )?,
            replaced: counters(
                "gatehouse_business_upstream_replaced_total",
                "Answers that were given up for another try because their status is among retry_statuses.",
            )?,
            passed_on: counters(
                "gatehouse_business_upstream_passed_on_total",
                "Calls that went to another endpoint because the one chosen first had no room.",
            )?,
            queue_full: counters(
                "gatehouse_business_upstream_queue_full_total",
                "Calls that were refused because queue_max calls waited for the endpoint.",
            )?,
            endpoints: gauges("gatehouse_business_service_endpoints", "Endpoints that a service has now.")?,
            age: gauges(
                "gatehouse_business_discovery_age_seconds",
                "How old the last good answer of the DNS or the registry is; without one, for how long none has come.",
            )?,
            answers: catalogue.counters(
                "gatehouse_business_discovery_answers_total",
                "Questions for the endpoints of a service.",
                &[SERVICE, ("result", "`good`, `empty` (the last endpoints stayed) or `failed`")],
            )?,
            left_out: catalogue.counters(
                "gatehouse_business_discovery_left_out_total",
                "Endpoints in answers that were left out.",
                &[
                    SERVICE,
                    ("reason", "`refused` (not readable, or outside of the networks) or `bound` (endpoints_max)"),
                ],
            )?,
            changes: counters(
                "gatehouse_business_discovery_changes_total",
                "Times an answer has changed the endpoints of a service.",
            )?,
        })
    }

    /// Shows how a service stands.
    pub fn refresh(&self, service: &Service) {
        let (name, now): (&str, _) = (&service.name, clock::now());
        if let Some(breaker) = &service.breaker {
            let state = match breaker.state(now) {
                State::Closed => 0,
                State::HalfOpen => 1,
                State::Open => 2,
            };
            self.breaker.with_label_values(&[name]).set(state);
            mirror(&self.opened.with_label_values(&[name]), breaker.opened());
            mirror(&self.refused.with_label_values(&[name]), breaker.refused());
        }
        let counters = &service.counters;
        for (metric, count) in [
            (&self.slow, &counters.slow_tries),
            (&self.replaced, &counters.replaced),
            (&self.passed_on, &counters.passed_on),
            (&self.queue_full, &counters.queue_full),
        ] {
            mirror(&metric.with_label_values(&[name]), count.get());
        }
        let endpoints = i64::try_from(service.members.now().endpoints.len()).unwrap_or(i64::MAX);
        self.endpoints.with_label_values(&[name]).set(endpoints);
        let Some((_, status)) = &service.discovered else { return };
        let age = i64::try_from(status.age(now).as_secs()).unwrap_or(i64::MAX);
        self.age.with_label_values(&[name]).set(age);
        for (result, count) in [("good", &status.answers), ("empty", &status.empty), ("failed", &status.failures)] {
            mirror(&self.answers.with_label_values(&[name, result]), count.get());
        }
        for (reason, count) in [("refused", &status.refused), ("bound", &status.cut)] {
            mirror(&self.left_out.with_label_values(&[name, reason]), count.get());
        }
        mirror(&self.changes.with_label_values(&[name]), status.changes.get());
    }
}
