//! One entry of the blocklist and the record that is kept of it.

use std::time::Duration;

use gatehouse_shared::cidr::{Network, Note};
use serde::{Deserialize, Serialize};

use super::{EXPIRED_LIFE, TOMBSTONE_LIFE};

/// A blocked network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// From this time on it does not count, in Unix seconds; `None`: it never ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The ticket or case it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Why it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Entry {
    /// As the look-up keeps it.
    #[must_use]
    pub fn note(&self) -> Note<'_> {
        Note {
            until: self.until,
            owner: self.owner.as_deref(),
            ticket: self.ticket.as_deref(),
            reason: self.reason.as_deref(),
        }
    }

    /// Whether it counts at `now`, in Unix seconds.
    #[must_use]
    pub fn counts_at(&self, now: u64) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

/// What is kept of a network: its entry, or that it was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The network, which is the id of the entry.
    pub network: Network,
    /// The entry; `None`: it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Entry>,
    /// Whose change this is: the name of the admin token, or `limit:NAME` for a ban.
    pub by: String,
    /// The node that made the change.
    pub node: String,
    /// When the change was made, in Unix milliseconds by that node's clock, but always later than the change before.
    pub stamp: u64,
    /// Which change of the whole list this was; 0 while only this node knows of it.
    #[serde(default)]
    pub revision: u64,
}

impl Record {
    /// Whether it says more than `other` about the same network: the later change, and of two at the same moment the one
    /// whose text comes last, so that all nodes decide alike.
    #[must_use]
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.stamp > other.stamp || (self.stamp == other.stamp && self.text() > other.text())
    }

    /// Whether it has an entry that counts at `now`, in Unix seconds.
    #[must_use]
    pub fn counts_at(&self, now: u64) -> bool {
        self.entry.as_ref().is_some_and(|entry| entry.counts_at(now))
    }

    /// Whether it may be forgotten at `now`, in Unix seconds: expired for a while, or removed so long ago that nobody can bring
    /// it back.
    #[must_use]
    pub fn is_over(&self, now: u64) -> bool {
        let age = |since: u64| Duration::from_secs(now.saturating_sub(since));
        match &self.entry {
            Some(entry) => entry.until.is_some_and(|until| age(until) >= EXPIRED_LIFE),
            None => age(self.stamp / 1_000) >= TOMBSTONE_LIFE,
        }
    }

    /// The entry and who made it, as it is stored.
    pub(super) fn text(&self) -> String {
        let Self { entry, by, node, .. } = self;
        // Serialising strings and numbers into memory cannot fail.
        serde_json::to_string(&Stored { entry: entry.clone(), by: by.clone(), node: node.clone() }).unwrap_or_default()
    }

    /// The other way round; `None` for what no version of this crate has written.
    pub(super) fn from_text(network: Network, stamp: u64, revision: u64, text: &str) -> Option<Self> {
        let Stored { entry, by, node } = serde_json::from_str(text).ok()?;
        Some(Self { network, entry, by, node, stamp, revision })
    }
}

/// What of a record is stored as JSON; the rest stands before it, where scripts read it.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entry: Option<Entry>,
    by: String,
    node: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(stamp: u64, reason: Option<&str>) -> Record {
        let entry = reason.map(|reason| Entry {
            until: Some(2_000_000_000),
            owner: None,
            ticket: None,
            reason: Some(reason.to_owned()),
        });
        let network = "192.0.2.0/24".parse().unwrap();
        Record { network, entry, by: "operate".to_owned(), node: "edge-1".to_owned(), stamp, revision: 3 }
    }

    #[test]
    fn of_two_records_exactly_one_is_newer_unless_they_are_the_same() {
        let records =
            [record(1, Some("a")), record(1, Some("b")), record(1, None), record(2, None), record(3, Some("a"))];
        for (place, first) in records.iter().enumerate() {
            for (other, second) in records.iter().enumerate() {
                let newer = usize::from(first.is_newer_than(second)) + usize::from(second.is_newer_than(first));
                assert_eq!(newer, usize::from(place != other), "{first:?} {second:?}");
            }
        }
    }

    #[test]
    fn what_is_stored_is_read_again() {
        for record in [record(7, Some("a \"quoted\" reason, ä")), record(7, None)] {
            assert_eq!(Record::from_text(record.network, 7, 3, &record.text()), Some(record));
        }
        assert_eq!(Record::from_text("::1".parse().unwrap(), 1, 1, "{}"), None);
    }

    #[test]
    fn an_entry_counts_until_the_second_it_ends() {
        let record = record(1, Some("a"));
        assert!(record.counts_at(1_999_999_999) && !record.counts_at(2_000_000_000));
        assert!(!record.is_over(2_000_000_000) && record.is_over(2_000_000_000 + EXPIRED_LIFE.as_secs()));
    }
}
