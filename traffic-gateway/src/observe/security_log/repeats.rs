//! Refused connections, counted by client, so that a flood of them is a few lines.
//!
//! With `n` clients told apart and a window of `w` seconds, at most `2n` lines are written in `w` seconds, and one more for
//! each reason that all further clients share: about 51 lines a second with the defaults, however many connections come.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use super::record::Record;
use crate::{
    accept::{self, Connection, guard::network},
    admit::{Action, Denial, Mode},
};

/// The refused connections of one client for one reason, in the window that runs.
#[derive(Debug, Clone)]
pub(super) struct Repeat {
    /// The first of them; `None` for all clients that are not told apart.
    client: Option<SocketAddr>,
    peer: Option<SocketAddr>,
    local: SocketAddr,
    /// Why the first one was refused.
    denial: Denial,
    /// When the window began.
    since: Instant,
    since_unix_ms: u64,
    /// How many came that have no line yet.
    count: u64,
}

impl Repeat {
    pub(super) fn new(connection: &Connection, denial: &Denial, now: Instant, unix_ms: u64) -> Self {
        let peer = (connection.peer != connection.source).then_some(connection.peer);
        let (client, local) = (Some(connection.source), connection.local);
        Self { client, peer, local, denial: denial.clone(), since: now, since_unix_ms: unix_ms, count: 0 }
    }

    /// The same for all clients that are not told apart.
    fn of_others(self) -> Self {
        Self { client: None, peer: None, denial: Denial { evidence: None, ..self.denial }, ..self }
    }

    /// The line of the first one.
    pub(super) fn first<'a>(&'a self, node: &'a str) -> Record<'a> {
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
            stage: self.denial.stage.unwrap_or(accept::STAGE),
            reason: self.denial.reason,
            detail: self.denial.detail.as_deref(),
            mode: self.denial.mode,
            action: Action::Drop,
            status: 0,
            evidence: self.denial.evidence.as_deref(),
            repeated: None,
        }
    }

    /// The line of those that came after it, written at `unix_ms`.
    pub(super) fn further<'a>(&'a self, node: &'a str, unix_ms: u64) -> Record<'a> {
        Record { unix_ms, repeated: Some((self.count, self.since_unix_ms)), ..self.first(node) }
    }
}

/// What is counted apart: a client's network (without one everybody else), the reason, and whether it had an effect.
type Key = (Option<IpAddr>, &'static str, Mode);

/// All windows that run.
#[derive(Debug, Default)]
pub(super) struct Repeats(HashMap<Key, Repeat>);

impl Repeats {
    /// Counts a refused connection; returned is the first of a window, which gets a line of its own.
    pub(super) fn note(
        &mut self,
        connection: &Connection,
        denial: &Denial,
        now: Instant,
        unix_ms: u64,
        clients_max: usize,
    ) -> Option<Repeat> {
        let (code, mode) = (denial.reason.code, denial.mode);
        let key = (Some(network(connection.source.ip())), code, mode);
        if let Some(known) = self.0.get_mut(&key) {
            known.count += 1;
            return None;
        }
        if self.0.len() < clients_max {
            let first = Repeat::new(connection, denial, now, unix_ms);
            self.0.insert(key, first.clone());
            return Some(first);
        }
        let others = self.0.entry((None, code, mode));
        others.or_insert_with(|| Repeat::new(connection, denial, now, unix_ms).of_others()).count += 1;
        None
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

    /// Notes a connection of a client; whether it gets a line of its own.
    fn note(repeats: &mut Repeats, client: &str, denial: &Denial, now: Instant) -> bool {
        let connection = sample::connection(client.parse().unwrap());
        repeats.note(&connection, denial, now, 1_000, 10).is_some()
    }

    fn denial() -> Denial {
        Denial::from(&problem::TOO_MANY_CONNECTIONS_OF_CLIENT)
    }

    #[test]
    fn a_flood_of_one_client_is_one_line_and_one_more_each_window() {
        let (mut repeats, start, client) = (Repeats::default(), clock::now(), "192.0.2.1:1");
        let noted = (0..1_000).filter(|_| note(&mut repeats, client, &denial(), start)).count();
        assert_eq!(noted, 1);
        assert!(repeats.over(start + WINDOW / 2, WINDOW).is_empty());
        let over = repeats.over(start + WINDOW, WINDOW);
        assert_eq!((over.len(), over[0].count, over[0].since_unix_ms), (1, 999, 1_000));
        assert!(!note(&mut repeats, client, &denial(), start + WINDOW), "the flood goes on");
        let over = repeats.over(start + 2 * WINDOW, WINDOW);
        assert_eq!((over.len(), over[0].count, over[0].since_unix_ms), (1, 1, 11_000));
        assert!(repeats.over(start + 3 * WINDOW, WINDOW).is_empty());
        assert!(repeats.0.is_empty(), "a quiet client is forgotten");
    }

    #[test]
    fn clients_beyond_the_bound_share_one_line() {
        let (mut repeats, now) = (Repeats::default(), clock::now());
        let noted = (0..=255).filter(|last| note(&mut repeats, &format!("192.0.2.{last}:1"), &denial(), now)).count();
        assert_eq!(noted, 10);
        assert_eq!(repeats.0.len(), 11);
        let over = repeats.over(now + WINDOW, WINDOW);
        assert_eq!((over.len(), over[0].count, over[0].client), (1, 246, None));
    }

    #[test]
    fn networks_reasons_and_modes_are_told_apart() {
        let (mut repeats, now) = (Repeats::default(), clock::now());
        let mut note = |client: &str, denial: &Denial| note(&mut repeats, client, denial, now);
        assert!(note("[2001:db8::1]:1", &denial()) && !note("[2001:db8::2]:1", &denial()), "one /64 network");
        assert!(note("[2001:db8:0:1::1]:1", &denial()));
        assert!(note("[2001:db8::1]:1", &Denial::from(&problem::TOO_MANY_CONNECTIONS)));
        assert!(note("[2001:db8::1]:1", &Denial { mode: Mode::Observe, ..denial() }));
    }

    #[test]
    fn nothing_counted_is_lost_at_the_end() {
        let (mut repeats, now) = (Repeats::default(), clock::now());
        note(&mut repeats, "192.0.2.1:1", &denial(), now);
        assert!(repeats.drain().is_empty());
        for _ in 0..3 {
            note(&mut repeats, "192.0.2.1:1", &denial(), now);
        }
        assert_eq!(repeats.drain().first().map(|repeat| repeat.count), Some(2));
    }
}
