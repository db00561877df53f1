//! `@detectTemplate`: an expression that a template engine on the server would evaluate.
//!
//! Recognises, between the delimiters of an engine (`{{…}}`, `${…}`, `#{…}`, `*{…}`, `<%=…%>`, `[[${…}]]`, `@(…)`,
//! `{%…%}`), what a placeholder does not hold: arithmetic on literals, calls, walks through attributes of the language
//! (`__class__`), class references (`T(java.lang.Runtime)`); directives of engines that only their authors write
//! (`<#assign`, `#set($x=…)`); chains of OGNL.
//!
//! Leaves placeholders (`{{name}}`, `${user.name}`, `{{ price | currency }}`), helpers with plain arguments and template
//! literals of JavaScript inside source code at most likely.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::evidence::Best;
use super::scan::{Cursor, automaton, before, find_text, has_text, is_space, is_word, part};
use super::{Classes, Finding};

/// How long an expression is looked at.
const REACH: usize = 1024;
/// How many expressions of one kind are looked at in that length, and how far into the others: so work stays linear.
const EXPRESSIONS: usize = 64;
const SHORT_REACH: usize = 128;

/// Delimiters: how an expression begins and ends, the classes of bytes it takes, whether source code of programs has it
/// too.
const DELIMITERS: &[(&[u8], &[u8], Classes, bool)] = &[
    (b"{{", b"}}", Classes::BRACE, false),
    (b"${", b"}", Classes::BRACE.or(Classes::DOLLAR), true),
    (b"#{", b"}", Classes::BRACE.or(Classes::HASH), true),
    (b"*{", b"}", Classes::BRACE.or(Classes::STAR), false),
    (b"<%", b"%>", Classes::LESS.or(Classes::PERCENT), false),
    (b"{%", b"%}", Classes::BRACE.or(Classes::PERCENT), false),
    (b"~{", b"}", Classes::BRACE.or(Classes::TILDE), false),
    (b"@{", b"}", Classes::BRACE.or(Classes::AT), false),
    (b"%{", b"}", Classes::BRACE.or(Classes::PERCENT), false),
    (b"{$", b"}", Classes::BRACE.or(Classes::DOLLAR), false),
    (b"[=", b"]", Classes::BRACKET.or(Classes::EQUALS), false),
    (b"@(", b")", Classes::AT.or(Classes::PAREN), false),
    (b"{php}", b"{/php}", Classes::BRACE.or(Classes::SLASH), false),
    (b"{#", b"}", Classes::BRACE.or(Classes::HASH), false),
];

/// The bytes of a delimiter or of a directive, or those of an expression that stands without them.
pub(super) fn may_find(_: &[u8], classes: Classes) -> bool {
    classes.any(Classes::BRACE.or(Classes::HASH))
        || (classes.any(Classes::LESS) && classes.any(Classes::PERCENT.or(Classes::BRACKET)))
        || (classes.any(Classes::PAREN) && (classes.any(Classes::BRACKET.or(Classes::AT)) || is_language(classes)))
}

/// Whether there is what [`language`] asks for: `@`, `#`, a class of Java's, or `.__class__`.
fn is_language(classes: Classes) -> bool {
    const JAVA: Classes = Classes::in_text(b"java.lang");
    const PYTHON: Classes = Classes::in_text(b".__class__");
    classes.any(Classes::AT.or(Classes::HASH))
        || classes.all(JAVA)
        || (classes.twice(Classes::UNDERSCORE) && classes.all(PYTHON))
}

pub(super) fn find(value: &[u8], classes: Classes) -> Option<Finding> {
    if !classes.any(Classes::BRACE.or(Classes::PAREN).or(Classes::LESS).or(Classes::HASH)) {
        return None;
    }
    let mut best = Best::default();
    for (open, close, needs, shared) in DELIMITERS {
        if !classes.all(*needs) {
            continue;
        }
        for (index, at) in memchr::memmem::find_iter(value, open).enumerate() {
            let reach = if index < EXPRESSIONS { REACH } else { SHORT_REACH };
            let window = part(value, 0, at + open.len() + reach);
            if best.keep(expression(window, at, open, close, *shared)) {
                return best.into_finding();
            }
        }
    }
    if classes.any(Classes::HASH) && best.keep(directive(value)) {
        return best.into_finding();
    }
    if classes.any(Classes::PAREN) && is_language(classes) {
        best.keep(language(value));
    }
    best.into_finding()
}

