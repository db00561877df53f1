//! The size of a pool that nobody measured: found from how long the service takes to begin its answers.
//!
//! Every window the mean time to the *head* of an answer is compared with a baseline, which is what the service takes when
//! nothing waits inside it. Slots say nothing here: clients that read slowly hold them longer. A service that takes up to
//! [`TOLERANCE`] of its baseline is taken to be well: the limit grows by what is left of the tolerance and by [`STEP`].
//! Beyond that it shrinks in proportion, by half at most. [`SMOOTHING`] of either is taken over at once. It never grows while
//! less than half of it is used: that would say nothing about the service. Gradient limits as in Netflix's concurrency-limits.
//!
//! The baseline is the hard part. A pool that is too large fills the service with its own calls, and what they wait for each
//! other looks like what the service takes. So the baseline follows the mean
//!
//! - down whenever the mean of late is lower;
//! - down and up while so little is in flight that nothing can wait: up to `min`, or half of what was found to cause no queue;
//! - else by a *trial*: for a moment less is let through. When as much is answered as before, what is missing had only
//!   waited: the baseline is lower, and the trial goes on from there. When less is answered, the service had nothing to do at
//!   times, so nothing waited: what its answers take now is what it takes, be it less or more than was thought.
//!
//! There is a trial when the pool is full for the first time or the baseline has fallen a lot without one, every [`TRIAL_EVERY`]
//! that it is full, and when it is full and
//! [`BAD_WINDOWS`] windows one after the other say that the limit is far too large: then the load has grown, which a trial
//! settles at once, or the service has become slower, which nothing else can tell. The idea of looking at the service without
//! one's own queue, at the same time as all others who have a part in it, is that of BBR.
//!
//! The nodes of a fleet fill one service, and a trial by one of them would show nothing: they do it at the same times by the
//! wall clock. A node that is alone with it all the same loses what it has not let through, and so takes for empty what the
//! others fill; therefore only a limit that shrinks without helping, which happens to all nodes at once, raises the baseline
//! there.

mod window;

use std::time::{Duration, Instant};

use self::window::{LONGEST, Seen, Window};

/// How much longer than its baseline a service may take before the limit shrinks, in thousandths of the baseline.
const TOLERANCE: u64 = 1_150;
/// How much of the limit is left after the worst of windows, before smoothing, in thousandths.
const WORST: u64 = 500;
/// By how many slots the limit grows in a good window, before smoothing; also the queue at the service that is worth having.
const STEP: u64 = 2;
/// Of a new limit, or a new baseline, this part is taken over at once: a fifth.
const SMOOTHING: u32 = 5;
/// A limit is far too large when less than this part of it is right, in tenths.
const FAR: u64 = 9;
/// Windows one after the other that must say so.
const BAD_WINDOWS: u32 = 3;
/// While the pool is full there is a trial so often.
const TRIAL_EVERY: Duration = Duration::from_secs(10);
/// But after one it takes at least so many times as long as it lasted to the next.
const TRIAL_REST: u32 = 20;
/// A fleet that need not wait for the time of a trial begins it at the next multiple of this.
const TRIAL_SOON: Duration = Duration::from_secs(1);
/// A trial leaves this of what would be in flight if the baseline were right and nothing waited, in thousandths: less than
/// the service can take, or it could not show that.
const DEPTH: u64 = 800;
/// It leaves this of the limit at most and at least, in thousandths.
const SHALLOWEST: u64 = 700;
const DEEPEST: u64 = 500;
/// Clearly less is answered when it is less than this of what was, in thousandths.
const AS_MUCH: u64 = 900;
/// Limits are kept in thousandths of a slot.
const ONE: u64 = 1_000;

/// Between which sizes, and how often it is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) min: u32,
    pub(super) max: u32,
    pub(super) window: Duration,
}

/// The nodes that send calls to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fleet {
    pub(super) nodes: u32,
    /// A moment that is the same for all of them, to count from.
    pub(super) epoch: Instant,
}

