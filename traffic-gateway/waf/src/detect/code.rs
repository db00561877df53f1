//! `@detectCode`: source of a language that runs on servers, where data belongs.
//!
//! Recognises PHP that feeds what the client sends to a function that runs it, tags of PHP, JSP and ASP, calls that start
//! programs or evaluate text in PHP, Node, Python, Ruby, Java, .NET, Lua and PowerShell, the way to Java's class loader by
//! properties, and settings of PHP given as arguments.
//!
//! It is certain of what only a web shell does, and of a call when it is (nearly) the whole value. In source code of
//! several lines, as people paste it, calls are likely. Prose, `eval`, `system` and `exec` without a call, and calls of
//! other functions are left alone.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::evidence::Best;
use super::scan::{Cursor, automaton, before, has_text, is_space, is_word, part};
use super::{Classes, Finding};

/// What a mark needs to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// Nothing: nobody else writes it.
    Nothing,
    /// That the value is no text of several lines, else it is only likely.
    Line,
    /// The same, and an argument that is computed, a text or a URL.
    Argument,
    /// A parenthesis with an argument behind it, and to stand where a call stands.
    Call,
    /// A sink near it: what the client sends is run.
    Sink,
    /// The tag of PHP, JSP or ASP.
    Tag,
    /// That the text put together in parentheses is called: `('sys'.'tem')('id')`.
    Pieces,
}

