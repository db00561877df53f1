//! How a service treats every request, whatever it asks for: late, or with an error. Set while it runs, so that one of several
//! services can fall ill and recover.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Response;

use super::bodies::Body;
use super::faults;
use super::query::Query;

/// The longest wait, in milliseconds.
const MOST_MILLISECONDS: u64 = 60_000;

/// What happens to every request; nothing at first.
#[derive(Debug, Default)]
pub struct Behaviour {
    delay_ms: AtomicU64,
    /// 0 for the request's own answer.
    status: AtomicU64,
}

impl Behaviour {
    /// `PUT /_behaviour?ms=N&status=N`: from now on every answer comes N milliseconds later, or is that status; what is
    /// left out is normal again.
    pub fn set(&self, query: Query<'_>) {
        self.delay_ms.store(query.number("ms", 0, MOST_MILLISECONDS), Ordering::Relaxed);
        self.status.store(query.number("status", 0, 599), Ordering::Relaxed);
    }

    /// Waits as told; the answer when it is not the request's own.
    pub async fn of_request(&self) -> Option<Response<Body>> {
        let delay_ms = self.delay_ms.load(Ordering::Relaxed);
        if delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
        let status = self.status.load(Ordering::Relaxed);
        (status > 0).then(|| faults::with_status(&status.to_string()))
    }
}
