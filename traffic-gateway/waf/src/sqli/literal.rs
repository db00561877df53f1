//! Strings, numbers, money and variables: the tokens with a syntax of their own.
//!
//! NUL counts as a digit and as a letter here, as it does for libinjection.

use memchr::memmem;

use super::keyword;
use super::token::{Kind, Token};
use super::tokenizer::{Step, take, word};

/// A string whose text begins `skip` bytes after the start of `rest`, up to `quote` or to the end. A quote behind an
/// odd number of backslashes, or doubled, does not end it.
pub(super) fn string_within(rest: &[u8], quote: u8, skip: usize) -> (Token, &[u8]) {
    let inside = rest.get(skip..).unwrap_or_default();
    let open = if skip > 0 { quote } else { 0 };
    let mut from = 0;
    while let Some(offset) = memchr::memchr(quote, inside.get(from..).unwrap_or_default()) {
        let end = from + offset;
        let text = inside.get(..end).unwrap_or_default();
        let backslashes = text.iter().rev().take_while(|byte| **byte == b'\\').count();
        if backslashes % 2 == 1 {
            from = end + 1;
        } else if inside.get(end + 1) == Some(&quote) {
            from = end + 2;
        } else {
            let behind = inside.get(end + 1..).unwrap_or_default();
            return (Token::quoted(Kind::String, text, open, quote), behind);
        }
    }
    (Token::quoted(Kind::String, inside, open, 0), &[])
}

/// `'…'` or `"…"`.
pub(super) fn string(rest: &[u8], quote: u8) -> Step<'_> {
    let (token, rest) = string_within(rest, quote, 1);
    (Some(token), rest)
}

/// `` `…` ``: a name, or a function of MySQL.
pub(super) fn backquoted(rest: &[u8]) -> Step<'_> {
    let (mut token, rest) = string_within(rest, b'`', 1);
    token.kind = match keyword::find(token.text()) {
        Some(Kind::Function) => Kind::Function,
        _ => Kind::Bareword,
    };
    (Some(token), rest)
}

/// `E'…'` of PostgreSQL. An empty or unfinished one at the very end is a word.
pub(super) fn escape_string(rest: &[u8]) -> Step<'_> {
    match rest {
        [_, b'\'', _, ..] => {
            let (token, rest) = string_within(rest, b'\'', 2);
            (Some(token), rest)
        }
        _ => word(rest),
    }
}

/// `N'…'`, or `NQ'…'` of Oracle.
pub(super) fn national_string(rest: &[u8]) -> Step<'_> {
    match rest {
        [_, b'\'', _, ..] => escape_string(rest),
        _ => alternative_string(rest, 1),
    }
}

/// `U&'…'`.
pub(super) fn unicode_string(rest: &[u8]) -> Step<'_> {
    match rest {
        [_, b'&', quoted @ ..] if quoted.first() == Some(&b'\'') => {
            let (mut token, rest) = string_within(quoted, b'\'', 1);
            token.open = b'u';
            if token.close == b'\'' {
                token.close = b'u';
            }
            (Some(token), rest)
        }
        _ => word(rest),
    }
}

/// `Q'!…!'` of Oracle, where any byte, or a pair of brackets, stands for the quotes; behind `skip` bytes of prefix.
pub(super) fn alternative_string(rest: &[u8], skip: usize) -> Step<'_> {
    let Some([b'q' | b'Q', b'\'', opening, inside @ ..]) = rest.get(skip..) else { return word(rest) };
    let closing = match opening {
        0..=b' ' | 0x80.. => return word(rest),
        b'(' => b')',
        b'[' => b']',
        b'{' => b'}',
        b'<' => b'>',
        other => *other,
    };
    until(inside, &[closing, b'\''], b'q')
}

/// A string up to a terminator or to the end, shown in quotes of this letter.
fn until<'a>(inside: &'a [u8], terminator: &[u8], quote: u8) -> Step<'a> {
    match memmem::find(inside, terminator) {
        Some(end) => {
            let text = inside.get(..end).unwrap_or_default();
            let behind = inside.get(end + terminator.len()..).unwrap_or_default();
            (Some(Token::quoted(Kind::String, text, quote, quote)), behind)
        }
        None => (Some(Token::quoted(Kind::String, inside, quote, 0)), &[]),
    }
}

