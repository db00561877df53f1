//! Decoding of a value to a fixed point.
//!
//! Attacks hide behind encodings, one inside the other. [`decode`] undoes those that are written character by character
//! (percent, HTML entities, escapes of JavaScript, overlong and full-width characters) until nothing changes; [`views`]
//! adds those that hide a whole text (base64, hexadecimal, UTF-7, UTF-16) and the parts of a value that is itself JSON, a
//! form or a URL. Every form is judged, the original first: what one encoding hides, another one may only spoil.
//!
//! Time and memory are linear in the length of the value, with at most [`ROUNDS`] passes for each form and a budget of
//! bytes for all forms. A value of letters and digits costs one pass over its bytes.

mod symbol;
mod text;
mod parts;
mod view;

pub use view::{Scratch, View, views};

pub(crate) use text::base64_digit;

use crate::classes::Classes;

/// How often a value is decoded; an attack that is wrapped deeper would not survive the applications it has to pass.
pub const ROUNDS: u8 = 5;

/// No encoded character is longer.
const LONGEST: usize = 48;

/// Which encodings were undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layers(u16);

impl Layers {
    /// Nothing was encoded.
    pub const NONE: Self = Self(0);
    /// `%27`, `%u0027`, and `+` where they occur.
    pub const PERCENT: Self = Self(1);
    /// `&#39;`, `&lt;`.
    pub const ENTITY: Self = Self(1 << 1);
    /// `\u0027`, `\x27`, `\047`.
    pub const ESCAPE: Self = Self(1 << 2);
    /// Overlong UTF-8, full-width and look-alike characters, invisible ones.
    pub const WIDE: Self = Self(1 << 3);
    /// NULs between the characters, as in UTF-16.
    pub const NUL: Self = Self(1 << 4);
    /// UTF-7.
    pub const UTF7: Self = Self(1 << 5);
    /// Base64 of text.
    pub const BASE64: Self = Self(1 << 6);
    /// Hexadecimal digits of text.
    pub const HEX: Self = Self(1 << 7);
    /// A part of the value: a string of JSON, a parameter of a form or of a URL.
    pub const PART: Self = Self(1 << 8);

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether one of these is among them.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What [`decode`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Which encodings were undone; none of them when the value is as it was.
    pub layers: Layers,
    /// In how many rounds.
    pub rounds: u8,
}

/// Decodes a value into a buffer until nothing changes, in at most [`ROUNDS`] passes.
///
/// The result is never longer than the value. When nothing is encoded, nothing is written and nothing allocated: the
/// buffer is then empty.
pub fn decode(value: &[u8], out: &mut Vec<u8>) -> Decoded {
    decode_among(value, Classes::of(value), out)
}

/// The same for a value whose [`Classes`] are known. One without the bytes at which an encoded character begins is not
/// looked at: a `+` is one only beside `%27`.
pub(crate) fn decode_among(value: &[u8], classes: Classes, out: &mut Vec<u8>) -> Decoded {
    out.clear();
    let mut decoded = Decoded::default();
    if !classes.any(Classes::PERCENT.or(Classes::AMPERSAND).or(Classes::BACKSLASH).or(Classes::HIGH)) {
        return decoded;
    }
    let Some(first) = symbol::first(value) else { return decoded };
    out.extend_from_slice(value);
    let mut from = first;
    while decoded.rounds < ROUNDS {
        let layers = pass(out, from);
        if layers == Layers::NONE {
            break;
        }
        decoded.layers = decoded.layers.with(layers);
        decoded.rounds += 1;
        // A pass can complete a sequence with what stands before it: `%2` and then `5`, an entity of many zeros.
        from = first.saturating_sub(LONGEST);
    }
    if decoded.rounds == 0 {
        out.clear();
    }
    decoded
}

/// One pass in place: symbols are never longer than what stands for them.
fn pass(bytes: &mut Vec<u8>, from: usize) -> Layers {
    let plus_is_space = memchr::memchr(b'+', bytes).is_some() && symbol::has_percent(bytes);
    let mut layers = Layers::NONE;
    let (mut read, mut write) = (from, from);
    while let Some(rest) = bytes.get(read..).filter(|rest| !rest.is_empty()) {
        let run = rest.iter().position(|&byte| symbol::may_begin(byte)).unwrap_or(rest.len());
        let here = rest.get(run..).unwrap_or_default();
        let symbol = symbol::read(here, plus_is_space);
        let kept = usize::from(symbol.is_none() && !here.is_empty());
        bytes.copy_within(read..read + run + kept, write);
        read += run + kept;
        write += run + kept;
        if let Some(symbol) = symbol {
            layers = layers.with(symbol.layer);
            for (place, byte) in bytes.iter_mut().skip(write).zip(symbol.bytes()) {
                *place = *byte;
            }
            read += symbol.length;
            write += symbol.bytes().len();
        }
    }
    bytes.truncate(write);
    layers
}

#[cfg(test)]
mod tests;
