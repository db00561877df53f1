//! `@beginsWith`, `@contains` (also `@strmatch`), `@containsWord`, `@endsWith`, `@streq` and `@within`.
//!
//! All compare bytes, capitals included. An empty argument is contained in every value.

use memchr::memmem::{self, Finder};

/// How two texts compare.
#[derive(Clone, Copy, Debug)]
pub(super) enum Relation {
    /// The value begins with the argument.
    BeginsWith,
    /// The argument is somewhere in the value.
    Contains,
    /// The same, with no letter, digit or underscore next to it.
    ContainsWord,
    /// The value ends with the argument.
    EndsWith,
    /// Both are the same.
    Equals,
    /// The value is somewhere in the argument.
    Within,
}

impl Relation {
    /// Whether a value that has this relation to an argument holds the argument.
    pub(super) const fn is_within_value(self) -> bool {
        !matches!(self, Self::Within)
    }

    /// The same for an argument that was put together for one comparison: nothing is prepared for short ones.
    pub(super) fn holds_with(self, value: &[u8], argument: &[u8]) -> bool {
        match self {
            Self::BeginsWith => value.starts_with(argument),
            Self::Contains => is_within(argument, value),
            Self::ContainsWord => contains_word(value, &Finder::new(argument)),
            Self::EndsWith => value.ends_with(argument),
            Self::Equals => value == argument,
            Self::Within => is_within(value, argument),
        }
    }

    /// Whether `value` has this relation to the argument.
    pub(super) fn holds(self, value: &[u8], argument: &Finder<'_>) -> bool {
        match self {
            Self::BeginsWith => value.starts_with(argument.needle()),
            Self::Contains => argument.find(value).is_some(),
            Self::ContainsWord => contains_word(value, argument),
            Self::EndsWith => value.ends_with(argument.needle()),
            Self::Equals => value == argument.needle(),
            Self::Within => is_within(value, argument.needle()),
        }
    }
}

/// A text that values may be part of, known at load.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    text: Box<[u8]>,
    /// Where its endings begin, in the order of their bytes; none of a text that is too long for that.
    endings: Box<[u32]>,
}

/// Longest text whose endings are put in order at load.
const ORDERED: usize = 4096;

impl Whole {
    pub(super) fn new(text: &[u8]) -> Self {
        let mut endings: Vec<u32> = (0..u32::try_from(text.len()).unwrap_or(0)).collect();
        if text.len() > ORDERED {
            endings.clear();
        }
        endings.sort_by_key(|start| ending(text, *start));
        Self { text: text.into(), endings: endings.into() }
    }

    /// Whether a value is somewhere in the text: then one of the endings begins with it, and the first that is not before
    /// the value in their order does.
    pub(super) fn has(&self, value: &[u8]) -> bool {
        if self.endings.is_empty() {
            return is_within(value, &self.text);
        }
        let first = self.endings.partition_point(|start| ending(&self.text, *start) < value);
        let first = self.endings.get(first).map_or(&[][..], |start| ending(&self.text, *start));
        first.starts_with(value)
    }
}

fn ending(text: &[u8], start: u32) -> &[u8] {
    text.get(start as usize..).unwrap_or(&[])
}

/// Longest value that is searched for without preparing a search, which costs more than the search itself.
const SHORT: usize = 32;

/// Whether `value` is somewhere in `text`. At worst [`SHORT`] steps a byte.
fn is_within(value: &[u8], text: &[u8]) -> bool {
    let Some((first, _)) = value.split_first() else { return true };
    if value.len() > SHORT {
        return memmem::find(text, value).is_some();
    }
    memchr::memchr_iter(*first, text).any(|at| text.get(at..).is_some_and(|rest| rest.starts_with(value)))
}

/// At worst as many steps as the value is long times the word; the word comes from a rule.
fn contains_word(value: &[u8], word: &Finder<'_>) -> bool {
    let length = word.needle().len();
    if length == 0 {
        return true;
    }
    let mut from = 0;
    while let Some(at) = value.get(from..).and_then(|rest| word.find(rest)) {
        let start = from + at;
        let before = start.checked_sub(1).and_then(|before| value.get(before));
        let after = value.get(start + length);
        if !is_word_byte(before) && !is_word_byte(after) {
            return true;
        }
        from = start + 1;
    }
    false
}

fn is_word_byte(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert_eq, proptest};

    use super::{Whole, is_within};

    proptest! {
        #[test]
        fn a_part_is_found_as_by_a_plain_search(
            text in prop::collection::vec(prop::sample::select(&b"ab/"[..]), 0..30),
            value in prop::collection::vec(prop::sample::select(&b"ab/"[..]), 0..5),
        ) {
            let is_part = value.is_empty() || text.windows(value.len()).any(|part| part == value);
            prop_assert_eq!(Whole::new(&text).has(&value), is_part);
            prop_assert_eq!(is_within(&value, &text), is_part);
            let long = [&text[..], &[b'x'; super::ORDERED]].concat();
            prop_assert_eq!(Whole::new(&long).has(&value), is_part);
        }
    }
}
