//! The circuit breaker of a service: while nearly every call of it fails, calls are refused at once instead of each waiting for a
//! failure of its own.
//!
//! | state | calls | until |
//! |---|---|---|
//! | closed | go through and are counted | too large a share of enough calls failed |
//! | open | are refused | the time for that is over; it doubles each time a probe fails |
//! | half-open | `probes` at a time go through, the others are refused | as many in a row succeeded, or one failed |
//!
//! Ejection takes single endpoints out and never more than its share of them; this is for the service as a whole. Pure: time is a
//! parameter. While it is closed a call costs one load and one count; the lock is for all that happens otherwise.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gatehouse_shared::balance::FailureWindow;
use gatehouse_shared::config::{ConfigErrors, HumanDuration};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::store::catalog::At;

/// `breaker`: when calls of a service are refused without being sent, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The share of calls that may fail, in percent: at this it opens. 1 to 100. Default: 50.
    pub failure_percent: u8,
    /// Calls in the window below which the share says nothing. At least 1. Default: 20.
    pub requests_min: u32,
    /// The time over which the share is taken; between half of it and all of it counts. Default: `"10s"`.
    pub window: HumanDuration,
    /// How long it stays open the first time; each time that a probe fails, twice as long. Default: `"2s"`.
    pub open: HumanDuration,
    /// How long it stays open at most. Default: `"30s"`.
    pub open_max: HumanDuration,
    /// Calls that are let through at a time to try the service again, and that have to succeed before all are. At least 1.
    /// Default: 3.
    pub probes: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            failure_percent: 50,
            requests_min: 20,
            window: HumanDuration::from_secs(10),
            open: HumanDuration::from_secs(2),
            open_max: HumanDuration::from_secs(30),
            probes: 3,
        }
    }
}

impl Config {
    /// Checks the values of the service at `at`.
    pub fn check(&self, at: &At<'_>, errors: &mut ConfigErrors) {
        let mut expect = |holds: bool, key: &str, message: &str, remedy: &str| {
            if !holds {
                errors.push(at.error(&format!("breaker.{key}"), message, remedy));
            }
        };
        expect((1..=100).contains(&self.failure_percent), "failure_percent", "not a share of calls", "write 1 to 100");
        expect(self.requests_min > 0, "requests_min", "a share of no calls", "write at least 1");
        let is_wide = self.window >= HumanDuration::from_millis(10);
        expect(is_wide, "window", "too short to count in", "write at least \"10ms\"");
        expect(!self.open.get().is_zero(), "open", "it would never be open", "write at least \"1ms\"");
        expect(self.open_max >= self.open, "open_max", "shorter than \"open\"", "write at least as much as \"open\"");
        expect(self.probes > 0, "probes", "it would never close again", "write at least 1");
    }
}

/// What a call said about its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Well,
    /// It does not.
    Ill,
    /// Nothing: the client went away, its body failed, its time was over.
    Unknown,
}

/// How a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Calls go through.
    Closed,
    /// Calls are refused.
    Open,
    /// A few calls try the service.
    HalfOpen,
}

impl State {
    /// As it stands at `/policy`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// The refusal of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the circuit breaker of the service is open")]
pub struct Open {
    /// After which a call may be let through.
    pub retry_after: Duration,
}

/// The breaker of one service.
#[derive(Debug)]
pub struct Breaker {
    config: Config,
    epoch: Instant,
    recent: FailureWindow,
    /// 0 while it is closed. Grows with each change, so that what began before one says nothing after it; odd: not closed.
    era: AtomicU32,
    /// Held for a few comparisons; never while it is closed and calls succeed.
    trouble: Mutex<Trouble>,
    opened_total: AtomicU64,
    refused_total: AtomicU64,
}

/// What is known while it is not closed.
#[derive(Debug, Default)]
struct Trouble {
    /// From when on probes are let through.
    until: u64,
    /// How long it is open this time.
    lasting: u64,
    /// Probes under way.
    under_way: u32,
    /// Probes in a row that succeeded.
    succeeded: u32,
}

impl Breaker {
    /// A breaker that is closed.
    #[must_use]
    pub fn new(config: Config, now: Instant) -> Self {
        Self {
            config,
            epoch: now,
            recent: FailureWindow::default(),
            era: AtomicU32::new(0),
            trouble: Mutex::default(),
            opened_total: AtomicU64::new(0),
            refused_total: AtomicU64::new(0),
        }
    }

    /// Whether it was made with these values.
    #[must_use]
    pub fn is_for(&self, config: &Config) -> bool {
        self.config == *config
    }

    /// Whether a call would be refused now; it takes no probe's place.
    ///
    /// # Errors
    /// When it would.
    pub fn peek(&self, now: Instant) -> Result<(), Open> {
        if is_closed(self.era.load(Ordering::Acquire)) {
            return Ok(());
        }
        let trouble = self.trouble();
        if self.lets_through(&trouble, now) { Ok(()) } else { Err(self.refuse(&trouble, now)) }
    }

