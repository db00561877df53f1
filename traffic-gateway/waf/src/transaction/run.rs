//! One phase: which rules run, and how each is compared.

use crate::rules::RuleSet;
use crate::rules::rule::{Exclusion, Link, NumberSource, Rule, Side, Test};
use crate::rules::template::number;
use crate::seclang::ast::EngineMode;

use super::Verdict;
use super::items::{Item, Matched, Subject};
use super::report::MATCHED_BYTES;
use super::state::State;
use super::texts::TextId;

/// One transaction in so many is counted, as so many.
pub(super) const COUNTED: u64 = 64;

impl State {
    /// Runs the rules of a phase, once, and says what was decided.
    pub(super) fn run_phase(&mut self, rules: &RuleSet, phase: u8) -> Verdict {
        if phase <= self.phase {
            return self.verdict();
        }
        self.phase = phase;
        let decided = self.verdict.is_some() && phase != 5;
        if decided || self.engine == EngineMode::Off || self.allowed & (1 << phase) != 0 {
            return self.verdict();
        }
        self.gather(rules);
        let index = usize::from(phase);
        let (Some(first), Some(end)) = (rules.phases.get(index - 1), rules.phases.get(index)) else {
            return self.verdict();
        };
        let mut at = *first;
        while let Some(number) = self.next_rule(rules, at, *end) {
            at = number + 1;
            let Some(rule) = rules.rules.get(number) else { break };
            let matched = self.run_counted(rules, number, rule);
            if !matched {
                continue;
            }
            self.found(rules, rule);
            if let Some(to) = rule.jump {
                at = to.max(at);
            }
            if !self.decide(rules, rule) || self.engine == EngineMode::Off {
                break;
            }
        }
        self.verdict()
    }

    /// Runs a rule; in one transaction of [`COUNTED`] its runs are counted, so that threads do not fight over counters.
    fn run_counted(&mut self, rules: &RuleSet, number: usize, rule: &Rule) -> bool {
        if !self.counting {
            let matched = self.run_rule(rules, number, rule);
            if matched
                && rule.log
                && !self.is_trial
                && let Some(counted) = rules.costs.of(number)
            {
                counted.hit(1);
            }
            return matched;
        }
        let started = rules.options.clock.map(|clock| clock());
        let matched = self.run_rule(rules, number, rule);
        let ended = rules.options.clock.map(|clock| clock());
        if let Some(counted) = rules.costs.of(number) {
            let took = ended.zip(started).map_or(0, |(ended, started)| ended.saturating_sub(started));
            counted.ran(COUNTED, took);
            if matched {
                counted.hit(if rule.log { 1 } else { COUNTED });
            }
        }
        matched
    }

