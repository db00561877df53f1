//! One limit: what it covers, what it counts by, and what it says about a request.

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use gatehouse_shared::{
    limit::{Decision, Key},
    problem,
};

use super::{
    condition::Condition,
    config::Count,
    counter::{Counted, Counter, Moment},
    part::KeySpec,
};
use crate::admit::{Denial, Evidence, Mode, RequestView, Source, denial::secret_digest};

/// One limit of a generation.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    /// Position among the keys that the generation makes.
    pub(super) spec: usize,
    pub(super) condition: Condition,
    pub(super) count: Count,
    /// Which answers count with [`Count::ClientErrors`]; empty: all of 4xx.
    pub(super) statuses: Box<[u16]>,
    pub(super) action: Breach,
    pub(super) mode: Mode,
    pub(super) is_told: bool,
    pub(super) counter: Counter,
    pub(super) totals: Arc<Totals>,
}

/// What happens above the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breach {
    Deny,
    /// The client is banned for this long.
    Ban(Duration),
    /// The request is held back, for this long at most.
    Delay(Duration),
}

/// What became of the requests that a limit has met, since its name was first configured; of those that it admitted, what its
/// turnstile has not counted.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Totals {
    pub(crate) admitted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) observed: AtomicU64,
    pub(crate) delayed: AtomicU64,
}

/// What a limit says about a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// It may pass; where it was counted, if it was at once.
    Pass(Option<Counted>),
    /// It may pass after this time.
    Wait(Counted, Duration),
    /// It is above the limit.
    Over,
}

impl Rule {
    /// Whether it counts requests that another limit refuses, too.
    pub(super) fn counts_refused(&self) -> bool {
        matches!(self.action, Breach::Ban(_))
    }

    /// Requests that it admitted, since its name was first configured.
    pub(super) fn admitted(&self) -> u64 {
        self.totals.admitted.load(Ordering::Relaxed).saturating_add(self.counter.passed())
    }

    /// Judges a request. `is_tried`: it brings credentials to a limit on those that do not, and is counted when tier two finds
    /// them wrong.
    #[inline]
    pub(super) fn ask(&self, key: Key, is_tried: bool, client: IpAddr, at: Moment) -> (Decision, Answer) {
        if is_tried || self.count == Count::ClientErrors {
            let decision = self.counter.peek(key, client, at);
            let answer = if decision.allowed { Answer::Pass(None) } else { Answer::Over };
            return (decision, answer);
        }
        let (decision, counted) = self.counter.admit(key, client, at);
        if decision.allowed {
            return (decision, Answer::Pass(Some(counted)));
        }
        if let (Breach::Delay(longest), Some(wait), Mode::Enforce) = (self.action, decision.retry_after, self.mode)
            && wait <= longest
        {
            let (_, counted) = self.counter.charge(key, client, 1, at);
            return (decision, Answer::Wait(counted, wait));
        }
        (decision, Answer::Over)
    }

    /// Whether an answer with this status counts.
    pub(super) fn counts_status(&self, status: u16) -> bool {
        if self.statuses.is_empty() { (400..500).contains(&status) } else { self.statuses.contains(&status) }
    }

    /// Counts something about this limit.
    pub(super) fn tally(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The denial of a request that is above it.
    pub(super) fn denial(&self, spec: &KeySpec, decision: &Decision, request: &RequestView<'_>) -> Denial {
        let retry_after = match self.action {
            Breach::Ban(time) if self.mode == Mode::Enforce => Some(time),
            _ => decision.retry_after,
        };
        let mut evidence = Evidence::new(Source::Limit, Arc::clone(&self.name));
        if !spec.parts.is_empty() {
            evidence = evidence.matched(spec.text(), shown(spec, request));
        }
        Denial { retry_after, ..Denial::from(&problem::RATE_LIMIT_EXCEEDED).because_of(evidence) }
    }
}

/// The value of a key for the security log: what a client may have secret there only as a digest.
fn shown(spec: &KeySpec, request: &RequestView<'_>) -> Vec<u8> {
    let values = spec.parts.iter().map(|part| {
        let shown = part.show(request);
        if shown.is_secret { Cow::Owned(secret_digest(&shown.value).into_bytes()) } else { shown.value }
    });
    values.collect::<Vec<_>>().join(&b", "[..])
}
