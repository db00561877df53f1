//! A request on its way to an endpoint.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::endpoint::Endpoint;
use super::pool::{Inner, Member};
use super::{Outcome, Strategy};

/// Why an endpoint was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Usual,
    Trial,
    Panic,
}

/// A request on its way to an endpoint: in flight until this is dropped.
#[derive(Debug)]
#[must_use = "a lease that is dropped counts nothing"]
pub struct Lease {
    pool: Arc<Inner>,
    address: SocketAddr,
    index: usize,
    kind: Kind,
    /// From when its latency counts.
    began: Instant,
}

impl Lease {
    pub(super) fn new(pool: &Arc<Inner>, member: &Member, index: usize, kind: Kind, now: Instant) -> Self {
        member.endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        member.endpoint.requests_total.fetch_add(1, Ordering::Relaxed);
        Self { pool: Arc::clone(pool), address: member.endpoint.address, index, kind, began: now }
    }

    /// The index of the endpoint, for `tried` of the next [`super::Pool::choose`].
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// The address of the endpoint.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The request's body has been sent: the endpoint's latency counts from here, not from the choice.
    pub fn sent(&mut self, now: Instant) {
        self.began = self.began.max(now);
    }

    /// Tells how the request ended. A request whose end says nothing about the endpoint (the client went away, our own
    /// denial, a timeout during an upload) is not reported.
    pub fn report(&self, outcome: Outcome, now: Instant) {
        let Some(endpoint) = self.endpoint() else { return };
        self.note_latency(endpoint, outcome, now);
        match outcome {
            Outcome::Ok | Outcome::ServerError => self.pool.answered(endpoint, outcome, self.kind, now),
            Outcome::ConnectFailed | Outcome::ConnectTimedOut | Outcome::TransportFailed | Outcome::GatewayFailed => {
                self.pool.failed(endpoint, outcome, self.kind, now)
            }
        }
    }

    fn note_latency(&self, endpoint: &Endpoint, outcome: Outcome, now: Instant) {
        if self.pool.config.strategy != Strategy::P2cEwma {
            return;
        }
        let latency = now.saturating_duration_since(self.began);
        match outcome {
            Outcome::Ok => endpoint.latency.answered(latency, endpoint.millis(now)),
            _ => endpoint.latency.failed(latency, endpoint.millis(now)),
        }
    }

    fn endpoint(&self) -> Option<&Endpoint> {
        self.pool.members.get(self.index).map(|member| &*member.endpoint)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(endpoint) = self.endpoint() else { return };
        endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.kind == Kind::Trial {
            endpoint.abandon_trial();
        }
    }
}
