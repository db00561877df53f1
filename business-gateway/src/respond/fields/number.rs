//! A JSON number (RFC 8259, section 6), byte by byte.

/// Where in a number the lexer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// Behind the minus.
    Minus,
    /// Behind a zero in front, which no digit follows.
    Zero,
    /// In the whole part.
    Whole,
    /// Behind the point.
    Point,
    /// In the fraction.
    Fraction,
    /// Behind the `e`.
    Exponent,
    /// Behind the sign of the exponent.
    Sign,
    /// In the exponent.
    Power,
}

impl Number {
    /// The number that begins with `byte`.
    #[must_use]
    pub fn begin(byte: u8) -> Option<Self> {
        match byte {
            b'-' => Some(Self::Minus),
            b'0' => Some(Self::Zero),
            b'1'..=b'9' => Some(Self::Whole),
            _ => None,
        }
    }

    /// What it is with one byte more; `None` where that byte is no part of it.
    #[must_use]
    pub fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Minus, _) => Self::begin(byte).filter(|next| *next != Self::Minus),
            (Self::Whole, b'0'..=b'9') => Some(Self::Whole),
            (Self::Zero | Self::Whole, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Whole | Self::Fraction, b'e' | b'E') => Some(Self::Exponent),
            (Self::Exponent, b'+' | b'-') => Some(Self::Sign),
            (Self::Exponent | Self::Sign | Self::Power, b'0'..=b'9') => Some(Self::Power),
            _ => None,
        }
    }

    /// Whether it may end here.
    #[must_use]
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Zero | Self::Whole | Self::Fraction | Self::Power)
    }
}
