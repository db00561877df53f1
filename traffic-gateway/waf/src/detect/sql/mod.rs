//! `@detectSql`: text that leaves its place in an SQL statement and goes on as SQL.
//!
//! The value is read as it would stand in a statement: behind a quote it may close (`x' or …`), as a number
//! (`1 or …`), within parentheses (`1) or …`). What follows must be SQL that does something: a condition that decides by
//! itself, `UNION … SELECT`, another statement, a comment that cuts off the rest, a function that waits, reads files or
//! forces an error. A value is judged at its *first* quote: a second one closes a string of its own (`name = 'x' and
//! y = 'z'` is somebody's query language) and is only likely. Statements without a break-out are likely: tutorials and
//! SQL consoles hold them.
//!
//! Leaves names (`O'Brien`), prose (`select a union from the list`, `1 or 2`), search languages and code alone.

mod token;
mod functions;
mod phrase;

use super::evidence::Best;
use super::scan::{is_space, part};
use super::{Classes, Finding, Grade};
use functions::{is_function, is_slow};
use token::{Behind, Key, Kind, Tokens};

/// Quotes of one kind that are tried after the first.
const TRIES: usize = 4;

/// What stands between the words of a statement.
const MARKS: Classes = Classes::PAREN
    .or(Classes::SEMICOLON)
    .or(Classes::EQUALS)
    .or(Classes::STAR)
    .or(Classes::HASH)
    .or(Classes::PIPE)
    .or(Classes::AMPERSAND)
    .or(Classes::LESS)
    .or(Classes::GREATER)
    .or(Classes::SPACE)
    .or(Classes::NEWLINE)
    .or(Classes::AT)
    .or(Classes::PLUS)
    .or(Classes::DASH);

/// What stands between the words of a phrase.
const GAPS: Classes =
    Classes::SPACE.or(Classes::PAREN).or(Classes::STAR).or(Classes::NEWLINE).or(Classes::AT).or(Classes::PLUS);

/// A quote, or what stands between the words of a statement.
pub(super) fn may_find(_: &[u8], classes: Classes) -> bool {
    classes.any(MARKS.or(Classes::QUOTE))
}

pub(super) fn find(value: &[u8], classes: Classes) -> Option<Finding> {
    let mut best = Best::default();
    let kinds = [(b'\'', Classes::SINGLE), (b'"', Classes::DOUBLE), (b'`', Classes::BACKTICK)];
    for (quote, _) in kinds.into_iter().filter(|(_, class)| classes.any(*class)) {
        if behind_quotes(value, quote, &mut best) {
            return best.into_finding();
        }
    }
    if best.keep(number(value)) {
        return best.into_finding();
    }
    if classes.any(GAPS) && phrase::may_find(value, classes) {
        best.keep(phrase::find(value));
    }
    best.into_finding()
}

/// Tries the quotes of one kind.
fn behind_quotes(value: &[u8], quote: u8, best: &mut Best) -> bool {
    let mut is_first = true;
    let is_odd = memchr::memchr_iter(quote, value).count() % 2 == 1;
    for at in memchr::memchr_iter(quote, value).take(TRIES) {
        let found = break_out(value, at).filter(|(what, ..)| is_first || counts_later(what, is_odd)).map(
            |(what, grade, end)| Finding {
                what,
                grade: if is_first { grade } else { Grade::Likely },
                at: at..end.clamp(at, value.len()),
            },
        );
        if best.keep(found) {
            return true;
        }
        // An escaped or doubled quote is a literal one in some dialects and the end in others: the next is first too.
        let escaped = at.checked_sub(1).and_then(|at| value.get(at)) == Some(&b'\\');
        is_first &= escaped || value.get(at + 1) == Some(&quote);
    }
    false
}

/// Whether a finding counts behind a quote that is not the first. A condition there is one of a query language, unless a
/// quote is left over.
fn counts_later(what: &str, is_odd: bool) -> bool {
    matches!(what, "UNION SELECT" | "another statement after a value" | "file written by SQL" | "SQL that waits")
        || (is_odd && what == DECIDES)
}