const MARKS: &[(&str, &str, Needs)] = &[
    ("<?php", "PHP", Needs::Tag),
    ("<?=", "PHP", Needs::Tag),
    ("<? ", "PHP", Needs::Tag),
    ("<%@", "JSP or ASP", Needs::Line),
    ("<%!", "JSP", Needs::Line),
    ("<%", "JSP or ASP", Needs::Tag),
    ("<jsp:", "JSP", Needs::Line),
    ("<cfexecute", "ColdFusion", Needs::Nothing),
    ("$_get", "PHP", Needs::Sink),
    ("$_post", "PHP", Needs::Sink),
    ("$_request", "PHP", Needs::Sink),
    ("$_cookie", "PHP", Needs::Sink),
    ("$_server", "PHP", Needs::Sink),
    ("$_files", "PHP", Needs::Sink),
    ("$globals", "PHP", Needs::Sink),
    ("php://input", "PHP", Needs::Sink),
    ("getallheaders(", "PHP", Needs::Sink),
    ("system", "PHP", Needs::Call),
    ("exec", "PHP", Needs::Call),
    ("shell_exec", "PHP", Needs::Call),
    ("passthru", "PHP", Needs::Call),
    ("popen", "PHP", Needs::Call),
    ("proc_open", "PHP", Needs::Call),
    ("pcntl_exec", "PHP", Needs::Call),
    ("eval", "evaluated text", Needs::Call),
    ("assert", "PHP", Needs::Call),
    ("phpinfo", "PHP", Needs::Call),
    ("create_function", "PHP", Needs::Call),
    ("call_user_func", "PHP", Needs::Call),
    ("base64_decode", "PHP", Needs::Call),
    ("file_get_contents", "PHP", Needs::Call),
    ("file_put_contents", "PHP", Needs::Call),
    ("fopen", "PHP", Needs::Call),
    ("readfile", "PHP", Needs::Call),
    ("show_source", "PHP", Needs::Call),
    ("highlight_file", "PHP", Needs::Call),
    ("include", "PHP", Needs::Call),
    ("require", "Node or PHP", Needs::Call),
    ("array_map", "PHP", Needs::Call),
    ("var_dump", "PHP", Needs::Call),
    ("print_r", "PHP", Needs::Call),
    ("die", "PHP", Needs::Call),
    ("md5", "PHP", Needs::Call),
    ("gzinflate", "PHP", Needs::Call),
    ("str_rot13", "PHP", Needs::Call),
    ("scandir", "PHP", Needs::Call),
    ("getenv", "PHP", Needs::Call),
    ("phpversion", "PHP", Needs::Call),
    ("ini_set", "PHP", Needs::Call),
    ("unlink", "PHP", Needs::Call),
    ("mail", "PHP", Needs::Call),
    ("auto_prepend_file=", "setting of PHP", Needs::Nothing),
    ("auto_prepend_file ", "setting of PHP", Needs::Line),
    ("allow_url_include=", "setting of PHP", Needs::Nothing),
    ("disable_functions=", "setting of PHP", Needs::Nothing),
    ("child_process", "Node", Needs::Line),
    ("process.mainmodule", "Node", Needs::Line),
    ("process.binding(", "Node", Needs::Line),
    ("global.process", "Node", Needs::Line),
    ("execsync(", "Node", Needs::Line),
    ("spawnsync(", "Node", Needs::Line),
    ("process.env.", "Node", Needs::Sink),
    ("new function(", "evaluated text", Needs::Line),
    ("process.exit(", "Node", Needs::Line),
    ("process.kill(", "Node", Needs::Line),
    ("__import__(", "Python", Needs::Line),
    ("os.system(", "Python", Needs::Line),
    ("os.popen(", "Python", Needs::Line),
    ("subprocess.", "Python", Needs::Sink),
    ("__builtins__", "Python", Needs::Line),
    ("eval(compile(", "Python", Needs::Nothing),
    ("exec(compile(", "Python", Needs::Nothing),
    ("importlib.import_module(", "Python", Needs::Line),
    ("pty.spawn(", "Python", Needs::Line),
    ("socket.socket(", "Python", Needs::Sink),
    ("os.execute(", "Lua", Needs::Line),
    ("io.popen(", "Lua or Ruby", Needs::Line),
    ("kernel.system(", "Ruby", Needs::Line),
    ("kernel.exec(", "Ruby", Needs::Line),
    ("process.spawn(", "Ruby", Needs::Line),
    ("open3.", "Ruby", Needs::Sink),
    ("instance_eval(", "Ruby", Needs::Line),
    ("class_eval(", "Ruby", Needs::Line),
    ("%x(", "Ruby", Needs::Sink),
    ("erb.new(", "Ruby", Needs::Line),
    ("getruntime().exec(", "Java", Needs::Line),
    ("java.lang.runtime.getruntime", "Java", Needs::Line),
    ("java.lang.processbuilder", "Java", Needs::Line),
    ("new processbuilder(", "Java", Needs::Line),
    ("class.forname(", "Java", Needs::Line),
    ("getruntime()", "Java", Needs::Line),
    ("scriptenginemanager", "Java", Needs::Line),
    ("${@", "PHP", Needs::Nothing),
    ("\\think\\", "PHP", Needs::Nothing),
    ("constructor.constructor(", "Node", Needs::Line),
    ("return process')", "Node", Needs::Line),
    ("return process\")", "Node", Needs::Line),
    ("['mainmodule']", "Node", Needs::Line),
    ("global['", "Node", Needs::Line),
    ("stringify(process.env", "Node", Needs::Line),
    ("__subclasses__", "Python", Needs::Line),
    ("__globals__", "Python", Needs::Line),
    ("__bases__", "Python", Needs::Line),
    ("package.loadlib(", "Lua", Needs::Nothing),
    ("'.'", "function named by pieces of text", Needs::Pieces),
    ("class.module.classloader", "way to Java's class loader", Needs::Nothing),
    ("class.classloader.", "way to Java's class loader", Needs::Nothing),
    ("class['classloader']", "way to Java's class loader", Needs::Nothing),
    ("getclass().getclassloader", "way to Java's class loader", Needs::Line),
    ("urlclassloader", "Java", Needs::Line),
    ("groovy.lang.", "Groovy", Needs::Line),
    ("\".execute()", "Groovy", Needs::Line),
    ("'.execute()", "Groovy", Needs::Line),
    ("process.start(", ".NET", Needs::Line),
    ("system.diagnostics.process", ".NET", Needs::Line),
    ("eval request(", "ASP", Needs::Nothing),
    ("execute request(", "ASP", Needs::Nothing),
    ("eval(request", "ASP", Needs::Nothing),
    ("wscript.shell", "ASP", Needs::Line),
    ("server.createobject(", "ASP", Needs::Line),
    ("response.write(", "ASP", Needs::Line),
    ("assembly.load(", ".NET", Needs::Line),
    ("downloadstring(", "PowerShell", Needs::Line),
    ("downloadfile(", "PowerShell", Needs::Line),
    ("invoke-expression", "PowerShell", Needs::Argument),
    ("invoke-webrequest", "PowerShell", Needs::Argument),
    ("iex(", "PowerShell", Needs::Line),
    ("iex (", "PowerShell", Needs::Line),
    ("new-object net.webclient", "PowerShell", Needs::Line),
    ("frombase64string(", "PowerShell", Needs::Line),
    ("-encodedcommand ", "PowerShell", Needs::Line),
];

