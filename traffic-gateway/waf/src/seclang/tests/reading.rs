//! All spellings of the language, and the time reading takes.

use super::super::ast::{
    AllowScope, BodyProcessor, Change, Control, EngineMode, OperatorKind, Piece, Position, Selection, Selector,
    SetVariable, Setting, TargetKind, Text, Toggle, Variable, XPath,
};
use super::super::{MAX_ERRORS, WarningCode};
use super::{ActionKind, DirectiveKind, actions, program, read, rule};
use crate::transform::Transformation;

fn selectors(list: &str) -> Vec<(TargetKind, Variable, Option<Selector>)> {
    let rule = rule(&format!("SecRule {list} x id:1"));
    rule.targets.into_iter().map(|target| (target.kind, target.variable, target.selector)).collect()
}

fn operator(written: &str) -> (bool, OperatorKind, String) {
    let operator = rule(&format!("SecRule ARGS {written} id:1")).operator;
    (operator.negated, operator.kind, operator.argument.plain().unwrap().to_owned())
}

fn set(name: &str, change: Change) -> Vec<ActionKind> {
    vec![ActionKind::SetVariable(SetVariable { name: name.into(), change })]
}

fn control(written: &str) -> Control {
    match actions(&format!("ctl:{written}")).pop() {
        Some(ActionKind::Control(control)) => control,
        other => panic!("{other:?}"),
    }
}

#[test]
fn positions_are_those_of_the_characters_as_written() {
    let text = "# ä\r\nSecRule \"ARGS:ä|\\\r\n\t FILES\" \\\r\n  \"!@rx \\\"ö\\\"\" \\\r\n  \"id:1,msg:'ü \\\" ',\\\r\n   pass\"\r\n";
    let program = program(text);
    let DirectiveKind::Rule(rule) = &program.directives[0].kind else { panic!() };
    let place = |position: Position| (position.line, position.column);
    assert_eq!(place(program.directives[0].position), (2, 1));
    assert_eq!(rule.targets.iter().map(|target| place(target.position)).collect::<Vec<_>>(), [(2, 10), (3, 3)]);
    assert_eq!(place(rule.operator.position), (4, 4));
    assert_eq!(rule.operator.argument.plain(), Some("\"ö\""));
    assert_eq!(rule.actions.iter().map(|action| place(action.position)).collect::<Vec<_>>(), [(5, 4), (5, 9), (6, 4)]);
}

#[test]
fn positions_behind_escaped_quotes_and_far_into_a_line_stay_exact() {
    let text = format!("SecAction \"msg:'{}\\\"\\\"',id:1\"", "ä".repeat(1_000));
    let program = program(&text);
    let DirectiveKind::Action(actions) = &program.directives[0].kind else { panic!() };
    assert_eq!(actions[1].position.column, 11 + 1 + 5 + 1_000 + 4 + 2);
}

#[test]
fn comments_end_with_their_line() {
    let (program, warnings) = read("# one \\\nSecMarker A\n#SecRule x \\\n#   y\nSecMarker B").unwrap();
    assert_eq!(program.directives.len(), 2);
    assert_eq!(
        warnings.iter().map(|warning| (warning.line, warning.code)).collect::<Vec<_>>(),
        [(1, WarningCode::CommentContinues)]
    );
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert_eq!(program("\u{feff}SecMarker A").directives[0].position.column, 1);
}

