//! What a line says, whatever its fields are called.

use std::net::SocketAddr;

use gatehouse_shared::problem::Reason;

use crate::admit::{Action, Evidence, Mode};

/// Most bytes of a target that are written.
pub const TARGET_MAX: usize = 1_024;

/// Most bytes that are written of any other text of a client.
pub const TEXT_MAX: usize = 256;

/// One denial.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// When the request began, Unix milliseconds.
    pub unix_ms: u64,
    /// The id the client was told; `None` where there was no request.
    pub request_id: Option<&'a str>,
    /// The W3C trace id.
    pub trace_id: Option<&'a str>,
    /// Name of this node.
    pub node: &'a str,
    /// The client as derived; `None` where several are meant.
    pub client: Option<SocketAddr>,
    /// The other end of the socket, when that is not the client.
    pub peer: Option<SocketAddr>,
    /// The address the client connected to.
    pub local: SocketAddr,
    /// `HTTP/1.1`, `HTTP/2`, …; `None` where there was no request.
    pub protocol: Option<&'static str>,
    /// TLS version.
    pub tls: Option<&'static str>,
    /// Method, authority, raw target and User-Agent as sent; `None` where there was no request.
    pub asked: Option<Asked<'a>>,
    /// Name of the route.
    pub route: Option<&'a str>,
    /// The stage that refused.
    pub stage: &'a str,
    /// Why.
    pub reason: &'static Reason,
    /// What is particular about this case.
    pub detail: Option<&'a str>,
    /// Whether it had an effect.
    pub mode: Mode,
    /// How the client was answered, or would have been.
    pub action: Action,
    /// The status sent: 0 for none, in observe mode whatever became of the request.
    pub status: u16,
    /// What led to it.
    pub evidence: Option<&'a Evidence>,
    /// How many more refused connections this line stands for, and since when (Unix milliseconds).
    pub repeated: Option<(u64, u64)>,
}

impl Record<'_> {
    /// The detail within the bounds of a line: it may repeat what the client sent.
    pub(super) fn bounded_detail(&self) -> Option<&[u8]> {
        self.detail.map(|detail| cut(detail.as_bytes(), TEXT_MAX))
    }
}

/// What was asked for, as sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The authority.
    pub host: &'a [u8],
    /// The target.
    pub target: &'a [u8],
    /// The User-Agent header.
    pub user_agent: Option<&'a [u8]>,
}

impl<'a> Asked<'a> {
    /// The same within the bounds of a line.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self {
            method: cut(self.method, TEXT_MAX),
            host: cut(self.host, TEXT_MAX),
            target: cut(self.target, TARGET_MAX),
            user_agent: self.user_agent.map(|agent| cut(agent, TEXT_MAX)),
        }
    }
}

/// The first `most` bytes, and not a part of a character where the text is UTF-8.
#[must_use]
pub fn cut(bytes: &[u8], most: usize) -> &[u8] {
    let Some(kept) = bytes.get(..most) else { return bytes };
    match std::str::from_utf8(kept) {
        Err(error) if error.error_len().is_none() => kept.get(..error.valid_up_to()).unwrap_or(kept),
        _ => kept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_between_characters_and_leaves_what_is_short() {
        assert_eq!(cut("aüb".as_bytes(), 2), b"a");
        assert_eq!(cut("aüb".as_bytes(), 3), "aü".as_bytes());
        assert_eq!(cut("aüb".as_bytes(), 4), "aüb".as_bytes());
        assert_eq!(cut(b"\xff\xff\xff", 2), b"\xff\xff");
    }
}
