//! The dynamic blocklist: networks that are turned away at once, on every node of a fleet, until their time is over.
//!
//! [`Blocklist`] is the stage: one look-up in memory, first for the connection and again for each request's real client.
//! What it looks into is the [`Mirror`], which outlives reloads. The [`Keeper`] is the process around it: it makes changes,
//! keeps them in Redis or a file, and follows what other nodes change. [`suggest`] notes who
//! is refused most, as candidates.

mod mirror;
pub mod keeper;
mod fleet;
mod overlap;
pub mod suggest;

use std::{net::IpAddr, sync::Arc, time::Instant};

use gatehouse_shared::{cidr, hop::Auth, problem};

pub use fleet::Following;
pub use keeper::{Actor, ChangeError, Changed, Done, Keeper, OpenError, Reach, Wanted};
pub use mirror::{Mirror, Page};
pub use overlap::overlapped;
use suggest::{Crawlers, Refused};

use super::{Denial, Ended, Entry, Evidence, RequestView, Source, Stage, Verdict};

/// The stage.
#[derive(Debug, Clone, Default)]
pub struct Blocklist {
    mirror: Arc<Mirror>,
    refused: Arc<Refused>,
    crawlers: Arc<Crawlers>,
}

impl Blocklist {
    /// What it looks into.
    #[must_use]
    pub fn mirror(&self) -> &Arc<Mirror> {
        &self.mirror
    }

    /// Who was refused most.
    #[must_use]
    pub fn refused(&self) -> &Arc<Refused> {
        &self.refused
    }

    /// Who connects often and never logs in.
    #[must_use]
    pub fn crawlers(&self) -> &Crawlers {
        &self.crawlers
    }

    /// Why a client is turned away at `unix_ms`; `None` where it is not.
    #[must_use]
    pub fn refuses(&self, client: IpAddr, unix_ms: u64) -> Option<Denial> {
        let blocked = self.mirror.current();
        let entry = blocked.find(client, unix_ms / 1_000)?;
        Some(denial(&entry, client).by(Self::NAME))
    }
}

impl Stage for Blocklist {
    const NAME: &'static str = "blocklist";

    fn check(&self, request: &RequestView<'_>, _now: Instant) -> Verdict {
        self.refuses(request.client(), request.unix_ms()).map_or(Verdict::Pass, Verdict::Deny)
    }

    fn finish(&self, ended: &Ended<'_>, now: Instant) {
        if let (Some(reason), Some(_)) = (ended.reason, ended.refused) {
            self.refused.count(ended.client.ip(), reason, now);
        }
        if ended.auth == Some(Auth::App) && ended.connection.is_first_login() {
            self.crawlers.logged_in(ended.client.ip(), now);
        }
    }
}

fn denial(entry: &cidr::Entry<'_>, client: IpAddr) -> Denial {
    let note = entry.note();
    let text = |text: Option<&str>| text.map(Box::from);
    let listed = Entry {
        text: entry.network().to_string().into(),
        owner: text(note.owner),
        ticket: text(note.ticket),
        reason: text(note.reason),
        until_unix_ms: note.until.map(|until| until.saturating_mul(1_000)),
        ..Entry::default()
    };
    let evidence =
        Evidence::new(Source::List, mirror::NAME).entry(listed).matched("client", client.to_string().as_bytes());
    Denial::from(&problem::CLIENT_BLOCKED).because_of(evidence)
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::clock;
    use gatehouse_store::block::{self, Record};

    use super::*;
    use crate::admit::view::sample::Sample;

    fn record(network: &str, until: Option<u64>) -> Record {
        let entry = block::Entry {
            until,
            owner: Some("soc".to_owned()),
            ticket: Some("SEC-7".to_owned()),
            reason: Some("flood".to_owned()),
        };
        let network = network.parse().unwrap();
        Record { network, entry: Some(entry), by: "operate".into(), node: "edge-1".into(), stamp: 1, revision: 1 }
    }

    #[test]
    fn a_blocked_client_is_refused_with_its_entry_as_evidence() {
        let blocklist = Blocklist::default();
        let mut sample = Sample::get("/", &[]).from("192.0.2.7");
        assert_eq!(blocklist.check(&sample.view(), clock::now()), Verdict::Pass);
        blocklist.mirror().apply(&[record("192.0.2.0/24", Some(1_000))]);
        sample.unix_ms = 999_999;
        let Verdict::Deny(denial) = blocklist.check(&sample.view(), clock::now()) else { panic!("not denied") };
        let evidence = denial.evidence.unwrap();
        let entry = evidence.entry.unwrap();
        assert_eq!((denial.reason.code, &*entry.text), ("client_blocked", "192.0.2.0/24"));
        assert_eq!((entry.owner.as_deref(), entry.ticket.as_deref()), (Some("soc"), Some("SEC-7")));
        assert_eq!((entry.reason.as_deref(), entry.until_unix_ms), (Some("flood"), Some(1_000_000)));
        assert_eq!(&*evidence.matched.unwrap().value, b"192.0.2.7");
    }

    #[test]
    fn an_entry_ends_with_its_second() {
        let blocklist = Blocklist::default();
        blocklist.mirror().apply(&[record("192.0.2.7", Some(1_000))]);
        let client = "192.0.2.7".parse().unwrap();
        assert!(blocklist.refuses(client, 999_999).is_some());
        assert!(blocklist.refuses(client, 1_000_000).is_none());
    }
}
