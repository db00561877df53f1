//! A set of networks that says which of them an address belongs to.

use std::fmt;
use std::net::IpAddr;

use super::builder::{MAX_NETWORKS, NetworkSetBuilder};
use super::family::{Family, NEVER, Record};
use super::network::{Network, Start};
use super::note::Note;
use super::text::Texts;

/// A compiled list of up to millions of networks, each with a [`Note`]; built by a [`NetworkSetBuilder`] or collected from
/// networks without notes.
///
/// Memory: 21 bytes an IPv4 network and 37 an IPv6 network, and every distinct text once. A look-up in a million random
/// networks takes a random access to memory and 50 ns, in an empty set nothing. Networks may be nested: the most specific one that has not expired is the
/// answer. No two are ever merged, so that a finding names the very line.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct NetworkSet {
    pub(super) list: Box<str>,
    pub(super) four: Family<u32>,
    pub(super) six: Family<u128>,
    pub(super) texts: Texts,
    pub(super) tags: Texts,
}

impl NetworkSet {
    /// The name of the list.
    #[must_use]
    pub fn list(&self) -> &str {
        &self.list
    }

    /// How many networks there are, expired ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.four.len() + self.six.len()
    }

    /// Whether the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most specific network with this address that has not expired at `now`, in Unix seconds.
    #[must_use]
    pub fn find(&self, address: IpAddr, now: u64) -> Option<Entry<'_>> {
        if self.is_empty() {
            return None;
        }
        self.most_specific(Start::from(address), |entry| entry.counts_at(now))
    }

    /// Whether any network contains the address, be it expired or not.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.most_specific(Start::from(address), |_| true).is_some()
    }

    /// The entry for exactly this network, expired or not.
    #[must_use]
    pub fn entry(&self, network: Network) -> Option<Entry<'_>> {
        let (Start::Four(_, prefix) | Start::Six(_, prefix)) = network.start();
        self.most_specific(network.start(), |entry| entry.prefix() == prefix)
    }

    /// An entry that shares an address with this network and is wanted: the most specific one around it, or else the first
    /// one within it.
    pub fn overlap(&self, network: Network, is_wanted: impl Fn(&Entry<'_>) -> bool) -> Option<Entry<'_>> {
        match network.start() {
            Start::Four(first, prefix) => {
                let last = first | u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
                self.four.overlapping(first, last).map(|place| self.at(Place::Four(place))).find(is_wanted)
            }
            Start::Six(first, prefix) => {
                let last = first | u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
                self.six.overlapping(first, last).map(|place| self.at(Place::Six(place))).find(is_wanted)
            }
        }
    }

    /// All entries, expired ones included; IPv4 first, by address.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        let four = (0..self.four.len()).map(Place::Four);
        let six = (0..self.six.len()).map(Place::Six);
        four.chain(six).map(|place| self.at(place))
    }

    /// How many networks of each family there are.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.four.len(), self.six.len())
    }

    /// The most specific wanted entry around a first address.
    pub(super) fn most_specific(&self, first: Start, is_wanted: impl Fn(&Entry<'_>) -> bool) -> Option<Entry<'_>> {
        match first {
            Start::Four(first, _) => {
                self.four.containing(first).map(|place| self.at(Place::Four(place))).find(is_wanted)
            }
            Start::Six(first, _) => self.six.containing(first).map(|place| self.at(Place::Six(place))).find(is_wanted),
        }
    }

    fn at(&self, place: Place) -> Entry<'_> {
        Entry { set: self, place }
    }
}

/// Networks without notes. At most [`MAX_NETWORKS`] are taken.
impl FromIterator<Network> for NetworkSet {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        let mut builder = NetworkSetBuilder::new("");
        for network in networks.into_iter().take(MAX_NETWORKS) {
            builder.add(network, &Note::default(), 0);
        }
        builder.build().unwrap_or_default()
    }
}

impl fmt::Debug for NetworkSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkSet").field("list", &self.list).field("len", &self.len()).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum Place {
    Four(usize),
    Six(usize),
}

/// One network of a set and what was written beside it.
#[derive(Clone, Copy)]
pub struct Entry<'s> {
    set: &'s NetworkSet,
    place: Place,
}

impl<'s> Entry<'s> {
    /// The network.
    #[must_use]
    pub fn network(&self) -> Network {
        Network::from(match self.place {
            Place::Four(place) => Start::Four(self.set.four.node(place).map_or(0, |node| node.start), self.prefix()),
            Place::Six(place) => Start::Six(self.set.six.node(place).map_or(0, |node| node.start), self.prefix()),
        })
    }

    /// What was written beside it.
    #[must_use]
    pub fn note(&self) -> Note<'s> {
        let tag = self.record().map_or(0, |record| record.tag);
        let (texts, _) = self.set.tags.bytes(tag).as_chunks::<4>();
        let mut texts = texts.iter().map(|place| self.set.texts.text(u32::from_le_bytes(*place)));
        let mut next = || texts.next().flatten();
        Note { until: self.until(), owner: next(), ticket: next(), reason: next() }
    }

    /// From when on it does not count, in Unix seconds; `None`: never.
    #[must_use]
    pub fn until(&self) -> Option<u64> {
        self.record().filter(|record| record.until != NEVER).map(|record| record.until.into())
    }

    /// Whether it counts at `now`, in Unix seconds.
    #[must_use]
    pub fn counts_at(&self, now: u64) -> bool {
        self.record().is_some_and(|record| record.counts_at(now))
    }

    /// The name of the list it stands in.
    #[must_use]
    pub fn list(&self) -> &'s str {
        &self.set.list
    }

    /// The line of the list, from 1; 0 where there are no lines.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.record().map_or(0, |record| record.line)
    }

    pub(super) fn prefix(&self) -> u8 {
        self.record().map_or(0, Record::prefix)
    }

    fn record(&self) -> Option<&'s Record> {
        match self.place {
            Place::Four(place) => self.set.four.node(place).map(|node| &node.record),
            Place::Six(place) => self.set.six.node(place).map(|node| &node.record),
        }
    }
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (list, line) = (self.list(), self.line());
        write!(f, "{} {list}:{line} {:?}", self.network(), self.note())
    }
}