/// `b'01'` or `x'1f'`: a number when only such digits stand between the quotes.
pub(super) fn digits_in_quotes(rest: &[u8], is_digit: fn(&u8) -> bool) -> Step<'_> {
    if let [_, b'\'', inside @ ..] = rest {
        let digits = inside.iter().take_while(|byte| **byte == 0 || is_digit(byte)).count();
        if inside.get(digits) == Some(&b'\'') {
            return take(Kind::Number, rest, digits + 3);
        }
    }
    word(rest)
}

/// How many bytes from `from` on are decimal digits.
fn decimals(rest: &[u8], from: usize) -> usize {
    rest.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// `12`, `1.5e-3`, `0x1F`, `0b01`, `1.5d` of Oracle; a lone dot; or a word such as `1e`, which MySQL takes for a name.
pub(super) fn number(rest: &[u8]) -> Step<'_> {
    if let [b'0', base @ (b'x' | b'X' | b'b' | b'B'), digits @ ..] = rest {
        let hexadecimal = base.eq_ignore_ascii_case(&b'x');
        let is_digit = |byte: &&u8| matches!(byte, 0 | b'0' | b'1') || (hexadecimal && byte.is_ascii_hexdigit());
        let count = digits.iter().take_while(is_digit).count();
        let kind = if count == 0 { Kind::Bareword } else { Kind::Number };
        return take(kind, rest, 2 + count);
    }
    let mut end = decimals(rest, 0);
    if rest.get(end) == Some(&b'.') {
        end += 1 + decimals(rest, end + 1);
        if end == 1 {
            return take(Kind::Dot, rest, 1);
        }
    }
    let mut kind = Kind::Number;
    if let Some(b'e' | b'E') = rest.get(end) {
        end += 1;
        if let Some(b'+' | b'-') = rest.get(end) {
            end += 1;
        }
        let exponent = decimals(rest, end);
        if exponent == 0 {
            kind = Kind::Bareword;
        }
        end += exponent;
    }
    if ends_with_suffix(rest.get(end..).unwrap_or_default()) {
        end += 1;
    }
    take(kind, rest, end)
}

/// Whether the `f` or `d` of an Oracle number stands here: before white space, a semicolon, the end, or `UNION`.
fn ends_with_suffix(rest: &[u8]) -> bool {
    match rest {
        [b'd' | b'D' | b'f' | b'F'] => true,
        [b'd' | b'D' | b'f' | b'F', next, ..] => {
            super::tokenizer::is_white(*next) || matches!(next, b';' | b'u' | b'U')
        }
        _ => false,
    }
}

/// `$1,000.00`, or `$$…$$` and `$tag$…$tag$` of PostgreSQL.
pub(super) fn money(rest: &[u8]) -> Step<'_> {
    let behind = rest.get(1..).unwrap_or_default();
    match behind.iter().take_while(|byte| matches!(byte, 0 | b'0'..=b'9' | b'.' | b',')).count() {
        0 => dollar_string(rest),
        1 if behind.first() == Some(&b'.') => word(rest),
        count => take(Kind::Number, rest, 1 + count),
    }
}

fn dollar_string(rest: &[u8]) -> Step<'_> {
    let behind = rest.get(1..).unwrap_or_default();
    let tag = behind.iter().take_while(|byte| **byte == 0 || byte.is_ascii_alphabetic()).count();
    match behind.get(tag) {
        Some(b'$') => {
            let (terminator, inside) = rest.split_at_checked(tag + 2).unwrap_or((rest, &[]));
            until(inside, terminator, b'$')
        }
        _ => take(Kind::Bareword, rest, 1),
    }
}

/// `@name`, `@@name`, or one with its name in quotes.
pub(super) fn variable(rest: &[u8]) -> Step<'_> {
    let at_signs = if rest.get(1) == Some(&b'@') { 2 } else { 1 };
    let name = rest.get(usize::from(at_signs)..).unwrap_or_default();
    let (token, rest) = match name.first() {
        Some(b'`') => backquoted(name),
        Some(quote @ (b'\'' | b'"')) => string(name, *quote),
        _ => take(Kind::Variable, name, name.iter().position(|byte| ends_name(*byte)).unwrap_or(name.len())),
    };
    (
        token.map(|mut token| {
            token.at_signs = at_signs;
            token.with_kind(Kind::Variable)
        }),
        rest,
    )
}

/// Whether the name of a variable ends before this byte.
const fn ends_name(byte: u8) -> bool {
    matches!(byte, 0 | b'\t'..=b'\r' | b' '..=b'#' | b'%'..=b'-' | b'/' | b':'..=b'@' | b'\\' | b'^' | b'`' | b'|' | b'~')
}
