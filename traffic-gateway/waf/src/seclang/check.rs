//! What can be checked with nothing but the directives: ids, chains, actions that exclude each other, markers.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};

use super::ast::{Action, ActionKind, Directive, DirectiveKind, Position, Rule, TargetKind};
use super::diagnostic::Report;

/// A directive that was read, or the place of one that could not be.
pub(super) struct Entry {
    pub(super) directive: Option<Directive>,
    /// Whether nothing in it was wrong, so that what is missing is really missing.
    pub(super) sound: bool,
}

/// Checks all directives together.
pub(super) fn check(entries: &[Entry], report: &mut Report) {
    let mut checker = Checker { report, ids: HashMap::new(), defaults: [None; 6], chain: Chain::Closed };
    let markers = markers(entries);
    for (index, entry) in entries.iter().enumerate() {
        if checker.report.is_full() {
            return;
        }
        checker.entry(index, entry, &markers);
    }
    checker.close_chain();
}

/// Where each marker stands last.
fn markers(entries: &[Entry]) -> HashMap<&str, usize> {
    let named = entries.iter().enumerate().filter_map(|(index, entry)| match &entry.directive.as_ref()?.kind {
        DirectiveKind::Marker(name) => Some((name.as_str(), index)),
        _ => None,
    });
    named.collect()
}

/// What the next directive has to be.
enum Chain {
    /// Anything.
    Closed,
    /// A link of a chain; where the chain says so.
    Open(Position),
    /// A broken directive stands before, so nobody knows.
    Unknown,
}

struct Checker<'r> {
    report: &'r mut Report,
    ids: HashMap<u32, Position>,
    /// Where `SecDefaultAction` stands, by phase.
    defaults: [Option<Position>; 6],
    chain: Chain,
}

