//! `@detectResponseSplitting`: a line break that would end one header, mail field or request and begin another.
//!
//! Recognises a line break followed by a header with a value of its own kind (`Set-Cookie: a=b`, `Location: https:…`,
//! `Content-Length: 5`, `Bcc: a@b`), by a status or request line, or by an empty line and a document.
//!
//! It is certain only when what stands before the break is what a parameter holds (a code, an address, a URL) and not a
//! line of text: people paste headers and mails into forms.

use super::evidence::Best;
use super::scan::{Cursor, is_space, part};
use super::{Classes, Finding};

/// A line break, and the colon of a header, the slash of a version or the `<` of a document.
pub(super) fn may_find(_: &[u8], classes: Classes) -> bool {
    classes.any(Classes::NEWLINE) && classes.any(Classes::COLON.or(Classes::SLASH).or(Classes::LESS))
}

pub(super) fn find(value: &[u8], _: Classes) -> Option<Finding> {
    let first = memchr::memchr2(b'\r', b'\n', value)?;
    let head = part(value, 0, first);
    let is_parameter = head.len() <= 512 && !head.iter().any(|&byte| is_space(byte)) && !head.ends_with(b":");
    let mut best = Best::default();
    let mut cursor = Cursor::from(value, first);
    let mut is_first_break = true;
    while !cursor.is_done() {
        let start = cursor.at();
        let breaks = cursor.take_while(|byte| matches!(byte, b'\r' | b'\n'));
        let found = if breaks.len() > 1 && is_document(cursor) { Some("document after an empty line") } else { None };
        let found = found.or_else(|| line(cursor));
        let end = value.len().min(cursor.at() + 16);
        if best.keep(found.map(|what| {
            if is_parameter && is_first_break {
                Finding::certain(what, start..end)
            } else {
                Finding::likely(what, start..end)
            }
        })) {
            break;
        }
        is_first_break = false;
        cursor.take_while(|byte| !matches!(byte, b'\r' | b'\n'));
    }
    best.into_finding()
}

/// Whether markup that a browser would show begins here.
fn is_document(mut cursor: Cursor<'_>) -> bool {
    cursor.eat(b'<')
        && [b"html".as_slice(), b"script", b"!doctype", b"body", b"svg", b"iframe", b"head"]
            .iter()
            .any(|tag| cursor.eat_text(tag))
}

