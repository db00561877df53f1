//! Phrases of SQL that say enough wherever they stand.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::super::Finding;
use super::super::evidence::Best;
use super::super::scan::{automaton, before, is_space, is_word, part};
use super::functions::{is_function, is_slow};
use super::token::{Key, Kind, TOKENS, Tokens};
use super::{Classes, Grade};

/// How many places are looked at as far as [`REACH`] bytes, and how far into the others: so work stays linear.
const PLACES: usize = 128;
const REACH: usize = 768;
const SHORT_REACH: usize = 96;

/// What the places begin with. The order is that of the arms of [`judge`].
const HEADS: &[&str] = &[
    "union",
    "into",
    "information_schema",
    "waitfor",
    "sleep",
    "benchmark",
    "pg_sleep",
    "extractvalue",
    "updatexml",
    "load_file",
    "dbms_",
    "utl_",
    "xp_",
    "declare",
    "select",
    "sysobjects",
    "sqlite_master",
    "@@",
    "randomblob",
    "load_extension",
    "pg_read_file",
    "insert",
    "delete",
    "drop",
    "exec",
    "update",
];

/// Letters of phrases that need neither a call nor a place, with those of what [`judge`] asks for behind the head. There are
/// no spaces among them: comments and line breaks will do.
const PHRASES: &[Classes] = &[
    Classes::in_text(b"unionselect"),
    // into outfile, into dumpfile
    Classes::in_text(b"intoufle"),
    Classes::in_text(b"information_schema."),
    Classes::in_text(b"waitfordelay"),
    // dbms_…., utl_….
    Classes::in_text(b"dbms_."),
    Classes::in_text(b"utl_."),
    Classes::in_text(b"xp_"),
    Classes::in_text(b"declare@"),
    Classes::in_text(b"sysobjects"),
    Classes::in_text(b"sqlite_master"),
];

/// Letters of functions with their parentheses, and of `UNION VALUES (…)`.
const CALLS: &[Classes] = &[
    Classes::in_text(b"unionvalue("),
    Classes::in_text(b"sleep(0"),
    Classes::in_text(b"benchmark("),
    // extractvalue, updatexml
    Classes::in_text(b"extalu("),
    Classes::in_text(b"randomblob("),
    // load_file, load_extension
    Classes::in_text(b"load_("),
    // pg_sleep, pg_read_file
    Classes::in_text(b"pg_("),
    // (select …
    Classes::in_text(b"select("),
];

/// Letters of statements, which begin the value or follow a `;`.
const STATEMENTS: &[Classes] = &[
    Classes::in_text(b"select"),
    Classes::in_text(b"insert"),
    Classes::in_text(b"delete"),
    Classes::in_text(b"drop"),
    Classes::in_text(b"exec"),
    Classes::in_text(b"update"),
];

/// Whether the letters of a phrase are there; those of a statement only count where one can stand.
pub(super) fn may_find(value: &[u8], classes: Classes) -> bool {
    let first = value.trim_ascii_start().first().map(u8::to_ascii_lowercase);
    classes.all_of_one(PHRASES)
        || classes.twice(Classes::AT)
        || (classes.any(Classes::PAREN) && classes.all_of_one(CALLS))
        || ((classes.any(Classes::SEMICOLON) || matches!(first, Some(b's' | b'i' | b'd' | b'e' | b'u')))
            && classes.all_of_one(STATEMENTS))
}

/// Looks for phrases anywhere in the value.
pub(super) fn find(value: &[u8]) -> Option<Finding> {
    static AUTOMATON: LazyLock<Option<AhoCorasick>> =
        LazyLock::new(|| automaton(HEADS.iter().map(|head| head.as_bytes())));
    let mut best = Best::default();
    for (index, found) in AUTOMATON.as_ref()?.find_iter(value).enumerate() {
        if before(value, found.start()).is_some_and(is_word) {
            continue;
        }
        let Some(head) = HEADS.get(found.pattern().as_usize()) else { continue };
        let Some((what, grade)) = judge(
            part(value, 0, found.start() + if index < PLACES { REACH } else { SHORT_REACH }),
            found.start(),
            head,
        ) else {
            continue;
        };
        let grade = if in_text(value, found.start()) { Grade::Likely } else { grade };
        if best.keep(Some(Finding { what, grade, at: found.range() })) {
            break;
        }
    }
    best.into_finding()
}

/// Whether the place stands in a text about SQL: after several lines or many words, or in a statement that is the value.
fn in_text(value: &[u8], at: usize) -> bool {
    // Far enough to see a line or a dozen words; the bound keeps the whole linear.
    let head = part(value, at.saturating_sub(512), at);
    head.trim_ascii().contains(&b'\n')
        || head.iter().filter(|byte| is_space(**byte)).take(13).count() > 12
        || is_statement(value)
}

