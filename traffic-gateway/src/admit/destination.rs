//! Is there a route for it?
//!
//! The route is looked for before any stage is asked, so that rules and limits can name it; that there is none is said only
//! after them, so that a scanner of unknown paths is counted like everybody else.

use std::time::Instant;

use gatehouse_shared::problem;

use super::{Denial, RequestView, Stage, Verdict};

/// The name of the stage.
pub const NAME: &str = "route";

/// The stage; nothing about it can be configured.
#[derive(Debug)]
pub struct Destination;

impl Stage for Destination {
    const NAME: &'static str = NAME;

    fn check(&self, request: &RequestView<'_>, _now: Instant) -> Verdict {
        match request.route() {
            Some(_) => Verdict::Pass,
            None => Verdict::Deny(Denial::from(&problem::ROUTE_NOT_FOUND)),
        }
    }
}