    /// Lets a call through, or not.
    ///
    /// # Errors
    /// When it is refused.
    pub fn enter(&self, now: Instant) -> Result<Pass<'_>, Open> {
        let era = self.era.load(Ordering::Acquire);
        if is_closed(era) {
            return Ok(Pass::new(self, era));
        }
        let mut trouble = self.trouble();
        let era = self.era.load(Ordering::Acquire);
        if is_closed(era) {
            return Ok(Pass::new(self, era));
        }
        if !self.lets_through(&trouble, now) {
            return Err(self.refuse(&trouble, now));
        }
        trouble.under_way += 1;
        Ok(Pass::new(self, era))
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self, now: Instant) -> State {
        if is_closed(self.era.load(Ordering::Acquire)) {
            return State::Closed;
        }
        if self.trouble().until > self.millis(now) { State::Open } else { State::HalfOpen }
    }

    /// How often it has opened.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened_total.load(Ordering::Relaxed)
    }

    /// Calls it has refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused_total.load(Ordering::Relaxed)
    }

    fn lets_through(&self, trouble: &Trouble, now: Instant) -> bool {
        trouble.until <= self.millis(now) && trouble.under_way < self.config.probes
    }

    fn refuse(&self, trouble: &Trouble, now: Instant) -> Open {
        self.refused_total.fetch_add(1, Ordering::Relaxed);
        Open { retry_after: Duration::from_millis(trouble.until.saturating_sub(self.millis(now))) }
    }

    /// A call that began in `era` has ended.
    fn ended(&self, era: u32, verdict: Verdict, now: Instant) {
        if is_closed(era) {
            return self.ended_in_peace(era, verdict, now);
        }
        let mut trouble = self.trouble();
        if self.era.load(Ordering::Acquire) != era {
            return;
        }
        trouble.under_way = trouble.under_way.saturating_sub(1);
        match verdict {
            Verdict::Unknown => {}
            Verdict::Ill => {
                let lasting = trouble.lasting.saturating_mul(2);
                self.open(&mut trouble, lasting, now);
                // Still open, but what is under way belongs to the probes before.
                self.era.store(era.wrapping_add(2), Ordering::Release);
            }
            Verdict::Well => {
                trouble.succeeded += 1;
                if trouble.succeeded >= self.config.probes {
                    self.recent.clear();
                    self.era.store(era.wrapping_add(1), Ordering::Release);
                }
            }
        }
    }

    fn ended_in_peace(&self, era: u32, verdict: Verdict, now: Instant) {
        let window = millis(self.config.window.get());
        match verdict {
            Verdict::Unknown => {}
            Verdict::Well => self.recent.succeeded(self.millis(now), window),
            Verdict::Ill => {
                let recent = self.recent.failed(self.millis(now), window);
                let limit = recent.requests.saturating_mul(u64::from(self.config.failure_percent));
                let is_too_often = recent.requests >= u64::from(self.config.requests_min)
                    && recent.failed.saturating_mul(100) >= limit;
                if is_too_often {
                    let mut trouble = self.trouble();
                    if self.era.load(Ordering::Acquire) == era {
                        self.open(&mut trouble, millis(self.config.open.get()).max(1), now);
                        self.era.store(era.wrapping_add(1), Ordering::Release);
                    }
                }
            }
        }
    }

    fn open(&self, trouble: &mut Trouble, lasting: u64, now: Instant) {
        let most = millis(self.config.open_max.get()).max(millis(self.config.open.get())).max(1);
        let lasting = lasting.min(most);
        *trouble = Trouble { until: self.millis(now).saturating_add(lasting), lasting, under_way: 0, succeeded: 0 };
        self.opened_total.fetch_add(1, Ordering::Relaxed);
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn millis(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.epoch)).saturating_add(1)
    }
}

/// Eras of a closed breaker are even.
fn is_closed(era: u32) -> bool {
    era.is_multiple_of(2)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A call that was let through. Dropped without a report it has said nothing.
#[derive(Debug)]
#[must_use = "a pass that is dropped says nothing"]
pub struct Pass<'a> {
    breaker: &'a Breaker,
    /// `None` once it has said what it says.
    era: Option<u32>,
}

impl<'a> Pass<'a> {
    fn new(breaker: &'a Breaker, era: u32) -> Self {
        Self { breaker, era: Some(era) }
    }

    /// Tells what the call said.
    pub fn report(mut self, verdict: Verdict, now: Instant) {
        if let Some(era) = self.era.take() {
            self.breaker.ended(era, verdict, now);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Some(era) = self.era.take() {
            // The time does not matter: nothing was learned.
            self.breaker.ended(era, Verdict::Unknown, self.breaker.epoch);
        }
    }
}

#[cfg(test)]
mod tests;