/// The finding of a condition.
const DECIDES: &str = "condition that decides by itself";

/// What was found, how sure, and where it ends.
type Verdict = Option<(&'static str, Grade, usize)>;

/// Where a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Behind a quote.
    Quoted,
    /// Behind a number.
    Number,
    /// Behind a bare word.
    Word,
}

/// What follows a quote.
fn break_out(value: &[u8], at: usize) -> Verdict {
    if !Tokens::may_go_on(value, at + 1, Behind::Quote) {
        return None;
    }
    let mut tokens = Tokens::read(value, at + 1);
    tokens.skip_while(|token| token.kind == Kind::Close);
    continuation(tokens, Place::Quoted, value.get(at + 1) == Some(&b')'))
}

/// What follows a number, a literal or a word at the beginning of the value.
fn number(value: &[u8]) -> Option<Finding> {
    if !Tokens::may_go_on(value, 0, Behind::Operand) {
        return None;
    }
    let mut tokens = Tokens::read(value, 0);
    let signs = tokens.skip_while(|token| token.kind == Kind::Math || token.kind == Kind::Open);
    let first = tokens.peek();
    let place = match (first.kind, first.key) {
        (Kind::Number | Kind::Variable, _) | (Kind::Key, Key::Literal) => Place::Number,
        (Kind::Name, _) => Place::Word,
        (Kind::Close, _) if signs == 0 => Place::Word,
        // `(case when (select …) …)` where a column belongs.
        (Kind::Key, Key::Case) if tokens.peek_by(1).key == Key::When => {
            let asks = (2..token::TOKENS).any(|ahead| tokens.peek_by(ahead).key == Key::Select);
            let what = "condition in place of a column";
            return Some(if asks { Finding::certain(what, 0..first.end) } else { Finding::likely(what, 0..first.end) });
        }
        // `or 1=1`, `union select …` as the beginning.
        (Kind::Key, Key::Or | Key::And | Key::Union | Key::Having) | (Kind::Logic | Kind::Semicolon, _)
            if signs == 0 =>
        {
            return finding(continuation(tokens, Place::Word, false));
        }
        _ => return None,
    };
    tokens.skip(usize::from(first.kind != Kind::Close));
    while tokens.peek().kind == Kind::Dot {
        tokens.skip(2);
    }
    let closes = tokens.skip_while(|token| token.kind == Kind::Close) > 0;
    finding(continuation(tokens, place, closes))
}

fn finding(verdict: Verdict) -> Option<Finding> {
    verdict.map(|(what, grade, end)| Finding { what, grade, at: 0..end })
}

/// What the tokens behind an operand go on with.
fn continuation(mut tokens: Tokens<'_>, place: Place, closes: bool) -> Verdict {
    let token = tokens.peek();
    tokens.skip(1);
    let end = token.end;
    match (token.kind, token.key) {
        (Kind::Comment, _) => comment(tokens.value, token.start, place, closes),
        (Kind::Semicolon, _) => stacked(tokens, place),
        (Kind::Key, Key::Or | Key::And | Key::Having | Key::Where) | (Kind::Logic, _) => {
            let grade = condition(&mut tokens, place)?;
            Some((DECIDES, grade, tokens.peek().start))
        }
        (Kind::Key, Key::Union) => {
            phrase::union(tokens, place != Place::Word).map(|(grade, end)| ("UNION SELECT", grade, end))
        }
        (Kind::Key, Key::Order) if tokens.eat_key(Key::By) => {
            order(&tokens, place).map(|grade| ("ORDER BY after a value", grade, tokens.peek().end))
        }
        (Kind::Key, Key::Limit) if tokens.peek().kind == Kind::Number && place != Place::Word => {
            limit(tokens, place).map(|grade| ("LIMIT after a value", grade, end))
        }
        (Kind::Key, Key::Into) => (tokens.peek().key == Key::Outfile
            && matches!(tokens.peek_by(1).kind, Kind::Text | Kind::OpenText | Kind::Number))
        .then_some(("file written by SQL", Grade::Certain, end)),
        (Kind::Key, Key::Procedure) => super::starts_with(tokens.text(tokens.peek()), b"analyse").then_some((
            "PROCEDURE ANALYSE",
            Grade::Certain,
            end,
        )),
        (Kind::Key, Key::Waitfor) => is_word_text(&tokens, b"delay").then_some(("SQL that waits", Grade::Certain, end)),
        (Kind::Key, Key::Exec | Key::Declare) => statement(&mut Tokens::read(tokens.value, token.start))
            .filter(|_| place != Place::Word)
            .map(|grade| ("statement after a value", grade, end)),
        (Kind::Key, Key::Like | Key::In | Key::Is | Key::Between | Key::Not) if place != Place::Word => {
            predicate(&mut tokens, token.key, place).map(|grade| ("predicate after a value", grade, end))
        }
        (Kind::Compare, _) => comparison(&mut tokens, place).map(|grade| ("comparison after a value", grade, end)),
        (Kind::Math, _) => arithmetic(&mut tokens, place).map(|grade| ("expression joined to a value", grade, end)),
        (Kind::Comma, _) if place != Place::Word => {
            list(&mut tokens).map(|grade| ("list of values continued", grade, end))
        }
        _ => None,
    }
}

