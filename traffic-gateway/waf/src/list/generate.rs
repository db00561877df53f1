//! Lines become rules.

use super::address::{self, Address};
use super::layout::{Kind, Layout, header, target};
use super::{Line, ListAction, ListOptions, lint, pattern};
use crate::seclang::WarningCode;
use crate::seclang::ast::{
    Action, ActionKind, BodyProcessor, Control, Directive, DirectiveKind, EngineMode, Operator, OperatorKind, Piece,
    Position, Rule, Target, TargetKind, Text, Toggle, Variable,
};
use crate::seclang::diagnostic::{Report, number};
use crate::transform::Transformation;

/// Ids that one list may take.
const IDS_PER_LIST: u32 = 100_000;

/// Headers by which scanners give themselves away.
const SCANNER_HEADERS: [&str; 2] = ["Acunetix-Aspect", "X-Scan-Memo"];

/// Collects the rules of all lists.
pub(super) struct Generator<'o> {
    layout: Layout,
    options: &'o ListOptions,
    pub(super) directives: Vec<Directive>,
    /// Rules so far that no line stands for.
    fixed: u32,
}

impl<'o> Generator<'o> {
    pub(super) fn new(layout: Layout, options: &'o ListOptions) -> Self {
        Self { layout, options, directives: Vec::new(), fixed: 0 }
    }

    /// The rules against headers of scanners.
    pub(super) fn scanner_headers(&mut self) {
        for name in SCANNER_HEADERS {
            let counted = Target { kind: TargetKind::Count, ..header(name) };
            let mut actions = self.fixed_actions(1);
            actions.extend(self.verdict());
            actions.push(ActionKind::Message(format!("Header {name} of a scanner").as_str().into()));
            actions.push(ActionKind::Tag("attack_method/Deny_USER_AGENT".into()));
            self.rule(Position::default(), vec![counted], operator(OperatorKind::Gt, "0"), actions);
        }
    }

