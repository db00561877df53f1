//! Is it a request that this gate carries at all?
//!
//! CONNECT asks for a tunnel, which this is not. Upgrade, WebSocket among it, is refused because tier two is not asked:
//! over h2c the request would lose its meaning.

use std::time::Instant;

use gatehouse_shared::problem;
use http::Method;

use super::{Denial, RequestView, Stage, Verdict};

/// The stage; nothing about it can be configured.
#[derive(Debug)]
pub struct Protocol;

impl Stage for Protocol {
    const NAME: &'static str = "protocol";

    fn check(&self, request: &RequestView<'_>, _now: Instant) -> Verdict {
        if *request.method() == Method::CONNECT {
            return Verdict::Deny(Denial::from(&problem::CONNECT_UNSUPPORTED));
        }
        if request.message().upgrade {
            return Verdict::Deny(Denial::from(&problem::UPGRADE_UNSUPPORTED));
        }
        Verdict::Pass
    }
}
