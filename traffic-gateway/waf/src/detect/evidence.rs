//! What a grammar found.

use std::ops::Range;

/// How sure a grammar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grade {
    /// Has the shape of an attack, and now and then ordinary values have it too: source code, configuration, tutorials.
    Likely,
    /// Hardly anything but an attack looks like this.
    Certain,
}

impl Grade {
    /// Reads the argument of an operator: the least grade that counts. Nothing means every grade.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        match name.trim() {
            "" | "likely" => Some(Self::Likely),
            "certain" => Some(Self::Certain),
            _ => None,
        }
    }
}

/// What a grammar found in a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is, in a few words for the log.
    pub what: &'static str,
    /// How sure the grammar is.
    pub grade: Grade,
    /// The bytes that show it.
    pub at: Range<usize>,
}

impl Finding {
    pub(super) const fn certain(what: &'static str, at: Range<usize>) -> Self {
        Self { what, grade: Grade::Certain, at }
    }

    pub(super) const fn likely(what: &'static str, at: Range<usize>) -> Self {
        Self { what, grade: Grade::Likely, at }
    }
}

/// The best finding so far of a grammar that looks at several places.
#[derive(Debug, Default)]
pub(super) struct Best(Option<Finding>);

impl Best {
    /// Keeps a finding if it is of a higher grade than the one kept; says whether it is certain, so that looking further
    /// is pointless.
    pub(super) fn keep(&mut self, found: Option<Finding>) -> bool {
        if let Some(found) = found
            && self.0.as_ref().is_none_or(|kept| kept.grade < found.grade)
        {
            self.0 = Some(found);
        }
        self.0.as_ref().is_some_and(|kept| kept.grade == Grade::Certain)
    }

    pub(super) fn into_finding(self) -> Option<Finding> {
        self.0
    }
}