fn is_statement(value: &[u8]) -> bool {
    let value = value.trim_ascii_start();
    [b"select".as_slice(), b"with ", b"insert", b"update ", b"delete ", b"create ", b"explain "]
        .iter()
        .any(|word| super::super::starts_with(value, word))
}

fn judge(value: &[u8], at: usize, head: &str) -> Option<(&'static str, Grade)> {
    let mut tokens = Tokens::read(value, at);
    let first = tokens.peek();
    let name = tokens.text(first);
    tokens.skip(1);
    let next = tokens.peek();
    match head {
        "union" if first.key == Key::Union => union(tokens, false).map(|(grade, _)| ("UNION SELECT", grade)),
        "into" if first.key == Key::Into => (next.key == Key::Outfile
            && matches!(tokens.peek_by(1).kind, Kind::Text | Kind::OpenText | Kind::Number))
        .then_some(("file written by SQL", Grade::Certain)),
        "information_schema" => (next.kind == Kind::Dot && tokens.peek_by(1).kind != Kind::End)
            .then_some(("catalogue of the database read", Grade::Certain)),
        "waitfor" if first.key == Key::Waitfor => (tokens.text(next).eq_ignore_ascii_case(b"delay")
            && matches!(tokens.peek_by(1).kind, Kind::Text | Kind::OpenText | Kind::Variable))
        .then_some(("SQL that waits", Grade::Certain)),
        "sleep" => {
            (name.eq_ignore_ascii_case(b"sleep") && next.kind == Kind::Open && tokens.peek_by(1).kind == Kind::Number)
                .then(|| ("SQL that waits", if follows_operator(value, at) { Grade::Certain } else { Grade::Likely }))
                .filter(|(_, grade)| *grade == Grade::Certain || at == 0)
        }
        "benchmark" | "extractvalue" | "updatexml" | "load_file" | "randomblob" | "load_extension" | "pg_read_file"
        | "pg_sleep" => {
            (is_slow(name) && next.kind == Kind::Open && !matches!(tokens.peek_by(1).kind, Kind::End | Kind::Close))
                .then_some(("function of SQL that waits, reads or forces an error", Grade::Certain))
        }
        "dbms_" | "utl_" => (is_slow(name) && next.kind == Kind::Dot)
            .then_some(("package of SQL that waits or calls out", Grade::Certain)),
        "xp_" => matches!(
            name.to_ascii_lowercase().as_slice(),
            b"xp_cmdshell"
                | b"xp_dirtree"
                | b"xp_regread"
                | b"xp_fileexist"
                | b"xp_regwrite"
                | b"xp_subdirs"
                | b"xp_servicecontrol"
        )
        .then_some(("procedure that runs commands", Grade::Certain)),
        "declare" if first.key == Key::Declare => (next.kind == Kind::Variable
            && matches!(tokens.peek_by(1).kind, Kind::Name | Kind::Key))
        .then_some(("variable declared", Grade::Certain)),
        "@@" => [
            b"@@version".as_slice(),
            b"@@hostname",
            b"@@datadir",
            b"@@servername",
            b"@@basedir",
            b"@@global.",
            b"@@spid",
        ]
        .iter()
        .any(|known| super::super::starts_with(name, known))
        .then_some(("variable of the server read", Grade::Likely)),
        "sysobjects" | "sqlite_master" => (first.kind == Kind::Name && (name.len() == head.len()))
            .then(|| is_read_from(value, at))
            .filter(|read| *read)
            .map(|_| ("catalogue of the database read", Grade::Certain)),
        "select" if first.key == Key::Select => select(value, at, &tokens),
        "delete" | "drop" if !ends_statement(&tokens) => None,
        "insert" | "delete" | "drop" | "exec" | "update" if at == 0 || before_statement(value, at) => {
            super::statement(&mut Tokens::read(value, at))
                .map(|_| ("statement", if head == "exec" { Grade::Certain } else { Grade::Likely }))
        }
        _ => None,
    }
}

/// Whether a `WHERE`, a `;` or a comment follows: prose that deletes or drops something has none.
fn ends_statement(tokens: &Tokens<'_>) -> bool {
    (0..6)
        .map(|ahead| tokens.peek_by(ahead))
        .any(|token| matches!(token.kind, Kind::Semicolon | Kind::Comment) || token.key == Key::Where)
}

/// Whether only `;` or an opening parenthesis stands before.
fn before_statement(value: &[u8], at: usize) -> bool {
    part(value, 0, at).trim_ascii_end().ends_with(b";")
}

/// Whether an operator, a comma, a parenthesis or a word of SQL stands before: then a call is part of an expression.
fn follows_operator(value: &[u8], at: usize) -> bool {
    let head = part(value, at.saturating_sub(32), at).trim_ascii_end();
    let word = head.iter().rev().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let text = part(head, head.len() - word, head.len());
    matches!(head.last(), Some(b',' | b'(' | b'+' | b'-' | b'*' | b'/' | b'|' | b'&' | b'^' | b'='))
        || [b"select".as_slice(), b"and", b"or", b"xor", b"not", b"when", b"then", b"else", b"where"]
            .iter()
            .any(|known| text.eq_ignore_ascii_case(known))
}

