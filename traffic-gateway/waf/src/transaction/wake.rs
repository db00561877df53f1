//! The question that is asked first, of each value once: is there a rule it matches?
//!
//! The prefilter says which rules a text may match; those are compared at once, and a rule becomes a candidate only if its
//! first comparison holds for some text. So what runs later are rules that found something, and a value that nothing was
//! found in is known as such when it comes again.

use crate::rules::RuleSet;
use crate::rules::names::NameId;
use crate::rules::prefilter::Scanner;
use crate::rules::rule::Test;
use crate::rules::tree::{Branch, Readers};
use crate::rules::units::Source;

use super::run::COUNTED;
use super::state::State;
use super::texts::TextId;

impl State {
    /// Adds the rules one value matches, and says whether there is one.
    pub(super) fn wake(&mut self, rules: &RuleSet, source: Source, name: NameId, text: TextId) -> bool {
        let scanner = rules.scanner(source.side());
        let mut woke_any = false;
        for unit in rules.units.of(source, name).into_iter().flatten() {
            woke_any |= self.walk(rules, scanner, &unit.branches, text);
            self.texts.trim();
        }
        woke_any
    }

    /// Takes a text through all pipelines at once.
    fn walk(&mut self, rules: &RuleSet, scanner: &Scanner, branches: &[Branch], text: TextId) -> bool {
        let mut made = std::mem::take(&mut self.made);
        made.clear();
        made.push(text);
        let mut woke_any = false;
        let mut at = 0;
        // Whether it is known of the text itself that no rule is left that may match it.
        let mut is_clean = false;
        while let Some(branch) = branches.get(at) {
            // What the steps before this one made of the text.
            made.truncate(branch.depth.max(1));
            let before = made.last().copied().unwrap_or(text);
            let marks = self.texts.marks(&rules.marks, before);
            if !marks.wake(branch.triggers) {
                if !(is_clean && before == text) && self.may_match(rules, scanner, &branch.all, before) {
                    woke_any |= self.compare_all(rules, scanner, &branch.all, before);
                    is_clean |= before == text && self.is_clean(rules, scanner, branches, text);
                }
                at = branch.end;
                continue;
            }
            let is_only_case = branch.behind_case.is_some_and(|behind| !marks.wake(behind));
            if is_only_case && (is_clean && before == text || !self.may_match(rules, scanner, &branch.all, before)) {
                at = branch.end;
                continue;
            }
            let now = match &branch.step {
                Some(step) => self.texts.step(&rules.marks, step, before),
                None => before,
            };
            if branch.depth > 0 {
                made.push(now);
            }
            if let Some(here) = &branch.here {
                if self.may_match(rules, scanner, here, now) {
                    woke_any |= self.compare_all(rules, scanner, here, now);
                }
                is_clean |= at == 0 && self.is_clean(rules, scanner, branches, text);
            }
            at += 1;
        }
        self.made = made;
        woke_any
    }

    /// Whether the prefilter knows a rule among these that the text may match.
    fn may_match(&mut self, rules: &RuleSet, scanner: &Scanner, readers: &Readers, text: TextId) -> bool {
        let row = self.texts.row(&rules.marks, scanner, text, readers.ask);
        row.iter().zip(&readers.rules).fold(0, |any, (row, rules)| any | (row & rules)) != 0
    }

    /// Whether no rule of a tree is left that the value itself may match.
    fn is_clean(&mut self, rules: &RuleSet, scanner: &Scanner, branches: &[Branch], text: TextId) -> bool {
        branches.first().is_some_and(|root| {
            // A grammar that only what a step makes of the value is shown to need not be asked about the value.
            let is_known = root.here.as_ref().is_some_and(|here| here.ask == root.all.ask);
            is_known && !self.may_match(rules, scanner, &root.all, text)
        })
    }

    /// Compares a text with the rules it may match, and says whether it matches one.
    fn compare_all(&mut self, rules: &RuleSet, scanner: &Scanner, readers: &Readers, text: TextId) -> bool {
        let mut woke_any = false;
        for (word, mask) in readers.rules.iter().enumerate() {
            if *mask == 0 {
                continue;
            }
            let known = self.candidates.get(word).copied().unwrap_or(0);
            let may = self.texts.word(scanner, text, word) & mask;
            woke_any |= may & known != 0;
            let mut new = may & !known;
            while new != 0 {
                let bit = new & new.wrapping_neg();
                new ^= bit;
                let number = word * 64 + bit.trailing_zeros() as usize;
                if scanner.is_certain(word, bit) || self.holds(rules, number, text) {
                    woke_any = true;
                    if let Some(candidates) = self.candidates.get_mut(word) {
                        *candidates |= bit;
                    }
                } else {
                    self.texts.strike(scanner, text, word, bit);
                }
            }
        }
        woke_any
    }

    /// Whether the first comparison of a rule holds for a text.
    fn holds(&mut self, rules: &RuleSet, number: usize, text: TextId) -> bool {
        let Some(head) = rules.rules.get(number).and_then(|rule| rule.links.first()) else { return false };
        let Test::Operator(operator, None) = &head.test else { return true };
        let clock = rules.options.clock.filter(|_| self.counting);
        let started = clock.map(|clock| clock());
        let holds = operator.matches(self.texts.bytes(text), &[], &mut self.uncaptured) != head.negated;
        if let (Some(clock), Some(started), Some(counted)) = (clock, started, rules.costs.of(number)) {
            counted.took(COUNTED, clock().saturating_sub(started));
        }
        holds
    }
}