impl Checker<'_> {
    fn entry(&mut self, index: usize, entry: &Entry, markers: &HashMap<&str, usize>) {
        let Some(directive) = &entry.directive else {
            self.chain = Chain::Unknown;
            return;
        };
        let (rule, actions) = match &directive.kind {
            DirectiveKind::Rule(rule) => (Some(rule), rule.actions.as_slice()),
            DirectiveKind::Action(actions) => (None, actions.as_slice()),
            other => {
                self.close_chain();
                if entry.sound {
                    self.other(directive.position, other);
                }
                return;
            }
        };
        let place = std::mem::replace(&mut self.chain, Chain::Closed);
        let chain = actions.iter().find(|action| action.kind == ActionKind::Chain);
        self.chain = match chain {
            Some(action) => Chain::Open(action.position),
            None if entry.sound => Chain::Closed,
            None => Chain::Unknown,
        };
        if !entry.sound {
            return;
        }
        if let Some(rule) = rule {
            self.targets(rule);
        }
        self.combinations(actions);
        self.skips(index, actions, markers);
        match place {
            Chain::Closed => self.first(directive.position, actions),
            Chain::Open(_) => self.link(actions),
            Chain::Unknown => {}
        }
    }

    fn close_chain(&mut self) {
        if let Chain::Open(position) = std::mem::replace(&mut self.chain, Chain::Closed) {
            self.report.invalid(position, "a chain needs another rule right behind this one; write it or remove chain");
        }
    }

    fn targets(&mut self, rule: &Rule) {
        if rule.targets.iter().all(|target| target.kind == TargetKind::Exclude)
            && let Some(first) = rule.targets.first()
        {
            self.report.invalid(first.position, "all targets are taken away; name what the rule looks at, too");
        }
    }

    /// A rule that stands alone or begins a chain.
    fn first(&mut self, position: Position, actions: &[Action]) {
        let id = actions.iter().find_map(|action| match action.kind {
            ActionKind::Id(id) => Some((id, action.position)),
            _ => None,
        });
        let Some((id, place)) = id else {
            return self.report.invalid(position, "a rule needs an id; add id:… to its actions");
        };
        if let Some(taken) = self.ids.insert(id, place) {
            let file = self.report.file(taken);
            self.report.invalid(place, format!("id {id} is taken by the rule at {file}:{}", taken.line));
            self.ids.insert(id, taken);
        }
    }

    /// A further rule of a chain.
    fn link(&mut self, actions: &[Action]) {
        for action in actions {
            let name = match &action.kind {
                ActionKind::Id(_) => "id",
                ActionKind::Phase(_) => "phase",
                ActionKind::Skip(_) => "skip",
                ActionKind::SkipAfter(_) => "skipAfter",
                ActionKind::Status(_) => "status",
                kind => match disruptive(kind) {
                    Some(name) => name,
                    None => continue,
                },
            };
            self.report.invalid(action.position, format!("{name} belongs to the first rule of a chain; move it there"));
        }
    }

    /// Actions given twice, and actions that exclude each other.
    fn combinations(&mut self, actions: &[Action]) {
        let mut seen: Vec<Discriminant<ActionKind>> = Vec::new();
        let mut before: Option<&str> = None;
        for action in actions {
            if let Some(name) = disruptive(&action.kind) {
                if let Some(before) = before {
                    let message = format!("{name} behind {before}: a rule takes one of these; remove the other");
                    self.report.invalid(action.position, message);
                }
                before = Some(name);
            } else if let Some(name) = single(&action.kind) {
                let kind = discriminant(&action.kind);
                if seen.contains(&kind) {
                    self.report.invalid(action.position, format!("{name} is given twice; remove one"));
                }
                seen.push(kind);
            }
        }
    }

    fn skips(&mut self, index: usize, actions: &[Action], markers: &HashMap<&str, usize>) {
        for action in actions {
            if let ActionKind::SkipAfter(marker) = &action.kind
                && markers.get(marker.as_str()).is_none_or(|place| *place < index)
            {
                let message = format!("no SecMarker {marker} stands behind this rule; add it where the rules go on");
                self.report.invalid(action.position, message);
            }
        }
    }

    fn other(&mut self, position: Position, kind: &DirectiveKind) {
        match kind {
            DirectiveKind::DefaultAction(actions) => self.default_action(position, actions),
            DirectiveKind::UpdateAction(_, actions) => {
                self.combinations(actions);
                for action in actions {
                    if let ActionKind::Id(_) | ActionKind::Phase(_) | ActionKind::Chain = action.kind {
                        let message =
                            "id, phase and chain of a rule cannot be changed; remove the rule and write a new one";
                        self.report.invalid(action.position, message);
                    }
                }
            }
            _ => {}
        }
    }

    fn default_action(&mut self, position: Position, actions: &[Action]) {
        self.combinations(actions);
        let mut phase = None;
        let mut decides = false;
        for action in actions {
            match &action.kind {
                ActionKind::Phase(number) => phase = Some(usize::from(*number)),
                ActionKind::Log(_) | ActionKind::AuditLog(_) | ActionKind::Status(_) | ActionKind::Tag(_) => {}
                ActionKind::Block => {
                    self.report.invalid(
                        action.position,
                        "block means what SecDefaultAction says; write deny, drop or pass here",
                    );
                    decides = true;
                }
                kind if disruptive(kind).is_some() => decides = true,
                _ => {
                    let message = "SecDefaultAction holds a phase, what to do, status, tag, log and auditlog; move this into rules";
                    self.report.invalid(action.position, message);
                }
            }
        }
        if !decides {
            self.report.invalid(position, "SecDefaultAction needs pass, deny, drop, redirect or allow");
        }
        let Some(phase) = phase else {
            return self.report.invalid(position, "SecDefaultAction needs a phase");
        };
        let Some(slot) = self.defaults.get_mut(phase) else { return };
        if let Some(taken) = *slot {
            let file = self.report.file(taken);
            let message = format!("the default of phase {phase} is given at {file}:{} already; remove one", taken.line);
            self.report.invalid(position, message);
        }
        *slot = Some(position);
    }
}

/// The name of an action that decides what happens to the request.
fn disruptive(kind: &ActionKind) -> Option<&'static str> {
    Some(match kind {
        ActionKind::Pass => "pass",
        ActionKind::Deny => "deny",
        ActionKind::Drop => "drop",
        ActionKind::Block => "block",
        ActionKind::Redirect(_) => "redirect",
        ActionKind::Allow(_) => "allow",
        _ => return None,
    })
}

/// The name of an action that makes sense once.
fn single(kind: &ActionKind) -> Option<&'static str> {
    Some(match kind {
        ActionKind::Id(_) => "id",
        ActionKind::Phase(_) => "phase",
        ActionKind::Message(_) => "msg",
        ActionKind::LogData(_) => "logdata",
        ActionKind::Severity(_) => "severity",
        ActionKind::Revision(_) => "rev",
        ActionKind::Version(_) => "ver",
        ActionKind::Maturity(_) => "maturity",
        ActionKind::Accuracy(_) => "accuracy",
        ActionKind::MultiMatch => "multiMatch",
        ActionKind::Capture => "capture",
        ActionKind::Chain => "chain",
        ActionKind::Skip(_) => "skip",
        ActionKind::SkipAfter(_) => "skipAfter",
        ActionKind::Status(_) => "status",
        ActionKind::Log(_) => "log or nolog",
        ActionKind::AuditLog(_) => "auditlog or noauditlog",
        _ => return None,
    })
}
