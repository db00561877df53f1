//! What is printed reads back as the same program.

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
use proptest::test_runner::Config;

use super::super::ast::{
    Action, AllowScope, BodyProcessor, Change, Control, Directive, EngineMode, LimitAction, Operator, OperatorKind,
    Piece, Position, Rule, Selection, Selector, SetVariable, Setting, Target, TargetKind, Text, Toggle, Variable,
    XPath,
};
use super::{ActionKind, DirectiveKind, Program, program};
use crate::transform::Transformation;

/// A program as text in which only places are left out.
fn without_places(program: &Program) -> String {
    let places = regex::Regex::new(r"Position \{[^}]*\}").unwrap();
    places.replace_all(&format!("{:?}", program.directives), "").into_owned()
}

fn action(kind: ActionKind) -> Action {
    Action { position: Position::default(), kind }
}

/// Text that quoting can express: no backslash before a quote or at the end.
fn words() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![
            Just("\\d"),
            Just("'"),
            Just("\""),
            Just(","),
            Just("|"),
            Just(" "),
            Just("ä"),
            Just("x"),
            Just("="),
            Just("/")
        ],
        1..6,
    )
    .prop_map(|parts| format!("a{}z", parts.concat()))
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_.-]{0,8}"
}

fn variable() -> impl Strategy<Value = Variable> {
    prop::sample::select(Variable::ALL.to_vec())
}

fn text() -> impl Strategy<Value = Text> {
    let reference = (variable(), prop::option::of(name()))
        .prop_map(|(variable, member)| Piece::Reference(variable, member.filter(|_| variable.is_collection())));
    let pieces = prop::collection::vec((words(), prop::option::of(reference)), 1..4);
    pieces.prop_map(|pairs| {
        let mut pieces: Vec<Piece> = Vec::new();
        for (plain, reference) in pairs {
            match pieces.last_mut() {
                Some(Piece::Plain(last)) => last.push_str(&plain),
                _ => pieces.push(Piece::Plain(plain)),
            }
            pieces.extend(reference);
        }
        Text { pieces }
    })
}

fn target() -> impl Strategy<Value = Target> {
    let kind = prop::sample::select(vec![TargetKind::Include, TargetKind::Count]);
    let selector = prop_oneof![
        Just(None),
        words().prop_map(|name| Some(Selector::Name(name))),
        name().prop_map(|name| Some(Selector::Name(name))),
        words().prop_map(|regex| Some(Selector::Regex(regex))),
    ];
    (kind, variable(), selector).prop_map(|(kind, variable, selector)| {
        let selector = match variable {
            Variable::Xml => {
                Some(Selector::XPath(if kind == TargetKind::Count { XPath::Text } else { XPath::Attributes }))
            }
            variable if variable.is_collection() => selector,
            _ => None,
        };
        Target { position: Position::default(), kind, variable, selector }
    })
}

fn operator() -> impl Strategy<Value = Operator> {
    let argument = prop_oneof![
        text().prop_map(|argument| (OperatorKind::Rx, argument)),
        text().prop_map(|argument| (OperatorKind::Within, argument)),
        words().prop_map(|argument| (OperatorKind::Pm, Text::from(argument.as_str()))),
        any::<i32>().prop_map(|number| (OperatorKind::Ge, Text::from(number.to_string().as_str()))),
        Just((OperatorKind::DetectSqli, Text::default())),
    ];
    (any::<bool>(), argument).prop_map(|(negated, (kind, argument))| Operator {
        position: Position::default(),
        negated,
        kind,
        argument,
    })
}

fn selection() -> impl Strategy<Value = Selection> {
    let range = (1_u32..1_000, 0_u32..1_000).prop_map(|(first, length)| first..=first + length);
    prop_oneof![
        prop::collection::vec(range, 1..4).prop_map(Selection::Ids),
        name().prop_map(Selection::Tag),
        name().prop_map(Selection::Message),
    ]
}

fn control() -> impl Strategy<Value = Control> {
    let toggle = || prop::sample::select(vec![Toggle::On, Toggle::Off]);
    let mode = || prop::sample::select(vec![EngineMode::On, EngineMode::Off, EngineMode::DetectionOnly]);
    let processor = vec![BodyProcessor::UrlEncoded, BodyProcessor::Multipart, BodyProcessor::Json, BodyProcessor::Xml];
    let one = name().prop_map(|name| Target {
        position: Position::default(),
        kind: TargetKind::Include,
        variable: Variable::Args,
        selector: Some(Selector::Name(name)),
    });
    prop_oneof![
        mode().prop_map(Control::RuleEngine),
        mode().prop_map(Control::AuditEngine),
        toggle().prop_map(Control::ForceRequestBodyVariable),
        toggle().prop_map(Control::RequestBodyAccess),
        toggle().prop_map(Control::ResponseBodyAccess),
        prop::sample::select(processor).prop_map(Control::BodyProcessor),
        (1_u32..99).prop_map(|id| Control::Remove(Selection::Ids(vec![id..=id + 1]))),
        name().prop_map(|tag| Control::Remove(Selection::Tag(tag))),
        (name(), one).prop_map(|(tag, target)| Control::RemoveTarget(Selection::Message(tag), target)),
        Just(Control::AuditLogParts),
    ]
}

fn set_variable() -> impl Strategy<Value = SetVariable> {
    let change = prop_oneof![
        Just(Change::Unset),
        text().prop_map(Change::Set),
        (1_u32..99).prop_map(|number| Change::Add(number.to_string().as_str().into())),
        text()
            .prop_filter("a sum of texts that are no numbers", |text| text.plain().is_none())
            .prop_map(Change::Subtract),
    ];
    (name(), change).prop_map(|(name, change)| SetVariable { name: name.as_str().into(), change })
}