/// What the marks are made of that need no parenthesis, tag, variable, backslash or quoted key; words with the same
/// beginning, or the same letters, together.
const LETTERS: &[Classes] = &[
    // auto_prepend_file, allow_url_include, disable_functions
    Classes::in_text(b"_aundiloe"),
    Classes::in_text(b"php://input"),
    Classes::in_text(b"child_process"),
    // process.mainmodule, process.env., global.process, subprocess., system.diagnostics.process
    Classes::in_text(b".process"),
    Classes::in_text(b"open3."),
    // java.lang.runtime, java.lang.processbuilder
    Classes::in_text(b"java.lang"),
    Classes::in_text(b"groovy.lang."),
    // class.module.classloader, class.classloader.
    Classes::in_text(b"class.loader"),
    Classes::in_text(b"wscript.shell"),
    Classes::in_text(b"new-object net.webclient"),
    Classes::in_text(b"scriptenginemanager"),
    Classes::in_text(b"urlclassloader"),
    // invoke-expression, invoke-webrequest
    Classes::in_text(b"invoke-rs"),
    Classes::in_text(b"-encodedcommand "),
];

/// Marks of Python that stand between two `_`: `__builtins__`, `__subclasses__`, `__globals__`, `__bases__`.
const DUNDER: Classes = Classes::in_text(b"__bs");

/// What `include '…/…'` and `require '…/…'` have in common.
const INCLUDED: Classes = Classes::in_text(b"eui /");

/// A parenthesis, a tag, a variable or a backslash; a key in quotes (`['mainmodule']`); a file included without a
/// parenthesis; or the letters of a mark that takes none of these.
pub(super) fn may_find(_: &[u8], classes: Classes) -> bool {
    classes.any(Classes::PAREN.or(Classes::LESS).or(Classes::DOLLAR).or(Classes::BACKSLASH))
        || (classes.any(Classes::QUOTE) && (classes.any(Classes::BRACKET) || classes.all(INCLUDED)))
        || (classes.twice(Classes::UNDERSCORE) && classes.all(DUNDER))
        || classes.all_of_one(LETTERS)
}

pub(super) fn find(value: &[u8], classes: Classes) -> Option<Finding> {
    if !classes.any(
        Classes::PAREN
            .or(Classes::LESS)
            .or(Classes::DOLLAR)
            .or(Classes::DOT)
            .or(Classes::EQUALS)
            .or(Classes::DASH)
            .or(Classes::UNDERSCORE)
            .or(Classes::COLON)
            .or(Classes::BACKSLASH),
    ) {
        return None;
    }
    static AUTOMATON: LazyLock<Option<AhoCorasick>> =
        LazyLock::new(|| automaton(MARKS.iter().map(|(mark, ..)| mark.as_bytes())));
    let mut best = Best::default();
    let mut text = None;
    for found in AUTOMATON.as_ref()?.find_iter(value) {
        let Some((mark, what, needs)) = MARKS.get(found.pattern().as_usize()) else { continue };
        if mark.starts_with(|first: char| first.is_ascii_alphabetic())
            && before(value, found.start()).is_some_and(is_word)
        {
            continue;
        }
        let text = *text.get_or_insert_with(|| Text::of(value));
        let judged = match needs {
            Needs::Nothing => Some(Finding::certain(what, found.range())),
            Needs::Line => goes_on(value, found.end()).then(|| text.grade(what, found.range())),
            Needs::Argument => has_argument(value, found.end()).then(|| text.grade(what, found.range())),
            Needs::Call => call(value, found.start(), found.end(), mark, what, text),
            Needs::Sink => sink(value, found.start(), found.end(), what, text),
            Needs::Pieces => pieces(value, found.start(), found.end(), what),
            Needs::Tag => tag(value, found.start(), found.end(), what, text),
        };
        if best.keep(judged) {
            break;
        }
    }
    best.into_finding()
}

