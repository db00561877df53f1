//! Texts of rules with their references resolved to numbers.

use crate::seclang::ast::{Piece, Text, Variable};

use super::names::{Names, TxId};

/// A text that is put together when it is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) pieces: Vec<Part>,
}

/// A piece of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// As it stands.
    Plain(Box<[u8]>),
    /// A variable of `TX`.
    Tx(TxId),
    /// Any other variable, with the name of its member.
    Value(Variable, Option<Box<str>>),
}

impl Template {
    pub(crate) fn new(text: &Text, tx: &mut Names) -> Self {
        let pieces = text.pieces.iter().map(|piece| match piece {
            Piece::Plain(plain) => Part::Plain(plain.as_bytes().into()),
            Piece::Reference(Variable::Tx, Some(name)) => Part::Tx(TxId(tx.add(name))),
            Piece::Reference(variable, member) => Part::Value(*variable, member.as_deref().map(Into::into)),
        });
        Self { pieces: pieces.collect() }
    }

    /// The text when nothing in it has to be looked up.
    pub(crate) fn plain(&self) -> Option<&[u8]> {
        match self.pieces.as_slice() {
            [] => Some(b""),
            [Part::Plain(text)] => Some(text),
            _ => None,
        }
    }
}

/// A number as rules read it: white space, a sign and digits; what follows is ignored, nothing at all is 0.
pub(crate) fn number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let mut value: i64 = 0;
    for digit in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        value = value.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
    }
    if negative { -value } else { value }
}

/// Writes a number in decimal.
pub(crate) fn write_number(out: &mut Vec<u8>, number: i64) {
    let mut digits = [0_u8; 20];
    let mut rest = number.unsigned_abs();
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or(&[]));
}

#[cfg(test)]
mod tests {
    use super::{number, write_number};

    #[test]
    fn numbers_are_read_as_far_as_they_go() {
        for (text, value) in
            [("5", 5), (" -12x", -12), ("+7", 7), ("", 0), ("abc", 0), ("99999999999999999999", i64::MAX)]
        {
            assert_eq!(number(text.as_bytes()), value, "{text}");
        }
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        for value in [0, 7, -7, 1200, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            write_number(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }
}
