//! What a request carries of the limits it has met: for what is counted when it ends, and for the fields that tell its
//! client where it stands.

use std::io;

use gatehouse_shared::limit::{Key, write_field};

use super::counter::{Counted, Moment};

/// Most limits that clients are told about.
pub(super) const TOLD_MAX: usize = 8;
/// The longest that `RateLimit` can be about so many: a name is at most 64 bytes, and there are commas between.
pub(super) const FIELD_MAX: usize = TOLD_MAX * 94;

/// The limits that a request has met, in the order of looking, apart from those that it has passed and of which nobody is
/// told: nothing is left to be done about these. Without others it allocates nothing.
#[derive(Debug, Default)]
pub struct Receipt {
    pub(super) met: Vec<Met>,
    /// How many of them the client is told about.
    pub(super) told: usize,
    /// When; `None` when no limit was asked.
    pub(super) at: Option<Moment>,
}

/// One limit that a request has met.
#[derive(Debug, Clone, Copy)]
pub(super) struct Met {
    /// Its position among the limits of the generation.
    pub(super) limit: u16,
    pub(super) key: Key,
    /// Where the request was counted, if it was at once.
    pub(super) counted: Option<Counted>,
    /// Whether the request brings credentials to a limit on those that do not.
    pub(super) is_tried: bool,
    /// Whether something may be left to count when the request ends.
    pub(super) counts_later: bool,
    /// Whether the client is told.
    pub(super) is_told: bool,
    /// What is left, and the seconds until all is available again, where the client is told.
    pub(super) remaining: u32,
    pub(super) reset_seconds: u32,
}

impl Receipt {
    /// The limits that the client is told about.
    pub(super) fn told(&self) -> impl Iterator<Item = &Met> {
        self.met.iter().filter(|met| met.is_told).take(self.told.min(TOLD_MAX))
    }
}

impl Met {
    /// Writes the member of `RateLimit` for the limit of this name, as [`gatehouse_shared::limit::Decision::field`] does.
    pub(super) fn write_field(&self, out: &mut impl io::Write, name: &str) -> io::Result<()> {
        write_field(out, name, self.remaining.into(), self.reset_seconds.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is allocated for a request that meets twenty limits is below one kilobyte.
    #[test]
    fn what_was_met_is_small() {
        assert!(size_of::<Met>() <= 32, "{}", size_of::<Met>());
    }
}
