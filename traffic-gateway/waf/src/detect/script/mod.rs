//! `@detectScript`: text a browser would run script from, wherever a page may put it.
//!
//! Recognises tags that run something (`<script`, event handlers on any tag in any spacing, addresses with a scheme that
//! runs, documents within attributes, styles that run), attributes that follow a quote the value closes, addresses that
//! run as the whole value, script behind a quote of a string (`';alert(1)//`, `'-alert(1)-'`), server-side includes, and
//! script written in brackets alone.
//!
//! Leaves the markup of editors (`<b>`, `<p style=…>`, `<a href="https:…">`, `<img src=…>`), comparisons, generics and
//! addresses in angle brackets. Source code that calls `alert(…)` outside of markup is at most likely.

mod bare;
mod names;
mod tag;

use super::evidence::Best;
use super::scan::{Cursor, before, find_text, has_text, is_one_of, is_space, is_word, part, starts_with};
use super::{Classes, Finding};
use names::{is_address, is_handler, is_sink};
use tag::Attribute;

/// How much of a tag within another one is looked at.
const INNER: usize = 512;
/// Quotes of one kind that are tried as the end of an attribute or a string.
const TRIES: usize = 4;

/// What a tag, a string that goes on and a call begin with; or what an address and an attribute hold.
pub(super) fn may_find(_: &[u8], classes: Classes) -> bool {
    classes.any(Classes::LESS)
        || (classes.any(Classes::COLON) && may_be_scheme(classes))
        || (classes.any(Classes::EQUALS) && may_be_attribute(classes))
        || may_be_string(classes)
        || bare::may_find(classes)
}

/// Whether there are the letters of a scheme that runs something, or an encoding they may hide behind.
fn may_be_scheme(classes: Classes) -> bool {
    // `script` is in all others.
    const SCHEMES: &[Classes] = &[Classes::in_text(b"script"), Classes::in_text(b"mocha"), Classes::in_text(b"data")];
    classes.any(Classes::PERCENT.or(Classes::AMPERSAND).or(Classes::BACKSLASH).or(Classes::HIGH))
        || classes.all_of_one(SCHEMES)
}

/// Whether there are the letters of an attribute that runs something: an event's, a style, a document, an address.
fn may_be_attribute(classes: Classes) -> bool {
    const NAMES: &[Classes] = &[Classes::in_text(b"on"), Classes::in_text(b"style"), Classes::in_text(b"srcdoc")];
    classes.all_of_one(NAMES) || may_be_scheme(classes)
}

/// Whether there is a quote that a string may end with, and what calls or assigns behind it.
fn may_be_string(classes: Classes) -> bool {
    classes.any(Classes::BACKTICK)
        || (classes.any(Classes::SINGLE.or(Classes::DOUBLE)) && classes.any(Classes::PAREN.or(Classes::EQUALS)))
}

pub(super) fn find(value: &[u8], classes: Classes) -> Option<Finding> {
    let mut best = Best::default();
    if classes.any(Classes::LESS) && (best.keep(sequential(value)) || best.keep(each_tag(value))) {
        return best.into_finding();
    }
    if classes.any(Classes::COLON) && may_be_scheme(classes) && best.keep(address(value)) {
        return best.into_finding();
    }
    if classes.any(Classes::EQUALS) && may_be_attribute(classes) && best.keep(attributes(value, classes)) {
        return best.into_finding();
    }
    if may_be_string(classes) {
        for quote in [b'\'', b'"', b'`'] {
            for (index, at) in memchr::memchr_iter(quote, value).take(TRIES).enumerate() {
                if best.keep(string(value, at, index == 0)) {
                    return best.into_finding();
                }
            }
        }
    }
    if bare::may_find(classes) {
        best.keep(bare::find(value));
    }
    best.into_finding()
}

