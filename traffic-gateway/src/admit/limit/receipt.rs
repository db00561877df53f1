//! What a request carries of the limits it has met: for what is counted when it ends, and for the fields that tell its
//! client where it stands.

use gatehouse_shared::limit::{Key, push_field};

use super::counter::{Counted, Moment};

/// Most limits that clients are told about.
pub(super) const TOLD_MAX: usize = 8;

/// The limits that a request has met, in the order of looking. Without limits it allocates nothing.
#[derive(Debug, Default)]
pub struct Receipt {
    pub(super) met: Vec<Met>,
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
    /// Whether the client is told.
    pub(super) is_told: bool,
    /// What is left, and the seconds until all is available again.
    pub(super) remaining: u64,
    pub(super) reset_seconds: u64,
}

impl Receipt {
    /// The limits that the client is told about.
    pub(super) fn told(&self) -> impl Iterator<Item = &Met> {
        self.met.iter().filter(|met| met.is_told).take(TOLD_MAX)
    }
}

impl Met {
    /// Writes the member of `RateLimit` for the limit of this name, as [`gatehouse_shared::limit::Decision::field`] does.
    pub(super) fn write_field(&self, out: &mut String, name: &str) {
        push_field(out, name, self.remaining, self.reset_seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is allocated for a request that meets twenty limits is below one kilobyte.
    #[test]
    fn what_was_met_is_small() {
        assert!(size_of::<Met>() <= 48, "{}", size_of::<Met>());
    }
}
