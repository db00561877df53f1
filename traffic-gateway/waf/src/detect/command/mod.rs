//! `@detectCommand`: text that a shell would take for a command of its own.
//!
//! Recognises a command where a shell looks for one (after `;`, `|`, `&`, a line break, in `$(…)`, backticks or braces)
//! when it is one that exists and either does harm alone or has arguments in the shape of a shell's: options, paths,
//! redirections, variables. Names in disguise (`c''at`, `c\at`, `w^hoami`, `/b?n/c?t`, `cat${IFS}…`, `{cat,…}`) need no
//! more. Also function definitions in the environment (`() { :; };`), `/dev/tcp/`, and calls of a spreadsheet (`cmd|' /C`).
//!
//! A command as the whole value, in Markdown's backticks or in text of several lines is at most likely: search boxes,
//! tutorials and scripts hold those. Prose (`Tom & Jerry; sleep 5 hours`) and lists (`php;python`) are left alone.

mod names;
mod special;
mod word;

use super::evidence::Best;
use super::scan::{Cursor, before, has_text, is_space, is_word, part};
use super::{Classes, Finding};
use names::{BARE, BARE_WORDS, INTERPRETERS, STRONG, has, is_command};
use word::{InBraces, Word};

/// How many bytes of arguments are looked at.
const REACH: usize = 384;
/// How many arguments are looked at.
const WORDS: usize = 24;

/// What stands before a command that follows other text.
const SEPARATORS: Classes = Classes::SEMICOLON
    .or(Classes::PIPE)
    .or(Classes::AMPERSAND)
    .or(Classes::BACKTICK)
    .or(Classes::DOLLAR)
    .or(Classes::NEWLINE)
    .or(Classes::BRACE);

/// What a command that is the whole value has behind its name, in it or before it.
const WHOLE: Classes = Classes::SPACE
    .or(Classes::DOLLAR)
    .or(Classes::BRACE)
    .or(Classes::LESS)
    .or(Classes::SLASH)
    .or(Classes::COMMA)
    .or(Classes::QUESTION)
    .or(Classes::CARET)
    .or(Classes::TILDE)
    .or(Classes::BACKSLASH);

/// A separator, a shape of its own, or a value that begins with the name of a command.
pub(super) fn may_find(value: &[u8], classes: Classes) -> bool {
    classes.any(SEPARATORS) || special::may_find(classes) || (classes.any(WHOLE) && may_be_whole(value))
}

pub(super) fn find(value: &[u8], classes: Classes) -> Option<Finding> {
    let mut best = Best::default();
    if classes.any(WHOLE) && may_be_whole(value) && best.keep(whole(value)) {
        return best.into_finding();
    }
    if special::may_find(classes) {
        best.keep(special::find(value, classes));
    }
    if !classes.any(SEPARATORS) {
        return best.into_finding();
    }
    let mut at = 0;
    while let Some(offset) = value.get(at..).and_then(|rest| {
        rest.iter().position(|byte| matches!(byte, b';' | b'|' | b'&' | b'`' | b'$' | b'\n' | b'\r' | b'{'))
    }) {
        at += offset;
        let (site, length) = site(value, at);
        if let Some(site) = site
            && best.keep(command(value, at, at + length, site))
        {
            break;
        }
        at += length;
    }
    best.into_finding()
}

/// How a shell comes to look for a command at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Site {
    /// After `;`.
    Sequence,
    /// After `|`.
    Pipe,
    /// After `||` or `&&`.
    Condition,
    /// After `&`.
    Background,
    /// After a line break.
    Line,
    /// In `$(`.
    Substitution,
    /// In backticks.
    Backtick,
    /// In `{`.
    Braces,
}

