//! How far an HTTP/2 request is, and for how long it may go on.
//!
//! Pingora reads bodies of HTTP/2 without a timeout and tells only of what it has read. So a watch beside each request
//! looks at that: at the pause since the last piece and, from the first piece on, at the rate. Unlike on HTTP/1, time that
//! a node takes to accept a piece cannot be told from time that the client takes to send the next; pauses may therefore
//! be twice as long as on HTTP/1, more than a cluster's default write timeout, which ends the wait for a node. Once the
//! answer has begun, only the request's own deadline counts: calls that stream both ways pause as they like.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use gatehouse_shared::clock;
use gatehouse_shared::problem::{self, Reason};
use tokio::time::sleep_until;

use super::config::{BODY_GRACE, Bounds};

/// The progress of one HTTP/2 request.
#[derive(Debug)]
pub(super) struct Upload {
    pause: Duration,
    rate: u64,
    ends: Instant,
    // Guards the progress; held for a few instructions, and nobody but the request's own task asks for it.
    progress: Mutex<Progress>,
    cut_short: OnceLock<&'static Reason>,
}

#[derive(Debug)]
struct Progress {
    /// More of the body is expected before the answer begins.
    is_awaited: bool,
    received: u64,
    first: Option<Instant>,
    last: Instant,
}

impl Upload {
    /// A request that begins now; `has_body` is whether one is expected.
    pub(super) fn new(bounds: &Bounds, has_body: bool, now: Instant) -> Self {
        Self {
            pause: bounds.body_idle_timeout.saturating_mul(2),
            rate: bounds.body_min_rate,
            ends: now + bounds.http2.request_timeout,
            progress: Mutex::new(Progress { is_awaited: has_body, received: 0, first: None, last: now }),
            cut_short: OnceLock::new(),
        }
    }

    /// So much of the body was read in all.
    pub(super) fn came(&self, received: u64, now: Instant) {
        let mut progress = self.progress();
        progress.received = received;
        progress.last = now;
        progress.first.get_or_insert(now);
    }

    /// The body is whole, or its answer has begun.
    pub(super) fn settled(&self) {
        self.progress().is_awaited = false;
    }

    /// Why the request was cut short, if it was.
    pub(super) fn cut_short(&self) -> Option<&'static Reason> {
        self.cut_short.get().copied()
    }

    /// Completes when the request is to be cut short, and remembers why.
    pub(super) async fn overdue(&self) {
        loop {
            let (deadline, _reason) = self.deadline();
            sleep_until(deadline.into()).await;
            let (deadline, reason) = self.deadline();
            if deadline <= clock::now() {
                self.cut_short.get_or_init(|| reason);
                return;
            }
        }
    }

    /// When the request is overdue if nothing more comes, and what it is then too late for.
    fn deadline(&self) -> (Instant, &'static Reason) {
        let progress = self.progress();
        let mut soonest = (self.ends, &problem::DEADLINE_EXCEEDED);
        if !progress.is_awaited {
            return soonest;
        }
        let rate = progress.first.zip(progress.received.checked_div(self.rate));
        let slow =
            rate.map(|(first, seconds)| (first + BODY_GRACE + Duration::from_secs(seconds), &problem::BODY_TOO_SLOW));
        for other in [Some((progress.last + self.pause, &problem::BODY_TIMEOUT)), slow].into_iter().flatten() {
            if other.0 < soonest.0 {
                soonest = other;
            }
        }
        soonest
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(has_body: bool) -> (Upload, impl Fn(u64) -> Instant) {
        let start = clock::now();
        (Upload::new(&crate::accept::tests::bounds(), has_body, start), move |seconds| {
            start + Duration::from_secs(seconds)
        })
    }

    fn deadline(upload: &Upload) -> (Instant, &'static str) {
        let (deadline, reason) = upload.deadline();
        (deadline, reason.code)
    }

    #[test]
    fn a_request_without_a_body_has_its_own_deadline_only() {
        let (upload, at) = upload(false);
        assert_eq!(deadline(&upload), (at(300), "deadline_exceeded"));
    }

    #[test]
    fn a_body_must_go_on_and_keep_its_rate() {
        let (upload, at) = upload(true);
        assert_eq!(deadline(&upload), (at(60), "body_timeout"), "nothing has come");
        upload.came(1, at(50));
        assert_eq!(deadline(&upload), (at(55), "body_too_slow"), "one byte");
        upload.came(24_000, at(52));
        assert_eq!(deadline(&upload), (at(112), "body_timeout"), "the rate earned 100 seconds, a pause lasts 60");
        upload.came(24_240, at(110));
        assert_eq!(deadline(&upload), (at(156), "body_too_slow"));
        upload.settled();
        assert_eq!(deadline(&upload), (at(300), "deadline_exceeded"));
    }

    #[tokio::test]
    async fn what_is_overdue_is_remembered() {
        let mut bounds = crate::accept::tests::bounds();
        bounds.body_idle_timeout = Duration::from_millis(10);
        let upload = Upload::new(&bounds, true, clock::now());
        assert!(upload.cut_short().is_none());
        upload.overdue().await;
        assert_eq!(upload.cut_short().unwrap().code, "body_timeout");
    }
}
