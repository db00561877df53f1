//! The pass over a text.

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind};

use crate::decode::Scratch;
use crate::operator::{Detector, Judged};
use crate::rules::marks::{MarkTable, Marks};
use crate::seclang::ast::OperatorKind;

use super::needs::{MARKS_PER_RULE, Needs};

/// Longest piece of a literal the automaton holds. Longer ones are cut: the rest is left to the comparison.
const LITERAL_BYTES: usize = 10;

/// Whether a row is to hold what grammars say. They cost more than a scan, so only rules that ask them pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Literals,
    Grammars,
}

/// A rule that may match where `marks` are held.
#[derive(Clone, Copy, Debug)]
struct Posting {
    rule: u32,
    marks: u64,
}

/// Literals and marks of the rules that look at one side of the exchange.
#[derive(Debug)]
pub(crate) struct Scanner {
    side: usize,
    words: usize,
    automaton: Option<AhoCorasick>,
    /// For each literal, where its postings are.
    ranges: Vec<(u32, u32)>,
    postings: Vec<Posting>,
    /// Rules nothing is known about, as a row of bits.
    blank: Box<[u64]>,
    /// Rules without literals, by the marks they need.
    marked: Vec<(u64, Box<[u32]>)>,
    /// All marks that some of these need.
    marks: u64,
    /// Rules that ask one of Gatehouse's own grammars, as a row of bits for each grammar and grade.
    asking: Vec<(Detector, Box<[u64]>)>,
    /// Rules that ask `@detectSQLi`, and those that ask `@detectXSS`; none: nobody asks.
    asking_sqli: Box<[u64]>,
    asking_xss: Box<[u64]>,
    /// All rules that ask a grammar.
    askers: Box<[u64]>,
}

impl Scanner {
    /// 0 for the request, 1 for the answer.
    pub(crate) const fn side(&self) -> usize {
        self.side
    }

    /// Words of a row: one bit for each rule of the set.
    pub(crate) const fn words(&self) -> usize {
        self.words
    }

    /// How many literals there are.
    pub(crate) const fn literals(&self) -> usize {
        self.ranges.len()
    }

    /// What a row is before its text is looked at.
    pub(crate) fn blank(&self) -> &[u64] {
        &self.blank
    }

    /// Sets the bits of all rules whose needs the text meets. `seen` holds `now` for literals already met in this text.
    pub(crate) fn scan(&self, bytes: &[u8], marks: Marks, row: &mut [u64], seen: &mut [u32], now: u32) {
        if marks.holds & self.marks != 0 {
            for (needed, rules) in &self.marked {
                if needed & !marks.holds == 0 {
                    rules.iter().for_each(|rule| set_bit(row, *rule));
                }
            }
        }
        let Some(automaton) = &self.automaton else { return };
        for found in automaton.find_overlapping_iter(bytes) {
            let literal = found.pattern().as_usize();
            match seen.get_mut(literal) {
                Some(last) if *last == now => continue,
                Some(last) => *last = now,
                None => {}
            }
            let Some((from, to)) = self.ranges.get(literal) else { continue };
            for posting in self.postings.get(*from as usize..*to as usize).unwrap_or(&[]) {
                if posting.marks & !marks.holds == 0 {
                    set_bit(row, posting.rule);
                }
            }
        }
    }
}

impl Scanner {
    /// Whether one of these rules asks a grammar.
    pub(crate) fn asks(&self, rules: &[u64]) -> bool {
        self.askers.iter().zip(rules).any(|(askers, rules)| askers & rules != 0)
    }

    /// Whether a rule that asks a grammar is among these bits of a row: what the grammar said needs no comparison.
    pub(crate) fn is_certain(&self, word: usize, bits: u64) -> bool {
        self.askers.get(word).is_some_and(|askers| askers & bits != 0)
    }

    /// Asks each grammar once, whatever number of rules wants to know.
    pub(crate) fn ask(&self, bytes: &[u8], row: &mut [u64], scratch: &mut Scratch) {
        if !self.asking.is_empty() {
            let judged = Judged::of(bytes, scratch);
            if judged != Judged::default() {
                for (_, rules) in self.asking.iter().filter(|(detector, _)| judged.says(*detector)) {
                    set_bits(row, rules);
                }
            }
        }
        if !self.asking_sqli.is_empty() && crate::sqli::detect(bytes).is_some() {
            set_bits(row, &self.asking_sqli);
        }
        if !self.asking_xss.is_empty() && crate::xss::detect(bytes) {
            set_bits(row, &self.asking_xss);
        }
    }
}

