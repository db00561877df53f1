//! Decides which fingerprints are injections: a grammar of what leaves the place a value was meant for.
//!
//! A number, string, word or variable is a *value*, `V`. What an application puts into a statement is one value, or a
//! list or sum of them; an injection goes on behind it with another condition, a query, a statement, or a comment that
//! hides what follows, or it is a query, call or statement from its beginning. A fingerprint ends after five tokens, so
//! the last one only has to be one that an injection can have there.
//!
//! libinjection looks fingerprints up in a list instead. The grammar decides all of its vectors alike. Compared with
//! libinjection 3.9.2, whose verdicts on these values it was adjusted to: of 6,519 values of the CRS regression suite,
//! 179 of which libinjection takes for injections, 13 are decided differently; of 200,000 lines of documentation and
//! programs 3 raise an alarm here only and 1,400 there only, calls and comparisons of program code nearly all.

use super::fold::FINGERPRINT_TOKENS;
use super::token::Kind;

/// Whether a value folded into these kinds is an injection.
pub(super) fn is_injection(kinds: &[Kind]) -> bool {
    let mut letters = [0; FINGERPRINT_TOKENS];
    for (letter, kind) in letters.iter_mut().zip(kinds) {
        *letter = match kind {
            Kind::Number | Kind::String | Kind::Bareword | Kind::Variable => b'V',
            other => other.letter(),
        };
    }
    match letters.get(..kinds.len()).unwrap_or_default() {
        [b'X'] => true,
        [b'V', b'&', b'V'] => is_condition(kinds),
        [b'V', b'o', b'V'] => is_comparison(kinds),
        [b'V', b'U', b'c'] if kinds.first() == Some(&Kind::Number) => true,
        [b'V', b')', b'c'] => kinds.first() != Some(&Kind::Bareword),
        _ if is_prose(kinds) => false,
        _ if is_cut_string(kinds) => true,
        [b'V', behind @ ..] => goes_on(behind),
        [b'f', b'(', arguments @ ..] => is_call(arguments),
        [b'&', behind @ ..] => is_condition_alone(behind),
        [b'E', behind @ ..] => is_query(behind),
        [b'U', behind @ ..] => is_first_union(behind),
        [b'T', behind @ ..] => is_bare_statement(behind),
        // `; drop table users --`, `from users where 1=1`
        [b';', b'T', b'k', b'V', b'c'] | [b'k', b'V', b'k', b'f', b'('] | [b'k', b'V', b'k', b'V', b'o'] => true,
        _ => false,
    }
}

/// `1 or 1`, but neither `bread and butter` nor `7 and more`.
fn is_condition(kinds: &[Kind]) -> bool {
    !matches!(kinds, [Kind::Bareword, _, Kind::Bareword | Kind::String] | [Kind::Number, _, Kind::Bareword])
}

/// `x' = 'x`, `1 = @@version`: numbers and words compared are ordinary.
fn is_comparison(kinds: &[Kind]) -> bool {
    matches!(kinds, [Kind::Number | Kind::String, _, Kind::Variable] | [Kind::String | Kind::Variable, _, Kind::String])
}

/// Words with keywords between them as English has them too: `bread and butter;`, `sort order by name`, `take from bag`.
fn is_prose(kinds: &[Kind]) -> bool {
    use Kind::{
        Bareword, Comma, Comment, Function, Group, Keyword, LeftParenthesis, Logic, Number, Operator, RightParenthesis,
        Semicolon, String, Tsql,
    };
    matches!(
        kinds,
        [Bareword, Logic, Bareword, Semicolon | Comment]
            | [Bareword, Group, Bareword]
            | [Kind::Expression, Bareword, Keyword, Bareword]
            | [Bareword, Keyword, Number | Bareword, Semicolon]
            | [Bareword, Keyword, Bareword, Comment]
            | [_, Logic, Bareword, Keyword, Bareword]
            | [Bareword, Logic, Bareword, Keyword, _]
            | [Bareword, Keyword, Bareword, Logic, Bareword]
            | [Bareword, Comma, LeftParenthesis, Bareword, RightParenthesis]
            | [Bareword, Function, LeftParenthesis, Bareword | Function, ..]
            | [Bareword, Function, LeftParenthesis, Number, Bareword]
            | [Keyword, Bareword, Keyword, Bareword, Operator]
            | [Bareword, RightParenthesis, Operator, Number | Bareword]
            | [Bareword, Semicolon, Tsql, Keyword, Bareword]
            | [Bareword, Kind::Expression, Bareword, Kind::Expression, Bareword]
            | [String, RightParenthesis, Operator, Bareword]
            | [String, RightParenthesis, Logic, Function, Bareword]
            | [Bareword, RightParenthesis, Keyword, Bareword, Operator]
            | [String, Operator, Bareword, Comment]
    )
}

