//! All paths of a policy at once: where in a document a walk is, as a set of bits, and which mask a place has.
//!
//! Each rule has one bit for each of its steps and one behind them. A set holds the steps that the next name is compared with;
//! a name moves the bits it fits to their neighbours. That costs a few machine words a name, whatever the document is.

use std::collections::HashMap;

use super::mask::Mask;
use super::path::Step;

/// Most bits of all rules together.
pub const BITS_MAX: usize = 1024;

/// The paths of some rules.
#[derive(Debug)]
pub struct Automaton {
    words: usize,
    names: HashMap<Box<str>, Box<[u64]>>,
    has_index: bool,
    any: Box<[u64]>,
    deep: Box<[u64]>,
    ends: Box<[u64]>,
    masks: Vec<Option<Mask>>,
    start: Box<[u64]>,
}

/// What is known of a place.
#[derive(Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// No rule is about it or anything in it.
    Free,
    /// Rules may be about something in it; the set has been appended.
    Watched,
    /// It is hidden.
    Hidden(&'a Mask),
}

impl Automaton {
    /// The automaton of some rules. Which of them are there has been decided: an automaton knows no levels.
    #[must_use]
    pub fn new<'a>(rules: impl Iterator<Item = (&'a [Step], &'a Mask)>) -> Self {
        let mut masks: Vec<Option<Mask>> = Vec::new();
        let mut steps: Vec<Option<Step>> = Vec::new();
        let mut starts = Vec::new();
        for (path, mask) in rules {
            starts.push(steps.len());
            steps.extend(path.iter().cloned().map(Some));
            steps.push(None);
            masks.resize(steps.len().saturating_sub(1), None);
            masks.push(Some(mask.clone()));
        }
        let words = steps.len().div_ceil(64).max(1);
        let empty = || vec![0u64; words].into_boxed_slice();
        let mut automaton = Self {
            words,
            names: HashMap::new(),
            has_index: false,
            any: empty(),
            deep: empty(),
            ends: empty(),
            masks,
            start: empty(),
        };
        for (bit, step) in steps.into_iter().enumerate() {
            match step {
                Some(Step::Name(name)) => {
                    automaton.has_index |= name.bytes().all(|byte| byte.is_ascii_digit());
                    set(automaton.names.entry(name).or_insert_with(empty), bit);
                }
                Some(Step::Any) => set(&mut automaton.any, bit),
                Some(Step::Deep) => set(&mut automaton.deep, bit),
                None => set(&mut automaton.ends, bit),
            }
        }
        for bit in starts {
            set(&mut automaton.start, bit);
        }
        let mut start = std::mem::take(&mut automaton.start);
        automaton.pass_depths(&mut start);
        automaton.start = start;
        automaton
    }

    /// The set of the whole document.
    #[must_use]
    pub fn start(&self) -> &[u64] {
        &self.start
    }

    /// Words of a set.
    #[must_use]
    pub fn words(&self) -> usize {
        self.words
    }

    /// Whether some rule names the index of an element.
    #[must_use]
    pub fn has_index(&self) -> bool {
        self.has_index
    }

    /// The place of `name` in the last of `sets`; its own set is appended where it is watched.
    pub fn enter<'a>(&'a self, sets: &mut Vec<u64>, name: &str) -> Place<'a> {
        let named = self.names.get(name);
        let before = sets.len();
        let from = before.saturating_sub(self.words);
        let mut carry = 0;
        let mut is_ended = false;
        for word in 0..self.words {
            let at = |set: &[u64]| set.get(word).copied().unwrap_or(0);
            let now = sets.get(from + word).copied().unwrap_or(0);
            let matched = now & (at(&self.any) | named.map_or(0, |set| at(set)));
            let next = (matched << 1) | carry | (now & at(&self.deep));
            carry = matched >> 63;
            is_ended |= next & at(&self.ends) != 0;
            sets.push(next);
        }
        if is_ended {
            let mask = sets.get(before..).and_then(|set| self.mask(set));
            sets.truncate(before);
            return mask.map_or(Place::Free, Place::Hidden);
        }
        let Some(next) = sets.get_mut(before..) else { return Place::Free };
        self.pass_depths(next);
        if next.iter().all(|word| *word == 0) {
            sets.truncate(before);
            return Place::Free;
        }
        Place::Watched
    }

    /// The strictest mask of the rules that end in a set.
    fn mask(&self, set: &[u64]) -> Option<&Mask> {
        let is_set = |bit: &usize| set.get(bit / 64).is_some_and(|word| word & (1 << (bit % 64)) != 0);
        let ended = self.masks.iter().enumerate().filter(|(bit, _)| is_set(bit));
        ended.filter_map(|(_, mask)| mask.as_ref()).max()
    }

    /// "Any depth" is none too: what follows it is compared as well. It never follows itself.
    fn pass_depths(&self, set: &mut [u64]) {
        let mut carry = 0;
        for (word, deep) in set.iter_mut().zip(&self.deep) {
            let passed = *word & deep;
            *word |= (passed << 1) | carry;
            carry = passed >> 63;
        }
    }
}

fn set(set: &mut [u64], bit: usize) {
    if let Some(word) = set.get_mut(bit / 64) {
        *word |= 1 << (bit % 64);
    }
}
