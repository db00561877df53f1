//! `Signature-Input` as the serialisation of RFC 9651 writes it, which is how nearly every client does. It is read in one pass,
//! and nothing of it is copied: what was written is what is signed.

use std::borrow::Cow;

use super::parse::{Input, LONGEST_INTEGER, Parameter, is_in_header_names};

/// The low bit of every byte of a word.
const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
/// The high bit of every byte of a word.
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Reads `Signature-Input` where it is in this form; `None` where it is not, or holds anything that has to be refused.
#[inline]
pub(super) fn read<'a>(text: &'a str, input: &mut Input<'a>) -> Option<()> {
    let (label, parameters) = cut_key(text)?;
    let parameters = parameters.strip_prefix('=')?;
    input.label = label;
    input.parameters = Cow::Borrowed(parameters);
    let mut rest = parameters.strip_prefix("(\"")?;
    loop {
        let (name, after) = cut_component(rest)?;
        input.components.push(name).ok()?;
        match after.strip_prefix("\" \"") {
            Some(next) => rest = next,
            None => break rest = after.strip_prefix("\")")?,
        }
    }
    while !rest.is_empty() {
        let (parameter, value) = cut_parameter(rest)?;
        if input.says(parameter) {
            return None;
        }
        if let Some(quoted) = value.strip_prefix('"') {
            let (value, after) = quoted.split_at_checked(unescaped(quoted.as_bytes()))?;
            input.set_text(parameter, Cow::Borrowed(value)).ok()?;
            rest = after.strip_prefix('"')?;
        } else {
            let (time, after) = cut_integer(value)?;
            input.set_time(parameter, time).ok()?;
            rest = after;
        }
    }
    Some(())
}

/// A key (RFC 9651, section 3.1.2) and what stands behind it.
#[inline]
fn cut_key(text: &str) -> Option<(&str, &str)> {
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte == b'*';
    let is_next = |byte: u8| is_first(byte) || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.');
    let bytes = text.as_bytes();
    let end = bytes.iter().position(|&byte| !is_next(byte))?;
    if bytes.first().copied().is_some_and(is_first) { text.split_at_checked(end) } else { None }
}

/// The name of a component, derived or of a header field, and what stands behind it, which has to be a quotation mark.
#[inline]
fn cut_component(text: &str) -> Option<(&str, &str)> {
    let Some(derived) = text.strip_prefix('@') else {
        let length = header_name(text.as_bytes());
        return if length > 0 { text.split_at_checked(length) } else { None };
    };
    // The first letters differ, so that one comparison is enough.
    match derived.as_bytes().first()? {
        b'm' => Some(("@method", derived.strip_prefix("method")?)),
        b'a' => Some(("@authority", derived.strip_prefix("authority")?)),
        b's' => Some(("@scheme", derived.strip_prefix("scheme")?)),
        b'p' => Some(("@path", derived.strip_prefix("path")?)),
        b'q' => Some(("@query", derived.strip_prefix("query")?)),
        b't' => Some(("@target-uri", derived.strip_prefix("target-uri")?)),
        _ => None,
    }
}

/// The name of a parameter with the marks around it, and what stands behind it.
#[inline]
fn cut_parameter(text: &str) -> Option<(Parameter, &str)> {
    match text.strip_prefix(';')?.as_bytes().first()? {
        b'c' => Some((Parameter::Created, text.strip_prefix(";created=")?)),
        b'e' => Some((Parameter::Expires, text.strip_prefix(";expires=")?)),
        b'n' => Some((Parameter::Nonce, text.strip_prefix(";nonce=")?)),
        b'k' => Some((Parameter::KeyId, text.strip_prefix(";keyid=")?)),
        b'a' => Some((Parameter::Algorithm, text.strip_prefix(";alg=")?)),
        b't' => Some((Parameter::Tag, text.strip_prefix(";tag=")?)),
        _ => None,
    }
}

/// An integer above zero without zeros in front, and what stands behind it.
#[inline]
fn cut_integer(text: &str) -> Option<(u64, &str)> {
    let (mut integer, mut length) = (0, 0);
    // One digit more than there may be is enough to see that there are too many, and too little to overflow.
    for byte in text.bytes().take(LONGEST_INTEGER + 1) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        integer = integer * 10 + u64::from(digit);
        length += 1;
    }
    if length == 0 || length > LONGEST_INTEGER || text.starts_with('0') {
        return None;
    }
    Some((integer, text.split_at_checked(length)?.1))
}

/// How many bytes at the start are those of the name of a header field.
#[inline]
fn header_name(bytes: &[u8]) -> usize {
    prefix(bytes, neither_letters_nor_hyphens, is_in_header_names)
}