/// Tags one after the other, each to its end.
fn sequential(value: &[u8]) -> Option<Finding> {
    let mut best = Best::default();
    let mut at = 0;
    while let Some(offset) = value.get(at..).and_then(|rest| memchr::memchr(b'<', rest)) {
        let start = at + offset;
        let (found, end) = judge_tag(value, start, usize::MAX);
        if best.keep(found) {
            break;
        }
        at = end.max(start + 1);
    }
    best.into_finding()
}

/// Tags at every `<`, also within the attributes of others: readers differ on where those end.
fn each_tag(value: &[u8]) -> Option<Finding> {
    memchr::memchr_iter(b'<', value).skip(1).find_map(|start| {
        let window = part(value, 0, start + INNER);
        judge_tag(window, start, 12).0.filter(|found| found.grade == super::Grade::Certain)
    })
}

/// Judges the tag at a `<` and so many of its attributes; where it ends.
fn judge_tag(value: &[u8], start: usize, most: usize) -> (Option<Finding>, usize) {
    let mut cursor = Cursor::from(value, start + 1);
    if cursor.peek() == Some(b'!') {
        return (server_side_include(value, start), cursor.at());
    }
    let closes = cursor.eat(b'/');
    cursor.take_at_most(4, |byte| byte == 0);
    let name = tag::name(&mut cursor);
    if name.is_empty() {
        return (None, cursor.at());
    }
    if let Some(found) = running_tag(value, name, start, &cursor, closes) {
        return (Some(found), cursor.at());
    }
    // `john@example.org` and `T, U` are no tags.
    if cursor.peek().is_some_and(|byte| {
        !is_space(byte) && !matches!(byte, b'/' | b'>' | b'"' | b'\'' | b'<' | 0 | b'=' | b'`' | b'+' | b'~' | 0x80..)
    }) {
        return (None, cursor.at());
    }
    let mut best = Best::default();
    let mut holds = Holds::default();
    let mut count = 0;
    while let Some(attribute) = tag::attribute(value, &mut cursor).filter(|_| count < most) {
        count += 1;
        holds.see(&attribute);
        if best.keep(judge_attribute(&attribute, name, cursor.at())) {
            return (best.into_finding(), cursor.at());
        }
    }
    best.keep(judge_whole(name, &holds, start..cursor.at()));
    (best.into_finding(), cursor.at())
}

/// Tags that run something by themselves.
fn running_tag(value: &[u8], name: &[u8], start: usize, cursor: &Cursor<'_>, closes: bool) -> Option<Finding> {
    let at = start..cursor.at();
    if name.eq_ignore_ascii_case(b"script") && ends_name(cursor.peek()) {
        // `List<Script>` is a type.
        let is_type = before(value, start).is_some_and(is_word)
            && name.first() == Some(&b'S')
            && !name.ends_with(b"T")
            && cursor.peek() == Some(b'>');
        return Some(if is_type || is_mentioned(value, start, cursor) {
            Finding::likely("script tag", at)
        } else {
            Finding::certain("script tag", at)
        });
    }
    if name.eq_ignore_ascii_case(b"style")
        && !closes
        && has_text(part(value, cursor.at(), cursor.at() + INNER), b"@import")
    {
        return Some(Finding::certain("style loaded from elsewhere", at));
    }
    // Browsers change the reading of what follows these: only attacks have a use for that.
    (is_one_of(name, &[b"applet", b"mglyph", b"malignmark"]) && !closes)
        .then(|| Finding::certain("tag that runs a program", at))
}

/// Whether a byte may follow the name of a tag; `<script.js` and `<script[` are none.
fn ends_name(next: Option<u8>) -> bool {
    next.is_none_or(|byte| {
        is_space(byte)
            || matches!(byte, b'/' | b'>' | b'<' | b'"' | b'\'' | b'`' | b'=' | b'\\' | b'~' | b'+' | 0 | 0x80..)
    })
}

