//! `ctl:FLAG=VALUE`, and the selections of rules it shares with directives.

use std::ops::RangeInclusive;

use super::action::number;
use super::ast::{BodyProcessor, Control, EngineMode, Position, Selection, Target, TargetKind, Toggle};
use super::diagnostic::{Problem, Report, shown};
use super::{names, target};

/// All flags of `ctl`.
pub(super) const FLAGS: &[&str] = &[
    "ruleEngine",
    "ruleRemoveById",
    "ruleRemoveByTag",
    "ruleRemoveByMsg",
    "ruleRemoveTargetById",
    "ruleRemoveTargetByTag",
    "ruleRemoveTargetByMsg",
    "requestBodyProcessor",
    "forceRequestBodyVariable",
    "requestBodyAccess",
    "responseBodyAccess",
    "auditEngine",
    "auditLogParts",
];

/// Reads the value of `ctl`.
pub(super) fn parse(written: &str) -> Result<Control, Problem> {
    let (flag, value) = written.split_once('=').unwrap_or((written, ""));
    let (flag, value) = (flag.trim_matches([' ', '\t']), unquoted(value.trim_matches([' ', '\t'])));
    let Some(flag) = FLAGS.iter().find(|known| known.eq_ignore_ascii_case(flag)).copied() else {
        return Err(names::not_found("ctl", flag, FLAGS.iter().copied(), names::CONTROLS));
    };
    if value.is_empty() {
        return Err(Problem::Invalid(format!("ctl:{flag} needs a value; write ctl:{flag}=…")));
    }
    Ok(match flag {
        "ruleEngine" => Control::RuleEngine(engine(value)?),
        "ruleRemoveById" => Control::Remove(ids(value)?),
        "ruleRemoveByTag" => Control::Remove(Selection::Tag(value.to_owned())),
        "ruleRemoveByMsg" => Control::Remove(Selection::Message(value.to_owned())),
        "ruleRemoveTargetById" | "ruleRemoveTargetByTag" | "ruleRemoveTargetByMsg" => remove_target(flag, value)?,
        "requestBodyProcessor" => Control::BodyProcessor(processor(value)?),
        "forceRequestBodyVariable" => Control::ForceRequestBodyVariable(toggle(value)?),
        "requestBodyAccess" => Control::RequestBodyAccess(toggle(value)?),
        "responseBodyAccess" => Control::ResponseBodyAccess(toggle(value)?),
        "auditEngine" => Control::AuditEngine(audit(value)?),
        _ => Control::AuditLogParts,
    })
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')).unwrap_or(value)
}

/// `On` or `Off`.
pub(super) fn toggle(value: &str) -> Result<Toggle, Problem> {
    match value {
        value if value.eq_ignore_ascii_case("on") => Ok(Toggle::On),
        value if value.eq_ignore_ascii_case("off") => Ok(Toggle::Off),
        other => Err(Problem::Invalid(format!("{:?} is neither On nor Off", shown(other)))),
    }
}

/// `On`, `Off` or `DetectionOnly`.
pub(super) fn engine(value: &str) -> Result<EngineMode, Problem> {
    match value {
        value if value.eq_ignore_ascii_case("on") => Ok(EngineMode::On),
        value if value.eq_ignore_ascii_case("off") => Ok(EngineMode::Off),
        value if value.eq_ignore_ascii_case("detectiononly") => Ok(EngineMode::DetectionOnly),
        other => Err(Problem::Invalid(format!("{:?} is none of On, Off and DetectionOnly", shown(other)))),
    }
}

fn audit(value: &str) -> Result<EngineMode, Problem> {
    if value.eq_ignore_ascii_case("relevantonly") {
        return Ok(EngineMode::DetectionOnly);
    }
    engine(value)
        .ok()
        .ok_or_else(|| Problem::Invalid(format!("{:?} is none of On, Off and RelevantOnly", shown(value))))
}

fn processor(value: &str) -> Result<BodyProcessor, Problem> {
    const ALL: [(&str, BodyProcessor); 4] = [
        ("URLENCODED", BodyProcessor::UrlEncoded),
        ("MULTIPART", BodyProcessor::Multipart),
        ("JSON", BodyProcessor::Json),
        ("XML", BodyProcessor::Xml),
    ];
    let found = ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(value)).map(|(_, processor)| *processor);
    found.ok_or_else(|| names::not_found("body processor", value, ALL.iter().map(|(name, _)| *name), &[]))
}

/// Numbers and ranges, separated by commas or blanks: `1,5-9 20-30`.
pub(super) fn ids(list: &str) -> Result<Selection, Problem> {
    let mut ids: Vec<RangeInclusive<u32>> = Vec::new();
    for item in list.split([',', ' ', '\t']).filter(|item| !item.is_empty()) {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (first, last) = (number("id", first, 1, u32::MAX)?, number("id", last, 1, u32::MAX)?);
        if first > last {
            return Err(Problem::Invalid(format!("the range {} is empty; write the smaller id first", shown(item))));
        }
        ids.push(first..=last);
    }
    if ids.is_empty() {
        return Err(Problem::Invalid("an id or a range of ids such as 1000-1999 is missing".to_owned()));
    }
    Ok(Selection::Ids(ids))
}

fn remove_target(flag: &str, value: &str) -> Result<Control, Problem> {
    let Some((rules, written)) = value.split_once(';') else {
        return Err(Problem::Invalid(format!("ctl:{flag} names rules and one target; write ctl:{flag}=…;ARGS:name")));
    };
    let rules = match flag {
        "ruleRemoveTargetById" => ids(rules)?,
        _ if rules.is_empty() => return Err(Problem::Invalid(format!("ctl:{flag} needs a pattern before the ;"))),
        "ruleRemoveTargetByTag" => Selection::Tag(rules.to_owned()),
        _ => Selection::Message(rules.to_owned()),
    };
    Ok(Control::RemoveTarget(rules, single_target(written)?))
}

fn single_target(written: &str) -> Result<Target, Problem> {
    let mut report = Report::default();
    let targets = target::parse(written, &|_| Position::default(), &mut report);
    if let Some(error) = report.errors.pop() {
        return Err(error.problem);
    }
    match <[Target; 1]>::try_from(targets) {
        Ok([target]) if target.kind == TargetKind::Include => Ok(target),
        Ok(_) => Err(Problem::Invalid("the target of a ctl stands without ! and &".to_owned())),
        Err(_) => Err(Problem::Invalid("a ctl takes one target; write one ctl for each".to_owned())),
    }
}
