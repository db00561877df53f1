//! Grammars of attacks: each judges one decoded value in its place.
//!
//! A grammar asks for the *structure* without which an attack cannot work, not for words: a sentence about SQL, a name
//! with an apostrophe or the source of a shell script is not an attack. Where structure alone leaves doubt, the finding
//! is [`Grade::Likely`], for rules that add up scores.
//!
//! All grammars are pure functions of the bytes and take time linear in their number. Before each stands a gate, its
//! `may_find`: what the [`Classes`] of a value and its first bytes say is necessary for the grammar to find anything. A
//! gate never decides that something is found, and never keeps a grammar from what it would find; so an ordinary value
//! costs one pass over its bytes and a few comparisons.

mod scan;
mod evidence;
mod form;
mod command;
mod code;
mod traversal;
mod inclusion;
mod ssrf;
mod template;
mod jndi;
mod xxe;
mod deserialization;
mod nosql;
mod ldap;
mod xpath;
mod prototype_pollution;
mod response_splitting;
mod sql;
mod script;
#[cfg(test)]
mod ordinary;
#[cfg(test)]
mod check;
#[cfg(test)]
mod gates;
#[cfg(test)]
mod speed;

pub use crate::classes::Classes;
pub use evidence::{Finding, Grade};
pub use form::find_in;
use scan::starts_with;

use crate::decode::View;
use crate::seclang::ast::OperatorKind;

/// A grammar, and what is necessary for it to find anything.
#[derive(Clone, Copy)]
struct Grammar {
    may_find: fn(&[u8], Classes) -> bool,
    find: fn(&[u8], Classes) -> Option<Finding>,
}

/// Lists the grammars once: their operators, their modules, and the gates of all in a row.
macro_rules! grammars {
    ($($kind:ident = $module:ident;)+) => {
        /// The operators that are grammars.
        pub const KINDS: [OperatorKind; 16] = [$(OperatorKind::$kind),+];

        const fn grammar(kind: OperatorKind) -> Option<Grammar> {
            match kind {
                $(OperatorKind::$kind => Some(Grammar { may_find: $module::may_find, find: $module::find }),)+
                _ => None,
            }
        }

        /// Judges a form of a value by all grammars, and calls back with what each found.
        pub(crate) fn find_all(view: View<'_>, mut each: impl FnMut(OperatorKind, Finding)) {
            $(if $module::may_find(view.bytes, view.classes)
                && let Some(found) = $module::find(view.bytes, view.classes)
            {
                each(OperatorKind::$kind, form::weigh(OperatorKind::$kind, view.layers, found));
            })+
        }
    };
}

grammars! {
    DetectCommand = command;
    DetectCode = code;
    DetectTraversal = traversal;
    DetectInclusion = inclusion;
    DetectSsrf = ssrf;
    DetectTemplate = template;
    DetectJndi = jndi;
    DetectXxe = xxe;
    DetectDeserialization = deserialization;
    DetectNosql = nosql;
    DetectLdap = ldap;
    DetectXpath = xpath;
    DetectPrototypePollution = prototype_pollution;
    DetectResponseSplitting = response_splitting;
    DetectSql = sql;
    DetectScript = script;
}

/// Judges a value by one grammar; operators that are not grammars find nothing.
#[must_use]
pub fn find(kind: OperatorKind, value: &[u8]) -> Option<Finding> {
    find_among(kind, value, Classes::of(value))
}

/// Judges a value whose [`Classes`] are known, so that one pass over the bytes serves every grammar.
#[must_use]
pub fn find_among(kind: OperatorKind, value: &[u8], classes: Classes) -> Option<Finding> {
    let grammar = grammar(kind)?;
    if (grammar.may_find)(value, classes) { (grammar.find)(value, classes) } else { None }
}
