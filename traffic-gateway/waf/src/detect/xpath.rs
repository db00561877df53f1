//! `@detectXpath`: text that breaks out of a string of an XPath expression, or asks about the document around it.
//!
//! Recognises a quote followed by a condition that decides by itself (`' or '1'='1`, `" or 1=1 or ""="`), by a function
//! over nodes (`' and count(/*)=1`), or by `]` or `)` and another path (`'] | //user`); functions over paths after a
//! number (`1 or count(//user)>0`). Functions over paths and axes without a break-out are likely.
//!
//! Leaves locators such as `//div[@class='x' or @id='y']` alone.

use super::evidence::Best;
use super::scan::{Cursor, before, is_one_of, is_space, is_word};
use super::{Classes, Finding};

/// Quotes of either kind that are tried as the end of the application's string.
const TRIES: usize = 4;

/// Functions over nodes; those of SQL have other arguments.
const FUNCTIONS: &[&[u8]] = &[
    b"count",
    b"name",
    b"local-name",
    b"string-length",
    b"substring",
    b"string",
    b"position",
    b"last",
    b"doc",
    b"text",
    b"node",
    b"concat",
    b"contains",
    b"starts-with",
    b"normalize-space",
    b"translate",
    b"number",
    b"sum",
    b"boolean",
    b"not",
    b"true",
    b"false",
    b"doc-available",
    b"unparsed-text",
    b"document",
    b"codepoints-to-string",
    b"matches",
    b"namespace-uri",
    b"lower-case",
    b"upper-case",
    b"document-uri",
    b"base-uri",
    b"encode-for-uri",
    b"exists",
];

/// A quote with something to compare or a path behind it, or a path with a function or an axis.
pub(super) fn may_find(_: &[u8], classes: Classes) -> bool {
    const BEHIND: Classes =
        Classes::EQUALS.or(Classes::PIPE).or(Classes::PAREN).or(Classes::GREATER).or(Classes::LESS).or(Classes::SLASH);
    (classes.any(Classes::SINGLE.or(Classes::DOUBLE)) && classes.any(BEHIND)) || has_path(classes)
}

/// A slash, and the parenthesis of a function or the colons of an axis.
fn has_path(classes: Classes) -> bool {
    classes.any(Classes::SLASH) && (classes.any(Classes::PAREN) || classes.twice(Classes::COLON))
}

pub(super) fn find(value: &[u8], classes: Classes) -> Option<Finding> {
    let mut best = Best::default();
    let kinds = [(b'\'', Classes::SINGLE), (b'"', Classes::DOUBLE)];
    for (quote, _) in kinds.into_iter().filter(|(_, class)| classes.any(*class)) {
        for at in memchr::memchr_iter(quote, value).take(TRIES) {
            if best.keep(break_out(value, at)) {
                return best.into_finding();
            }
        }
    }
    if has_path(classes) && !best.keep(bare(value)) {
        best.keep(axis(value));
    }
    best.into_finding()
}

/// What follows a quote that may have closed the application's string.
fn break_out(value: &[u8], at: usize) -> Option<Finding> {
    let mut cursor = Cursor::from(value, at + 1);
    let closers = cursor.take_at_most(8, |byte| matches!(byte, b')' | b']') || is_space(byte));
    let brackets = closers.contains(&b']') || closers.contains(&b')');
    if cursor.eat(b'|') {
        cursor.take_at_most(8, is_space);
        let is_path = cursor.peek() == Some(b'/') || (cursor.peek() == Some(b'*') && brackets);
        return (is_path && cursor.peek_by(1) != Some(b' '))
            .then(|| Finding::certain("another path after a string of an XPath expression", at..cursor.at()));
    }
    if brackets
        && cursor.eat(b'/')
        && (cursor.eat(b'/')
            || cursor.peek().is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'@' | b'*' | b'.')))
    {
        return (!starts_with_quote_pair(value, at))
            .then(|| Finding::certain("another path after a string of an XPath expression", at..cursor.at()));
    }
    if cursor.eat_text(b"return fn:") {
        return Some(Finding::certain("clause of XQuery after a string", at..cursor.at()));
    }
    if !cursor.eat_word(b"or") && !cursor.eat_word(b"and") {
        return None;
    }
    let what = condition(&mut cursor)?;
    if starts_with_quote_pair(value, at) {
        Some(Finding::likely(what, at..cursor.at()))
    } else {
        Some(Finding::certain(what, at..cursor.at()))
    }
}

