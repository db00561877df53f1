//! What is known of rules before any request: which can never run, such as those of paranoia levels that are off, and what
//! the settings are that their operators refer to.
//!
//! Variables of `TX` are followed through the rules in the order in which they run, as long as their values do not
//! depend on the request. A rule that compares such a value either always or never matches, a chain when all its links do or
//! one does not; when it always jumps, what it jumps over is dead. This assumes that no `ctl` takes such a rule away: the level is a setting, and a request that
//! removes a rule at run time does not raise it.

use std::collections::HashMap;

use crate::seclang::ast::{
    self, ActionKind, Change, Operator, OperatorKind, Piece, Selector, TargetKind, Text, Toggle, Variable,
};

use super::draft::{Draft, DraftLink, Drafts};
use super::template::number;

/// What is known about a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    Value(String),
    Unset,
    Anything,
}

/// Variables whose value is known; all others are unset.
#[derive(Debug)]
struct State {
    values: HashMap<String, Known>,
    /// Beginnings of names that are put together at run time: any variable that begins so can be anything.
    loose: Vec<String>,
}

/// What is known of rules, in their order.
#[derive(Debug)]
pub(super) struct Constants {
    /// Whether a rule can never run.
    pub(super) dead: Vec<bool>,
    /// Arguments that are known at load, though they refer to variables: number of the rule and of its link.
    pub(super) arguments: Vec<(usize, usize, String)>,
}

/// Follows variables through the rules.
pub(super) fn constants(drafts: &Drafts, initial: &[(String, i64)]) -> Constants {
    let values = initial.iter().map(|(name, value)| (name.to_ascii_lowercase(), Known::Value(value.to_string())));
    let mut state = State { values: values.collect(), loose: loose_names(drafts) };
    let mut dead = vec![false; drafts.rules.len()];
    let mut arguments = Vec::new();
    // Rules before this one may have been jumped over.
    let mut certain_until = 0;
    // Rules before this one are never reached.
    let mut skipped_until = 0;
    // Where jumps so far may lead.
    let mut landings: Vec<usize> = Vec::new();
    let mut phase = 0;
    // Behind an `allow` a rule may not run, but then nothing it jumps over does.
    let mut allowed = false;
    for (number, rule) in drafts.rules.iter().enumerate() {
        if rule.phase != phase {
            phase = rule.phase;
            (certain_until, skipped_until) = (number, number);
            landings.clear();
        }
        if number < skipped_until {
            mark(&mut dead, number);
            continue;
        }
        arguments.extend(state.arguments(rule).into_iter().map(|(link, argument)| (number, link, argument)));
        let verdict = state.verdict(rule);
        if verdict == Some(false) {
            mark(&mut dead, number);
            continue;
        }
        let jump = jump_of(rule, number, drafts);
        if verdict == Some(true) && number >= certain_until && !allowed {
            state.apply(rule);
        } else {
            state.blur(rule);
        }
        if let Some(to) = jump {
            if verdict == Some(true) {
                let landing = landings.iter().copied().filter(|landing| *landing > number).min();
                skipped_until = landing.map_or(to, |landing| landing.min(to));
                if skipped_until < to {
                    certain_until = certain_until.max(to);
                } else if only_jumps(rule) {
                    mark(&mut dead, number);
                }
            } else {
                certain_until = certain_until.max(to);
            }
            landings.push(to);
        }
        allowed |= allows(rule);
    }
    Constants { dead, arguments }
}

fn mark(dead: &mut [bool], number: usize) {
    if let Some(dead) = dead.get_mut(number) {
        *dead = true;
    }
}

/// Whether a match leaves nothing behind but a jump.
fn only_jumps(rule: &Draft) -> bool {
    let mut log = true;
    for action in rule.defaults.iter().chain(rule.links.iter().flat_map(|link| &link.actions)) {
        match &action.kind {
            ActionKind::Log(toggle) => log = *toggle == Toggle::On,
            ActionKind::SetVariable(_)
            | ActionKind::SetKept(..)
            | ActionKind::Control(_)
            | ActionKind::Severity(_)
            | ActionKind::Capture => return false,
            ActionKind::Deny
            | ActionKind::Drop
            | ActionKind::Block
            | ActionKind::Redirect(_)
            | ActionKind::Allow(_) => {
                return false;
            }
            _ => {}
        }
    }
    !log
}

