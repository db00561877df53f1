//! The suites of ordinary requests and attacks, and the default rules against them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot read its suite has failed")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use gatehouse_waf::golden::{self, Case, Expected, Outcome};
use gatehouse_waf::rules::Options;
use gatehouse_waf::seclang::files::Disk;
use gatehouse_waf::{RuleSet, seclang};

/// The rules that are on by default.
fn default_rules() -> Arc<RuleSet> {
    let pattern = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/config/edge/waf/*.conf");
    let (program, warnings) = seclang::parse(&Disk, &[pattern]).unwrap_or_else(|errors| panic!("{errors:#?}"));
    assert!(warnings.is_empty(), "{warnings:#?}");
    let mut no_files = |name: &str| Err(format!("{name}: the default rules name no files"));
    let rules = RuleSet::compile(&program, &mut no_files, &Options::default());
    Arc::new(rules.unwrap_or_else(|errors| panic!("{errors:#?}")))
}

/// The cases of `ordinary` or `attacks`, by kind.
fn suite(name: &str) -> BTreeMap<String, Vec<Case>> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/waf")).join(name);
    let mut kinds = BTreeMap::new();
    for kind in std::fs::read_dir(&root).unwrap() {
        let kind = kind.unwrap().path();
        let cases: &mut Vec<Case> = kinds.entry(kind.file_name().unwrap().to_str().unwrap().to_owned()).or_default();
        for file in std::fs::read_dir(&kind).unwrap() {
            let file = file.unwrap().path();
            let text = std::fs::read_to_string(&file).unwrap();
            cases.extend(golden::read(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
        }
    }
    kinds
}

#[test]
fn the_suites_are_as_large_and_as_varied_as_promised() {
    for (name, verdict, kinds, cases) in [("ordinary", Expected::Pass, 14, 420), ("attacks", Expected::Deny, 17, 520)] {
        let suite = suite(name);
        let all: Vec<&Case> = suite.values().flatten().collect();
        for (kind, cases) in &suite {
            eprintln!("{name} {kind}: {}", cases.len());
        }
        assert!(suite.len() >= kinds && all.len() >= cases, "{name}: {} kinds, {} cases", suite.len(), all.len());
        assert!(all.iter().all(|case| case.expected == verdict), "{name}: a case with the other verdict");
        for case in &all {
            assert!(case.request.has_field("Host"), "{}", case.name);
            assert!(case.request.body.len() <= 128 << 10, "{}: longer than the cap", case.name);
            let mut target = case.request.target.iter();
            assert!(
                target.all(|&byte| byte > b' ' && byte < 0x7f && !b"\"<>\\`#".contains(&byte)),
                "{}: not a target on the wire",
                case.name
            );
        }
    }
}

#[test]
fn no_request_is_there_twice() {
    let mut seen = BTreeMap::new();
    for (suite_name, suite) in [("ordinary", suite("ordinary")), ("attacks", suite("attacks"))] {
        for case in suite.into_values().flatten() {
            let name = format!("{suite_name}: {}", case.name);
            if let Some(other) = seen.insert(case.request.to_bytes(), name.clone()) {
                panic!("{name} and {other} are the same request");
            }
        }
    }
}

/// Runs a suite, prints what was refused of each kind and every case with another verdict than its own, and gives their
/// number and that of all cases.
fn wrong_verdicts(name: &str) -> (usize, usize) {
    let rules = default_rules();
    let (mut wrong, mut all) = (0, 0);
    for (kind, cases) in suite(name) {
        let mut refused = 0;
        let mut lines = String::new();
        for case in &cases {
            let outcome = golden::run(&rules, &case.request);
            refused += usize::from(outcome.verdict != gatehouse_waf::transaction::Verdict::Pass);
            let failures = outcome.failures(case);
            wrong += usize::from(!failures.is_empty());
            for failure in failures {
                lines.push_str(&format!("  line {}: {failure}: {}\n{}", case.line, case.name, matches(&outcome)));
            }
        }
        all += cases.len();
        eprintln!("{name} {kind}: {} cases, {refused} refused\n{lines}", cases.len());
    }
    (wrong, all)
}

/// The rules that matched and what they matched.
fn matches(outcome: &Outcome) -> String {
    let mut lines = String::new();
    for found in &outcome.report.matches {
        for target in &found.targets {
            lines.push_str(&format!(
                "    {} {}: {}\n      {}\n",
                found.id,
                target.name,
                found.message,
                target.bytes.escape_ascii()
            ));
        }
    }
    lines
}

#[test]
fn the_default_rules_refuse_no_ordinary_request() {
    let (wrong, all) = wrong_verdicts("ordinary");
    eprintln!("{wrong} of {all} ordinary requests refused");
    assert_eq!(wrong, 0);
}

#[test]
fn the_default_rules_refuse_ninety_nine_of_a_hundred_attacks() {
    let (wrong, all) = wrong_verdicts("attacks");
    eprintln!("{wrong} of {all} attacks passed");
    assert!(wrong * 100 <= all, "{wrong} of {all} attacks passed");
}
