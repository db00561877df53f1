//! Tags and attributes, read the way browsers read what is no sound HTML.

use super::super::scan::{Cursor, is_space, part};

/// An attribute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute<'a> {
    pub(super) name: &'a [u8],
    /// Nothing when there is no `=`.
    pub(super) value: Option<&'a [u8]>,
    pub(super) start: usize,
}

/// Reads the name of a tag behind `<`, without a prefix such as `svg:`. Empty when no tag begins there.
pub(super) fn name<'a>(cursor: &mut Cursor<'a>) -> &'a [u8] {
    if !cursor.peek().is_some_and(|byte| byte.is_ascii_alphabetic()) {
        return b"";
    }
    let name = cursor.take_at_most(64, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b':' | b'_'));
    name.rsplit(|byte| *byte == b':').next().unwrap_or_default()
}

/// Reads the next attribute; `None` at the end of the tag or of the value.
pub(super) fn attribute<'a>(value: &'a [u8], cursor: &mut Cursor<'a>) -> Option<Attribute<'a>> {
    // Stray quotes and slashes between attributes are skipped, as browsers do.
    cursor.take_while(|byte| is_space(byte) || matches!(byte, b'/' | b'"' | b'\'' | b'`' | 0 | b'=' | 0xa0));
    let start = cursor.at();
    if cursor.peek().is_none_or(|byte| matches!(byte, b'>' | b'<')) {
        return None;
    }
    cursor.take_while(|byte| !is_space(byte) && !matches!(byte, b'=' | b'>' | b'/' | b'<' | b'"' | b'\'' | 0));
    let name = part(value, start, cursor.at());
    let mut ahead = *cursor;
    ahead.take_while(|byte| is_space(byte) || byte == 0);
    if !ahead.eat(b'=') {
        return Some(Attribute { name, value: None, start });
    }
    ahead.take_while(|byte| is_space(byte) || byte == 0);
    let text = match ahead.peek() {
        Some(quote @ (b'"' | b'\'' | b'`')) => {
            ahead.skip(1);
            let text = ahead.take_while(|byte| byte != quote);
            ahead.eat(quote);
            text
        }
        _ => ahead.take_while(|byte| !is_space(byte) && byte != b'>'),
    };
    *cursor = ahead;
    Some(Attribute { name, value: Some(text), start })
}