/// The size of a pool by what its service shows.
#[derive(Debug)]
pub(super) struct Adaptive {
    bounds: Bounds,
    fleet: Fleet,
    /// In thousandths of a slot.
    limit: u64,
    /// Whether the first window is over, which has seen only those answers that come soon.
    has_begun: bool,
    baseline: Option<Duration>,
    /// Whether it is known that nothing waited when the baseline was learned.
    is_confirmed: bool,
    /// The mean of late, smoothed.
    recent: Option<Duration>,
    /// So much in flight, in thousandths, was found to cause no queue.
    proven: u64,
    /// Windows one after the other that said that the limit is far too large.
    bad_windows: u32,
    window: Window,
    /// The last window, if the pool was full in it.
    full: Option<Seen>,
    /// From when on there is to be a trial, if the pool is full.
    next_trial: Instant,
    trial: Option<Trial>,
}

/// Less is let through for a while.
#[derive(Debug)]
struct Trial {
    reason: Reason,
    phase: Phase,
    began: Instant,
    /// The limit before it.
    limit: u64,
    /// The window before it.
    before: Seen,
    /// The window in which most was answered, of that and those before the trials that led to this one.
    best: Seen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// Nobody knows whether something waited when the baseline was learned.
    Unconfirmed,
    /// It is time.
    Due,
    /// The limit has shrunk and it did not help.
    Slow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// More is in flight than is let through.
    Ebbing,
    /// What is in flight was let through when more was.
    Flushing,
    /// What is answered counts.
    Measuring,
}

impl Fleet {
    /// The next moment from `now` on at which all nodes act that act `every` so often. One alone does not wait.
    fn next(&self, now: Instant, every: Duration) -> Instant {
        if self.nodes < 2 {
            return now;
        }
        let since = now.saturating_duration_since(self.epoch).as_nanos();
        let over = u64::try_from(since % every.as_nanos().max(1)).unwrap_or(0);
        now + every.saturating_sub(Duration::from_nanos(over))
    }
}

impl Adaptive {
    /// Begins at the largest size: a node that starts anew must not turn away what the service can take.
    pub(super) fn new(bounds: Bounds, fleet: Fleet, now: Instant) -> Self {
        Self {
            bounds,
            fleet,
            limit: u64::from(bounds.max) * ONE,
            has_begun: false,
            baseline: None,
            is_confirmed: false,
            recent: None,
            proven: 0,
            bad_windows: 0,
            window: Window::new(now, 0),
            full: None,
            next_trial: fleet.next(now, TRIAL_SOON),
            trial: None,
        }
    }

    /// Takes other bounds and another fleet over and keeps what was learned.
    pub(super) fn rebound(&mut self, bounds: Bounds, fleet: Fleet) {
        (self.bounds, self.fleet) = (bounds, fleet);
        self.limit = self.bounded(self.limit);
    }

    /// Between which sizes.
    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The size now.
    pub(super) fn size(&self) -> usize {
        usize::try_from(whole(self.limit)).unwrap_or(usize::MAX)
    }

    /// What the service takes when nothing waits inside it, as far as it is known.
    pub(super) fn baseline(&self) -> Option<Duration> {
        self.baseline
    }

    /// So much is in flight.
    pub(super) fn saw(&mut self, in_flight: usize) {
        self.window.saw(count(in_flight));
    }

    /// An answer began after so long.
    pub(super) fn answered(&mut self, took: Duration) {
        self.window.answered(took);
    }

    /// A call ended without an answer after so long. That counts only when it is more than answers take: who gives up early
    /// says nothing about the service.
    pub(super) fn gave_up(&mut self, after: Duration) {
        if self.baseline.is_some_and(|baseline| after > baseline) {
            self.window.answered(after);
        }
    }

    /// Looks at the window if it is over, and at the trial; returns whether the size may have changed.
    pub(super) fn judge(&mut self, now: Instant, in_flight: usize) -> bool {
        let (before, in_flight) = (self.limit, count(in_flight));
        match self.trial.as_ref().map(|trial| trial.phase) {
            None if now >= self.next_trial && self.full.is_some() => self.begin_trial(now),
            Some(Phase::Ebbing) if in_flight <= whole(self.limit) => self.enter(Phase::Flushing, now, in_flight),
            Some(Phase::Flushing) if self.is_flushed(now) => self.enter(Phase::Measuring, now, in_flight),
            Some(Phase::Ebbing | Phase::Flushing) => {}
            None | Some(Phase::Measuring) => {
                let Some(seen) = self.window.seen(now, self.bounds.window) else { return false };
                self.window = Window::new(now, in_flight);
                match self.trial.take() {
                    Some(trial) => self.conclude(&trial, seen, now),
                    None if self.has_begun => self.watch(seen, now),
                    None => self.has_begun = true,
                }
            }
        }
        self.limit != before
    }

