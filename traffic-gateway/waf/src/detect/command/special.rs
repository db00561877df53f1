//! Shapes of their own: functions in the environment, sockets by path, calls of a spreadsheet, Windows' substrings.

use super::super::scan::{Cursor, before, find_text, is_space, is_word, part};
use super::super::{Classes, Finding};

/// What `/dev/tcp/` and `/dev/udp/` have in common.
const SOCKET: Classes = Classes::in_text(b"/dev/p");

/// A parenthesis and a brace, the letters of a socket, the pipe of a spreadsheet's call, the percent sign of a variable.
pub(super) fn may_find(classes: Classes) -> bool {
    classes.any(Classes::PIPE.or(Classes::PERCENT))
        || classes.all(Classes::PAREN.or(Classes::BRACE))
        || classes.all(SOCKET)
}

/// Judges a value by these shapes.
pub(super) fn find(value: &[u8], classes: Classes) -> Option<Finding> {
    if classes.all(Classes::PAREN.or(Classes::BRACE))
        && let Some(at) = memchr::memmem::find(value, b"()")
    {
        let mut cursor = Cursor::from(value, at + 2);
        cursor.take_at_most(4, is_space);
        if cursor.eat(b'{') {
            cursor.take_at_most(4, is_space);
            if cursor.eat(b':') || cursor.eat_text(b"_;") || cursor.eat_text(b"foo") || cursor.eat_text(b"_[") {
                cursor.take_at_most(8, |byte| is_space(byte) || matches!(byte, b';' | b'}' | b':'));
                if before(value, cursor.at()).is_some_and(|byte| matches!(byte, b';' | b' ' | b'}' | b':')) {
                    return Some(Finding::certain("function definition in the environment", at..cursor.at()));
                }
            }
        }
    }
    if classes.all(SOCKET)
        && let Some(at) =
            memchr::memmem::find(value, b"/dev/tcp/").or_else(|| memchr::memmem::find(value, b"/dev/udp/"))
    {
        return Some(Finding::certain("network socket by a path of the shell", at..at + 9));
    }
    if classes.any(Classes::PIPE) {
        for text in [b"cmd|'".as_slice(), b"powershell|'", b"dde(\"", b"cmd|\"", b"msexcel|'"] {
            if let Some(at) = find_text(value, text, 0) {
                return Some(Finding::certain("program called by a spreadsheet", at..at + text.len()));
            }
        }
    }
    if classes.any(Classes::PERCENT)
        && let Some(at) = find_text(value, b"%comspec% /c", 0)
    {
        return Some(Finding::certain("command interpreter by its variable", at..at + 12));
    }
    if classes.any(Classes::PERCENT)
        && let Some(at) = memchr::memmem::find(value, b":~")
    {
        let head = part(value, at.saturating_sub(24), at);
        let name = head.iter().rev().take_while(|byte| is_word(**byte)).count();
        let opened = head.len().checked_sub(name + 1).and_then(|at| head.get(at)) == Some(&b'%');
        return (name > 2 && opened)
            .then(|| Finding::certain("command made of pieces of variables", at - name..at + 2));
    }
    None
}