fn is_word_text(tokens: &Tokens<'_>, word: &[u8]) -> bool {
    tokens.text(tokens.peek()).eq_ignore_ascii_case(word)
}

/// A comment that cuts off the rest of the statement: only a few bytes follow it.
fn comment(value: &[u8], start: usize, place: Place, closes: bool) -> Verdict {
    let mark = part(value, start, start + 2);
    let length = if mark.starts_with(b"#") { 1 } else { 2 };
    let tail = part(value, start + length, value.len());
    let short = tail
        .iter()
        .filter(|byte| !is_space(**byte) && !matches!(byte, b'-' | b'+' | b'#' | b'*' | b'/' | 0))
        .take(9)
        .count();
    let grade = match (place, short) {
        (Place::Quoted, 0) => Grade::Certain,
        (Place::Quoted, 1..=8) if !mark.starts_with(b"#") => Grade::Likely,
        // `1)--` closes what the application opened; `1--` may be a part number.
        (Place::Number, 0) if closes || tail.starts_with(b" -") => Grade::Certain,
        (Place::Number, 0) if mark != b"#" || !tail.is_empty() => Grade::Likely,
        _ => return None,
    };
    Some(("comment that cuts off the rest", grade, value.len()))
}

/// `; DROP TABLE x`, `;--`.
fn stacked(mut tokens: Tokens<'_>, place: Place) -> Verdict {
    let what = "another statement after a value";
    let token = tokens.peek();
    if token.kind == Kind::Comment {
        return (place == Place::Quoted).then_some((what, Grade::Certain, tokens.value.len()));
    }
    let grade = statement(&mut tokens)?;
    Some((what, if place == Place::Word { Grade::Likely } else { grade }, tokens.peek().start))
}

