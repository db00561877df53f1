//! Is there a route for it?
//!
//! The route is looked for before any stage is asked, so that rules and limits can name it; that there is none is said only
//! after them, so that a scanner of unknown paths is counted like everybody else.

use std::time::Instant;

use gatehouse_shared::problem;

use super::{Denial, RequestView, Stage, Verdict};

/// The stage; nothing about it can be configured.
#[derive(Debug)]
pub struct Destination;

impl Stage for Destination {
    const NAME: &'static str = "route";

    fn check(&self, request: &RequestView<'_>, _now: Instant) -> Verdict {
        match request.route() {
            Some(_) => Verdict::Pass,
            None => Verdict::Deny(Denial::from(&problem::ROUTE_NOT_FOUND)),
        }
    }
}
