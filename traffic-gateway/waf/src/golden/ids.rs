//! Numbers of rules as cases name them.

use std::ops::RangeInclusive;

/// Rules that a case names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ids {
    /// One, or a range with both ends.
    Range(RangeInclusive<u32>),
    /// All whose number begins with these digits: `941*`.
    Prefix(String),
}

impl Ids {
    /// Reads `10100`, `10100-10199` or `941*`.
    pub(super) fn find(text: &str) -> Option<Self> {
        if let Some(digits) = text.strip_suffix('*') {
            let is_prefix = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            return is_prefix.then(|| Self::Prefix(digits.to_owned()));
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = first.trim().parse().ok()?..=last.trim().parse().ok()?;
        (!range.is_empty()).then_some(Self::Range(range))
    }

    /// Whether a rule is meant.
    #[must_use]
    pub fn contains(&self, id: u32) -> bool {
        match self {
            Self::Range(range) => range.contains(&id),
            Self::Prefix(digits) => id.to_string().starts_with(digits),
        }
    }
}

impl std::fmt::Display for Ids {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Range(range) if range.start() == range.end() => write!(formatter, "{}", range.start()),
            Self::Range(range) => write!(formatter, "{}-{}", range.start(), range.end()),
            Self::Prefix(digits) => write!(formatter, "{digits}*"),
        }
    }
}
