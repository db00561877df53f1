//! Directives: a name and its words.

use super::ast::{Directive, DirectiveKind, LimitAction, Position, Rule, Selection, Setting, Target};
use super::control::{engine, ids, toggle};
use super::diagnostic::{Problem, Report, WarningCode, shown};
use super::lines::Line;
use super::words::{self, Word, is_blank};
use super::{action, names, operator, target};

/// All directives that do something.
pub(super) const DIRECTIVES: &[&str] = &[
    "Include",
    "IncludeOptional",
    "SecRule",
    "SecAction",
    "SecMarker",
    "SecDefaultAction",
    "SecRuleRemoveById",
    "SecRuleRemoveByTag",
    "SecRuleRemoveByMsg",
    "SecRuleUpdateTargetById",
    "SecRuleUpdateTargetByTag",
    "SecRuleUpdateTargetByMsg",
    "SecRuleUpdateActionById",
    "SecComponentSignature",
    "SecRuleEngine",
    "SecRequestBodyAccess",
    "SecResponseBodyAccess",
    "SecRequestBodyLimit",
    "SecRequestBodyNoFilesLimit",
    "SecRequestBodyLimitAction",
    "SecRequestBodyJsonDepthLimit",
    "SecResponseBodyLimit",
    "SecResponseBodyLimitAction",
    "SecResponseBodyMimeType",
    "SecResponseBodyMimeTypesClear",
    "SecArgumentsLimit",
    "SecArgumentSeparator",
    "SecCollectionTimeout",
];

/// What a line turned out to be.
pub(super) enum Read {
    /// A directive. Parts of it may have been left out as wrong.
    Directive(Directive),
    /// `Include` or `IncludeOptional`.
    Include { position: Position, path: String, optional: bool },
    /// Nothing that could be kept.
    Nothing,
}

/// Reads one line.
pub(super) fn read(line: &Line, report: &mut Report) -> Read {
    let position = line.position(0);
    let end = line.text.bytes().position(is_blank).unwrap_or(line.text.len());
    let written = line.text.get(..end).unwrap_or_default();
    if let Some(name) = names::IGNORED.iter().find(|known| known.eq_ignore_ascii_case(written)).copied() {
        return ignored(name, line.text.get(end..).unwrap_or_default(), position, report);
    }
    let Some(name) = DIRECTIVES.iter().find(|known| known.eq_ignore_ascii_case(written)).copied() else {
        return unknown(written, line.text.get(end..).unwrap_or_default(), position, report);
    };
    let Some(words) = words::split(line, end, report) else { return Read::Nothing };
    let arguments = Arguments { name, position, words: &words };
    let kind = match name {
        "Include" | "IncludeOptional" => {
            let optional = name == "IncludeOptional";
            let path = arguments.one("the path of a file", report);
            return path.map_or(Read::Nothing, |path| Read::Include {
                position,
                path: path.text.to_string(),
                optional,
            });
        }
        "SecRule" => rule(&arguments, report).map(DirectiveKind::Rule),
        "SecAction" => arguments.actions(report).map(DirectiveKind::Action),
        "SecDefaultAction" => arguments.actions(report).map(DirectiveKind::DefaultAction),
        "SecMarker" => arguments.one("a name", report).map(|word| DirectiveKind::Marker(word.text.to_string())),
        "SecComponentSignature" => {
            arguments.one("a text", report).map(|word| DirectiveKind::ComponentSignature(word.text.to_string()))
        }
        _ if name.starts_with("SecRuleRemove") => removal(&arguments, report).map(DirectiveKind::Remove),
        _ if name.starts_with("SecRuleUpdateTarget") => {
            update_target(&arguments, report).map(|(rules, targets)| DirectiveKind::UpdateTarget(rules, targets))
        }
        "SecRuleUpdateActionById" => update_action(&arguments, report),
        _ => setting(&arguments, report).map(DirectiveKind::Setting),
    };
    kind.map_or(Read::Nothing, |kind| Read::Directive(Directive { position, kind }))
}

fn ignored(name: &'static str, value: &str, position: Position, report: &mut Report) -> Read {
    let value = value.trim_matches([' ', '\t', '"', '\'']);
    if name == "SecXmlExternalEntity" && !value.eq_ignore_ascii_case("off") {
        report.invalid(
            position,
            "external entities of XML are never loaded; write SecXmlExternalEntity Off or remove it",
        );
        return Read::Nothing;
    }
    let text = format!("{name} has no effect: logs, storage and matching limits are configured outside of rules");
    report.warn(position, WarningCode::IgnoredDirective, text);
    Read::Directive(Directive { position, kind: DirectiveKind::Setting(Setting::Ignored(name)) })
}

