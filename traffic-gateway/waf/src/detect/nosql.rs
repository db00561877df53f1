//! `@detectNosql`: operators and script of document databases where a plain value or name belongs.
//!
//! Recognises query operators as keys (`user[$ne]`, `a.$where`, `{"$gt":""}`), and a quote followed by script that decides
//! or acts (`' || '1'=='1`, `'; return true; var x='`, `1; sleep(5000)`).
//!
//! Leaves variables of GraphQL and shells (`$in`, `$where` without being keys), OData's `$filter` and JSON schema's
//! `$ref` alone.

use super::evidence::Best;
use super::scan::{Cursor, before, has_text, is_one_of, is_space, part, positions};
use super::{Classes, Finding};

/// Operators of queries and updates that change what a query finds or does.
const OPERATORS: &[&[u8]] = &[
    b"ne",
    b"eq",
    b"gt",
    b"gte",
    b"lt",
    b"lte",
    b"in",
    b"nin",
    b"regex",
    b"where",
    b"exists",
    b"or",
    b"and",
    b"not",
    b"nor",
    b"expr",
    b"elemmatch",
    b"size",
    b"mod",
    b"all",
    b"text",
    b"jsonschema",
    b"function",
    b"accumulator",
    b"lookup",
    b"unionwith",
    b"merge",
    b"out",
    b"match",
    b"group",
    b"project",
    b"type",
    b"near",
    b"nearsphere",
    b"geowithin",
    b"set",
    b"unset",
    b"inc",
    b"push",
    b"rename",
    b"comment",
    b"options",
    b"like",
    b"ilike",
    b"notlike",
    b"between",
    b"func",
    b"natural",
    b"slice",
    b"bitsallset",
];

/// Quotes of either kind that are tried as the end of the application's string.
const TRIES: usize = 4;

/// The `$` of an operator, a quote to break out of, a line to begin, or a number and a statement.
pub(super) fn may_find(_: &[u8], classes: Classes) -> bool {
    classes.any(Classes::DOLLAR.or(Classes::SINGLE).or(Classes::DOUBLE).or(Classes::NEWLINE))
        || classes.all(AFTER_NUMBER)
}

/// What [`after_number`] asks for at least.
const AFTER_NUMBER: Classes = Classes::in_text(b"0;(");

pub(super) fn find(value: &[u8], classes: Classes) -> Option<Finding> {
    let mut best = Best::default();
    if classes.any(Classes::DOLLAR) && positions(b'$', value).any(|at| best.keep(operator(value, at))) {
        return best.into_finding();
    }
    if classes.any(Classes::SINGLE.or(Classes::DOUBLE)) {
        for quote in [b'\'', b'"'] {
            if positions(quote, value).take(TRIES).any(|at| best.keep(break_out(value, at))) {
                return best.into_finding();
            }
        }
    }
    if classes.any(Classes::NEWLINE) && best.keep(line_command(value)) {
        return best.into_finding();
    }
    if classes.all(AFTER_NUMBER) {
        best.keep(after_number(value));
    }
    best.into_finding()
}

/// A `$name` that stands where a key stands.
fn operator(value: &[u8], at: usize) -> Option<Finding> {
    let mut cursor = Cursor::from(value, at + 1);
    let name = cursor.take_at_most(16, |byte| byte.is_ascii_alphabetic());
    if !is_one_of(name, OPERATORS) {
        return None;
    }
    let end = cursor.at();
    let found = Some(Finding::certain("operator of a document database as a key", at..end));
    match before(value, at) {
        Some(b'[') => cursor.eat(b']').then_some(found)?,
        Some(b'.') => {
            let path = part(value, 0, at);
            let is_path = path.len() <= 256
                && path
                    .iter()
                    .all(|&byte| super::scan::is_word(byte) || matches!(byte, b'.' | b'[' | b']' | b'-' | b'$'));
            (is_path && matches!(cursor.peek(), None | Some(b'.' | b'[' | b'='))).then_some(found)?
        }
        Some(b'"' | b'\'') => {
            let quote = before(value, at)?;
            let key = cursor.eat(quote) && {
                cursor.take_at_most(8, is_space);
                cursor.eat(b':')
            };
            if key { found } else { bracketed(value, at, cursor) }
        }
        None if cursor.is_done() => found,
        None | Some(b'{' | b' ' | b',' | b'\n' | b'\t' | b'&' | b'?') => bare_key(value, at, cursor),
        _ => None,
    }
}