/// `x = ' or 'a'='b`: what stands between two strings was meant to be outside of them.
fn is_cut_string(kinds: &[Kind]) -> bool {
    use Kind::{Bareword, Logic, Number, Operator, String, Variable};
    matches!(
        kinds,
        [Number | String | Bareword | Variable, Operator, String, Number, String]
            | [Logic, Bareword | String, Operator, String, Number]
    )
}

/// What stands behind a value.
fn goes_on(behind: &[u8]) -> bool {
    match behind {
        [b'c' | b'U'] => true,
        [b'&', rest @ ..] => is_further_condition(rest),
        [b'U', rest @ ..] => is_second_query(rest),
        [b')', rest @ ..] => leaves_parenthesis(rest),
        [b';', rest @ ..] => is_further_statement(rest),
        [b'B', rest @ ..] => is_order(rest),
        _ => is_longer_expression(behind) || is_statement_at_once(behind),
    }
}

/// Behind a value: an operator or comma and what no value holds, as in `1 = (select …)` and `1, sleep(1)`, or another
/// condition behind the operand.
fn is_longer_expression(behind: &[u8]) -> bool {
    matches!(
        behind,
        [b'o', b'V', b';' | b'c']
            | [b'o', b'V', b'&', b'V']
            | [b'o', b'V', b')' | b';', b'c']
            | [b'o', b'V', b'E', b'V']
            | [b'o', b'V', b'f', b'(']
            | [b'o' | b',', b'(', b'E', b'V' | b'f' | b'k' | b'(']
            | [b'o' | b',', b'(', b'V', b')']
            | [b'o', b'f', b'(', b'V' | b'E' | b')' | b'f']
            | [b',', b'f', b'(', b'V' | b'E' | b'f']
    )
}

/// Behind a value without an operator: `1 into outfile 'x'`, `1 select …`, `1 waitfor …`, `1 sleep(1)`.
fn is_statement_at_once(behind: &[u8]) -> bool {
    matches!(
        behind,
        [b'k', b'V']
            | [b'k', b'V', b';' | b'c']
            | [b'k', b'V', b'&', b'V']
            | [b'k', b'V', b';', b'c']
            | [b'E', b'V', b'c']
            | [b'E', b'V', b'E', b'V']
            | [b'E', b'f', b'(', b'V' | b')']
            | [b'E', b'o', b'k', b'V']
            | [b'T', b'(', b'V', b')']
            | [b'T', b'V', b'V', b'c' | b'o']
            | [b'(', b'E', b'f', b'(']
            | [b'f', b'(', b')', b'o']
            | [b'f', b'(', b'E' | b'f', _]
            | [b'f', b'(', b'V', b')' | b'V']
    )
}

/// Behind a value and `AND` or `OR`.
fn is_further_condition(rest: &[u8]) -> bool {
    matches!(
        rest,
        [b'V', b';' | b'c']
            | [b'V', b')' | b';', b'c']
            | [b'V', b'B', b'V']
            | [b'V', b'U', b'E']
            | [b'V', b')', b'&']
            | [b'V', b';', b'E' | b'T']
            | [b'V', b'B', b'f']
            | [b'V', b'k', b'V']
            | [b'V', b'o', b'(' | b'V' | b'f']
            | [b'(', b'E', b'V' | b'f' | b'k' | b'o' | b'(']
            | [b'(', b'V', b')' | b'o' | b',' | b'k' | b'&']
            | [b'(', b'f', b'(']
            | [b'(', b'(', _]
            | [b'f', b'(', _]
            | [b'E', b'k', b'V']
    )
}

/// Behind a value and `UNION`.
fn is_second_query(rest: &[u8]) -> bool {
    matches!(rest, [b'E'] | [b'E', b'V' | b'f' | b'(' | b'k', ..] | [b'E', b'o', _] | [b'(', b'E', ..])
}

/// Behind `UNION` at the beginning.
fn is_first_union(rest: &[u8]) -> bool {
    matches!(
        rest,
        [b'(', b'E', b'V', b')']
            | [b'E', b'(', b'V', b')']
            | [b'E', b'f', b'(', _]
            | [b'E', b'o', b'k', b'V']
            | [b'E', b'V']
            | [b'E', b'V', b';' | b'c']
            | [b'E', b'V', b';', b'c']
            | [b'E', b'V', b'k', b'V']
            | [b'E', b'V', b',', b'f' | b'(']
    )
}