fn is_read_from(value: &[u8], at: usize) -> bool {
    let head = part(value, at.saturating_sub(32), at).trim_ascii_end();
    head.len() >= 4 && super::super::scan::has_text(head, b"from") || head.ends_with(b".")
}

/// After `UNION`: `[ALL] SELECT` and a list that prose does not have. `placed` says that the phrase follows an operand.
pub(super) fn union(mut tokens: Tokens<'_>, placed: bool) -> Option<(Grade, usize)> {
    tokens.eat_key(Key::All);
    tokens.skip_while(|token| token.kind == Kind::Open || token.key == Key::All);
    let end = tokens.peek().end;
    if tokens.eat_key(Key::Values) {
        return (tokens.peek().kind == Kind::Open).then_some((Grade::Certain, end));
    }
    if !tokens.eat_key(Key::Select) {
        return None;
    }
    let listed = is_list_of_select(&tokens);
    let ends = matches!(tokens.peek().kind, Kind::End | Kind::Comment);
    let selects = listed || has_from(&tokens);
    // A comment behind it cuts off what the application goes on with.
    let cut = (0..TOKENS).any(|ahead| tokens.peek_by(ahead).kind == Kind::Comment);
    let ends = ends || (placed && cut);
    let placed = placed || cut;
    match (selects, placed) {
        (true, _) => Some((if listed || placed { Grade::Certain } else { Grade::Likely }, end)),
        (false, true) if ends || !cut => Some((if ends { Grade::Certain } else { Grade::Likely }, end)),
        (false, _) => None,
    }
}

/// Whether what follows `SELECT` is a literal, a star, a variable, a call, or a list of several: not a word of prose.
pub(super) fn is_list_of_select(tokens: &Tokens<'_>) -> bool {
    let mut tokens = tokens.clone();
    tokens.skip_while(|token| token.key == Key::All || token.kind == Kind::Open);
    let first = tokens.peek();
    let next = tokens.peek_by(1);
    match first.kind {
        Kind::Number | Kind::Text | Kind::Variable => true,
        Kind::OpenText => false,
        Kind::Math => next.kind != Kind::Name || next.key == Key::From,
        Kind::Key => {
            matches!(first.key, Key::Literal | Key::Case) && next.kind != Kind::Name
                || (is_function(tokens.text(first)) && next.kind == Kind::Open)
        }
        Kind::Name => {
            next.kind == Kind::Open && (is_function(tokens.text(first)) || is_slow(tokens.text(first)))
                || (next.kind == Kind::Comma
                    && matches!(tokens.peek_by(3).kind, Kind::Comma | Kind::End | Kind::Comment))
        }
        _ => false,
    }
}

/// Whether a `FROM` with a table follows within reach, as in a statement and not as in prose (`select one from the list`).
pub(super) fn has_from(tokens: &Tokens<'_>) -> bool {
    for ahead in 0..TOKENS {
        let token = tokens.peek_by(ahead);
        match (token.kind, token.key) {
            (Kind::End | Kind::Semicolon | Kind::Comment, _) => return false,
            (Kind::Name, _) if ahead > 0 && tokens.peek_by(ahead - 1).kind == Kind::Name => return false,
            (Kind::Key, Key::From) => {
                let table = tokens.peek_by(ahead + 1);
                let next = tokens.peek_by(ahead + 2);
                let named = matches!(table.kind, Kind::Name | Kind::Open | Kind::Text) || table.key == Key::Thing;
                return ahead > 0
                    && named
                    && (!matches!(next.kind, Kind::Name | Kind::Other) || next.kind == Kind::End);
            }
            _ => {}
        }
    }
    false
}

/// `(select …)`, or a whole statement.
fn select(value: &[u8], at: usize, tokens: &Tokens<'_>) -> Option<(&'static str, Grade)> {
    let listed = is_list_of_select(tokens);
    let head = part(value, 0, at).trim_ascii_end();
    if head.ends_with(b"(") {
        let is_whole = head.iter().all(|byte| matches!(byte, b'(' | b' '));
        let slow = (0..8)
            .map(|ahead| tokens.peek_by(ahead))
            .any(|token| token.kind == Kind::Name && is_slow(tokens.text(token)));
        return (listed || has_from(tokens))
            .then_some(("subquery", if slow || (listed && is_whole) { Grade::Certain } else { Grade::Likely }));
    }
    (head.is_empty() && (listed && !matches!(tokens.peek().kind, Kind::Number) || has_from(tokens)))
        .then_some(("statement", Grade::Likely))
}