/// Whether a name goes on as one does in a program; a word of prose is followed by a space or the end.
fn goes_on(value: &[u8], end: usize) -> bool {
    if !before(value, end).is_some_and(is_word) {
        return true;
    }
    let next = value.get(end).copied();
    let ends_sentence = next == Some(b'.') && value.get(end + 1).is_none_or(|&byte| is_space(byte));
    next.is_some_and(|byte| matches!(byte, b'.' | b'(' | b'\'' | b'"' | b'[' | b')' | b']' | b'}' | b';' | b'`'))
        && !ends_sentence
}

/// Whether an argument follows: a variable, a text, something in parentheses, a URL.
fn has_argument(value: &[u8], end: usize) -> bool {
    let mut cursor = Cursor::from(value, end);
    cursor.take_at_most(4, is_space);
    matches!(cursor.peek(), Some(b'(' | b'$' | b'"' | b'\'' | b'-')) || cursor.eat_text(b"http")
}

/// What kind of text a value is: looked at once.
#[derive(Clone, Copy, Debug)]
struct Text {
    /// Three lines or more.
    has_lines: bool,
    /// Nine words or more.
    has_words: bool,
    /// How far letters and spaces alone go.
    prose: usize,
    /// Where the third word begins.
    third_word: usize,
    /// Where the fourth word begins.
    fourth_word: usize,
}

impl Text {
    fn of(value: &[u8]) -> Self {
        let spaces = value.iter().enumerate().filter(|(_, byte)| is_space(**byte)).map(|(at, _)| at);
        Self {
            has_lines: memchr::memchr_iter(b'\n', value).nth(1).is_some(),
            has_words: spaces.clone().nth(8).is_some(),
            prose: value
                .iter()
                .position(|byte| !byte.is_ascii_alphabetic() && !matches!(byte, b' ' | b',' | b'?'))
                .unwrap_or(value.len()),
            third_word: spaces.clone().nth(1).unwrap_or(value.len()),
            fourth_word: spaces.clone().nth(2).unwrap_or(value.len()),
        }
    }

    /// Certain in a short value, likely in a text: several lines, or words of prose before.
    fn grade(self, what: &'static str, at: Range<usize>) -> Finding {
        let is_prose = at.start <= self.prose && at.start > self.third_word;
        let is_text = self.has_lines || is_prose || (self.has_words && at.start > self.fourth_word);
        if is_text { Finding::likely(what, at) } else { Finding::certain(what, at) }
    }
}

/// Functions that say nothing about an attack unless they are the whole value.
const HARMLESS: &[&str] = &[
    "md5",
    "print_r",
    "var_dump",
    "die",
    "mail",
    "include",
    "require",
    "fopen",
    "assert",
    "unlink",
    "getenv",
    "exec",
    "array_map",
    "readfile",
    "base64_decode",
    "phpversion",
];

