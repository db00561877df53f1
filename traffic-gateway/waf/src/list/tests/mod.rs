//! Each line of both layouts does what the table says, and nothing else.

mod golden;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::{FIRST_ID, Layout, ListAction, ListOptions, Lists, MAX_LINES, load, pattern};
use crate::rules::{Options, RuleSet};
use crate::seclang::ast::{
    ActionKind, Control, Directive, DirectiveKind, EngineMode, OperatorKind, Program, Rule, Selector, Toggle, Variable,
};
use crate::seclang::files::Memory;
use crate::seclang::{Warning, WarningCode};
use crate::transaction::{Mode, Start, Transaction, Verdict};
use crate::transform::Transformation;
use golden::{ADDRESSES, Case, RULE_CONFIG, WAF_CONF};

/// What becomes of a line. Two texts are a value it matches and one it does not.
#[derive(Clone, Copy, Debug)]
enum Expect {
    /// A rule without warnings.
    Matches(&'static str, &'static str),
    /// A rule with a warning that ordinary traffic matches.
    Ordinary(&'static str, &'static str),
    /// A rule with a warning that a construct was translated.
    Pcre(&'static str, &'static str),
    /// A rule with a warning that it matches nothing that was meant. Without a first value it matches nothing at all.
    Dead(&'static str, &'static str),
    /// A rule with a warning that it matches everything.
    CatchAll(&'static str, Option<&'static str>),
    /// No rule, and this error.
    Error(&'static str),
    /// No rule.
    Comment,
    /// No rule.
    Empty,
    /// A network: a client in it, and one outside.
    Network(&'static str, &'static str),
    /// The same, with a warning of how the line was read.
    Doubtful(&'static str, &'static str),
}

impl Expect {
    fn warning(self) -> Option<WarningCode> {
        let of_addresses = if let Self::Doubtful(..) = self { Some(WarningCode::AddressList) } else { None };
        of_addresses.or_else(|| self.values().and_then(|values| values.2))
    }

