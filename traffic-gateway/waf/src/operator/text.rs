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
