//! Collects the networks of a list, in any order.

use super::family::{Address, Family, NEVER, Pending, Record};
use super::network::{Network, Start};
use super::note::Note;
use super::set::NetworkSet;
use super::text::{TextBuilder, cut};

/// The most networks of one family that a set can hold.
pub const MAX_NETWORKS: usize = (1 << 24) - 1;

/// A list with more than [`MAX_NETWORKS`] networks of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a list can hold {MAX_NETWORKS} networks of one family")]
pub struct TooManyNetworks;

/// Builds a [`NetworkSet`]; needs about twice its memory while it does.
pub struct NetworkSetBuilder {
    list: Box<str>,
    four: Vec<Pending<u32>>,
    six: Vec<Pending<u128>>,
    texts: TextBuilder,
    tags: TextBuilder,
}

impl NetworkSetBuilder {
    /// An empty list; `list` is its name in findings.
    #[must_use]
    pub fn new(list: &str) -> Self {
        let list = list.into();
        Self { list, four: Vec::new(), six: Vec::new(), texts: TextBuilder::new(), tags: TextBuilder::new() }
    }

    /// Adds a network that stands on this line of the list; 0 where there are no lines. Texts are cut at 4,096 bytes.
    pub fn add(&mut self, network: Network, note: &Note<'_>, line: u32) {
        let until = note.until.map_or(NEVER, |until| u32::try_from(until).unwrap_or(NEVER));
        let tag = self.tag([note.owner, note.ticket, note.reason]);
        self.push(network, until, tag, line);
    }

    /// The set of what was added. Of entries for one network the one that counts longest stays, the first of them where
    /// several do.
    ///
    /// # Errors
    /// Where there are more than [`MAX_NETWORKS`].
    pub fn build(self) -> Result<NetworkSet, TooManyNetworks> {
        let Self { list, four, six, texts, tags } = self;
        let (texts, tags) = (texts.build(), tags.build());
        Ok(NetworkSet { list, four: Family::build(four)?, six: Family::build(six)?, texts, tags })
    }

    fn push(&mut self, network: Network, until: u32, tag: u32, line: u32) {
        match network.start() {
            Start::Four(start, prefix) => self.four.push(pending(start, prefix, until, tag, line)),
            Start::Six(start, prefix) => self.six.push(pending(start, prefix, until, tag, line)),
        }
    }

    /// The texts beside a network are few or repeat together: each set of three is kept once.
    fn tag(&mut self, texts: [Option<&str>; 3]) -> u32 {
        if texts == [None; 3] {
            return 0;
        }
        let mut tag = [0; 12];
        for (place, text) in tag.as_chunks_mut().0.iter_mut().zip(texts) {
            *place = self.texts.intern(cut(text.unwrap_or_default()).as_bytes()).to_le_bytes();
        }
        self.tags.intern(&tag)
    }
}

fn pending<A: Address>(start: A, prefix: u8, until: u32, tag: u32, line: u32) -> Pending<A> {
    Pending { start, record: Record::new(prefix, until, tag, line) }
}
