//! How long a try may take: to the deadline in any case, and to the response timeout once the request's body was sent.
//!
//! A try that could go on elsewhere may have an end before that. When it comes, and the call may not be repeated after all (the
//! retry budget is used up, nobody else is well), the try goes on as if it had none.
//!
//! There is one timer a try, armed only when the try really waits. A body that is still going out when the timer fires puts it
//! off to the response timeout after the body's end, so an upload may take as long as the deadline allows.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use gatehouse_shared::clock;

use crate::accept::body::Progress;

/// Which of the two times is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elapsed {
    /// The time from the end of the request's body to the head of the answer.
    Response,
    /// The time that the edge gave.
    Deadline,
    /// The time of a try that goes on elsewhere.
    Try,
}

/// When a try is given up for another one.
#[derive(Clone, Copy)]
pub struct TryEnd<'a> {
    /// When.
    pub at: Instant,
    /// Whether there may be another one; asked once, at that time.
    pub may_repeat: &'a (dyn Fn(Instant) -> bool + Send + Sync),
}

impl std::fmt::Debug for TryEnd<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("TryEnd").field("at", &self.at).finish_non_exhaustive()
    }
}

/// The times of one try.
#[derive(Debug, Clone, Copy)]
pub struct Wait<'a> {
    /// When the try began.
    pub began: Instant,
    /// The end of everything.
    pub deadline: Instant,
    /// From the end of the request's body to the head of the answer.
    pub response_timeout: Duration,
    /// The request's body, when there is one.
    pub upload: Option<&'a Arc<Progress>>,
    /// When it is given up for another try, where there may be one.
    pub try_end: Option<TryEnd<'a>>,
}

impl Wait<'_> {
    /// Waits for `future`, pinned by the caller so that it is not copied.
    ///
    /// # Errors
    /// [`Elapsed`] when it takes too long.
    pub async fn on<F: Future>(mut self, mut future: Pin<&mut F>) -> Result<F::Output, Elapsed> {
        let first = self.deadline.min(self.began + self.response_timeout);
        let first = self.try_end.map_or(first, |end| first.min(end.at));
        let mut timer = pin!(tokio::time::sleep_until(first.into()));
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            while timer.as_mut().poll(cx).is_ready() {
                match self.next(clock::now()) {
                    Ok(later) => timer.as_mut().reset(later.into()),
                    Err(elapsed) => return Poll::Ready(Err(elapsed)),
                }
            }
            Poll::Pending
        })
        .await
    }

    /// When to look again, or what is over.
    fn next(&mut self, now: Instant) -> Result<Instant, Elapsed> {
        if now >= self.deadline {
            return Err(Elapsed::Deadline);
        }
        // Only calls without a body have such an end.
        if let Some(end) = self.try_end {
            let over = self.began + self.response_timeout;
            if now >= over {
                return Err(Elapsed::Response);
            }
            if now < end.at {
                return Ok(end.at.min(over).min(self.deadline));
            }
            self.try_end = None;
            return if (end.may_repeat)(now) { Err(Elapsed::Try) } else { Ok(over.min(self.deadline)) };
        }
        let Some(upload) = self.upload else { return Err(Elapsed::Response) };
        let over = upload.ended_at().unwrap_or(now) + self.response_timeout;
        if now >= over { Err(Elapsed::Response) } else { Ok(over.min(self.deadline)) }
    }
}

/// Waits for `future`, pinned by the caller so that it is not copied, and sets `has_waited` if it was not ready at once: only then has
/// more time passed than it took to compute something.
pub fn noticing<F: Future>(mut future: Pin<&mut F>, has_waited: &mut bool) -> impl Future<Output = F::Output> {
    std::future::poll_fn(move |cx| {
        let poll = future.as_mut().poll(cx);
        *has_waited |= poll.is_pending();
        poll
    })
}

/// Waits for `future` until `deadline`.
///
/// # Errors
/// When the deadline comes first.
pub async fn until<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout_at(deadline.into(), future).await.map_err(|_elapsed| Elapsed::Deadline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn notices_whether_a_future_was_ready_at_once() {
        let mut has_waited = false;
        assert_eq!(noticing(pin!(async { 1 }), &mut has_waited).await, 1);
        assert!(!has_waited);
        noticing(pin!(tokio::task::yield_now()), &mut has_waited).await;
        assert!(has_waited);
        noticing(pin!(async {}), &mut has_waited).await;
        assert!(has_waited, "what was noticed stays so");
    }
}