#[test]
fn targets_in_all_spellings() {
    let name = |name: &str| Some(Selector::Name(name.to_owned()));
    let regex = |regex: &str| Some(Selector::Regex(regex.to_owned()));
    let include = |variable, selector| (TargetKind::Include, variable, selector);
    assert_eq!(selectors("args|Args_Names"), [include(Variable::Args, None), include(Variable::ArgsNames, None)]);
    assert_eq!(
        selectors("\"ARGS | !ARGS:b |&REQUEST_HEADERS:Host\""),
        [
            include(Variable::Args, None),
            (TargetKind::Exclude, Variable::Args, name("b")),
            (TargetKind::Count, Variable::RequestHeaders, name("Host")),
        ]
    );
    assert_eq!(
        selectors("TX:/^a|b\\/c/|ARGS"),
        [include(Variable::Tx, regex("^a|b\\/c")), include(Variable::Args, None)]
    );
    assert_eq!(
        selectors("ARGS:'/a b|c/'|FILES"),
        [include(Variable::Args, regex("a b|c")), include(Variable::Files, None)]
    );
    assert_eq!(selectors("ARGS:'it\\'s, so'"), [include(Variable::Args, name("it's, so"))]);
    assert_eq!(selectors("ARGS:/a/b/"), [include(Variable::Args, regex("a/b"))]);
    let xml = |path| include(Variable::Xml, Some(Selector::XPath(path)));
    assert_eq!(selectors("XML:/*|XML://@*"), [xml(XPath::Text), xml(XPath::Attributes)]);
}

#[test]
fn operators_in_all_spellings() {
    assert_eq!(operator("abc"), (false, OperatorKind::Rx, "abc".to_owned()));
    assert_eq!(operator("!abc"), (true, OperatorKind::Rx, "abc".to_owned()));
    assert_eq!(operator("\"  a b \""), (false, OperatorKind::Rx, "  a b ".to_owned()));
    assert_eq!(operator("\"@rx  a b \""), (false, OperatorKind::Rx, "a b ".to_owned()));
    assert_eq!(operator("\"! @PM a b \""), (true, OperatorKind::Pm, "a b".to_owned()));
    assert_eq!(operator("'@rx \"x\\'\\\"'"), (false, OperatorKind::Rx, "\"x'\\\"".to_owned()));
    assert_eq!(operator("\"@rx a\\\\\""), (false, OperatorKind::Rx, "a\\\\".to_owned()));
    assert_eq!(operator("\"@rx %{2}x%\\{a}\""), (false, OperatorKind::Rx, "%{2}x%\\{a}".to_owned()));
    assert_eq!(operator("\"@pmf a.data\""), (false, OperatorKind::PmFromFile, "a.data".to_owned()));
    assert_eq!(operator("@unconditionalMatch"), (false, OperatorKind::UnconditionalMatch, String::new()));
}

#[test]
fn references_are_read_out_of_texts() {
    let reference = |variable, member: Option<&str>| Piece::Reference(variable, member.map(str::to_owned));
    let expected = vec![
        Piece::Plain("100% of ".to_owned()),
        reference(Variable::MatchedVar, None),
        reference(Variable::Tx, Some("A.b")),
        Piece::Plain("!".to_owned()),
    ];
    assert_eq!(actions("msg:'100% of %{matched_var}%{tx.A.b}!'"), [ActionKind::Message(Text { pieces: expected })]);
}

#[test]
fn setvar_in_all_spellings() {
    let score = || Text { pieces: vec![Piece::Reference(Variable::Tx, Some("y".to_owned()))] };
    assert_eq!(actions("setvar:tx.x=1"), set("x", Change::Set("1".into())));
    assert_eq!(actions("setvar:TX.X_y=1"), set("x_y", Change::Set("1".into())));
    assert_eq!(actions("setvar:tx.x"), set("x", Change::Set("1".into())));
    assert_eq!(actions("setvar:tx.x="), set("x", Change::Set(Text::default())));
    assert_eq!(actions("setvar:!tx.x"), set("x", Change::Unset));
    assert_eq!(actions("setvar:'!tx.x'"), set("x", Change::Unset));
    assert_eq!(actions("setvar:tx.x=+%{tx.y}"), set("x", Change::Add(score())));
    assert_eq!(actions("setvar:'tx.x=-5'"), set("x", Change::Subtract("5".into())));
    assert_eq!(actions("setvar:'tx.x=a,b=c'"), set("x", Change::Set("a,b=c".into())));
    assert_eq!(actions("setvar:tx.x='a,b'"), set("x", Change::Set("a,b".into())));
    let name =
        Text { pieces: vec![Piece::Plain("a_".to_owned()), Piece::Reference(Variable::Tx, Some("1".to_owned()))] };
    assert_eq!(actions("setvar:'tx.A_%{tx.1}=/%{tx.y}/'")[0], {
        let value = Text {
            pieces: vec![Piece::Plain("/".to_owned()), score().pieces[0].clone(), Piece::Plain("/".to_owned())],
        };
        ActionKind::SetVariable(SetVariable { name, change: Change::Set(value) })
    });
}

