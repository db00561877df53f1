//! Every metric of the edge, declared once with its meaning.
//!
//! Counters of the request path are resolved once for each route and then only incremented. What is counted elsewhere
//! anyway (nodes, connections, reloads, the access log) is read when somebody asks for `/metrics`.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use gatehouse_shared::{
    balance::EndpointState,
    clock,
    live::{Live, Load},
    problem::Reason,
    shutdown::InFlight,
    telemetry::{
        access_log::LineWriter,
        metrics::{
            self, Catalogue, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, LineMetrics,
            MetricError, SECONDS, mirror,
        },
    },
};

use super::{
    blocklist_metrics::BlocklistMetrics, limits::LimitMetrics, security_log::SecurityLog, verdicts::Verdicts,
    waf_metrics::WafMetrics,
};
use crate::{
    accept::guard::Connections,
    admit::blocklist::Keeper,
    answer::cache::Store,
    balance::{Cluster, Route},
    policy::Policy,
};

/// The label of requests that have no route.
const NO_ROUTE: &str = "none";

/// The metrics of the request path, and the catalogue of all.
pub struct Metrics {
    catalogue: Catalogue,
    requests: IntCounterVec,
    seconds: HistogramVec,
    refused: IntCounterVec,
    retries: IntCounter,
    cache: IntCounterVec,
    verdicts: Verdicts,
    without_route: RouteMetrics,
}

/// The counters of one route, resolved at its first request.
#[derive(Debug, Default)]
pub struct RouteCell(OnceLock<RouteMetrics>);

#[derive(Debug)]
struct RouteMetrics {
    /// By the first digit of the status, from 1.
    requests: [IntCounter; 5],
    seconds: Histogram,
}

impl Metrics {
    /// Declares the metrics of the request path.
    ///
    /// # Errors
    ///
    /// A name is taken: a mistake in the code.
    pub fn new() -> Result<Self, MetricError> {
        let catalogue = Catalogue::new();
        let route = ("route", "hosts and path prefix as configured; `none` before a route was found");
        let requests = catalogue.counters(
            "gatehouse_edge_requests_total",
            "Requests ended, refused ones included.",
            &[route, ("status", "class of the status sent: `2xx`; a client that left counts as `4xx`, one that was dropped as its reason says")],
        )?;
        let seconds = catalogue.histograms(
            "gatehouse_edge_request_seconds",
            "Time from the first byte of a request to the last byte of its answer.",
            SECONDS,
            &[route],
        )?;
        let refused = catalogue.counters(
            "gatehouse_edge_refused_total",
            "Requests that this gate answered itself with a problem.",
            &[("reason", "code of the problem, see docs/ERRORS.md")],
        )?;
        let retries = catalogue
            .counter("gatehouse_edge_retries_total", "Attempts on business nodes beyond the first of a request.")?;
        let cache = catalogue.counters(
            "gatehouse_edge_cache_requests_total",
            "Anonymous reads of routes with a cache.",
            &[("result", "`hit`; `stale`: given from memory while another request fetched it, or no node could be reached; `miss` or `expired`: fetched; `uncacheable`: not to be kept")],
        )?;
        let verdicts = Verdicts::declare(&catalogue)?;
        let without_route = RouteMetrics::resolve(&requests, &seconds, NO_ROUTE);
        Ok(Self { catalogue, requests, seconds, refused, retries, cache, verdicts, without_route })
    }

    /// Counts a request that ended.
    pub fn request(&self, route: Option<&Route>, status: u16, reason: Option<&Reason>, duration: Duration) {
        let metrics = match route {
            Some(route) => {
                route.metrics.0.get_or_init(|| RouteMetrics::resolve(&self.requests, &self.seconds, &route.name))
            }
            None => &self.without_route,
        };
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(counter) = metrics.requests.get(class) {
            counter.inc();
        }
        metrics.seconds.observe(duration.as_secs_f64());
        if let Some(reason) = reason {
            self.refused.with_label_values(&[reason.code]).inc();
        }
    }

    /// Counts a request by whether memory had its answer.
    pub fn cache(&self, outcome: &str) {
        self.cache.with_label_values(&[outcome]).inc();
    }

    /// Declares what is read of the answers that are kept.
    ///
    /// # Errors
    ///
    /// A name is taken: a mistake in the code.
    pub fn watch_cache(&self, store: &'static Store) -> Result<(), MetricError> {
        let sizes = CacheMetrics::declare(&self.catalogue)?;
        self.catalogue.on_render(move || sizes.show(store));
        Ok(())
    }

    /// What the stages of admission decided.
    #[must_use]
    pub fn verdicts(&self) -> &Verdicts {
        &self.verdicts
    }

    /// Counts the attempts of a request.
    pub fn attempts(&self, count: usize) {
        if let Some(retries) = count.checked_sub(1).filter(|retries| *retries > 0) {
            self.retries.inc_by(retries as u64);
        }
    }

