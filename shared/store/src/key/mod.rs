//! The names of all Redis keys: the only place where they are put together.
//!
//! | key | type | life | owner |
//! |---|---|---|---|
//! | `gh:e:{block}` | hash: network → record, `@head` | for ever | edge |
//! | `gh:e:{block}:log` | stream of changes, capped | for ever | edge |
//! | `gh:e:limit:{NAME}:WINDOW` | hash: `KEY@PROCESS` → count, `KEY` → sum | two windows | edge |
//! | `gh:e:cut` | hash: route → record | a day after its end | edge |
//! | `gh:e:nodes` | sorted set: node → heartbeat | for ever | edge |
//! | `gh:b:{catalog}` | string: current revision | for ever | business |
//! | `gh:b:{catalog}:REV` | hash: head, document, key, HMAC | the last N revisions | business |
//! | `gh:b:{catalog}:log` | sorted set: revisions kept | for ever | business |
//! | `gh:b:app:{KEY}` | hash: sealed record, version | for ever | business |
//! | `gh:b:apps` | sorted set: all app keys | for ever | business |
//! | `gh:b:session:{APP}:ID` | hash: sealed record, version | until it ends | business |
//! | `gh:b:subject:{HASH}` | hash: sealed record, version | for ever | business |
//! | `gh:b:changes` | stream of (kind, key, version), capped | for ever | business |
//! | `gh:b:quota:{RULE:SUBJECT}:WINDOW` | hash: `total`, `@PROCESS` → its leases | window + 1 day | business |
//! | `gh:b:quota:{RULE}:WINDOW` | hash: `KEY@PROCESS` → count, `KEY` → sum | two windows | business |
//! | `gh:b:nonce:{KEYID}:NONCE` | string | 2 × clock window | business |
//! | `gh:b:bloom` | string: filter snapshot and revision | for ever | business |
//! | `gh:b:shed` | hash: group → record | a day after its end | business |
//! | `gh:b:registry:{NAME}` | sorted set: endpoint → end | an hour after its end | business, services |
//! | `gh:b:nodes` | sorted set: node → heartbeat | for ever | business |
//! | `gh:b:cache:{API}:HASH` | string: stored answer | by rule | business |
//! | `gh:b:purges` | stream of (kind, name), capped | for ever | business |
//!
//! What stands in braces is the *hash tag*: a Cluster places a key by it alone, so that all windows of one limit, or all
//! nonces of one key, are on one node and a script can touch them together. A name from outside may contain braces,
//! colons or anything else; it is percent-encoded, so that two different names never give one key and nobody can choose
//! where a key is placed. Each tier writes to its own prefix only, which is what its ACL user is limited to.

mod business;
mod edge;

use std::fmt;

/// A tier, by the keys it may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Keys that begin with `gh:e:`.
    Edge,
    /// Keys that begin with `gh:b:`.
    Business,
}

impl Owner {
    /// What all keys of the tier begin with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Owner::Edge => "gh:e:",
            Owner::Business => "gh:b:",
        }
    }

    /// The key pattern of the tier's ACL user.
    #[must_use]
    pub const fn acl_pattern(self) -> &'static str {
        match self {
            Owner::Edge => "~gh:e:*",
            Owner::Business => "~gh:b:*",
        }
    }
}

/// A part of a key that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// An empty name would give the empty hash tag, which a Cluster ignores.
    #[error("a name in a store key must not be empty")]
    Empty,
    /// Longer than 512 bytes.
    #[error("a name in a store key must not be longer than {MAX_PART} bytes")]
    TooLong,
}

/// Longest name from outside, in bytes before encoding.
const MAX_PART: usize = 512;

/// The name of a Redis key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Which tier owns the key.
    #[must_use]
    pub fn owner(&self) -> Owner {
        if self.0.starts_with(Owner::Edge.prefix()) { Owner::Edge } else { Owner::Business }
    }

    /// What a Cluster places the key by: the text in its first braces, or all of it.
    #[must_use]
    pub fn hash_tag(&self) -> &str {
        let tag = self.0.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
        tag.filter(|tag| !tag.is_empty()).unwrap_or(&self.0)
    }

    fn fixed(owner: Owner, name: &str) -> Self {
        Self(format!("{}{name}", owner.prefix()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A name from outside as part of a key: everything but letters, digits, `-`, `_`, `.` and `/` is percent-encoded.
fn part(name: &str) -> Result<String, KeyError> {
    match name.len() {
        0 => return Err(KeyError::Empty),
        1..=MAX_PART => {}
        _ => return Err(KeyError::TooLong),
    }
    let mut part = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => part.push(char::from(byte)),
            byte => part.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(part)
}

#[cfg(test)]
mod tests;