/// Whether a script tag is only talked about: words before it, no source, and nothing behind it that a script does.
fn is_mentioned(value: &[u8], start: usize, cursor: &Cursor<'_>) -> bool {
    let head = part(value, start.saturating_sub(64), start);
    let talks = head.ends_with(b" ") && head.iter().filter(|byte| byte.is_ascii_alphabetic()).count() > 2;
    let tail = part(value, cursor.at(), cursor.at() + INNER);
    let acts = tail.iter().enumerate().any(|(at, byte)| match byte {
        b'=' | b'`' => true,
        b'(' => before(tail, at).is_some_and(|byte| is_word(byte) || matches!(byte, b']' | b')')),
        _ => false,
    });
    // "<script> tag async vs defer": prose goes on behind it.
    (talks || tail.starts_with(b"> ")) && !acts
}

/// What the attributes of a tag hold, for tags that are judged as a whole.
#[derive(Debug, Default)]
struct Holds<'a> {
    http_equiv: &'a [u8],
    source: &'a [u8],
    rel: &'a [u8],
    href: bool,
    action: bool,
}

impl<'a> Holds<'a> {
    fn see(&mut self, attribute: &Attribute<'a>) {
        let value = attribute.value.unwrap_or_default();
        if attribute.name.eq_ignore_ascii_case(b"http-equiv") {
            self.http_equiv = value;
        } else if is_one_of(attribute.name, &[b"src", b"data", b"code"]) {
            self.source = value;
        } else if attribute.name.eq_ignore_ascii_case(b"rel") {
            self.rel = value;
        } else if attribute.name.eq_ignore_ascii_case(b"href") {
            self.href = true;
        } else if attribute.name.eq_ignore_ascii_case(b"action") {
            self.action = true;
        }
    }
}

/// Tags that run or load something by their attributes together.
fn judge_whole(name: &[u8], holds: &Holds<'_>, at: std::ops::Range<usize>) -> Option<Finding> {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    if is(b"base") && holds.href {
        return Some(Finding::certain("base of all addresses changed", at));
    }
    if is(b"meta") && is_one_of(holds.http_equiv.trim_ascii(), &[b"refresh", b"set-cookie", b"link"]) {
        return Some(Finding::certain("meta tag that acts", at));
    }
    if is(b"link") && (has_text(holds.rel, b"stylesheet") || has_text(holds.rel, b"import")) && holds.href {
        return Some(Finding::likely("style or document loaded", at));
    }
    if (is(b"object") || is(b"embed")) && !holds.source.is_empty() {
        return Some(Finding::likely("tag that runs a program", at));
    }
    if is(b"iframe")
        && !holds.source.is_empty()
        && !starts_with(holds.source, b"https://")
        && !holds.source.starts_with(b"//")
        && !starts_with(holds.source, b"http://")
        && !holds.source.starts_with(b"/")
    {
        return Some(Finding::likely("document in a frame", at));
    }
    (is(b"form") && holds.action).then(|| Finding::likely("form of its own", at))
}

/// Judges one attribute of a tag.
fn judge_attribute(attribute: &Attribute<'_>, tag: &[u8], end: usize) -> Option<Finding> {
    let at = attribute.start..end;
    let value = attribute.value?;
    if is_handler(attribute.name) {
        return Some(if value.is_empty() {
            Finding::likely("event handler", at)
        } else {
            Finding::certain("event handler", at)
        });
    }
    if attribute.name.eq_ignore_ascii_case(b"srcdoc") && !value.is_empty() {
        return Some(Finding::certain("document within an attribute", at));
    }
    if attribute.name.eq_ignore_ascii_case(b"style") {
        return style(value).then(|| Finding::certain("style that runs script", at));
    }
    if !is_address(attribute.name) {
        return None;
    }
    // `content` of a refresh names its address after `url=`.
    let address = find_text(value, b"url=", 0)
        .filter(|_| attribute.name.eq_ignore_ascii_case(b"content"))
        .map_or(value, |start| part(value, start + 4, value.len()));
    match scheme(address) {
        Some(Scheme::Script) => Some(Finding::certain("address that runs script", at)),
        Some(Scheme::Document) if !tag.eq_ignore_ascii_case(b"img") => {
            Some(Finding::certain("address that is a document with script", at))
        }
        _ => None,
    }
}

