//! Messages and connections for the tests of later steps.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64};

use gatehouse_shared::clock;
use http::HeaderMap;

use super::normalize;
use super::{Connection, Message};
use crate::policy::Policy;

/// What the way in makes of a whole HTTP/1 head under the default bounds, and its fields.
pub(crate) fn message(head: &str) -> (Message, HeaderMap) {
    let message = normalize::http1(head.as_bytes(), &policy().accept, local()).unwrap().message;
    let mut headers = HeaderMap::new();
    for (name, value) in head.lines().skip(1).filter_map(|line| line.split_once(':')) {
        headers.append(http::HeaderName::try_from(name).unwrap(), value.trim().parse().unwrap());
    }
    (message, headers)
}

/// The defaults, with one route for everything.
pub(crate) fn policy() -> &'static Policy {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    POLICY.get_or_init(super::tests::policy)
}

/// A plain HTTP/1 connection from `peer`.
pub(crate) fn connection(peer: SocketAddr) -> Connection {
    Connection {
        peer,
        source: peer,
        local: local(),
        listener: 0,
        tls: None,
        accepted_at: clock::now(),
        is_http2: false,
        requests: AtomicU64::new(1),
        has_logged_in: AtomicBool::default(),
    }
}

fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}
