//! All patterns of a kind: those that are enforced in one pass, and each list that only observes in one of its own, so that
//! none hides another.

use std::sync::Arc;

use gatehouse_shared::config::ConfigErrors;

use super::finding::Finding;
use super::pattern::{Dialect, Patterns, Written};
use crate::admit::Mode;

/// The patterns of one kind.
#[derive(Debug)]
pub(super) struct Matchers {
    enforced: Patterns,
    observed: Box<[Patterns]>,
}

impl Matchers {
    /// Compiles the patterns of one kind; those of a list stand together.
    ///
    /// # Errors
    /// Every pattern that is none.
    pub(super) fn compile(dialect: Dialect, written: Vec<Written>) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let is_enforced = |written: &Written| written.terms().mode == Mode::Enforce;
        let (enforced, observed): (Vec<Written>, Vec<Written>) = written.into_iter().partition(is_enforced);
        let same_list = |a: &Written, b: &Written| Arc::ptr_eq(a.terms(), b.terms());
        let observed = observed.chunk_by(same_list).map(|list| Patterns::compile(dialect, list.to_vec()));
        let observed: Vec<_> = observed.filter_map(|patterns| errors.collect(patterns)).collect();
        let enforced = errors.collect(Patterns::compile(dialect, enforced));
        let Some(enforced) = enforced else { return Err(errors) };
        errors.into_result(Self { enforced, observed: observed.into_boxed_slice() })
    }

    /// The enforced pattern that fits; those that only observe and fit as well are shown to `observe`.
    pub(super) fn find<'a>(&'a self, text: &[u8], observe: &mut impl FnMut(Finding<'a>)) -> Option<Finding<'a>> {
        self.observed.iter().filter_map(|patterns| patterns.find(text)).for_each(observe);
        self.enforced.find(text)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.enforced.is_empty() && self.observed.is_empty()
    }
}
