//! What follows from a match: variables, controls, decisions.

use crate::rules::RuleSet;
use crate::rules::rule::{Change, Control, Disruption, Link, Rule, SetVariable, TxName, Value};
use crate::seclang::ast::{AllowScope, EngineMode, Toggle};

use super::state::State;
use super::tx::TxRef;
use super::{Mode, Verdict};

impl State {
    /// Does the `setvar` actions of a link, once for each value that matches.
    pub(super) fn change_variables(&mut self, rules: &RuleSet, rule: &Rule, link: &Link) {
        for change in &link.changes {
            let Some(variable) = self.variable_of(rules, rule, &change.name) else { continue };
            self.change_variable(rules, rule, change, variable);
        }
    }

    fn variable_of(&mut self, rules: &RuleSet, rule: &Rule, name: &TxName) -> Option<TxRef> {
        match name {
            TxName::Fixed(id) => Some(TxRef::Fixed(*id)),
            TxName::Template(template) => {
                let mut name = std::mem::take(&mut self.scratch);
                name.clear();
                self.expand(rules, rule, template, &mut name);
                let variable = self.tx.named(rules, &name);
                self.scratch = name;
                variable
            }
        }
    }

    fn change_variable(&mut self, rules: &RuleSet, rule: &Rule, set: &SetVariable, variable: TxRef) {
        match &set.change {
            Change::Unset => self.tx.unset(variable),
            Change::Set(Value::Number(value)) => self.tx.set_number(variable, *value),
            Change::Set(Value::Constant(constant)) => self.tx.set_constant(variable, *constant),
            Change::Set(Value::Tx(id)) => {
                if let Some(value) = self.tx.as_number(TxRef::Fixed(*id)) {
                    return self.tx.set_number(variable, value);
                }
                let mut text = std::mem::take(&mut self.scratch);
                text.clear();
                self.tx.append(rules, TxRef::Fixed(*id), &mut text);
                self.tx.set_bytes(variable, &text);
                self.scratch = text;
            }
            Change::Set(Value::Template(template)) => {
                let mut text = std::mem::take(&mut self.scratch);
                text.clear();
                self.expand(rules, rule, template, &mut text);
                self.tx.set_bytes(variable, &text);
                self.scratch = text;
            }
            Change::Add(source) => {
                let more = self.number_of(rules, rule, source);
                self.add(rules, set, variable, more);
            }
            Change::Subtract(source) => {
                let less = self.number_of(rules, rule, source);
                self.add(rules, set, variable, less.saturating_neg());
            }
        }
    }

    fn add(&mut self, rules: &RuleSet, set: &SetVariable, variable: TxRef, more: i64) {
        let sum = self.tx.number(rules, variable).saturating_add(more);
        self.tx.set_number(variable, sum);
        if set.score {
            self.findings.add_score(more);
        }
    }

    /// A rule matched with all its links.
    pub(super) fn found(&mut self, rules: &RuleSet, rule: &Rule) {
        if let Some(severity) = rule.severity {
            self.highest_severity = Some(self.highest_severity.map_or(severity, |highest| highest.min(severity)));
        }
        if rule.log {
            self.report(rules, rule);
        }
        for link in rule.links.iter().rev() {
            for control in &link.controls {
                self.control(control);
            }
        }
    }

    fn control(&mut self, control: &Control) {
        match control {
            Control::Engine(EngineMode::On) if self.mode == Mode::Detect => self.engine = EngineMode::DetectionOnly,
            Control::Engine(mode) => self.engine = *mode,
            Control::Remove(rules) => {
                for (removed, more) in self.removed.iter_mut().zip(rules) {
                    *removed |= more;
                }
            }
            Control::Exclude(number) => {
                if !self.exclusions.contains(number) {
                    self.exclusions.push(*number);
                }
            }
            Control::BodyProcessor(processor) => self.body.processor = Some(*processor),
            Control::ForceRequestBody(toggle) => self.body.forced = *toggle == Toggle::On,
            Control::RequestBodyAccess(toggle) => self.body.access = *toggle == Toggle::On,
            Control::ResponseBodyAccess(toggle) => self.response.access = *toggle == Toggle::On,
            Control::Audit(mode) => self.findings.audit = Some(*mode),
        }
    }

    /// Does what a matching rule decides; `false` when the phase ends.
    pub(super) fn decide(&mut self, rules: &RuleSet, rule: &Rule) -> bool {
        let by = rule.id;
        let verdict = match &rule.disruption {
            Disruption::Pass => return true,
            Disruption::Allow(scope) => {
                if self.engine != EngineMode::On {
                    return true;
                }
                self.allowed |= match scope {
                    AllowScope::Phase => 0,
                    AllowScope::Request => 0b110,
                    AllowScope::Transaction => 0b1_1110,
                };
                return false;
            }
            Disruption::Deny => Verdict::Deny { status: rule.status, by },
            Disruption::Drop => Verdict::Drop { by },
            Disruption::Redirect(template) => {
                let mut location = Vec::new();
                self.expand(rules, rule, template, &mut location);
                let status = if (300..400).contains(&rule.status) { rule.status } else { 302 };
                Verdict::Redirect { status, location: String::from_utf8_lossy(&location).into_owned(), by }
            }
        };
        let counts = self.engine == EngineMode::On && self.mode == Mode::Block && self.phase != 5;
        if self.findings.decided.is_none() && self.phase != 5 {
            self.findings.decided = Some(verdict.clone());
        }
        if counts {
            self.verdict = Some(verdict);
        }
        !counts
    }
}
