//! One timer for everything a connection waits for.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Instant;

use tokio::time::{Instant as TimerInstant, Sleep, sleep_until};

/// Wakes a task at the earliest of the deadlines it was asked about, without touching the runtime's timers for each.
///
/// The timer stays armed at the earliest deadline seen; when it fires too early for the one in force, it is armed again.
/// A keepalive client that sends a request every millisecond therefore costs one timer operation a minute, not two thousand a
/// second.
#[derive(Default)]
pub(super) struct Watchdog {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Watchdog {
    /// Whether `deadline` has passed; if not, the task is woken then.
    pub(super) fn is_due(&mut self, context: &mut Context<'_>, deadline: Instant) -> bool {
        let deadline = TimerInstant::from_std(deadline);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(context).is_ready() {
            if sleep.deadline() >= deadline {
                return true;
            }
            sleep.as_mut().reset(deadline);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;
    use std::time::Duration;

    use gatehouse_shared::clock;

    use super::*;

    async fn wait(watchdog: &mut Watchdog, deadline: Instant) {
        poll_fn(|context| if watchdog.is_due(context, deadline) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    #[tokio::test]
    async fn wakes_at_a_deadline_before_and_after_the_one_it_was_armed_for() {
        let start = clock::now();
        let mut watchdog = Watchdog::default();
        poll_fn(|context| {
            assert!(!watchdog.is_due(context, start + Duration::from_secs(60)));
            Poll::Ready(())
        })
        .await;
        wait(&mut watchdog, start + Duration::from_millis(20)).await;
        assert!(clock::now() >= start + Duration::from_millis(20));
        wait(&mut watchdog, start + Duration::from_millis(40)).await;
        assert!(clock::now() >= start + Duration::from_millis(40));
        wait(&mut watchdog, start).await;
    }
}
