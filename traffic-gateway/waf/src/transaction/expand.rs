//! References such as `%{TX.score}` in texts of rules.

use crate::rules::RuleSet;
use crate::rules::rule::{Choice, Rule};
use crate::rules::template::{Part, Template, write_number};
use crate::seclang::ast::Variable;

use super::items::{Item, MemberName, Subject};
use super::state::State;
use super::tx::TxRef;

/// Bytes of an expanded text.
pub(super) const EXPANDED: usize = 4096;

impl State {
    /// Appends a text with its references replaced, up to [`EXPANDED`] bytes. What does not exist is nothing.
    pub(super) fn expand(&mut self, rules: &RuleSet, rule: &Rule, template: &Template, out: &mut Vec<u8>) {
        let limit = out.len() + EXPANDED;
        for part in &template.pieces {
            match part {
                Part::Plain(plain) => out.extend_from_slice(plain),
                Part::Tx(id) => self.tx.append(rules, TxRef::Fixed(*id), out),
                Part::Value(variable, member) => self.append_value(rules, rule, *variable, member.as_deref(), out),
            }
            if out.len() >= limit {
                out.truncate(limit);
                return;
            }
        }
    }

    /// Appends the first value of a variable.
    fn append_value(
        &mut self,
        rules: &RuleSet,
        rule: &Rule,
        variable: Variable,
        member: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        if let (Variable::MatchedVarName, Some(matched)) = (variable, self.matched.last().copied()) {
            return self.write_name(rules, matched.variable, matched.member, out);
        }
        if let (Variable::Rule, Some(member)) = (variable, member) {
            return self.append_of_rule(rules, rule, member, out);
        }
        let mut items = Vec::new();
        std::mem::swap(&mut items, &mut self.findings.items);
        items.clear();
        let target = crate::rules::rule::Target { variable, count: false, choice: Choice::All };
        self.collect(rules, rule, &target, &[], &mut items);
        let found = items.iter().find(|item| member.is_none_or(|member| self.is_named(rules, item, member))).copied();
        self.findings.items = items;
        match found.map(|item| item.subject) {
            Some(Subject::Text(text)) => {
                let bytes = self.texts.bytes(text);
                out.extend_from_slice(bytes.get(..EXPANDED).unwrap_or(bytes));
            }
            Some(Subject::Number(number)) => write_number(out, number),
            Some(Subject::Tx(variable)) => self.tx.append(rules, variable, out),
            None => {}
        }
    }

    fn is_named(&self, rules: &RuleSet, item: &Item, name: &str) -> bool {
        match item.member {
            MemberName::None => false,
            MemberName::Text(text) => self.texts.bytes(text).eq_ignore_ascii_case(name.as_bytes()),
            MemberName::Tx(variable) => self.tx.name(rules, variable).eq_ignore_ascii_case(name.as_bytes()),
        }
    }

    fn append_of_rule(&mut self, rules: &RuleSet, rule: &Rule, member: &str, out: &mut Vec<u8>) {
        match member.to_ascii_lowercase().as_str() {
            "id" => write_number(out, i64::from(rule.id)),
            "severity" => write_number(out, rule.severity.map_or(0, i64::from)),
            "rev" => out.extend_from_slice(rule.revision.as_deref().unwrap_or("").as_bytes()),
            "ver" => out.extend_from_slice(rule.version.as_deref().unwrap_or("").as_bytes()),
            "msg" => {
                // A message may name itself; one level is enough.
                let refers = |part: &Part| matches!(part, Part::Value(Variable::Rule, _));
                if let Some(message) = rule.message.as_ref().filter(|message| !message.pieces.iter().any(refers)) {
                    self.expand(rules, rule, message, out);
                }
            }
            _ => {}
        }
    }
}
