//! Cuts a value into tokens of SQL, as libinjection does.
//!
//! A token always takes away at least the bytes that were looked at to find its end, but for a bounded number and for
//! the digits of a literal that turns out to be a word. So the work is linear in the length of the value.

use super::keyword;
use super::literal;
use super::token::{Kind, TOKEN_BYTES, Token};

/// How comments are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `--` begins a comment wherever it stands, `#` is an operator.
    Ansi,
    /// `--` needs white space behind it, `#` begins a comment.
    Mysql,
}

/// What surrounds the place where a value is put into a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quoting {
    /// Nothing.
    Plain,
    /// Single quotes.
    Single,
    /// Double quotes.
    Double,
}

/// Reads the tokens of one value in one context.
#[derive(Clone, Debug)]
pub(crate) struct Tokenizer<'a> {
    value: &'a [u8],
    rest: &'a [u8],
    dialect: Dialect,
    quoting: Quoting,
    /// Tokens read so far.
    pub(crate) tokens: usize,
    /// Whether something was read that MySQL reads differently: a `#`, or a `--` without white space behind it.
    pub(crate) mysql_differs: bool,
}

/// The rest of a value is read as one token (or as white space, then `None`) and what is behind it.
pub(super) type Step<'a> = (Option<Token>, &'a [u8]);

impl<'a> Tokenizer<'a> {
    /// Starts at the beginning of `value`.
    pub(crate) const fn new(value: &'a [u8], quoting: Quoting, dialect: Dialect) -> Self {
        Self { value, rest: value, dialect, quoting, tokens: 0, mysql_differs: false }
    }

    /// The next token, `None` at the end.
    pub(crate) fn next_token(&mut self) -> Option<Token> {
        if self.tokens == 0 && self.rest.len() == self.value.len() && !self.value.is_empty() {
            let quote = match self.quoting {
                Quoting::Plain => None,
                Quoting::Single => Some(b'\''),
                Quoting::Double => Some(b'"'),
            };
            if let Some(quote) = quote {
                let (token, rest) = literal::string_within(self.rest, quote, 0);
                self.rest = rest;
                self.tokens += 1;
                return Some(token);
            }
        }
        while let Some(&first) = self.rest.first() {
            let (token, rest) = self.step(first);
            self.rest = rest;
            if token.is_some() {
                self.tokens += 1;
                return token;
            }
        }
        None
    }

    fn step(&mut self, first: u8) -> Step<'a> {
        let rest = self.rest;
        match first {
            0..=b' ' | 0x7f | 0xa0 => (None, rest.get(1..).unwrap_or_default()),
            b'\'' | b'"' => literal::string(rest, first),
            b'`' => literal::backquoted(rest),
            b'0'..=b'9' | b'.' => literal::number(rest),
            b'$' => literal::money(rest),
            b'@' => literal::variable(rest),
            b'b' | b'B' => literal::digits_in_quotes(rest, |byte| matches!(byte, b'0' | b'1')),
            b'x' | b'X' => literal::digits_in_quotes(rest, |byte| byte.is_ascii_hexdigit()),
            b'e' | b'E' => literal::escape_string(rest),
            b'n' | b'N' => literal::national_string(rest),
            b'q' | b'Q' => literal::alternative_string(rest, 0),
            b'u' | b'U' => literal::unicode_string(rest),
            b'[' => bracketed(rest),
            b'(' => take(Kind::LeftParenthesis, rest, 1),
            b')' => take(Kind::RightParenthesis, rest, 1),
            b'{' => take(Kind::LeftBrace, rest, 1),
            b'}' => take(Kind::RightBrace, rest, 1),
            b',' => take(Kind::Comma, rest, 1),
            b';' => take(Kind::Semicolon, rest, 1),
            b'?' | b']' => take(Kind::Unknown, rest, 1),
            b'%' | b'+' | b'^' | b'~' => take(Kind::Operator, rest, 1),
            b'!' | b'&' | b'*' | b':' | b'<' | b'=' | b'>' | b'|' => operator(rest),
            b'\\' if rest.get(1) == Some(&b'N') => take(Kind::Number, rest, 2),
            b'\\' => take(Kind::Backslash, rest, 1),
            b'#' => self.hash(),
            b'-' => self.dash(),
            b'/' => slash(rest),
            _ => word(rest),
        }
    }

    fn hash(&mut self) -> Step<'a> {
        self.mysql_differs = true;
        match self.dialect {
            Dialect::Mysql => line_comment(self.rest),
            Dialect::Ansi => take(Kind::Operator, self.rest, 1),
        }
    }

    fn dash(&mut self) -> Step<'a> {
        match self.rest {
            [_, b'-'] => line_comment(self.rest),
            [_, b'-', next, ..] if is_white(*next) => line_comment(self.rest),
            [_, b'-', ..] if self.dialect == Dialect::Ansi => {
                self.mysql_differs = true;
                line_comment(self.rest)
            }
            _ => take(Kind::Operator, self.rest, 1),
        }
    }
}

