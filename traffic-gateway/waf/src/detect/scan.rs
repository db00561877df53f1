//! What the grammars share: a cursor over bytes that never panics, words without regard to case.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

/// Builds what finds any of some texts in one pass, whatever their case, the longest where several begin. The texts are
/// constants of ours, and tests show that each list compiles.
pub(crate) fn automaton<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Option<AhoCorasick> {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::LeftmostLongest)
        .kind(Some(AhoCorasickKind::DFA))
        .build(texts)
        .ok()
}

/// A position in a value. Reading past the end gives nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) const fn from(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(crate) fn peek_by(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at.saturating_add(ahead)).copied()
    }

    pub(crate) fn skip(&mut self, count: usize) {
        self.at = self.at.saturating_add(count).min(self.bytes.len());
    }

    pub(crate) fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Takes this byte if it is next.
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes this lower-case text if it is next, whatever its case.
    pub(crate) fn eat_text(&mut self, text: &[u8]) -> bool {
        let found = starts_with(self.rest(), text);
        if found {
            self.at += text.len();
        }
        found
    }

    /// Takes this lower-case word if it is next and ends there.
    pub(crate) fn eat_word(&mut self, word: &[u8]) -> bool {
        let found = starts_with(self.rest(), word) && !self.peek_by(word.len()).is_some_and(is_word);
        if found {
            self.at += word.len();
        }
        found
    }

    /// Takes bytes as long as they are of a kind.
    pub(crate) fn take_while(&mut self, of_kind: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|&byte| !of_kind(byte)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// Takes at most so many bytes of a kind.
    pub(crate) fn take_at_most(&mut self, most: usize, of_kind: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let rest = rest.get(..most.min(rest.len())).unwrap_or_default();
        let length = rest.iter().position(|&byte| !of_kind(byte)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// Takes letters, digits and `_`, of which a name has few.
    pub(crate) fn word(&mut self) -> &'a [u8] {
        self.take_at_most(64, is_word)
    }

    /// Takes white space; says whether there was any.
    pub(crate) fn skip_space(&mut self) -> bool {
        !self.take_while(is_space).is_empty()
    }
}

/// Letters, digits and `_`.
pub(crate) const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// White space, including the vertical tab that most definitions leave out.
pub(crate) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Whether a value begins with a lower-case text, whatever its case.
pub(crate) fn starts_with(value: &[u8], text: &[u8]) -> bool {
    value.get(..text.len()).is_some_and(|head| head.eq_ignore_ascii_case(text))
}

/// Where a lower-case text is first found at or after a position, whatever its case.
///
/// Linear in practice and at worst in the product with the length of the text, which is always a constant of ours.
pub(crate) fn find_text(value: &[u8], text: &[u8], from: usize) -> Option<usize> {
    let first = *text.first()?;
    let mut at = from;
    loop {
        let rest = value.get(at..)?;
        at += memchr::memchr2(first, first.to_ascii_uppercase(), rest)?;
        if starts_with(value.get(at..)?, text) {
            return Some(at);
        }
        at += 1;
    }
}

/// Whether a lower-case text is anywhere in the value, whatever its case.
pub(crate) fn has_text(value: &[u8], text: &[u8]) -> bool {
    find_text(value, text, 0).is_some()
}

/// Whether a word is one of a list of lower-case words, whatever its case.
pub(crate) fn is_one_of(word: &[u8], list: &[&[u8]]) -> bool {
    list.iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// The byte before a position.
pub(crate) fn before(value: &[u8], at: usize) -> Option<u8> {
    at.checked_sub(1).and_then(|at| value.get(at)).copied()
}

/// A part of the value, empty when out of bounds.
pub(crate) fn part(value: &[u8], from: usize, to: usize) -> &[u8] {
    value.get(from..to.min(value.len())).unwrap_or_default()
}

/// Every position of a byte.
pub(crate) fn positions(byte: u8, value: &[u8]) -> impl Iterator<Item = usize> + '_ {
    memchr::memchr_iter(byte, value)
}