/// Actions that may stand in one rule as often as one likes.
fn repeatable() -> impl Strategy<Value = ActionKind> {
    prop_oneof![
        text().prop_map(ActionKind::Tag),
        prop::sample::select(Transformation::ALL.to_vec()).prop_map(ActionKind::Transform),
        Just(ActionKind::TransformNone),
        set_variable().prop_map(ActionKind::SetVariable),
        control().prop_map(ActionKind::Control),
    ]
}

/// What makes sense once in a rule.
fn once() -> impl Strategy<Value = Vec<ActionKind>> {
    let decision = prop_oneof![
        prop::sample::select(vec![ActionKind::Pass, ActionKind::Deny, ActionKind::Drop, ActionKind::Block]),
        prop::sample::select(vec![AllowScope::Transaction, AllowScope::Phase, AllowScope::Request])
            .prop_map(ActionKind::Allow),
        text().prop_map(ActionKind::Redirect),
    ];
    let toggle = || prop::sample::select(vec![Toggle::On, Toggle::Off]);
    let texts = (
        text().prop_map(ActionKind::Message),
        text().prop_map(ActionKind::LogData),
        words().prop_map(ActionKind::Version),
    );
    let numbers = (
        (1_u8..=5).prop_map(ActionKind::Phase),
        (0_u8..=7).prop_map(ActionKind::Severity),
        (1_u8..=9).prop_map(ActionKind::Maturity),
        (100_u16..=599).prop_map(ActionKind::Status),
        (1_u32..9).prop_map(ActionKind::Skip),
    );
    let logs = (toggle().prop_map(ActionKind::Log), toggle().prop_map(ActionKind::AuditLog));
    let all = (decision, texts, numbers, logs).prop_map(|(decision, (a, b, c), (d, e, f, g, h), (i, j))| {
        vec![decision, a, b, c, d, e, f, g, h, i, j, ActionKind::MultiMatch, ActionKind::Capture]
    });
    all.prop_flat_map(|all| prop::sample::subsequence(all, 0..=13))
}

fn rule() -> impl Strategy<Value = DirectiveKind> {
    let targets = prop::collection::vec(target(), 1..4);
    let actions = (once(), prop::collection::vec(repeatable(), 0..4));
    (targets, operator(), actions).prop_map(|(targets, operator, (mut once, repeatable))| {
        once.extend(repeatable);
        DirectiveKind::Rule(Rule { targets, operator, actions: once.into_iter().map(action).collect() })
    })
}

fn other() -> impl Strategy<Value = DirectiveKind> {
    let setting = prop_oneof![
        any::<u64>().prop_map(Setting::RequestBodyLimit),
        any::<u32>().prop_map(Setting::ArgumentsLimit),
        Just(Setting::Engine(EngineMode::DetectionOnly)),
        Just(Setting::ResponseBodyLimitAction(LimitAction::ProcessPartial)),
        Just(Setting::ArgumentSeparator(b'"')),
        Just(Setting::ResponseBodyMimeType(vec!["text/html".to_owned(), "a/b".to_owned()])),
        Just(Setting::ResponseBodyMimeType(Vec::new())),
        Just(Setting::Ignored("SecAuditLog")),
        Just(Setting::Ignored("SecUploadKeepFiles")),
    ];
    prop_oneof![
        words().prop_map(DirectiveKind::Marker),
        words().prop_map(DirectiveKind::ComponentSignature),
        selection().prop_map(DirectiveKind::Remove),
        (selection(), prop::collection::vec(target(), 1..3))
            .prop_map(|(rules, targets)| DirectiveKind::UpdateTarget(rules, targets)),
        (1_u32..99).prop_map(|id| DirectiveKind::UpdateAction(id, vec![action(ActionKind::Deny)])),
        setting.prop_map(DirectiveKind::Setting),
    ]
}

/// Directives, with ids for those that need one.
fn programs() -> impl Strategy<Value = Program> {
    prop::collection::vec(prop_oneof![rule(), other()], 1..8).prop_map(|mut kinds| {
        for (id, kind) in (1..).zip(&mut kinds) {
            if let DirectiveKind::Rule(rule) = kind {
                rule.actions.insert(0, action(ActionKind::Id(id)));
            }
        }
        let directive = |kind| Directive { position: Position::default(), kind };
        Program { sources: Vec::new(), directives: kinds.into_iter().map(directive).collect() }
    })
}

#[test]
fn blanks_at_the_beginning_of_a_pattern_stay() {
    for operator in [" (?i)php", "! php", " ", "@rx php "] {
        let written = program(&format!("SecRule ARGS \"{operator}\" \"id:1,phase:2,pass\"\n"));
        let printed = written.to_string();
        assert!(printed.contains(&format!("\"{operator}\"")), "{printed}");
        assert_eq!(without_places(&program(&printed)), without_places(&written));
    }
}

proptest! {
    #![proptest_config(Config { cases: Config::default().cases.max(512), failure_persistence: None, ..Config::default() })]

    #[test]
    fn printing_and_reading_is_nothing(written in programs()) {
        let printed = written.to_string();
        let read = program(&printed);
        assert_eq!(without_places(&read), without_places(&written), "{printed}");
        assert_eq!(read.to_string(), printed);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in r#"(SecRule |SecAction |ARGS|[|:,!&@"'\\ \n/%{}=-]|id:1|rx |setvar:|ctl:|tx\.|ä){0,40}"#) {
        let _ignored = super::read(&text);
    }
}