/// A statement by its first words; prose that begins like one goes on differently.
fn statement(tokens: &mut Tokens<'_>) -> Option<Grade> {
    let first = tokens.peek();
    tokens.skip(1);
    let next = tokens.peek();
    let after = tokens.peek_by(1);
    let certain = match first.key {
        Key::Select => phrase::is_list_of_select(tokens) || phrase::has_from(tokens),
        Key::Insert => {
            let named = after.kind == Kind::Name && matches!(tokens.peek_by(2).key, Key::Values | Key::Select);
            next.key == Key::Into && (named || tokens.peek_by(2).kind == Kind::Open)
        }
        Key::Update => next.kind == Kind::Name && after.key == Key::Set && tokens.peek_by(3).kind == Kind::Compare,
        Key::Delete => {
            let ends = matches!(tokens.peek_by(2).kind, Kind::End | Kind::Comment | Kind::Semicolon | Kind::Dot);
            next.key == Key::From && (ends || tokens.peek_by(2).key == Key::Where)
        }
        Key::Drop | Key::Alter | Key::Create => {
            next.key == Key::Thing
                && matches!(after.kind, Kind::Name | Kind::Key)
                && matches!(
                    tokens.peek_by(2).kind,
                    Kind::End | Kind::Comment | Kind::Semicolon | Kind::Open | Kind::Dot | Kind::Key | Kind::OpenText
                )
        }
        Key::Truncate => next.key == Key::Thing && after.kind == Kind::Name,
        Key::Exec => is_procedure(tokens) || next.kind == Kind::Open || next.kind == Kind::Variable,
        Key::Declare => next.kind == Kind::Variable || after.kind == Kind::Variable,
        Key::Shutdown => matches!(next.kind, Kind::End | Kind::Comment | Kind::Semicolon),
        Key::Waitfor => is_word_text(tokens, b"delay") || is_word_text(tokens, b"time"),
        Key::Set => next.kind == Kind::Variable && after.kind == Kind::Compare,
        Key::Begin => after.kind == Kind::Semicolon || next.key == Key::Declare || next.key == Key::Exec,
        Key::Statement => {
            tokens.text(tokens.peek_by(2)).eq_ignore_ascii_case(b"program")
                || matches!(next.key, Key::All | Key::Select | Key::Into | Key::Thing) && after.kind != Kind::End
                || is_procedure(tokens)
                || (after.key == Key::From && !matches!(tokens.peek_by(2).kind, Kind::Name))
        }
        Key::None => first.kind == Kind::Name && is_slow(tokens.text(first)) && next.kind == Kind::Open,
        _ => false,
    };
    certain.then_some(Grade::Certain)
}

/// `xp_cmdshell`, `master..xp_cmdshell`, `sp_executesql`.
fn is_procedure(tokens: &Tokens<'_>) -> bool {
    (0..6).map(|ahead| tokens.peek_by(ahead)).take_while(|token| matches!(token.kind, Kind::Name | Kind::Dot)).any(
        |token| {
            let name = tokens.text(token);
            super::starts_with(name, b"xp_") || super::starts_with(name, b"sp_")
        },
    )
}

/// A condition that does not depend on what the application asked. Leaves the tokens behind it.
fn condition(tokens: &mut Tokens<'_>, place: Place) -> Option<Grade> {
    tokens.skip_while(|token| matches!(token.kind, Kind::Open | Kind::Math) || token.key == Key::Not);
    let first = tokens.peek();
    match (first.kind, first.key) {
        (Kind::Key, Key::Select) => {
            return (phrase::is_list_of_select(&after(tokens, 1)) || phrase::has_from(&after(tokens, 1)))
                .then_some(Grade::Certain);
        }
        (Kind::Key, Key::Exists) => return (tokens.peek_by(1).kind == Kind::Open).then_some(Grade::Certain),
        (Kind::Key, Key::Case) => return (tokens.peek_by(1).key == Key::When).then_some(Grade::Certain),
        (Kind::Number | Kind::Text | Kind::OpenText | Kind::Variable, _) | (Kind::Key, Key::Literal) => {}
        (Kind::Name | Kind::Key, _) => return named(tokens, place),
        _ => return None,
    }
    tokens.skip(1);
    while tokens.peek().kind == Kind::Math
        && matches!(tokens.peek_by(1).kind, Kind::Number | Kind::Text | Kind::OpenText | Kind::Math)
    {
        tokens.skip(2);
    }
    tokens.skip_while(|token| token.kind == Kind::Close);
    let next = tokens.peek();
    tokens.skip(1);
    let quoted = place == Place::Quoted;
    match (next.kind, next.key) {
        (Kind::Compare, _) => compared(tokens, place),
        (Kind::Key, Key::Like | Key::In | Key::Is | Key::Between | Key::Not) => predicate(tokens, next.key, place),
        (Kind::Comment, _) => {
            (first.kind != Kind::OpenText && (quoted || place == Place::Number)).then_some(Grade::Certain)
        }
        (Kind::Key, Key::Or | Key::And | Key::Union | Key::Order | Key::Limit) | (Kind::Logic, _) if quoted => {
            Some(Grade::Certain)
        }
        (Kind::Semicolon, _) if quoted => {
            Some(if tokens.peek().kind == Kind::Comment { Grade::Certain } else { Grade::Likely })
        }
        // `' or 1`, `' or 'x`: the application's quote ends it.
        (Kind::End, _) if quoted => Some(
            if first.kind == Kind::OpenText
                && has_no_space(tokens, first.start, first.end)
                && first.end - first.start < 16
            {
                Grade::Certain
            } else {
                Grade::Likely
            },
        ),
        _ => None,
    }
}

