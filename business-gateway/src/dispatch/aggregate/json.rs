//! What is asked of JSON before anything is made of it.

use serde::de::IgnoredAny;

/// Bytes that an object takes as a value, with its first eleven members: a node of a tree, and what points to it.
const OBJECT: usize = 640;
/// Bytes that a list takes.
const LIST: usize = 64;
/// Bytes that each member of an object takes in a large one, where nodes are half full.
const MEMBER: usize = 96;
/// Bytes that each entry of a list takes, which may have grown to twice its length.
const ENTRY: usize = 48;

/// Whether objects and lists stand at most `most` deep inside of one another; of what is not JSON the answer means nothing.
#[must_use]
pub fn is_flat(text: &[u8], most: usize) -> bool {
    weight(text, most).is_some()
}

/// Bytes that JSON takes at most once it is a value: a short text can make a large one. `None` where objects and lists stand more
/// than `most` deep inside of one another. Takes one look at every byte.
#[must_use]
pub fn weight(text: &[u8], most: usize) -> Option<usize> {
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    let mut weight = text.len();
    for byte in text {
        match (byte, is_text) {
            _ if is_escaped => is_escaped = false,
            (b'\\', true) => is_escaped = true,
            (b'"', _) => is_text = !is_text,
            (b'{' | b'[', false) => {
                depth += 1;
                if depth > most {
                    return None;
                }
                weight = weight.saturating_add(if *byte == b'{' { OBJECT } else { LIST });
            }
            (b':', false) => weight = weight.saturating_add(MEMBER),
            (b',', false) => weight = weight.saturating_add(ENTRY),
            (b'}' | b']', false) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Some(weight)
}

/// Whether it is one value of JSON in UTF-8. Builds nothing.
#[must_use]
pub fn is_valid(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_of_texts() {
        assert!(is_flat(br#"{"a[[[": ["\"[[["]}"#, 2));
        assert!(!is_flat(b"[[[]]]", 2) && is_flat(b"[[],[]]", 2));
        assert!(!is_flat(&b"[".repeat(100_000), 64));
    }

    #[test]
    fn small_objects_weigh_more_than_their_text() {
        assert_eq!(weight(br#""{[,:""#, 1), Some(6));
        assert_eq!(weight(br#"{"a":[1,2]}"#, 2), Some(11 + OBJECT + LIST + MEMBER + ENTRY));
    }

    #[test]
    fn what_is_not_json_is_found() {
        for right in ["1", " {\"a\": [null]} ", "\"\u{1f600}\""] {
            assert!(is_valid(right.as_bytes()), "{right}");
        }
        for wrong in [&b""[..], b"1 2", b"{", b"\"\xff\"", b"\"\x01\"", b"NaN"] {
            assert!(!is_valid(wrong), "{wrong:?}");
        }
    }
}
