//! `@eq`, `@ge`, `@gt`, `@le` and `@lt`.

/// How two numbers compare.
#[derive(Clone, Copy, Debug)]
pub(super) enum Relation {
    /// `@eq`.
    Equal,
    /// `@ge`.
    GreaterOrEqual,
    /// `@gt`.
    Greater,
    /// `@le`.
    LessOrEqual,
    /// `@lt`.
    Less,
}

impl Relation {
    /// Whether the number in `value` has this relation to the one in `argument`.
    pub(super) fn holds(self, value: &[u8], argument: &[u8]) -> bool {
        let (value, argument) = (leading_number(value), leading_number(argument));
        match self {
            Self::Equal => value == argument,
            Self::GreaterOrEqual => value >= argument,
            Self::Greater => value > argument,
            Self::LessOrEqual => value <= argument,
            Self::Less => value < argument,
        }
    }
}

/// The whole number a text begins with, after white space; 0 if there is none. Stays at the ends of 64 bits.
fn leading_number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0i64, |number, digit| number.saturating_mul(10).saturating_add(sign * i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::leading_number;

    #[test]
    fn reads_the_number_a_text_begins_with() {
        let cases = [
            ("", 0),
            ("x", 0),
            ("12", 12),
            (" \t-12x", -12),
            ("+7.9", 7),
            ("--7", 0),
            ("007", 7),
            ("99999999999999999999", i64::MAX),
            ("-99999999999999999999", i64::MIN),
        ];
        for (text, number) in cases {
            assert_eq!(leading_number(text.as_bytes()), number, "{text}");
        }
    }
}