fn has_no_space(tokens: &Tokens<'_>, start: usize, end: usize) -> bool {
    !part(tokens.value, start, end).iter().any(|byte| is_space(*byte))
}

fn after<'a>(tokens: &Tokens<'a>, count: usize) -> Tokens<'a> {
    let mut ahead = tokens.clone();
    ahead.skip(count);
    ahead
}

/// The right side of a comparison whose left side is a literal.
fn compared(tokens: &mut Tokens<'_>, place: Place) -> Option<Grade> {
    tokens.skip_while(|token| matches!(token.kind, Kind::Open | Kind::Math | Kind::Compare) || token.key == Key::Not);
    let token = tokens.peek();
    tokens.skip(1);
    match token.kind {
        Kind::Number | Kind::Text | Kind::OpenText | Kind::Variable => Some(Grade::Certain),
        Kind::Key => {
            matches!(token.key, Key::Literal | Key::Select | Key::Case | Key::Exists).then_some(Grade::Certain)
        }
        // `or 1=name`
        Kind::Name => (place != Place::Word).then_some(Grade::Certain),
        // `' or 1=`: the application's own text follows.
        Kind::End | Kind::Comment => (place == Place::Quoted).then_some(Grade::Likely),
        _ => None,
    }
}

/// A condition that begins with a name: a function, or a column compared.
fn named(tokens: &mut Tokens<'_>, place: Place) -> Option<Grade> {
    let first = tokens.peek();
    let name = tokens.text(first);
    tokens.skip(1);
    while tokens.peek().kind == Kind::Dot {
        tokens.skip(2);
    }
    if tokens.peek().kind == Kind::Open {
        let known = is_function(name) || is_slow(name);
        let compared = call_end(tokens);
        let next = tokens.peek();
        let decides = compared
            && (matches!(next.kind, Kind::Compare | Kind::Comment | Kind::End)
                || matches!(next.key, Key::In | Key::Like | Key::Between | Key::Is | Key::Or | Key::And));
        return match (known, place) {
            _ if is_slow(name) => Some(Grade::Certain),
            (true, Place::Quoted) => Some(Grade::Certain),
            (true, Place::Number) if decides || !compared => Some(Grade::Certain),
            (true, Place::Word) if decides => Some(Grade::Likely),
            (false, Place::Quoted) if decides => Some(Grade::Likely),
            _ => None,
        };
    }
    let next = tokens.peek();
    tokens.skip(1);
    let value = tokens.peek();
    let literal = matches!(value.kind, Kind::Number | Kind::Text | Kind::OpenText | Kind::Variable)
        || matches!(value.key, Key::Literal | Key::Select);
    match (next.kind, next.key) {
        (Kind::Compare, _) if place == Place::Quoted => (literal
            || matches!(value.kind, Kind::Open | Kind::Name | Kind::End))
        .then_some(if literal { Grade::Certain } else { Grade::Likely }),
        (Kind::Compare, _) if place == Place::Number => literal.then_some(Grade::Likely),
        (Kind::Key, Key::Like | Key::In | Key::Is | Key::Between) if place == Place::Quoted => {
            predicate(tokens, next.key, place)
        }
        (Kind::Key, Key::Not) if place == Place::Quoted => {
            matches!(value.key, Key::Like | Key::In | Key::Between).then_some(Grade::Certain)
        }
        (Kind::Comment, _) if place == Place::Quoted => Some(Grade::Likely),
        _ => None,
    }
}

