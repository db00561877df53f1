//! `length`: how many bytes a value has.

use super::Changed;

/// `0123456789abcdef` → `16`.
pub(super) fn length(value: &[u8], out: &mut Vec<u8>) -> Changed {
    out.extend_from_slice(value.len().to_string().as_bytes());
    Changed::Yes
}
