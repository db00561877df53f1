//! `lowercase` and `uppercase`: ASCII letters only, every other byte stands.

use super::Changed;

/// `TestCase` → `testcase`.
pub(super) fn lower(value: &[u8], out: &mut Vec<u8>) -> Changed {
    if !value.iter().any(u8::is_ascii_uppercase) {
        return Changed::No;
    }
    out.extend_from_slice(value);
    out.make_ascii_lowercase();
    Changed::Yes
}

/// `TestCase` → `TESTCASE`.
pub(super) fn upper(value: &[u8], out: &mut Vec<u8>) -> Changed {
    if !value.iter().any(u8::is_ascii_lowercase) {
        return Changed::No;
    }
    out.extend_from_slice(value);
    out.make_ascii_uppercase();
    Changed::Yes
}