/// What begins at a byte that may separate commands, and its length.
fn site(value: &[u8], at: usize) -> (Option<Site>, usize) {
    let next = value.get(at + 1).copied();
    match value.get(at) {
        Some(b';') => (Some(Site::Sequence), 1),
        Some(b'|') if next == Some(b'|') => (Some(Site::Condition), 2),
        Some(b'|') => (Some(Site::Pipe), 1),
        Some(b'&') if next == Some(b'&') => (Some(Site::Condition), 2),
        Some(b'&') => (Some(Site::Background), 1),
        Some(b'\n' | b'\r') => (Some(Site::Line), 1),
        Some(b'`') => (Some(Site::Backtick), 1),
        Some(b'$') if next == Some(b'(') => (Some(Site::Substitution), 2),
        Some(b'{') => (Some(Site::Braces), 1),
        _ => (None, 1),
    }
}

/// What the arguments of a command are like.
#[derive(Clone, Copy, Debug, Default)]
struct Arguments {
    /// Number of words.
    count: usize,
    /// Words in the shape of a shell's: options, paths, variables, numbers, addresses.
    shaped: usize,
    /// Something only a shell would understand: a redirection, `$(`, a sensitive path.
    telling: bool,
    /// Where they end.
    end: usize,
    /// The command ends where a shell would end it.
    closed: bool,
}

/// Judges the command behind a separator.
fn command(value: &[u8], start: usize, from: usize, site: Site) -> Option<Finding> {
    let mut cursor = Cursor::from(value, from);
    let spaces = cursor.take_at_most(8, |byte| is_space(byte) || matches!(byte, b'(' | b'!')).len();
    let in_braces = if cursor.eat(b'{') || site == Site::Braces { InBraces::Yes } else { InBraces::No };
    cursor.take_at_most(4, is_space);
    if in_braces == InBraces::No && is_plain_word(&cursor) {
        return None;
    }
    skip_assignments(&mut cursor);
    let name_at = cursor.at();
    let word = word::read(&mut cursor, in_braces);
    if word.text().is_empty() {
        return computed(&word, &mut cursor, start, site);
    }
    let (name, has_folder) = names::without_folder(word.text());
    let is_windows = word.text().contains(&b'^') || name.ends_with(b".exe");
    let lower = is_windows.then(|| name.to_ascii_lowercase());
    let name = lower.as_deref().unwrap_or(name);
    let known = is_command(name);
    let at = start..cursor.at();
    if word.wildcard && is_wildcard_path(word.text()) && site != Site::Braces {
        return Some(grade(value, start, site, Finding::certain("command by a path with wildcards", at)));
    }
    if in_braces == InBraces::Yes {
        let listed = known
            && cursor.peek() == Some(b',')
            && cursor.peek_by(1).is_some_and(|byte| matches!(byte, b'-' | b'/' | b'$' | b'.'));
        return listed.then(|| Finding::certain("command in braces", at));
    }
    if !known {
        return None;
    }
    if word.hidden {
        return Some(grade(value, start, site, Finding::certain("command in disguise", at)));
    }
    if word.space_hidden || word::space(&mut cursor) {
        return Some(Finding::certain("command with a variable for its space", start..cursor.at()));
    }
    // `&id=5`, `&cat;`: a parameter, an entity.
    if site == Site::Background && matches!(cursor.peek(), Some(b'=' | b';')) {
        return None;
    }
    // `set(x)`: a call in some program.
    if cursor.peek() == Some(b'(') {
        return None;
    }
    let separated = cursor.peek().is_none_or(|byte| word::ends_word(byte) || matches!(byte, b'\'' | b'"'));
    if !separated {
        return None;
    }
    let arguments = arguments(&mut cursor);
    let found = judge(value, start, name_at, name, has_folder, spaces, &arguments, site)?;
    Some(grade(value, start, site, found))
}

/// Whether a word of small letters or a capitalised one is next that is no command and hides none: what prose has behind
/// its punctuation. Spares most places the rest.
fn is_plain_word(cursor: &Cursor<'_>) -> bool {
    let mut ahead = *cursor;
    let word = ahead.take_at_most(24, |byte| byte.is_ascii_alphanumeric());
    let goes_on = ahead.peek().is_some_and(|byte| {
        matches!(
            byte,
            b'\'' | b'"' | b'\\' | b'$' | b'^' | b'.' | b'-' | b'_' | b'=' | b'/' | b':' | b'{' | b'*' | b'?' | b'['
        )
    });
    !word.is_empty() && !goes_on && !is_command(word)
}