/// Behind a value and the `)` it should not have.
fn leaves_parenthesis(rest: &[u8]) -> bool {
    matches!(
        rest,
        [b'&', b'V']
            | [b'&' | b'B', b'V', b'U']
            | [b'f', b'(', b'f']
            | [b'&', b'V', b')' | b';' | b'B' | b'c' | b'o']
            | [b'&', b'f' | b'(', _]
            | [b',', b'(', b'V']
            | [b';', b'E', _]
            | [b';', b'T', b'(' | b'V' | b'k' | b'o']
            | [b'B', b'V']
            | [b'B', b'V', b'&' | b';' | b'c' | b'k' | b'o']
            | [b'B', b'f', b'(']
            | [b'E', b'V', b'c' | b'o']
            | [b'E', b'f', b'(']
            | [b'E', b'k', b'V']
            | [b'U', b'(', b'E']
            | [b'U', b'E', b'(' | b'V' | b'f' | b'k']
            | [b'k', b'V', b'&' | b';' | b'c' | b'k' | b'o']
            | [b'o', b'V']
            | [b'o', b'V', b'&' | b')' | b';' | b'c']
            | [b'o', b'(', b'E' | b'V']
            | [b'o', b'f', b'(']
    )
}

/// Behind a value and the end of its statement.
fn is_further_statement(rest: &[u8]) -> bool {
    matches!(
        rest,
        [b'T', b';']
            | [b'T', b';', b'c']
            | [b'T', b'(', b'V' | b'E']
            | [b'T', b'k', b'V']
            | [b'T', b'V', b'(' | b';' | b'c' | b'f' | b'k' | b'o' | b't' | b'E' | b'V']
            | [b'E', b'V', b';' | b'E' | b'c' | b'o' | b'k']
            | [b'E', b'f' | b'(', _]
            | [b'E', b'k', b'V']
            | [b'E', b'o', b'k']
    )
}

/// Behind a value and `ORDER BY`, `GROUP BY`, `HAVING` or `LIMIT`.
fn is_order(rest: &[u8]) -> bool {
    matches!(
        rest,
        [b'V']
            | [b'V', b';' | b'c']
            | [b'V', b'&', b'V']
            | [b'V', b'U', b'E']
            | [b'V', b';', b'c']
            | [b'V', b'B' | b'k', b'V']
            | [b'f', b'(', _]
    )
}

/// Behind the name of a function and `(`.
fn is_call(arguments: &[u8]) -> bool {
    matches!(
        arguments,
        [b')', b'c']
            | [b')', b'&', b'V']
            | [b')', b'o', b'V']
            | [b'V', b')']
            | [b'V', b')', b'&' | b';' | b'E' | b'c' | b'o']
            | [b'V', b',', b'f']
            | [b'E', b'V', b')']
            | [b'E', b'o', b'k']
            | [b't', b',', b'(']
            | [b'f', b'(', _]
    )
}

/// Behind `AND` or `OR` at the beginning.
fn is_condition_alone(behind: &[u8]) -> bool {
    matches!(
        behind,
        [b'(', b'V', b')', b'o']
            | [b'(', b'V', b'o', b'V']
            | [b'V', b'o', b'(' | b'f', b'V' | b'(']
            | [b'f', b'(', b')', b'o']
            | [b'f', b'(', b'V', b')']
            | [b'f', b'(', b'f', b'(']
    )
}

/// Behind `SELECT` and the like at the beginning.
fn is_query(behind: &[u8]) -> bool {
    matches!(
        behind,
        [b'V', b')']
            | [b'V', b')', b';' | b'c']
            | [b'V', b')', b'&', b'V']
            | [b'V', b')', b';', b'c']
            | [b'V', b'k', b'V']
            | [b'V', b'k', b'V', b')' | b';' | b'c' | b'k']
            | [b'V', b'&', b'V', b'o']
            | [b'(', b'E', b'V', b')']
            | [b'o', b'k', b'V', b'k']
            | [b'V', b'k', b'(', b'E']
            | [b'V', b'&', b'(', b'E']
            | [b'k', b'V', b'k', b'V']
            | [b'(', b'f', b'(', b'V']
            | [b'f', b'(', b'f', b'(']
            | [b'f', b'(', b'V', b',' | b'&']
            | [b'f', b'(', b')', b'&' | b';' | b'o']
            | [b'f', b'(', b'V' | b'o', b')']
    )
}

/// Behind `EXEC` and the like at the beginning.
fn is_bare_statement(behind: &[u8]) -> bool {
    matches!(behind, [b'(', b'V', b')', b'o'] | [b'V', b'V', b';'] | [b'V', b'V', b';', b'c'])
}
