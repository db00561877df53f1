//! Actions: `name[:value]`, separated by commas, values in single quotes where they hold commas.

use std::borrow::Cow;

use super::ast::{Action, ActionKind, AllowScope, Control, Text, Toggle};
use super::diagnostic::{Problem, Report, shown};
use super::words::{Word, closing, is_blank, unescape};
use super::{control, names, set_variable, text};
use crate::transform::Transformation;

/// All actions that can be written.
pub(super) const ACTIONS: &[&str] = &[
    "id",
    "phase",
    "msg",
    "logdata",
    "tag",
    "severity",
    "rev",
    "ver",
    "maturity",
    "accuracy",
    "t",
    "multiMatch",
    "capture",
    "chain",
    "skip",
    "skipAfter",
    "pass",
    "deny",
    "drop",
    "block",
    "redirect",
    "allow",
    "status",
    "log",
    "nolog",
    "auditlog",
    "noauditlog",
    "setvar",
    "expirevar",
    "ctl",
    "initcol",
];

/// The levels of `severity`, from 0.
pub(super) const SEVERITIES: [&str; 8] =
    ["EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"];

/// Persistent collections that rules of the field open. Opening one does nothing: rules that need what is in it do not load.
const COLLECTIONS: [&str; 5] = ["global", "ip", "resource", "session", "user"];

/// Reads a list of actions. Wrong ones are reported and left out.
pub(super) fn parse(word: &Word<'_>, report: &mut Report) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut reader = Reader { list: &word.text, at: 0 };
    loop {
        reader.skip_blanks();
        let position = word.position(reader.at);
        match reader.item() {
            Ok(item) if item.name.eq_ignore_ascii_case("initcol") => match collection(item.value.as_deref()) {
                Ok(_) => {}
                Err(problem) => report.error(position, problem),
            },
            Ok(item) => match kind(item.name, item.value.as_deref()) {
                Ok(mut kind) => {
                    if let ActionKind::Control(Control::RemoveTarget(_, target)) = &mut kind {
                        target.position = position;
                    }
                    actions.push(Action { position, kind });
                }
                Err(problem) => report.error(position, problem),
            },
            Err((at, message)) => {
                report.invalid(word.position(at), message);
                return actions;
            }
        }
        if report.is_full() || !reader.skip_comma() {
            return actions;
        }
    }
}

struct Item<'t> {
    name: &'t str,
    value: Option<Cow<'t, str>>,
}

struct Reader<'t> {
    list: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn bytes(&self) -> &'t [u8] {
        self.list.as_bytes()
    }

    fn peek(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    fn between(&self, start: usize, end: usize) -> &'t str {
        self.list.get(start..end).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.at += 1;
        }
    }

    fn skip_comma(&mut self) -> bool {
        let found = self.peek() == Some(b',');
        self.at += usize::from(found);
        found
    }

    /// Reads one action and stops at the comma behind it or at the end.
    fn item(&mut self) -> Result<Item<'t>, (usize, String)> {
        let start = self.at;
        while self.peek().is_some_and(|byte| !matches!(byte, b':' | b',')) {
            self.at += 1;
        }
        let name = self.between(start, self.at).trim_matches([' ', '\t']);
        if name.is_empty() {
            return Err((start, "an action is missing here; remove the comma".to_owned()));
        }
        if self.peek() != Some(b':') {
            return Ok(Item { name, value: None });
        }
        self.at += 1;
        self.skip_blanks();
        let value = if self.peek() == Some(b'\'') { self.quoted()? } else { Cow::Borrowed(self.bare()?) };
        Ok(Item { name, value: Some(value) })
    }

    fn quoted(&mut self) -> Result<Cow<'t, str>, (usize, String)> {
        let start = self.at;
        let Some(end) = closing(self.bytes(), start + 1, b'\'') else {
            return Err((start, "this ' is never closed; a quote inside is written \\'".to_owned()));
        };
        self.at = end + 1;
        self.skip_blanks();
        if !matches!(self.peek(), None | Some(b',')) {
            let message = format!(
                "{:?} behind a closing quote; separate actions with commas",
                shown(self.between(self.at, self.list.len()))
            );
            return Err((self.at, message));
        }
        Ok(unescape(self.between(start + 1, end), b'\'').0)
    }

    /// A bare value ends at a comma that is not between single quotes behind `=`, `;` or `:`.
    fn bare(&mut self) -> Result<&'t str, (usize, String)> {
        let start = self.at;
        let mut before = 0;
        while let Some(byte) = self.peek().filter(|byte| *byte != b',') {
            if byte == b'\'' && matches!(before, b'=' | b';' | b':') {
                let Some(end) = closing(self.bytes(), self.at + 1, b'\'') else {
                    return Err((self.at, "this ' is never closed".to_owned()));
                };
                self.at = end;
            }
            before = byte;
            self.at += 1;
        }
        Ok(self.between(start, self.at).trim_matches([' ', '\t']))
    }
}

fn collection(value: Option<&str>) -> Result<&'static str, Problem> {
    let name = value.unwrap_or_default().split('=').next().unwrap_or_default();
    COLLECTIONS
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(name))
        .ok_or_else(|| names::not_found("collection", name, COLLECTIONS.into_iter(), &[]))
}