/// What an address does when a browser goes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    /// Runs what follows.
    Script,
    /// Shows what follows as a document that may hold script.
    Document,
}

/// Whether an address begins with a letter that a [`scheme`] begins with, or with what it may hide behind.
fn may_begin_scheme(address: &[u8]) -> bool {
    let first = address.iter().find(|byte| **byte > 0x20 && **byte != 0x7f).map(u8::to_ascii_lowercase);
    matches!(first, Some(b'j' | b'v' | b'l' | b'm' | b'd' | b'f' | b'%' | b'&' | b'\\' | b'+' | 0x80..))
}

/// The scheme of an address, after what browsers ignore: white space, control characters, entities.
fn scheme(address: &[u8]) -> Option<Scheme> {
    if !may_begin_scheme(address) {
        return None;
    }
    let mut decoded = Vec::new();
    let head = part(address, 0, 160);
    let text = if crate::decode::decode(head, &mut decoded).rounds > 0 { decoded.as_slice() } else { head };
    let mut bytes = text
        .iter()
        .copied()
        .filter(|byte| *byte > 0x20 && *byte != 0x7f && *byte != b'\\')
        .map(|byte| byte.to_ascii_lowercase());
    let mut name = [0_u8; 24];
    let mut length = 0;
    for (place, byte) in name.iter_mut().zip(&mut bytes) {
        *place = byte;
        length += 1;
    }
    let name = part(&name, 0, length);
    let name = name.strip_prefix(b"view-source:").or_else(|| name.strip_prefix(b"feed:")).unwrap_or(name);
    if [b"javascript:".as_slice(), b"vbscript:", b"livescript:", b"mocha:", b"jscript:"]
        .iter()
        .any(|scheme| name.starts_with(scheme))
    {
        return Some(Scheme::Script);
    }
    if [
        b"data:text/html".as_slice(),
        b"data:text/xml",
        b"data:application/x",
        b"data:image/svg+xml",
        b"data:text/javascript",
        b"data:,<",
        b"data:;base64",
        b"data:,alert",
    ]
    .iter()
    .any(|head| name.starts_with(head))
    {
        return Some(Scheme::Document);
    }
    None
}

/// Whether a style runs script in some browser: comments and backslashes within words are left out first.
fn style(value: &[u8]) -> bool {
    let mut decoded = Vec::new();
    let head = part(value, 0, 2048);
    let text = if crate::decode::decode(head, &mut decoded).rounds > 0 { decoded.as_slice() } else { head };
    let mut clean = Vec::new();
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'/' && after.first() == Some(&b'*') {
            rest = memchr::memmem::find(after, b"*/").map_or(&[][..], |end| part(after, end + 2, after.len()));
        } else if byte == b'\\' {
            // `\65 ` is a letter by its number.
            let digits = after.iter().take(6).take_while(|byte| byte.is_ascii_hexdigit()).count();
            let code =
                std::str::from_utf8(part(after, 0, digits)).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok());
            if let Some(code) = code.filter(|_| digits > 1) {
                clean.push(code);
                rest = part(after, digits, after.len());
                rest = rest.strip_prefix(b" ").unwrap_or(rest);
            }
        } else if !is_space(byte) && byte != 0 {
            clean.push(byte);
        }
    }
    [
        b"expression(".as_slice(),
        b"-moz-binding:",
        b"behavior:url",
        b"url(javascript:",
        b"url('javascript:",
        b"url(\"javascript:",
        b"url(data:text/html",
        b"@importjavascript:",
        b"@import'javascript:",
        b"url(vbscript:",
    ]
    .iter()
    .any(|text| has_text(&clean, text))
}