/// Whether a match may keep rules behind from running without a jump.
fn allows(rule: &Draft) -> bool {
    let mut actions = rule.defaults.iter().chain(rule.links.iter().flat_map(|link| &link.actions));
    actions.any(|action| matches!(action.kind, ActionKind::Allow(_)))
}

/// Where a match goes on.
fn jump_of(rule: &Draft, number: usize, drafts: &Drafts) -> Option<usize> {
    let end = drafts.rules.partition_point(|other| other.phase <= rule.phase);
    rule.links.first()?.actions.iter().rev().find_map(|action| match &action.kind {
        ActionKind::Skip(count) => Some((number + 1 + *count as usize).min(end)),
        ActionKind::SkipAfter(name) => {
            let (order, _) = drafts.markers.iter().find(|(order, marker)| *order > rule.order && marker == name)?;
            Some(drafts.rules.partition_point(|other| (other.phase, other.order) < (rule.phase, *order)))
        }
        _ => None,
    })
}

fn loose_names(drafts: &Drafts) -> Vec<String> {
    let actions = drafts.rules.iter().flat_map(|rule| &rule.links).flat_map(|link| &link.actions);
    let names = actions.filter_map(|action| match &action.kind {
        ActionKind::SetVariable(set) if set.name.plain().is_none() => Some(match set.name.pieces.first() {
            Some(Piece::Plain(begin)) => begin.to_ascii_lowercase(),
            _ => String::new(),
        }),
        _ => None,
    });
    names.collect()
}

impl State {
    fn get(&self, name: &str) -> Known {
        let name = name.to_ascii_lowercase();
        let digit = name.len() == 1 && name.bytes().all(|byte| byte.is_ascii_digit());
        if digit || self.loose.iter().any(|begin| name.starts_with(begin)) {
            return Known::Anything;
        }
        self.values.get(&name).cloned().unwrap_or(Known::Unset)
    }

    /// Whether a rule matches, if that depends on nothing a request says. What links before the one that never matches leave
    /// behind must be nothing.
    fn verdict(&self, rule: &Draft) -> Option<bool> {
        let mut all = Some(true);
        for link in &rule.links {
            match self.verdict_of(rule, link) {
                Some(true) => {}
                Some(false) => return Some(false),
                None => all = None,
            }
            if rule.links.len() > 1 && leaves_something(link) {
                return None;
            }
        }
        all
    }

    /// The same for one link.
    fn verdict_of(&self, rule: &Draft, link: &DraftLink) -> Option<bool> {
        let Some(operator) = &link.operator else { return Some(true) };
        let [target] = link.targets.as_slice() else { return None };
        let (Variable::Tx, Some(Selector::Name(name))) = (target.variable, &target.selector) else { return None };
        if has_transformations(rule, link) {
            return None;
        }
        let value = match (self.get(name), target.kind) {
            (Known::Anything, _) | (_, TargetKind::Exclude) => return None,
            (Known::Unset, TargetKind::Include) => return Some(false),
            (Known::Unset, TargetKind::Count) => "0".to_owned(),
            (Known::Value(_), TargetKind::Count) => "1".to_owned(),
            (Known::Value(value), TargetKind::Include) => value,
        };
        Some(self.compare(operator, &value)? != operator.negated)
    }

    /// The arguments of a rule that refer to nothing but known variables.
    fn arguments(&self, rule: &Draft) -> Vec<(usize, String)> {
        let operators = rule.links.iter().enumerate().filter_map(|(link, of)| Some((link, of.operator.as_ref()?)));
        let referring = operators.filter(|(_, operator)| operator.argument.plain().is_none());
        referring.filter_map(|(link, operator)| Some((link, self.text(&operator.argument)?))).collect()
    }