/// `$a$b /etc/passwd`: a name out of variables, with an argument that tells.
fn computed(word: &Word, cursor: &mut Cursor<'_>, start: usize, site: Site) -> Option<Finding> {
    if !word.computed || site == Site::Line || site == Site::Braces || !cursor.peek().is_some_and(is_space) {
        return None;
    }
    let found = arguments(cursor);
    (found.telling && found.closed).then(|| Finding::certain("command out of variables", start..found.end))
}

/// `A=1 cmd`: variables for one command.
fn skip_assignments(cursor: &mut Cursor<'_>) {
    let mut ahead = *cursor;
    let name = ahead.take_at_most(16, is_word);
    if name.first().is_some_and(u8::is_ascii_uppercase) && ahead.eat(b'=') {
        ahead.take_at_most(32, |byte| !word::ends_word(byte));
        if ahead.skip_space() {
            *cursor = ahead;
        }
    }
}

/// Two folders deep, as paths of commands are.
fn is_wildcard_path(word: &[u8]) -> bool {
    word.iter().filter(|byte| **byte == b'/').count() >= 2
        && word.iter().any(|byte| *byte == b'?' || *byte == b'[' || *byte == b'*')
        && !word.ends_with(b"*")
        && (word.iter().filter(|byte| byte.is_ascii_alphanumeric()).count() >= 2
            || word.iter().filter(|byte| **byte == b'?').count() >= 4)
}

/// Reads the arguments up to where a shell would end the command.
fn arguments(cursor: &mut Cursor<'_>) -> Arguments {
    let mut found = Arguments::default();
    let limit = cursor.at() + REACH;
    for _ in 0..WORDS {
        let spaces = cursor.take_at_most(16, |byte| matches!(byte, b' ' | b'\t'));
        let Some(byte) = cursor.peek().filter(|_| cursor.at() < limit) else {
            found.closed = cursor.is_done();
            break;
        };
        match byte {
            b'<' | b'>' => {
                cursor.take_at_most(3, |byte| matches!(byte, b'<' | b'>' | b'&' | b'('));
                cursor.take_at_most(4, |byte| byte == b' ');
                let target = cursor.take_at_most(64, |byte| !word::ends_word(byte));
                found.telling |=
                    target.starts_with(b"/") || target.contains(&b'.') || (!target.is_empty() && found.shaped > 0);
                found.shaped += 1;
                found.count += 1;
            }
            b';' | b'|' | b'&' | b'\n' | b'\r' | b')' | b'`' | b'#' | b'}' | 0 | b'"' | b'\''
                if found.count == 0 || !matches!(byte, b'"' | b'\'') =>
            {
                // An argument that is computed: `nslookup \`whoami\`.example`.
                found.telling |= byte == b'`' && !spaces.is_empty() && cursor.peek_by(1).is_some_and(is_word);
                let quoted_argument = matches!(byte, b'"' | b'\'') && !spaces.is_empty() && closes(cursor, byte);
                if quoted_argument {
                    found.count += 1;
                    found.shaped += 1;
                    continue;
                }
                if matches!(byte, b'"' | b'\'') && !spaces.is_empty() && cursor.peek_by(1).is_some_and(is_word) {
                    argument(cursor, &mut found);
                    continue;
                }
                found.closed = true;
                break;
            }
            _ => argument(cursor, &mut found),
        }
    }
    found.end = cursor.at();
    found
}

/// Takes a string in quotes if it is closed nearby.
fn closes(cursor: &mut Cursor<'_>, quote: u8) -> bool {
    let mut ahead = *cursor;
    ahead.skip(1);
    ahead.take_at_most(128, |byte| byte != quote && byte != b'\n');
    let closed = ahead.eat(quote);
    if closed {
        *cursor = ahead;
    }
    closed
}

