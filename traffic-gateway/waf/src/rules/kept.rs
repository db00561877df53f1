//! Rules that need what this engine does not have: collections that are kept from one transaction to the next (`IP`,
//! `SESSION`, …) and services that are asked while a request waits (`@geoLookup`, `@rbl`).
//!
//! The Core Rule Set 3 has such rules, all of them behind switches that are off. A rule that can never run with the settings
//! in force needs nothing. One that can is an error, with its place: it would otherwise do nothing, silently. The collections
//! are always empty, so these remain, and have nothing to do: a rule that reads what only rules that never run write, and one
//! that writes what only rules that never run read.

use std::collections::HashMap;

use crate::seclang::ast::{
    Action, ActionKind, Change, OperatorKind, Piece, Position, Selector, TargetKind, Text, Variable,
};
use crate::seclang::names::{NO_LOOKUP, PERSISTENT};

use super::CompileError;
use super::draft::{Draft, Drafts};

/// A member of a collection; any of them without a name.
type Member = (Variable, Option<String>);

/// Who reads or writes a member.
#[derive(Debug, Default)]
struct Users {
    read: bool,
    written: bool,
    read_by_live: bool,
    written_by_live: bool,
}

/// What rules that can run need and do not get.
pub(super) fn missing(drafts: &Drafts, dead: &[bool]) -> Vec<CompileError> {
    let is_live = |number: usize| !dead.get(number).copied().unwrap_or(false);
    let mut errors = Vec::new();
    let mut users: HashMap<Member, Users> = HashMap::new();
    let mut uses = Vec::new();
    for (number, rule) in drafts.rules.iter().enumerate() {
        let live = is_live(number);
        if live {
            errors.extend(lookup_in(rule));
        }
        for (position, member, way) in uses_in(rule) {
            let known = users.entry(member.clone()).or_default();
            match way {
                Way::Reads => {
                    known.read = true;
                    known.read_by_live |= live;
                }
                Way::Writes => {
                    known.written = true;
                    known.written_by_live |= live;
                }
            }
            if live {
                uses.push((position, member, way));
            }
        }
    }
    for (position, member, way) in uses {
        let Some(known) = users.get(&member) else { continue };
        let is_idle = match way {
            Way::Reads => known.written && !known.written_by_live,
            Way::Writes => known.read && !known.read_by_live,
        };
        if !is_idle {
            let text = format!("collection {} is not supported: {PERSISTENT}", member.0.name());
            errors.push(CompileError { position, text });
        }
    }
    errors.sort_by_key(|error| error.position);
    errors.dedup();
    errors
}

/// What a rule asks others for.
fn lookup_in(rule: &Draft) -> Option<CompileError> {
    let error = |position, what: &str| {
        let text = format!("{what} is not supported in a rule that can run: {NO_LOOKUP}");
        CompileError { position, text }
    };
    rule.links.iter().find_map(|link| {
        let operator = link.operator.as_ref()?;
        match operator.kind {
            OperatorKind::GeoLookup | OperatorKind::Rbl => {
                Some(error(operator.position, &format!("operator {}", operator.kind.name())))
            }
            _ => {
                let geo = link.targets.iter().find(|target| target.variable == Variable::Geo)?;
                Some(error(geo.position, "variable GEO"))
            }
        }
    })
}

/// What a rule does with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Reads,
    Writes,
}

fn uses_in(rule: &Draft) -> Vec<(Position, Member, Way)> {
    let mut uses = Vec::new();
    for link in &rule.links {
        for target in &link.targets {
            if target.variable.is_kept() && target.kind != TargetKind::Exclude {
                let name = match &target.selector {
                    Some(Selector::Name(name)) => Some(name.to_ascii_lowercase()),
                    _ => None,
                };
                uses.push((target.position, (target.variable, name), Way::Reads));
            }
        }
        if let Some(operator) = &link.operator {
            references(&operator.argument, operator.position, &mut uses);
        }
        for action in rule.defaults.iter().chain(&link.actions) {
            uses_of(action, &mut uses);
        }
    }
    uses
}

fn uses_of(action: &Action, uses: &mut Vec<(Position, Member, Way)>) {
    let position = action.position;
    match &action.kind {
        ActionKind::SetKept(collection, set) => {
            let name = set.name.plain().map(str::to_owned);
            uses.push((position, (*collection, name), Way::Writes));
        }
        ActionKind::SetVariable(_) | ActionKind::ExpireKept(..) => {}
        ActionKind::Message(text) | ActionKind::LogData(text) | ActionKind::Tag(text) | ActionKind::Redirect(text) => {
            references(text, position, uses);
        }
        _ => {}
    }
    if let ActionKind::SetKept(_, set) | ActionKind::SetVariable(set) = &action.kind {
        references(&set.name, position, uses);
        match &set.change {
            Change::Set(text) | Change::Add(text) | Change::Subtract(text) => references(text, position, uses),
            Change::Unset => {}
        }
    }
}

