//! Lets go of short fingerprints that ordinary text has as well.

use super::token::{Kind, Token};

/// Whether a value with these folded tokens is more likely ordinary text. `token_count` is their number before folding:
/// where tokens were folded away, or hidden between comments, somebody wanted more than a few words.
pub(super) fn is_ordinary(value: &[u8], tokens: &[Token], token_count: usize) -> bool {
    if let [_, .., last] = tokens
        && last.kind == Kind::Comment
        && memchr::memmem::find(value, b"sp_password").is_some()
    {
        // SQL Server keeps such statements out of its trace, so attackers add the word.
        return false;
    }
    match tokens {
        [first, second] => is_ordinary_pair(value, first, second, token_count),
        [first, second, third] => is_ordinary_triple([first, second, third], token_count),
        _ => false,
    }
}

fn is_ordinary_pair(value: &[u8], first: &Token, second: &Token, token_count: usize) -> bool {
    if second.kind == Kind::Union {
        return token_count == 2;
    }
    let opens_with = second.first_byte();
    match (first.kind, second.kind) {
        _ if opens_with == b'#' => true,
        (Kind::Bareword, Kind::Comment) => opens_with != b'/',
        (Kind::Number, Kind::Comment) => {
            opens_with != b'/' && token_count <= 2 && !ends_at_once(value.get(first.text().len()..).unwrap_or_default())
        }
        _ => opens_with == b'-' && second.text().len() > 2,
    }
}

/// Whether a number really ends here, and is not the beginning of a token in base64 with dashes, say.
fn ends_at_once(behind: &[u8]) -> bool {
    match behind {
        [b'/', next, ..] => *next == b'*',
        [b'-', next, ..] => *next == b'-',
        [byte, ..] => !(b'!'..=0x7f).contains(byte),
        [] => false,
    }
}

fn is_ordinary_triple(tokens: [&Token; 3], token_count: usize) -> bool {
    let [first, second, third] = tokens;
    match (first.kind, second.kind, third.kind) {
        // Text between two strings that the value neither opens nor closes: `…foo" + "bar…`.
        (Kind::String, Kind::Operator | Kind::Logic, Kind::String) => {
            !(first.open == 0 && third.close == 0 && first.close == third.open)
        }
        (Kind::String | Kind::Bareword, Kind::Logic, Kind::Bareword)
        | (Kind::Bareword, Kind::Logic, Kind::Number)
        | (Kind::Number, Kind::Logic, Kind::Number | Kind::Variable | Kind::String) => token_count == 3,
        (_, Kind::Keyword, _) => {
            let word = second.text();
            word.len() < 5 || !word.get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"INTO"))
        }
        _ => false,
    }
}