/// Reads one argument.
fn argument(cursor: &mut Cursor<'_>, found: &mut Arguments) {
    let quote = cursor.peek().filter(|byte| matches!(byte, b'"' | b'\''));
    if quote.is_some_and(|quote| closes(cursor, quote)) {
        found.count += 1;
        found.shaped += 1;
        return;
    }
    let text = cursor.take_at_most(256, |byte| !word::ends_word(byte));
    found.count += 1;
    if text.is_empty() {
        cursor.skip(1);
        return;
    }
    // `$(…)` is an argument that is computed.
    found.telling |= text.ends_with(b"$") && cursor.peek() == Some(b'(');
    let is_option = text.len() > 1
        && text.starts_with(b"-")
        && text.get(1).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'-')
        || (text.starts_with(b"/") && text.len() == 2);
    let is_path = text.contains(&b'/') && text.len() > 1
        || text.starts_with(b"~")
        || text.starts_with(b"..")
        || matches!(text, b"." | b"/")
        || text == b"*"
        || text.get(1..3) == Some(b":\\");
    let is_variable =
        text.starts_with(b"$") && text.len() > 1 || (text.starts_with(b"%") && text.ends_with(b"%") && text.len() > 2);
    let is_number =
        text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') && text.iter().any(u8::is_ascii_digit);
    let has_extension = memchr::memrchr(b'.', text).is_some_and(|dot| {
        dot > 0 && (1..=12).contains(&(text.len() - dot - 1)) && text.get(dot + 1).is_some_and(u8::is_ascii_alphabetic)
    });
    found.shaped += usize::from(is_option || is_path || is_variable || is_number || has_extension);
    found.telling |= [b"/etc/".as_slice(), b"/dev/tcp", b"/proc/", b"/dev/null", b"/bin/sh", b"/bin/bash", b"/tmp/"]
        .iter()
        .any(|path| has_text(text, path))
        || text.starts_with(b"${")
        || text.starts_with(b"$(");
}

/// Weighs a known command and its arguments.
#[expect(clippy::too_many_arguments, reason = "everything the verdict rests on, once, in one place")]
fn judge(
    value: &[u8],
    start: usize,
    name_at: usize,
    name: &[u8],
    has_folder: bool,
    spaces: usize,
    arguments: &Arguments,
    site: Site,
) -> Option<Finding> {
    let at = start..arguments.end.max(name_at);
    let what = "command after a separator";
    let strong = has(STRONG, name) || has_folder;
    let certain = |certain: bool| {
        Some(if certain { Finding::certain(what, at.clone()) } else { Finding::likely(what, at.clone()) })
    };
    if arguments.telling {
        return certain(strong || arguments.closed);
    }
    let all_shaped = arguments.count > 0 && arguments.shaped == arguments.count;
    if strong && arguments.shaped > 0 {
        return certain(arguments.closed || arguments.shaped > 1);
    }
    if all_shaped && arguments.closed {
        let waits = matches!(name, b"sleep" | b"kill" | b"ping" | b"host" | b"timeout");
        return if waits || !is_number_only(value, name_at, arguments) { certain(true) } else { None };
    }
    if arguments.count == 1
        && arguments.closed
        && site != Site::Line
        && matches!(
            name,
            b"echo"
                | b"type"
                | b"cat"
                | b"print"
                | b"printf"
                | b"net"
                | b"expr"
                | b"host"
                | b"cmd"
                | b"ping"
                | b"nslookup"
                | b"printenv"
                | b"curl"
                | b"wget"
                | b"uname"
        )
    {
        return certain(strong);
    }
    if arguments.count > 0 || !arguments.closed {
        return (name == b"net" && arguments.count > 0 && has_text(part(value, name_at, arguments.end), b"net user"))
            .then(|| Finding::certain(what, at.clone()));
    }
    bare(value, start, name, has_folder, spaces, site, at.clone())
}

/// `; sleep 5`, `; top 10`: only a number follows.
fn is_number_only(value: &[u8], name_at: usize, arguments: &Arguments) -> bool {
    part(value, name_at, arguments.end)
        .iter()
        .skip_while(|byte| !is_space(**byte))
        .all(|byte| byte.is_ascii_digit() || is_space(*byte) || *byte == b'.')
}

