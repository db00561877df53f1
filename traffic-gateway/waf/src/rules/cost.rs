//! What each rule costs, counted while requests pass.
//!
//! Matches of rules that are logged are all counted. Runs, time, and matches of rules with `nolog`, of which every
//! request has dozens, are counted in one transaction of 64 (by [`Start::random`](crate::transaction::Start::random)) and
//! taken 64 times.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one rule since the set was compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Number of the rule.
    pub id: u32,
    /// How often its values were looked at. The prefilter keeps this low.
    pub runs: u64,
    /// How often it matched.
    pub hits: u64,
    /// Time it took, when the options have a clock.
    pub nanoseconds: u64,
}

/// One cache line for each rule, so that threads do not fight over neighbours.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Counted {
    runs: AtomicU64,
    hits: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Counted {
    /// One run that stands for so many.
    pub(crate) fn ran(&self, times: u64, nanoseconds: u64) {
        self.runs.fetch_add(times, Ordering::Relaxed);
        if nanoseconds > 0 {
            self.nanoseconds.fetch_add(nanoseconds.saturating_mul(times), Ordering::Relaxed);
        }
    }

    /// Time that a comparison took before it was known whether the rule runs.
    pub(crate) fn took(&self, times: u64, nanoseconds: u64) {
        self.nanoseconds.fetch_add(nanoseconds.saturating_mul(times), Ordering::Relaxed);
    }

    /// One match that stands for so many.
    pub(crate) fn hit(&self, times: u64) {
        self.hits.fetch_add(times, Ordering::Relaxed);
    }

    pub(super) fn cost(&self, id: u32) -> Cost {
        Cost {
            id,
            runs: self.runs.load(Ordering::Relaxed),
            hits: self.hits.load(Ordering::Relaxed),
            nanoseconds: self.nanoseconds.load(Ordering::Relaxed),
        }
    }
}

/// Counters of all rules, in their order.
#[derive(Debug)]
pub(crate) struct Costs(Box<[Counted]>);

impl Costs {
    pub(super) fn new(rules: usize) -> Self {
        Self((0..rules).map(|_| Counted::default()).collect())
    }

    pub(crate) fn of(&self, rule: usize) -> Option<&Counted> {
        self.0.get(rule)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Counted> {
        self.0.iter()
    }
}