/// Whether the same quote stands earlier: then this one closes a string of the value's own, as in a whole expression.
fn starts_with_quote_pair(value: &[u8], at: usize) -> bool {
    let quote = value.get(at).copied().unwrap_or_default();
    value.get(..at).is_some_and(|head| memchr::memchr(quote, head).is_some())
}

/// A condition that does not depend on what the application asked: two literals compared, a function over nodes, a path.
fn condition(cursor: &mut Cursor<'_>) -> Option<&'static str> {
    cursor.take_at_most(16, |byte| is_space(byte) || byte == b'(');
    if cursor.eat_word(b"not") {
        cursor.take_at_most(8, |byte| is_space(byte) || byte == b'(');
    }
    if literal(cursor) {
        cursor.take_at_most(8, is_space);
        let compared = !cursor.take_at_most(2, |byte| matches!(byte, b'=' | b'<' | b'>' | b'!')).is_empty();
        cursor.take_at_most(8, is_space);
        return (compared && (literal(cursor) || function(cursor)))
            .then_some("condition that decides by itself in an XPath expression");
    }
    if function(cursor) {
        return Some("function over nodes after a string of an XPath expression");
    }
    if cursor.peek() == Some(b'/') || cursor.eat(b'@') {
        return Some("path after a string of an XPath expression");
    }
    None
}

/// A number, or a string in quotes that the application's own quote may have to close.
fn literal(cursor: &mut Cursor<'_>) -> bool {
    match cursor.peek() {
        Some(quote @ (b'\'' | b'"')) => {
            cursor.skip(1);
            cursor.take_at_most(64, |byte| byte != quote && byte != b'=');
            cursor.eat(quote);
            true
        }
        Some(byte) if byte.is_ascii_digit() => {
            cursor.take_at_most(16, |byte| byte.is_ascii_digit() || byte == b'.');
            true
        }
        _ => false,
    }
}

/// A function over nodes with its parenthesis.
fn function(cursor: &mut Cursor<'_>) -> bool {
    let mut ahead = *cursor;
    let name = ahead.take_at_most(24, |byte| byte.is_ascii_alphabetic() || byte == b'-');
    let found = is_one_of(name, FUNCTIONS) && ahead.eat(b'(');
    if found {
        *cursor = ahead;
    }
    found
}

/// A function over an absolute path: `count(/*)`, `string-length(//user[1]/name)`, `name(/*[1])`, `doc('http:…')`.
fn bare(value: &[u8]) -> Option<Finding> {
    let mut best = Best::default();
    for at in memchr::memchr_iter(b'(', value) {
        let mut cursor = Cursor::from(value, at + 1);
        let start = name_before(value, at);
        let name = value.get(start..at)?;
        cursor.take_at_most(8, |byte| is_space(byte) || byte == b'(');
        let over_path = cursor.eat(b'/')
            && cursor
                .peek()
                .is_some_and(|byte| matches!(byte, b'/' | b'*' | b'@' | b'.') || byte.is_ascii_alphabetic());
        if !over_path
            || !is_one_of(name, FUNCTIONS.get(..6).unwrap_or_default())
                && !is_one_of(name, &[b"not", b"sum", b"exists", b"boolean"])
        {
            continue;
        }
        // A regular expression as the argument of a function of JavaScript: `string(/ab/)`.
        let path = cursor.take_at_most(128, |byte| {
            is_word(byte) || matches!(byte, b'/' | b'*' | b'[' | b']' | b'@' | b':' | b'-' | b'.')
        });
        let is_regex = path.ends_with(b"/");
        let after_condition = value.get(..start).is_some_and(|head| {
            let head = head.trim_ascii_end();
            head.ends_with(b" or") || head.ends_with(b" and") || head.ends_with(b" OR") || head.ends_with(b" AND")
        });
        let found = match (is_regex, after_condition) {
            (true, _) => None,
            (_, true) => Some(Finding::certain("function over nodes in a condition of an XPath expression", start..at)),
            _ => Some(Finding::likely("XPath function over nodes", start..at)),
        };
        if best.keep(found) {
            break;
        }
    }
    best.into_finding()
}

/// Where the name that ends at a position begins; names of functions are short.
fn name_before(value: &[u8], end: usize) -> usize {
    let head = value.get(..end).unwrap_or_default();
    let length = head.iter().rev().take(24).take_while(|byte| byte.is_ascii_alphabetic() || **byte == b'-').count();
    end - length
}

/// An axis with a test of nodes: `/child::node()`, `/ancestor::*`.
fn axis(value: &[u8]) -> Option<Finding> {
    memchr::memmem::find_iter(value, b"::").find_map(|at| {
        let start = name_before(value, at);
        let mut cursor = Cursor::from(value, at + 2);
        let tests = cursor.eat(b'*')
            || [b"node()".as_slice(), b"text()", b"comment()"].iter().any(|test| cursor.eat_text(test));
        let placed = matches!(before(value, start), Some(b'/' | b'[' | b'('));
        let axes: [&[u8]; 9] = [
            b"child",
            b"parent",
            b"ancestor",
            b"descendant",
            b"following-sibling",
            b"preceding-sibling",
            b"self",
            b"attribute",
            b"descendant-or-self",
        ];
        (tests && placed && is_one_of(value.get(start..at)?, &axes))
            .then(|| Finding::likely("XPath axis", start..cursor.at()))
    })
}

#[cfg(test)]
mod tests {
    use crate::detect::check::{finds, is_certain_of, is_linear_in, is_not_certain_of, is_quiet_about};
    use crate::seclang::ast::OperatorKind::DetectXpath;

    #[test]
    fn finds_expressions_broken_open() {
        is_certain_of(
            DetectXpath,
            &[
                "' or '1'='1",
                "' or ''='",
                "x' or 1=1 or 'x'='y",
                "' or 1=1 or ''='",
                "\" or \"1\"=\"1",
                "\" or 1=1 or \"\"=\"",
                "' and '1'='2",
                "'] | //user/*[contains(*,'",
                "') or ('1'='1",
                "'] | //*",
                "' | //user/password | '",
                "x'] | //* | //*[a='",
                "' or count(/*)=1 or '1'='2",
                "' or name()='username' or 'x'='y",
                "' and count(/comment())=1 and '1'='1",
                "' and string-length(name(/*[1]))=4 and '1'='1",
                "' and substring(name(/*[1]),1,1)='u' and '1'='1",
                "' or position()=1 or '",
                "' or contains(name,'adm') or '",
                "'or'1'='1",
                "' or not(false()) or '",
                "admin' or '1'='1",
                "' or true() or '",
                "' or //user[1]",
                "' and //user[position()=1]/password='x",
                "' or @admin='1",
                "1 or count(//user)>0",
                "1 and string-length(//user[position()=1]/child::node())=6",
                "x') return fn:error(xs:QName('e'))",
                "1 and string-length(//user[1]/name)=3",
                "' and doc('http://evil.example/')",
                "' or starts-with(name(),'a') or '",
                "\"] | //password",
                "') | //*",
            ],
        );
        finds(
            DetectXpath,
            &[
                "count(/*)",
                "string-length(//user[1]/name)",
                "/users/child::node()",
                "//user[name/text()='x']/ancestor::*",
                "name(/*[1])",
            ],
        );
    }

    #[test]
    fn leaves_locators_and_prose_alone() {
        is_quiet_about(
            DetectXpath,
            &[
                "//div[@class='x']",
                "//a[text()='Next']/@href",
                "/html/body/div[1]",
                "yes' or no",
                "'a' or 'b'",
                "the boys' and girls' team",
                "count(items)",
                "count (/day)",
                "string(/ab/)",
                "std::string",
                "parent::__construct()",
                "it's 5 or 6",
                "'tis and 'twas",
                "name (first/last)",
                "sum(a/b)",
                "not (/really)",
                "it's me | them",
                "either 'a' | 'b'",
                "x='1' and y='2'",
                "rock 'n' roll and 1=1?",
                "/(ab|cd)/",
                "child::",
                "a::b",
            ],
        );
        is_not_certain_of(
            DetectXpath,
            &["//div[@class='x' or @id='y']", "count(/library/book)", "//a[@x='1' and count(b)=2]"],
        );
    }

    #[test]
    fn takes_linear_time() {
        is_linear_in(DetectXpath, &["'", "' or ", "\"]", "count(/", "(", "::", "/child::node(", "name(/a", "-"]);
    }
}