#[test]
fn ctl_in_all_spellings() {
    assert_eq!(control("ruleEngine=off"), Control::RuleEngine(EngineMode::Off));
    assert_eq!(control("RuleRemoveById=100-199"), Control::Remove(Selection::Ids(vec![100..=199])));
    assert_eq!(control("ruleRemoveByTag=attack-.*"), Control::Remove(Selection::Tag("attack-.*".to_owned())));
    assert_eq!(control("ruleRemoveByMsg='a, b'"), Control::Remove(Selection::Message("a, b".to_owned())));
    assert_eq!(control("requestBodyProcessor=xml"), Control::BodyProcessor(BodyProcessor::Xml));
    assert_eq!(control("forceRequestBodyVariable=On"), Control::ForceRequestBodyVariable(Toggle::On));
    assert_eq!(control("auditEngine=RelevantOnly"), Control::AuditEngine(EngineMode::DetectionOnly));
    assert_eq!(control("auditLogParts=+E"), Control::AuditLogParts);
    let Control::RemoveTarget(rules, target) = control("ruleRemoveTargetById=1;ARGS:'/^a,b|c/'") else { panic!() };
    assert_eq!((rules, target.selector), (Selection::Ids(vec![1..=1]), Some(Selector::Regex("^a,b|c".to_owned()))));
    assert_eq!((target.position.line, target.position.column), (1, 17));
}

#[test]
fn actions_in_all_spellings() {
    assert_eq!(
        actions(" phase : request , t:none,T:URLDecodeUni")[..2],
        [ActionKind::Phase(2), ActionKind::TransformNone]
    );
    assert_eq!(actions("t:sha1"), [ActionKind::Transform(Transformation::Sha1)]);
    assert_eq!(actions("phase:'response'"), [ActionKind::Phase(4)]);
    assert_eq!(actions("phase:logging"), [ActionKind::Phase(5)]);
    assert_eq!(actions("severity:'CRITICAL'"), [ActionKind::Severity(2)]);
    assert_eq!(actions("severity:5"), [ActionKind::Severity(5)]);
    assert_eq!(actions("allow:PHASE,status:'403'"), [ActionKind::Allow(AllowScope::Phase), ActionKind::Status(403)]);
    assert_eq!(actions("msg:it's, log")[0], ActionKind::Message("it's".into()));
    assert_eq!(actions("msg:'it\\'s: a, b'"), [ActionKind::Message("it's: a, b".into())]);
    assert_eq!(actions("redirect:https://x.org/?a=%{unique_id}").len(), 1);
    assert_eq!(actions("nolog,noauditlog"), [ActionKind::Log(Toggle::Off), ActionKind::AuditLog(Toggle::Off)]);
}

