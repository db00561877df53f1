//! The networks of one address family, arranged for look-up.
//!
//! Networks are nested or disjoint. Sorted by their first address, the broader one first where two begin together, they
//! are a forest in preorder: of the networks that contain an address, the most specific is the last one that begins at or
//! before the address, or else one of those around that one. So each record names the network around it, and a look-up is
//! one search and a few steps outwards; an entry that has expired is one step more.
//!
//! The search descends a static tree of sorted blocks of 16 addresses, of which the last leads to a block of 4 networks. In a
//! million networks the tree takes 1.3 MB and stays in the processor's caches, the block is one look outside them.

use super::builder::TooManyNetworks;

/// Addresses in a block: for IPv4 one cache line.
const ADDRESSES: usize = 16;
/// Networks in a block: for IPv4 80 bytes, for IPv6 128. *Measured* with a million networks: 16 of them cost 50 ns more.
const NETWORKS: usize = 4;
/// The place of a network that nothing is around of; also how many networks a family can have.
const OUTSIDE: u32 = (1 << 24) - 1;
/// An end that never comes.
pub(super) const NEVER: u32 = u32::MAX;

/// Addresses of a family as unsigned numbers.
pub(super) trait Address: Copy + Ord {
    /// How many leading bits two addresses have in common.
    fn common_bits(self, other: Self) -> u32;
}

impl Address for u32 {
    fn common_bits(self, other: Self) -> u32 {
        (self ^ other).leading_zeros()
    }
}

impl Address for u128 {
    fn common_bits(self, other: Self) -> u32 {
        (self ^ other).leading_zeros()
    }
}

/// What is known of a network besides its first address: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The place of the network around this one in the upper 24 bits, the prefix length in the lower 8.
    link: u32,
    /// Unix seconds from which on the entry does not count, or [`NEVER`].
    pub(super) until: u32,
    /// Where owner, ticket and reason are found.
    pub(super) tag: u32,
    /// The line of the list.
    pub(super) line: u32,
}

impl Record {
    /// A record that does not know yet what is around it.
    pub(super) fn new(prefix: u8, until: u32, tag: u32, line: u32) -> Self {
        Self { link: OUTSIDE << 8 | u32::from(prefix), until, tag, line }
    }

    pub(super) fn prefix(&self) -> u8 {
        let [prefix, ..] = self.link.to_le_bytes();
        prefix
    }

    /// Whether the entry counts at this time, in Unix seconds.
    pub(super) fn counts_at(&self, now: u64) -> bool {
        self.until == NEVER || u64::from(self.until) > now
    }

    fn around(&self) -> Option<usize> {
        let place = self.link >> 8;
        if place == OUTSIDE { None } else { usize::try_from(place).ok() }
    }
}

/// A network: 20 bytes for IPv4, 32 for IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node<A> {
    /// Its first address.
    pub(super) start: A,
    pub(super) record: Record,
}

/// All networks of a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Family<A> {
    networks: Box<[Node<A>]>,
    /// The first address of every block of networks; before them the first one of every block of those, and so on until one
    /// block is left.
    levels: Box<[Box<[A]>]>,
}

impl<A> Default for Family<A> {
    fn default() -> Self {
        Self { networks: Box::default(), levels: Box::default() }
    }
}

impl<A: Address> Family<A> {
    /// Gives every network its place. Of entries for one network the one that counts longest stays, the one on the first
    /// line where several do. Works in place, so that a large list needs its memory once.
    pub(super) fn build(mut networks: Vec<Node<A>>) -> Result<Self, TooManyNetworks> {
        let rest = |node: &Node<A>| (node.record.prefix(), NEVER - node.record.until, node.record.line);
        networks.sort_unstable_by(|a, b| a.start.cmp(&b.start).then_with(|| rest(a).cmp(&rest(b))));
        networks.dedup_by(|later, kept| later.start == kept.start && later.record.prefix() == kept.record.prefix());
        if u32::try_from(networks.len()).map_or(true, |count| count > OUTSIDE) {
            return Err(TooManyNetworks);
        }
        link(&mut networks);
        let levels = levels(&networks);
        Ok(Self { networks: networks.into_boxed_slice(), levels })
    }

    pub(super) fn len(&self) -> usize {
        self.networks.len()
    }

    pub(super) fn node(&self, place: usize) -> Option<&Node<A>> {
        self.networks.get(place)
    }

    /// The places of all networks that contain the address, the most specific first.
    pub(super) fn containing(&self, address: A) -> impl Iterator<Item = usize> {
        let last = self.last_at_or_before(address);
        let common = last.and_then(|last| self.node(last)).map_or(0, |node| node.start.common_bits(address));
        // A network around another begins with the same bits, so what the last one shares with the address is enough.
        let contains = move |node: &Node<A>| u32::from(node.record.prefix()) <= common;
        let outwards = |place: &usize| self.node(*place)?.record.around();
        std::iter::successors(last, outwards).skip_while(move |place| !self.node(*place).is_some_and(contains))
    }

    /// The places of all networks that share an address with the one from `first` to `last`.
    pub(super) fn overlapping(&self, first: A, last: A) -> impl Iterator<Item = usize> {
        let next = self.last_at_or_before(first).map_or(0, |place| place + 1);
        let within =
            (next..self.len()).take_while(move |place| self.node(*place).is_some_and(|node| node.start <= last));
        self.containing(first).chain(within)
    }

    fn last_at_or_before(&self, address: A) -> Option<usize> {
        let mut block = 0;
        for level in &self.levels {
            block = last::<ADDRESSES, _>(level, block, |start| *start <= address)?;
        }
        last::<NETWORKS, _>(&self.networks, block, |node| node.start <= address)
    }
}

/// The place of the last item of a block of `N` that is at or before what is looked for.
#[inline]
fn last<const N: usize, T>(items: &[T], block: usize, is_before: impl Fn(&T) -> bool) -> Option<usize> {
    let count = |items: &[T]| items.iter().map(|item| u32::from(is_before(item))).sum::<u32>();
    // The last block begins early, with items that are before in any case, so that all have one length, known to the
    // compiler, and are compared without branches.
    let from = (block * N).min(items.len().saturating_sub(N));
    let items = items.get(from..)?;
    let before = items.first_chunk::<N>().map_or_else(|| count(items), |block| count(block));
    Some(from + usize::try_from(before.checked_sub(1)?).ok()?)
}

/// Tells sorted networks what is around them.
fn link<A: Address>(networks: &mut [Node<A>]) {
    let mut open: Vec<(u32, A, u8)> = Vec::new();
    for (place, Node { start, record }) in (0..).zip(networks) {
        while let Some((_, around, prefix)) = open.last()
            && around.common_bits(*start) < u32::from(*prefix)
        {
            open.pop();
        }
        let around = open.last().map_or(OUTSIDE, |(place, ..)| *place);
        record.link = around << 8 | u32::from(record.prefix());
        open.push((place, *start, record.prefix()));
    }
}

fn levels<A: Address>(networks: &[Node<A>]) -> Box<[Box<[A]>]> {
    let mut level: Box<[A]> = networks.iter().step_by(NETWORKS).map(|node| node.start).collect();
    let mut levels = Vec::new();
    while level.len() > 1 {
        let above = level.iter().step_by(ADDRESSES).copied().collect();
        levels.push(std::mem::replace(&mut level, above));
    }
    levels.reverse();
    levels.into_boxed_slice()
}