    fn compare(&self, operator: &Operator, value: &str) -> Option<bool> {
        let argument = self.text(&operator.argument)?;
        let (left, right) = (number(value.as_bytes()), number(argument.as_bytes()));
        match operator.kind {
            OperatorKind::Eq => Some(left == right),
            OperatorKind::Ge => Some(left >= right),
            OperatorKind::Gt => Some(left > right),
            OperatorKind::Le => Some(left <= right),
            OperatorKind::Lt => Some(left < right),
            OperatorKind::UnconditionalMatch => Some(true),
            _ => None,
        }
    }

    fn text(&self, text: &Text) -> Option<String> {
        let mut whole = String::new();
        for piece in &text.pieces {
            match piece {
                Piece::Plain(plain) => whole.push_str(plain),
                Piece::Reference(Variable::Tx, Some(name)) => match self.get(name) {
                    Known::Value(value) => whole.push_str(&value),
                    Known::Unset => {}
                    Known::Anything => return None,
                },
                Piece::Reference(..) => return None,
            }
        }
        Some(whole)
    }

    /// The rule certainly matches, once.
    fn apply(&mut self, rule: &Draft) {
        for set in changes(rule) {
            let Some(name) = set.name.plain() else { continue };
            let before = self.get(name);
            let known = match &set.change {
                Change::Unset => Known::Unset,
                Change::Set(text) => self.text(text).map_or(Known::Anything, Known::Value),
                Change::Add(text) => self.sum(&before, text, 1),
                Change::Subtract(text) => self.sum(&before, text, -1),
            };
            self.values.insert(name.to_ascii_lowercase(), known);
        }
    }

    fn sum(&self, before: &Known, text: &Text, sign: i64) -> Known {
        let before = match before {
            Known::Value(value) => number(value.as_bytes()),
            Known::Unset => 0,
            Known::Anything => return Known::Anything,
        };
        match self.text(text) {
            Some(text) => Known::Value(before.saturating_add(number(text.as_bytes()).saturating_mul(sign)).to_string()),
            None => Known::Anything,
        }
    }

    /// The rule may match.
    fn blur(&mut self, rule: &Draft) {
        for set in changes(rule) {
            if let Some(name) = set.name.plain() {
                self.values.insert(name.to_ascii_lowercase(), Known::Anything);
            }
        }
    }
}

fn changes(rule: &Draft) -> impl Iterator<Item = &ast::SetVariable> {
    let actions = rule.defaults.iter().chain(rule.links.iter().flat_map(|link| &link.actions));
    actions.filter_map(|action| match &action.kind {
        ActionKind::SetVariable(set) => Some(set),
        _ => None,
    })
}

/// Whether a link does something as soon as it matches itself.
fn leaves_something(link: &DraftLink) -> bool {
    link.actions.iter().any(|action| {
        matches!(
            action.kind,
            ActionKind::SetVariable(_) | ActionKind::SetKept(..) | ActionKind::Control(_) | ActionKind::Capture
        )
    })
}

