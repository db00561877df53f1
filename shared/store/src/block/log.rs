//! Changes in their order.

use serde::{Deserialize, Serialize};

use super::Record;

/// The last change that a list contains. The mark is a random word that the change was given: two lists with the same head
/// have the same history, and a number that was given twice, as after a failover that lost changes, shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The number of the change; 0 before the first.
    pub revision: u64,
    /// Its mark; empty before the first.
    pub mark: String,
}

impl Head {
    /// From its stored form, `REVISION MARK`.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let (revision, mark) = text.split_once(' ')?;
        Some(Self { revision: revision.parse().ok()?, mark: mark.to_owned() })
    }
}

/// One change, for the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What was known before; `None`: nothing.
    pub before: Option<Record>,
    /// What is known since.
    pub after: Record,
}
