//! Metrics: a thin layer over `prometheus` that knows what every metric means.
//!
//! A [`Catalogue`] is where each metric is declared, once, with its meaning and labels; it renders the text format for
//! `/metrics` and the page for `docs/METRICS.md`. On hot paths, resolve children (`with_label_values`) when the
//! configuration is compiled, not per request: a look-up by labels hashes and locks.

mod standard;

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{Encoder, HistogramOpts, Opts, Registry, TextEncoder};

pub use prometheus::{
    Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, core::GenericCounter,
};
pub use standard::{LineMetrics, access_log, lines, mirror, process, reload};

/// Upper bounds in seconds for times of requests: half a millisecond to ten seconds.
pub const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The media type of [`Catalogue::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Why a metric cannot be declared: a mistake in the code, found at start.
#[derive(Debug, thiserror::Error)]
pub enum MetricError {
    /// A name against the rules: `gatehouse_` first, `_total` last for counters and only for them.
    #[error("the metric name \"{0}\" is against the naming rules")]
    Name(&'static str),
    /// The registry refuses it, for example because the name is taken.
    #[error("the metric \"{name}\" cannot be registered")]
    Register {
        /// The name.
        name: &'static str,
        /// Why.
        #[source]
        cause: prometheus::Error,
    },
}

/// A label and what its values are.
pub type Label = (&'static str, &'static str);

/// What is known of a metric.
#[derive(Clone, Debug)]
struct Declared {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    labels: Vec<Label>,
}

/// Every metric of a process.
#[derive(Default)]
pub struct Catalogue {
    registry: Registry,
    /// Touched when metrics are declared and when the reference is written.
    declared: Mutex<Vec<Declared>>,
    /// Brings metrics up to date that mirror something counted elsewhere; touched when rendering.
    refreshers: Mutex<Vec<Box<dyn Fn() + Send>>>,
}

impl Catalogue {
    /// An empty catalogue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a counter; its name ends in `_total`.
    ///
    /// # Errors
    /// When the name is taken or against the rules.
    pub fn counter(&self, name: &'static str, help: &'static str) -> Result<IntCounter, MetricError> {
        self.declare(name, "counter", help, &[], |opts, _| IntCounter::with_opts(opts))
    }

    /// Declares counters by labels.
    ///
    /// # Errors
    /// When the name is taken or against the rules.
    pub fn counters(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[Label],
    ) -> Result<IntCounterVec, MetricError> {
        self.declare(name, "counter", help, labels, IntCounterVec::new)
    }

    /// Declares a gauge of whole numbers.
    ///
    /// # Errors
    /// When the name is taken or against the rules.
    pub fn gauge(&self, name: &'static str, help: &'static str) -> Result<IntGauge, MetricError> {
        self.declare(name, "gauge", help, &[], |opts, _| IntGauge::with_opts(opts))
    }

    /// Declares gauges of whole numbers by labels.
    ///
    /// # Errors
    /// When the name is taken or against the rules.
    pub fn gauges(&self, name: &'static str, help: &'static str, labels: &[Label]) -> Result<IntGaugeVec, MetricError> {
        self.declare(name, "gauge", help, labels, IntGaugeVec::new)
    }

    /// Declares a gauge of fractions, such as seconds.
    ///
    /// # Errors
    /// When the name is taken or against the rules.
    pub fn float_gauge(&self, name: &'static str, help: &'static str) -> Result<Gauge, MetricError> {
        self.declare(name, "gauge", help, &[], |opts, _| Gauge::with_opts(opts))
    }

    /// Declares a histogram with these upper bounds.
    ///
    /// # Errors
    /// When the name is taken or against the rules.
    pub fn histogram(&self, name: &'static str, help: &'static str, buckets: &[f64]) -> Result<Histogram, MetricError> {
        let build = |opts: Opts, _: &[&str]| Histogram::with_opts(HistogramOpts::from(opts).buckets(buckets.to_vec()));
        self.declare(name, "histogram", help, &[], build)
    }

    /// Declares histograms by labels.
    ///
    /// # Errors
    /// When the name is taken or against the rules.
    pub fn histograms(
        &self,
        name: &'static str,
        help: &'static str,
        buckets: &[f64],
        labels: &[Label],
    ) -> Result<HistogramVec, MetricError> {
        let build =
            |opts: Opts, names: &[&str]| HistogramVec::new(HistogramOpts::from(opts).buckets(buckets.to_vec()), names);
        self.declare(name, "histogram", help, labels, build)
    }

    /// Runs this before every rendering, to bring metrics up to date that mirror something counted elsewhere.
    pub fn on_render(&self, refresh: impl Fn() + Send + 'static) {
        self.refreshers.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(refresh));
    }

    /// All metrics in the Prometheus text format.
    #[must_use]
    pub fn render(&self) -> String {
        for refresh in self.refreshers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            refresh();
        }
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "some metrics cannot be rendered");
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// A section of `docs/METRICS.md`: every metric with its type, unit, labels and meaning, by name.
    #[must_use]
    pub fn reference_markdown(&self, title: &str) -> String {
        let mut declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner).clone();
        declared.sort_by_key(|metric| metric.name);
        let mut page = format!("## {title}\n\n| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n");
        for Declared { name, kind, help, labels } in declared {
            let labels: Vec<String> = labels.iter().map(|(label, values)| format!("`{label}`: {values}")).collect();
            // Writing into a String cannot fail.
            let _written =
                writeln!(page, "| `{name}` | {kind} | {} | {} | {help} |", unit(name), labels.join("; ")).is_ok();
        }
        page
    }

    fn declare<M: Collector + Clone + 'static>(
        &self,
        name: &'static str,
        kind: &'static str,
        help: &'static str,
        labels: &[Label],
        build: impl FnOnce(Opts, &[&str]) -> prometheus::Result<M>,
    ) -> Result<M, MetricError> {
        let is_named_well = name.starts_with("gatehouse_") && name.ends_with("_total") == (kind == "counter");
        if !is_named_well {
            return Err(MetricError::Name(name));
        }
        let names: Vec<&str> = labels.iter().map(|(label, _)| *label).collect();
        let register = || {
            let metric = build(Opts::new(name, help), &names)?;
            self.registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let metric = register().map_err(|cause| MetricError::Register { name, cause })?;
        let entry = Declared { name, kind, help, labels: labels.to_vec() };
        self.declared.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
        Ok(metric)
    }
}

/// The unit that a metric's name tells.
fn unit(name: &str) -> &'static str {
    let name = name.trim_end_matches("_total");
    if name.ends_with("_seconds") {
        "seconds"
    } else if name.ends_with("_bytes") {
        "bytes"
    } else {
        "–"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_what_was_declared() {
        let catalogue = Catalogue::new();
        let total = catalogue.counter("gatehouse_test_total", "Tests run.").unwrap();
        let by_code = catalogue
            .counters("gatehouse_test_refused_total", "Tests refused.", &[("code", "the problem code")])
            .unwrap();
        let seconds = catalogue.histogram("gatehouse_test_seconds", "Time of a test.", &[0.1, 1.0]).unwrap();
        total.inc_by(3);
        by_code.with_label_values(&["route_not_found"]).inc();
        seconds.observe(0.5);
        let text = catalogue.render();
        for line in [
            "# HELP gatehouse_test_total Tests run.",
            "gatehouse_test_total 3",
            "gatehouse_test_refused_total{code=\"route_not_found\"} 1",
            "gatehouse_test_seconds_bucket{le=\"1\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        let page = catalogue.reference_markdown("Tests");
        assert!(page.contains("| `gatehouse_test_seconds` | histogram | seconds |  | Time of a test. |"), "{page}");
        assert!(page.contains("| `gatehouse_test_refused_total` | counter | – | `code`: the problem code |"), "{page}");
    }

    #[test]
    fn refuses_bad_and_taken_names() {
        let catalogue = Catalogue::new();
        catalogue.counter("gatehouse_a_total", "A.").unwrap();
        assert!(matches!(catalogue.counter("gatehouse_a_total", "A."), Err(MetricError::Register { .. })));
        assert!(matches!(catalogue.counter("gatehouse_a", "A."), Err(MetricError::Name(_))));
        assert!(matches!(catalogue.gauge("gatehouse_b_total", "B."), Err(MetricError::Name(_))));
        assert!(matches!(catalogue.gauge("edge_b", "B."), Err(MetricError::Name(_))));
    }

    #[test]
    fn refreshes_before_rendering() {
        let catalogue = Catalogue::new();
        let gauge = catalogue.gauge("gatehouse_c", "C.").unwrap();
        catalogue.on_render(move || gauge.inc());
        assert!(catalogue.render().contains("gatehouse_c 1\n"));
        assert!(catalogue.render().contains("gatehouse_c 2\n"));
    }
}
