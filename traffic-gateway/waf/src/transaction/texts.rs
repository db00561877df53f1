//! The bytes of a transaction: every text once, and what transformations make of it.
//!
//! A text has a number; equal bytes have equal numbers (except where chosen input crowds the hash table, which costs
//! time but changes nothing). What a transformation makes of a text is remembered, and so is what the prefilter says
//! about it: a value that thirty rules look at is decoded once and scanned once.
//!
//! Texts that came with the request are kept to its end. What transformations made is forgotten between two rules when
//! it grows over a bound, so memory is bounded by the bodies' limits and not by the number of rules.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::decode::Scratch;
use crate::rules::marks::{MarkTable, Marks};
use crate::rules::pipeline::{Pipeline, Step};
use crate::rules::prefilter::{Ask, Scanner};

use super::slots::Slots;

/// The number of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TextId(u32);

/// Set in the numbers of texts that transformations made.
const DERIVED: u32 = 1 << 31;

/// Bytes of transformed texts that are kept between two rules.
const DERIVED_KEPT: usize = 8 << 20;

/// Bytes of each buffer that are kept for the next transaction.
const KEPT: usize = 1 << 20;

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    length: u32,
    /// [`Marks::NONE`] until somebody asks.
    marks: Marks,
    /// 0 for a text that equal ones are not looked for.
    hash: u64,
    /// Row of `rows` that says which rules may match, for each scanner; 0 is none yet.
    row: [u32; 2],
    /// Whether the grammars of a scanner were asked.
    asked: [bool; 2],
}

#[derive(Clone, Debug, Default)]
struct Pool {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Pool {
    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        self.entries.clear();
        self.entries.shrink_to(KEPT / size_of::<Entry>());
    }
}

/// All texts of one transaction.
#[derive(Clone, Debug)]
pub(crate) struct Texts {
    base: Pool,
    derived: Pool,
    known: Slots,
    steps: Slots,
    rows: Vec<u64>,
    scratch: Vec<u8>,
    /// For each literal of a scanner, the scan that last met it.
    seen: Vec<u32>,
    seen_now: u32,
    forms: Scratch,
    seed: u64,
}

impl Texts {
    pub(crate) fn new() -> Self {
        Self {
            base: Pool::default(),
            derived: Pool::default(),
            known: Slots::new(),
            steps: Slots::new(),
            rows: Vec::new(),
            scratch: Vec::new(),
            seen: Vec::new(),
            seen_now: 0,
            forms: Scratch::default(),
            seed: RandomState::new().build_hasher().finish(),
        }
    }

    /// Forgets everything and keeps the buffers, up to a bound.
    pub(crate) fn clear(&mut self) {
        self.base.clear();
        self.derived.clear();
        self.known.clear();
        self.steps.clear();
        self.rows.clear();
        self.rows.shrink_to(KEPT / 8);
        self.scratch.clear();
        self.scratch.shrink_to(KEPT);
    }

    /// A number no client knows, new with every set of buffers.
    pub(super) const fn seed(&self) -> u64 {
        self.seed
    }

    /// Bytes held for texts.
    #[cfg(test)]
    pub(crate) fn size(&self) -> usize {
        self.base.bytes.len() + self.derived.bytes.len()
    }

