//! Grammars of attacks: each judges one decoded value in its place.
//!
//! A grammar asks for the *structure* without which an attack cannot work, not for words: a sentence about SQL, a name
//! with an apostrophe or the source of a shell script is not an attack. Where structure alone leaves doubt, the finding
//! is [`Grade::Likely`], for rules that add up scores.
//!
//! All grammars are pure functions of the bytes, take time linear in their number, and begin with a [`Classes`] gate, so
//! that an ordinary value costs a pass over its bytes and nothing else.

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
mod speed;

pub use evidence::{Finding, Grade};
pub use form::find_in;
pub use scan::Classes;
use scan::starts_with;

use crate::seclang::ast::OperatorKind;

/// Judges a value by one grammar; operators that are not grammars find nothing.
#[must_use]
pub fn find(kind: OperatorKind, value: &[u8]) -> Option<Finding> {
    find_among(kind, value, Classes::of(value))
}

/// Judges a value whose [`Classes`] are known, so that one pass over the bytes serves every grammar.
#[must_use]
pub fn find_among(kind: OperatorKind, value: &[u8], classes: Classes) -> Option<Finding> {
    let grammar = match kind {
        OperatorKind::DetectCommand => command::find,
        OperatorKind::DetectCode => code::find,
        OperatorKind::DetectTraversal => traversal::find,
        OperatorKind::DetectInclusion => inclusion::find,
        OperatorKind::DetectSsrf => ssrf::find,
        OperatorKind::DetectTemplate => template::find,
        OperatorKind::DetectJndi => jndi::find,
        OperatorKind::DetectXxe => xxe::find,
        OperatorKind::DetectDeserialization => deserialization::find,
        OperatorKind::DetectNosql => nosql::find,
        OperatorKind::DetectLdap => ldap::find,
        OperatorKind::DetectXpath => xpath::find,
        OperatorKind::DetectPrototypePollution => prototype_pollution::find,
        OperatorKind::DetectResponseSplitting => response_splitting::find,
        OperatorKind::DetectSql => sql::find,
        OperatorKind::DetectScript => script::find,
        _ => return None,
    };
    grammar(value, classes)
}

/// The operators that are grammars.
pub const KINDS: [OperatorKind; 16] = [
    OperatorKind::DetectCommand,
    OperatorKind::DetectCode,
    OperatorKind::DetectTraversal,
    OperatorKind::DetectInclusion,
    OperatorKind::DetectSsrf,
    OperatorKind::DetectTemplate,
    OperatorKind::DetectJndi,
    OperatorKind::DetectXxe,
    OperatorKind::DetectDeserialization,
    OperatorKind::DetectNosql,
    OperatorKind::DetectLdap,
    OperatorKind::DetectXpath,
    OperatorKind::DetectPrototypePollution,
    OperatorKind::DetectResponseSplitting,
    OperatorKind::DetectSql,
    OperatorKind::DetectScript,
];