fn has_transformations(rule: &Draft, link: &DraftLink) -> bool {
    let actions = rule.defaults.iter().chain(&link.actions);
    let mut any = false;
    for action in actions {
        match action.kind {
            ActionKind::Transform(_) => any = true,
            ActionKind::TransformNone => any = false,
            _ => {}
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::super::draft::draft;
    use super::constants;
    use crate::seclang::{files::Memory, parse_text};

    fn dead(text: &str) -> Vec<u32> {
        let (program, _) = parse_text(&Memory::default(), "test.conf", text).unwrap();
        let mut drafts = draft(&program);
        drafts.rules.sort_by_key(|rule| (rule.phase, rule.order));
        let known = constants(&drafts, &[("level".to_owned(), 1)]);
        drafts.rules.iter().zip(known.dead).filter(|(_, dead)| *dead).map(|(rule, _)| rule.id).collect()
    }

    const BLOCK: &str = "SecRule TX:LEVEL \"@lt 2\" \"id:10,phase:2,pass,nolog,skipAfter:END\"
SecAction \"id:11,phase:2,pass\"
SecAction \"id:12,phase:1,pass\"
SecMarker END
SecAction \"id:13,phase:2,pass\"\n";

    #[test]
    fn what_is_always_jumped_over_is_dead_in_its_phase() {
        assert_eq!(dead(BLOCK), [10, 11]);
        assert_eq!(dead(&BLOCK.replace("nolog", "log")), [11]);
        assert_eq!(dead(&BLOCK.replace("@lt 2", "@lt 1")), [10]);
    }

    #[test]
    fn a_level_that_a_request_can_change_kills_nothing() {
        for first in [
            "SecRule ARGS \"@rx x\" \"id:1,phase:1,pass,setvar:tx.level=2\"\n",
            "SecRule ARGS \"@rx x\" \"id:1,phase:1,pass,setvar:'tx.lev%{ARGS.a}=2'\"\n",
            "SecAction \"id:1,phase:1,pass,setvar:tx.level=2\"\n",
            "SecAction \"id:1,phase:1,pass,setvar:tx.level=+1\"\n",
            "SecAction \"id:1,phase:1,pass,setvar:tx.level=%{ARGS.a}\"\n",
        ] {
            assert!(!dead(&format!("{first}{BLOCK}")).contains(&11), "{first}");
        }
    }

    #[test]
    fn defaults_behind_a_known_level_change_nothing() {
        let first = "SecRule &TX:level \"@eq 0\" \"id:1,phase:1,pass,setvar:tx.level=4\"\n";
        assert_eq!(dead(&format!("{first}{BLOCK}")), [1, 10, 11]);
        let copied = "SecAction \"id:1,phase:1,pass,setvar:tx.level=%{tx.level}\"\n";
        assert_eq!(dead(&format!("{copied}{BLOCK}")), [10, 11]);
    }

    #[test]
    fn a_jump_that_may_be_jumped_over_is_not_certain() {
        let around = format!("SecRule ARGS \"@rx x\" \"id:1,phase:2,pass,skipAfter:BEHIND\"\n{BLOCK}");
        let text = around.replace("SecAction \"id:11", "SecMarker BEHIND\nSecAction \"id:11");
        assert_eq!(dead(&text), [0; 0]);
        let inside = format!("SecRule ARGS \"@rx x\" \"id:1,phase:2,allow\"\n{BLOCK}");
        assert_eq!(dead(&inside), [10, 11]);
    }

    #[test]
    fn a_chain_jumps_for_certain_when_all_its_links_match() {
        let chain = |link: &str| BLOCK.replace("skipAfter:END\"", &format!("skipAfter:END,chain\"\n{link}"));
        assert_eq!(dead(&chain("SecRule ARGS \"@rx x\"")), [0; 0]);
        assert_eq!(dead(&chain("SecRule &TX:other \"@eq 0\"")), [10, 11]);
        assert_eq!(dead(&chain("SecRule TX:other \"@eq 1\"")), [10]);
        assert_eq!(dead(&chain("SecRule &TX:other \"@eq 0\" \"setvar:tx.level=2\"")), [0; 0]);
    }

    #[test]
    fn what_operators_refer_to_is_known_where_requests_do_not_set_it() {
        let known = |first: &str| {
            let text = format!("{first}\nSecRule TX:1 \"@rx ^%{{tx.types}}$\" \"id:2,phase:2,deny\"");
            let (program, _) = parse_text(&Memory::default(), "test.conf", &text).unwrap();
            let mut drafts = draft(&program);
            drafts.rules.sort_by_key(|rule| (rule.phase, rule.order));
            constants(&drafts, &[]).arguments
        };
        let set = "SecRule &TX:types \"@eq 0\" \"id:1,phase:1,pass,setvar:'tx.types=a|b'\"";
        assert_eq!(known(set), [(1, 0, "^a|b$".to_owned())]);
        assert_eq!(known(&set.replace("a|b", "%{ARGS.a}")), []);
        assert_eq!(known(&set.replace("&TX:types \"@eq 0", "ARGS \"@rx x")), []);
    }
}