/// What an expression shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    /// A name, a path, a placeholder.
    Plain,
    /// A call or a filter with arguments.
    Call,
    /// Two literals and an operator between them: nobody's template needs the server to multiply 7 by 7.
    Arithmetic,
    /// A walk through the language under the template.
    Walk,
}

fn expression(value: &[u8], at: usize, open: &[u8], close: &[u8], shared: bool) -> Option<Finding> {
    // `2*{3+4}` is a formula.
    if matches!(open, b"*{" | b"~{" | b"@{" | b"%{" | b"@(" | b"[=")
        && before(value, at).is_some_and(|byte| is_word(byte) || byte == b')')
    {
        return None;
    }
    let body = part(value, at + open.len(), value.len());
    let length = memchr::memmem::find(body, close);
    let inside = length.map_or(body, |length| part(body, 0, length));
    let end = value.len().min(at + open.len() + inside.len() + if length.is_some() { close.len() } else { 0 });
    // Whoever writes so many expressions closes them.
    if length.is_none() && body.len() <= SHORT_REACH && at > REACH {
        return None;
    }
    let shape = shape(inside, open);
    // JavaScript's template literals and shells use `${…}`: there a call or a sum is ordinary, inside a program.
    let in_program = shared && is_program(value, at);
    let is_short = value.len() <= 256 || at == 0;
    match shape {
        Shape::Walk => Some(Finding::certain("template expression that walks through the language", at..end)),
        _ if length.is_none() => None,
        Shape::Arithmetic if !in_program => Some(Finding::certain("template expression that calculates", at..end)),
        Shape::Arithmetic => Some(Finding::likely("template expression that calculates", at..end)),
        Shape::Call
            if open == b"{{" || open == b"<%" || open == b"${" || open == b"#{" || open == b"*{" || open == b"{%" =>
        {
            (!in_program && is_short).then(|| Finding::likely("template expression that calls", at..end))
        }
        _ => None,
    }
}

/// Whether the text before an expression is that of a program: a backtick, a line of code, a quote that opened a string.
fn is_program(value: &[u8], at: usize) -> bool {
    let head = part(value, at.saturating_sub(256), at);
    head.contains(&b'`')
        || (head.contains(&b'\n') && head.iter().any(|byte| matches!(byte, b';' | b'{' | b'=' | b'(' | b'"')))
}

/// Attributes and globals through which a template reaches its language; `_` and `.` keep prose out.
const WALKS: &[&[u8]] = &[
    b"__class__",
    b"__mro__",
    b"__subclasses__",
    b"__globals__",
    b"__builtins__",
    b"__init__",
    b"__import__",
    b"__base__",
    b"__bases__",
    b"__getattribute__",
    b"__getitem__",
    b".getclass(",
    b"getruntime",
    b"java.lang",
    b"java.util",
    b"java.io",
    b"javax.",
    b"freemarker.template",
    b"t(java",
    b"t (java",
    b"?new(",
    b"?api",
    b"?eval",
    b"processbuilder",
    b"class.forname",
    b"classloader",
    b".constructor(",
    b".constructor.",
    b"constructor.constructor",
    b"['constructor']",
    b"[\"constructor\"]",
    b"require('child_process",
    b"require(\"child_process",
    b"mainmodule",
    b"child_process",
    b"process.env",
    b"process.mainmodule",
    b"self.env",
    b"_self.env",
    b"registerundefinedfiltercallback",
    b"getfilter(",
    b"request.application",
    b"config.items(",
    b"config.from",
    b"|attr(",
    b"attr('_",
    b"attr(\"_",
    b"\\x5f\\x5f",
    b"lipsum",
    b"cycler.",
    b"joiner.",
    b"get_flashed_messages",
    b"url_for.",
    b"@java.lang",
    b"#_memberaccess",
    b"#context[",
    b"#rt",
    b"new java.",
    b"new javax.",
    b"#application",
    b"#session",
    b"exec(",
    b"system(",
    b"popen(",
    b"passthru(",
    b"shell_exec",
    b"phpinfo(",
    b"eval(",
    b"file.open(",
    b"io.popen",
    b"map('passthru",
    b"filter('passthru",
    b"map('exec",
    b"filter('exec",
    b"@environment",
    b"@systemproperties",
    b"pagecontext.",
    b"getsession()",
    b"param.getclass",
    b"`id`",
    b"`ls",
    b"`whoami",
    b"|system",
    b"|map('system",
    b"|filter('system",
    b"|sort('system",
    b"|reduce('",
    b"['id']",
    b"[\"id\"]|",
    b"template_engine",
    b"smarty.version",
    b"$smarty",
    b"settings.secret_key",
    b"file_get_contents",
    b"include('/",
    b"source('/etc",
    b"file_excerpt",
    b"response.write",
    b"system.diagnostics",
    b"process.start",
    b"global.process",
    b"objectspace",
    b"kernel.",
    b"dir.entries",
    b"import os",
    b"os.system",
    b"os.popen",
    b"subprocess",
    b"%x(",
    b"%x[",
    b"this.push",
    b"string.sub.constructor",
    b"tostring.constructor",
    b"tojson.constructor",
];

