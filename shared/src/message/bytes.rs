//! Which bytes may stand where: one table, one look-up per byte.

/// May stand in a token (RFC 9110, 5.6.2): methods, field names, parameter names.
const TOKEN: u8 = 1;
/// May stand in a field value (RFC 9110, 5.5): visible characters, space, tab and bytes above 127.
const VALUE: u8 = 2;
/// Stands for itself in a canonical path: unreserved, sub-delimiters without `;`, and `:` `@` (RFC 3986, 3.3).
const PATH: u8 = 4;
/// Unreserved (RFC 3986, 2.3): percent-encoding it changes nothing.
const UNRESERVED: u8 = 8;
/// Not allowed in a path by RFC 3986 but sent as it is by browsers (URL Standard): encoded in the canonical path.
const TOLERATED: u8 = 16;
/// May stand in a query as it was sent: visible ASCII except `#` and what URL parsers always encode.
const QUERY: u8 = 32;

const TABLE: [u8; 256] = table();

const fn table() -> [u8; 256] {
    let mut table = [0_u8; 256];
    let mut byte = 0_usize;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "byte is below 256")]
        let character = byte as u8;
        #[expect(clippy::indexing_slicing, reason = "byte is below 256, and this runs at compile time")]
        {
            table[byte] = classes(character);
        }
        byte += 1;
    }
    table
}

const fn classes(byte: u8) -> u8 {
    let alphanumeric = byte.is_ascii_alphanumeric();
    let mut classes = 0;
    if alphanumeric
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
    {
        classes |= TOKEN;
    }
    if matches!(byte, b'\t' | b' '..=b'~' | 0x80..=0xff) {
        classes |= VALUE;
    }
    if alphanumeric || matches!(byte, b'-' | b'.' | b'_' | b'~') {
        classes |= PATH | UNRESERVED;
    }
    if matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@') {
        classes |= PATH;
    }
    if matches!(byte, b'[' | b']' | b'|' | b'^') {
        classes |= TOLERATED;
    }
    if byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>') {
        classes |= QUERY;
    }
    classes
}

const fn is(byte: u8, class: u8) -> bool {
    #[expect(clippy::indexing_slicing, reason = "a byte is always within a table of 256")]
    let classes = TABLE[byte as usize];
    classes & class != 0
}

/// May it stand in a token (RFC 9110, 5.6.2): a method, a field name?
#[must_use]
#[inline]
pub const fn is_token(byte: u8) -> bool {
    is(byte, TOKEN)
}

/// May it stand in the value of a field (RFC 9110, 5.5)?
#[must_use]
#[inline]
pub const fn is_value(byte: u8) -> bool {
    is(byte, VALUE)
}

/// Does it stand for itself in a canonical path?
#[must_use]
#[inline]
pub const fn is_path(byte: u8) -> bool {
    is(byte, PATH)
}

/// Is it unreserved (RFC 3986, 2.3), so that percent-encoding it changes nothing?
#[must_use]
#[inline]
pub const fn is_unreserved(byte: u8) -> bool {
    is(byte, UNRESERVED)
}

/// Do browsers send it in a path as it is, although RFC 3986 does not allow it?
#[must_use]
#[inline]
pub const fn is_tolerated_in_path(byte: u8) -> bool {
    is(byte, TOLERATED)
}

/// May it stand in a query as it was sent?
#[must_use]
#[inline]
pub const fn is_query(byte: u8) -> bool {
    is(byte, QUERY)
}

/// Whether every byte may stand in a field value. Written without a branch, so that it is compiled to wide instructions:
/// values are most of a head.
#[must_use]
#[inline]
pub fn are_value(bytes: &[u8]) -> bool {
    !bytes.iter().fold(false, |is_bad, byte| is_bad | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7f))
}

/// The value of a hexadecimal digit.
#[must_use]
#[inline]
pub const fn hex_value(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Without the optional white space (space and tab) around it.
#[must_use]
#[inline]
pub fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wide_look_at_values_agrees_with_the_table() {
        for byte in 0..=255_u8 {
            assert_eq!(are_value(&[b'a', byte, b'b']), is_value(byte), "{byte}");
        }
    }
}
