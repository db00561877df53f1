//! The suites of ordinary requests and attacks are what they claim to be.

use std::collections::BTreeMap;
use std::path::Path;

use gatehouse_waf::golden::{self, Case, Expected};

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
