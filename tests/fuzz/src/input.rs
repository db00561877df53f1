//! The fuzzer's bytes: an input, and behind it the choices of what is done with it.

use std::borrow::Cow;

/// Bytes at the end of the fuzzer's bytes that are choices. They stand at the end so that everything before them is the
/// input as it would be on the wire, and what is on the wire can be a seed.
pub const CHOICES: usize = 8;

/// Bytes of an input whose middle is repeated: enough for squared cost to stand out, few enough for thousands a minute.
pub const LONG: usize = 64 << 10;

/// An input and its choices.
#[derive(Debug)]
pub struct Input<'a> {
    bytes: &'a [u8],
    choices: &'a [u8],
}

impl<'a> Input<'a> {
    /// Splits the fuzzer's bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        let (bytes, choices) = bytes.split_at(bytes.len().saturating_sub(CHOICES));
        Self { bytes, choices }
    }

    /// The next choice; 0 once there is none.
    pub fn choice(&mut self) -> usize {
        let Some((first, rest)) = self.choices.split_first() else { return 0 };
        self.choices = rest;
        usize::from(*first)
    }

    /// One of some things.
    pub fn one_of<'t, T>(&mut self, things: &'t [T]) -> &'t T {
        &things[self.choice() % things.len()]
    }

    /// The first line, without its end; what follows is the input.
    pub fn line(&mut self) -> &'a [u8] {
        let end = self.bytes.iter().position(|byte| *byte == b'\n').unwrap_or(self.bytes.len());
        let (line, rest) = self.bytes.split_at(end);
        self.bytes = rest.get(1..).unwrap_or_default();
        line
    }

    /// The input as it is.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The input, or, one time in 32, one of [`LONG`] bytes in which a part of it is repeated: inputs that cost too
    /// much hardly ever are short. Takes three choices.
    pub fn stretched(&mut self) -> Cow<'a, [u8]> {
        let (whether, from, to) = (self.choice(), self.choice(), self.choice());
        if whether < 248 || self.bytes.is_empty() {
            return Cow::Borrowed(self.bytes);
        }
        let from = self.bytes.len() * from / 256;
        let to = from + 1 + (self.bytes.len() - from - 1) * to / 256;
        let times = LONG.saturating_sub(self.bytes.len()) / (to - from);
        let repeated = self.bytes[from..to].repeat(times + 1);
        Cow::Owned([&self.bytes[..from], repeated.as_slice(), &self.bytes[to..]].concat())
    }
}
