//! Collects the networks of a list, in any order.

use super::family::{Family, NEVER, Node, Record};
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

/// Builds a [`NetworkSet`], in place: it needs little more memory than the set itself where [`NetworkSetBuilder::reserve`] was
/// told how many networks there will be, and half as much more otherwise.
pub struct NetworkSetBuilder {
    list: Box<str>,
    four: Vec<Node<u32>>,
    six: Vec<Node<u128>>,
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

    /// Makes room for so many networks more, of either family.
    pub fn reserve(&mut self, four: usize, six: usize) {
        self.four.reserve_exact(four.min(MAX_NETWORKS));
        self.six.reserve_exact(six.min(MAX_NETWORKS));
    }

    /// How many networks of each family have been added.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.four.len(), self.six.len())
    }

    /// Adds a network that stands on this line of the list; 0 where there are no lines. Texts are cut at 4,096 bytes.
    pub fn add(&mut self, network: Network, note: &Note<'_>, line: u32) {
        let until = note.until.map_or(NEVER, |until| u32::try_from(until).unwrap_or(NEVER));
        let tag = self.tag([note.owner, note.ticket, note.reason]);
        match network.start() {
            Start::Four(start, prefix) => {
                self.four.push(Node { start, record: Record::new(prefix, until, tag, line) });
            }
            Start::Six(start, prefix) => {
                self.six.push(Node { start, record: Record::new(prefix, until, tag, line) });
            }
        }
    }

    /// The set of what was added. Of entries for one network the one that counts longest stays, the one on the first line
    /// where several do.
    ///
    /// # Errors
    /// Where there are more than [`MAX_NETWORKS`].
    pub fn build(self) -> Result<NetworkSet, TooManyNetworks> {
        let Self { list, four, six, texts, tags } = self;
        let (texts, tags) = (texts.build(), tags.build());
        Ok(NetworkSet { list, four: Family::build(four)?, six: Family::build(six)?, texts, tags })
    }

    /// The texts beside a network repeat together: three are kept as one.
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
