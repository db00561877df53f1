//! `@detectPrototypePollution`: a key path that leads into the prototype all objects share.
//!
//! Recognises `__proto__` and `constructor.prototype` (in dots, brackets or nested JSON) where keys stand: as the whole
//! of a name such as `a[__proto__][b]`, or as a key of an object. Inside source code it is only likely.
//!
//! Leaves prose about `__proto__` and `Foo.prototype.constructor` alone.

use super::evidence::Best;
use super::scan::{Cursor, before, find_text, is_space, is_word, part};
use super::{Classes, Finding};

/// The two `_` of `__proto__`, or the letters of `constructor` and `prototype` with what joins them.
pub(super) fn may_find(_: &[u8], classes: Classes) -> bool {
    classes.twice(Classes::UNDERSCORE) || may_be_constructor(classes)
}

fn may_be_constructor(classes: Classes) -> bool {
    const LETTERS: Classes = Classes::in_text(b"constructorprototype");
    classes.all(LETTERS) && classes.any(Classes::DOT.or(Classes::BRACKET).or(Classes::COLON).or(Classes::SLASH))
}

pub(super) fn find(value: &[u8], classes: Classes) -> Option<Finding> {
    let mut best = Best::default();
    if classes.twice(Classes::UNDERSCORE) && proto(value, &mut best) {
        return best.into_finding();
    }
    if may_be_constructor(classes) {
        constructor(value, &mut best);
    }
    best.into_finding()
}

/// Every `__proto__`, and the spelling that a filter which removes it once would turn into it.
fn proto(value: &[u8], best: &mut Best) -> bool {
    for name in [b"__proto__".as_slice(), b"__pro__proto__to__", b"__globals__", b"__builtins__", b"__subclasses__"] {
        let mut from = 0;
        while let Some(at) = memchr::memmem::find(value.get(from..).unwrap_or_default(), name) {
            let start = from + at;
            from = start + name.len();
            if is_component(value, start, from) && best.keep(Some(judge(value, start, from))) {
                return true;
            }
        }
    }
    false
}

/// `constructor` followed by `prototype` as the next component of a path.
fn constructor(value: &[u8], best: &mut Best) -> bool {
    let mut from = 0;
    while let Some(start) = find_text(value, b"constructor", from) {
        from = start + 11;
        let mut cursor = Cursor::from(value, from);
        let between = cursor.take_at_most(16, |byte| {
            matches!(byte, b'.' | b'[' | b']' | b'"' | b'\'' | b':' | b'{' | b'/') || is_space(byte)
        });
        let joined = between.iter().any(|byte| matches!(byte, b'.' | b'[' | b'/'))
            || between.contains(&b':') && between.contains(&b'{');
        if joined
            && cursor.eat_word(b"prototype")
            && !before(value, start).is_some_and(is_word)
            && best.keep(Some(judge(value, start, cursor.at())))
        {
            return true;
        }
    }
    false
}

/// Whether the text between two positions stands where a component of a path stands.
fn is_component(value: &[u8], start: usize, end: usize) -> bool {
    let opens = matches!(
        before(value, start),
        None | Some(b'.' | b'[' | b'"' | b'\'' | b'&' | b'?' | b'/' | b'{' | b',' | b'(' | b'`' | b'#')
    );
    let closes =
        matches!(value.get(end), None | Some(b'.' | b'[' | b']' | b'"' | b'\'' | b'=' | b':' | b'/' | b'%' | b'`'));
    opens && closes
}

/// Certain as part of a name or as the key of an object, likely in anything else.
fn judge(value: &[u8], start: usize, end: usize) -> Finding {
    let what = "key path into the shared prototype";
    let head = part(value, 0, start);
    let is_name = head.len() <= 256
        && head.iter().all(|&byte| {
            is_word(byte)
                || matches!(
                    byte,
                    b'.' | b'[' | b']' | b'"' | b'\'' | b'-' | b'$' | b'/' | b'?' | b'&' | b'=' | b'%' | b'#'
                )
        });
    let mut cursor = Cursor::from(value, end);
    let quoted = cursor.eat(b'"') || cursor.eat(b'\'');
    cursor.take_at_most(8, is_space);
    let is_key = quoted && cursor.peek() == Some(b':');
    let reaches_on = cursor.peek().is_none_or(|byte| matches!(byte, b'.' | b'[' | b']' | b'=' | b'/' | b'"' | b'\''));
    if is_key || (is_name && reaches_on) || (is_name && quoted) {
        Finding::certain(what, start..end)
    } else {
        Finding::likely(what, start..end)
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::check::{finds, is_certain_of, is_linear_in, is_not_certain_of, is_quiet_about};
    use crate::seclang::ast::OperatorKind::DetectPrototypePollution;

    #[test]
    fn finds_key_paths() {
        is_certain_of(
            DetectPrototypePollution,
            &[
                "__proto__",
                "__proto__[admin]",
                "__proto__.admin",
                "a[__proto__][b]",
                "a.__proto__.b",
                "a[\"__proto__\"]",
                "constructor.prototype",
                "constructor[prototype][x]",
                "a[constructor][prototype][x]",
                "constructor.prototype.isAdmin",
                "x[constructor].prototype",
                "[\"constructor\"][\"prototype\"]",
                "{\"__proto__\":{\"admin\":true}}",
                "{\"a\":{\"__proto__\":{\"b\":1}}}",
                "{\"constructor\":{\"prototype\":{\"admin\":true}}}",
                "{\"constructor\" : { \"prototype\" : {\"x\":1}}}",
                "{'__proto__': {'x': 1}}",
                "user[__proto__][isAdmin]=true",
                "?__proto__[x]=1",
                "#__proto__[x]=y",
                "/__proto__/x",
                "__proto__=1",
                "__pro__proto__to__[x]",
                "a.b.c.__proto__",
                "__globals__",
                "__class__.__init__.__globals__.app.secret_key",
                "items[0].__proto__.toString",
                "json.__proto__.x",
                "a['__proto__']['b']",
                "{ \"x\": 1, \"__proto__\" : null }",
                "__proto__.__proto__.x",
            ],
        );
        finds(
            DetectPrototypePollution,
            &[
                "[{\"op\":\"add\",\"path\":\"/__proto__/x\",\"value\":1}]",
                "const x = 1; obj.__proto__.polluted = true;",
                "let c = foo.constructor.prototype;",
            ],
        );
    }

    #[test]
    fn leaves_talk_about_prototypes_alone() {
        is_quiet_about(
            DetectPrototypePollution,
            &[
                "What does __proto__ do?",
                "constructor",
                "prototype",
                "Foo.prototype.constructor",
                "the constructor prototype",
                "proto",
                "_proto_",
                "my__proto__col",
                "rapid prototype",
                "constructor: prototype",
                "class A { constructor() {} }",
                "constructors.prototypes",
                "__prototype__",
                "{\"constructor\":\"Ferrari\"}",
                "{\"constructor\":{\"name\":\"Ferrari\"}}",
                "proto.Message",
                "__init__",
                "__typename",
                "{\"__typename\":\"User\"}",
                "a.constructor",
                "prototype.js",
            ],
        );
        is_not_certain_of(
            DetectPrototypePollution,
            &[
                "const x = 1; obj.__proto__.polluted = true;",
                "var Sub = function() {}; Sub.constructor.prototype.x = 1",
            ],
        );
    }

    #[test]
    fn takes_linear_time() {
        is_linear_in(
            DetectPrototypePollution,
            &["__proto__", "a.__proto__ ", "constructor", "constructor.prototype ", "__pro", "constructor[[[[[[", "_"],
        );
    }
}
