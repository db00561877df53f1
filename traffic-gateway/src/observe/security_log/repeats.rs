//! Refused connections, counted by client, so that a flood of them is a few lines.
//!
//! With `n` clients told apart and a window of `w` seconds, at most `2n` lines are written in `w` seconds, and one more for
//! each reason that all further clients share: about 51 lines a second with the defaults, however many connections come.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use gatehouse_shared::problem::Reason;

use super::{ACCEPT, record::Record};
use crate::{
    accept::{Connection, guard::network},
    admit::{Action, Mode},
};

/// The refused connections of one client for one reason, in the window that runs.
#[derive(Debug, Clone)]
pub(super) struct Repeat {
    /// The first of them; `None` for all clients that are not told apart.
    client: Option<SocketAddr>,
    peer: Option<SocketAddr>,
    local: SocketAddr,
    reason: &'static Reason,
    /// When the window began.
    since: Instant,
    since_unix_ms: u64,
    /// How many came that have no line yet.
    count: u64,
}

impl Repeat {
    pub(super) fn new(connection: &Connection, reason: &'static Reason, now: Instant, unix_ms: u64) -> Self {
        let peer = (connection.peer != connection.source).then_some(connection.peer);
        let (client, local) = (Some(connection.source), connection.local);
        Self { client, peer, local, reason, since: now, since_unix_ms: unix_ms, count: 0 }
    }

    /// The line of the first one.
    pub(super) fn first<'a>(&self, node: &'a str) -> Record<'a> {
        Record {
            unix_ms: self.since_unix_ms,
            request_id: None,
            trace_id: None,
            node,
            client: self.client,
            peer: self.peer,
            local: self.local,
            protocol: None,
            tls: None,
            asked: None,
            route: None,
            stage: ACCEPT,
            reason: self.reason,
            detail: None,
            mode: Mode::Enforce,
            action: Action::Drop,
            status: 0,
            evidence: None,
            repeated: None,
        }
    }

    /// The line of those that came after it, written at `unix_ms`.
    pub(super) fn further<'a>(&self, node: &'a str, unix_ms: u64) -> Record<'a> {
        Record { unix_ms, repeated: Some((self.count, self.since_unix_ms)), ..self.first(node) }
    }
}

/// Who is counted apart: a client's network and the reason; without a network everybody else.
type Key = (Option<IpAddr>, &'static str);

/// All windows that run.
#[derive(Debug, Default)]
pub(super) struct Repeats(HashMap<Key, Repeat>);

impl Repeats {
    /// Counts a refused connection; true when it is the first of its window and gets a line of its own.
    pub(super) fn note(&mut self, refused: &Repeat, clients_max: usize) -> bool {
        let code = refused.reason.code;
        let network = refused.client.map(|client| network(client.ip()));
        if let Some(known) = self.0.get_mut(&(network, code)) {
            known.count += 1;
            return false;
        }
        if self.0.len() < clients_max {
            self.0.insert((network, code), refused.clone());
            return true;
        }
        let others = Repeat { client: None, peer: None, ..refused.clone() };
        self.0.entry((None, code)).or_insert(others).count += 1;
        false
    }

    /// What was counted in windows that are over; a window without any is forgotten, the others begin anew.
    pub(super) fn over(&mut self, now: Instant, window: Duration) -> Vec<Repeat> {
        let mut over = Vec::new();
        self.0.retain(|_, repeat| {
            let age = now.saturating_duration_since(repeat.since);
            if age < window {
                return true;
            }
            if repeat.count == 0 {
                return false;
            }
            over.push(repeat.clone());
            repeat.count = 0;
            repeat.since = now;
            repeat.since_unix_ms = repeat.since_unix_ms.saturating_add(millis(age));
            true
        });
        over
    }

    /// What was counted in every window, at the end of the process.
    pub(super) fn drain(&mut self) -> Vec<Repeat> {
        self.0.drain().map(|(_, repeat)| repeat).filter(|repeat| repeat.count > 0).collect()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::{clock, problem};

    use super::*;
    use crate::accept::sample;

    const WINDOW: Duration = Duration::from_secs(10);

    fn from(client: [u8; 4], now: Instant) -> Repeat {
        let connection = sample::connection(SocketAddr::from((client, 1)));
        Repeat::new(&connection, &problem::TOO_MANY_CONNECTIONS_OF_CLIENT, now, 1_000)
    }

    #[test]
    fn a_flood_of_one_client_is_one_line_and_one_more_each_window() {
        let (mut repeats, start) = (Repeats::default(), clock::now());
        let noted = (0..1_000).filter(|_| repeats.note(&from([192, 0, 2, 1], start), 10)).count();
        assert_eq!(noted, 1);
        assert!(repeats.over(start + WINDOW / 2, WINDOW).is_empty());
        let over = repeats.over(start + WINDOW, WINDOW);
        assert_eq!((over.len(), over[0].count, over[0].since_unix_ms), (1, 999, 1_000));
        assert!(!repeats.note(&from([192, 0, 2, 1], start + WINDOW), 10), "the flood goes on");
        let over = repeats.over(start + 2 * WINDOW, WINDOW);
        assert_eq!((over.len(), over[0].count, over[0].since_unix_ms), (1, 1, 11_000));
        assert!(repeats.over(start + 3 * WINDOW, WINDOW).is_empty());
        assert!(repeats.0.is_empty(), "a quiet client is forgotten");
    }

    #[test]
    fn clients_beyond_the_bound_share_one_line() {
        let (mut repeats, now) = (Repeats::default(), clock::now());
        let noted = (0..=255).filter(|last| repeats.note(&from([192, 0, 2, *last], now), 10)).count();
        assert_eq!(noted, 10);
        assert_eq!(repeats.0.len(), 11);
        let over = repeats.over(now + WINDOW, WINDOW);
        assert_eq!((over.len(), over[0].count, over[0].client), (1, 246, None));
    }

    #[test]
    fn nothing_counted_is_lost_at_the_end() {
        let (mut repeats, now) = (Repeats::default(), clock::now());
        repeats.note(&from([192, 0, 2, 1], now), 10);
        assert!(repeats.drain().is_empty());
        for _ in 0..3 {
            repeats.note(&from([192, 0, 2, 1], now), 10);
        }
        assert_eq!(repeats.drain().first().map(|repeat| repeat.count), Some(2));
    }
}