fn unknown(written: &str, value: &str, position: Position, report: &mut Report) -> Read {
    let off = value.trim_matches([' ', '\t', '"', '\'']).eq_ignore_ascii_case("off");
    if off && written.eq_ignore_ascii_case("SecUploadKeepFiles") {
        return ignored("SecUploadKeepFiles", value, position, report);
    }
    let known = DIRECTIVES.iter().chain(names::IGNORED).copied();
    report.error(position, names::not_found("directive", written, known, names::DIRECTIVES));
    Read::Nothing
}

/// The words behind the name of a directive.
struct Arguments<'w> {
    name: &'static str,
    position: Position,
    words: &'w [Word<'w>],
}

impl<'w> Arguments<'w> {
    /// The only word.
    fn one(&self, what: &str, report: &mut Report) -> Option<&'w Word<'w>> {
        match self.words {
            [word] if !word.text.is_empty() => Some(word),
            [] | [_] => {
                report.invalid(self.position, format!("{} needs {what}", self.name));
                None
            }
            [_, extra, ..] => {
                self.too_many(extra, report);
                None
            }
        }
    }

    fn too_many(&self, extra: &Word<'_>, report: &mut Report) {
        let message =
            format!("{:?} is too much for {}; quote words that belong together", shown(&extra.text), self.name);
        report.invalid(extra.position(0), message);
    }

    fn actions(&self, report: &mut Report) -> Option<Vec<super::ast::Action>> {
        self.one("a list of actions", report).map(|word| action::parse(word, report))
    }

    /// Reads the only word and reports what is wrong with it at its place.
    fn value<T>(&self, what: &str, report: &mut Report, read: impl Fn(&str) -> Result<T, Problem>) -> Option<T> {
        let word = self.one(what, report)?;
        read(&word.text).map_err(|problem| report.error(word.position(0), problem)).ok()
    }
}

fn rule(arguments: &Arguments<'_>, report: &mut Report) -> Option<Rule> {
    let (targets, judge, actions) = match arguments.words {
        [targets, judge] => (targets, judge, None),
        [targets, judge, actions] => (targets, judge, Some(actions)),
        [_, _, _, extra, ..] => {
            arguments.too_many(extra, report);
            return None;
        }
        _ => {
            report.invalid(
                arguments.position,
                "SecRule needs targets and an operator: SecRule ARGS \"@rx …\" \"id:1,…\"",
            );
            return None;
        }
    };
    let targets = target::parse(&targets.text, &|at| targets.position(at), report);
    let operator = operator::parse(judge, report);
    let actions = actions.map(|word| action::parse(word, report)).unwrap_or_default();
    Some(Rule { targets, operator: operator?, actions })
}

/// The rules that `…ById`, `…ByTag` or `…ByMsg` names.
fn selection(name: &str, word: &Word<'_>, report: &mut Report) -> Option<Selection> {
    if name.ends_with("ById") {
        return ids(&word.text).map_err(|problem| report.error(word.position(0), problem)).ok();
    }
    if word.text.is_empty() {
        report.invalid(word.position(0), format!("{name} needs a pattern"));
        return None;
    }
    let pattern = word.text.to_string();
    Some(if name.ends_with("ByTag") { Selection::Tag(pattern) } else { Selection::Message(pattern) })
}

fn removal(arguments: &Arguments<'_>, report: &mut Report) -> Option<Selection> {
    if !arguments.name.ends_with("ById") {
        return selection(arguments.name, arguments.one("a pattern", report)?, report);
    }
    let mut all = Vec::new();
    for word in arguments.words {
        if let Selection::Ids(ids) = selection(arguments.name, word, report)? {
            all.extend(ids);
        }
    }
    if all.is_empty() {
        report
            .invalid(arguments.position, format!("{} needs an id or a range of ids such as 1000-1999", arguments.name));
        return None;
    }
    Some(Selection::Ids(all))
}

fn update_target(arguments: &Arguments<'_>, report: &mut Report) -> Option<(Selection, Vec<Target>)> {
    match arguments.words {
        [rules, targets] => {
            let rules = selection(arguments.name, rules, report);
            let targets = target::parse(&targets.text, &|at| targets.position(at), report);
            rules.map(|rules| (rules, targets))
        }
        [_, _, extra, ..] => {
            let message =
                "replacing targets is not supported; take the old one away with ! and add the new one in one list";
            report.invalid(extra.position(0), message);
            None
        }
        _ => {
            report.invalid(arguments.position, format!("{} needs rules and targets", arguments.name));
            None
        }
    }
}

