//! `@detectSQLi`: tokens of SQL, folded into a fingerprint.
//!
//! A value is read as if it were put into a statement as it is, within single quotes and within double quotes. In each
//! of these contexts [`tokenizer`] cuts it into tokens, [`fold`] folds them into five at most, and the letters of their
//! kinds are the fingerprint, exactly as libinjection has them. Whether a fingerprint is an injection libinjection looks
//! up in a list of some nine thousand; here it is a [`grammar`], so a rare fingerprint may be decided differently.
//! [`verdict`] then lets go what is too short to be told from ordinary text.
//!
//! The work is linear in the length of a value, at most five readings; nothing is allocated.

mod token;
mod tokenizer;
mod literal;
mod keyword;
mod fold;
mod grammar;
mod verdict;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;

use fold::{FINGERPRINT_TOKENS, Folded};
use token::{Kind, Token};
use tokenizer::{Dialect, Quoting, Tokenizer};

/// The kinds of the folded tokens of a value, a letter each: `sUE` is a string, `UNION`, `SELECT`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    letters: [u8; 8],
    length: u8,
}

impl Fingerprint {
    /// The letters: printable ASCII, at most eight.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let letters = self.letters.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(letters).unwrap_or_default()
    }

    fn of(tokens: &[Token]) -> Self {
        let mut fingerprint = Self::default();
        for (letter, token) in fingerprint.letters.iter_mut().zip(tokens) {
            *letter = token.kind.letter();
            fingerprint.length += 1;
        }
        fingerprint
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Fingerprint({})", self.as_str())
    }
}

/// Tells whether `value` would change the statement it is put into, and by which fingerprint.
#[must_use]
pub fn detect(value: &[u8]) -> Option<Fingerprint> {
    if value.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        // A word, perhaps behind numbers: no fingerprint of such tokens is an injection.
        return None;
    }
    if let found @ Some(_) = detect_ansi_then_mysql(value, Quoting::Plain) {
        return found;
    }
    if memchr::memchr(b'\'', value).is_some()
        && let found @ Some(_) = detect_ansi_then_mysql(value, Quoting::Single)
    {
        return found;
    }
    // Double quotes are strings in MySQL only.
    memchr::memchr(b'"', value)?;
    Reading::new(value, Quoting::Double, Dialect::Mysql).injection(value)
}

/// Reads comments as the standard has them, and again as MySQL has them where that makes a difference.
fn detect_ansi_then_mysql(value: &[u8], quoting: Quoting) -> Option<Fingerprint> {
    let ansi = Reading::new(value, quoting, Dialect::Ansi);
    if let found @ Some(_) = ansi.injection(value) {
        return found;
    }
    if !ansi.mysql_differs {
        return None;
    }
    Reading::new(value, quoting, Dialect::Mysql).injection(value)
}

/// A value as read in one context.
struct Reading {
    folded: Folded,
    /// Tokens before folding.
    tokens: usize,
    mysql_differs: bool,
}

impl Reading {
    fn new(value: &[u8], quoting: Quoting, dialect: Dialect) -> Self {
        let mut tokenizer = Tokenizer::new(value, quoting, dialect);
        let mut folded = fold::fold(&mut tokenizer);
        if folded.tokens().len() > 2
            && let Some(last) = folded.last_mut()
            && last.kind == Kind::Bareword
            && (last.open, last.close) == (b'`', 0)
            && last.text().is_empty()
        {
            // A backquote at the very end hides the rest of a statement from MySQL like a comment.
            last.kind = Kind::Comment;
        }
        if folded.tokens().iter().any(|token| token.kind == Kind::Evil) {
            folded = Folded::evil();
        }
        Self { folded, tokens: tokenizer.tokens, mysql_differs: tokenizer.mysql_differs }
    }

    fn injection(&self, value: &[u8]) -> Option<Fingerprint> {
        let mut kinds = [Kind::Nothing; FINGERPRINT_TOKENS];
        for (kind, token) in kinds.iter_mut().zip(self.folded.tokens()) {
            *kind = token.kind;
        }
        let kinds = kinds.get(..self.folded.tokens().len())?;
        (grammar::is_injection(kinds) && !verdict::is_ordinary(value, self.folded.tokens(), self.tokens))
            .then(|| Fingerprint::of(self.folded.tokens()))
    }
}
