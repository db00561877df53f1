//! Programs as text again, in one canonical form: what is printed reads back as the same directives.
//!
//! Text that no quoting can express is printed as it is and does not read back: a backslash right before a quote or at the
//! end, and `%{` with a letter behind it in a plain piece. The parser makes no text of the second kind, and of the first only
//! where a word or a value is written without quotes or within the other ones (`ARGS:a\`, `'a\"b'`).

use std::fmt::{self, Display, Formatter, Write};

use super::action::SEVERITIES;
use super::ast::{
    Action, ActionKind, AllowScope, BodyProcessor, Change, Control, Directive, DirectiveKind, EngineMode, LimitAction,
    Operator, OperatorKind, Piece, Program, Rule, Selection, Selector, SetVariable, Setting, Target, TargetKind, Text,
    Toggle, Variable, XPath,
};

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.directives.iter().try_for_each(|directive| writeln!(f, "{directive}"))
    }
}

impl Display for Directive {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            DirectiveKind::Rule(rule) => write!(f, "SecRule {rule}"),
            DirectiveKind::Action(actions) => write!(f, "SecAction {}", Outer(list(actions))),
            DirectiveKind::Marker(name) => write!(f, "SecMarker {}", Outer(name)),
            DirectiveKind::DefaultAction(actions) => write!(f, "SecDefaultAction {}", Outer(list(actions))),
            DirectiveKind::Remove(rules) => write!(f, "SecRuleRemove{} {}", By(rules), Outer(rules)),
            DirectiveKind::UpdateTarget(rules, targets) => {
                write!(f, "SecRuleUpdateTarget{} {} {}", By(rules), Outer(rules), Outer(joined(targets, "|")))
            }
            DirectiveKind::UpdateAction(id, actions) => {
                write!(f, "SecRuleUpdateActionById {id} {}", Outer(list(actions)))
            }
            DirectiveKind::ComponentSignature(text) => write!(f, "SecComponentSignature {}", Outer(text)),
            DirectiveKind::Setting(setting) => setting.fmt(f),
        }
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Outer(joined(&self.targets, "|")), Outer(&self.operator))?;
        if self.actions.is_empty() { Ok(()) } else { write!(f, " {}", Outer(list(&self.actions))) }
    }
}

impl Display for Setting {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(mode) => write!(f, "SecRuleEngine {mode}"),
            Self::RequestBodyAccess(toggle) => write!(f, "SecRequestBodyAccess {toggle}"),
            Self::ResponseBodyAccess(toggle) => write!(f, "SecResponseBodyAccess {toggle}"),
            Self::RequestBodyLimit(bytes) => write!(f, "SecRequestBodyLimit {bytes}"),
            Self::RequestBodyNoFilesLimit(bytes) => write!(f, "SecRequestBodyNoFilesLimit {bytes}"),
            Self::RequestBodyLimitAction(action) => write!(f, "SecRequestBodyLimitAction {action}"),
            Self::RequestBodyJsonDepthLimit(levels) => write!(f, "SecRequestBodyJsonDepthLimit {levels}"),
            Self::ResponseBodyLimit(bytes) => write!(f, "SecResponseBodyLimit {bytes}"),
            Self::ResponseBodyLimitAction(action) => write!(f, "SecResponseBodyLimitAction {action}"),
            Self::ResponseBodyMimeType(types) if types.is_empty() => f.write_str("SecResponseBodyMimeTypesClear"),
            Self::ResponseBodyMimeType(types) => write!(f, "SecResponseBodyMimeType {}", types.join(" ")),
            Self::ArgumentsLimit(count) => write!(f, "SecArgumentsLimit {count}"),
            Self::ArgumentSeparator(byte) => write!(f, "SecArgumentSeparator {}", Outer(char::from(*byte))),
            Self::CollectionTimeout(seconds) => write!(f, "SecCollectionTimeout {seconds}"),
            Self::Ignored("SecXmlExternalEntity") => f.write_str("SecXmlExternalEntity Off"),
            Self::Ignored("SecUploadKeepFiles") => f.write_str("SecUploadKeepFiles Off"),
            Self::Ignored(name) => f.write_str(name),
        }
    }
}