/// A call: at the beginning of the value or of a statement, with something in its parentheses.
fn call(value: &[u8], start: usize, end: usize, mark: &str, what: &'static str, text: Text) -> Option<Finding> {
    let mut cursor = Cursor::from(value, end);
    if cursor.peek().is_some_and(is_word) && mark != "call_user_func" {
        return None;
    }
    cursor.take_at_most(8, is_word);
    let is_command = matches!(mark, "include" | "require") && cursor.peek() == Some(b' ');
    cursor.take_at_most(4, is_space);
    if !cursor.eat(b'(') && !is_command {
        return None;
    }
    cursor.take_at_most(4, |byte| is_space(byte) || byte == b'@');
    let argument = part(value, cursor.at(), cursor.at() + 128);
    let first = argument.first().copied()?;
    let is_text_argument = matches!(first, b'\'' | b'"' | b'`' | b'$')
        || (first == b'\\' && matches!(argument.get(1), Some(b'\'' | b'"')));
    let is_empty = first == b')';
    let range = start..cursor.at();
    // `$x.eval(`, `re.exec(`: a method.
    let head = part(value, 0, start).trim_ascii_end();
    let after_dot = head.strip_suffix(b".").and_then(<[u8]>::last);
    let is_method =
        after_dot.is_some_and(|byte| is_word(*byte) || *byte == b')') || head.ends_with(b"->") || head.ends_with(b"::");
    let whole = head.iter().take(32).all(|byte| {
        matches!(
            byte,
            b'\''
                | b'"'
                | b';'
                | b')'
                | b'}'
                | b'{'
                | b'$'
                | b'@'
                | b'('
                | b'+'
                | b'.'
                | b'-'
                | b'='
                | b'`'
                | b'|'
                | b'&'
                | b','
                | b'\\'
        ) || is_space(*byte)
            || byte.is_ascii_digit()
    }) && head.len() <= 32;
    match mark {
        "phpinfo" => {
            (is_empty || first.is_ascii_digit() || first == b'-' || is_word(first)).then(|| text.grade(what, range))
        }
        "require" if !is_command => {
            let module = [b"child_process".as_slice(), b"'fs'", b"\"fs\"", b"'net'", b"'vm'", b"\"vm\"", b"'os'"]
                .iter()
                .any(|name| has_text(part(argument, 0, 24), name));
            (module && (whole || has_text(argument, b")."))).then(|| text.grade(what, range))
        }
        "include" | "require" => (is_text_argument
            && whole
            && (has_text(argument, b"://")
                || first == b'$'
                || has_text(argument, b"/etc/")
                || has_text(argument, b"../")))
        .then(|| Finding::certain(what, range)),
        _ if is_method => None,
        "system" | "shell_exec" | "passthru" | "popen" | "proc_open" | "pcntl_exec" if is_text_argument => {
            Some(if whole { text.grade(what, range) } else { Finding::likely(what, range) })
        }
        "eval" | "create_function" | "gzinflate" | "str_rot13" | "file_get_contents" | "file_put_contents"
        | "show_source" | "highlight_file" | "call_user_func" | "scandir" | "ini_set"
            if is_text_argument || nests(argument) =>
        {
            Some(if whole && (mark != "eval" || nests(argument) || first == b'$' || is_text_argument) {
                text.grade(what, range)
            } else {
                Finding::likely(what, range)
            })
        }
        _ if HARMLESS.contains(&mark) => {
            (whole && !is_command && (nests_mark(argument, mark) || (mark == "exec" && is_text_argument)))
                .then(|| text.grade(what, range))
        }
        _ => None,
    }
}

/// Whether an argument is a call of something that decodes, reads or evaluates.
fn nests(argument: &[u8]) -> bool {
    [
        b"base64_decode(".as_slice(),
        b"gzinflate(",
        b"str_rot13(",
        b"chr(",
        b"compile(",
        b"atob(",
        b"$_",
        b"file_get_contents(",
        b"hex2bin(",
        b"strrev(",
        b"string.fromcharcode(",
    ]
    .iter()
    .any(|text| has_text(argument, text))
}

