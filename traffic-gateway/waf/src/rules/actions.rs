//! Actions as written become what a match does.

use crate::seclang::ast::{self, Action, ActionKind, Selection, Text, Toggle};
use crate::transform::Transformation;

use super::draft::Draft;
use super::names::{Names, TxId};
use super::rule::{Change, Disruption, NumberSource, SetVariable, TxName, Value};
use super::selection::as_written;
use super::template::{Template, number, write_number};

/// What the head of a chain says about the whole rule.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) message: Option<Template>,
    pub(super) data: Option<Template>,
    pub(super) tags: Vec<Template>,
    pub(super) severity: Option<u8>,
    pub(super) version: Option<Box<str>>,
    pub(super) revision: Option<Box<str>>,
    pub(super) disruption: Option<Disruption>,
    pub(super) status: Option<u16>,
    pub(super) skip: Option<u32>,
    pub(super) skip_after: Option<(ast::Position, String)>,
    pub(super) log: Option<bool>,
    pub(super) audit: Option<bool>,
    pub(super) paranoia: u8,
}

/// What one link says.
#[derive(Debug, Default)]
pub(super) struct LinkSaid {
    pub(super) transformations: Vec<Transformation>,
    pub(super) multi_match: bool,
    pub(super) capture: bool,
    pub(super) changes: Vec<SetVariable>,
    /// Controls whose rules have no numbers yet.
    pub(super) controls: Vec<(ast::Position, ast::Control)>,
}

/// Names and constants of the rule set that actions add to.
pub(super) struct Vocabulary<'a> {
    pub(super) tx: &'a mut Names,
    pub(super) constants: &'a mut Vec<Box<[u8]>>,
}

impl Vocabulary<'_> {
    /// The actions of the whole rule: defaults, then those of the head; later links may add log data.
    pub(super) fn said(&mut self, draft: &Draft) -> Said {
        let mut said = Said::default();
        let default = disruption_of(&draft.defaults, self.tx, None);
        for action in &draft.defaults {
            self.hear(&mut said, action);
        }
        let Some((head, links)) = draft.links.split_first() else { return said };
        for action in &head.actions {
            self.hear(&mut said, action);
        }
        said.disruption = disruption_of(&head.actions, self.tx, default.as_ref()).or(default);
        for action in links.iter().flat_map(|link| &link.actions) {
            match &action.kind {
                ActionKind::LogData(text) => said.data = Some(Template::new(text, self.tx)),
                ActionKind::Message(text) if said.message.is_none() => {
                    said.message = Some(Template::new(text, self.tx));
                }
                ActionKind::Severity(severity) => said.severity = Some(*severity),
                _ => {}
            }
        }
        said
    }

    fn hear(&mut self, said: &mut Said, action: &Action) {
        match &action.kind {
            ActionKind::Message(text) => said.message = Some(Template::new(text, self.tx)),
            ActionKind::LogData(text) => said.data = Some(Template::new(text, self.tx)),
            ActionKind::Tag(text) => {
                said.paranoia = paranoia_of(text).unwrap_or(said.paranoia);
                said.tags.push(Template::new(text, self.tx));
            }
            ActionKind::Severity(severity) => said.severity = Some(*severity),
            ActionKind::Revision(text) => said.revision = Some(text.as_str().into()),
            ActionKind::Version(text) => said.version = Some(text.as_str().into()),
            ActionKind::Skip(count) => said.skip = Some(*count),
            ActionKind::SkipAfter(name) => said.skip_after = Some((action.position, name.clone())),
            ActionKind::Status(status) => said.status = Some(*status),
            ActionKind::Log(toggle) => {
                said.log = Some(*toggle == Toggle::On);
                said.audit = Some(*toggle == Toggle::On);
            }
            ActionKind::AuditLog(toggle) => said.audit = Some(*toggle == Toggle::On),
            _ => {}
        }
    }

    /// The actions of one link, the transformations of the defaults first.
    pub(super) fn link_said(&mut self, defaults: &[Action], actions: &[Action]) -> LinkSaid {
        let mut said = LinkSaid::default();
        for action in defaults.iter().chain(actions) {
            match &action.kind {
                ActionKind::Transform(transformation) => said.transformations.push(*transformation),
                ActionKind::TransformNone => said.transformations.clear(),
                ActionKind::MultiMatch => said.multi_match = true,
                ActionKind::Capture => said.capture = true,
                ActionKind::SetVariable(change) => {
                    let change = self.change(change);
                    said.changes.push(change);
                }
                ActionKind::Control(control) => said.controls.push((action.position, control.clone())),
                _ => {}
            }
        }
        said
    }

    fn change(&mut self, set: &ast::SetVariable) -> SetVariable {
        let score = as_written(&set.name).to_ascii_lowercase().contains("anomaly_score");
        let name = match set.name.plain() {
            Some(name) => TxName::Fixed(TxId(self.tx.add(name))),
            None => TxName::Template(Template::new(&set.name, self.tx)),
        };
        let change = match &set.change {
            ast::Change::Unset => Change::Unset,
            ast::Change::Set(text) => Change::Set(self.value(text)),
            ast::Change::Add(text) => Change::Add(number_source(text, self.tx)),
            ast::Change::Subtract(text) => Change::Subtract(number_source(text, self.tx)),
        };
        SetVariable { name, change, score }
    }

    fn value(&mut self, text: &Text) -> Value {
        let template = Template::new(text, self.tx);
        let Some(plain) = template.plain() else {
            return match template.pieces.as_slice() {
                [super::template::Part::Tx(id)] => Value::Tx(*id),
                _ => Value::Template(template),
            };
        };
        let value = number(plain);
        let mut canonical = Vec::new();
        write_number(&mut canonical, value);
        if canonical == plain {
            return Value::Number(value);
        }
        self.constants.push(plain.into());
        Value::Constant(u32::try_from(self.constants.len() - 1).unwrap_or(u32::MAX))
    }
}

/// A text that is read as a number.
pub(super) fn number_source(text: &Text, tx: &mut Names) -> NumberSource {
    let template = Template::new(text, tx);
    match (template.plain(), template.pieces.as_slice()) {
        (Some(plain), _) => NumberSource::Constant(number(plain)),
        (None, [super::template::Part::Tx(id)]) => NumberSource::Tx(*id),
        _ => NumberSource::Template(template),
    }
}

/// The last action that decides; `block` decides as the defaults do, and passes without them.
fn disruption_of(actions: &[Action], tx: &mut Names, default: Option<&Disruption>) -> Option<Disruption> {
    actions.iter().rev().find_map(|action| match &action.kind {
        ActionKind::Pass => Some(Disruption::Pass),
        ActionKind::Deny => Some(Disruption::Deny),
        ActionKind::Drop => Some(Disruption::Drop),
        ActionKind::Block => Some(default.cloned().unwrap_or(Disruption::Pass)),
        ActionKind::Redirect(text) => Some(Disruption::Redirect(Template::new(text, tx))),
        ActionKind::Allow(scope) => Some(Disruption::Allow(*scope)),
        _ => None,
    })
}

/// The level in a tag such as `paranoia-level/2`.
fn paranoia_of(tag: &Text) -> Option<u8> {
    tag.plain()?.strip_prefix("paranoia-level/")?.parse().ok()
}

/// Whether a control names rules.
pub(super) const fn selection_of(control: &ast::Control) -> Option<&Selection> {
    match control {
        ast::Control::Remove(selection) | ast::Control::RemoveTarget(selection, _) => Some(selection),
        _ => None,
    }
}