impl Display for Toggle {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "On",
            Self::Off => "Off",
        })
    }
}

impl Display for EngineMode {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "Off",
            Self::DetectionOnly => "DetectionOnly",
            Self::On => "On",
        })
    }
}

impl Display for LimitAction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reject => "Reject",
            Self::ProcessPartial => "ProcessPartial",
        })
    }
}

impl Display for Selection {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ids(ids) => {
                for (index, range) in ids.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    if range.start() == range.end() {
                        write!(f, "{comma}{}", range.start())?;
                    } else {
                        write!(f, "{comma}{}-{}", range.start(), range.end())?;
                    }
                }
                Ok(())
            }
            Self::Tag(pattern) | Self::Message(pattern) => f.write_str(pattern),
        }
    }
}

/// The last part of the name of a directive or flag that takes a selection.
struct By<'a>(&'a Selection);

impl Display for By<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Selection::Ids(_) => "ById",
            Selection::Tag(_) => "ByTag",
            Selection::Message(_) => "ByMsg",
        })
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let prefix = match self.kind {
            TargetKind::Include => "",
            TargetKind::Exclude => "!",
            TargetKind::Count => "&",
        };
        write!(f, "{prefix}{}", self.variable.name())?;
        match &self.selector {
            None => Ok(()),
            Some(Selector::XPath(XPath::Text)) => f.write_str(":/*"),
            Some(Selector::XPath(XPath::Attributes)) => f.write_str("://@*"),
            Some(Selector::Regex(regex)) => write!(f, ":{}", Inner(format_args!("/{regex}/"))),
            Some(Selector::Name(name)) if is_simple(name) => write!(f, ":{name}"),
            Some(Selector::Name(name)) => write!(f, ":{}", Inner(name)),
        }
    }
}

impl Display for Operator {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let not = if self.negated { "!" } else { "" };
        if self.kind == OperatorKind::Rx && self.argument.begins_with_blank() {
            // Blanks behind a name belong to nobody; those of a pattern alone are its own.
            return write!(f, "{not}{}", self.argument);
        }
        write!(f, "{not}@{}", self.kind.name())?;
        if self.argument.pieces.is_empty() { Ok(()) } else { write!(f, " {}", self.argument) }
    }
}

impl Text {
    fn begins_with_blank(&self) -> bool {
        matches!(self.pieces.first(), Some(Piece::Plain(plain)) if plain.starts_with([' ', '\t']))
    }
}

impl Display for Text {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Plain(plain) => f.write_str(plain),
            Piece::Reference(variable, None) => write!(f, "%{{{}}}", variable.name()),
            Piece::Reference(variable, Some(member)) => write!(f, "%{{{}.{member}}}", variable.name()),
        })
    }
}

impl Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ActionKind::Id(id) => write!(f, "id:{id}"),
            ActionKind::Phase(phase) => write!(f, "phase:{phase}"),
            ActionKind::Message(text) => write!(f, "msg:{}", Inner(text)),
            ActionKind::LogData(text) => write!(f, "logdata:{}", Inner(text)),
            ActionKind::Tag(text) => write!(f, "tag:{}", Inner(text)),
            ActionKind::Severity(level) => {
                let name = SEVERITIES.get(usize::from(*level)).copied().unwrap_or_default();
                write!(f, "severity:{name}")
            }
            ActionKind::Revision(text) => write!(f, "rev:{}", Inner(text)),
            ActionKind::Version(text) => write!(f, "ver:{}", Inner(text)),
            ActionKind::Maturity(level) => write!(f, "maturity:{level}"),
            ActionKind::Accuracy(level) => write!(f, "accuracy:{level}"),
            ActionKind::Transform(transformation) => write!(f, "t:{}", transformation.name()),
            ActionKind::Skip(count) => write!(f, "skip:{count}"),
            ActionKind::SkipAfter(marker) => write!(f, "skipAfter:{}", Inner(marker)),
            ActionKind::Redirect(text) => write!(f, "redirect:{}", Inner(text)),
            ActionKind::Status(status) => write!(f, "status:{status}"),
            ActionKind::SetVariable(change) => write!(f, "setvar:{}", Inner(change.within(Variable::Tx))),
            ActionKind::SetKept(collection, change) => write!(f, "setvar:{}", Inner(change.within(*collection))),
            ActionKind::ExpireKept(collection, name, seconds) => {
                write!(f, "expirevar:{}", Inner(format_args!("{}.{name}={seconds}", collection.name().to_lowercase())))
            }
            ActionKind::Control(control) => write!(f, "ctl:{}", Inner(control)),
            alone => f.write_str(name_alone(alone)),
        }
    }
}

