//! The attempts of one request: which nodes it tried, the place it holds at the present one, what that one did.

use std::{net::SocketAddr, time::Instant};

use gatehouse_shared::balance::{Lease, Outcome};

use super::Ticket;

/// Attempts at most: the first, one elsewhere, and one more for a pooled connection that turned out to be dead.
pub const MOST_ATTEMPTS: usize = 3;

/// Attempts at most as Pingora counts them (`max_retries`): looking for a connection again is one, too.
pub const PINGORA_ATTEMPTS: usize = MOST_ATTEMPTS + 1;

/// How a request looks for a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Look {
    /// If the slot has an open connection that cannot be found, come back.
    #[default]
    First,
    /// It could not be found twice: open one.
    Again,
}

/// Where a request is and has been.
#[derive(Debug, Default)]
pub struct Attempt {
    place: Option<Place>,
    tried: [usize; MOST_ATTEMPTS],
    /// How many of `tried` are in use.
    excluded: usize,
    count: usize,
    has_retried: bool,
    look: Look,
    is_reused: bool,
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

    /// Whether the request has not waited for anything since its head was judged: its first attempt, on a connection that
    /// was there.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        let has_waited = self.place.as_ref().is_none_or(|place| place.ticket.has_waited());
        self.count == 1 && self.is_reused && !has_waited
    }

    /// The connection was found (`reused`) or opened.
    pub fn connected(&mut self, reused: bool) {
        self.is_reused = reused;
        if let Some(place) = &mut self.place {
            place.ticket.connected();
        }
    }

    /// The slot has a connection after all: the same node is chosen again, and looks for it again.
    pub fn look_again(&mut self) {
        self.look = Look::Again;
        self.count = self.count.saturating_sub(1);
        self.went_stale();
    }

    /// How to look for a connection now.
    #[must_use]
    pub fn look(&self) -> Look {
        self.look
    }

    /// The connection to the node takes no more requests.
    pub fn lost(&self) {
        if let Some(place) = &self.place {
            place.ticket.lost();
        }
    }

    /// The connection could not be opened.
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

    /// The request's body has been handed on: from here the node takes its time.
    pub fn body_sent(&mut self, now: Instant) {
        if let Some(place) = &mut self.place {
            place.lease.sent(now);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 1))
    }

    #[test]
    fn where_something_may_have_been_sent_there_is_one_more_attempt() {
        let mut attempt = Attempt::default();
        attempt.choose(0, address());
        assert!(attempt.may_try_again(false));
        attempt.choose(1, address());
        assert!(!attempt.may_try_again(false));
        assert_eq!(attempt.tried(), [0, 1]);
    }

    #[test]
    fn where_nothing_was_sent_there_are_as_many_as_pingora_makes() {
        let mut attempt = Attempt::default();
        for node in 0..MOST_ATTEMPTS {
            attempt.choose(node, address());
            assert_eq!(attempt.may_try_again(true), node + 1 < MOST_ATTEMPTS);
        }
    }

    #[test]
    fn a_dead_pooled_connection_excludes_nobody() {
        let mut attempt = Attempt::default();
        attempt.choose(0, address());
        attempt.went_stale();
        assert!(attempt.tried().is_empty());
        assert_eq!(attempt.count(), 1);
    }

    #[test]
    fn looking_again_is_no_attempt() {
        let mut attempt = Attempt::default();
        attempt.choose(0, address());
        attempt.look_again();
        assert_eq!((attempt.count(), attempt.look()), (0, Look::Again));
    }
}
