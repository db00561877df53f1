//! What an operator wrote beside a network.

/// Who listed a network, why, and until when. Every part may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Note<'a> {
    /// From this time on, in Unix seconds, the entry does not count; `None`: it never expires. Times from 2106-02-07 on
    /// (4,294,967,295 s) are kept as "never".
    pub until: Option<u64>,
    /// Who answers for the entry.
    pub owner: Option<&'a str>,
    /// The ticket or case it belongs to.
    pub ticket: Option<&'a str>,
    /// Why it is there.
    pub reason: Option<&'a str>,
}