    fn values(self) -> Option<(Option<&'static str>, Option<&'static str>, Option<WarningCode>)> {
        match self {
            Self::Matches(hit, miss) => Some((Some(hit), Some(miss), None)),
            Self::Ordinary(hit, miss) => Some((Some(hit), Some(miss), Some(WarningCode::MatchesBenign))),
            Self::Pcre(hit, miss) => Some((Some(hit), Some(miss), Some(WarningCode::PcreSyntax))),
            Self::Dead("", miss) => Some((None, Some(miss), Some(WarningCode::DeadRule))),
            Self::Dead(hit, miss) => Some((Some(hit), Some(miss), Some(WarningCode::DeadRule))),
            Self::CatchAll(hit, miss) => Some((Some(hit), miss, Some(WarningCode::CatchAll))),
            Self::Error(_) | Self::Comment | Self::Empty | Self::Network(..) | Self::Doubtful(..) => None,
        }
    }
}

/// Whether a list of this line alone lists a client: where it is an allowed one, everybody is denied otherwise.
fn lists_client(case: &Case, client: &str) -> bool {
    let files = Memory::default().with(&format!("lists/{}", case.0), case.1);
    let is_white = case.0 == "whiteip.rule";
    let files = if is_white { files.with("lists/blackip.rule", "0.0.0.0/0\n::/0\n") } else { files };
    let (lists, _) = read(&files, &ListOptions::default());
    let rules = RuleSet::compile(&lists.program, &mut |_| Err(String::new()), &Options::default());
    let start = Start {
        client: SocketAddr::new(client.parse().unwrap(), 1),
        server: "192.0.2.1:443".parse().unwrap(),
        unique_id: "",
        unix_time: 0,
        random: 0,
    };
    let mut transaction = Transaction::new(Arc::new(rules.unwrap()), Mode::Block, start);
    transaction.request_line(b"GET", b"/", b"HTTP/1.1");
    (transaction.request_head_end() == Verdict::Pass) == is_white
}

/// The number of a line in its file.
fn line_of(cases: &[Case], index: usize) -> u32 {
    let file = cases[index].0;
    u32::try_from(cases[..=index].iter().filter(|case| case.0 == file).count()).unwrap()
}

/// The files of a table, in memory; lines that are refused become comments when `sound` is asked for.
fn files(cases: &[Case], sound: bool) -> Memory {
    let mut names: Vec<&str> = cases.iter().map(|case| case.0).collect();
    names.dedup();
    names.iter().fold(Memory::default(), |files, name| {
        let lines = cases.iter().filter(|case| case.0 == *name).map(|case| match case.2 {
            Expect::Error(_) if sound => "#",
            _ => case.1,
        });
        files.with(&format!("lists/{name}"), lines.map(|line| format!("{line}\n")).collect::<String>())
    })
}

fn read(files: &Memory, options: &ListOptions) -> (Lists, Vec<Warning>) {
    match load(files, Path::new("lists"), options) {
        Ok(read) => read,
        Err(errors) => panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

/// The rules that the lines of the table for `wafconf/` stand for, but for those by which targets skip all others.
pub(crate) fn reference_program() -> Program {
    read(&files(&WAF_CONF, true), &ListOptions { white_url: Toggle::Off, ..ListOptions::default() }).0.program
}

fn single(file: &str, content: &str) -> (Lists, Vec<Warning>) {
    read(&Memory::default().with(&format!("lists/{file}"), content), &ListOptions::default())
}

fn rule(directive: &Directive) -> &Rule {
    match &directive.kind {
        DirectiveKind::Rule(rule) => rule,
        other => panic!("{other:?}"),
    }
}

fn id(rule: &Rule) -> u32 {
    rule.actions.iter().find_map(|action| if let ActionKind::Id(id) = action.kind { Some(id) } else { None }).unwrap()
}

fn is_match(rule: &Rule, value: &str) -> bool {
    let regex = rule.operator.argument.plain().unwrap();
    regex::bytes::RegexBuilder::new(regex).unicode(false).build().unwrap().is_match(value.as_bytes())
}

/// Range of ids, phase and first target of a file.
fn place(file: &str) -> (u32, u8, Variable, Option<&'static str>) {
    match file.trim_end_matches(".rule") {
        "whiteip" => (1, 1, Variable::RemoteAddr, None),
        "blackip" => (2, 1, Variable::RemoteAddr, None),
        "whiteurl" => (3, 1, Variable::RequestFilename, None),
        "user-agent" | "useragent" => (4, 1, Variable::RequestHeaders, Some("User-Agent")),
        "url" => (5, 1, Variable::RequestUriRaw, None),
        "args" => (6, 1, Variable::ArgsGet, None),
        "cookie" => (7, 1, Variable::RequestHeaders, Some("Cookie")),
        "post" => (8, 2, Variable::ArgsPost, None),
        other => panic!("{other}"),
    }
}

fn check_rule(rule: &Rule, case: &Case) -> Result<(), String> {
    let (_, phase, variable, header) = place(case.0);
    let first = &rule.targets[0];
    let header = header.map(|name| Selector::Name(name.to_owned()));
    if (first.variable, &first.selector) != (variable, &header) {
        return Err(format!("looks at {first:?}"));
    }
    if !rule.actions.iter().any(|action| action.kind == ActionKind::Phase(phase)) {
        return Err(format!("is not of phase {phase}"));
    }
    let Some((hit, miss, _)) = case.2.values() else { return Err("is a rule".to_owned()) };
    match (hit, miss) {
        (Some(hit), _) if !is_match(rule, hit) => Err(format!("does not match {hit:?}")),
        (_, Some(miss)) if is_match(rule, miss) => Err(format!("matches {miss:?}")),
        _ => Ok(()),
    }
}

fn check(cases: &[Case]) {
    let (lists, warnings) = read(&files(cases, true), &ListOptions::default());
    let errors = load(&files(cases, false), Path::new("lists"), &ListOptions::default()).unwrap_err();
    let mut wrong = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let line = line_of(cases, index);
        let path = format!("lists/{}", case.0);
        let found: Vec<_> = warnings.iter().filter(|w| *w.file == path && w.line == line).map(|w| w.code).collect();
        let refused: Vec<_> =
            errors.iter().filter(|e| *e.file == path && e.line == line).map(|e| e.problem.to_string()).collect();
        let expected = case.2.warning();
        let warned = if expected.is_some() { found.first() == expected.as_ref() } else { found.is_empty() };
        let message = if let Expect::Error(message) = case.2 { vec![message.to_owned()] } else { Vec::new() };
        if !warned || refused != message {
            wrong.push(format!("{path}:{line} {:?}: warnings {found:?}, errors {refused:?}", case.1));
        }
        if let Expect::Network(hit, miss) | Expect::Doubtful(hit, miss) = case.2
            && (!lists_client(case, hit) || lists_client(case, miss))
        {
            wrong.push(format!("{path}:{line} {:?}: not {hit}, or {miss}", case.1));
        }
        if case.2.values().is_none() {
            continue;
        }
        let wanted = FIRST_ID + place(case.0).0 * 100_000 + line;
        let Some(rule) = lists.program.directives.iter().map(rule).find(|rule| id(rule) == wanted) else {
            wrong.push(format!("{path}:{line} {:?}: no rule {wanted}", case.1));
            continue;
        };
        if let Err(message) = check_rule(rule, case) {
            wrong.push(format!("{path}:{line} {:?} as {}: {message}", case.1, rule.operator.argument));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let rules = cases.iter().filter(|case| case.2.values().is_some() && !case.0.ends_with("ip.rule")).count();
    let generated = 2 + if cases.iter().any(|case| case.0.starts_with("post")) { 3 } else { 0 };
    let directives = lists.program.directives.iter().map(rule);
    let of_addresses = directives.filter(|rule| rule.targets[0].variable == Variable::RemoteAddr).count();
    assert_eq!(lists.program.directives.len(), rules + generated + of_addresses);
}

#[test]
fn every_line_of_wafconf_does_what_it_says() {
    check(&WAF_CONF);
}

#[test]
fn every_line_of_rule_config_does_what_it_says() {
    check(&RULE_CONFIG);
}

#[test]
fn every_line_of_a_list_of_addresses_lists_whom_it_means() {
    check(&ADDRESSES);
}

#[test]
fn allowed_addresses_come_first_and_a_list_of_them_is_one_rule() {
    let files = Memory::default()
        .with("lists/blackip.rule", "10.0.0.1\n10.0.1.\n^172\\.(?:16|17)\\.\n")
        .with("lists/whiteip.rule", "10.0.0.2\n")
        .with("lists/whiteurl.rule", "^/a\n");
    let (lists, warnings) = read(&files, &ListOptions::default());
    let ids: Vec<u32> = lists.program.directives.iter().map(|directive| id(rule(directive)) - FIRST_ID).collect();
    assert_eq!(ids, [100_000, 200_000, 200_003, 1, 2, 300_001]);
    let denied = rule(&lists.program.directives[1]);
    assert_eq!(denied.operator.argument.plain(), Some("10.0.0.1,10.0.1.0/24"));
    let told: Vec<_> = warnings.iter().map(ToString::to_string).filter(|text| text.contains("blackip")).collect();
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(told.iter().any(|text| text.contains("read as the network 10.0.1.0/24")), "{told:#?}");
    assert!(told.iter().any(|text| text.contains(r"^(?:172\.(?:16|17)\.)")), "{told:#?}");
    assert!(told.iter().any(|text| text.contains("[[access.list]]")), "{told:#?}");
}

#[test]
fn both_layouts_have_a_hundred_and_thirty_nine_lines() {
    assert_eq!(WAF_CONF.len() + RULE_CONFIG.len(), 139);
}

#[test]
fn a_match_of_the_white_list_switches_off_the_firewall_and_nothing_else() {
    let (lists, _) = single("whiteurl", "\n^/a\n\n");
    let white = rule(lists.program.directives.last().unwrap());
    let kinds: Vec<_> = white.actions.iter().map(|action| &action.kind).collect();
    assert!(kinds.contains(&&ActionKind::Control(Control::RuleEngine(EngineMode::Off))));
    assert!(kinds.contains(&&ActionKind::Pass));
    assert!(kinds.contains(&&ActionKind::Transform(Transformation::NormalizePath)));
    assert_eq!(lists.program.directives.len(), 3);
}

#[test]
fn an_empty_white_list_switches_nothing_off() {
    let (lists, warnings) = single("whiteurl", "\n\r\n   \n# a\n");
    assert_eq!(lists.program.directives.len(), 2);
    assert!(warnings.is_empty());
}

#[test]
fn lists_stand_in_the_order_of_the_reference() {
    let (lists, _) = read(&files(&WAF_CONF, true), &ListOptions::default());
    let ids: Vec<u32> = lists.program.directives.iter().map(|directive| id(rule(directive))).collect();
    let ranges: Vec<u32> = ids.iter().map(|id| (id - FIRST_ID) / 100_000).filter(|range| *range > 0).collect();
    assert!(ranges.is_sorted());
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len());
}

#[test]
fn headers_of_scanners_are_refused_unless_switched_off() {
    let files = Memory::default().with("lists/args", "x\n");
    let (lists, _) = read(&files, &ListOptions::default());
    let first = rule(&lists.program.directives[0]);
    assert_eq!(first.targets[0].selector, Some(Selector::Name("Acunetix-Aspect".to_owned())));
    assert_eq!(first.operator.kind, OperatorKind::Gt);
    let (lists, _) = read(&files, &ListOptions { scanner_headers: Toggle::Off, ..ListOptions::default() });
    assert_eq!(lists.program.directives.len(), 1);
}

#[test]
fn each_list_can_be_switched_off() {
    let off = |options: ListOptions| read(&files(&WAF_CONF, true), &options).0.program.directives.len();
    let all = off(ListOptions::default());
    let count = |file: &str| WAF_CONF.iter().filter(|case| case.0 == file && case.2.values().is_some()).count();
    let on = ListOptions::default();
    assert_eq!(all - off(ListOptions { args: Toggle::Off, ..on }), count("args"));
    assert_eq!(all - off(ListOptions { cookie: Toggle::Off, ..on }), count("cookie"));
    assert_eq!(all - off(ListOptions { url: Toggle::Off, ..on }), count("url"));
    assert_eq!(all - off(ListOptions { user_agent: Toggle::Off, ..on }), count("user-agent"));
    assert_eq!(all - off(ListOptions { white_url: Toggle::Off, ..on }), count("whiteurl"));
    assert_eq!(all - off(ListOptions { post: Toggle::Off, ..on }), count("post") + 3);
}

#[test]
fn a_match_is_only_logged_when_options_say_so() {
    let files = Memory::default().with("lists/args", "x\n");
    let (lists, _) = read(&files, &ListOptions { action: ListAction::Log, ..ListOptions::default() });
    let denies = |directive: &Directive| rule(directive).actions.iter().any(|action| action.kind == ActionKind::Deny);
    assert!(!lists.program.directives.iter().any(denies));
}

#[test]
fn rules_carry_their_file_line_and_hash() {
    let (lists, _) = single("args", "\nx\n");
    let tags: Vec<_> = rule(&lists.program.directives[2])
        .actions
        .iter()
        .filter_map(|action| if let ActionKind::Tag(tag) = &action.kind { tag.plain() } else { None })
        .collect();
    assert_eq!(tags, ["attack_method/Deny_URL_Args", "list/args:2", "hash/af63f54c86021707"]);
}

#[test]
fn a_directory_holds_one_layout() {
    let message = |files: Memory| load(&files, Path::new("lists"), &ListOptions::default()).unwrap_err()[0].to_string();
    let both = Memory::default().with("lists/args", "").with("lists/args.rule", "");
    assert_eq!(message(both), "lists:0:0: lists of both layouts, args and args.rule; keep one layout in a directory");
    assert_eq!(message(Memory::default()), "lists:0:0: no list in this directory; name files like args or args.rule");
}

#[test]
fn errors_stand_at_the_character_that_is_wrong() {
    let files = Memory::default().with("lists/args", "ok\nä(?=x)\nb\\");
    let errors = load(&files, Path::new("lists"), &ListOptions::default()).unwrap_err();
    let places: Vec<_> = errors.iter().map(|error| (error.line, error.column)).collect();
    assert_eq!(places, [(2, 2), (3, 2)]);
}

#[test]
fn the_number_of_lines_is_bounded() {
    let files =
        Memory::default().with("lists/blackip.rule", "10.0.0.1\n".repeat(usize::try_from(MAX_LINES).unwrap() + 1));
    let errors = load(&files, Path::new("lists"), &ListOptions::default()).unwrap_err();
    assert_eq!(errors[0].line, MAX_LINES + 1);
}

#[test]
fn the_layout_says_what_case_and_dot_mean() {
    assert_eq!((Layout::WafConf.flags(), Layout::RuleConfig.flags()), ("(?is)", "(?-is)"));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: proptest::test_runner::Config::default().cases.max(1_024), failure_persistence: None, ..Default::default() })]

    /// What is translated compiles, but for what both engines refuse; nothing panics.
    #[test]
    fn no_expression_makes_the_translation_panic(text in r"([\[\]\\(){}|^$.*+?:<>=!#&~a-dQERhvxZ0-9,-]|\\[a-zA-Z<>]|ä){0,24}") {
        if let Ok(translated) = pattern::translate(&text) {
            let _ignored = regex::bytes::RegexBuilder::new(&translated.regex).unicode(false).build();
        }
    }

    /// Text between `\Q` and `\E` matches itself.
    #[test]
    fn quoted_text_matches_itself(text in r"[ -\[\]-~äß]{1,20}") {
        let translated = pattern::translate(&format!("\\Q{text}\\E")).unwrap();
        let regex = regex::bytes::RegexBuilder::new(&format!("^{}$", translated.regex)).unicode(false).build().unwrap();
        assert!(regex.is_match(text.as_bytes()));
    }
}
