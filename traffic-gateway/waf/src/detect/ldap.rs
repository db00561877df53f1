//! `@detectLdap`: text that closes the component of an LDAP filter it stands in and opens another.
//!
//! Recognises a closing parenthesis that nothing in the value opened, followed by a new component (`)(uid=*`, `)(|(`,
//! `)(!(`) or by a NUL that ends the filter, and filters that are opened inside a value (`*(|(mail=*))`). A whole,
//! balanced filter is only likely: directories have search fields for them.
//!
//! Leaves `*` alone, formulas, code, and smileys.

use super::evidence::Best;
use super::scan::{Cursor, is_space};
use super::{Classes, Finding};

/// A parenthesis, and the operator, assertion or NUL behind it.
pub(super) fn may_find(_: &[u8], classes: Classes) -> bool {
    const BEHIND: Classes =
        Classes::EQUALS.or(Classes::STAR).or(Classes::AMPERSAND).or(Classes::PIPE).or(Classes::BANG).or(Classes::NUL);
    classes.any(Classes::PAREN) && classes.any(BEHIND)
}

pub(super) fn find(value: &[u8], _: Classes) -> Option<Finding> {
    let mut best = Best::default();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(offset) = value.get(at..).and_then(|rest| memchr::memchr2(b'(', b')', rest)) {
        at += offset;
        let found = if value.get(at) == Some(&b')') {
            let unopened = depth == 0;
            depth = depth.saturating_sub(1);
            if unopened { closing(value, at) } else { None }
        } else {
            depth += 1;
            opening(value, at)
        };
        if best.keep(found) {
            break;
        }
        at += 1;
    }
    best.into_finding()
}

/// After a parenthesis that closes what the application opened.
fn closing(value: &[u8], at: usize) -> Option<Finding> {
    let mut cursor = Cursor::from(value, at);
    cursor.take_at_most(8, |byte| byte == b')' || is_space(byte));
    if cursor.peek() == Some(0) {
        return Some(Finding::certain("LDAP filter ended early", at..cursor.at() + 1));
    }
    if !cursor.eat(b'(') {
        return None;
    }
    cursor.take_at_most(4, |byte| byte == b'(');
    component(&mut cursor)?;
    Some(Finding::certain("LDAP filter continued by the value", at..cursor.at()))
}

/// An operator followed by `(` or by the end of a component, or an assertion such as `uid=*`.
fn component(cursor: &mut Cursor<'_>) -> Option<Component> {
    cursor.take_at_most(4, is_space);
    if let Some(b'&' | b'|' | b'!') = cursor.peek() {
        cursor.skip(1);
        cursor.take_at_most(4, is_space);
        if matches!(cursor.peek(), None | Some(b'(' | b')')) {
            return Some(Component::Operator);
        }
    }
    let name =
        cursor.take_at_most(64, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b';' | b':'));
    if !name.first()?.is_ascii_alphanumeric() {
        return None;
    }
    cursor.take_at_most(4, is_space);
    if let Some(b'<' | b'>' | b'~') = cursor.peek() {
        cursor.skip(1);
    }
    // `==` and `=>` belong to programs.
    (cursor.eat(b'=') && !matches!(cursor.peek(), Some(b'=' | b'>'))).then_some(Component::Assertion)
}

/// The two kinds of components of a filter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Component {
    Operator,
    Assertion,
}

/// `(|(attribute=`: a list of components opened inside the value.
fn opening(value: &[u8], at: usize) -> Option<Finding> {
    let mut cursor = Cursor::from(value, at + 1);
    let operator = cursor.next().filter(|byte| matches!(byte, b'&' | b'|' | b'!'))?;
    if !cursor.eat(b'(') || component(&mut cursor) != Some(Component::Assertion) {
        return None;
    }
    let asks_for_anything = cursor.peek() == Some(b'*');
    let head = value.get(..at)?;
    if head.is_empty() || head.iter().any(|&byte| matches!(byte, b'(' | b' ')) {
        // `if (!(a=b` is a program.
        return (operator != b'!' || asks_for_anything).then(|| Finding::likely("LDAP filter", at..cursor.at()));
    }
    Some(Finding::certain("LDAP filter opened by the value", at..cursor.at()))
}

#[cfg(test)]
mod tests {
    use crate::detect::check::{finds, is_certain_of, is_linear_in, is_not_certain_of, is_quiet_about};
    use crate::seclang::ast::OperatorKind::DetectLdap;

    #[test]
    fn finds_filters_broken_open() {
        is_certain_of(
            DetectLdap,
            &[
                "*)(uid=*",
                "admin))\0",
                "admin*)((|userPassword=*)",
                "*)(&",
                "bob)(|(&",
                "admin)(!(&(|",
                "*)(uid=*))(|(uid=*",
                "admin)(&)",
                "admin)(&))",
                "admin)(|(password=*))",
                "*)(objectClass=*",
                "*)(|(objectclass=*)",
                "x)(cn=*",
                "foo)(sn=*",
                "*))(|(mail=*)",
                "*(|(mail=*))",
                "*(|(objectclass=*))",
                "a)(userPassword;lang-en=x",
                "admin)(department>=9",
                "x)(givenName~=John",
                "x)(cn:caseExactMatch:=Fred",
                "x) (uid=a",
                "x)(|(a=b)(c=d",
                "x))(&(objectClass=user",
                "*))\0",
                "*)\0",
                "admin)(1.2.840.113556.1.4.803:=2",
                "*)(userAccountControl:1.2.840.113556.1.4.803:=2",
                "x)(mail=*@example.com",
                "a*)(memberOf=cn=admins,dc=x",
                "pwd)(!(&(1=0",
                "x)(uid=admin)(|(uid=*",
                "*)( uid = *",
            ],
        );
        finds(DetectLdap, &["(&(objectClass=person)(uid=jdoe))", "(|(cn=a)(cn=b))", "(!(cn=*))", "(&(uid=*)(cn=a))"]);
    }

    #[test]
    fn leaves_parentheses_alone() {
        is_quiet_about(
            DetectLdap,
            &[
                "a) first (b) second",
                ":)(:",
                "f(x)(y)",
                "foo)(bar",
                "if (!(a == b)) return;",
                "if (!(a=b))",
                "(a|b)&(c|d)",
                "1) (2) 3)",
                "call()(x => y)",
                "(x)(y=1)",
                "sum(a)*(b)",
                "a)b)c)",
                "(((",
                ")))",
                "(*)",
                "*",
                "2*(3+4)",
                "uid=*",
                "cn=admin,dc=example,dc=com",
                "(uid=jdoe)",
                "(a=1)",
                "(function(a){})(b=3)",
                "rgb(1)(2)",
            ],
        );
        is_not_certain_of(DetectLdap, &["(&(objectClass=person)(uid=jdoe))"]);
    }

    #[test]
    fn takes_linear_time() {
        is_linear_in(DetectLdap, &[")", "(", ")(", "=)(aaaaaaaaaaaaaaaaaa", "*)(a", "(&(a", "(|(a==", "*)   "]);
    }
}