fn references(text: &Text, position: Position, uses: &mut Vec<(Position, Member, Way)>) {
    for piece in &text.pieces {
        if let Piece::Reference(variable, member) = piece
            && variable.is_kept()
        {
            let name = member.as_ref().map(|name| name.to_ascii_lowercase());
            uses.push((position, (*variable, name), Way::Reads));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::{Options, RuleSet};
    use crate::seclang::{files::Memory, parse_text};

    /// What is wrong, as `line: beginning of the text`.
    fn wrong(text: &str) -> Vec<String> {
        let (program, _) = parse_text(&Memory::default(), "test.conf", text).unwrap();
        let compiled = RuleSet::compile(&program, &mut |_| Err(String::new()), &Options::default());
        let begins = |text: &str| text.split(" is not").next().unwrap_or_default().to_owned();
        compiled
            .err()
            .unwrap_or_default()
            .iter()
            .map(|error| format!("{}: {}", error.position.line, begins(&error.text)))
            .collect()
    }

    /// What a set of rules 3 has: a switch, a rule that counts and one that looks, both behind it.
    fn switched(value: &str) -> String {
        format!(
            "SecAction \"id:1,phase:1,pass,nolog,setvar:tx.switch={value}\"
SecRule TX:switch \"@eq 1\" \"id:2,phase:2,deny,logdata:'%{{ip.reason}}',chain\"
SecRule IP:FLAG \"@eq 1\"
SecRule ARGS \"@rx x\" \"id:3,phase:2,pass,setvar:ip.flag=1,setvar:'ip.reason=%{{rule.id}}',expirevar:ip.flag=60\"
SecRule IP:flag \"@eq 1\" \"id:4,phase:2,deny,chain\"
SecRule TX:switch \"@eq 1\""
        )
    }

    #[test]
    fn rules_that_never_run_need_nothing() {
        assert_eq!(wrong(&switched("0")), [""; 0]);
    }

    #[test]
    fn what_a_rule_that_can_run_needs_is_an_error_with_its_place() {
        let kept = [2, 3, 4, 4, 5].map(|line| format!("{line}: collection IP"));
        assert_eq!(wrong(&switched("1")), kept);
        let by_request = switched("0").replace("phase:1,pass,nolog,", "phase:1,pass,nolog,setvar:tx.switch=%{ARGS.a},");
        assert_eq!(wrong(&by_request).len(), 0, "what is set last counts");
        let by_request = switched("%{ARGS.a}");
        assert_eq!(wrong(&by_request), kept);
    }

    #[test]
    fn counting_without_anybody_who_looks_is_an_error_and_the_reverse() {
        assert_eq!(wrong("SecAction \"id:1,phase:1,pass,setvar:session.count=+1\""), ["1: collection SESSION"]);
        assert_eq!(wrong("SecRule &USER:seen \"@eq 0\" \"id:1,phase:1,deny\""), ["1: collection USER"]);
        assert_eq!(wrong("SecRule ARGS \"@rx x\" \"id:1,phase:1,deny,msg:'%{global.x}'\""), ["1: collection GLOBAL"]);
        assert_eq!(wrong("SecAction \"id:1,phase:1,pass,initcol:ip=%{REMOTE_ADDR}\""), [""; 0]);
    }

    #[test]
    fn nobody_is_asked_while_a_request_waits() {
        let rbl = "SecRule REMOTE_ADDR \"@rbl x.example\" \"id:1,phase:1,deny\"";
        assert_eq!(wrong(rbl), ["1: operator rbl"]);
        let geo = "SecRule GEO:COUNTRY_CODE \"@streq XX\" \"id:1,phase:1,deny\"";
        assert_eq!(wrong(geo), ["1: variable GEO"]);
        let behind =
            format!("SecRule &TX:on \"@eq 0\" \"id:2,phase:1,pass,nolog,skipAfter:END\"\n{rbl}\nSecMarker END");
        assert_eq!(wrong(&behind), [""; 0]);
        let chained = behind.replace("skipAfter:END\"", "skipAfter:END,chain\"\nSecRule &TX:too \"@eq 0\"");
        assert_eq!(wrong(&chained), [""; 0]);
    }
}
