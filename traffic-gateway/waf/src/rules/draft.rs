//! First pass: directives in the order of the files become rules with all their links, updates applied.

use std::collections::HashMap;

use crate::seclang::ast::{
    Action, ActionKind, DirectiveKind, Operator, Position, Program, Selection, Setting, Target, TargetKind,
};

use super::CompileError;
use super::selection::Selector;

/// A rule before it is compiled.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) position: Position,
    /// Place among all directives, which markers share.
    pub(super) order: usize,
    pub(super) id: u32,
    pub(super) phase: u8,
    /// What `SecDefaultAction` said for this phase where the rule stands.
    pub(super) defaults: Vec<Action>,
    /// The rule itself and the links of its chain. Never empty.
    pub(super) links: Vec<DraftLink>,
}

/// One `SecRule` or `SecAction`.
#[derive(Clone, Debug)]
pub(super) struct DraftLink {
    pub(super) position: Position,
    pub(super) targets: Vec<Target>,
    /// `None` for `SecAction`.
    pub(super) operator: Option<Operator>,
    pub(super) actions: Vec<Action>,
}

/// What the files say, sorted.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    pub(super) rules: Vec<Draft>,
    /// Markers with their place among all directives.
    pub(super) markers: Vec<(usize, String)>,
    pub(super) settings: Vec<Setting>,
    pub(super) signatures: Vec<String>,
    pub(super) errors: Vec<CompileError>,
}

/// An update that applies to rules before and behind it.
enum Update<'a> {
    Remove(&'a Selection),
    Targets(&'a Selection, &'a [Target]),
    Actions(u32, &'a [Action]),
}

/// Reads all directives.
pub(super) fn draft(program: &Program) -> Drafts {
    let mut drafts = Drafts::default();
    let mut defaults: HashMap<u8, &[Action]> = HashMap::new();
    let mut updates = Vec::new();
    let mut open: Option<Draft> = None;
    for (order, directive) in program.directives.iter().enumerate() {
        let position = directive.position;
        let link = match &directive.kind {
            DirectiveKind::Rule(rule) => Some(DraftLink {
                position,
                targets: rule.targets.clone(),
                operator: Some(rule.operator.clone()),
                actions: rule.actions.clone(),
            }),
            DirectiveKind::Action(actions) => {
                Some(DraftLink { position, targets: Vec::new(), operator: None, actions: actions.clone() })
            }
            _ => None,
        };
        if let Some(link) = link {
            open = drafts.add_link(open, link, order, &defaults);
            continue;
        }
        if let Some(unfinished) = open.take() {
            drafts.error(unfinished.position, "the chain has no next rule");
        }
        match &directive.kind {
            DirectiveKind::Marker(name) => drafts.markers.push((order, name.clone())),
            DirectiveKind::DefaultAction(actions) => {
                defaults.insert(phase_of(actions).unwrap_or(2), actions);
            }
            DirectiveKind::Remove(selection) => updates.push((position, Update::Remove(selection))),
            DirectiveKind::UpdateTarget(selection, targets) => {
                updates.push((position, Update::Targets(selection, targets)));
            }
            DirectiveKind::UpdateAction(id, actions) => updates.push((position, Update::Actions(*id, actions))),
            DirectiveKind::ComponentSignature(text) => drafts.signatures.push(text.clone()),
            DirectiveKind::Setting(setting) => drafts.settings.push(setting.clone()),
            _ => {}
        }
    }
    if let Some(unfinished) = open {
        drafts.error(unfinished.position, "the chain has no next rule");
    }
    for (position, update) in updates {
        drafts.update(position, &update);
    }
    drafts
}

impl Drafts {
    fn error(&mut self, position: Position, text: impl Into<String>) {
        self.errors.push(CompileError { position, text: text.into() });
    }

    /// Adds a link to the open chain or begins a rule with it; gives back the chain while it goes on.
    fn add_link(
        &mut self,
        open: Option<Draft>,
        link: DraftLink,
        order: usize,
        defaults: &HashMap<u8, &[Action]>,
    ) -> Option<Draft> {
        let goes_on = link.actions.iter().any(|action| action.kind == ActionKind::Chain);
        let mut draft = match open {
            Some(mut draft) => {
                draft.links.push(link);
                draft
            }
            None => {
                let phase = phase_of(&link.actions).unwrap_or(2);
                let id = link.actions.iter().rev().find_map(|action| match action.kind {
                    ActionKind::Id(id) => Some(id),
                    _ => None,
                });
                if id.is_none() {
                    self.error(link.position, "the rule has no id");
                }
                Draft {
                    position: link.position,
                    order,
                    id: id.unwrap_or(0),
                    phase,
                    defaults: defaults.get(&phase).map(|actions| actions.to_vec()).unwrap_or_default(),
                    links: vec![link],
                }
            }
        };
        if goes_on {
            return Some(draft);
        }
        draft.links.shrink_to_fit();
        self.check(&draft);
        self.rules.push(draft);
        None
    }

    /// What only the head of a chain may say.
    fn check(&mut self, draft: &Draft) {
        if !(1..=5).contains(&draft.phase) {
            self.error(draft.position, "phases are numbered from 1 to 5");
        }
        for link in draft.links.iter().skip(1) {
            for action in &link.actions {
                let text = match action.kind {
                    ActionKind::Id(_) => "only the first rule of a chain has an id",
                    ActionKind::Phase(_) => "the first rule of a chain says the phase",
                    ActionKind::Deny
                    | ActionKind::Drop
                    | ActionKind::Block
                    | ActionKind::Pass
                    | ActionKind::Redirect(_)
                    | ActionKind::Allow(_)
                    | ActionKind::Skip(_)
                    | ActionKind::SkipAfter(_) => "the first rule of a chain says what follows from a match",
                    _ => continue,
                };
                self.error(action.position, text);
            }
        }
    }

    fn update(&mut self, position: Position, update: &Update<'_>) {
        let selection = match update {
            Update::Remove(selection) | Update::Targets(selection, _) => (*selection).clone(),
            Update::Actions(id, _) => Selection::Ids(vec![*id..=*id]),
        };
        let selector = match Selector::new(&selection) {
            Ok(selector) => selector,
            Err(text) => return self.error(position, text),
        };
        match update {
            Update::Remove(_) => self.rules.retain(|rule| !selector.selects(rule)),
            Update::Targets(_, targets) => {
                let plain = targets.iter().any(|target| target.kind != TargetKind::Exclude);
                for rule in self.rules.iter_mut().filter(|rule| selector.selects(rule)) {
                    if let Some(head) = rule.links.first_mut() {
                        if plain && head.operator.is_none() {
                            continue;
                        }
                        head.targets.extend(targets.iter().cloned());
                    }
                }
            }
            Update::Actions(_, actions) => {
                if let Some(wrong) = actions
                    .iter()
                    .find(|action| matches!(action.kind, ActionKind::Id(_) | ActionKind::Phase(_) | ActionKind::Chain))
                {
                    return self.error(wrong.position, "id, phase and chain of a rule cannot be updated");
                }
                for rule in self.rules.iter_mut().filter(|rule| selector.selects(rule)) {
                    if let Some(head) = rule.links.first_mut() {
                        head.actions.extend(actions.iter().cloned());
                    }
                }
            }
        }
    }
}

fn phase_of(actions: &[Action]) -> Option<u8> {
    actions.iter().rev().find_map(|action| match action.kind {
        ActionKind::Phase(phase) => Some(phase),
        _ => None,
    })
}
