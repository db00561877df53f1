//! What the service shows within a while.

use std::time::{Duration, Instant};

use super::{AS_MUCH, ONE};

/// Answers without which a window goes on.
const LEAST_ANSWERS: u64 = 10;
/// A window goes on until the standard error of its mean is at most one part in so many of it ...
const PRECISION: f64 = 15.0;
/// ... or it is so many times as long as it should be. Where few calls take most of the time, that is what it takes.
pub(super) const LONGEST: u32 = 10;

/// What is counted until it is looked at.
#[derive(Debug)]
pub(super) struct Window {
    began: Instant,
    waited: Duration,
    /// The sum of the squares, in square seconds.
    squares: f64,
    answers: u64,
    /// In flight at its beginning.
    at_first: u64,
    /// Most in flight.
    peak: u64,
}

/// A window that is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Mean time to the head of an answer.
    pub(super) mean: Duration,
    /// In flight on average, in thousandths: what the answers waited together, divided by the time (Little's law).
    pub(super) in_flight: u64,
    /// In flight at its beginning.
    pub(super) at_first: u64,
    /// Most in flight.
    pub(super) peak: u64,
    answers: u64,
    lasted: Duration,
}

impl Window {
    pub(super) fn new(began: Instant, in_flight: u64) -> Self {
        let (waited, squares, answers) = (Duration::ZERO, 0.0, 0);
        Self { began, waited, squares, answers, at_first: in_flight, peak: in_flight }
    }

    pub(super) fn saw(&mut self, in_flight: u64) {
        self.peak = self.peak.max(in_flight);
    }

    pub(super) fn answered(&mut self, took: Duration) {
        self.waited = self.waited.saturating_add(took);
        self.squares += took.as_secs_f64().powi(2);
        self.answers = self.answers.saturating_add(1);
    }

    pub(super) fn answers(&self) -> u64 {
        self.answers
    }

    pub(super) fn peak(&self) -> u64 {
        self.peak
    }

    pub(super) fn is_older_than(&self, age: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= age
    }

    /// What was seen, once it is enough: for so long, and by half as many answers as calls are in flight, because fewer would
    /// speak for those that were lucky.
    pub(super) fn seen(&self, now: Instant, least: Duration) -> Option<Seen> {
        let enough = LEAST_ANSWERS.max(self.peak / 2);
        if !self.is_older_than(least, now) || self.answers < enough {
            return None;
        }
        if !self.is_certain() && !self.is_older_than(least.saturating_mul(LONGEST), now) {
            return None;
        }
        let lasted = now.saturating_duration_since(self.began);
        Some(Seen {
            mean: self.waited / u32::try_from(self.answers).unwrap_or(u32::MAX),
            in_flight: in_flight(self.waited.as_nanos(), lasted),
            at_first: self.at_first,
            peak: self.peak,
            answers: self.answers,
            lasted,
        })
    }

    /// Whether the mean is known well enough: variance / answers <= (mean / PRECISION)², times answers².
    fn is_certain(&self) -> bool {
        let (answers, sum) = (self.answers as f64, self.waited.as_secs_f64());
        (self.squares - sum * sum / answers) * PRECISION * PRECISION <= sum * sum
    }
}

impl Seen {
    /// Whether clearly less was answered than in the other, in the same time.
    pub(super) fn is_less_than(&self, other: &Self) -> bool {
        self.rate_beside(other) * u128::from(ONE) < other.rate_beside(self) * u128::from(AS_MUCH)
    }

    /// That of the two in which more was answered in the same time.
    pub(super) fn or_more(self, other: Self) -> Self {
        if self.rate_beside(&other) < other.rate_beside(&self) { other } else { self }
    }

    /// So many calls in flight, in thousandths, would have given as many answers had each taken so long.
    pub(super) fn in_flight_at(&self, each: Duration) -> u64 {
        in_flight(u128::from(self.answers).saturating_mul(each.as_nanos()), self.lasted)
    }

    /// Answers in the same time, in a unit that is the same for both.
    fn rate_beside(&self, other: &Self) -> u128 {
        u128::from(self.answers) * other.lasted.as_nanos()
    }
}

/// Calls in flight, in thousandths, that spend so many nanoseconds together in a time. More than a pool can have are as many.
fn in_flight(nanos: u128, within: Duration) -> u64 {
    let in_flight = nanos.saturating_mul(u128::from(ONE)) / within.as_nanos().max(1);
    u64::try_from(in_flight).unwrap_or(u64::MAX).min(u64::from(u32::MAX) * ONE)
}
