//! What a case is.

use super::Ids;

/// A request and what is expected of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What this traffic is, or what the attack does: the comment of the case, its lines joined.
    pub name: String,
    /// The line it begins in, counted from 1.
    pub line: usize,
    /// What is sent.
    pub request: Request,
    /// Whether it passes.
    pub expected: Expected,
    /// Rules that must match.
    pub must: Vec<Ids>,
    /// Rules that must not match.
    pub must_not: Vec<Ids>,
}

/// A verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The request goes on.
    Pass,
    /// It does not.
    Deny,
}

/// A request as it is on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: Vec<u8>,
    /// Its target, nothing decoded.
    pub target: Vec<u8>,
    /// Its version, such as `HTTP/1.1`.
    pub version: Vec<u8>,
    /// Names and values of its header fields, in order.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Its body, without a transfer coding.
    pub body: Vec<u8>,
}

impl Request {
    /// Whether there is a header field of this name, in any case.
    #[must_use]
    pub fn has_field(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// The message with its line ends, to be written to a connection.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [self.method.as_slice(), b" ", &self.target, b" ", &self.version, b"\r\n"].concat();
        for (name, value) in &self.fields {
            for part in [name.as_slice(), b": ", value, b"\r\n"] {
                bytes.extend_from_slice(part);
            }
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}
