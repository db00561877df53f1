//! Lists of networks, and who is in one.

use std::net::IpAddr;
use std::sync::Arc;

use gatehouse_shared::cidr::{Entry, Network, NetworkSet, NetworkSetBuilder};
use gatehouse_shared::config::{ConfigErrors, Positions};

use super::finding::{Finding, Kind, Matched, Terms};
use super::line::Line;
use super::lines::Mistake;

/// One list of networks: those of the configuration itself, or those in the files of an `[[access.list]]`.
#[derive(Debug)]
pub(super) struct Networks {
    pub(super) terms: Arc<Terms>,
    pub(super) parts: Vec<Part>,
}

/// The networks of one file.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) file: Arc<str>,
    pub(super) set: Arc<NetworkSet>,
}

impl Networks {
    /// The networks of the configuration itself, each written like a line of a list.
    ///
    /// # Errors
    /// Every entry that is none.
    pub(super) fn inline(
        terms: Arc<Terms>,
        entries: &[String],
        path: &str,
        positions: &Positions,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut builder = NetworkSetBuilder::new(positions.file());
        for (index, text) in entries.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let line = u32::try_from(positions.place(&path).0).unwrap_or(u32::MAX);
            match Line::parse(text) {
                Ok(Some(Line { network, note })) => builder.add(network, &note, line),
                Ok(None) => {
                    let mistake = Mistake::at(text, text, "there is no network");
                    errors.push(mistake.with_remedy("begin the entry with one").at_path(&path, positions));
                }
                Err(mistake) => errors.push(mistake.at_path(&path, positions)),
            }
        }
        let set = builder.build().map_err(|error| positions.error(path, error.to_string(), None).into());
        let set = errors.collect(set).unwrap_or_default();
        let part = Part { file: positions.file().into(), set: Arc::new(set) };
        errors.into_result(Self { terms, parts: vec![part] })
    }

    /// The entry that an address is in at `now`, in Unix seconds: the most specific one of the first file that has any.
    pub(super) fn find(&self, address: IpAddr, now: u64) -> Option<Finding<'_>> {
        self.parts.iter().find_map(|part| Some(self.finding(part, part.set.find(address, now)?)))
    }

    /// An entry that shares an address with a network and counts at `now`, in Unix seconds.
    pub(super) fn overlap(&self, network: Network, now: u64) -> Option<Finding<'_>> {
        let counts = |entry: &Entry<'_>| entry.counts_at(now);
        self.parts.iter().find_map(|part| Some(self.finding(part, part.set.overlap(network, counts)?)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.iter().all(|part| part.set.is_empty())
    }

    fn finding<'s>(&'s self, part: &'s Part, entry: Entry<'s>) -> Finding<'s> {
        Finding {
            kind: Kind::Network,
            terms: &self.terms,
            file: &part.file,
            line: entry.line(),
            entry: Matched::Network(entry.network()),
            note: entry.note(),
        }
    }
}
