//! What this tier counts, with the meaning of each figure; `docs/METRICS.md` is generated from here.
//!
//! What belongs to a service is counted in [`crate::dispatch::counters`] and [`gatehouse_shared::balance`], outlives reloads
//! there, and is copied into metrics when somebody asks.

mod catalog;
mod shape;

use std::sync::Arc;
use std::time::Duration;

pub use catalog::CatalogMetrics;
use gatehouse_shared::clock;
use gatehouse_shared::live::{Live, Load};
use gatehouse_shared::problem::Reason;
use gatehouse_shared::shutdown::InFlight;
use gatehouse_shared::telemetry::access_log::LineWriter;
use gatehouse_shared::telemetry::metrics::{
    Catalogue, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, MetricError, SECONDS,
    access_log, mirror, process, reload,
};
use gatehouse_store::Fleet;
pub use shape::ShapeMetrics;

use crate::accept::connection::End;
use crate::accept::room::Room;
use crate::admit::app::Identity;
use crate::admit::app::metrics::CredentialMetrics;
use crate::admit::quota::Quotas;
use crate::admit::quota::metrics::QuotaMetrics;
use crate::admit::route::metrics::RouteMetrics;
use crate::admit::traffic_group::metrics::TrafficMetrics;
use crate::admit::validation::metrics::ValidationMetrics;
use crate::dispatch::aggregate::metrics::AggregateMetrics;
use crate::dispatch::batch::metrics::BatchMetrics;
use crate::dispatch::cache::Cache;
use crate::dispatch::cache::metrics::CacheMetrics;
use crate::dispatch::metrics::CareMetrics;
use crate::dispatch::mirror::metrics::Metrics as MirrorMetrics;
use crate::dispatch::service::Service;
use crate::dispatch::split::metrics::SplitMetrics;
use crate::policy::Policy;
use crate::store::apps::Apps;
use crate::store::apps::metrics::AppMetrics;
use crate::store::catalog::Catalog;

/// The metrics of this process.
pub struct Metrics {
    catalogue: Catalogue,
    requests: IntCounterVec,
    seconds: HistogramVec,
    upstream_seconds: HistogramVec,
    refused: IntCounterVec,
    /// Answers whose body broke off.
    pub broken: IntCounter,
    connections: IntCounter,
    connections_open: IntGauge,
    /// Connections closed at once because as many as allowed were open.
    pub connections_refused: IntCounter,
    connections_timed_out: IntCounterVec,
    /// How the catalog is kept up to date.
    pub catalog: CatalogMetrics,
    /// What becomes of answers between the service and the edge.
    pub shape: ShapeMetrics,
    /// How APIs are found.
    pub routes: RouteMetrics,
    /// Batches.
    pub batch: BatchMetrics,
    /// Traffic groups and pools.
    pub traffic: Arc<TrafficMetrics>,
    /// Answers that are kept.
    pub cache: Arc<CacheMetrics>,
    /// Aggregates.
    pub aggregate: AggregateMetrics,
    /// Whether calls are as declared.
    pub validation: ValidationMetrics,
    /// Branches of splits.
    pub splits: SplitMetrics,
    /// Copies of calls.
    pub mirrors: Arc<MirrorMetrics>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Metrics").finish_non_exhaustive()
    }
}

const API: (&str, &str) = ("api", "name of the API, empty for requests without one");
const SERVICE: (&str, &str) = ("service", "name of the service");
const ENDPOINT: (&str, &str) = ("endpoint", "address of the endpoint");