/// `<!--#exec cmd="…" -->`.
fn server_side_include(value: &[u8], start: usize) -> Option<Finding> {
    let mut cursor = Cursor::from(value, start);
    let opens = cursor.eat_text(b"<!--") && {
        cursor.take_at_most(4, is_space);
        cursor.eat(b'#')
    };
    (opens
        && [b"exec".as_slice(), b"include", b"echo", b"printenv", b"config", b"set", b"fsize", b"flastmod"]
            .iter()
            .any(|word| cursor.eat_word(word)))
    .then(|| Finding::certain("server-side include", start..cursor.at()))
}

/// An address that runs: the whole value, or where Markdown and attributes put one.
fn address(value: &[u8]) -> Option<Finding> {
    let mut best = Best::default();
    match scheme(value) {
        Some(Scheme::Script) => {
            let colon = memchr::memchr(b':', value).map_or(value.len().min(16), |at| at + 1);
            let rest = part(value, colon, value.len());
            // "JavaScript: The Good Parts" is a book.
            let is_title =
                rest.first() == Some(&b' ') && !(rest.get(1..).is_some_and(|text| calls(text.trim_ascii_start())));
            let acts = rest.iter().any(|byte| matches!(byte, b'(' | b'`' | b'=' | b'%' | b'/' | b'\\' | b'&'));
            best.keep((!is_title && acts).then(|| Finding::certain("address that runs script", 0..colon)));
        }
        Some(Scheme::Document) if starts_with(value.trim_ascii_start(), b"data:") => {
            let runs = has_text(part(value, 0, 64), b"text/html")
                || has_text(part(value, 0, 64), b"javascript")
                || has_text(part(value, 0, 512), b"<script")
                || has_text(part(value, 0, 64), b",<");
            best.keep(runs.then(|| Finding::certain("address that is a document with script", 0..value.len().min(16))));
        }
        _ => {}
    }
    let mut from = 0;
    while let Some(at) = find_text(value, b"script:", from) {
        from = at + 7;
        let head = part(value, 0, at);
        let start = ["java", "vb", "live"].iter().find_map(|kind| {
            head.len().checked_sub(kind.len()).filter(|start| starts_with(part(value, *start, at), kind.as_bytes()))
        });
        let Some(start) = start else { continue };
        let placed = matches!(before(value, start), Some(b'(' | b'=' | b'"' | b'\'' | b'`' | b'<' | b':' | b','));
        if placed
            && calls(part(value, from, from + 128))
            && best.keep(Some(Finding::certain("address that runs script", start..from)))
        {
            break;
        }
    }
    best.into_finding()
}

/// Whether a text begins with a call or an assignment: names, dots, then `(`, a backtick or `=`.
fn calls(text: &[u8]) -> bool {
    let name = text
        .iter()
        .take(64)
        .take_while(|byte| is_word(**byte) || matches!(byte, b'.' | b'/' | b'%' | b'$' | b'[' | b']' | b'\''))
        .count();
    matches!(text.get(name), Some(b'(' | b'`' | b'=')) && (name > 0 || text.first() == Some(&b'('))
}

/// Attributes without a tag: behind a quote that closes the application's, or in a place without quotes.
fn attributes(value: &[u8], classes: Classes) -> Option<Finding> {
    let mut best = Best::default();
    for quote in [b'"', b'\'', b'`'] {
        for at in memchr::memchr_iter(quote, value).take(TRIES) {
            if best.keep(attributes_at(value, at + 1, true)) {
                return best.into_finding();
            }
        }
    }
    // `x onmouseover=alert(1)`: at the beginning, or behind the first white space or slash.
    if best.keep(attributes_at(value, 0, false)) {
        return best.into_finding();
    }
    if classes.any(Classes::SPACE.or(Classes::SLASH).or(Classes::NEWLINE))
        && let Some(at) = value.iter().position(|byte| is_space(*byte) || *byte == b'/')
    {
        best.keep(attributes_at(value, at, false));
    }
    best.into_finding()
}

