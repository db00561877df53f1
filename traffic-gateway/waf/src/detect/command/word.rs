//! Words of a shell, with what is used to hide them undone.

use super::super::scan::{Cursor, is_space, is_word};

/// How many bytes of a word are read; names of commands are short, and so is what hides them.
const REACH: usize = 128;
/// How many bytes of a name are kept.
const NAME: usize = 48;

/// A word as the shell would see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    text: [u8; NAME],
    length: usize,
    /// Letters were quoted, escaped or joined with empty variables: nobody types a name like that.
    pub(super) hidden: bool,
    /// A path with wildcards.
    pub(super) wildcard: bool,
    /// `$IFS` or a list in braces stood for a space behind the word.
    pub(super) space_hidden: bool,
    /// A variable or a substitution is part of it.
    pub(super) computed: bool,
}

impl Word {
    pub(super) fn text(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.text.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }
}

/// Bytes that end a word.
pub(super) const fn ends_word(byte: u8) -> bool {
    is_space(byte) || matches!(byte, b';' | b'|' | b'&' | b'<' | b'>' | b'(' | b')' | b'`' | b'#' | 0)
}

/// Reads the word a cursor stands at. `in_braces` says that a comma ends it as well.
pub(super) fn read(cursor: &mut Cursor<'_>, in_braces: InBraces) -> Word {
    let mut word =
        Word { text: [0; NAME], length: 0, hidden: false, wildcard: false, space_hidden: false, computed: false };
    let end = cursor.at() + REACH;
    while let Some(byte) = cursor.peek().filter(|_| cursor.at() < end && word.length < NAME) {
        match byte {
            b'\'' | b'"' if !quoted(cursor, &mut word, byte) => break,
            b'\'' | b'"' => {}
            b'\\'
                if cursor
                    .peek_by(1)
                    .is_some_and(|next| next.is_ascii_alphanumeric() || matches!(next, b'/' | b'-' | b'\n')) =>
            {
                // Separators of Windows' paths are kept.
                if word.text().contains(&b':') || word.text().contains(&b'\\') {
                    word.push(b'\\');
                }
                word.hidden |= !word.text().contains(&b':');
                cursor.skip(1);
            }
            b'^' if cursor.peek_by(1).is_some_and(|next| next.is_ascii_alphanumeric()) => {
                word.hidden = true;
                cursor.skip(1);
            }
            b'$' => {
                if variable(cursor, &mut word) {
                    word.space_hidden = true;
                    break;
                }
            }
            b',' | b'}' if in_braces == InBraces::Yes => break,
            b'{' => break,
            byte if ends_word(byte) => break,
            byte => {
                word.wildcard |=
                    matches!(byte, b'?' | b'*' | b'[') && word.text().starts_with(b"/") && word.text().len() > 1;
                word.push(byte);
                cursor.skip(1);
            }
        }
    }
    word
}

/// Whether a word stands in a list such as `{cat,/etc/passwd}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InBraces {
    Yes,
    No,
}

/// Takes a quoted piece of a word; `false` when the quote is not one of the shell's: it has no end nearby.
fn quoted(cursor: &mut Cursor<'_>, word: &mut Word, quote: u8) -> bool {
    let mut ahead = *cursor;
    ahead.skip(1);
    let piece = ahead.take_at_most(32, |byte| byte != quote && !is_space(byte));
    if !ahead.eat(quote) {
        return false;
    }
    let continues = ahead.peek().is_some_and(|byte| is_word(byte) || matches!(byte, b'\'' | b'"' | b'\\' | b'/'));
    // `'a'` whole is a string; letters next to a quoted piece are a name in disguise.
    word.hidden |= piece.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'.'))
        && (word.length > 0 || continues);
    for byte in piece {
        word.push(*byte);
    }
    *cursor = ahead;
    true
}

/// Takes a variable: empty ones hide a name, `$IFS` is a space (then `true`), others are unknown.
fn variable(cursor: &mut Cursor<'_>, word: &mut Word) -> bool {
    if space(cursor) {
        return true;
    }
    cursor.skip(1);
    match cursor.peek() {
        Some(b'@' | b'*' | b'1'..=b'9' | b'!') => {
            cursor.skip(1);
            word.hidden |= word.length > 0 || cursor.peek().is_some_and(|byte| byte.is_ascii_alphanumeric());
        }
        Some(b'{') => {
            cursor.take_at_most(64, |byte| byte != b'}' && !is_space(byte));
            cursor.eat(b'}');
            word.computed = true;
        }
        Some(b'(') => word.computed = true,
        _ => {
            word.computed |= !cursor.take_at_most(32, is_word).is_empty();
        }
    }
    false
}

/// Takes `$IFS`, `${IFS}`, `$IFS$9`, `${IFS%??}` and the like.
pub(super) fn space(cursor: &mut Cursor<'_>) -> bool {
    let mut ahead = *cursor;
    if ahead.eat_text(b"$ifs")
        && !ahead.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() && !byte.is_ascii_digit())
    {
        *cursor = ahead;
    } else if ahead.eat_text(b"{ifs") || ahead.eat_text(b"${ifs") {
        ahead.take_at_most(16, |byte| byte != b'}' && !is_space(byte));
        if !ahead.eat(b'}') {
            return false;
        }
        *cursor = ahead;
    } else {
        return false;
    }
    // `$9` and `$@` after it are empty.
    if cursor.peek() == Some(b'$') && cursor.peek_by(1).is_some_and(|byte| byte.is_ascii_digit() || byte == b'@') {
        cursor.skip(2);
    }
    true
}
