//! May it pass? What is refused before a route is looked for.
//!
//! Well-formedness is behind us ([`crate::accept`]); here it is decided whether a well-formed request is one that this
//! gate carries at all. A refusal is a [`Denial`]: one reason with a stable code, answered as a page by [`crate::answer`]
//! and named in the access log.

pub mod access;

use std::time::Duration;

use gatehouse_shared::problem::{self, Reason};

use crate::accept::Message;

/// Why a request goes no further, and what its client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Code, status and texts.
    pub reason: &'static Reason,
    /// What is particular about this case, for the client.
    pub detail: Option<String>,
    /// When it is worth trying again.
    pub retry_after: Option<Duration>,
}

impl From<&'static Reason> for Denial {
    fn from(reason: &'static Reason) -> Self {
        Self { reason, detail: None, retry_after: None }
    }
}

/// Judges a request by its head.
///
/// # Errors
///
/// * CONNECT: this gate is no tunnel.
/// * Upgrade, WebSocket among them: tier two is not asked, since over h2c the request would lose its meaning.
pub fn check(message: &Message) -> Result<(), Denial> {
    if message.method == http::Method::CONNECT {
        return Err(Denial::from(&problem::CONNECT_UNSUPPORTED));
    }
    if message.upgrade {
        return Err(Denial::from(&problem::UPGRADE_UNSUPPORTED));
    }
    Ok(())
}
