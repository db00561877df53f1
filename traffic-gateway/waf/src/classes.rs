//! Which kinds of bytes a value holds, gathered in one pass.

/// Which kinds of bytes a value holds: its punctuation by kind, its letters whatever their case, whether there are digits;
/// and which of these stand twice in a row.
///
/// Decoders and grammars name the bytes without which there is nothing to decode and no attack. A value without them is
/// not looked at again, and most values are words, numbers and sentences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    seen: u64,
    /// Those of which two bytes follow each other.
    twice: u64,
}

macro_rules! classes {
    ($($name:ident = $bit:literal: $bytes:expr;)+) => {
        impl Classes {
            $(pub(crate) const $name: Self = Self { seen: 1 << $bit, twice: 0 };)+
        }

        /// The class of every byte; each has one.
        static TABLE: [u64; 256] = {
            let mut table = [0_u64; 256];
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
            let mut letter = 0_u8;
            while letter < 26 {
                #[expect(clippy::indexing_slicing, reason = "computed by the compiler, which refuses an index out of bounds")]
                {
                    table[(b'a' + letter) as usize] = 1 << (LETTERS + letter);
                    table[(b'A' + letter) as usize] = 1 << (LETTERS + letter);
                }
                letter += 1;
            }
            table
        };
    };
}

/// The bit of `a`; the other letters follow.
const LETTERS: u8 = 36;

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
    COMMA = 30: b",";
    QUESTION = 31: b"?";
    CARET = 32: b"^";
    TILDE = 33: b"~";
    DIGIT = 34: b"0123456789";
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
    /// All letters.
    pub(crate) const LETTER: Self = Self::in_text(b"abcdefghijklmnopqrstuvwxyz");
    /// Quotes of every kind.
    pub(crate) const QUOTE: Self = Self::SINGLE.or(Self::DOUBLE).or(Self::BACKTICK);

    /// The classes of the bytes of a value.
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        let (mut seen, mut twice, mut last) = (0, 0, 0);
        for &byte in value {
            let class = TABLE.get(usize::from(byte)).copied().unwrap_or_default();
            seen |= class;
            twice |= class & last;
            last = class;
        }
        Self { seen, twice }
    }

    /// The classes of the bytes of a text of ours, in any order.
    pub(crate) const fn in_text(text: &[u8]) -> Self {
        let (mut seen, mut at) = (0, 0);
        while at < text.len() {
            #[expect(
                clippy::indexing_slicing,
                reason = "computed by the compiler, which refuses an index out of bounds"
            )]
            {
                seen |= TABLE[text[at] as usize];
            }
            at += 1;
        }
        Self { seen, twice: 0 }
    }

    /// Either of two.
    pub(crate) const fn or(self, other: Self) -> Self {
        Self { seen: self.seen | other.seen, twice: 0 }
    }

    /// Every class but these.
    pub(crate) const fn but(self) -> Self {
        Self { seen: !self.seen, twice: 0 }
    }

    /// Whether a byte of one of these classes is there.
    pub(crate) const fn any(self, classes: Self) -> bool {
        self.seen & classes.seen != 0
    }

    /// Whether every one of these classes is there.
    pub(crate) const fn all(self, classes: Self) -> bool {
        self.seen & classes.seen == classes.seen
    }

    /// Whether one of these sets of classes is there as a whole.
    pub(crate) fn all_of_one(self, sets: &[Self]) -> bool {
        sets.iter().any(|set| self.all(*set))
    }

    /// Whether two bytes of one of these classes follow each other.
    pub(crate) const fn twice(self, classes: Self) -> bool {
        self.twice & classes.seen != 0
    }
}

#[cfg(test)]
mod tests {
    use super::{Classes, TABLE};

    #[test]
    fn every_byte_has_one_class() {
        for byte in u8::MIN..=u8::MAX {
            assert_eq!(TABLE[usize::from(byte)].count_ones(), 1, "{byte}");
        }
    }

    #[test]
    fn letters_have_no_case() {
        let classes = Classes::of(b"Union SELECT");
        assert!(classes.all(Classes::in_text(b"union select")) && classes.any(Classes::LETTER));
        assert!(!classes.all(Classes::in_text(b"from")) && !classes.any(Classes::DIGIT));
        assert!(classes.all_of_one(&[Classes::in_text(b"from"), Classes::in_text(b"SELECT ")]));
    }

    #[test]
    fn sees_what_stands_twice_in_a_row() {
        let classes = Classes::of(b"a.b..c/d//");
        assert!(classes.twice(Classes::DOT) && classes.twice(Classes::SLASH));
        let classes = Classes::of(b"a.b/c._d");
        assert!(!classes.twice(Classes::DOT.or(Classes::SLASH).or(Classes::UNDERSCORE)));
    }
}
