//! What is counted of answers that are kept.

use gatehouse_shared::telemetry::metrics::{Catalogue, IntCounter, IntCounterVec, IntGauge, MetricError, mirror};

use super::Cache;

/// What the cache did with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It gave a fresh answer from memory.
    Hit,
    /// It gave a fresh answer that another node had left in Redis.
    Fleet,
    /// It gave an answer that is over, while the service is asked anew or has just failed.
    Stale,
    /// It gave an answer that is over, because the service has failed.
    StaleError,
    /// It gave what another call had asked the service for.
    Collapsed,
    /// The service said that the answer kept still stands.
    Revalidated,
    /// The service answered.
    Miss,
    /// The service answered, side by side with others: the last answer could not be kept.
    Pass,
    /// The call is not for the cache.
    Bypass,
}

impl Outcome {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Hit,
        Self::Fleet,
        Self::Stale,
        Self::StaleError,
        Self::Collapsed,
        Self::Revalidated,
        Self::Miss,
        Self::Pass,
        Self::Bypass,
    ];

    /// As the log and the metrics say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Fleet => "fleet",
            Self::Stale => "stale",
            Self::StaleError => "stale_error",
            Self::Collapsed => "collapsed",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Pass => "pass",
            Self::Bypass => "bypass",
        }
    }
}

/// The counters of one API.
#[derive(Debug)]
pub struct ApiCounters {
    outcomes: [IntCounter; 9],
    /// Answers that were kept.
    pub stored: IntCounter,
    /// Answers that were not, because of what they are.
    pub refused: IntCounter,
    /// Answers that were not, because of their length or their slowness, or because there was no room.
    pub too_large: IntCounter,
}

impl ApiCounters {
    /// Counts what became of a call.
    pub fn count(&self, outcome: Outcome) {
        let place = Outcome::ALL.iter().position(|known| *known == outcome);
        if let Some(counter) = place.and_then(|place| self.outcomes.get(place)) {
            counter.inc();
        }
    }

    /// How often each has happened.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Outcome::ALL.iter().zip(&self.outcomes).map(|(outcome, counter)| (outcome.as_str(), counter.get()))
    }
}

/// The metrics of the cache.
pub struct CacheMetrics {
    calls: IntCounterVec,
    answers: IntCounterVec,
    bytes: IntGauge,
    filling: IntGauge,
    filling_full: IntCounter,
    entries: IntGauge,
    evicted: IntCounter,
    purges: IntCounter,
    refreshes: IntCounter,
    refreshes_dropped: IntCounter,
    fleet: IntCounterVec,
}

impl std::fmt::Debug for CacheMetrics {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("CacheMetrics").finish_non_exhaustive()
    }
}

const API: (&str, &str) = ("api", "name of the API");

impl CacheMetrics {
    /// Declares them.
    ///
    /// # Errors
    /// When two metrics have the same name, which is a mistake in the code.
    pub fn new(catalogue: &Catalogue) -> Result<Self, MetricError> {
        Ok(Self {
            calls: catalogue.counters(
                "gatehouse_business_cache_calls_total",
                "Calls of APIs with a cache, by what the cache did.",
                &[
                    API,
                    (
                        "outcome",
                        "`hit`, `fleet`, `stale`, `stale_error`, `collapsed`, `revalidated`, `miss`, `pass` or `bypass`",
                    ),
                ],
            )?,
            answers: catalogue.counters(
                "gatehouse_business_cache_answers_total",
                "Answers of services that might have been kept, by what became of them.",
                &[API, ("result", "`stored`, `refused` (they may not be kept) or `too_large` (or too slow, or no room)")],
            )?,
            bytes: catalogue.gauge("gatehouse_business_cache_bytes", "Bytes of answers that are kept in memory.")?,
            filling: catalogue
                .gauge("gatehouse_business_cache_filling_bytes", "Bytes of answers on their way into the cache.")?,
            filling_full: catalogue.counter(
                "gatehouse_business_cache_filling_full_total",
                "Answers that were not kept because cache.filling_max bytes were on their way.",
            )?,
            entries: catalogue.gauge("gatehouse_business_cache_keys", "Keys under which answers are kept in memory.")?,
            evicted: catalogue.counter(
                "gatehouse_business_cache_evicted_total",
                "Keys whose answers had to go because cache.memory_max was reached.",
            )?,
            purges: catalogue.counter("gatehouse_business_cache_purges_total", "Purges that this node has applied.")?,
            refreshes: catalogue.counter(
                "gatehouse_business_cache_refreshes_total",
                "Calls in the background that asked a service for an answer that was over.",
            )?,
            refreshes_dropped: catalogue.counter(
                "gatehouse_business_cache_refreshes_dropped_total",
                "Such calls that were not made because cache.refreshes_max were under way.",
            )?,
            fleet: catalogue.counters(
                "gatehouse_business_cache_fleet_total",
                "Reads and writes of answers in Redis, by what became of them.",
                &[(
                    "result",
                    "`hit`, `miss`, `purged`, `late` (cache.fleet_timeout was over), `failed`, `written`, `write_failed` or \
                     `write_dropped`",
                )],
            )?,
        })
    }

    /// The counters of an API.
    #[must_use]
    pub fn of_api(&self, api: &str) -> ApiCounters {
        let answers = |result: &str| self.answers.with_label_values(&[api, result]);
        ApiCounters {
            outcomes: Outcome::ALL.map(|outcome| self.calls.with_label_values(&[api, outcome.as_str()])),
            stored: answers("stored"),
            refused: answers("refused"),
            too_large: answers("too_large"),
        }
    }

    /// Brings them up to date.
    pub fn refresh(&self, cache: &Cache) {
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.bytes.set(whole(cache.memory.bytes()));
        self.filling.set(whole(cache.filling.used()));
        mirror(&self.filling_full, cache.filling.refused());
        self.entries.set(i64::try_from(cache.memory.keys()).unwrap_or(i64::MAX));
        mirror(&self.evicted, cache.memory.evicted());
        mirror(&self.purges, cache.purges.now().node);
        let (refreshes, dropped) = cache.refreshes();
        mirror(&self.refreshes, refreshes);
        mirror(&self.refreshes_dropped, dropped);
        for (result, count) in cache.fleet.iter().flat_map(|fleet| fleet.counters.all()) {
            mirror(&self.fleet.with_label_values(&[result]), count);
        }
    }
}