    /// Declares what is read only on demand.
    ///
    /// # Errors
    ///
    /// A name is taken: a mistake in the code.
    pub fn watch(
        &self,
        live: &Arc<Live<Policy>>,
        log: &LineWriter,
        security: &Arc<SecurityLog>,
        in_flight: &InFlight,
        connections: &Arc<Connections>,
    ) -> Result<(), MetricError> {
        let catalogue = &self.catalogue;
        metrics::process(catalogue)?;
        metrics::reload(catalogue, live)?;
        metrics::access_log(catalogue, log)?;
        watch_security_log(catalogue, security.writer())?;
        let repeated = declare_repeated(catalogue)?;
        let security = Arc::clone(security);
        catalogue.on_render(move || mirror(&repeated, security.repeated()));
        let active = catalogue.gauge("gatehouse_edge_requests_in_flight", "Requests being served.")?;
        let clients = ConnectionMetrics::declare(catalogue)?;
        let (in_flight, connections) = (in_flight.clone(), Arc::clone(connections));
        catalogue.on_render(move || {
            active.set(whole(in_flight.count()));
            clients.show(&connections);
        });
        let nodes = NodeMetrics::declare(catalogue)?;
        let limits = LimitMetrics::declare(catalogue)?;
        let waf = WafMetrics::declare(catalogue)?;
        let live = Arc::clone(live);
        catalogue.on_render(move || {
            limits.show(&live.current().value.admission);
            waf.show(&live.current().value.admission);
            for cluster in &live.current().value.clusters {
                nodes.show(cluster);
            }
        });
        Ok(())
    }

    /// Declares what is read of the dynamic blocklist.
    ///
    /// # Errors
    ///
    /// A name is taken: a mistake in the code.
    pub fn watch_blocklist(&self, keeper: &Arc<Keeper>) -> Result<(), MetricError> {
        BlocklistMetrics::declare(&self.catalogue)?.watch(&self.catalogue, keeper);
        Ok(())
    }

    /// All metrics in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        self.catalogue.render()
    }
}

impl RouteMetrics {
    fn resolve(requests: &IntCounterVec, seconds: &HistogramVec, route: &str) -> Self {
        let class = |class: &str| requests.with_label_values(&[route, class]);
        Self { requests: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(class), seconds: seconds.with_label_values(&[route]) }
    }
}

/// How much is kept.
struct CacheMetrics {
    entries: IntGauge,
    bytes: IntGauge,
}

impl CacheMetrics {
    fn declare(catalogue: &Catalogue) -> Result<Self, MetricError> {
        Ok(Self {
            entries: catalogue.gauge("gatehouse_edge_cache_entries", "Answers that are kept.")?,
            bytes: catalogue.gauge("gatehouse_edge_cache_bytes", "Bytes of the answers that are kept.")?,
        })
    }