/// Skips a call's parentheses; `false` when they do not close within reach.
fn call_end(tokens: &mut Tokens<'_>) -> bool {
    let mut depth = 0_usize;
    for _ in 0..token::TOKENS {
        let kind = tokens.peek().kind;
        tokens.skip(1);
        match kind {
            Kind::Open => depth += 1,
            Kind::Close => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return true;
                }
            }
            Kind::End => return false,
            _ => {}
        }
    }
    false
}

/// `like '…'`, `in (…)`, `is null`, `between 1 and 2`.
fn predicate(tokens: &mut Tokens<'_>, key: Key, place: Place) -> Option<Grade> {
    let mut key = key;
    if key == Key::Not {
        key = tokens.peek().key;
        tokens.skip(1);
    }
    if tokens.peek().key == Key::Like || tokens.peek().key == Key::Not {
        tokens.skip(1);
    }
    let token = tokens.peek();
    let literal = matches!(token.kind, Kind::Text | Kind::OpenText | Kind::Number);
    let holds = match key {
        Key::Like => {
            literal
                || token.kind == Kind::Open && tokens.peek_by(1).key == Key::Select
                || (token.kind == Kind::Name && tokens.peek_by(1).kind == Kind::Open)
        }
        Key::In => {
            token.kind == Kind::Open
                && (matches!(tokens.peek_by(1).kind, Kind::Text | Kind::Number) || tokens.peek_by(1).key == Key::Select)
        }
        Key::Is => token.key == Key::Literal || token.key == Key::Not && tokens.peek_by(1).key == Key::Literal,
        Key::Between => {
            literal
                && tokens.peek_by(1).key == Key::And
                && matches!(tokens.peek_by(2).kind, Kind::Text | Kind::OpenText | Kind::Number)
        }
        _ => false,
    };
    let queries = token.kind == Kind::Open && tokens.peek_by(1).key == Key::Select;
    match place {
        Place::Quoted => holds.then_some(Grade::Certain),
        _ => (holds && queries).then_some(Grade::Likely),
    }
}

/// `order by 5--`, `group by x having 1=1`.
fn order(tokens: &Tokens<'_>, place: Place) -> Option<Grade> {
    let column = tokens.peek();
    let mut after = tokens.clone();
    after.skip(1);
    while after.peek().kind == Kind::Dot {
        after.skip(2);
    }
    let next = after.peek();
    let ends =
        matches!(next.kind, Kind::Comment | Kind::Comma) || matches!(next.key, Key::Having | Key::Union | Key::Limit);
    match (column.kind, place) {
        (Kind::Number, Place::Quoted) => Some(Grade::Certain),
        (Kind::Number, Place::Number) => (ends || next.kind == Kind::End).then_some(Grade::Certain),
        (Kind::Number | Kind::Name, _) if next.kind == Kind::Comment || next.key == Key::Having => {
            Some(if column.kind == Kind::Number || next.key == Key::Having { Grade::Certain } else { Grade::Likely })
        }
        (Kind::Open, _) => {
            (tokens.peek_by(1).key == Key::Select || tokens.peek_by(1).key == Key::Case).then_some(Grade::Certain)
        }
        (Kind::Name, Place::Quoted) => (next.kind == Kind::End).then_some(Grade::Likely),
        _ => None,
    }
}

/// `limit 1--`, `limit 0,1 into outfile …`.
fn limit(mut tokens: Tokens<'_>, place: Place) -> Option<Grade> {
    tokens.skip_while(|token| matches!(token.kind, Kind::Number | Kind::Comma) || token.key == Key::Limit);
    let next = tokens.peek();
    let goes_on = next.kind == Kind::Comment || matches!(next.key, Key::Into | Key::Procedure | Key::Union);
    match place {
        Place::Quoted if goes_on || next.kind == Kind::End => Some(Grade::Certain),
        _ => goes_on.then_some(Grade::Certain),
    }
}

