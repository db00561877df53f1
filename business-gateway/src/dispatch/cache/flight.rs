//! Single flight: of the calls that want the same answer one asks for it, and the others wait for what comes of that.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gatehouse_shared::problem::Reason;
use tokio::sync::watch;

use super::answer::Stored;
use super::key::Key;
use crate::respond::failure::{Executed, Failure};

/// Parts of the list, each under a lock of its own.
const SHARDS: usize = 16;

/// What came of it.
#[derive(Debug, Clone)]
pub enum Landed {
    /// An answer for all.
    Stored(Arc<Stored>),
    /// An answer for the one only: the others go themselves, side by side.
    Alone,
    /// The service has failed, and would fail for the others too.
    Failed(Shared),
}

/// A failure that all who waited share.
#[derive(Debug, Clone)]
pub struct Shared {
    reason: &'static Reason,
    cause: Arc<str>,
    retry_after: Option<u64>,
    executed: Executed,
}

/// Failures of a service, which do not depend on who has called. A deadline, an overload or a group that is shut off is the
/// one's own.
const OF_SERVICE: [&str; 6] = [
    "service_unavailable",
    "service_connect_failed",
    "service_reset",
    "service_protocol_error",
    "service_timeout",
    "service_circuit_open",
];

impl Shared {
    /// The part of a failure that others share; `None` when it is the one's own.
    #[must_use]
    pub fn of(failure: &Failure) -> Option<Self> {
        let Failure { reason, retry_after, executed, .. } = failure;
        let (reason, retry_after, executed) = (*reason, *retry_after, *executed);
        if !OF_SERVICE.contains(&reason.code) {
            return None;
        }
        let cause = failure.cause.as_deref().unwrap_or("the service has failed");
        Some(Self { reason, cause: format!("{cause} (the call that was waited for)").into(), retry_after, executed })
    }

    /// The failure of one who waited.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let mut failure = Failure::refused(self.reason);
        failure.cause = Some(self.cause.to_string());
        (failure.retry_after, failure.executed) = (self.retry_after, self.executed);
        failure
    }
}

/// Whose turn it is to ask.
#[derive(Debug)]
pub enum Turn {
    /// Of whoever called this.
    Mine(Flight),
    /// Of another one; that it ends without a word means that the next one has to ask.
    Others(watch::Receiver<Option<Landed>>),
}

/// Everything that is being asked for.
#[derive(Debug, Default)]
pub struct Flights {
    /// A lock is held for one look-up; never across an await.
    shards: [Mutex<HashMap<Key, watch::Receiver<Option<Landed>>>>; SHARDS],
}

impl Flights {
    /// Joins the flight for `key`, or begins one.
    #[must_use]
    pub fn join(self: &Arc<Self>, key: Key) -> Turn {
        let mut shard = self.shard(&key);
        match shard.entry(key) {
            Entry::Occupied(flight) => Turn::Others(flight.get().clone()),
            Entry::Vacant(place) => {
                let (sender, receiver) = watch::channel(None);
                place.insert(receiver);
                Turn::Mine(Flight { flights: Arc::clone(self), key, sender })
            }
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    #[expect(clippy::indexing_slicing, reason = "the index is below the length of the array")]
    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Option<Landed>>>> {
        self.shards[usize::from(key.first()) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The duty to ask. Dropping it without landing it passes the duty on to one of those who wait: the client of the one may have
/// gone, or its deadline have come.
#[derive(Debug)]
pub struct Flight {
    flights: Arc<Flights>,
    key: Key,
    sender: watch::Sender<Option<Landed>>,
}

impl Flight {
    /// Tells those who wait.
    pub fn land(self, landed: Landed) {
        // Whoever comes after this begins anew, and whoever has come before hears of it.
        self.flights.shard(&self.key).remove(&self.key);
        self.sender.send_replace(Some(landed));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut shard = self.flights.shard(&self.key);
        // After a landing another one may have begun already.
        if shard.get(&self.key).is_some_and(|known| self.sender.borrow().is_none() && is_of(known, &self.sender)) {
            shard.remove(&self.key);
        }
    }
}

fn is_of(receiver: &watch::Receiver<Option<Landed>>, sender: &watch::Sender<Option<Landed>>) -> bool {
    receiver.same_channel(&sender.subscribe())
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::problem;

    use super::*;
    use crate::dispatch::cache::key::tests::any_key;

    fn others(turn: Turn) -> watch::Receiver<Option<Landed>> {
        match turn {
            Turn::Others(receiver) => receiver,
            Turn::Mine(_) => panic!("nobody is on the way"),
        }
    }

    fn mine(turn: Turn) -> Flight {
        match turn {
            Turn::Mine(flight) => flight,
            Turn::Others(_) => panic!("somebody is on the way"),
        }
    }

    #[tokio::test]
    async fn one_goes_and_all_others_hear_of_it() {
        let flights = Arc::new(Flights::default());
        let key = any_key(1);
        let flight = mine(flights.join(key));
        let mut waiting: Vec<_> = (0..1000).map(|_| others(flights.join(key))).collect();
        drop(mine(flights.join(any_key(2))));
        assert_eq!(flights.count(), 1);
        flight.land(Landed::Alone);
        for one in &mut waiting {
            assert!(matches!(*one.wait_for(Option::is_some).await.unwrap(), Some(Landed::Alone)));
        }
        assert_eq!(flights.count(), 0);
    }

    #[tokio::test]
    async fn the_duty_of_one_who_gives_up_goes_to_the_next() {
        let flights = Arc::new(Flights::default());
        let key = any_key(1);
        let flight = mine(flights.join(key));
        let mut waiting = others(flights.join(key));
        drop(flight);
        assert!(waiting.wait_for(Option::is_some).await.is_err());
        let next = mine(flights.join(key));
        let mut waiting = others(flights.join(key));
        next.land(Landed::Alone);
        assert!(waiting.wait_for(Option::is_some).await.is_ok());
    }

    #[test]
    fn only_failures_of_the_service_are_shared() {
        let shared = Shared::of(&Failure::refused(&problem::SERVICE_CONNECT_FAILED)).unwrap().failure();
        assert_eq!(shared.reason.code, "service_connect_failed");
        for own in [&problem::DEADLINE_EXCEEDED, &problem::SERVICE_OVERLOADED, &problem::GROUP_SHED] {
            assert!(Shared::of(&Failure::refused(own)).is_none(), "{}", own.code);
        }
    }
}
