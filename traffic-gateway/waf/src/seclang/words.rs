//! The words of a directive: bare, or between quotes of either kind.
//!
//! Inside quotes a backslash before the same quote keeps the word open and goes away; every other backslash stays, so
//! that patterns need no second layer of escapes. A quote counts as escaped when an odd number of backslashes stands
//! before it.

use std::borrow::Cow;

use super::ast::Position;
use super::diagnostic::Report;
use super::lines::Line;

/// One word, without its quotes.
#[derive(Debug)]
pub(super) struct Word<'l> {
    pub(super) text: Cow<'l, str>,
    line: &'l Line,
    /// Where the content begins in the line.
    start: usize,
    /// Offsets in `text` before which a backslash was taken away.
    removed: Vec<usize>,
}

impl Word<'_> {
    /// Where the byte at `offset` of the word was written.
    pub(super) fn position(&self, offset: usize) -> Position {
        let removed = self.removed.partition_point(|at| *at <= offset);
        self.line.position(self.start + offset + removed)
    }
}

/// Splits what follows the first `from` bytes of a line.
pub(super) fn split<'l>(line: &'l Line, from: usize, report: &mut Report) -> Option<Vec<Word<'l>>> {
    let bytes = line.text.as_bytes();
    let mut words = Vec::new();
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().take_while(|byte| is_blank(**byte)).count();
        let Some(first) = bytes.get(at).copied() else { return Some(words) };
        if matches!(first, b'"' | b'\'') {
            let Some(end) = closing(bytes, at + 1, first) else {
                let quote = char::from(first);
                report.invalid(line.position(at), format!("this {quote} is never closed"));
                return None;
            };
            words.push(quoted(line, at + 1, end, first));
            at = end + 1;
            if bytes.get(at).is_some_and(|byte| !is_blank(*byte)) {
                report.invalid(
                    line.position(at),
                    "a blank must follow the closing quote; a quote inside is written \\\"",
                );
                return None;
            }
        } else {
            let end = bare_end(bytes, at);
            let text = Cow::Borrowed(line.text.get(at..end)?);
            words.push(Word { text, line, start: at, removed: Vec::new() });
            at = end;
        }
    }
}

/// The index of the next unescaped `quote` from `from` on.
pub(super) fn closing(bytes: &[u8], from: usize, quote: u8) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in bytes.iter().enumerate().skip(from) {
        if *byte == quote && !escaped {
            return Some(index);
        }
        escaped = *byte == b'\\' && !escaped;
    }
    None
}

/// Takes away the backslash of every escaped `quote`. The second answer holds the offsets in the text before which one
/// was taken away.
pub(super) fn unescape(text: &str, quote: u8) -> (Cow<'_, str>, Vec<usize>) {
    if memchr::memchr2(b'\\', quote, text.as_bytes()).is_none() {
        return (Cow::Borrowed(text), Vec::new());
    }
    let mut plain = String::with_capacity(text.len());
    let mut removed = Vec::new();
    let mut escaped = false;
    for character in text.chars() {
        if escaped && character == char::from(quote) {
            plain.pop();
            removed.push(plain.len());
        }
        plain.push(character);
        escaped = character == '\\' && !escaped;
    }
    (Cow::Owned(plain), removed)
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn quoted(line: &Line, start: usize, end: usize, quote: u8) -> Word<'_> {
    let (text, removed) = unescape(line.text.get(start..end).unwrap_or_default(), quote);
    Word { text, line, start, removed }
}

/// A bare word ends at a blank, but not inside a selector between single quotes.
fn bare_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    let mut before = 0;
    while let Some(byte) = bytes.get(at).copied() {
        if is_blank(byte) {
            break;
        }
        if byte == b'\'' && before == b':' {
            let Some(end) = closing(bytes, at + 1, b'\'') else { break };
            at = end;
        }
        before = byte;
        at += 1;
    }
    at
}