/// A command without arguments.
fn bare(
    value: &[u8],
    start: usize,
    name: &[u8],
    has_folder: bool,
    spaces: usize,
    site: Site,
    at: std::ops::Range<usize>,
) -> Option<Finding> {
    let what = "command after a separator";
    let head = head(value, start);
    if has_folder || (has(BARE, name) && site != Site::Line) {
        return Some(
            if is_list(head, value.get(start).copied())
                && !has_folder
                && matches!(name, b"ls" | b"ps" | b"df" | b"du" | b"route")
            {
                Finding::likely(what, at)
            } else {
                Finding::certain(what, at)
            },
        );
    }
    if has(INTERPRETERS, name) {
        // `… | sh` runs what comes before; `java|php` is a list.
        let runs = site == Site::Pipe && (matches!(name, b"sh" | b"bash") && head.iter().any(|byte| is_space(*byte)));
        if runs {
            return Some(Finding::certain(what, at));
        }
        return head.trim_ascii().is_empty().then(|| Finding::likely(what, at));
    }
    if !has(BARE_WORDS, name) {
        return None;
    }
    match site {
        Site::Substitution => Some(Finding::certain(what, at)),
        Site::Backtick => {
            (head.is_empty() || !head.iter().any(|byte| is_space(*byte))).then(|| Finding::certain(what, at))
        }
        Site::Line => {
            let is_parameter =
                !head.trim_ascii().iter().any(|byte| is_space(*byte)) && head.iter().any(u8::is_ascii_digit);
            let is_last = part(value, at.end, value.len()).trim_ascii().is_empty();
            (is_parameter && is_last).then(|| Finding::certain(what, at))
        }
        Site::Braces => None,
        // `a;b`, `a & b` are lists; a value that begins with a separator, or a quote, a number, an address before it, is not.
        _ if head.trim_ascii().is_empty() => Some(Finding::certain(what, at)),
        _ if spaces > 1 || head.contains(&b' ') && !head.iter().any(u8::is_ascii_digit) => None,
        _ if head.contains(&b'=') || head.contains(&b'?') => None,
        _ if matches!(head.trim_ascii_end().last(), Some(b'\'' | b'"' | b')' | b'0'..=b'9' | b'/' | b'`'))
            || head.contains(&b'.') =>
        {
            Some(Finding::certain(what, at))
        }
        // `name;date;id` is a list of columns.
        _ if value.get(start).is_some_and(|separator| head.contains(separator)) => None,
        _ if name == b"id" && site != Site::Background => Some(Finding::likely(what, at)),
        _ => None,
    }
}