/// What SQL takes for white space, with the no-break space of Latin-1 and NUL.
pub(super) const fn is_white(byte: u8) -> bool {
    matches!(byte, 0 | b'\t'..=b'\r' | b' ' | 0xa0)
}

/// A token of the first `length` bytes.
pub(super) fn take(kind: Kind, rest: &[u8], length: usize) -> Step<'_> {
    let (text, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
    (Some(Token::new(kind, text)), rest)
}

fn line_comment(rest: &[u8]) -> Step<'_> {
    match memchr::memchr(b'\n', rest) {
        Some(end) => {
            let (token, rest) = take(Kind::Comment, rest, end);
            (token, rest.get(1..).unwrap_or_default())
        }
        None => take(Kind::Comment, rest, rest.len()),
    }
}

/// `/`, or a comment up to `*/`. One that holds `/*` is nested in PostgreSQL only, and `/*!` is code in MySQL: evil.
fn slash(rest: &[u8]) -> Step<'_> {
    let [_, b'*', inside @ ..] = rest else { return take(Kind::Operator, rest, 1) };
    let end = memchr::memmem::find(inside, b"*/");
    let within = inside.get(..end.map_or(0, |end| end + 1)).unwrap_or_default();
    let evil = inside.first() == Some(&b'!') || memchr::memmem::find(within, b"/*").is_some();
    let kind = if evil { Kind::Evil } else { Kind::Comment };
    take(kind, rest, end.map_or(rest.len(), |end| end + 4))
}

/// An operator of up to three bytes.
fn operator(rest: &[u8]) -> Step<'_> {
    if rest.starts_with(b"<=>") {
        return take(Kind::Operator, rest, 3);
    }
    match rest.get(..2).and_then(keyword::find) {
        Some(kind) => take(kind, rest, 2),
        None if rest.len() > 1 && rest.first() == Some(&b':') => take(Kind::Colon, rest, 1),
        None => take(Kind::Operator, rest, 1),
    }
}

/// A name in brackets, as in SQL Server.
fn bracketed(rest: &[u8]) -> Step<'_> {
    take(Kind::Bareword, rest, memchr::memchr(b']', rest).map_or(rest.len(), |end| end + 1))
}

/// Whether a word ends before this byte.
const fn ends_word(byte: u8) -> bool {
    is_white(byte) || matches!(byte, b'!'..=b'#' | b'%'..=b'-' | b'/' | b':'..=b'@' | b'['..=b'^' | b'{'..=b'~')
}

/// A word, a keyword, or a keyword before a dot or a backquote among the bytes that are kept.
pub(super) fn word(rest: &[u8]) -> Step<'_> {
    let length = rest.iter().position(|&byte| ends_word(byte)).unwrap_or(rest.len());
    let text = rest.get(..length).unwrap_or_default();
    for place in memchr::memchr2_iter(b'.', b'`', text.get(..TOKEN_BYTES).unwrap_or(text)) {
        if let Some(kind) = text.get(..place).and_then(keyword::find).filter(|kind| *kind != Kind::Bareword) {
            return take(kind, rest, place);
        }
    }
    take(keyword::find(text).unwrap_or(Kind::Bareword), rest, length)
}
