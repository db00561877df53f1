//! The networks of one address family, arranged for look-up.
//!
//! Networks are nested or disjoint. Sorted by their first address, the broader one first where two begin together, they
//! are a forest in preorder: of the networks that contain an address, the most specific is the last one that begins at or
//! before the address, or else one of those around that one. So each record names the network around it, and a look-up is
//! one search and a few steps outwards; an entry that has expired is one step more.
//!
//! The search descends a static tree of sorted blocks of 16 addresses: a block of IPv4 addresses is one cache line, so a
//! million networks are five lines away, of which only the last one or two are not in the cache.

use super::builder::TooManyNetworks;

/// Addresses in a block.
const BLOCK: usize = 16;
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

/// A network before it has its place.
#[derive(Clone, Copy)]
pub(super) struct Pending<A> {
    pub(super) start: A,
    pub(super) record: Record,
}

/// All networks of a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Family<A> {
    /// The first addresses of all networks, sorted; before them the first of each of their blocks, and so on up to one block.
    levels: Box<[Box<[A]>]>,
    records: Box<[Record]>,
}

impl<A> Default for Family<A> {
    fn default() -> Self {
        Self { levels: Box::default(), records: Box::default() }
    }
}

impl<A: Address> Family<A> {
    /// Gives every network its place. Of entries for one network the one that counts longest stays, the first of them
    /// where several do.
    pub(super) fn build(mut networks: Vec<Pending<A>>) -> Result<Self, TooManyNetworks> {
        // Stable, and quick where runs are sorted already, as lists often are.
        networks.sort_by(|a, b| {
            let rest = |pending: &Pending<A>| (pending.record.prefix(), NEVER - pending.record.until);
            a.start.cmp(&b.start).then_with(|| rest(a).cmp(&rest(b)))
        });
        networks.dedup_by(|later, kept| later.start == kept.start && later.record.prefix() == kept.record.prefix());
        if u32::try_from(networks.len()).map_or(true, |count| count > OUTSIDE) {
            return Err(TooManyNetworks);
        }
        let records = linked(&networks);
        let starts = networks.iter().map(|pending| pending.start).collect();
        drop(networks);
        Ok(Self { levels: levels(starts), records })
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn record(&self, place: usize) -> Option<&Record> {
        self.records.get(place)
    }

    pub(super) fn start(&self, place: usize) -> Option<A> {
        self.levels.last()?.get(place).copied()
    }

    /// The places of all networks that contain the address, the most specific first.
    pub(super) fn containing(&self, address: A) -> impl Iterator<Item = usize> {
        let last = self.last_at_or_before(address);
        let common = last.and_then(|last| self.start(last)).map_or(0, |start| start.common_bits(address));
        // A network around another begins with the same bits, so what the last one shares with the address is enough.
        let outwards = |place: &usize| self.records.get(*place)?.around();
        let contains = move |record: &Record| u32::from(record.prefix()) <= common;
        std::iter::successors(last, outwards).skip_while(move |place| !self.records.get(*place).is_some_and(contains))
    }

    /// The places of all networks that share an address with the one from `first` to `last`.
    pub(super) fn overlapping(&self, first: A, last: A) -> impl Iterator<Item = usize> {
        let next = self.last_at_or_before(first).map_or(0, |place| place + 1);
        let within = (next..self.len()).take_while(move |place| self.start(*place).is_some_and(|start| start <= last));
        self.containing(first).chain(within)
    }

    fn last_at_or_before(&self, address: A) -> Option<usize> {
        let mut place = 0;
        for level in &self.levels {
            let from = place * BLOCK;
            let block = level.get(from..)?;
            // The length of a whole block is known to the compiler, which then compares without branches.
            let before = match block.first_chunk::<BLOCK>() {
                Some(block) => count_at_or_before(block, address),
                None => count_at_or_before(block, address),
            };
            place = from + before.checked_sub(1)?;
        }
        (!self.levels.is_empty()).then_some(place)
    }
}

#[inline(always)]
fn count_at_or_before<A: Address>(block: &[A], address: A) -> usize {
    block.iter().map(|start| usize::from(*start <= address)).sum()
}

/// The records of sorted networks, each with the network around it.
fn linked<A: Address>(networks: &[Pending<A>]) -> Box<[Record]> {
    let mut open: Vec<(u32, &Pending<A>)> = Vec::new();
    let link = |(place, pending)| {
        let Pending { start, record }: &Pending<A> = pending;
        while let Some((_, around)) = open.last()
            && around.start.common_bits(*start) < u32::from(around.record.prefix())
        {
            open.pop();
        }
        let around = open.last().map_or(OUTSIDE, |(place, _)| *place);
        open.push((place, pending));
        Record { link: around << 8 | u32::from(record.prefix()), ..*record }
    };
    (0..).zip(networks).map(link).collect()
}

/// The sorted addresses, and above them levels of every 16th until one block is left.
fn levels<A: Address>(starts: Box<[A]>) -> Box<[Box<[A]>]> {
    let mut levels = vec![starts];
    while let Some(lowest) = levels.first()
        && lowest.len() > BLOCK
    {
        let above = lowest.iter().step_by(BLOCK).copied().collect();
        levels.insert(0, above);
    }
    levels.retain(|level| !level.is_empty());
    levels.into_boxed_slice()
}