fn shape(inside: &[u8], open: &[u8]) -> Shape {
    // Back quotes run a command in Ruby.
    if matches!(open, b"#{" | b"<%") && memchr::memchr_iter(b'`', inside).nth(1).is_some() {
        return Shape::Walk;
    }
    if inside.len() >= 4
        && inside.iter().any(|byte| matches!(byte, b'.' | b'(' | b'_' | b'[' | b'`' | b'|' | b'?' | b'$' | b'#' | b' '))
        && walks(inside)
    {
        return Shape::Walk;
    }
    let text = if open == b"<%" {
        inside.strip_prefix(b"=").or_else(|| inside.strip_prefix(b"-")).unwrap_or(inside)
    } else {
        inside
    };
    if calculates(text) && open != b"{%" && open != b"{#" && open != b"%{" {
        return Shape::Arithmetic;
    }
    if calls(text) { Shape::Call } else { Shape::Plain }
}

/// Whether one of [`WALKS`] is in the text: one pass of an automaton over all of them.
fn walks(text: &[u8]) -> bool {
    static AUTOMATON: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| automaton(WALKS.iter().copied()));
    AUTOMATON.as_ref().is_some_and(|automaton| automaton.is_match(text))
}

/// Literal, operator, literal, and nothing else: `7*7`, `7*'7'`, `"a"+"b"`, `191 - 7`, `(3*3)`, `'a'.'b'`, `7|add:7`.
fn calculates(text: &[u8]) -> bool {
    let mut cursor = Cursor::new(text);
    let skip = |cursor: &mut Cursor<'_>| {
        cursor.take_at_most(16, |byte| is_space(byte) || matches!(byte, b'(' | b')' | b'=' | b'{' | b'[' | b'$'));
    };
    skip(&mut cursor);
    let mut operators = 0;
    if !literal(&mut cursor) {
        return false;
    }
    for _ in 0..16 {
        cursor.take_at_most(8, |byte| is_space(byte) || byte == b')');
        let operator =
            cursor.take_at_most(3, |byte| matches!(byte, b'*' | b'+' | b'-' | b'/' | b'%' | b'^' | b'~' | b'.'));
        if operator.is_empty() {
            break;
        }
        cursor.take_at_most(8, |byte| is_space(byte) || byte == b'(');
        if !literal(&mut cursor) {
            return false;
        }
        operators += 1;
    }
    cursor.take_at_most(16, |byte| is_space(byte) || matches!(byte, b')' | b'}' | b'-' | b'%' | b'=' | b']'));
    // `1.5` is read as one number; `2024-01-31` without spaces is a date.
    operators > 0 && (cursor.is_done() || cursor.peek() == Some(b'|')) && !is_date(text)
}

fn is_date(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    text.len() == 10
        && text.iter().filter(|byte| **byte == b'-').count() == 2
        && text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-')
}

