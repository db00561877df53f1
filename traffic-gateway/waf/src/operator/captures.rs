//! What a match leaves behind for `TX.0` to `TX.9`.

use std::ops::Range;

/// Groups a rule can read: `TX.0`, the whole match, to `TX.9`.
const GROUPS: usize = 10;

/// The groups of the last match, as ranges of the value it was found in.
#[derive(Clone, Debug)]
pub struct Captures {
    wanted: bool,
    groups: [Option<(usize, usize)>; GROUPS],
    count: usize,
    text: Vec<u8>,
    has_text: bool,
}

impl Captures {
    /// For a rule with `capture`.
    #[must_use]
    pub const fn wanted() -> Self {
        Self { wanted: true, groups: [None; GROUPS], count: 0, text: Vec::new(), has_text: false }
    }

    /// For a rule without it: nothing is kept, and matching is faster.
    #[must_use]
    pub const fn unwanted() -> Self {
        Self { wanted: false, groups: [None; GROUPS], count: 0, text: Vec::new(), has_text: false }
    }

    /// Whether groups are kept.
    #[must_use]
    pub const fn are_wanted(&self) -> bool {
        self.wanted
    }

    /// How many groups there are, 0 to 10. A group that took no part in the match counts.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes of a group; `value` is what was matched. A group that took no part in the match is empty.
    #[must_use]
    pub fn get<'a>(&'a self, group: usize, value: &'a [u8]) -> Option<&'a [u8]> {
        if group >= self.count {
            return None;
        }
        if self.has_text {
            return Some(&self.text);
        }
        match self.groups.get(group)? {
            Some((start, end)) => value.get(*start..*end),
            None => Some(&[]),
        }
    }

    /// Forgets the groups and keeps the memory.
    pub fn clear(&mut self) {
        self.count = 0;
        self.has_text = false;
        self.text.clear();
    }

    /// Adds a group; the eleventh and later ones are dropped.
    pub(super) fn push(&mut self, range: Option<Range<usize>>) {
        if let Some(group) = self.groups.get_mut(self.count)
            && self.wanted
        {
            *group = range.map(|range| (range.start, range.end));
            self.count += 1;
        }
    }

    /// Makes a text that is not part of the value the only group, such as the fingerprint of `@detectSQLi`.
    pub(super) fn set_text(&mut self, text: &[u8]) {
        self.clear();
        if self.wanted {
            self.text.extend_from_slice(text);
            self.has_text = true;
            self.count = 1;
        }
    }
}