/// The action of a name and a value.
fn kind(name: &str, value: Option<&str>) -> Result<ActionKind, Problem> {
    let Some(known) = ACTIONS.iter().find(|known| known.eq_ignore_ascii_case(name)).copied() else {
        return Err(names::not_found("action", name, ACTIONS.iter().copied(), names::ACTIONS));
    };
    match (alone(known), value) {
        (Some(kind), None) => Ok(kind),
        (Some(ActionKind::Allow(_)), Some(scope)) => allow(scope),
        (Some(_), Some(value)) => {
            Err(Problem::Invalid(format!("{known} takes no value; write {known} instead of {known}:{}", shown(value))))
        }
        (None, None | Some("")) => Err(Problem::Invalid(format!("{known} needs a value; write {known}:…"))),
        (None, Some(value)) => with_value(known, value),
    }
}

/// Actions that stand alone.
fn alone(name: &str) -> Option<ActionKind> {
    Some(match name {
        "multiMatch" => ActionKind::MultiMatch,
        "capture" => ActionKind::Capture,
        "chain" => ActionKind::Chain,
        "pass" => ActionKind::Pass,
        "deny" => ActionKind::Deny,
        "drop" => ActionKind::Drop,
        "block" => ActionKind::Block,
        "allow" => ActionKind::Allow(AllowScope::Transaction),
        "log" => ActionKind::Log(Toggle::On),
        "nolog" => ActionKind::Log(Toggle::Off),
        "auditlog" => ActionKind::AuditLog(Toggle::On),
        "noauditlog" => ActionKind::AuditLog(Toggle::Off),
        _ => return None,
    })
}

fn with_value(name: &'static str, value: &str) -> Result<ActionKind, Problem> {
    Ok(match name {
        "id" => ActionKind::Id(number(name, value, 1, u32::MAX)?),
        "phase" => ActionKind::Phase(phase(value)?),
        "msg" => ActionKind::Message(text::parse(value)?),
        "logdata" => ActionKind::LogData(text::parse(value)?),
        "tag" => ActionKind::Tag(text::parse(value)?),
        "severity" => ActionKind::Severity(severity(value)?),
        "rev" => ActionKind::Revision(value.to_owned()),
        "ver" => ActionKind::Version(value.to_owned()),
        "maturity" => ActionKind::Maturity(number(name, value, 1, 9)?),
        "accuracy" => ActionKind::Accuracy(number(name, value, 1, 9)?),
        "t" => transformation(value)?,
        "skip" => ActionKind::Skip(number(name, value, 1, u32::MAX)?),
        "skipAfter" => ActionKind::SkipAfter(plain(name, value)?),
        "redirect" => ActionKind::Redirect(text::parse(value)?),
        "status" => ActionKind::Status(number(name, value, 100, 599)?),
        "setvar" => set_variable::parse(value)?,
        "expirevar" => set_variable::expire(value)?,
        _ => ActionKind::Control(control::parse(value)?),
    })
}

fn plain(name: &str, value: &str) -> Result<String, Problem> {
    match text::parse(value)? {
        Text { pieces } if pieces.len() == 1 && !value.contains("%{") => Ok(value.to_owned()),
        _ => Err(Problem::Invalid(format!("{name} holds no references; write the name itself"))),
    }
}

/// Reads a whole number between two bounds, both allowed.
pub(super) fn number<N>(name: &str, value: &str, least: N, most: N) -> Result<N, Problem>
where
    N: Copy + std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let digits = value.trim_matches([' ', '\t']);
    let number = digits.parse::<N>().ok().filter(|number| (least..=most).contains(number));
    number
        .filter(|_| digits.starts_with(|first: char| first.is_ascii_digit()))
        .ok_or_else(|| Problem::Invalid(format!("{name} is a number from {least} to {most}, not {:?}", shown(value))))
}

fn phase(value: &str) -> Result<u8, Problem> {
    match value.trim_matches([' ', '\t']) {
        name if name.eq_ignore_ascii_case("request") => Ok(2),
        name if name.eq_ignore_ascii_case("response") => Ok(4),
        name if name.eq_ignore_ascii_case("logging") => Ok(5),
        digits => number("phase", digits, 1, 5).ok().ok_or_else(|| {
            let found = shown(value);
            Problem::Invalid(format!(
                "phase is a number from 1 to 5, request (2), response (4) or logging (5), not {found:?}"
            ))
        }),
    }
}

fn severity(value: &str) -> Result<u8, Problem> {
    let value = value.trim_matches([' ', '\t']);
    if value.starts_with(|first: char| first.is_ascii_digit()) {
        return number("severity", value, 0, 7);
    }
    let level = (0..).zip(SEVERITIES).find(|(_, name)| name.eq_ignore_ascii_case(value));
    level.map(|(level, _)| level).ok_or_else(|| names::not_found("severity", value, SEVERITIES.into_iter(), &[]))
}

fn transformation(value: &str) -> Result<ActionKind, Problem> {
    let name = value.trim_matches([' ', '\t']);
    if name.eq_ignore_ascii_case("none") {
        return Ok(ActionKind::TransformNone);
    }
    let known = Transformation::ALL.iter().map(|known| known.name()).chain(["none"]);
    Transformation::find(name)
        .map(ActionKind::Transform)
        .ok_or_else(|| names::not_found("transformation", name, known, &[]))
}

fn allow(scope: &str) -> Result<ActionKind, Problem> {
    match scope {
        scope if scope.eq_ignore_ascii_case("phase") => Ok(ActionKind::Allow(AllowScope::Phase)),
        scope if scope.eq_ignore_ascii_case("request") => Ok(ActionKind::Allow(AllowScope::Request)),
        other => Err(Problem::Invalid(format!(
            "allow stands alone or is allow:phase or allow:request, not {:?}",
            shown(other)
        ))),
    }
}
