//! Script without anything around it.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::super::scan::{Cursor, has_text, is_one_of, is_space, is_word, part};
use super::super::{Classes, Finding};

/// Calls that script makes; whether text never does.
const CALLS: &[(&[u8], bool)] = &[
    (b"eval(atob(", true),
    (b"${alert(", true),
    (b"alert(document.", true),
    (b"(alert)(", true),
    (b"alert`", true),
    (b"eval(location", true),
    (b"top['al", true),
    (b"self['al", true),
    (b"window['al", true),
    (b"window[\"al", true),
    (b"constructor.constructor(", true),
    (b"[].constructor", true),
    (b"string.fromcharcode(", false),
    (b"eval(string", false),
    (b"document.cookie", false),
    (b"document.write(", false),
    (b"javascript:alert", false),
    (b"eval(name", false),
];

fn is_telling(call: usize) -> bool {
    CALLS.get(call).is_some_and(|(_, telling)| *telling)
}

/// What [`CALLS`], a call as the value and brackets alone are made of.
const MADE_OF: &[Classes] = &[
    Classes::BRACKET,
    Classes::in_text(b"alert"),
    Classes::in_text(b"eval"),
    Classes::in_text(b"constructor"),
    Classes::in_text(b"string.fromcharcode"),
    // document.cookie, document.write
    Classes::in_text(b"document."),
    Classes::in_text(b"confirm"),
    Classes::in_text(b"prompt"),
];

/// A parenthesis or a backtick, and what is called.
pub(super) fn may_find(classes: Classes) -> bool {
    classes.any(Classes::PAREN.or(Classes::BACKTICK)) && classes.all_of_one(MADE_OF)
}

/// Script without anything around it: calls of attacks as the value, brackets alone, constructors by chain.
pub(super) fn find(value: &[u8]) -> Option<Finding> {
    let brackets =
        value.iter().take(256).filter(|byte| matches!(byte, b'[' | b']' | b'(' | b')' | b'!' | b'+')).count();
    let looked_at = value.len().min(256);
    if looked_at > 40 && brackets * 20 >= looked_at * 19 && has_text(part(value, 0, 256), b"[]") {
        return Some(Finding::certain("script in brackets alone", 0..looked_at));
    }
    static AUTOMATON: LazyLock<Option<AhoCorasick>> =
        LazyLock::new(|| super::super::scan::automaton(CALLS.iter().map(|(text, _)| *text)));
    if let Some(found) = AUTOMATON.as_ref()?.find_iter(value).max_by_key(|found| is_telling(found.pattern().as_usize()))
    {
        let certain = is_telling(found.pattern().as_usize()) && value.len() <= 256;
        let what = "script that calls";
        return Some(if certain {
            Finding::certain(what, found.range())
        } else {
            Finding::likely(what, found.range())
        });
    }
    let mut cursor = Cursor::new(value);
    cursor.take_at_most(8, |byte| is_space(byte) || matches!(byte, b';' | b'(' | b'!' | b'+' | b'-'));
    let word = cursor.take_at_most(16, is_word);
    (is_one_of(word, &[b"alert", b"confirm", b"prompt", b"eval"])
        && cursor.peek() == Some(b'(')
        && memchr::memchr(b')', cursor.rest()).is_some())
    .then(|| Finding::likely("script that calls", 0..cursor.at()))
}
