//! HTTP Message Signatures (RFC 9421), the main scheme: HMAC-SHA-256 with an app's secret, or Ed25519 with its public key.
//!
//! Which of the two it is says the app's record and the length of the signature, never the `alg` that a caller may write: an
//! app's secrets are only ever used for HMAC and its public keys only for Ed25519, so there is nothing to confuse. The path and
//! the query are signed as they were sent, before anybody made them canonical.
//!
//! What must be covered: `@method`, `@authority`, `@path`, `@query`; with a body `content-digest` too, and `content-type` where
//! there is one. What must be said: `created`, `nonce`, `keyid`; `expires`, `alg` and `tag` may be.

mod components;
mod plain;
mod parse;
mod base;
mod sign;

use std::borrow::Cow;

use gatehouse_shared::hop::Scheme;
use http::header::AsHeaderName;
use http::{HeaderMap, HeaderName, Uri};

pub use components::Components;
pub use parse::{Headers, Input, Proof};
pub use sign::{NewSignature, SigningKey, sign};

use super::Malformed;

/// The header with what is covered.
pub const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
/// The header with the signature itself.
pub const SIGNATURE: HeaderName = HeaderName::from_static("signature");

/// What the algorithm is called in `alg` and in records.
pub const HMAC_SHA256: &str = "hmac-sha256";
/// The same of the other one.
pub const ED25519: &str = "ed25519";

/// The parts of a request that can be signed.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The method.
    pub method: &'a str,
    /// How the client reached the edge.
    pub scheme: Scheme,
    /// The authority that the client named.
    pub authority: &'a str,
    /// The target as it was sent.
    pub uri: &'a Uri,
    /// The header fields.
    pub headers: &'a HeaderMap,
}

impl Input<'_> {
    /// Whether a component is covered.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        self.components.contains(name)
    }

    /// Checks that everything is said, and everything covered which somebody could change otherwise.
    ///
    /// # Errors
    /// When a parameter or a component is missing.
    pub fn check(&self, headers: &HeaderMap, has_body: bool) -> Result<(), Malformed> {
        if self.created.is_none() || self.nonce.is_empty() || self.key_id.is_empty() {
            return Err(Malformed("Signature-Input lacks created, nonce or keyid"));
        }
        for name in ["@method", "@authority", "@path", "@query"] {
            if !self.covers(name) {
                return Err(Malformed("the signature does not cover @method, @authority, @path and @query"));
            }
        }
        if has_body && !self.covers(super::digest::CONTENT_DIGEST) {
            return Err(Malformed("the signature of a request with a body does not cover content-digest"));
        }
        if has_body && headers.contains_key(http::header::CONTENT_TYPE) && !self.covers("content-type") {
            return Err(Malformed("the signature of a request with a body does not cover content-type"));
        }
        Ok(())
    }

    /// Whether it was made within `window_s` seconds of `now_s`, and has not expired.
    #[must_use]
    pub fn is_current(&self, now_s: u64, window_s: u64) -> bool {
        let created = self.created.unwrap_or_default();
        created.abs_diff(now_s) <= window_s && self.expires.is_none_or(|expires| expires > now_s)
    }

    /// The app key and, where it is named, the key of the app: `keyid` is `APPKEY` or `APPKEY/KEYID`.
    #[must_use]
    pub fn key(&self) -> (&str, Option<&str>) {
        match self.key_id.split_once('/') {
            Some((app, key)) => (app, Some(key)),
            None => (&self.key_id, None),
        }
    }

    /// The text that is signed, with one line for each component.
    ///
    /// # Errors
    /// When a covered header is not there.
    pub fn base(&self, message: &Message<'_>) -> Result<Vec<u8>, Malformed> {
        base::write(self.components.iter(), &self.parameters, message)
    }
}

/// The values of a header field as one, which is how they are signed and parsed (RFC 9421, section 2.1); `None` without one.
pub(super) fn joined(headers: &HeaderMap, name: impl AsHeaderName) -> Option<Cow<'_, [u8]>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.as_bytes().trim_ascii();
    let Some(second) = values.next() else { return Some(Cow::Borrowed(first)) };
    let mut all = first.to_vec();
    for value in std::iter::once(second).chain(values) {
        all.extend_from_slice(b", ");
        all.extend_from_slice(value.as_bytes().trim_ascii());
    }
    Some(Cow::Owned(all))
}

#[cfg(test)]
mod tests;