/// The name of an action without a value.
fn name_alone(kind: &ActionKind) -> &'static str {
    match kind {
        ActionKind::TransformNone => "t:none",
        ActionKind::MultiMatch => "multiMatch",
        ActionKind::Capture => "capture",
        ActionKind::Chain => "chain",
        ActionKind::Pass => "pass",
        ActionKind::Deny => "deny",
        ActionKind::Drop => "drop",
        ActionKind::Block => "block",
        ActionKind::Allow(AllowScope::Transaction) => "allow",
        ActionKind::Allow(AllowScope::Phase) => "allow:phase",
        ActionKind::Allow(AllowScope::Request) => "allow:request",
        ActionKind::Log(Toggle::On) => "log",
        ActionKind::Log(Toggle::Off) => "nolog",
        ActionKind::AuditLog(Toggle::On) => "auditlog",
        ActionKind::AuditLog(Toggle::Off) => "noauditlog",
        _ => "",
    }
}

impl SetVariable {
    /// The value of `setvar` for a member of this collection.
    fn within(&self, collection: Variable) -> String {
        let name = format!("{}.{}", collection.name().to_ascii_lowercase(), self.name);
        match &self.change {
            Change::Unset => format!("!{name}"),
            Change::Set(text) => format!("{name}={text}"),
            Change::Add(text) => format!("{name}=+{text}"),
            Change::Subtract(text) => format!("{name}=-{text}"),
        }
    }
}

impl Display for Control {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::RuleEngine(mode) => write!(f, "ruleEngine={mode}"),
            Self::Remove(rules) => write!(f, "ruleRemove{}={rules}", By(rules)),
            Self::RemoveTarget(rules, target) => write!(f, "ruleRemoveTarget{}={rules};{target}", By(rules)),
            Self::BodyProcessor(processor) => write!(f, "requestBodyProcessor={}", processor_name(*processor)),
            Self::ForceRequestBodyVariable(toggle) => write!(f, "forceRequestBodyVariable={toggle}"),
            Self::RequestBodyAccess(toggle) => write!(f, "requestBodyAccess={toggle}"),
            Self::ResponseBodyAccess(toggle) => write!(f, "responseBodyAccess={toggle}"),
            Self::AuditEngine(EngineMode::DetectionOnly) => f.write_str("auditEngine=RelevantOnly"),
            Self::AuditEngine(mode) => write!(f, "auditEngine={mode}"),
            Self::AuditLogParts => f.write_str("auditLogParts=+E"),
        }
    }
}

const fn processor_name(processor: BodyProcessor) -> &'static str {
    match processor {
        BodyProcessor::UrlEncoded => "URLENCODED",
        BodyProcessor::Multipart => "MULTIPART",
        BodyProcessor::Json => "JSON",
        BodyProcessor::Xml => "XML",
    }
}

/// Whether a name needs no quotes anywhere.
fn is_simple(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn list(actions: &[Action]) -> String {
    joined(actions, ",")
}

fn joined(items: &[impl Display], separator: &str) -> String {
    let mut text = String::new();
    for (index, item) in items.iter().enumerate() {
        let before = if index == 0 { "" } else { separator };
        if write!(text, "{before}{item}").is_err() {
            break;
        }
    }
    text
}

/// A word of a directive, in double quotes.
struct Outer<T>(T);

impl<T: Display> Display for Outer<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.to_string().replace('"', "\\\""))
    }
}

/// A value of an action or a selector, in single quotes.
struct Inner<T>(T);

impl<T: Display> Display for Inner<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.to_string().replace('\'', "\\'"))
    }
}
