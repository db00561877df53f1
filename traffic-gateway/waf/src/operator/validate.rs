//! `@validateByteRange` and `@validateUrlEncoding`: both match a value that is *not* valid.

use super::OperatorError;

/// The bytes a value may hold.
#[derive(Clone, Debug)]
pub(super) struct ByteRange {
    /// Bit `n % 64` of word `n / 64`.
    allowed: [u64; 4],
}

impl ByteRange {
    /// `9,10,13,32-126`. An empty list allows nothing.
    pub(super) fn parse(argument: &str) -> Result<Self, OperatorError> {
        let mut range = Self { allowed: [0; 4] };
        for item in argument.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let bad = || OperatorError::ByteRange(item.to_owned());
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let first: u8 = first.trim().parse().or(Err(bad()))?;
            let last: u8 = last.trim().parse().or(Err(bad()))?;
            if first > last {
                return Err(bad());
            }
            for byte in first..=last {
                if let Some(word) = range.allowed.get_mut(usize::from(byte / 64)) {
                    *word |= 1 << (byte % 64);
                }
            }
        }
        Ok(range)
    }

    /// Whether some byte of `value` is not allowed.
    pub(super) fn is_left_by(&self, value: &[u8]) -> bool {
        value
            .iter()
            .any(|byte| self.allowed.get(usize::from(byte / 64)).is_none_or(|word| (word >> (byte % 64)) & 1 == 0))
    }
}

/// Whether a `%` is not followed by two hexadecimal digits.
pub(super) fn has_broken_escape(value: &[u8]) -> bool {
    let mut rest = value;
    while let Some(tail) = memchr::memchr(b'%', rest).and_then(|at| rest.get(at..)) {
        let [_, high, low, after @ ..] = tail else { return true };
        if !high.is_ascii_hexdigit() || !low.is_ascii_hexdigit() {
            return true;
        }
        rest = after;
    }
    false
}
