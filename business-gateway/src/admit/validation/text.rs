//! What clients write in queries, forms and paths: names and values, percent-encoded.

use std::borrow::Cow;

/// What a plus sign means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plus {
    /// A space, as in forms and queries.
    Space,
    /// Itself, as in paths.
    Itself,
}

/// A text without its percent-encoding; `None` where that is broken, or what it encodes is no UTF-8.
#[must_use]
pub fn decoded(text: &str, plus: Plus) -> Option<Cow<'_, str>> {
    let is_plain = |byte: u8| byte != b'%' && (byte != b'+' || plus == Plus::Itself);
    if text.bytes().all(is_plain) {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let (high, low) = (hex(bytes.next()?)?, hex(bytes.next()?)?);
                out.push(high << 4 | low);
            }
            b'+' if plus == Plus::Space => out.push(b' '),
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The pairs of a query or form as they are written, empty ones left out.
pub fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn broken_encoding_is_none() {
        assert_eq!(decoded("a+b%20c%C3%A4", Plus::Space).as_deref(), Some("a b cä"));
        assert_eq!(decoded("a+b", Plus::Itself).as_deref(), Some("a+b"));
        for text in ["%", "%2", "%zz", "%ff", "a%+1", "%C3"] {
            assert_eq!(decoded(text, Plus::Space), None, "{text}");
        }
        let found: Vec<_> = pairs("a=1&&b&=2&c=d=e").collect();
        assert_eq!(found, [("a", "1"), ("b", ""), ("", "2"), ("c", "d=e")]);
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(text in any::<String>()) {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let back = decoded(&encoded, Plus::Space);
            prop_assert_eq!(back.as_deref(), Some(text.as_str()));
        }
    }
}