    /// An ordinary window.
    fn watch(&mut self, seen: Seen, now: Instant) {
        self.learn(seen, now);
        let limit = whole(self.limit);
        let (is_full, is_used) = (seen.peak >= limit, 2 * seen.peak >= limit);
        // One that was not full at first tells less than there is.
        self.full = (is_full && seen.at_first * 10 >= limit * 9).then_some(seen);
        let in_use = if is_full { self.limit } else { seen.in_flight };
        let is_bad = self.wanted(in_use, seen.mean) * 10 < in_use * FAR;
        self.bad_windows = if is_bad { self.bad_windows + 1 } else { 0 };
        match (self.bad_windows >= BAD_WINDOWS, is_full) {
            (true, true) => self.next_trial = self.next_trial.min(self.fleet.next(now, TRIAL_SOON)),
            // What is in use is too much already.
            (true, false) => self.limit = self.bounded(self.limit.min(seen.peak * ONE)),
            // The time of a trial went by and there was no need.
            (false, false) if now >= self.next_trial => self.next_trial = self.fleet.next(now, TRIAL_SOON),
            (false, _) => {}
        }
        if is_used {
            let wanted = self.wanted(self.limit, seen.mean);
            let way = (wanted.cast_signed() - self.limit.cast_signed()) / i64::from(SMOOTHING);
            self.limit = self.bounded(self.limit.saturating_add_signed(way));
        }
    }

    fn learn(&mut self, seen: Seen, now: Instant) {
        let recent = self.recent.map_or(seen.mean, |recent| smooth(recent, seen.mean));
        let baseline = self.baseline.unwrap_or(seen.mean);
        let is_idle = seen.in_flight <= (u64::from(self.bounds.min) * ONE).max(self.proven / 2);
        self.recent = Some(recent);
        self.baseline = Some(if is_idle { smooth(baseline, seen.mean) } else { baseline.min(recent) });
        if is_idle {
            self.confirm(now, Duration::ZERO);
        } else if recent * 10 < baseline * 9 {
            // The service has become faster, and what it shows now is with a queue that was right for the slow one.
            self.is_confirmed = false;
            self.next_trial = self.next_trial.min(self.fleet.next(now, TRIAL_SOON));
        }
    }

    /// The limit that is right when so much in flight takes so long.
    fn wanted(&self, in_flight: u64, mean: Duration) -> u64 {
        // Where several nodes grow in proportion, the largest leaves the others nothing.
        let best = if self.fleet.nodes < 2 { TOLERANCE } else { ONE };
        let gradient = self.baseline.map_or(ONE, |baseline| part(baseline, mean, TOLERANCE).clamp(WORST, best));
        in_flight.saturating_mul(gradient) / ONE + STEP * ONE
    }

    fn begin_trial(&mut self, now: Instant) {
        let Some(before) = self.full else { return };
        let reason = match (self.is_confirmed, self.bad_windows) {
            (false, _) => Reason::Unconfirmed,
            (true, BAD_WINDOWS..) => Reason::Slow,
            (true, _) => Reason::Due,
        };
        self.let_less_through(reason, before, before, now);
    }

    fn let_less_through(&mut self, reason: Reason, before: Seen, best: Seen, now: Instant) {
        let left = match (reason, self.baseline) {
            (Reason::Due | Reason::Slow, Some(baseline)) => {
                part(baseline, before.mean, DEPTH).clamp(DEEPEST, SHALLOWEST)
            }
            _ => DEEPEST,
        };
        let best = best.or_more(before);
        self.trial = Some(Trial { reason, phase: Phase::Ebbing, began: now, limit: self.limit, before, best });
        self.limit = self.bounded(self.limit * left / ONE);
        (self.full, self.bad_windows) = (None, 0);
    }