fn literal(cursor: &mut Cursor<'_>) -> bool {
    match cursor.peek() {
        Some(quote @ (b'\'' | b'"')) => {
            cursor.skip(1);
            cursor.take_at_most(64, |byte| byte != quote);
            cursor.eat(quote)
        }
        Some(byte) if byte.is_ascii_digit() => {
            cursor.take_at_most(24, |byte| byte.is_ascii_digit());
            if cursor.peek() == Some(b'.') && cursor.peek_by(1).is_some_and(|byte| byte.is_ascii_digit()) {
                cursor.skip(1);
                cursor.take_at_most(24, |byte| byte.is_ascii_digit());
            }
            true
        }
        _ => false,
    }
}

/// A name directly followed by a parenthesis, with a dot in the name or an argument in the parentheses.
fn calls(text: &[u8]) -> bool {
    memchr::memchr_iter(b'(', text)
        .any(|at| before(text, at).is_some_and(is_word) && memchr::memchr(b')', part(text, at, text.len())).is_some())
}

/// Directives: FreeMarker's `<#assign x=…>`, Velocity's `#set($x=…)`, Pug's `#{…}` is a delimiter.
fn directive(value: &[u8]) -> Option<Finding> {
    for name in
        [b"<#assign ".as_slice(), b"<#list ", b"<#import ", b"<#include ", b"<#function ", b"[#assign ", b"<#macro "]
    {
        if let Some(at) = find_text(value, name, 0) {
            return Some(Finding::certain("directive of a template engine", at..at + name.len()));
        }
    }
    for name in [b"#set".as_slice(), b"#include", b"#parse", b"#evaluate", b"#foreach"] {
        let mut from = 0;
        while let Some(at) = find_text(value, name, from) {
            from = at + name.len();
            let mut cursor = Cursor::from(value, from);
            cursor.take_at_most(4, is_space);
            if cursor.eat(b'(') && {
                cursor.take_at_most(4, is_space);
                matches!(cursor.peek(), Some(b'$' | b'"' | b'\''))
            } {
                return Some(Finding::certain("directive of a template engine", at..cursor.at()));
            }
        }
    }
    None
}

/// How expressions of those languages begin.
const PHRASES: &[&[u8]] = &[
    b"t(java.lang.",
    b"@java.lang.runtime@",
    b"(#_memberaccess",
    b"#_memberaccess[",
    b"(#cmd=",
    b"@ognl.ognlcontext@",
    b"#context['com.opensymphony",
    b"new java.lang.processbuilder(",
    b"(#dm=@ognl",
];

/// Expressions of SpEL, OGNL and Java's expression language without their delimiters.
fn language(value: &[u8]) -> Option<Finding> {
    static AUTOMATON: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| automaton(PHRASES.iter().copied()));
    if let Some(found) = AUTOMATON.as_ref()?.find(value) {
        return Some(Finding::certain("expression of a language of Java's", found.range()));
    }
    let at = memchr::memmem::find(value, b".__class__")?;
    let chain = [b"__class__".as_slice(), b"__subclasses__(", b"__globals__[", b"__mro__"];
    let links = chain.iter().filter(|link| has_text(value, link)).count();
    (links > 1).then(|| Finding::likely("walk through the attributes of Python", at..at + 10))
}

#[cfg(test)]
mod tests {
    use crate::detect::check::{finds, is_certain_of, is_linear_in, is_not_certain_of, is_quiet_about};
    use crate::seclang::ast::OperatorKind::DetectTemplate;