/// Whether the text before a separator is names with the same separator between them.
fn is_list(head: &[u8], separator: Option<u8>) -> bool {
    let names = head
        .iter()
        .all(|byte| is_word(*byte) || matches!(byte, b' ' | b'+' | b'#' | b'.' | b'-') || Some(*byte) == separator);
    names && head.iter().any(u8::is_ascii_alphabetic) && !head.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

/// What stands before a place, as far as it matters; the bound keeps the whole linear.
fn head(value: &[u8], start: usize) -> &[u8] {
    part(value, start.saturating_sub(512), start)
}

/// Lowers what is found within text: after a line break or many words, and in backticks among words.
fn grade(value: &[u8], start: usize, site: Site, found: Finding) -> Finding {
    let head = head(value, start);
    let is_first_line = !head.trim_ascii_end().contains(&b'\n');
    let words = head.iter().filter(|byte| is_space(**byte)).take(8).count();
    let in_text = match site {
        Site::Line => {
            head.trim_ascii().iter().any(|byte| is_space(*byte))
                || value.get(start + 1..).is_some_and(|tail| memchr::memchr(b'\n', tail.trim_ascii()).is_some())
        }
        Site::Backtick => words > 0,
        // A pipe within a piece of code in prose: "try `a | b` instead".
        _ => words >= 5 || !is_first_line || is_in_code(head),
    };
    if in_text { Finding::likely(found.what, found.at) } else { found }
}

/// Whether a backtick behind white space is open: what follows is a piece of code in prose.
fn is_in_code(head: &[u8]) -> bool {
    let opened = memchr::memchr(b'`', head).filter(|at| before(head, *at).is_some_and(is_space));
    opened.is_some() && !memchr::memchr_iter(b'`', head).count().is_multiple_of(2)
}

/// Whether the first word of a value can be the name of a command: a word of letters and digits has to be one unless it
/// goes on with what names hold or hide behind. Spares most values the rest.
fn may_be_whole(value: &[u8]) -> bool {
    let mut cursor = Cursor::new(value);
    cursor.take_at_most(8, is_space);
    let word = cursor.take_while(|byte| byte.is_ascii_alphanumeric());
    if word.is_empty() {
        return true;
    }
    match cursor.peek() {
        Some(b'.' | b'-' | b'_' | b'\'' | b'"' | b'\\' | b'^' | b'$' | b'{' | b':') => true,
        Some(byte) if !word::ends_word(byte) => false,
        _ => is_command(word),
    }
}

/// The whole value as a command.
fn whole(value: &[u8]) -> Option<Finding> {
    let mut cursor = Cursor::new(value);
    cursor.take_at_most(8, is_space);
    let in_braces = if cursor.eat(b'{') { InBraces::Yes } else { InBraces::No };
    let word = word::read(&mut cursor, in_braces);
    let (name, has_folder) = names::without_folder(word.text());
    if word.wildcard
        && is_wildcard_path(word.text())
        && word.text().starts_with(b"/")
        && word.text().contains(&b'?')
        && !word.text().contains(&b'=')
    {
        return wildcard_command(value, cursor);
    }
    if !is_command(name) {
        return None;
    }
    if in_braces == InBraces::Yes {
        return (cursor.peek() == Some(b',') && cursor.peek_by(1).is_some_and(|byte| matches!(byte, b'-' | b'/')))
            .then(|| Finding::certain("command in braces", 0..cursor.at()));
    }
    if word.space_hidden || word::space(&mut cursor) {
        return Some(Finding::certain("command with a variable for its space", 0..cursor.at()));
    }
    if !cursor.peek().is_none_or(word::ends_word) {
        return None;
    }
    let what = "command as the whole value";
    let found = arguments(&mut cursor);
    let all_shaped = found.count > 0 && found.shaped == found.count && found.closed;
    if word.hidden {
        return Some(if found.count == 0 || all_shaped {
            Finding::certain("command in disguise", 0..found.end)
        } else {
            Finding::likely("command in disguise", 0..found.end)
        });
    }
    if found.telling && all_shaped {
        return Some(Finding::certain(what, 0..found.end));
    }
    let only_number = is_number_only(value, 0, &found);
    let strong = has(STRONG, name) || has_folder;
    let shaped = all_shaped && !only_number && (strong || found.shaped > 1 || (found.count == 1 && has_option(value)));
    let mostly = strong && found.closed && found.shaped > 1;
    let by_path = has_folder && found.closed && found.count == 0;
    (shaped || mostly || by_path).then(|| Finding::likely(what, 0..found.end))
}

/// Whether one of the words is an option or an absolute path.
fn has_option(value: &[u8]) -> bool {
    [b" -".as_slice(), b" /", b" ~/", b" ../"]
        .iter()
        .any(|mark| memchr::memmem::find(part(value, 0, REACH), mark).is_some())
}

/// `/b?n/c?t /etc/passwd`: certain with an argument that is a path.
fn wildcard_command(value: &[u8], mut cursor: Cursor<'_>) -> Option<Finding> {
    let found = arguments(&mut cursor);
    let is_url = memchr::memchr(b'=', value).is_some() || memchr::memchr(b'&', value).is_some();
    (!is_url && found.count > 0 && found.shaped == found.count)
        .then(|| Finding::certain("command by a path with wildcards", 0..found.end))
}

#[cfg(test)]
mod tests;