    fn enter(&mut self, phase: Phase, now: Instant, in_flight: u64) {
        self.window = Window::new(now, in_flight);
        if let Some(trial) = &mut self.trial {
            trial.phase = phase;
        }
    }

    /// Whether what was in flight when it had ebbed is answered, or so little comes that it does not matter.
    fn is_flushed(&self, now: Instant) -> bool {
        let limit = whole(self.limit);
        let is_over = || self.window.is_older_than(self.bounds.window.saturating_mul(LONGEST), now);
        self.window.answers() >= limit || self.window.peak() < limit && is_over()
    }

    fn conclude(&mut self, trial: &Trial, seen: Seen, now: Instant) {
        let lasted = now.saturating_duration_since(trial.began);
        if seen.peak < whole(self.limit) {
            // Not so much is wanted any more.
            self.limit = self.bounded(trial.limit);
            return self.confirm(now, lasted);
        }
        let baseline = self.baseline.unwrap_or(seen.mean);
        let (is_queue, can_go_on) = (self.is_queue(trial, seen), self.limit > self.smallest());
        self.recent = Some(seen.mean);
        self.baseline = Some(match trial.reason {
            _ if is_queue => baseline.min(seen.mean),
            Reason::Unconfirmed if self.fleet.nodes > 1 => baseline.min(seen.mean),
            // A little less may be chance.
            Reason::Due if seen.mean * 10 > baseline * 9 => baseline.min(smooth(baseline, seen.mean)),
            Reason::Due => baseline.min(seen.mean),
            Reason::Unconfirmed | Reason::Slow => seen.mean,
        });
        self.proven = if is_queue { self.proven.min(self.limit) } else { self.limit };
        if !is_queue || !can_go_on {
            let knee = trial.best.in_flight_at(self.baseline.unwrap_or(seen.mean));
            self.limit = self.bounded(knee * TOLERANCE / ONE + STEP * ONE);
            self.confirm(now, lasted);
        } else if self.fleet.nodes < 2 {
            self.let_less_through(trial.reason, seen, trial.best, now);
        } else {
            // Together with the others.
            self.full = Some(seen);
            self.next_trial = self.fleet.next(now, TRIAL_SOON);
        }
    }

    /// Whether as much is answered in spite of the trial. Means tell it best, by Little's law, because windows go on until they
    /// are known well; but at the beginning they lag behind, and then what was counted must say so too.
    fn is_queue(&self, trial: &Trial, seen: Seen) -> bool {
        let is_less = u128::from(self.limit) * trial.before.mean.as_nanos() * u128::from(ONE)
            < u128::from(trial.limit) * seen.mean.as_nanos() * u128::from(AS_MUCH);
        let is_counted = trial.reason != Reason::Unconfirmed || seen.is_less_than(&trial.before);
        !(is_less && is_counted)
    }

    /// The baseline is right; a trial that told so lasted so long.
    fn confirm(&mut self, now: Instant, lasted: Duration) {
        self.is_confirmed = true;
        let rest = TRIAL_EVERY.max(lasted * TRIAL_REST);
        self.next_trial = match self.fleet.nodes {
            0 | 1 => now + rest,
            // The multiple that is nearest.
            _ => self.fleet.next(now + rest - TRIAL_EVERY / 2, TRIAL_EVERY),
        };
    }

    fn bounded(&self, limit: u64) -> u64 {
        limit.clamp(self.smallest(), u64::from(self.bounds.max) * ONE)
    }

    fn smallest(&self) -> u64 {
        u64::from(self.bounds.min) * ONE
    }
}

/// So many thousandths of what a time is of another.
fn part(time: Duration, of: Duration, thousandths: u64) -> u64 {
    let part = time.as_nanos() * u128::from(thousandths) / of.as_nanos().max(1);
    u64::try_from(part).unwrap_or(u64::MAX)
}

/// A fifth of the way.
fn smooth(from: Duration, to: Duration) -> Duration {
    from / SMOOTHING * (SMOOTHING - 1) + to / SMOOTHING
}

/// Slots of a limit.
fn whole(limit: u64) -> u64 {
    (limit + ONE / 2) / ONE
}

fn count(calls: usize) -> u64 {
    u64::try_from(calls).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