    #[test]
    fn finds_expressions_that_are_evaluated() {
        is_certain_of(
            DetectTemplate,
            &[
                "{{7*7}}",
                "#{`id`}",
                "#{@environment.getProperty('x')}",
                "{{['cat /etc/passwd']|map('passthru')}}",
                "{{ 7 * '7' }}",
                "${7*7}",
                "#{7*7}",
                "*{7*7}",
                "<%= 7*7 %>",
                "${{7*7}}",
                "{{1337*1337}}",
                "@(7*7)",
                "[[${7*7}]]",
                "{{'a'~'b'}}",
                "${\"a\"+\"b\"}",
                "{{(3*3)}}",
                "~{7*7}",
                "{{''.__class__.__mro__[2].__subclasses__()}}",
                "{{config.__class__.__init__.__globals__['os'].popen('id').read()}}",
                "{{request.application.__globals__}}",
                "{{config.items()}}",
                "{{self.__init__.__globals__}}",
                "{{ lipsum.__globals__.os.popen('id').read() }}",
                "{{cycler.__init__.__globals__.os.popen('id').read()}}",
                "{% import os %}{{os.system('id')}}",
                "{% for c in [].__class__.__base__.__subclasses__() %}x{% endfor %}",
                "{{()|attr('__class__')}}",
                "{{request|attr('application')|attr('\\x5f\\x5fglobals\\x5f\\x5f')}}",
                "${T(java.lang.Runtime).getRuntime().exec('id')}",
                "T(java.lang.Runtime).getRuntime().exec('id')",
                "__${T(java.lang.Runtime).getRuntime().exec('id')}__::.x",
                "*{T(java.lang.System).getenv()}",
                "#{T(java.lang.System)}",
                "<#assign ex=\"freemarker.template.utility.Execute\"?new()>${ex(\"id\")}",
                "${\"freemarker.template.utility.Execute\"?new()(\"id\")}",
                "#set($x='')#set($rt=$x.class.forName('java.lang.Runtime'))",
                "{{_self.env.registerUndefinedFilterCallback('exec')}}{{_self.env.getFilter('id')}}",
                "{{['id']|filter('system')}}",
                "{{['id']|map('system')|join}}",
                "{php}echo `id`;{/php}",
                "{$smarty.version}",
                "<%= system('id') %>",
                "<%= File.open('/etc/passwd').read %>",
                "<%= `id` %>",
                "{{constructor.constructor('alert(1)')()}}",
                "{{$on.constructor('alert(1)')()}}",
                "{{'a'.constructor.prototype.charAt=[].join}}",
                "${new java.lang.ProcessBuilder('id').start()}",
                "%{(#_memberAccess=@ognl.OgnlContext@DEFAULT_MEMBER_ACCESS)}",
                "%{#context['com.opensymphony.xwork2.dispatcher.HttpServletResponse']}",
                "#{global.process.mainModule.require('child_process').execSync('id')}",
                "${self.module.cache.util.os.system('id')}",
                "${''.getClass().forName('java.lang.Runtime')}",
            ],
        );
        finds(DetectTemplate, &["{{foo('bar')}}", "${user.getName()}", "#{foo(1)}"]);
    }

    #[test]
    fn leaves_placeholders_alone() {
        is_quiet_about(
            DetectTemplate,
            &[
                "{{name}}",
                "{{ user.name }}",
                "{{#if admin}}yes{{/if}}",
                "{{> partial}}",
                "{{price | currency}}",
                "{{ items[0].title }}",
                "${name}",
                "${user.firstName}",
                "#{name}",
                "<%name%>",
                "<% name %>",
                "%{name}",
                "%{count} items",
                "*{field}",
                "@{/path}",
                "{% block title %}x{% endblock %}",
                "{% if user %}hi{% endif %}",
                "{$name}",
                "a @ (7 pm)",
                "${PATH:-/bin}",
                "${2024-01-31}",
                "{{2024-01-31}}",
                "{0}",
                "{a: 1}",
                "{\"a\":{\"b\":1}}",
                "function f() { return {a: 7*7}; }",
                "[=a]",
                "color: #{$x}",
                "#settings",
                "set(x)",
                "#set your goals",
                "#include <stdio.h>",
                "#foreach",
                "T(x)",
                "2*{3+4}",
                "f({x: 1})",
                "}}{{",
                "{{",
                "${",
                "\\frac{1}{2} \\sqrt{3*3}",
                "x^{2+3}",
                "The {{mustache}} syntax",
                "user@(host)",
                "{{0}}",
                "{{ 'greeting' | translate }}",
            ],
        );
        is_not_certain_of(
            DetectTemplate,
            &[
                "const s = `total: ${1 + 2}`;",
                "{{ formatDate(date) }}",
                "${user.getName()}",
                "{{ t('title') }}",
                "console.log(`${a}${b.toFixed(2)}`)",
            ],
        );
    }

    #[test]
    fn takes_linear_time() {
        is_linear_in(
            DetectTemplate,
            &["{{", "${", "{{7*", "#set(", "<%", "#{(", "{%}", "{{7+7+7+7+7+7+7+7+7", "T(", "__class__."],
        );
    }
}