    /// Capacity of the buffers, for tests that ask whether a second request allocates.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> [usize; 6] {
        [
            self.base.bytes.capacity(),
            self.base.entries.capacity(),
            self.derived.bytes.capacity(),
            self.derived.entries.capacity(),
            self.rows.capacity(),
            self.scratch.capacity(),
        ]
    }

    /// The bytes of a text.
    pub(crate) fn bytes(&self, id: TextId) -> &[u8] {
        bytes_of(self.pool(id).0, id)
    }

    fn pool(&self, id: TextId) -> (&Pool, usize) {
        let pool = if id.0 & DERIVED == 0 { &self.base } else { &self.derived };
        (pool, (id.0 & !DERIVED) as usize)
    }

    fn entry(&self, id: TextId) -> Option<&Entry> {
        let (pool, index) = self.pool(id);
        pool.entries.get(index)
    }

    fn entry_mut(&mut self, id: TextId) -> Option<&mut Entry> {
        let pool = if id.0 & DERIVED == 0 { &mut self.base } else { &mut self.derived };
        pool.entries.get_mut((id.0 & !DERIVED) as usize)
    }

    /// Which bytes a text holds, as far as rules care.
    pub(crate) fn marks(&mut self, table: &MarkTable, id: TextId) -> Marks {
        let known = self.entry(id).map_or(Marks::ALL, |entry| entry.marks);
        if known != Marks::NONE {
            return known;
        }
        let marks = table.marks(self.bytes(id));
        if let Some(entry) = self.entry_mut(id) {
            entry.marks = marks;
        }
        marks
    }

    /// A text of these bytes, kept to the end of the transaction, whether or not there is an equal one: cheaper than
    /// [`Self::keep`] for what seldom comes twice in one request.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> TextId {
        TextId(push(&mut self.base, bytes, 0))
    }

    /// The text of these bytes, kept to the end of the transaction.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> TextId {
        let hash = hash(self.seed, bytes);
        if let Some(known) = self.find(hash, bytes, 0) {
            return known;
        }
        let id = TextId(push(&mut self.base, bytes, hash));
        self.known.insert(hash, id.0);
        id
    }

    /// The text of these bytes, kept until [`Self::trim`] forgets it.
    pub(crate) fn lend(&mut self, bytes: &[u8]) -> TextId {
        let hash = hash(self.seed, bytes);
        if let Some(known) = self.find(hash, bytes, DERIVED) {
            return known;
        }
        let id = TextId(push(&mut self.derived, bytes, hash) | DERIVED);
        self.known.insert(hash, id.0);
        id
    }

    /// Looks for equal bytes; `allow` says whether derived texts will do.
    fn find(&self, hash: u64, bytes: &[u8], allow: u32) -> Option<TextId> {
        self.known.find(hash, |id| id & DERIVED & !allow == 0 && self.bytes(TextId(id)) == bytes).map(TextId)
    }

    /// What a pipeline makes of a text.
    pub(crate) fn through(&mut self, table: &MarkTable, pipeline: &Pipeline, id: TextId) -> TextId {
        if !self.marks(table, id).wake(pipeline.triggers) {
            return id;
        }
        pipeline.steps.iter().fold(id, |id, step| self.step(table, step, id))
    }

    /// What one transformation makes of a text.
    pub(crate) fn step(&mut self, table: &MarkTable, step: &Step, id: TextId) -> TextId {
        if !self.marks(table, id).wake(step.triggers) {
            return id;
        }
        let key = u64::from(id.0) << 8 | u64::from(step.number);
        if let Some(known) = self.steps.find(key, |_| true) {
            return TextId(known);
        }
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        let changed = step.apply(self.bytes(id), &mut out);
        let made = if changed { self.lend(&out) } else { id };
        self.scratch = out;
        self.steps.insert(key, made.0);
        made
    }

    /// Forgets what transformations made when it takes too much space. No number of such a text may be used afterwards.
    pub(crate) fn trim(&mut self) {
        if self.derived.bytes.len() <= DERIVED_KEPT && self.rows.len() <= DERIVED_KEPT / 8 {
            return;
        }
        self.derived.clear();
        self.known.clear();
        self.steps.clear();
        self.rows.clear();
        for (number, entry) in self.base.entries.iter_mut().enumerate() {
            entry.row = [0; 2];
            entry.asked = [false; 2];
            if entry.hash != 0 {
                self.known.insert(entry.hash, u32::try_from(number).unwrap_or(0));
            }
        }
    }

    /// Which rules may match a text, as a row of bits; those that ask grammars only if the caller wants to know.
    pub(crate) fn row(&mut self, table: &MarkTable, scanner: &Scanner, id: TextId, ask: Ask) -> &[u64] {
        let words = scanner.words();
        let side = scanner.side();
        let known = |entry: &Entry| Some((*entry.row.get(side)?, *entry.asked.get(side)?));
        let (row, asked) = self.entry(id).and_then(known).unwrap_or((0, true));
        let row = if row == 0 { self.scan(table, scanner, id) } else { row };
        let start = (row as usize - 1) * words;
        if ask == Ask::Grammars && !asked {
            self.ask(scanner, id, start);
        }
        self.rows.get(start..start + words).unwrap_or(&[])
    }

    /// A word of the row of a text that was scanned.
    pub(super) fn word(&self, scanner: &Scanner, id: TextId, word: usize) -> u64 {
        self.place(scanner, id, word).and_then(|place| self.rows.get(place)).copied().unwrap_or(0)
    }

    /// Notes that a rule does not match a text, though the prefilter said that it may.
    pub(super) fn strike(&mut self, scanner: &Scanner, id: TextId, word: usize, bit: u64) {
        if let Some(bits) = self.place(scanner, id, word).and_then(|place| self.rows.get_mut(place)) {
            *bits &= !bit;
        }
    }

    fn place(&self, scanner: &Scanner, id: TextId, word: usize) -> Option<usize> {
        let row = self.entry(id).and_then(|entry| entry.row.get(scanner.side()).copied()).unwrap_or(0) as usize;
        row.checked_sub(1).map(|row| row * scanner.words() + word)
    }

    fn ask(&mut self, scanner: &Scanner, id: TextId, start: usize) {
        if let Some(asked) = self.entry_mut(id).and_then(|entry| entry.asked.get_mut(scanner.side())) {
            *asked = true;
        }
        let Self { base, derived, rows, forms, .. } = self;
        let bytes = bytes_of(if id.0 & DERIVED == 0 { base } else { derived }, id);
        if let Some(row) = rows.get_mut(start..start + scanner.words()) {
            scanner.ask(bytes, row, forms);
        }
    }

    fn scan(&mut self, table: &MarkTable, scanner: &Scanner, id: TextId) -> u32 {
        let words = scanner.words().max(1);
        let start = self.rows.len();
        self.rows.extend_from_slice(scanner.blank());
        self.rows.resize(start + words, 0);
        self.seen_now = self.seen_now.wrapping_add(1);
        if self.seen.len() < scanner.literals() || self.seen_now == 0 {
            self.seen.clear();
            self.seen.resize(scanner.literals(), 0);
            self.seen_now = 1;
        }
        let marks = self.marks(table, id);
        let bytes = bytes_of(if id.0 & DERIVED == 0 { &self.base } else { &self.derived }, id);
        if let Some(row) = self.rows.get_mut(start..) {
            scanner.scan(bytes, marks, row, &mut self.seen, self.seen_now);
        }
        let number = u32::try_from(start / words + 1).unwrap_or(1);
        let side = scanner.side();
        if let Some(slot) = self.entry_mut(id).and_then(|entry| entry.row.get_mut(side)) {
            *slot = number;
        }
        number
    }
}

fn bytes_of(pool: &Pool, id: TextId) -> &[u8] {
    let Some(entry) = pool.entries.get((id.0 & !DERIVED) as usize) else { return &[] };
    let start = entry.start as usize;
    pool.bytes.get(start..start + entry.length as usize).unwrap_or(&[])
}

fn push(pool: &mut Pool, bytes: &[u8], hash: u64) -> u32 {
    let number = u32::try_from(pool.entries.len()).unwrap_or(0);
    let start = u32::try_from(pool.bytes.len()).unwrap_or(u32::MAX);
    let length = u32::try_from(bytes.len()).unwrap_or(0);
    pool.bytes.extend_from_slice(bytes);
    pool.entries.push(Entry { start, length, marks: Marks::NONE, hash, row: [0; 2], asked: [false; 2] });
    number
}

/// Folded multiplication over eight bytes at a time, keyed by a seed no client knows.
pub(super) fn hash(seed: u64, bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9fb2_1c65_1e98_df25;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = seed ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word), FACTOR ^ seed.rotate_left(17));
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    fold(state ^ u64::from_le_bytes(last), FACTOR).max(1)
}

/// The halves of a 128-bit product, mixed.
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0);
    half(product) ^ half(product >> 64)
}