/// What kind of line begins here, if it is one of the protocol's.
fn line(mut cursor: Cursor<'_>) -> Option<&'static str> {
    cursor.take_at_most(4, |byte| matches!(byte, b' ' | b'\t'));
    if cursor.eat_text(b"http/") {
        return cursor.peek().is_some_and(|byte| byte.is_ascii_digit()).then_some("status line after a line break");
    }
    let name = cursor.take_at_most(40, |byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if name.is_empty() {
        return None;
    }
    if cursor.eat(b':') {
        cursor.take_at_most(8, |byte| matches!(byte, b' ' | b'\t'));
        let content = cursor.take_at_most(128, |byte| !matches!(byte, b'\r' | b'\n'));
        return header(name, content);
    }
    let is_method =
        [b"GET".as_slice(), b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT"]
            .contains(&name);
    if !is_method || !cursor.eat(b' ') {
        return None;
    }
    cursor.take_at_most(512, |byte| !is_space(byte));
    (cursor.eat(b' ') && cursor.eat_text(b"http/")).then_some("request line after a line break")
}

/// Whether a header has a value of its own kind; which headers those are is a matter of what they do when injected.
fn header(name: &[u8], content: &[u8]) -> Option<&'static str> {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    let has = |byte: u8| content.contains(&byte);
    let digits = !content.is_empty() && content.trim_ascii().iter().all(u8::is_ascii_digit);
    let response = (is(b"set-cookie") && has(b'='))
        || (is(b"location") && (has(b'/') || has(b':')))
        || (is(b"content-type") && has(b'/'))
        || (is(b"content-length") && digits)
        || (is(b"transfer-encoding") && !content.is_empty())
        || (is(b"refresh") && has(b'='))
        || (is(b"content-security-policy") && !content.is_empty())
        || (is(b"x-xss-protection") && !content.is_empty())
        || (is(b"content-disposition") && !content.is_empty())
        || (is(b"last-modified") && has(b':'))
        || (is(b"host") && has(b'.'))
        || (super::starts_with(name, b"access-control-") && !content.is_empty())
        || (super::starts_with(name, b"x-") && name.len() > 4 && !content.is_empty() && !has(b' '))
        || (is(b"link") && has(b'<'));
    if response {
        return Some("header after a line break");
    }
    let mail = ((is(b"bcc") || is(b"cc") || is(b"to") || is(b"from") || is(b"reply-to")) && has(b'@'))
        || (is(b"mime-version") && digits)
        || (is(b"subject") && !content.is_empty());
    mail.then_some("mail field after a line break")
}

#[cfg(test)]
mod tests {
    use crate::detect::check::{finds, is_certain_of, is_linear_in, is_not_certain_of, is_quiet_about};
    use crate::seclang::ast::OperatorKind::DetectResponseSplitting;

    #[test]
    fn finds_injected_lines() {
        is_certain_of(
            DetectResponseSplitting,
            &[
                "en\r\nSet-Cookie: session=evil",
                "en\nSet-Cookie: session=evil",
                "en\rSet-Cookie: a=b",
                "/home\r\nLocation: https://evil.example",
                "\r\nLocation: //evil.example",
                "x\r\n\r\n<html><script>alert(1)</script>",
                "x\r\n\r\n<script>alert(1)</script>",
                "foobar\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n",
                "x\r\nHTTP/1.1 200 OK\r\nContent-Type: text/html",
                "x\r\nContent-Type: text/html",
                "https://example.com/\r\nX-Injected:yes",
                "1\r\n Set-Cookie:a=b",
                "x\r\nTransfer-Encoding: chunked",
                "x\r\nGET /admin HTTP/1.1\r\nHost: a",
                "0\r\nPOST /x HTTP/1.1",
                "me@example.com\nBcc: victim@example.org",
                "me@example.com\r\nCc:a@b.example",
                "me@example.com\r\nSubject: hi",
                "me@example.com\r\nTo: x@y.example",
                "a\r\nAccess-Control-Allow-Origin: *",
                "a\r\nX-XSS-Protection: 0",
                "a\r\nRefresh: 0;url=https://evil.example",
                "a\r\nContent-Disposition: attachment",
                "a\n\n<!DOCTYPE html>",
                "a\r\nSET-COOKIE: x=y",
                "a\r\nset-cookie:x=y;path=/",
                "a\r\nContent-Security-Policy: default-src *",
                "a\r\nHost: evil.example",
                "?x=1\r\nLast-Modified: Mon, 27 Oct 2060 14:50:18 GMT",
                "a\r\n\r\n<svg onload=alert(1)>",
                "\r\n\r\n<html>",
            ],
        );
        finds(DetectResponseSplitting, &["My server answers:\nHTTP/1.1 200 OK\nContent-Type: text/html\n"]);
    }

    #[test]
    fn leaves_text_of_several_lines_alone() {
        is_quiet_about(
            DetectResponseSplitting,
            &[
                "Hello\nLocation: Berlin",
                "Agenda\nSubject:\n",
                "a\nb\nc",
                "Name: x\nTo: the team",
                "Shopping\nFrom: the bakery",
                "a:\n  b: 1\n",
                "Line\r\n\r\n<b>bold</b>",
                "first\n\nsecond",
                "10:30\nHost: Anna",
                "x\n\n<p>html</p>",
                "Refresh: later\nrefresh: now",
                "key: 1\nkey2: 2",
                "a\r\n--boundary",
                "GET lost\nPOST it",
                "a\nGET up",
                "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
                "total: 5\nX: 3",
                "x: 1\ny-z: 2",
            ],
        );
        is_not_certain_of(
            DetectResponseSplitting,
            &[
                "My server answers:\nHTTP/1.1 200 OK\nContent-Type: text/html\n",
                "Dear all,\nTo: x@example.com\nsee below",
                "curl said\nLocation: https://example.com",
            ],
        );
    }

    #[test]
    fn takes_linear_time() {
        is_linear_in(
            DetectResponseSplitting,
            &["\r\n", "\nHost: a", "\n\n<", "\nGET /", "\nX-", "\nset-cookie: ", "\n "],
        );
    }
}