/// Reads a few attributes at a place.
fn attributes_at(value: &[u8], at: usize, quoted: bool) -> Option<Finding> {
    let window = part(value, 0, at + INNER);
    let mut cursor = Cursor::from(window, at);
    let mut best = Best::default();
    for _ in 0..8 {
        let Some(attribute) = tag::attribute(window, &mut cursor) else { break };
        let Some(text) = attribute.value else { continue };
        let range = attribute.start..cursor.at();
        if is_handler(attribute.name) {
            let runs = text.iter().any(|byte| matches!(byte, b'(' | b'`' | b'=' | b'[' | b'&' | b'\\'));
            let found =
                if runs { Finding::certain("event handler", range) } else { Finding::likely("event handler", range) };
            if best.keep(Some(found).filter(|_| runs || quoted)) {
                break;
            }
        } else if attribute.name.eq_ignore_ascii_case(b"style") && style(text) {
            best.keep(Some(Finding::certain("style that runs script", range)));
        } else if is_address(attribute.name)
            && !attribute.name.eq_ignore_ascii_case(b"content")
            && scheme(text) == Some(Scheme::Script)
        {
            best.keep(Some(Finding::certain("address that runs script", range)));
        } else if attribute.name.eq_ignore_ascii_case(b"srcdoc") && quoted {
            best.keep(Some(Finding::certain("document within an attribute", range)));
        }
    }
    best.into_finding()
}

/// Script behind a quote that closes a string.
fn string(value: &[u8], at: usize, is_first: bool) -> Option<Finding> {
    let mut cursor = Cursor::from(value, at + 1);
    let closers = cursor.take_at_most(16, |byte| is_space(byte) || matches!(byte, b')' | b'}' | b']'));
    let closed = closers.iter().any(|byte| !is_space(*byte));
    let joins = cursor.take_at_most(4, |byte| {
        matches!(
            byte,
            b';' | b'-'
                | b'+'
                | b'*'
                | b'/'
                | b','
                | b'|'
                | b'&'
                | b'^'
                | b'?'
                | b'%'
                | b'<'
                | b'>'
                | b'='
                | b'!'
                | b'~'
                | b':'
        )
    });
    if joins.is_empty() && !closed && !closers.contains(&b'\n') {
        return None;
    }
    cursor.take_at_most(16, |byte| is_space(byte) || matches!(byte, b'(' | b'!' | b'+' | b'[' | b'{' | b'~' | b'-'));
    let start = cursor.at();
    let word = cursor.take_at_most(32, is_word);
    if !is_sink(word) {
        return None;
    }
    cursor.take_at_most(4, |byte| matches!(byte, b')' | b']') || is_space(byte));
    let what = "script behind a string";
    let acts = match cursor.peek() {
        Some(b'(' | b'`') => cursor.peek_by(1).is_some(),
        Some(b'.' | b'[') => {
            cursor.peek_by(1).is_some_and(|byte| is_word(byte) || matches!(byte, b'\'' | b'"' | b'`' | b'/'))
        }
        Some(b'=') => is_one_of(word, &[b"location", b"name", b"onerror"]) && cursor.peek_by(1) != Some(b'='),
        Some(_) if is_one_of(word, &[b"throw", b"void", b"typeof", b"delete", b"new", b"var", b"let"]) => {
            calls(part(value, cursor.at(), cursor.at() + 64)) && start > at + 1 && joins != b","
        }
        _ => false,
    };
    // `'a' + name(x)`, `"x", open(y)`: code; only what attacks call is certain.
    let telling = is_one_of(
        word,
        &[
            b"alert",
            b"confirm",
            b"prompt",
            b"eval",
            b"fetch",
            b"document",
            b"location",
            b"window",
            b"settimeout",
            b"setinterval",
            b"import",
            b"atob",
            b"xmlhttprequest",
            b"top",
            b"self",
            b"parent",
            b"frames",
            b"this",
            b"throw",
            b"onerror",
            b"function",
            b"constructor",
            b"navigator",
            b"globalthis",
            b"print",
        ],
    );
    acts.then(|| {
        if is_first && telling {
            Finding::certain(what, at..cursor.at())
        } else {
            Finding::likely(what, at..cursor.at())
        }
    })
}

#[cfg(test)]
mod tests;
