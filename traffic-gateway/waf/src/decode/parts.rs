//! The parts of a value that is itself JSON, a form, or a URL.

use crate::classes::Classes;

/// The kinds of values that have parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    Json,
    /// A form; its parameters begin at this position.
    Form(usize),
    /// Texts between dots, each base64 of JSON.
    Token,
    /// Base64 that begins at this position, after `data:…;base64,` or `Basic `.
    Base64(usize),
}

/// What a value with these classes looks like. Each kind has a byte of its own or begins with a word: `{`, `[` or `"`;
/// a `=`; `eyJ` and a dot; `data:`; `basic`.
pub(super) fn whole_among(value: &[u8], classes: Classes) -> Option<Whole> {
    const NEEDS: [Classes; 3] = [Classes::in_text(b"eyj."), Classes::in_text(b"data:"), Classes::in_text(b"basic ")];
    let marks = Classes::BRACE.or(Classes::BRACKET).or(Classes::DOUBLE).or(Classes::EQUALS);
    if classes.any(marks) || classes.all_of_one(&NEEDS) { whole(value) } else { None }
}

/// What a value looks like from its first bytes on.
pub(super) fn whole(value: &[u8]) -> Option<Whole> {
    let trimmed = value.trim_ascii_start();
    match trimmed.first()? {
        b'{' | b'[' => {
            return trimmed
                .get(1..)?
                .trim_ascii_start()
                .first()
                .is_some_and(|byte| matches!(byte, b'"' | b'{' | b'['))
                .then_some(Whole::Json);
        }
        b'"' => return (trimmed.len() > 2 && trimmed.ends_with(b"\"")).then_some(Whole::Json),
        _ => {}
    }
    if value.starts_with(b"eyJ") && memchr::memchr(b'.', value).is_some() {
        return Some(Whole::Token);
    }
    if let Some(at) = base64_after_head(value) {
        return Some(Whole::Base64(at));
    }
    form(value).map(Whole::Form)
}

/// Where base64 begins that says of itself to be that.
fn base64_after_head(value: &[u8]) -> Option<usize> {
    let head = value.get(..value.len().min(128))?;
    if head.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"data:")) {
        return memchr::memmem::find(head, b"base64,").map(|at| at + 7);
    }
    head.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic ")).then_some(6)
}

/// Where the parameters of a form or of a URL begin.
fn form(value: &[u8]) -> Option<usize> {
    let equals = memchr::memchr(b'=', value)?;
    let head = value.get(..equals)?;
    let is_name = |name: &[u8]| {
        !name.is_empty()
            && name.len() <= 128
            && name.iter().all(|byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'[' | b']' | b'%' | b'$' | b':')
            })
    };
    let query = memchr::memchr(b'?', head).map(|at| at + 1);
    if let Some(at) = query {
        let is_url = value.starts_with(b"/") || memchr::memmem::find(head, b"://").is_some();
        return (is_url && is_name(value.get(at..equals)?)).then_some(at);
    }
    (is_name(head) && memchr::memchr(b'&', value).is_some()).then_some(0)
}

/// Calls back with the beginning and end of each string of JSON, without its quotes. Does not ask whether the JSON is
/// sound: what is broken is judged all the same.
pub(super) fn json_strings(value: &[u8], mut each: impl FnMut(&[u8]) -> bool) -> bool {
    let mut at = 0;
    while let Some(open) = value.get(at..).and_then(|rest| memchr::memchr(b'"', rest)) {
        let start = at + open + 1;
        let mut end = start;
        while let Some(offset) = value.get(end..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
            end += offset;
            if value.get(end) == Some(&b'"') {
                break;
            }
            end = value.len().min(end + 2);
        }
        if value.get(end) != Some(&b'"') {
            end = value.len();
        }
        if each(value.get(start..end).unwrap_or_default()) {
            return true;
        }
        at = end + 1;
    }
    false
}

/// Undoes the escapes of a string of JSON.
pub(super) fn unescape(string: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut rest = string;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (head, tail) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(head);
        let escaped = tail.get(1).copied();
        let mut length = 2;
        match escaped {
            Some(b'n') => out.push(b'\n'),
            Some(b't') => out.push(b'\t'),
            Some(b'r') => out.push(b'\r'),
            Some(b'b') => out.push(8),
            Some(b'f') => out.push(12),
            Some(byte @ (b'"' | b'\\' | b'/' | b'\'')) => out.push(byte),
            // `\u0027` is left to the decoder, which folds and joins.
            Some(byte) => out.extend_from_slice(&[b'\\', byte]),
            None => {
                out.push(b'\\');
                length = 1;
            }
        }
        rest = tail.get(length..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// Calls back with each name and each value of a form.
pub(super) fn parameters(form: &[u8], mut each: impl FnMut(&[u8]) -> bool) -> bool {
    form.split(|byte| *byte == b'&').any(|pair| {
        let equals = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let (name, value) = pair.split_at_checked(equals).unwrap_or((pair, &[]));
        (!name.is_empty() && each(name)) || (value.len() > 1 && each(value.get(1..).unwrap_or_default()))
    })
}