    fn show(&self, store: &Store) {
        let (entries, bytes) = store.size();
        self.entries.set(whole(entries));
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

/// What is known of client connections.
struct ConnectionMetrics {
    open: IntGauge,
    accepted: IntCounter,
    tls_failures: IntCounterVec,
}

impl ConnectionMetrics {
    fn declare(catalogue: &Catalogue) -> Result<Self, MetricError> {
        let kind = (
            "kind",
            "`timeout`, `client_left`, `not_tls`, `incompatible`, `client_certificate`, `alert` (most often a client that does \
             not trust the certificate) or `other`",
        );
        Ok(Self {
            open: catalogue.gauge("gatehouse_edge_connections", "Client connections open.")?,
            accepted: catalogue.counter(
                "gatehouse_edge_connections_accepted_total",
                "Client connections taken from the listeners, refused ones included.",
            )?,
            tls_failures: catalogue.counters(
                "gatehouse_edge_tls_handshakes_failed_total",
                "TLS handshakes of clients that failed.",
                &[kind],
            )?,
        })
    }

    fn show(&self, connections: &Connections) {
        self.open.set(whole(connections.open()));
        mirror(&self.accepted, connections.accepted());
        for (kind, total) in connections.tls_failures() {
            mirror(&self.tls_failures.with_label_values(&[kind.name()]), total);
        }
    }
}

/// What is known of business nodes.
struct NodeMetrics {
    up: IntGaugeVec,
    in_flight: IntGaugeVec,
    open: IntGaugeVec,
    requests: IntCounterVec,
    failures: IntCounterVec,
    ejections: IntCounterVec,
    opened: IntCounterVec,
    waited: IntCounterVec,
    early_returns: IntCounterVec,
    share: IntGaugeVec,
    panics: IntCounterVec,
    floor: IntCounterVec,
    zone_overflow: IntCounterVec,
}

impl NodeMetrics {
    fn declare(catalogue: &Catalogue) -> Result<Self, MetricError> {
        let cluster = ("cluster", "name of the cluster");
        let node = [cluster, ("node", "address of the business node")];
        let counters = |name, help| catalogue.counters(name, help, &node);
        let of_cluster = |name, help| catalogue.counters(name, help, &[cluster]);
        Ok(Self {
            up: catalogue.gauges(
                "gatehouse_edge_node_up",
                "1 while the node takes requests, 0 while it is left out.",
                &node,
            )?,
            in_flight: catalogue.gauges("gatehouse_edge_node_requests_in_flight", "Requests at the node.", &node)?,
            open: catalogue.gauges(
                "gatehouse_edge_node_connections",
                "Connections to the node that are open.",
                &node,
            )?,
            requests: counters("gatehouse_edge_node_requests_total", "Requests sent to the node, retries included.")?,
            failures: counters("gatehouse_edge_node_failures_total", "Requests that failed by the node's fault.")?,
            ejections: counters("gatehouse_edge_node_ejections_total", "How often the node was left out for failing.")?,
            opened: counters("gatehouse_edge_node_connections_opened_total", "Connections opened to the node.")?,
            waited: counters(
                "gatehouse_edge_node_waited_total",
                "Requests that waited because every connection to the node was in use.",
            )?,
            early_returns: counters(
                "gatehouse_edge_node_early_returns_total",
                "How often good probes ended the time for which the node was left out.",
            )?,
            share: catalogue.gauges(
                "gatehouse_edge_node_share_percent",
                "How much of its share of the requests the node gets: less than 100 during its slow start.",
                &node,
            )?,
            panics: of_cluster(
                "gatehouse_edge_cluster_panics_total",
                "Requests sent although no node of the cluster was healthy.",
            )?,
            floor: of_cluster(
                "gatehouse_edge_cluster_floor_total",
                "How often a failing node was kept because too many would have been left out.",
            )?,
            zone_overflow: of_cluster(
                "gatehouse_edge_cluster_zone_overflow_total",
                "Requests sent to another zone although the cluster has nodes in this one.",
            )?,
        })
    }

    fn show(&self, cluster: &Cluster) {
        let description = cluster.describe(clock::now());
        for (counters, total) in [
            (&self.panics, description.totals.panics),
            (&self.floor, description.totals.floor),
            (&self.zone_overflow, description.totals.zone_overflow),
        ] {
            mirror(&counters.with_label_values(&[&cluster.name]), total);
        }
        for node in description.nodes {
            let address = node.health.address.to_string();
            let labels = [&*cluster.name, address.as_str()];
            let is_up = matches!(node.health.state, EndpointState::Up | EndpointState::Returning);
            self.up.with_label_values(&labels).set(i64::from(is_up));
            self.in_flight.with_label_values(&labels).set(whole(node.health.in_flight));
            self.open.with_label_values(&labels).set(whole(node.connections));
            self.share.with_label_values(&labels).set(i64::try_from(node.health.share_percent).unwrap_or(i64::MAX));
            for (counters, total) in [
                (&self.requests, node.health.requests_total),
                (&self.failures, node.health.failures_total),
                (&self.ejections, node.health.ejections_total),
                (&self.early_returns, node.health.early_returns_total),
                (&self.opened, node.connections_opened_total),
                (&self.waited, node.waited_total),
            ] {
                mirror(&counters.with_label_values(&labels), total);
            }
        }
    }
}

pub(super) fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Lines of the security log.
fn watch_security_log(catalogue: &Catalogue, writer: &LineWriter) -> Result<(), MetricError> {
    let names = LineMetrics {
        written: ("gatehouse_security_log_written_total", "Security log lines that the sink has taken."),
        dropped: (
            "gatehouse_security_log_dropped_total",
            "Security log lines lost because the sink was slow, blocked or full.",
        ),
        waiting: ("gatehouse_security_log_waiting", "Security log lines waiting to be written."),
    };
    metrics::lines(catalogue, writer, &names)
}

fn declare_repeated(catalogue: &Catalogue) -> Result<IntCounter, MetricError> {
    catalogue.counter(
        "gatehouse_security_log_repeated_total",
        "Refused connections that the security log has counted in a line of another instead of giving them one.",
    )
}

/// The page of the documentation that lists every metric.
///
/// # Errors
///
/// A name is taken: a mistake in the code.
pub fn reference_markdown<T: Load>(live: &Arc<Live<T>>, log: &LineWriter) -> Result<String, MetricError> {
    let edge = Metrics::new()?;
    let catalogue = &edge.catalogue;
    NodeMetrics::declare(catalogue)?;
    LimitMetrics::declare(catalogue)?;
    WafMetrics::declare(catalogue)?;
    catalogue.gauge("gatehouse_edge_requests_in_flight", "Requests being served.")?;
    ConnectionMetrics::declare(catalogue)?;
    metrics::process(catalogue)?;
    metrics::reload(catalogue, live)?;
    metrics::access_log(catalogue, log)?;
    watch_security_log(catalogue, log)?;
    declare_repeated(catalogue)?;
    BlocklistMetrics::declare(catalogue)?;
    CacheMetrics::declare(catalogue)?;
    Ok(catalogue.reference_markdown("Edge"))
}