/// How many bytes at the start stand for themselves in a string (RFC 9651, section 3.3.3).
#[inline]
fn unescaped(bytes: &[u8]) -> usize {
    prefix(bytes, not_unescaped, |byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
}

/// How many bytes at the start belong to something, for which `belongs` asks. Eight are looked at together as long as `others`
/// has no bit for any of them: names and nonces are most of the header. It must have one for the lowest byte of a word that does
/// not belong or for one below that; a bit too many only costs time.
#[inline]
fn prefix(bytes: &[u8], others: impl Fn(u64) -> u64, belongs: impl Fn(u8) -> bool) -> usize {
    let mut length = 0;
    for word in bytes.as_chunks().0 {
        let others = others(u64::from_le_bytes(*word));
        if others != 0 {
            length += (others.trailing_zeros() / u8::BITS) as usize;
            break;
        }
        length += word.len();
    }
    let rest = bytes.get(length..).unwrap_or_default();
    length + rest.iter().position(|&byte| !belongs(byte)).unwrap_or(rest.len())
}

/// The high bits of those bytes that are not printable ASCII, or end or escape something in a string. The subtractions and the
/// addition carry from one byte into the next only where the lower one is such a byte.
#[inline]
fn not_unescaped(word: u64) -> u64 {
    let quotation_mark = (word ^ (ONES * u64::from(b'"'))).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
    let control = word.wrapping_sub(ONES * u64::from(b' '));
    let above_tilde = word.wrapping_add(ONES);
    (quotation_mark | backslash | control | above_tilde | word) & HIGHS
}

/// The high bits of those bytes that are neither lower-case letters nor hyphens, which names of header fields mostly are made of.
/// The additions carry from one byte into the next only where the lower one is not ASCII.
#[inline]
fn neither_letters_nor_hyphens(word: u64) -> u64 {
    let from_a = word.wrapping_add(ONES * u64::from(0x80 - b'a'));
    let above_z = word.wrapping_add(ONES * u64::from(0x80 - b'z' - 1));
    let not_hyphen = (word ^ (ONES * u64::from(b'-'))).wrapping_add(ONES * 0x7f);
    (((!from_a | above_z) & not_hyphen) | word) & HIGHS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    /// What [`unescaped`] does, one byte after the other.
    fn unescaped_bytewise(bytes: &[u8]) -> usize {
        bytes.iter().take_while(|byte| (b' '..=b'~').contains(*byte) && **byte != b'"' && **byte != b'\\').count()
    }

    /// The same of [`header_name`].
    fn header_name_bytewise(bytes: &[u8]) -> usize {
        bytes
            .iter()
            .take_while(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(byte))
            .count()
    }

    #[test]
    fn strings_and_names_end_at_the_same_bytes_wherever_they_stand() {
        for byte in 0..=u8::MAX {
            for at in 0..19 {
                for after in [b'a', b' ', b'~', b'!', b'#', b'[', b']', 0x21, 0x7f, 0x80, 0xff, byte] {
                    let mut bytes = [b'x'; 19];
                    bytes[at..].fill(after);
                    bytes[at] = byte;
                    assert_eq!(unescaped(&bytes), unescaped_bytewise(&bytes), "{bytes:?}");
                    assert_eq!(header_name(&bytes), header_name_bytewise(&bytes), "{bytes:?}");
                }
            }
        }
        assert_eq!(unescaped(b""), 0);
    }

    #[test]
    fn integers_have_one_to_fifteen_digits_and_no_zero_in_front() {
        for (text, expected) in [
            ("1", Some((1, ""))),
            ("1700000000;nonce", Some((1_700_000_000, ";nonce"))),
            ("999999999999999", Some((999_999_999_999_999, ""))),
            ("100000000000000;", Some((100_000_000_000_000, ";"))),
            ("10.5", Some((10, ".5"))),
            ("1000000000000000", None),
            ("99999999999999999999999", None),
            ("0", None),
            ("01", None),
            ("-1", None),
            (":", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(cut_integer(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn strings_and_names_end_where_they_do_for_single_bytes(
            start in "[ -~]{0,20}|[a-z0-9-]{0,20}",
            rest in proptest::collection::vec(any::<u8>(), 0..12),
        ) {
            let bytes = [start.as_bytes(), &rest].concat();
            prop_assert_eq!(unescaped(&bytes), unescaped_bytewise(&bytes));
            prop_assert_eq!(header_name(&bytes), header_name_bytewise(&bytes));
        }
    }
}
