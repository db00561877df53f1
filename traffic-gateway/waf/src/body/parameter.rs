//! Parameters behind a header value: `; name=value; name="quoted value"`, as in Content-Type and Content-Disposition.

use std::borrow::Cow;

use super::outcome::{Fault, Faults};

/// A parameter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameter<'a> {
    /// As written; compare without regard to case.
    pub(super) name: &'a [u8],
    /// Without quotes, with `\"` and `\\` resolved. Other backslashes are kept, as browsers send Windows paths.
    pub(super) value: Cow<'a, [u8]>,
    /// Whether it was in quotes.
    pub(super) quoted: bool,
    /// Whether white space stood beside the value, inside or outside of the quotes.
    pub(super) spaced: bool,
}

/// Reads the parameters of a header value. Whatever stands there is read as a parameter somehow, so that nothing is
/// hidden; what is not by the grammar is one of the `faults`.
pub(super) struct Parameters<'a, 'f> {
    rest: &'a [u8],
    faults: &'f mut Faults,
}

/// Splits a header value into what stands before its parameters, trimmed, and the parameters.
pub(super) fn split<'a, 'f>(value: &'a [u8], faults: &'f mut Faults) -> (&'a [u8], Parameters<'a, 'f>) {
    let value = value.trim_ascii();
    let end = value.iter().position(|byte| matches!(byte, b';' | b',' | b' ' | b'\t')).unwrap_or(value.len());
    let (essence, rest) = value.split_at_checked(end).unwrap_or((value, &[]));
    (essence, Parameters { rest, faults })
}

impl<'a> Iterator for Parameters<'a, '_> {
    type Item = Parameter<'a>;

    fn next(&mut self) -> Option<Parameter<'a>> {
        let separator = self.take(|byte| matches!(byte, b';' | b' ' | b'\t'));
        if self.rest.is_empty() {
            return None;
        }
        if !separator.contains(&b';') {
            self.faults.insert(Fault::MissingSemicolon);
        }
        let name = self.take(|byte| !matches!(byte, b'=' | b';' | b' ' | b'\t'));
        let before = self.take(is_blank);
        let Some((b'=', rest)) = self.rest.split_first() else {
            self.faults.insert(Fault::OddParameter);
            return Some(Parameter { name, value: Cow::Borrowed(&[]), quoted: false, spaced: false });
        };
        self.rest = rest;
        let behind = self.take(is_blank);
        let spaced = !before.is_empty() || !behind.is_empty();
        if let Some((b'"', rest)) = self.rest.split_first() {
            self.rest = rest;
            let value = self.quoted();
            let spaced = spaced || value.trim_ascii().len() != value.len();
            return Some(Parameter { name, value, quoted: true, spaced });
        }
        let value = self.take(|byte| !matches!(byte, b';' | b' ' | b'\t'));
        if value.first() == Some(&b'\'') || value.contains(&b'"') {
            self.faults.insert(Fault::InvalidQuoting);
        }
        Some(Parameter { name, value: Cow::Borrowed(value), quoted: false, spaced })
    }
}

impl<'a> Parameters<'a, '_> {
    /// Takes the bytes for which `part` holds.
    fn take(&mut self, part: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !part(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    /// Takes a quoted string and its closing quote.
    fn quoted(&mut self) -> Cow<'a, [u8]> {
        let plain = self.take(|byte| !matches!(byte, b'"' | b'\\'));
        if let Some((b'"', rest)) = self.rest.split_first() {
            self.rest = rest;
            return Cow::Borrowed(plain);
        }
        let mut value = plain.to_vec();
        loop {
            value.extend_from_slice(self.take(|byte| !matches!(byte, b'"' | b'\\')));
            self.rest = match self.rest {
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    return Cow::Owned(value);
                }
                [b'\\', b'"', rest @ ..] => {
                    self.faults.insert(Fault::InvalidQuoting);
                    value.push(b'"');
                    rest
                }
                [b'\\', b'\\', rest @ ..] => {
                    value.push(b'\\');
                    rest
                }
                [byte, rest @ ..] => {
                    value.push(*byte);
                    rest
                }
                [] => {
                    self.faults.insert(Fault::InvalidQuoting);
                    return Cow::Owned(value);
                }
            };
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}