/// `["$ne"]`.
fn bracketed(value: &[u8], at: usize, cursor: Cursor<'_>) -> Option<Finding> {
    let opened = at.checked_sub(2).and_then(|at| value.get(at)) == Some(&b'[');
    (opened && cursor.peek() == Some(b']'))
        .then(|| Finding::certain("operator of a document database as a key", at..cursor.at()))
}

/// `{$ne: 1}`, `, $where: '…'`: a key without quotes, in an object or as the continuation of one.
fn bare_key(value: &[u8], at: usize, mut cursor: Cursor<'_>) -> Option<Finding> {
    cursor.take_at_most(8, is_space);
    if !cursor.eat(b':') {
        return None;
    }
    cursor.take_at_most(8, is_space);
    let holds = cursor.peek()?;
    let head = part(value, at.saturating_sub(8), at).trim_ascii_end();
    // `query($in: Int)` is GraphQL; a value that is a word is somebody's variable.
    let in_object = head.ends_with(b"{") || head.ends_with(b",");
    let is_literal = matches!(holds, b'"' | b'\'' | b'{' | b'[' | b'/')
        || holds.is_ascii_digit()
        || has_text(part(value, cursor.at(), cursor.at() + 8), b"function");
    (in_object && is_literal && !value.starts_with(b"query") && !value.starts_with(b"mutation"))
        .then(|| Finding::certain("operator of a document database as a key", at..cursor.at()))
}

/// What follows a quote that may have closed the application's string of script.
fn break_out(value: &[u8], at: usize) -> Option<Finding> {
    let mut cursor = Cursor::from(value, at + 1);
    let has_pair = memchr::memchr(value.get(at).copied()?, part(value, 0, at)).is_some();
    cursor.take_at_most(8, |byte| is_space(byte) || matches!(byte, b')' | b'}'));
    let what = if (cursor.eat(b'|') && cursor.eat(b'|')) || (cursor.eat(b'&') && cursor.eat(b'&')) {
        condition(&mut cursor)?
    } else if cursor.eat(b';') || cursor.eat(b',') {
        cursor.take_at_most(8, is_space);
        statement(&mut cursor)?
    } else {
        cypher(&mut cursor)?
    };
    Some(if has_pair { Finding::likely(what, at..cursor.at()) } else { Finding::certain(what, at..cursor.at()) })
}

