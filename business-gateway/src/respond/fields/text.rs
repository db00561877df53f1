//! The inside of a JSON string (RFC 8259, section 7), byte by byte: escapes, surrogates, UTF-8.

use super::rewriter::Unfit;

/// Where in a string the lexer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Text {
    state: State,
    /// What is known of a character.
    code: u32,
    /// The first half of a pair.
    high: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Plain,
    Escape,
    /// Hexadecimal digits that are missing.
    Unicode(u8),
    /// The second half of a pair has to follow.
    LowBackslash,
    LowU,
    /// Bytes that are missing, and what the next one may be.
    Utf8(u8, u8, u8),
}

/// What a byte has completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lexed {
    /// Nothing yet.
    More,
    /// A character.
    Char(char),
    /// The string.
    End,
}

/// Whether a byte stands for itself and completes a character.
#[must_use]
pub fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7f) && byte != b'"' && byte != b'\\'
}

impl Text {
    /// Whether bytes for which [`is_plain`] holds may be taken as they are.
    #[must_use]
    pub fn is_between_characters(&self) -> bool {
        self.state == State::Plain
    }

    /// Takes the next byte.
    ///
    /// # Errors
    /// When no string has it there.
    pub fn push(&mut self, byte: u8) -> Result<Lexed, Unfit> {
        match self.state {
            State::Plain => self.begin(byte),
            State::Escape => self.escape(byte),
            State::Unicode(missing) => self.digit(byte, missing),
            State::LowBackslash => self.expect(byte, b'\\', State::LowU),
            State::LowU => self.expect(byte, b'u', State::Unicode(4)),
            State::Utf8(missing, least, most) => {
                if !(least..=most).contains(&byte) {
                    return Err(Unfit::NotJson);
                }
                self.code = (self.code << 6) | u32::from(byte & 0x3f);
                if missing > 1 {
                    self.state = State::Utf8(missing - 1, 0x80, 0xbf);
                    return Ok(Lexed::More);
                }
                self.done()
            }
        }
    }

    /// The well-formed sequences of table 3-7 of the Unicode standard.
    fn begin(&mut self, byte: u8) -> Result<Lexed, Unfit> {
        let (missing, bits, least, most) = match byte {
            b'"' => return Ok(Lexed::End),
            b'\\' => {
                self.state = State::Escape;
                return Ok(Lexed::More);
            }
            0x20..=0x7f => return Ok(Lexed::Char(char::from(byte))),
            0xc2..=0xdf => (1, byte & 0x1f, 0x80, 0xbf),
            0xe0 => (2, 0, 0xa0, 0xbf),
            0xed => (2, 0x0d, 0x80, 0x9f),
            0xe1..=0xef => (2, byte & 0x0f, 0x80, 0xbf),
            0xf0 => (3, 0, 0x90, 0xbf),
            0xf1..=0xf3 => (3, byte & 0x07, 0x80, 0xbf),
            0xf4 => (3, 4, 0x80, 0x8f),
            _ => return Err(Unfit::NotJson),
        };
        self.code = u32::from(bits);
        self.state = State::Utf8(missing, least, most);
        Ok(Lexed::More)
    }

    fn escape(&mut self, byte: u8) -> Result<Lexed, Unfit> {
        let character = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.code = 0;
                self.state = State::Unicode(4);
                return Ok(Lexed::More);
            }
            _ => return Err(Unfit::NotJson),
        };
        self.state = State::Plain;
        Ok(Lexed::Char(character))
    }

    fn digit(&mut self, byte: u8, missing: u8) -> Result<Lexed, Unfit> {
        let digit = char::from(byte).to_digit(16).ok_or(Unfit::NotJson)?;
        self.code = (self.code << 4) | digit;
        if missing > 1 {
            self.state = State::Unicode(missing - 1);
            return Ok(Lexed::More);
        }
        match (self.high.take(), self.code) {
            (None, high @ 0xd800..=0xdbff) => {
                self.high = Some(high);
                self.state = State::LowBackslash;
                Ok(Lexed::More)
            }
            (Some(high), low @ 0xdc00..=0xdfff) => {
                self.code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                self.done()
            }
            (Some(_), _) => Err(Unfit::NotJson),
            (None, _) => self.done(),
        }
    }

    fn expect(&mut self, byte: u8, expected: u8, next: State) -> Result<Lexed, Unfit> {
        if byte != expected {
            return Err(Unfit::NotJson);
        }
        self.state = next;
        self.code = 0;
        Ok(Lexed::More)
    }

    fn done(&mut self) -> Result<Lexed, Unfit> {
        self.state = State::Plain;
        char::from_u32(self.code).map(Lexed::Char).ok_or(Unfit::NotJson)
    }
}
