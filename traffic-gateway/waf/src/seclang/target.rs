//! Targets: `[!|&]VARIABLE[:selector]`, separated by `|`.

use std::ops::ControlFlow;

use super::ast::{Position, Selector, Target, TargetKind, Variable, XPath};
use super::diagnostic::{Problem, Report, shown};
use super::words::{closing, is_blank, unescape};
use super::{names, text};

/// Reads a list of targets; `position` says where a byte of it was written. Wrong ones are reported and left out.
pub(super) fn parse(list: &str, position: &dyn Fn(usize) -> Position, report: &mut Report) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut reader = Reader { list, at: 0 };
    loop {
        reader.skip_blanks();
        let place = position(reader.at);
        match reader.target(place) {
            Ok(target) => targets.push(target),
            Err((at, problem)) => {
                report.error(position(at), problem);
                if report.is_full() || reader.skip_to_next().is_break() {
                    return targets;
                }
                continue;
            }
        }
        reader.skip_blanks();
        match reader.peek() {
            None => return targets,
            Some(b'|') => reader.at += 1,
            Some(_) => {
                let message = format!("{:?} between targets; separate them with |", shown(reader.rest()));
                report.invalid(position(reader.at), message);
                return targets;
            }
        }
    }
}

type Found<T> = Result<T, (usize, Problem)>;

struct Reader<'t> {
    list: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.list.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.list.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.at += 1;
        }
    }

    /// Goes behind the next `|`, if there is one.
    fn skip_to_next(&mut self) -> ControlFlow<()> {
        match memchr::memchr(b'|', self.rest().as_bytes()) {
            Some(offset) => {
                self.at += offset + 1;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    }

    fn target(&mut self, position: Position) -> Found<Target> {
        let kind = match self.peek() {
            Some(b'!') => TargetKind::Exclude,
            Some(b'&') => TargetKind::Count,
            _ => TargetKind::Include,
        };
        if kind != TargetKind::Include {
            self.at += 1;
        }
        let variable = self.variable()?;
        let selector = if self.peek() == Some(b':') {
            self.at += 1;
            Some(self.selector(variable)?)
        } else {
            None
        };
        if variable == Variable::Xml && selector.is_none() {
            return Err((self.at, Problem::Invalid("XML needs one of its expressions: XML:/* or XML://@*".to_owned())));
        }
        Ok(Target { position, kind, variable, selector })
    }

    fn variable(&mut self) -> Found<Variable> {
        let start = self.at;
        let length = self.rest().bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        let name = self.rest().get(..length).unwrap_or_default();
        if name.is_empty() {
            let found = self.rest().split('|').next().unwrap_or_default();
            let message = if found.is_empty() {
                "a target is missing here; write the name of a variable such as ARGS".to_owned()
            } else {
                format!("{:?} is no target; write the name of a variable such as ARGS", shown(found))
            };
            return Err((start, Problem::Invalid(message)));
        }
        let Some(variable) = Variable::find(name) else {
            return Err((start, names::not_found("variable", name, text::variables(), names::VARIABLES)));
        };
        self.at += length;
        Ok(variable)
    }

    fn selector(&mut self, variable: Variable) -> Found<Selector> {
        let start = self.at;
        if !variable.is_collection() {
            let name = variable.name();
            return Err((
                start,
                Problem::Invalid(format!("{name} is one value and has no members; write {name} alone")),
            ));
        }
        match self.peek() {
            _ if variable == Variable::Xml => self.xpath(),
            Some(b'\'') => self.quoted(),
            Some(b'/') => self.regex(),
            _ => self.name(),
        }
    }

    fn xpath(&mut self) -> Found<Selector> {
        let start = self.at;
        let length = self.rest().bytes().take_while(|byte| *byte != b'|' && !is_blank(*byte)).count();
        let expression = self.rest().get(..length).unwrap_or_default();
        let selector = match expression {
            "/*" => XPath::Text,
            "//@*" => XPath::Attributes,
            other => {
                let message = format!(
                    "XPath {:?} is not supported; there are XML:/* (texts) and XML://@* (attributes)",
                    shown(other)
                );
                return Err((start, Problem::Invalid(message)));
            }
        };
        self.at += length;
        Ok(Selector::XPath(selector))
    }

    fn quoted(&mut self) -> Found<Selector> {
        let start = self.at;
        let Some(end) = closing(self.list.as_bytes(), start + 1, b'\'') else {
            self.at = self.list.len();
            return Err((start, Problem::Invalid("this ' is never closed".to_owned())));
        };
        let (content, _) = unescape(self.list.get(start + 1..end).unwrap_or_default(), b'\'');
        self.at = end + 1;
        let regex = content.strip_prefix('/').and_then(|content| content.strip_suffix('/'));
        match regex {
            Some("") => Err((start, Problem::Invalid(EMPTY_REGEX.to_owned()))),
            Some(regex) => Ok(Selector::Regex(regex.to_owned())),
            None => named(&content, start),
        }
    }

    /// An expression ends at the first unescaped slash behind which the target ends, too.
    fn regex(&mut self) -> Found<Selector> {
        let start = self.at;
        let bytes = self.list.as_bytes();
        let mut from = start + 1;
        while let Some(end) = closing(bytes, from, b'/') {
            if bytes.get(end + 1).is_none_or(|next| *next == b'|' || is_blank(*next)) {
                self.at = end + 1;
                let regex = self.list.get(start + 1..end).unwrap_or_default();
                if regex.is_empty() {
                    return Err((start, Problem::Invalid(EMPTY_REGEX.to_owned())));
                }
                return Ok(Selector::Regex(regex.to_owned()));
            }
            from = end + 1;
        }
        self.at = self.list.len();
        Err((start, Problem::Invalid("this expression is never closed; write it between slashes: /…/".to_owned())))
    }

    fn name(&mut self) -> Found<Selector> {
        let start = self.at;
        let length = self.rest().bytes().take_while(|byte| *byte != b'|' && !is_blank(*byte)).count();
        let name = self.rest().get(..length).unwrap_or_default();
        if name.contains(',') {
            let message = format!("a comma in {:?}: separate targets with |, or quote the name: '…'", shown(name));
            return Err((start, Problem::Invalid(message)));
        }
        self.at += length;
        named(name, start)
    }
}

const EMPTY_REGEX: &str = "an empty expression selects everything; leave the selector away";

fn named(name: &str, start: usize) -> Found<Selector> {
    if name.is_empty() {
        return Err((start, Problem::Invalid("a name is missing behind the colon".to_owned())));
    }
    if name.contains("%{") {
        return Err((start, Problem::Invalid("a selector holds no references; write the name itself".to_owned())));
    }
    Ok(Selector::Name(name.to_owned()))
}