/// A clause of Cypher, the language of a graph database.
fn cypher(cursor: &mut Cursor<'_>) -> Option<&'static str> {
    let called = cursor.eat_text(b"call ") && !cursor.word().is_empty() && matches!(cursor.peek(), Some(b'.' | b'('));
    let clauses = [b"match (".as_slice(), b"match(", b"load csv ", b"detach delete ", b"with true as "];
    (called || clauses.iter().any(|clause| cursor.eat_text(clause)))
        .then_some("clause of a graph database after a string")
}

/// `x`, a line break, and a command of a database that reads lines; only in the first lines, behind a single word.
fn line_command(value: &[u8]) -> Option<Finding> {
    const COMMANDS: [&[u8]; 7] =
        [b"flushall", b"flushdb", b"config set ", b"slaveof ", b"replicaof ", b"module load ", b"script load "];
    positions(b'\n', value).take(TRIES).find_map(|at| {
        let mut cursor = Cursor::from(value, at + 1);
        let found = COMMANDS.iter().any(|command| cursor.eat_text(command));
        let ends = before(value, cursor.at()) == Some(b' ') || cursor.peek().is_none_or(is_space);
        let is_parameter = !part(value, 0, at).trim_ascii().contains(&b' ');
        (found && ends && is_parameter)
            .then(|| Finding::certain("command of a database in a line of its own", at..cursor.at()))
    })
}

/// A comparison in the notation of script, or something that is true by itself.
fn condition(cursor: &mut Cursor<'_>) -> Option<&'static str> {
    cursor.take_at_most(8, |byte| is_space(byte) || byte == b'(' || byte == b'!');
    let what = "condition of script after a string";
    if cursor.eat_word(b"this") {
        return matches!(cursor.peek(), Some(b'.' | b'[')).then_some(what);
    }
    if cursor.eat_word(b"true") || cursor.eat_word(b"sleep") {
        return Some(what);
    }
    let length =
        cursor.take_at_most(66, |byte| super::scan::is_word(byte) || matches!(byte, b'\'' | b'"' | b'.')).len();
    cursor.take_at_most(8, is_space);
    if length == 0 {
        return None;
    }
    let joined = matches!(part(cursor.rest(), 0, 2), b"||" | b"&&")
        && matches!(part(cursor.rest(), 2, 16).trim_ascii_start().first(), Some(b'\'' | b'"'));
    if joined {
        return Some(what);
    }
    let equals = cursor.take_at_most(4, |byte| matches!(byte, b'=' | b'!' | b'<' | b'>')).len();
    let comment = part(cursor.rest(), 0, 2) == b"//" || cursor.rest() == b"%00" || cursor.peek() == Some(0);
    (equals >= 2 || comment).then_some(what)
}

/// The beginning of a statement of script that ends or delays the function it stands in.
fn statement(cursor: &mut Cursor<'_>) -> Option<&'static str> {
    let what = "statement of script after a value";
    if cursor.eat_word(b"return") || cursor.eat_word(b"throw") {
        cursor.take_at_most(8, |byte| is_space(byte) || byte == b'(');
        let returned = cursor.take_at_most(32, |byte| !is_space(byte) && byte != b';');
        return (!returned.is_empty()
            && (returned.len() == 1
                || has_text(returned, b"true")
                || has_text(returned, b"this")
                || has_text(returned, b"=")
                || has_text(returned, b"(")
                || returned.ends_with(b"'")))
        .then_some(what);
    }
    if [b"while".as_slice(), b"sleep", b"for", b"do", b"if"].iter().any(|word| cursor.eat_word(word)) {
        cursor.take_at_most(8, is_space);
        return matches!(cursor.peek(), Some(b'(' | b'{')).then_some(what);
    }
    if cursor.eat_text(b"this.") || cursor.eat_text(b"db.") {
        let call = cursor.take_at_most(64, |byte| super::scan::is_word(byte) || byte == b'.');
        return (!call.is_empty() && matches!(cursor.peek(), Some(b'(' | b'=' | b' '))).then_some(what);
    }
    if cursor.eat_text(b"var ") || cursor.eat_text(b"let ") {
        cursor.take_at_most(32, |byte| super::scan::is_word(byte) || is_space(byte));
        return cursor.eat(b'=').then_some(what);
    }
    if cursor.eat_text(b"$where") || cursor.eat_text(b"$or:") {
        return Some(what);
    }
    // `it=new Date()`
    let assigned = !cursor.word().is_empty() && cursor.eat(b'=') && cursor.eat_text(b"new ");
    assigned.then_some(what)
}

/// `1; sleep(5000)`, `0;var date=new Date(); do{…}while(…)`: statements after a number.
fn after_number(value: &[u8]) -> Option<Finding> {
    let mut cursor = Cursor::new(value);
    cursor.take_at_most(8, is_space);
    if cursor.take_at_most(20, |byte| byte.is_ascii_digit()).is_empty() {
        return None;
    }
    cursor.take_at_most(8, |byte| is_space(byte) || matches!(byte, b')' | b'}'));
    if !cursor.eat(b';') {
        return None;
    }
    cursor.take_at_most(8, is_space);
    let what = statement(&mut cursor)?;
    Some(Finding::certain(what, 0..cursor.at()))
}

#[cfg(test)]
mod tests {
    use crate::detect::check::{is_certain_of, is_linear_in, is_not_certain_of, is_quiet_about};
    use crate::seclang::ast::OperatorKind::DetectNosql;

    #[test]
    fn finds_operators_and_script() {
        is_certain_of(
            DetectNosql,
            &[
                "user[$ne]",
                "password[$gt]",
                "$ne",
                "$where",
                "user[$regex]",
                "a[b][$in][]",
                "filter.$where",
                "json.user.$ne",
                "{\"$gt\":\"\"}",
                "{\"user\":{\"$ne\":null}}",
                "{\"$where\":\"sleep(1000)\"}",
                "{'$or':[{},{'a':'b'}]}",
                "{$ne: 1}",
                "{ $where: 'this.a == 1' }",
                "true, $where: '1 == 1'",
                ", $where: '1 == 1'",
                "', $or: [ {}, { 'a':'a",
                "' || '1'=='1",
                "x\nFLUSHALL\nCONFIG SET dir /var/www",
                "Gifts'||1||'",
                "';it=new Date();do{pt=new Date();}while(pt-it<5000);'",
                "x' CALL db.labels() YIELD label",
                "'||'1'=='1",
                "' || 1==1//",
                "' || 1==1%00",
                "' && this.password.match(/.*/)//",
                "'; return true; var x='",
                "';return true;var dummy='",
                "'; return '' == '",
                "';sleep(5000);",
                "1; sleep(5000)",
                "0;var date=new Date(); do{curDate = new Date();}while(curDate-date<10000)",
                "';while(true){}",
                "' || this.role == 'admin",
                "'; this.x = 1;'",
                "[\"$ne\"]",
                "a[\"$ne\"]",
                "\"; return true; var x=\"",
                "user[$NE]",
                "' || true || '",
                "x[$nin][]",
                "{\"name\":{\"$regex\":\"^a\"}}",
            ],
        );
        is_certain_of(DetectNosql, &["'}); db.users.drop(); //"]);
    }

    #[test]
    fn leaves_variables_and_standard_keys_alone() {
        is_quiet_about(
            DetectNosql,
            &[
                "$filter=name eq 'x'",
                "$select",
                "$top",
                "$orderby",
                "{\"$ref\":\"#/definitions/a\"}",
                "{\"$schema\":\"http://json-schema.org/draft-07/schema#\"}",
                "{\"$id\":\"x\"}",
                "query($in: Int, $where: Filter) { a(in: $in, where: $where) }",
                "query Q($where: UserWhereInput = {}) { users(where: $where) { id } }",
                "costs $in total",
                "$size matters",
                "echo $all",
                "US$or CA$",
                "$5",
                "$HOME",
                "price[$usd]",
                "it's 5 || 6",
                "'a' || 'b'",
                "'; DROP",
                "it's; return it",
                "don't; do it",
                "5; return it please",
                "items; for (all)",
                "$(document).ready(function() {})",
                "$.ajax({url: 'x'})",
                "jQuery('#in').size()",
                "$scope.in = 1",
                "var $in = 1;",
            ],
        );
        is_not_certain_of(DetectNosql, &["var a = 'x'; return true;", "if (a == 'b' || 'c' == d) {}"]);
    }

    #[test]
    fn takes_linear_time() {
        is_linear_in(DetectNosql, &["$", "[$ne", "$ne.", "'||", "';", "{$in:", "\"$gt\" ", "a.$in ", ".$ne", "1;"]);
    }
}
