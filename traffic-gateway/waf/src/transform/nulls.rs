//! `removeNulls` and `replaceNulls`.

use memchr::memchr;

use super::Changed;

/// NUL bytes away.
pub(super) fn remove(value: &[u8], out: &mut Vec<u8>) -> Changed {
    if memchr(0, value).is_none() {
        return Changed::No;
    }
    out.extend(value.iter().copied().filter(|byte| *byte != 0));
    Changed::Yes
}

/// NUL bytes to spaces.
pub(super) fn replace(value: &[u8], out: &mut Vec<u8>) -> Changed {
    if memchr(0, value).is_none() {
        return Changed::No;
    }
    out.extend(value.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }));
    Changed::Yes
}
