//! Targets as written become choices by number.

use regex::bytes::{Regex, RegexBuilder};

use crate::seclang::ast::{self, Selector, TargetKind, Variable};

use super::names::{NameId, Names, TxId};
use super::rule::{Choice, Exclusion, NamePattern, Rule, Target};

/// Numbers for the names targets mention.
pub(super) struct TargetNames<'a> {
    pub(super) members: &'a mut Names,
    pub(super) tx: &'a mut Names,
}

/// Values looked at, and values left out.
pub(super) type Compiled = (Vec<Target>, Vec<Exclusion>);

impl TargetNames<'_> {
    /// Sorts the targets of a link.
    pub(super) fn compile(&mut self, targets: &[ast::Target]) -> Result<Compiled, (ast::Position, String)> {
        let (mut included, mut excluded) = (Vec::new(), Vec::new());
        for target in targets {
            let choice = self.choice(target)?;
            let variable = target.variable;
            match target.kind {
                TargetKind::Exclude => excluded.push(Exclusion { variable, choice }),
                TargetKind::Include => included.push(Target { variable, count: false, choice }),
                TargetKind::Count => included.push(Target { variable, count: true, choice }),
            }
        }
        Ok((included, excluded))
    }

    /// What the selector of a target chooses.
    pub(super) fn choice(&mut self, target: &ast::Target) -> Result<Choice, (ast::Position, String)> {
        match &target.selector {
            None => Ok(Choice::All),
            Some(Selector::Name(name)) if target.variable == Variable::Tx => Ok(Choice::Tx(TxId(self.tx.add(name)))),
            Some(Selector::Name(name)) => {
                Ok(Choice::Name(NameId(self.members.add(name)), name.to_ascii_lowercase().into_bytes().into()))
            }
            Some(Selector::Regex(pattern)) => match name_regex(pattern) {
                Ok(regex) => Ok(Choice::Pattern(Box::new(NamePattern { regex, tx: Box::default() }))),
                Err(error) => Err((target.position, format!("invalid regular expression: {error}"))),
            },
            Some(Selector::XPath(path)) => Ok(Choice::XPath(*path)),
        }
    }
}

/// Looks up the variables of `TX` that expressions name, once all that rules mention have their number.
pub(super) fn resolve_patterns(rules: &mut [Rule], tx: &Names) {
    let links = rules.iter_mut().flat_map(|rule| &mut rule.links);
    for target in links.flat_map(|link| &mut link.targets).filter(|target| target.variable == Variable::Tx) {
        if let Choice::Pattern(pattern) = &mut target.choice {
            let named = tx.iter().filter(|(_, name)| pattern.regex.is_match(name.as_bytes()));
            pattern.tx = named.map(|(id, _)| TxId(id)).collect();
        }
    }
}

/// Regular expressions over names ignore case, as names do.
fn name_regex(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).case_insensitive(true).unicode(false).dot_matches_new_line(true).build()
}
