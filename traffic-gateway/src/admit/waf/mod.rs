//! Do its contents attack? Rules over the whole request and its answer.
//!
//! Glue to the crate `gatehouse-waf`, which knows rules and nothing of connections: `compile` reads the files, an
//! [`Inspection`] carries what the rules know of one request from hook to hook, `budget` keeps bodies back until they have
//! judged. A request is shown to the rules after every other stage has admitted it, unless an access list lets it skip them.

pub mod config;
mod files;
pub mod crs;
mod compile;
mod budget;
mod verdict;
mod media_type;
pub mod inspection;
pub mod offline;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use gatehouse_shared::{
    config::{ByteSize, ConfigErrors, Positions, Sources},
    problem,
};
use gatehouse_waf::{RuleSet, transaction};

pub use config::Config;
pub use inspection::Inspection;

use super::{Denial, RequestView};
use budget::Budget;
use config::{Answers, Beyond, Mode};

/// Name of the stage in logs and metrics.
pub const NAME: &str = "waf";

/// The rules of one generation.
#[derive(Debug)]
pub struct Waf {
    rules: Arc<RuleSet>,
    /// What the rules were made of, to know whether they have changed.
    made_of: compile::MadeOf,
    mode: Mode,
    beyond: Beyond,
    answers: Answers,
    body_max: u64,
    inbound_threshold: u32,
    outbound_threshold: u32,
    /// Lives as long as the process.
    kept: Arc<Kept>,
}

/// What outlives a generation.
#[derive(Debug)]
struct Kept {
    budget: Arc<Budget>,
    pool: transaction::Pool,
    totals: Totals,
}

/// What became of requests, since the process started.
#[derive(Debug, Default)]
pub struct Totals {
    /// Requests that rules have looked at.
    pub inspected: AtomicU64,
    /// Bytes of request bodies that rules have seen.
    pub body_bytes: AtomicU64,
    /// Bodies that were longer than what is held back, of which only the beginning was looked at.
    pub prefix_only: AtomicU64,
    /// Bodies whose files began to go on before their end.
    pub streamed: AtomicU64,
}

impl Waf {
    /// Reads and compiles the rules of a configuration; `None` when there are none. Rules whose files have not changed are
    /// those of `before`, with their counters.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with `[waf]` or with any rule.
    pub fn compile(
        config: &crate::config::Config,
        before: Option<&Self>,
        sources: &mut Sources,
        positions: &Positions,
    ) -> Result<Option<Self>, ConfigErrors> {
        compile::compile(config, before, sources, positions)
    }

    /// Shows the head of a request to the rules, and all of it when it has no body. Nothing to go on with where they do not
    /// look at its route.
    pub fn inspect(
        self: &Arc<Self>,
        request: &RequestView<'_>,
        request_id: &str,
    ) -> (Option<Box<Inspection>>, Result<(), Denial>) {
        let of_route = request.route().map(|route| &route.waf);
        let mode = match of_route.and_then(|waf| waf.mode).unwrap_or(self.mode) {
            Mode::Off => return (None, Ok(())),
            Mode::Detect => transaction::Mode::Detect,
            Mode::Block => transaction::Mode::Block,
        };
        let start = transaction::Start {
            client: request.client_address(),
            server: request.connection().local,
            unique_id: request_id,
            unix_time: request.unix_ms() / 1_000,
            random: fastrand::u64(..),
        };
        self.kept.totals.inspected.fetch_add(1, Ordering::Relaxed);
        let transaction = self.kept.pool.begin(Arc::clone(&self.rules), mode, start);
        let bounds = inspection::Bounds {
            beyond: of_route.and_then(|waf| waf.body_beyond).unwrap_or(self.beyond),
            max: of_route.and_then(|waf| waf.body_max).map_or(self.body_max, ByteSize::get),
        };
        let mut inspection = Box::new(Inspection::new(Arc::clone(self), transaction, bounds, mode));
        let judged = inspection.judge_head(request);
        (Some(inspection), judged)
    }

    /// The compiled rules.
    #[must_use]
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// What runs, for operators.
    #[must_use]
    pub fn describe(&self) -> serde_json::Value {
        let config = self.made_of.config();
        let active = self.rules.rules().filter(|rule| rule.active).count();
        serde_json::json!({
            "mode": self.mode,
            "rules": self.rules.rules().count(),
            "active": active,
            "blocking_paranoia": config.blocking_paranoia,
            "detection_paranoia": config.detection_paranoia.unwrap_or(config.blocking_paranoia),
            "inbound_threshold": self.inbound_threshold,
            "outbound_threshold": self.outbound_threshold,
            "sampling_percent": config.sampling_percent,
            "answers": self.answers,
            "body_max": self.body_max,
            "body_beyond": self.beyond,
        })
    }

    /// What became of requests.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.kept.totals
    }

    /// Bytes of bodies that wait for a verdict now.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.kept.budget.used()
    }

    /// Whether the body of an answer may be looked at, so that it must come as it is.
    #[must_use]
    pub fn looks_at_answers(&self) -> bool {
        self.answers != Answers::Off
    }

    fn too_long(&self) -> Denial {
        Denial::from(&problem::WAF_BODY_TOO_LARGE).by(NAME)
    }

    fn full(&self) -> Denial {
        crate::forward::failure::unavailable(&problem::WAF_MEMORY_FULL).by(NAME)
    }
}
