//! Stand-in until the policy of the whole edge lands.

use super::accept;

/// Everything compiled from one configuration generation.
#[derive(Debug)]
pub struct Policy {
    /// Bounds and rules of the way in.
    pub accept: accept::Bounds,
}
