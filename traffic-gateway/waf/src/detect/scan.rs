//! What the grammars share: a cursor over bytes that never panics, words without regard to case, classes of bytes.

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

/// Which kinds of bytes a value holds, gathered in one pass.
///
/// Every grammar names the bytes without which its attack cannot exist; a value without them is not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes(u32);

macro_rules! classes {
    ($($name:ident = $bit:literal: $bytes:expr;)+) => {
        impl Classes {
            $(pub(crate) const $name: Self = Self(1 << $bit);)+
        }

        /// The class of every byte; letters, digits, `_`, `-` and bytes that mean nothing to any grammar have none.
        const TABLE: [u32; 256] = {
            let mut table = [0_u32; 256];
            $(
                let bytes: &[u8] = $bytes;
                let mut at = 0;
                while at < bytes.len() {
                    #[expect(clippy::indexing_slicing, reason = "computed by the compiler, which refuses an index out of bounds")]
                    {
                        table[bytes[at] as usize] |= 1 << $bit;
                    }
                    at += 1;
                }
            )+
            table
        };
    };
}

classes! {
    SINGLE = 0: b"'";
    DOUBLE = 1: b"\"";
    BACKTICK = 2: b"`";
    LESS = 3: b"<";
    GREATER = 4: b">";
    DOLLAR = 5: b"$";
    BRACE = 6: b"{}";
    HASH = 7: b"#";
    AT = 8: b"@";
    AMPERSAND = 9: b"&";
    PIPE = 10: b"|";
    SEMICOLON = 11: b";";
    PAREN = 12: b"()";
    BRACKET = 13: b"[]";
    STAR = 14: b"*";
    SLASH = 15: b"/";
    BACKSLASH = 16: b"\\";
    DOT = 17: b".";
    COLON = 18: b":";
    EQUALS = 19: b"=";
    PERCENT = 20: b"%";
    PLUS = 21: b"+";
    DASH = 22: b"-";
    SPACE = 23: b" \t\x0b\x0c";
    NEWLINE = 24: b"\r\n";
    NUL = 25: b"\0";
    CONTROL = 26: b"\x01\x02\x03\x04\x05\x06\x07\x08\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f";
    HIGH = 27: &HIGH_BYTES;
    UNDERSCORE = 28: b"_";
    BANG = 29: b"!";
    OTHER = 30: b",?^~";
}

const HIGH_BYTES: [u8; 128] = {
    let mut bytes = [0_u8; 128];
    let mut at = 0_u8;
    while at < 128 {
        #[expect(clippy::indexing_slicing, reason = "computed by the compiler, which refuses an index out of bounds")]
        {
            bytes[at as usize] = 128 + at;
        }
        at += 1;
    }
    bytes
};

impl Classes {
    /// The classes of the bytes of a value.
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        Self(value.iter().fold(0, |seen, &byte| seen | TABLE.get(usize::from(byte)).copied().unwrap_or_default()))
    }

    /// Either of two.
    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a byte of one of these classes is there.
    pub(crate) const fn any(self, classes: Self) -> bool {
        self.0 & classes.0 != 0
    }

    /// Whether every one of these classes is there.
    pub(crate) const fn all(self, classes: Self) -> bool {
        self.0 & classes.0 == classes.0
    }
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