/// Sets the bits of a row that another has.
fn set_bits(row: &mut [u64], bits: &[u64]) {
    for (word, bits) in row.iter_mut().zip(bits) {
        *word |= bits;
    }
}

/// Sets one bit of a row.
pub(crate) fn set_bit(row: &mut [u64], bit: u32) {
    if let Some(word) = row.get_mut((bit / 64) as usize) {
        *word |= 1 << (bit % 64);
    }
}

/// The rules that have something in common, as a row of bits each, in the order in which they first come.
fn rows<T: PartialEq>(words: usize, rules: impl Iterator<Item = (T, u32)>) -> Vec<(T, Box<[u64]>)> {
    let mut all: Vec<(T, Box<[u64]>)> = Vec::new();
    for (common, rule) in rules {
        let index = all.iter().position(|(known, _)| *known == common).unwrap_or_else(|| {
            all.push((common, vec![0; words].into()));
            all.len() - 1
        });
        if let Some((_, row)) = all.get_mut(index) {
            set_bit(row, rule);
        }
    }
    all
}

/// Collects what rules need, then builds the [`Scanner`].
#[derive(Debug, Default)]
pub(crate) struct ScannerBuilder {
    literals: BTreeMap<Vec<u8>, Vec<Posting>>,
    marked: Vec<Posting>,
    asking: Vec<(Detector, u32)>,
}

impl ScannerBuilder {
    /// Adds the needs of a rule.
    pub(crate) fn add(&mut self, table: &mut MarkTable, rule: u32, needs: &Needs) {
        let mut marks = 0;
        for set in needs.sets.iter().take(MARKS_PER_RULE) {
            marks |= table.bit_of(set).unwrap_or(0);
        }
        let posting = Posting { rule, marks };
        match &needs.literals {
            None => self.marked.push(posting),
            Some(literals) => {
                for literal in literals {
                    let mut literal = literal.clone();
                    literal.truncate(LITERAL_BYTES);
                    self.literals.entry(literal).or_default().push(posting);
                }
            }
        }
    }

    /// Adds a rule that asks a grammar.
    pub(crate) fn add_asking(&mut self, rule: u32, detector: Detector) {
        self.asking.push((detector, rule));
    }

    /// Builds the automaton.
    ///
    /// # Errors
    ///
    /// When there are more literals than an automaton can hold.
    pub(crate) fn build(self, side: usize, rules: usize) -> Result<Scanner, aho_corasick::BuildError> {
        let mut ranges = Vec::with_capacity(self.literals.len());
        let mut postings = Vec::new();
        for list in self.literals.values() {
            let from = u32::try_from(postings.len()).unwrap_or(u32::MAX);
            postings.extend_from_slice(list);
            ranges.push((from, u32::try_from(postings.len()).unwrap_or(u32::MAX)));
        }
        let automaton = if self.literals.is_empty() {
            None
        } else {
            let mut builder = AhoCorasickBuilder::new();
            builder.ascii_case_insensitive(true).match_kind(MatchKind::Standard);
            builder.kind(Some(AhoCorasickKind::DFA)).prefilter(false);
            Some(builder.build(self.literals.keys())?)
        };
        let words = rules.div_ceil(64);
        let mut blank = vec![0; words].into_boxed_slice();
        let mut by_marks: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for posting in &self.marked {
            match posting.marks {
                0 => set_bit(&mut blank, posting.rule),
                marks => by_marks.entry(marks).or_default().push(posting.rule),
            }
        }
        let marks = by_marks.keys().fold(0, |all, marks| all | marks);
        let marked = by_marks.into_iter().map(|(marks, rules)| (marks, rules.into())).collect();
        let mut asking = rows(words, self.asking.iter().copied());
        let askers = rows(words, self.asking.iter().map(|(_, rule)| ((), *rule)));
        let mut others = |kind| match asking.iter().position(|(detector, _)| detector.kind == kind) {
            Some(index) => asking.swap_remove(index).1,
            None => Box::default(),
        };
        let (asking_sqli, asking_xss) = (others(OperatorKind::DetectSqli), others(OperatorKind::DetectXss));
        let askers = askers.into_iter().next().map(|((), rules)| rules).unwrap_or_default();
        Ok(Scanner {
            side,
            words,
            automaton,
            ranges,
            postings,
            blank,
            marked,
            marks,
            asking,
            asking_sqli,
            asking_xss,
            askers,
        })
    }
}
