//! Lines that load and are probably not meant.

use super::Line;
use super::benign::{SAMPLES, Sample};
use super::layout::Kind;
use super::pattern::Translated;
use crate::seclang::WarningCode;
use crate::seclang::ast::Position;
use crate::seclang::diagnostic::{Report, number, shown};

/// Bytes a compiled expression may take. The longest of the reference layouts needs less than a tenth.
const SIZE_LIMIT: usize = 4 << 20;

/// Values without anything in common, not even a character. What matches all of them matches everything.
const ANYTHING: [&str; 4] = ["", "x", "/0", "\u{7f}\n"];

/// Addresses without anything in common.
const ANYBODY: [&str; 4] = ["10.0.0.1", "203.0.113.77", "2001:db8::5", "::"];

/// Checks a translated line. The answer says whether it is a rule; when it is not, that is reported.
pub(super) fn lint(kind: Kind, line: &Line<'_>, translated: &Translated, regex: &str, report: &mut Report) -> bool {
    for note in &translated.notes {
        let column = line.position.column.saturating_add(note.column);
        report.warn(Position { column, ..line.position }, note.code, note.text.as_str());
    }
    let compiled = match regex::bytes::RegexBuilder::new(regex).unicode(false).size_limit(SIZE_LIMIT).build() {
        Ok(compiled) => compiled,
        Err(error) => {
            let (column, message) = explain(regex, &translated.regex, &error);
            let column = line.position.column.saturating_add(column);
            report.invalid(Position { column, ..line.position }, message);
            return false;
        }
    };
    let anything = if matches!(kind, Kind::WhiteIp | Kind::BlackIp) { ANYBODY } else { ANYTHING };
    if can_never_match(regex) {
        report.warn(line.position, WarningCode::DeadRule, "nothing matches this expression; remove or repair the line");
    } else if anything.iter().all(|value| compiled.is_match(value.as_bytes())) {
        let text = match kind {
            Kind::WhiteIp => "this matches every client, which switches the WAF off; remove the line",
            Kind::WhiteUrl => "this matches every path, which switches the WAF off; remove the line",
            Kind::BlackIp => "this matches every client; remove or repair the line",
            _ => "this matches everything, even nothing; remove or repair the line",
        };
        report.warn(line.position, WarningCode::CatchAll, text);
    } else {
        benign(kind, line, &compiled, report);
    }
    true
}

/// Compares the expression with ordinary values of its kind. Paths that switch the WAF off are meant to be ordinary.
fn benign(kind: Kind, line: &Line<'_>, compiled: &regex::bytes::Regex, report: &mut Report) {
    let Some(wanted) = sample_of(kind) else { return };
    let samples = || SAMPLES.iter().filter(|(sample, _)| *sample == wanted).map(|(_, value)| *value);
    let matched = samples().filter(|value| compiled.is_match(value.as_bytes())).count();
    let Some(first) = samples().find(|value| compiled.is_match(value.as_bytes())) else { return };
    if matched == samples().count() {
        let text = "this matches every ordinary value; remove or repair the line";
        report.warn(line.position, WarningCode::CatchAll, text);
    } else {
        let text = format!("this matches ordinary traffic such as {:?}", shown(first));
        report.warn(line.position, WarningCode::MatchesBenign, text);
    }
}

fn sample_of(kind: Kind) -> Option<Sample> {
    match kind {
        Kind::WhiteIp | Kind::BlackIp | Kind::WhiteUrl => None,
        Kind::UserAgent => Some(Sample::UserAgent),
        Kind::Url => Some(Sample::Target),
        Kind::Args | Kind::Post => Some(Sample::Argument),
        Kind::Cookie => Some(Sample::Cookie),
    }
}

fn can_never_match(regex: &str) -> bool {
    let parsed = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(regex);
    parsed.is_ok_and(|hir| hir.properties().minimum_len().is_none())
}

/// Where an expression is wrong, as far as that can be said of the translation, and what is wrong.
fn explain(regex: &str, translated: &str, error: &regex::Error) -> (u32, String) {
    let parsed = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(regex);
    match parsed {
        Err(regex_syntax::Error::Parse(error)) => {
            let flags = regex.len() - translated.len();
            let column = error.span().start.offset.saturating_sub(flags);
            (number(column), format!("no expression: {}", error.kind()))
        }
        Err(regex_syntax::Error::Translate(error)) => (0, format!("no expression: {}", error.kind())),
        _ => match error {
            regex::Error::CompiledTooBig(limit) => {
                (0, format!("the expression takes more than {limit} bytes; make its counts smaller"))
            }
            other => (0, format!("no expression: {other}")),
        },
    }
}