/// `'='`, `'=0--`, `1=(select …)`.
fn comparison(tokens: &mut Tokens<'_>, place: Place) -> Option<Grade> {
    let token = tokens.peek();
    tokens.skip(1);
    if token.kind == Kind::Open || token.kind == Kind::Name {
        let computes = token.kind == Kind::Open && tokens.peek().key == Key::Select
            || token.kind == Kind::Name && tokens.peek().kind == Kind::Open && is_slow(tokens.text(token));
        return (computes && place != Place::Word).then_some(Grade::Certain);
    }
    if place != Place::Quoted {
        return None;
    }
    let next = tokens.peek();
    match token.kind {
        Kind::Number | Kind::Text => (next.kind == Kind::Comment || matches!(next.key, Key::Or | Key::And))
            .then_some(Grade::Certain)
            .or_else(|| (next.kind == Kind::End && token.kind == Kind::Number).then_some(Grade::Likely)),
        // `'='`: the application's quotes stand around an empty string on both sides.
        Kind::OpenText => (token.end - token.start < 3).then_some(Grade::Likely),
        _ => None,
    }
}

/// `'+(select …)+'`, `'||'x'||'`, `1-sleep(5)`, `'^'0'#`.
fn arithmetic(tokens: &mut Tokens<'_>, place: Place) -> Option<Grade> {
    tokens.skip_while(|token| matches!(token.kind, Kind::Math | Kind::Open));
    let token = tokens.peek();
    tokens.skip(1);
    let next = tokens.peek();
    match token.kind {
        Kind::Key if token.key == Key::Select => {
            (phrase::is_list_of_select(tokens) || phrase::has_from(tokens)).then_some(Grade::Certain)
        }
        Kind::Key if token.key == Key::Case => {
            (next.key == Key::When && place != Place::Word).then_some(Grade::Certain)
        }
        Kind::Name if next.kind == Kind::Open => (is_slow(tokens.text(token))
            || (place == Place::Quoted && is_function(tokens.text(token))))
        .then_some(if place == Place::Word { Grade::Likely } else { Grade::Certain }),
        Kind::Number | Kind::Text if place == Place::Quoted => (next.kind == Kind::Comment).then_some(Grade::Certain),
        Kind::Number if place == Place::Number => {
            // `-1+1 union …`, `1*1 or 1=1`: the operand goes on.
            tokens.skip_while(|token| token.kind == Kind::Close);
            let next = tokens.peek();
            let goes_on = matches!(next.key, Key::Or | Key::And | Key::Union | Key::Having | Key::Order)
                || next.kind == Kind::Logic;
            if goes_on { continuation(tokens.clone(), place, false).map(|(_, grade, _)| grade) } else { None }
        }
        _ => None,
    }
}

/// `',1,1)--`, `1,(select …)`.
fn list(tokens: &mut Tokens<'_>) -> Option<Grade> {
    for _ in 0..24 {
        tokens.skip_while(|token| token.kind == Kind::Math);
        if tokens.peek().kind == Kind::Open && tokens.peek_by(1).key == Key::Select {
            return (phrase::is_list_of_select(&after(tokens, 2)) || phrase::has_from(&after(tokens, 2)))
                .then_some(Grade::Certain);
        }
        let token = tokens.peek();
        let literal = matches!(token.kind, Kind::Number | Kind::Text | Kind::Variable) || token.key == Key::Literal;
        if token.kind == Kind::Name && tokens.peek_by(1).kind == Kind::Open && is_slow(tokens.text(token)) {
            return Some(Grade::Certain);
        }
        if !literal {
            return None;
        }
        tokens.skip(1);
        let closed = tokens.skip_while(|token| token.kind == Kind::Close) > 0;
        if closed && matches!(tokens.peek().kind, Kind::Comment) {
            return Some(Grade::Certain);
        }
        if !tokens.eat(Kind::Comma) {
            return None;
        }
        tokens.eat(Kind::Open);
    }
    None
}

#[cfg(test)]
mod tests;
