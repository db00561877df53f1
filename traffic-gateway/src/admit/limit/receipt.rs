//! What a request carries of the limits it has met: for what is counted when it ends, and for the fields that tell its
//! client where it stands.

use gatehouse_shared::limit::{Decision, Key, push_field};

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
    /// Keeps what a limit has said.
    pub(super) fn add(&mut self, met: Met, decision: &Decision) {
        let (remaining, reset_seconds) = (decision.remaining, decision.reset_seconds());
        self.met.push(Met { remaining, reset_seconds, ..met });
    }

    /// The limits that the client is told about.
    pub(super) fn told(&self) -> impl Iterator<Item = &Met> {
        self.met.iter().filter(|met| met.is_told).take(TOLD_MAX)
    }
}

impl Met {
    /// Writes the member of `RateLimit` for the limit of this name, as [`Decision::field`] does.
    pub(super) fn write_field(&self, out: &mut String, name: &str) {
        push_field(out, name, self.remaining, self.reset_seconds);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn fields_are_those_of_the_decision() {
        let decision = Decision {
            allowed: true,
            remaining: 7,
            reset_after: Duration::from_millis(1_500),
            retry_after: None,
            banned_until: None,
        };
        let mut receipt = Receipt::default();
        let key = Key::default();
        let met = Met { limit: 0, key, counted: None, is_tried: false, is_told: true, remaining: 0, reset_seconds: 0 };
        receipt.add(met, &decision);
        receipt.add(Met { is_told: false, ..met }, &decision);
        assert_eq!(receipt.told().count(), 1);
        let mut field = String::new();
        receipt.met[0].write_field(&mut field, "a");
        assert_eq!(field, decision.field("a"));
    }

    /// A request with twenty limits allocates less than two kilobytes for it.
    #[test]
    fn what_was_met_is_small() {
        assert!(size_of::<Met>() <= 64, "{}", size_of::<Met>());
    }
}
