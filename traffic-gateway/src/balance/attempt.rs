//! The attempts of one request: which nodes it tried, the place it holds at the present one, what that one did.

use std::{net::SocketAddr, time::Instant};

use gatehouse_shared::balance::{Lease, Outcome};

use super::Ticket;

/// Attempts at most, Pingora's `max_retries`: the first, one elsewhere, and one more for a pooled connection that turned
/// out to be dead.
pub const MOST_ATTEMPTS: usize = 3;

/// Where a request is and has been.
#[derive(Debug, Default)]
pub struct Attempt {
    place: Option<Place>,
    tried: [usize; MOST_ATTEMPTS],
    /// How many of `tried` are in use.
    excluded: usize,
    count: usize,
    has_retried: bool,
    last: Option<SocketAddr>,
}

#[derive(Debug)]
struct Place {
    lease: Lease,
    ticket: Ticket,
}

impl Attempt {
    /// Positions of the nodes not to be chosen again.
    #[must_use]
    pub fn tried(&self) -> &[usize] {
        self.tried.get(..self.excluded).unwrap_or_default()
    }

    /// Attempts begun.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The node tried last.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.last
    }

    /// Gives back the place held so far.
    pub fn leave(&mut self) {
        self.place = None;
    }

    /// A node was chosen; it is not chosen again by this request.
    pub fn choose(&mut self, node: usize, address: SocketAddr) {
        if let Some(slot) = self.tried.get_mut(self.excluded) {
            *slot = node;
            self.excluded += 1;
        }
        self.count += 1;
        self.last = Some(address);
    }

    /// The chosen node has room for the request.
    pub fn hold(&mut self, lease: Lease, ticket: Ticket) {
        self.place = Some(Place { lease, ticket });
    }

    /// Pingora found (`reused`) or opened the connection.
    pub fn connected(&mut self, reused: bool) {
        if let Some(place) = &mut self.place {
            place.ticket.connected(reused);
        }
    }

    /// Pingora could not open the connection.
    pub fn connect_failed(&mut self) {
        if let Some(place) = &mut self.place {
            place.ticket.failed();
        }
    }

    /// The pooled connection was dead: the node may be chosen again, since nothing is known against it.
    pub fn went_stale(&mut self) {
        self.excluded = self.excluded.saturating_sub(1);
        self.leave();
    }

    /// Tells the balancer what the present node did.
    pub fn answered(&mut self, outcome: Outcome, now: Instant) {
        if let Some(place) = &self.place {
            place.lease.report(outcome, now);
        }
    }

    /// Whether another attempt is allowed. Where something may have been sent, only one.
    pub fn may_try_again(&mut self, nothing_sent: bool) -> bool {
        let may = self.count < MOST_ATTEMPTS && (nothing_sent || !self.has_retried);
        self.has_retried |= !nothing_sent;
        may
    }
}