#[test]
fn an_ordinary_configuration_loads_with_warnings() {
    let text = "SecRuleEngine DetectionOnly\nSecRequestBodyAccess On\nSecRequestBodyLimit 13107200\nSecRequestBodyNoFilesLimit 131072\n\
                SecRequestBodyLimitAction Reject\nSecRequestBodyJsonDepthLimit 512\nSecArgumentsLimit 1000\nSecResponseBodyAccess On\n\
                SecResponseBodyMimeType text/plain TEXT/HTML text/xml\nSecResponseBodyLimit 524288\nSecResponseBodyLimitAction \
                ProcessPartial\nSecTmpDir /tmp/\nSecDataDir /tmp/\nSecAuditEngine RelevantOnly\nSecAuditLogRelevantStatus \
                \"^(?:5|4(?!04))\"\nSecAuditLogParts ABIJDEFHZ\nSecAuditLogType Serial\nSecAuditLog /var/log/modsec_audit.log\n\
                SecArgumentSeparator &\nSecCookieFormat 0\nSecUnicodeMapFile unicode.mapping 20127\nSecStatusEngine Off\n\
                SecPcreMatchLimit 1000\nSecUploadKeepFiles Off\nSecXmlExternalEntity Off\nSecResponseBodyMimeTypesClear\n";
    let (program, warnings) = read(text).unwrap();
    let setting = |wanted: &Setting| {
        program.directives.iter().any(|directive| directive.kind == DirectiveKind::Setting(wanted.clone()))
    };
    assert!(setting(&Setting::Engine(EngineMode::DetectionOnly)));
    assert!(setting(&Setting::ResponseBodyMimeType(
        ["text/plain", "text/html", "text/xml"].map(str::to_owned).to_vec()
    )));
    assert!(setting(&Setting::ArgumentSeparator(b'&')));
    assert!(setting(&Setting::ResponseBodyMimeType(Vec::new())));
    assert_eq!(warnings.len(), 13);
    assert!(warnings.iter().all(|warning| warning.code == WarningCode::IgnoredDirective));
}

#[test]
fn directives_that_change_rules_are_read() {
    let kinds = |text: &str| program(text).directives.pop().unwrap().kind;
    let ids = Selection::Ids(vec![1..=1, 5..=9, 20..=20]);
    assert_eq!(kinds("SecRuleRemoveById 1 \"5-9,20\""), DirectiveKind::Remove(ids));
    assert_eq!(kinds("SecRuleRemoveByMsg 'a b'"), DirectiveKind::Remove(Selection::Message("a b".to_owned())));
    let DirectiveKind::UpdateTarget(rules, targets) = kinds("SecRuleUpdateTargetByTag x \"!ARGS:a|!ARGS:b\"") else {
        panic!()
    };
    assert_eq!((rules, targets.len()), (Selection::Tag("x".to_owned()), 2));
    let DirectiveKind::UpdateAction(id, actions) = kinds("SecRuleUpdateActionById 7 deny,status:404") else { panic!() };
    assert_eq!((id, actions.len()), (7, 2));
}

/// Quadratic reading would take hours, whatever makes it so.
#[test]
fn ten_megabytes_of_near_rules_take_linear_time() {
    let link = format!("SecRule ARGS|FILES \"@rx {}\" \"chain\"\n", "\\\"x".repeat(25));
    let text = format!("SecAction id:1,chain\n{}", link.repeat((10 << 20) / link.len()));
    assert_eq!(read(&text).unwrap_err().len(), 1);
}

#[test]
fn a_megabyte_in_one_directive_takes_linear_time() {
    const SIZE: usize = 1 << 20;
    let repeat = |before: &str, part: &str, after: &str| format!("{before}{}{after}", part.repeat(SIZE / part.len()));
    let texts = [
        repeat("SecRule ", "ARGS|", " x id:1"),
        repeat("SecRule ARGS:/", "a/b", " x id:1"),
        repeat("SecRule ARGS:'", "\\'", ""),
        repeat("SecRule ARGS \"", "\\\"ä", ""),
        repeat("SecRule ARGS x \"", "msg:'a',", ""),
        repeat("SecRule ARGS x \"id:1,msg:'", "%{tx.x", "'\""),
        repeat("SecRule ARGS x \"id:1,msg:'", "ä%{tx.x}\\\"", "'\""),
        repeat("SecRule \\\n", " \\\n", ""),
        repeat("", "\"", ""),
        repeat("", "'a ", ""),
        repeat("", "# \\\n", ""),
    ];
    for text in texts {
        if let Err(errors) = read(&text) {
            assert!(errors.len() <= MAX_ERRORS);
            assert!(errors.iter().all(|error| error.to_string().len() < 1_000));
        }
    }
}