impl Metrics {
    /// Declares every metric.
    ///
    /// # Errors
    /// When two have the same name, which is a mistake in the code.
    pub fn new() -> Result<Self, MetricError> {
        let catalogue = Catalogue::new();
        let metrics = Self {
            requests: catalogue.counters(
                "gatehouse_business_requests_total",
                "Requests answered, broken off or given up, by API and class of the status.",
                &[API, ("status", "1xx to 5xx")],
            )?,
            seconds: catalogue.histograms(
                "gatehouse_business_request_seconds",
                "From the head of a request to the last byte of its answer.",
                SECONDS,
                &[API],
            )?,
            upstream_seconds: catalogue.histograms(
                "gatehouse_business_upstream_seconds",
                "From the first try of a call to the head of the service's answer, waiting for a connection included.",
                SECONDS,
                &[API],
            )?,
            refused: catalogue.counters(
                "gatehouse_business_refused_total",
                "Answers made by this tier, by problem code.",
                &[("code", "the problem code, see ERRORS.md")],
            )?,
            broken: catalogue.counter(
                "gatehouse_business_answers_broken_total",
                "Answers that were broken off because the service ended them early.",
            )?,
            connections: catalogue
                .counter("gatehouse_business_connections_total", "Connections accepted from edges.")?,
            connections_open: catalogue.gauge("gatehouse_business_connections_open", "Connections from edges now.")?,
            connections_refused: catalogue.counter(
                "gatehouse_business_connections_refused_total",
                "Connections closed at once because process.max_connections were open.",
            )?,
            connections_timed_out: catalogue.counters(
                "gatehouse_business_connections_timed_out_total",
                "Connections closed because the edge was too slow.",
                &[("timeout", "`head` or `write`")],
            )?,
            catalog: CatalogMetrics::new(&catalogue)?,
            shape: ShapeMetrics::new(&catalogue)?,
            routes: RouteMetrics::new(&catalogue)?,
            batch: BatchMetrics::new(&catalogue)?,
            traffic: Arc::new(TrafficMetrics::new(&catalogue)?),
            cache: Arc::new(CacheMetrics::new(&catalogue)?),
            aggregate: AggregateMetrics::new(&catalogue)?,
            validation: ValidationMetrics::new(&catalogue)?,
            splits: SplitMetrics::new(&catalogue)?,
            mirrors: Arc::new(MirrorMetrics::new(&catalogue)?),
            catalogue,
        };
        Ok(metrics)
    }

    /// Adds what mirrors other parts of the process.
    ///
    /// # Errors
    /// When two metrics have the same name, which is a mistake in the code.
    pub fn watch(
        &self,
        live: &Arc<Live<Policy>>,
        log: &LineWriter,
        in_flight: &InFlight,
        fleet: &Arc<Fleet>,
    ) -> Result<(), MetricError> {
        self.declare_standard(live, log)?;
        let requests = self.in_flight_gauge()?;
        let services = ServiceMetrics::new(&self.catalogue)?;
        let care = CareMetrics::new(&self.catalogue)?;
        let revision = self.catalog.clone();
        let rules = RuleMetrics::new(&self.catalogue)?;
        let (live, in_flight) = (Arc::clone(live), in_flight.clone());
        let aggregate = self.aggregate.clone();
        let (traffic, fleet) = (Arc::clone(&self.traffic), Arc::clone(fleet));
        let mirrors = Arc::clone(&self.mirrors);
        self.catalogue.on_render(move || {
            requests.set(whole(in_flight.count()));
            let generation = live.current();
            revision.set_to(generation.value.written.revision());
            for service in generation.value.catalog.services.values() {
                services.refresh(service);
                care.refresh(service);
            }
            rules.refresh(&generation.value.catalog);
            aggregate.refresh(&generation.value.catalog.aggregates);
            mirrors.refresh(&generation.value.catalog);
            traffic.refresh(&generation.value.catalog.traffic, fleet.live_nodes());
        });
        Ok(())
    }

    /// Adds what mirrors the credentials of calls.
    ///
    /// # Errors
    /// When two metrics have the same name, which is a mistake in the code.
    pub fn watch_credentials(&self, identity: &Arc<Identity>, live: &Arc<Live<Policy>>) -> Result<(), MetricError> {
        let metrics = CredentialMetrics::new(&self.catalogue)?;
        let (identity, live) = (Arc::clone(identity), Arc::clone(live));
        self.catalogue.on_render(move || metrics.refresh(&identity, &live.current().value.issuers));
        Ok(())
    }

    /// Adds what mirrors the look-ups of applications.
    ///
    /// # Errors
    /// When two metrics have the same name, which is a mistake in the code.
    pub fn watch_apps(&self, apps: &Arc<Apps>) -> Result<(), MetricError> {
        let (metrics, apps) = (AppMetrics::new(&self.catalogue)?, Arc::clone(apps));
        self.catalogue.on_render(move || metrics.refresh(&apps));
        Ok(())
    }

