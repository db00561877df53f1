//! `md5` and `sha1`: digests as raw bytes, for rules that compare a value with known ones. Not for anything secret.

use sha1::Digest as _;

use super::Changed;

/// 16 bytes (RFC 1321).
pub(super) fn md5(value: &[u8], out: &mut Vec<u8>) -> Changed {
    out.extend_from_slice(&md5::Md5::digest(value));
    Changed::Yes
}

/// 20 bytes (RFC 3174).
pub(super) fn sha1(value: &[u8], out: &mut Vec<u8>) -> Changed {
    out.extend_from_slice(&sha1::Sha1::digest(value));
    Changed::Yes
}
