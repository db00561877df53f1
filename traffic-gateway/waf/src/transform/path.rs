//! `normalizePath` and `normalizePathWin`.

use memchr::memrchr;

use super::Changed;

/// `/a/./b//../c` → `/a/c`, `a/../../b` → `../b`.
///
/// `.` and empty segments go, `..` takes the segment before it along; at the root of an absolute path it vanishes, at
/// the beginning of a relative one it stays. A slash at the end stays unless the path becomes empty.
pub(super) fn normalize(value: &[u8], out: &mut Vec<u8>) -> Changed {
    if value.split(is_slash).all(is_name_or_empty) && !has_doubled_slash(value) {
        return Changed::No;
    }
    normalize_by(value, out, is_slash)
}

/// The same after turning backslashes into slashes: `\a\..\b` → `/b`.
pub(super) fn normalize_windows(value: &[u8], out: &mut Vec<u8>) -> Changed {
    if memchr::memchr(b'\\', value).is_none() {
        return normalize(value, out);
    }
    normalize_by(value, out, is_any_slash)
}

fn normalize_by(value: &[u8], out: &mut Vec<u8>, is_separator: fn(&u8) -> bool) -> Changed {
    out.reserve(value.len());
    let absolute = value.first().is_some_and(is_separator);
    if absolute {
        out.push(b'/');
    }
    // What stands before this length cannot be taken back: the root, or `..` at the beginning of a relative path.
    let mut fixed = out.len();
    for segment in value.split(is_separator) {
        match segment {
            b"" | b"." => {}
            b".." if out.len() > fixed => {
                let kept = out.get(fixed..).and_then(|tail| memrchr(b'/', tail)).unwrap_or_default();
                out.truncate(fixed + kept);
            }
            b".." if absolute => {}
            b".." => {
                push(segment, out);
                fixed = out.len();
            }
            _ => push(segment, out),
        }
    }
    if value.last().is_some_and(is_separator) && !out.is_empty() && out.last() != Some(&b'/') {
        out.push(b'/');
    }
    if out == value {
        out.clear();
        return Changed::No;
    }
    Changed::Yes
}

fn push(segment: &[u8], out: &mut Vec<u8>) {
    if out.last().is_some_and(|last| *last != b'/') {
        out.push(b'/');
    }
    out.extend_from_slice(segment);
}

fn is_name_or_empty(segment: &[u8]) -> bool {
    !matches!(segment, b"." | b"..")
}

fn has_doubled_slash(value: &[u8]) -> bool {
    value.iter().zip(value.iter().skip(1)).any(|(first, second)| *first == b'/' && *second == b'/')
}

const fn is_slash(byte: &u8) -> bool {
    *byte == b'/'
}

const fn is_any_slash(byte: &u8) -> bool {
    matches!(*byte, b'/' | b'\\')
}