    /// Adds what mirrors limits on calls.
    ///
    /// # Errors
    /// When two metrics have the same name, which is a mistake in the code.
    pub fn watch_quotas(&self, live: &Arc<Live<Policy>>, quotas: &Arc<Quotas>) -> Result<(), MetricError> {
        let metrics = QuotaMetrics::new(&self.catalogue)?;
        let (live, quotas) = (Arc::clone(live), Arc::clone(quotas));
        self.catalogue.on_render(move || metrics.refresh(&live.current().value.catalog.limits, &quotas));
        Ok(())
    }

    /// Adds what mirrors the room for bodies that are transformed.
    ///
    /// # Errors
    /// When two metrics have the same name, which is a mistake in the code.
    pub fn watch_shaping(&self, room: &Arc<Room>) -> Result<(), MetricError> {
        let (held, refused) = shape::room(&self.catalogue)?;
        let room = Arc::clone(room);
        self.catalogue.on_render(move || {
            held.set(i64::try_from(room.used()).unwrap_or(i64::MAX));
            mirror(&refused, room.refused());
        });
        Ok(())
    }

    /// Adds what mirrors the cache.
    pub fn watch_cache(&self, cache: &Arc<Cache>) {
        let (metrics, cache) = (Arc::clone(&self.cache), Arc::clone(cache));
        self.catalogue.on_render(move || metrics.refresh(&cache));
    }

    fn declare_standard<T: Load>(&self, live: &Arc<Live<T>>, log: &LineWriter) -> Result<(), MetricError> {
        process(&self.catalogue)?;
        reload(&self.catalogue, live)?;
        access_log(&self.catalogue, log)
    }

    fn in_flight_gauge(&self) -> Result<IntGauge, MetricError> {
        self.catalogue.gauge("gatehouse_business_requests_in_flight", "Requests under way.")
    }

    /// Everything in the Prometheus text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.catalogue.render()
    }

    /// The section of `docs/METRICS.md`. `live` and `log` may be of any kind: only what is declared for them counts.
    ///
    /// # Errors
    /// When two metrics have the same name, which is a mistake in the code.
    pub fn reference_markdown<T: Load>(live: &Arc<Live<T>>, log: &LineWriter) -> Result<String, MetricError> {
        let metrics = Self::new()?;
        metrics.declare_standard(live, log)?;
        metrics.in_flight_gauge()?;
        ServiceMetrics::new(&metrics.catalogue)?;
        CareMetrics::new(&metrics.catalogue)?;
        CredentialMetrics::new(&metrics.catalogue)?;
        RuleMetrics::new(&metrics.catalogue)?;
        QuotaMetrics::new(&metrics.catalogue)?;
        AppMetrics::new(&metrics.catalogue)?;
        shape::room(&metrics.catalogue)?;
        Ok(metrics.catalogue.reference_markdown("Business tier"))
    }

    /// The metrics of one API; looked up once for each generation. Empty for requests without an API.
    #[must_use]
    pub fn of_api(&self, api: &str) -> ApiMetrics {
        let answers = |class: &str| self.requests.with_label_values(&[api, class]);
        ApiMetrics {
            answers: [answers("1xx"), answers("2xx"), answers("3xx"), answers("4xx"), answers("5xx")],
            seconds: self.seconds.with_label_values(&[api]),
            upstream_seconds: self.upstream_seconds.with_label_values(&[api]),
        }
    }

    /// Counts an answer made here.
    pub fn refused(&self, reason: &Reason) {
        self.refused.with_label_values(&[reason.code]).inc();
    }

    /// Counts a connection as open until the guard is dropped.
    pub fn open_connection(&self) -> OpenConnection {
        self.connections.inc();
        self.connections_open.inc();
        OpenConnection(self.connections_open.clone())
    }

    /// Counts how a connection ended.
    pub fn connection_ended(&self, end: End) {
        let timeout = match end {
            End::Closed => return,
            End::HeadTimeout => "head",
            End::WriteTimeout => "write",
        };
        self.connections_timed_out.with_label_values(&[timeout]).inc();
    }
}