    /// The rules of one list. Lines that are no expressions are reported.
    pub(super) fn list(&mut self, kind: Kind, file: &str, lines: &[Line<'_>], report: &mut Report) {
        if kind == Kind::Post && !lines.is_empty() {
            self.body_processors();
        }
        for line in lines {
            if report.is_full() {
                return;
            }
            match pattern::translate(line.text) {
                Ok(translated) => {
                    let written = format!("{}{}", self.layout.flags(), translated.regex);
                    if lint::lint(kind, line, &translated, &written, report) {
                        self.line(kind, file, line, &written);
                    }
                }
                Err(fault) => {
                    let column = line.position.column.saturating_add(fault.column);
                    report.invalid(Position { column, ..line.position }, fault.message);
                }
            }
        }
    }

    /// The rules of a list of addresses: one for all networks, which finds an address among any number of them, and one for
    /// each line that is an expression.
    pub(super) fn addresses(&mut self, kind: Kind, file: &str, lines: &[Line<'_>], report: &mut Report) {
        let Some(first) = lines.first() else { return };
        let mut all = String::new();
        let mut expressions = Vec::new();
        for line in lines {
            match address::read(line.text) {
                Address::Networks { list, doubtful } => {
                    if doubtful {
                        let text = format!("read as the network {list}; write it so");
                        report.warn(line.position, WarningCode::AddressList, text);
                    }
                    all.push_str(if all.is_empty() { "" } else { "," });
                    all.push_str(&list);
                }
                Address::Expression { text, end } => expressions.push((line, text, end)),
            }
        }
        report.warn(
            Position { line: 0, column: 0, ..first.position },
            WarningCode::AddressList,
            "clients are looked up here when the head of their request was read; an [[access.list]] is asked before anything is",
        );
        if !all.is_empty() {
            let id = self.options.first_id.saturating_add(kind.range() * IDS_PER_LIST);
            let mut actions = vec![ActionKind::Id(id), ActionKind::Phase(kind.phase()), ActionKind::TransformNone];
            actions.extend(self.effect(kind, &format!("Client is listed in {file}")));
            actions.push(ActionKind::Tag(format!("list/{file}").as_str().into()));
            self.rule(first.position, kind.targets(), operator(OperatorKind::IpMatch, &all), actions);
        }
        for (line, text, end) in expressions {
            if report.is_full() {
                return;
            }
            self.address_expression(kind, file, line, (&text, end), report);
        }
    }

    fn address_expression(
        &mut self,
        kind: Kind,
        file: &str,
        line: &Line<'_>,
        (text, end): (&str, &str),
        report: &mut Report,
    ) {
        let begin = number(line.text.find(text).unwrap_or(0));
        match pattern::translate(text) {
            Ok(translated) => {
                let written = format!("{}^(?:{}){end}", self.layout.flags(), translated.regex);
                if lint::lint(kind, line, &translated, &written, report) {
                    let text = format!("read as an expression for the client's address: ^(?:{text}){end}");
                    report.warn(line.position, WarningCode::AddressList, text);
                    self.line(kind, file, line, &written);
                }
            }
            Err(fault) => {
                let column = line.position.column.saturating_add(begin).saturating_add(fault.column);
                report.invalid(Position { column, ..line.position }, fault.message);
            }
        }
    }

    /// What a match does: the lists of what may pass switch the rules off, the others refuse.
    fn effect(&self, kind: Kind, message: &str) -> Vec<ActionKind> {
        if matches!(kind, Kind::WhiteIp | Kind::WhiteUrl) {
            let off = ActionKind::Control(Control::RuleEngine(EngineMode::Off));
            return vec![ActionKind::Pass, ActionKind::Log(Toggle::Off), off];
        }
        let mut actions = self.verdict();
        actions.push(ActionKind::Message(message.into()));
        actions.push(ActionKind::LogData(log_data()));
        actions.push(ActionKind::Tag(format!("attack_method/{}", kind.attack_method()).as_str().into()));
        actions
    }

    fn line(&mut self, kind: Kind, file: &str, line: &Line<'_>, regex: &str) {
        let id = self.options.first_id.saturating_add(kind.range() * IDS_PER_LIST).saturating_add(line.position.line);
        let mut actions = vec![ActionKind::Id(id), ActionKind::Phase(kind.phase()), ActionKind::TransformNone];
        actions.extend(transformations(kind));
        actions.extend(self.effect(kind, &format!("Matches a line of {file}")));
        actions.push(ActionKind::Tag(format!("list/{file}:{}", line.position.line).as_str().into()));
        actions.push(ActionKind::Tag(format!("hash/{:016x}", hash(line.text)).as_str().into()));
        let targets = kind.targets();
        self.rule(line.position, targets, operator(OperatorKind::Rx, regex), actions);
    }

    /// Who reads the body: JSON and XML by their type, and everything nobody else reads as a form.
    fn body_processors(&mut self) {
        let content_type = || vec![header("Content-Type")];
        let kinds = [
            (
                content_type(),
                operator(OperatorKind::Rx, r"(?i)^(?:application|text)/(?:[a-z0-9.-]+[+])?xml\b"),
                BodyProcessor::Xml,
            ),
            (
                content_type(),
                operator(OperatorKind::Rx, r"(?i)^application/(?:[a-z0-9.-]+[+])?json\b"),
                BodyProcessor::Json,
            ),
            (
                vec![target(Variable::ReqbodyProcessor, None)],
                Operator { negated: true, ..operator(OperatorKind::Rx, ".") },
                BodyProcessor::UrlEncoded,
            ),
        ];
        for (targets, operator, processor) in kinds {
            let mut actions = self.fixed_actions(1);
            actions.push(ActionKind::Pass);
            actions.push(ActionKind::Log(Toggle::Off));
            actions.push(ActionKind::Control(Control::BodyProcessor(processor)));
            self.rule(Position::default(), targets, operator, actions);
        }
    }

    /// The first actions of a rule that no line stands for.
    fn fixed_actions(&mut self, phase: u8) -> Vec<ActionKind> {
        self.fixed = self.fixed.saturating_add(1);
        let id = self.options.first_id.saturating_add(self.fixed);
        vec![ActionKind::Id(id), ActionKind::Phase(phase), ActionKind::TransformNone]
    }

    fn verdict(&self) -> Vec<ActionKind> {
        match self.options.action {
            ListAction::Deny(status) => vec![ActionKind::Deny, ActionKind::Status(status), ActionKind::Log(Toggle::On)],
            ListAction::Log => vec![ActionKind::Pass, ActionKind::Log(Toggle::On)],
        }
    }

    fn rule(&mut self, position: Position, targets: Vec<Target>, operator: Operator, actions: Vec<ActionKind>) {
        let targets = targets.into_iter().map(|target| Target { position, ..target }).collect();
        let actions = actions.into_iter().map(|kind| Action { position, kind }).collect();
        let rule = Rule { targets, operator: Operator { position, ..operator }, actions };
        self.directives.push(Directive { position, kind: DirectiveKind::Rule(rule) });
    }
}

/// How values are prepared. Arguments come decoded once; what is sent as it stands is compared before and after decoding.
fn transformations(kind: Kind) -> Vec<ActionKind> {
    let decode = ActionKind::Transform(Transformation::UrlDecodeUni);
    match kind {
        Kind::WhiteIp | Kind::BlackIp | Kind::UserAgent => Vec::new(),
        Kind::WhiteUrl => {
            vec![ActionKind::Transform(Transformation::UrlDecode), ActionKind::Transform(Transformation::NormalizePath)]
        }
        Kind::Args | Kind::Post => vec![decode],
        Kind::Url | Kind::Cookie => vec![decode, ActionKind::MultiMatch],
    }
}

fn operator(kind: OperatorKind, argument: &str) -> Operator {
    Operator { position: Position::default(), negated: false, kind, argument: argument.into() }
}

fn log_data() -> Text {
    let name = Piece::Reference(Variable::MatchedVarName, None);
    Text { pieces: vec![name, Piece::Plain(": ".to_owned()), Piece::Reference(Variable::MatchedVar, None)] }
}

/// FNV-1a over the line, so that a rule can be recognised after lines were added before it.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