    /// What was decided so far.
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict.clone().unwrap_or(Verdict::Pass)
    }

    /// The next rule of the phase that may match.
    fn next_rule(&self, rules: &RuleSet, from: usize, end: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut mask = u64::MAX << (from % 64);
        while word * 64 < end {
            let live = rules.always.get(word)? | self.candidates.get(word)?;
            let live = live & !self.removed.get(word)? & mask;
            if live != 0 {
                let found = word * 64 + live.trailing_zeros() as usize;
                return (found < end).then_some(found);
            }
            word += 1;
            mask = u64::MAX;
        }
        None
    }

    fn run_rule(&mut self, rules: &RuleSet, number: usize, rule: &Rule) -> bool {
        self.texts.trim();
        self.matched.clear();
        self.findings.begin_rule();
        let mut filter = rule.filtered;
        rule.links.iter().all(|link| self.run_link(rules, number, rule, link, filter.take()))
    }

    fn run_link(&mut self, rules: &RuleSet, number: usize, rule: &Rule, link: &Link, filter: Option<Side>) -> bool {
        if link.targets.is_empty() {
            self.change_variables(rules, rule, link);
            return true;
        }
        let mut items = std::mem::take(&mut self.items);
        items.clear();
        for target in &link.targets {
            self.collect(rules, rule, target, &link.exclusions, &mut items);
        }
        let is_head = rule.links.first().is_some_and(|head| std::ptr::eq(head, link));
        if is_head && !self.exclusions.is_empty() {
            self.exclude_at_run_time(rules, number, &mut items);
        }
        let bound = self.prepare(rules, rule, &link.test);
        let mut any = false;
        for item in &items {
            any |= self.run_item(rules, number, rule, link, filter, *item, bound);
        }
        self.items = items;
        any
    }

    /// Takes away what a `ctl` excluded from this rule.
    fn exclude_at_run_time(&self, rules: &RuleSet, number: usize, items: &mut Vec<Item>) {
        for exclusion in &self.exclusions {
            let Some(runtime) = rules.exclusions.get(*exclusion as usize) else { continue };
            if !has_bit(&runtime.rules, number) {
                continue;
            }
            let Exclusion { variable, choice } = &runtime.exclusion;
            items.retain(|item| item.variable != *variable || !self.chosen(rules, choice, item));
        }
    }

    /// Puts the argument of an operator together, or gives the number a value is compared with.
    fn prepare(&mut self, rules: &RuleSet, rule: &Rule, test: &Test) -> i64 {
        match test {
            Test::Number(_, source) => self.number_of(rules, rule, source),
            Test::Operator(_, Some(template)) => {
                let mut argument = std::mem::take(&mut self.argument);
                argument.clear();
                self.expand(rules, rule, template, &mut argument);
                self.argument = argument;
                0
            }
            _ => 0,
        }
    }

    /// A number of a rule in this transaction.
    pub(super) fn number_of(&mut self, rules: &RuleSet, rule: &Rule, source: &NumberSource) -> i64 {
        match source {
            NumberSource::Constant(value) => *value,
            NumberSource::Tx(id) => self.tx.number(rules, super::tx::TxRef::Fixed(*id)),
            NumberSource::Template(template) => {
                let mut text = std::mem::take(&mut self.scratch);
                text.clear();
                self.expand(rules, rule, template, &mut text);
                let value = number(&text);
                self.scratch = text;
                value
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one comparison needs all of them, and is called from one place")]
    fn run_item(
        &mut self,
        rules: &RuleSet,
        number: usize,
        rule: &Rule,
        link: &Link,
        filter: Option<Side>,
        item: Item,
        bound: i64,
    ) -> bool {
        let pipeline = rules.pipelines.get(link.pipeline);
        if let (Test::Number(comparison, _), Some(value), true) =
            (&link.test, self.number_in(item.subject), pipeline.steps.is_empty())
        {
            if comparison.holds(value, bound) == link.negated {
                return false;
            }
            let text = self.text_of(rules, item.subject);
            self.matches(rules, rule, link, item, text);
            return true;
        }
        let text = self.text_of(rules, item.subject);
        let compare = |state: &mut Self, made: TextId| {
            if let Some(side) = filter {
                let row = state.texts.row(&rules.marks, rules.scanner(side), made, link.test.ask());
                if !has_bit(row, number) {
                    return false;
                }
            }
            state.compare(rules, rule, link, item, made, bound)
        };
        if !link.multi_match {
            let made = self.texts.through(&rules.marks, pipeline, text);
            return compare(self, made);
        }
        let mut made = text;
        let mut any = compare(self, made);
        for step in &pipeline.steps {
            let next = self.texts.step(&rules.marks, step, made);
            if next != made {
                made = next;
                any |= compare(self, made);
            }
        }
        any
    }

    /// A value that is kept as a number.
    fn number_in(&self, subject: Subject) -> Option<i64> {
        match subject {
            Subject::Number(value) => Some(value),
            Subject::Tx(variable) => self.tx.as_number(variable),
            Subject::Text(_) => None,
        }
    }

    /// A value as a text.
    fn text_of(&mut self, rules: &RuleSet, subject: Subject) -> TextId {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        let id = match subject {
            Subject::Text(id) => id,
            Subject::Number(value) => {
                crate::rules::template::write_number(&mut text, value);
                self.texts.lend(&text)
            }
            Subject::Tx(variable) => {
                self.tx.append(rules, variable, &mut text);
                self.texts.lend(&text)
            }
        };
        self.scratch = text;
        id
    }

    /// Compares one text, and does what a match does at once.
    fn compare(&mut self, rules: &RuleSet, rule: &Rule, link: &Link, item: Item, text: TextId, bound: i64) -> bool {
        let value = self.texts.bytes(text);
        let holds = match &link.test {
            Test::Always => true,
            Test::Never => false,
            Test::Number(comparison, _) => comparison.holds(number(value), bound),
            Test::Operator(operator, template) => {
                let argument: &[u8] = if template.is_some() { &self.argument } else { &[] };
                operator.matches(value, argument, &mut self.captures)
            }
        };
        if holds == link.negated {
            return false;
        }
        self.matches(rules, rule, link, item, text);
        true
    }

    /// A value matched one link.
    fn matches(&mut self, rules: &RuleSet, rule: &Rule, link: &Link, item: Item, text: TextId) {
        let mut found = text;
        if matches!(link.test, Test::Operator(..)) && !link.negated {
            let value = self.texts.bytes(text);
            if link.capture {
                self.tx.keep_captures(&self.captures, value);
            }
            if rule.log
                && let Some(part) = self.captures.get(0, value)
            {
                self.scratch.clear();
                self.scratch.extend_from_slice(part.get(..MATCHED_BYTES).unwrap_or(part));
                found = self.texts.lend(&self.scratch);
            }
        }
        if rule.log {
            self.findings.add_target(item.variable, item.member, found);
        }
        self.matched.push(Matched { variable: item.variable, member: item.member, text });
        self.change_variables(rules, rule, link);
    }
}

/// Whether a row has a bit.
fn has_bit(row: &[u64], number: usize) -> bool {
    row.get(number / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
}