/// A connection that is open.
#[derive(Debug)]
pub struct OpenConnection(IntGauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The metrics of one API.
#[derive(Debug)]
pub struct ApiMetrics {
    answers: [IntCounter; 5],
    seconds: Histogram,
    upstream_seconds: Histogram,
}

impl ApiMetrics {
    /// Counts one call.
    pub fn record(&self, status: u16, total: Duration, upstream: Duration) {
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(answers) = self.answers.get(class) {
            answers.inc();
        }
        self.seconds.observe(total.as_secs_f64());
        if !upstream.is_zero() {
            self.upstream_seconds.observe(upstream.as_secs_f64());
        }
    }
}

/// The metrics that mirror what flow rules and permissions count.
struct RuleMetrics {
    judged: IntCounterVec,
    unknown_packages: IntCounter,
}

impl RuleMetrics {
    fn new(catalogue: &Catalogue) -> Result<Self, MetricError> {
        Ok(Self {
            judged: catalogue.counters(
                "gatehouse_business_flow_rule_calls_total",
                "Calls by what became of them by a flow rule.",
                &[
                    ("rule", "name of the rule"),
                    (
                        "outcome",
                        "`pass`, `deny`, `charge`, `change`, `observed` (it would have acted), `failed` or `cut`",
                    ),
                ],
            )?,
            unknown_packages: catalogue.counter(
                "gatehouse_business_unknown_packages_total",
                "Packages that refused applications name and the catalog does not have.",
            )?,
        })
    }

    fn refresh(&self, catalog: &Catalog) {
        for rule in catalog.flow_rules.iter() {
            for (outcome, count) in rule.counters.all() {
                mirror(&self.judged.with_label_values(&[&rule.name, outcome]), count);
            }
        }
        mirror(&self.unknown_packages, catalog.packages.counters().unknown());
    }
}

/// The metrics that mirror what services count.
struct ServiceMetrics {
    opened: IntCounterVec,
    open: IntGaugeVec,
    answered: IntCounterVec,
    reuse: IntGaugeVec,
    retries: IntCounterVec,
    connect_failures: IntCounterVec,
    broken: IntCounterVec,
    waited: IntCounterVec,
    probes: IntCounterVec,
    retries_exhausted: IntCounterVec,
    panics: IntCounterVec,
    floor: IntCounterVec,
    zone_overflow: IntCounterVec,
    endpoint_requests: IntCounterVec,
    endpoint_failures: IntCounterVec,
    endpoint_ejections: IntCounterVec,
    endpoint_early_returns: IntCounterVec,
    endpoint_share: IntGaugeVec,
    endpoint_in_flight: IntGaugeVec,
    endpoint_up: IntGaugeVec,
}

impl ServiceMetrics {
    fn new(catalogue: &Catalogue) -> Result<Self, MetricError> {
        let of_service = |name, help| catalogue.counters(name, help, &[SERVICE]);
        let of_endpoint = |name, help| catalogue.counters(name, help, &[SERVICE, ENDPOINT]);
        Ok(Self {
            opened: of_service("gatehouse_business_upstream_connections_total", "Connections opened to a service.")?,
            open: catalogue.gauges(
                "gatehouse_business_upstream_connections_open",
                "Connections to a service now.",
                &[SERVICE],
            )?,
            answered: of_service("gatehouse_business_upstream_answers_total", "Requests that a service answered.")?,
            reuse: catalogue.gauges(
                "gatehouse_business_upstream_reuse_ratio",
                "Answered requests for each connection opened to a service, since the start.",
                &[SERVICE],
            )?,
            retries: of_service("gatehouse_business_upstream_retries_total", "Tries after the first.")?,
            retries_exhausted: of_service(
                "gatehouse_business_retry_budget_exhausted_total",
                "Retries that were not made because the retry budget of the service was used up.",
            )?,
            connect_failures: of_service(
                "gatehouse_business_upstream_connect_failures_total",
                "Connections that could not be opened, or ended before they took a request.",
            )?,
            broken: of_service(
                "gatehouse_business_upstream_broken_total",
                "Connections that ended after they took a request and before an answer.",
            )?,
            waited: of_service(
                "gatehouse_business_upstream_waited_total",
                "Calls that waited for a connection because connections_max were in use.",
            )?,
            probes: catalogue.counters(
                "gatehouse_business_probes_total",
                "Probes of endpoints.",
                &[SERVICE, ("result", "`well` or `ill`")],
            )?,
            panics: of_service(
                "gatehouse_business_balance_panics_total",
                "Requests sent although no endpoint of the service was healthy.",
            )?,
            floor: of_service(
                "gatehouse_business_balance_floor_total",
                "Ejections that did not happen because too many endpoints would have been out.",
            )?,
            zone_overflow: of_service(
                "gatehouse_business_balance_zone_overflow_total",
                "Requests sent to another zone although the service has endpoints in this one.",
            )?,
            endpoint_requests: of_endpoint(
                "gatehouse_business_endpoint_requests_total",
                "Requests for which an endpoint was chosen, those included that it had no room for and passed on.",
            )?,
            endpoint_failures: of_endpoint(
                "gatehouse_business_endpoint_failures_total",
                "Requests an endpoint failed.",
            )?,
            endpoint_ejections: of_endpoint(
                "gatehouse_business_endpoint_ejections_total",
                "Ejections of an endpoint.",
            )?,
            endpoint_early_returns: of_endpoint(
                "gatehouse_business_endpoint_early_returns_total",
                "Ejections that good probes ended before their time.",
            )?,
            endpoint_share: catalogue.gauges(
                "gatehouse_business_endpoint_share_percent",
                "How much of its share of the requests an endpoint gets: less than 100 during its slow start.",
                &[SERVICE, ENDPOINT],
            )?,
            endpoint_in_flight: catalogue.gauges(
                "gatehouse_business_endpoint_requests_in_flight",
                "Requests under way at an endpoint.",
                &[SERVICE, ENDPOINT],
            )?,
            endpoint_up: catalogue.gauges(
                "gatehouse_business_endpoint_up",
                "1 when an endpoint takes requests, 0 when it is ejected or its probes fail.",
                &[SERVICE, ENDPOINT],
            )?,
        })
    }

    fn refresh(&self, service: &Service) {
        let name: &str = &service.name;
        let counters = &service.counters;
        for (metric, count) in [
            (&self.opened, &counters.opened),
            (&self.answered, &counters.answered),
            (&self.retries, &counters.retries),
            (&self.connect_failures, &counters.connect_failures),
            (&self.broken, &counters.broken),
            (&self.waited, &counters.waited),
        ] {
            mirror(&metric.with_label_values(&[name]), count.get());
        }
        mirror(&self.probes.with_label_values(&[name, "well"]), counters.probes_well.get());
        mirror(&self.probes.with_label_values(&[name, "ill"]), counters.probes_ill.get());
        self.open.with_label_values(&[name]).set(whole(counters.open()));
        let reuse = counters.answered.get().checked_div(counters.opened.get()).unwrap_or(0);
        self.reuse.with_label_values(&[name]).set(i64::try_from(reuse).unwrap_or(i64::MAX));
        let set = service.members.now();
        let totals = set.balance.totals();
        mirror(&self.panics.with_label_values(&[name]), totals.panics);
        mirror(&self.floor.with_label_values(&[name]), totals.floor);
        mirror(&self.zone_overflow.with_label_values(&[name]), totals.zone_overflow);
        mirror(&self.retries_exhausted.with_label_values(&[name]), service.retries.exhausted());
        for status in set.balance.status(clock::now()) {
            let address = status.address.to_string();
            let labels = [name, address.as_str()];
            mirror(&self.endpoint_requests.with_label_values(&labels), status.requests_total);
            mirror(&self.endpoint_failures.with_label_values(&labels), status.failures_total);
            mirror(&self.endpoint_ejections.with_label_values(&labels), status.ejections_total);
            mirror(&self.endpoint_early_returns.with_label_values(&labels), status.early_returns_total);
            let share = i64::try_from(status.share_percent).unwrap_or(i64::MAX);
            self.endpoint_share.with_label_values(&labels).set(share);
            self.endpoint_in_flight.with_label_values(&labels).set(whole(status.in_flight));
            let is_up = status.state == gatehouse_shared::balance::EndpointState::Up;
            self.endpoint_up.with_label_values(&labels).set(i64::from(is_up));
        }
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
