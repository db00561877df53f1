//! What is counted of validation.

use gatehouse_shared::telemetry::metrics::{Catalogue, IntCounter, IntCounterVec, MetricError};

use super::finding::{CLASSES, Finding, class_of};

/// The metrics of validation.
#[derive(Debug, Clone)]
pub struct ValidationMetrics {
    calls: IntCounterVec,
    findings: IntCounterVec,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is as declared.
    Passed,
    /// It was refused.
    Refused,
    /// It would have been refused.
    Observed,
    /// It was only to be observed, and its body could not be held for that.
    Unchecked,
}

const OUTCOMES: [(Outcome, &str); 4] = [
    (Outcome::Passed, "passed"),
    (Outcome::Refused, "refused"),
    (Outcome::Observed, "observed"),
    (Outcome::Unchecked, "unchecked"),
];

impl ValidationMetrics {
    /// Declares them.
    ///
    /// # Errors
    /// When two have the same name, which is a mistake in the code.
    pub fn new(catalogue: &Catalogue) -> Result<Self, MetricError> {
        const API: (&str, &str) = ("api", "name of the API");
        Ok(Self {
            calls: catalogue.counters(
                "gatehouse_business_validation_calls_total",
                "Calls of APIs that declare what their calls look like, by what became of them.",
                &[
                    API,
                    (
                        "outcome",
                        "`passed`, `refused`, `observed` (it would have been refused) or `unchecked` (in observe mode, a body that could not be held)",
                    ),
                ],
            )?,
            findings: catalogue.counters(
                "gatehouse_business_validation_findings_total",
                "What was wrong with calls, by class of the rule, those observed included; validation.errors_max are counted of a call.",
                &[API, ("class", "`type`, `required`, `enum`, `range`, `count`, `format`, `unknown`, `syntax`, `bound`, `content` or `combination`")],
            )?,
        })
    }

    /// Those of one API; looked up once for each generation.
    #[must_use]
    pub fn of_api(&self, api: &str) -> ApiValidationMetrics {
        ApiValidationMetrics {
            calls: OUTCOMES.map(|(outcome, name)| (outcome, self.calls.with_label_values(&[api, name]))),
            findings: CLASSES.map(|class| (class, self.findings.with_label_values(&[api, class]))),
        }
    }
}

/// The metrics of one API.
#[derive(Debug)]
pub struct ApiValidationMetrics {
    calls: [(Outcome, IntCounter); OUTCOMES.len()],
    findings: [(&'static str, IntCounter); CLASSES.len()],
}

impl ApiValidationMetrics {
    /// Counts a call.
    pub fn count(&self, outcome: Outcome, findings: &[Finding]) {
        if let Some((_, counter)) = self.calls.iter().find(|(known, _)| *known == outcome) {
            counter.inc();
        }
        for finding in findings {
            let class = class_of(finding.rule);
            if let Some((_, counter)) = self.findings.iter().find(|(known, _)| *known == class) {
                counter.inc();
            }
        }
    }
}
