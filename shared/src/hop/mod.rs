//! What the two tiers say to each other: a signed header in one direction, a result header in the other.
//!
//! The edge signs a [`Hop`] with [`HopKeys::sign`] and sends it as [`HOP_HEADER`]; the business tier takes it apart with
//! [`HopKeys::verify`] and refuses the request when it cannot. The header is an RFC 9651 dictionary whose members come in
//! one fixed order, each after a comma without a space, because every byte costs both tiers time:
//!
//! ```text
//! v=2,kid="a",rid="0193…",age=12,client="192.0.2.1:4711",https,tls="1.3",
//! subject=%"CN=shop",fp="9f86…",path="/orders/7",left=29990,edge="edge-1",held,sig=:BASE64:
//! ```
//!
//! What goes without saying is left out: `age`, the milliseconds between the time in the request id and the signing, when there
//! are none; `https`, `tls`, `subject`, `fp` and `held` where they do not apply; `path` where it is the raw target up to its
//! query. A hop expires [`LIFETIME`] after it was signed. The signature is HMAC-SHA-256, cut to its first 16 bytes, over the
//! header text up to `,sig=`, then `\n`, the method, `\n`, the authority, `\n` and the raw target: nothing of the request line
//! and nothing the edge says about the client can be changed or reused for another request.
//!
//! The business tier also reads version 1, which says all of it in every hop, with `exp` for `age`, `scheme` for `https`, a space after
//! each comma and all 32 bytes of the signature.

mod encode;
mod keys;
mod parse;
mod result;

pub use keys::{HopKey, HopKeyConfig, HopKeys, HopKeysError};
pub use parse::HopError;
pub use result::{Auth, HopResult, Origin, Retry};

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::id::RequestId;

/// The header from the edge to the business tier.
pub const HOP_HEADER: &str = "x-gatehouse-hop";
/// The header from the business tier back to the edge.
pub const RESULT_HEADER: &str = "x-gatehouse-result";
/// The protocol version written. A tier accepts this one and the previous one.
pub const VERSION: u8 = 2;
/// A hop is refused this long after it was issued.
pub const LIFETIME: Duration = Duration::from_millis(LIFETIME_MS);
const LIFETIME_MS: u64 = 10_000;
/// How far the clocks of two fleets may differ.
pub const ALLOWED_SKEW: Duration = Duration::from_secs(5);

/// How the client reached the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the edge says about a request, to be signed.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// The request id.
    pub request_id: RequestId,
    /// The client's address as derived, with its port.
    pub client: SocketAddr,
    /// How the client reached the edge.
    pub scheme: Scheme,
    /// The TLS version, such as `1.3`.
    pub tls: Option<&'a str>,
    /// The subject of the verified client certificate.
    pub subject: Option<&'a str>,
    /// The SHA-256 fingerprint of the verified client certificate, in hexadecimal digits.
    pub fingerprint: Option<&'a str>,
    /// The canonical path: the only one that routing and permission look at.
    pub path: &'a str,
    /// What is left of the deadline at sending.
    pub left: Duration,
    /// The name of the edge node, for logs.
    pub edge: &'a str,
    /// The body is held back until it has been inspected: nothing may be charged before it flows.
    pub held: bool,
}

/// A hop whose signature and time are right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedHop {
    /// The request id.
    pub request_id: RequestId,
    /// The client's address as the edge derived it, with its port.
    pub client: SocketAddr,
    /// How the client reached the edge.
    pub scheme: Scheme,
    /// The TLS version, such as `1.3`.
    pub tls: Option<Box<str>>,
    /// The subject of the client certificate that the edge verified.
    pub subject: Option<Box<str>>,
    /// The SHA-256 fingerprint of that certificate, in hexadecimal digits.
    pub fingerprint: Option<Box<str>>,
    /// The canonical path.
    pub path: Box<str>,
    /// What was left of the deadline when the edge sent the request.
    pub left: Duration,
    /// The name of the edge node.
    pub edge: Box<str>,
    /// When the hop expires, in Unix milliseconds.
    pub expires_unix_ms: u64,
    /// The body is held back until the edge has inspected it.
    pub held: bool,
}

/// Whether a header name belongs to the family that only the tiers may send: `x-gatehouse-…` in any case, with `_` for
/// `-` too.
#[must_use]
pub fn is_internal(name: &str) -> bool {
    const FAMILY: &[u8] = b"x-gatehouse";
    let name = name.as_bytes();
    let same = |(byte, expected): (&u8, &u8)| match byte {
        b'_' => *expected == b'-',
        byte => byte.to_ascii_lowercase() == *expected,
    };
    name.len() >= FAMILY.len()
        && matches!(name.first(), Some(b'x' | b'X'))
        && name.iter().zip(FAMILY).all(same)
        && name.get(FAMILY.len()).is_none_or(|byte| matches!(byte, b'-' | b'_'))
}

/// What a raw target says before its query.
fn path_of(raw_target: &str) -> &str {
    raw_target.split_once('?').map_or(raw_target, |(path, _)| path)
}

#[cfg(test)]
mod tests;