fn update_action(arguments: &Arguments<'_>, report: &mut Report) -> Option<DirectiveKind> {
    let [id, actions] = arguments.words else {
        report.invalid(arguments.position, "SecRuleUpdateActionById needs an id and a list of actions");
        return None;
    };
    let (first, link) = id.text.split_once(':').unwrap_or((&*id.text, "0"));
    let number = match link {
        "0" => action::number("id", first, 1, u32::MAX),
        _ => Err(Problem::Invalid("links of a chain cannot be changed; name the id of the chain alone".to_owned())),
    };
    let number = number.map_err(|problem| report.error(id.position(0), problem)).ok();
    let actions = action::parse(actions, report);
    number.map(|id| DirectiveKind::UpdateAction(id, actions))
}

fn setting(arguments: &Arguments<'_>, report: &mut Report) -> Option<Setting> {
    let bytes = |text: &str| action::number(arguments.name, text, 0, u64::MAX);
    let count = |text: &str| action::number(arguments.name, text, 0, u32::MAX);
    Some(match arguments.name {
        "SecRuleEngine" => Setting::Engine(arguments.value("On, Off or DetectionOnly", report, engine)?),
        "SecRequestBodyAccess" => Setting::RequestBodyAccess(arguments.value("On or Off", report, toggle)?),
        "SecResponseBodyAccess" => Setting::ResponseBodyAccess(arguments.value("On or Off", report, toggle)?),
        "SecRequestBodyLimit" => Setting::RequestBodyLimit(arguments.value(BYTES, report, bytes)?),
        "SecRequestBodyNoFilesLimit" => Setting::RequestBodyNoFilesLimit(arguments.value(BYTES, report, bytes)?),
        "SecResponseBodyLimit" => Setting::ResponseBodyLimit(arguments.value(BYTES, report, bytes)?),
        "SecRequestBodyLimitAction" => Setting::RequestBodyLimitAction(arguments.value(LIMIT, report, limit_action)?),
        "SecResponseBodyLimitAction" => {
            Setting::ResponseBodyLimitAction(arguments.value(LIMIT, report, limit_action)?)
        }
        "SecRequestBodyJsonDepthLimit" => {
            Setting::RequestBodyJsonDepthLimit(arguments.value("a number", report, count)?)
        }
        "SecArgumentsLimit" => Setting::ArgumentsLimit(arguments.value("a number", report, count)?),
        "SecCollectionTimeout" => Setting::CollectionTimeout(arguments.value("a number of seconds", report, count)?),
        "SecArgumentSeparator" => Setting::ArgumentSeparator(arguments.value("one character", report, separator)?),
        "SecResponseBodyMimeTypesClear" => {
            if let Some(extra) = arguments.words.first() {
                arguments.too_many(extra, report);
                return None;
            }
            Setting::ResponseBodyMimeType(Vec::new())
        }
        _ => mime_types(arguments, report)?,
    })
}

const BYTES: &str = "a number of bytes";
const LIMIT: &str = "Reject or ProcessPartial";

fn limit_action(value: &str) -> Result<LimitAction, Problem> {
    match value {
        value if value.eq_ignore_ascii_case("reject") => Ok(LimitAction::Reject),
        value if value.eq_ignore_ascii_case("processpartial") => Ok(LimitAction::ProcessPartial),
        other => Err(Problem::Invalid(format!("{:?} is neither Reject nor ProcessPartial", shown(other)))),
    }
}

fn separator(value: &str) -> Result<u8, Problem> {
    match value.as_bytes() {
        [byte] => Ok(*byte),
        _ => Err(Problem::Invalid(format!("{:?} is not one ASCII character", shown(value)))),
    }
}

fn mime_types(arguments: &Arguments<'_>, report: &mut Report) -> Option<Setting> {
    let words = arguments.words.iter().flat_map(|word| word.text.split([' ', '\t']));
    let types: Vec<String> = words.filter(|word| !word.is_empty()).map(str::to_ascii_lowercase).collect();
    if types.is_empty() {
        report.invalid(arguments.position, format!("{} needs types such as text/html", arguments.name));
        return None;
    }
    Some(Setting::ResponseBodyMimeType(types))
}