/// The same, and what probes for evaluation write: `print_r(md5(1))`, `die(md5(…))`, `include($_GET[…])`.
fn nests_mark(argument: &[u8], mark: &str) -> bool {
    nests(argument)
        || (matches!(mark, "die" | "print_r" | "var_dump" | "assert")
            && [b"md5(".as_slice(), b"phpversion(", b"system(", b"phpinfo(", b"exec(", b"scandir("]
                .iter()
                .any(|text| has_text(argument, text)))
        || (matches!(mark, "fopen" | "readfile" | "unlink")
            && (has_text(part(argument, 0, 64), b"/etc/") || has_text(part(argument, 0, 64), b"../")))
}

/// Functions that run what they are given.
const SINKS: &[&[u8]] = &[
    b"eval",
    b"assert",
    b"system",
    b"exec",
    b"passthru",
    b"popen",
    b"include",
    b"require",
    b"create_function",
    b"call_user_func",
    b"array_map",
    b"preg_replace",
    b"file_put_contents",
    b"proc_open",
    b"unserialize",
    b"move_uploaded_file",
    b"copy",
    b"usort",
    b"array_filter",
    b"register_shutdown_function",
    b"`",
    b"spawn",
    b"call(",
    b"run(",
    b"check_output",
    b"dup2",
    b"capture",
    b"base64_decode",
    b"file_get_contents",
    b"header(",
    b"connect(",
];

/// What the client sends, near a function that runs it; or called itself (`$_GET[a]($_GET[b])`).
fn sink(value: &[u8], start: usize, end: usize, what: &'static str, text: Text) -> Option<Finding> {
    let mut cursor = Cursor::from(value, end);
    let opened = matches!(cursor.peek(), Some(b'[' | b'{'))
        || before(value, end).is_some_and(|byte| matches!(byte, b'(' | b'.'));
    let mark = part(value, start, end);
    if mark.starts_with(b"$") && !opened {
        return None;
    }
    let near = part(value, start.saturating_sub(64), end + 64);
    static AUTOMATON: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| automaton(SINKS.iter().copied()));
    if AUTOMATON.as_ref().is_some_and(|automaton| automaton.is_match(near)) {
        let certain = mark.starts_with(b"$") || super::starts_with(mark, b"php:");
        return Some(if certain { Finding::certain(what, start..end) } else { text.grade(what, start..end) });
    }
    if !mark.starts_with(b"$") {
        return None;
    }
    cursor.take_at_most(48, |byte| !matches!(byte, b']' | b'}'));
    cursor.skip(1);
    Some(if cursor.peek() == Some(b'(') {
        Finding::certain(what, start..end)
    } else {
        Finding::likely(what, start..end)
    })
}

/// Pieces of text joined in parentheses, and a call of what they name.
fn pieces(value: &[u8], start: usize, end: usize, what: &'static str) -> Option<Finding> {
    let mut cursor = Cursor::from(value, end);
    cursor.take_at_most(64, |byte| is_word(byte) || matches!(byte, b'\'' | b'.'));
    let called = cursor.eat(b')') && cursor.eat(b'(');
    called.then(|| Finding::certain(what, start..cursor.at()))
}

/// The tag of a language: certain with a call of its own behind it in a short value.
fn tag(value: &[u8], start: usize, end: usize, what: &'static str, text: Text) -> Option<Finding> {
    let range = start..end;
    let rest = part(value, end, end + 256);
    let is_php = part(value, start, start + 2) == b"<?";
    if is_php && part(value, start, end) == b"<? " {
        // `<? xml` is a slip, `<? ` prose; PHP goes on with a variable or a call.
        return (rest.first() == Some(&b'$') || (has_text(rest, b"(") && has_text(rest, b";")))
            .then(|| text.grade(what, range));
    }
    if is_php {
        return Some(text.grade(what, range));
    }
    // `<%= name %>` is a placeholder; templates are judged by their own grammar.
    [
        b"request".as_slice(),
        b"runtime",
        b"exec",
        b"eval",
        b"response.",
        b"createobject",
        b"out.print",
        b"process",
        b"java.",
    ]
    .iter()
    .any(|text| has_text(rest, text))
    .then(|| text.grade(what, range))
}

#[cfg(test)]
mod tests;
