//! All cases of the regression suite. Those that do not pass stand in `differences.txt`, each with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use regex::Regex;

use crate::engine::{Engine, Outcome};
use crate::suite::{self, Case, Expected};

/// How many cases version 4.28.0 has.
const CASES: usize = 4_966;

/// The fewest that pass, in thousandths.
const LEAST: usize = 995;

/// The cases that do not pass: `NUMBER REASON`, a line each.
const DIFFERENCES: &str = include_str!("differences.txt");

/// The cases that say nothing about rules, and are refused before those are asked: a number a line.
const REFUSED_BY_HTTP: &str = include_str!("refused_by_http.txt");

/// The lines of a list.
fn lines(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// What is not as expected.
fn wrong(expected: &Expected, outcome: &Outcome) -> Option<String> {
    let mut wrong = String::new();
    for id in expected.ids.iter().filter(|id| !outcome.ids.contains(id)) {
        write!(wrong, "{id} is missing; ").unwrap();
    }
    for id in expected.no_ids.iter().filter(|id| outcome.ids.contains(id)) {
        write!(wrong, "{id} matches; ").unwrap();
    }
    let is_logged = |pattern: &&String| Regex::new(pattern).unwrap().is_match(&outcome.log);
    if let Some(pattern) = expected.log.as_ref().filter(|pattern| !is_logged(pattern)) {
        write!(wrong, "nothing like {pattern} in the log; ").unwrap();
    }
    if let Some(pattern) = expected.no_log.as_ref().filter(is_logged) {
        write!(wrong, "something like {pattern} in the log; ").unwrap();
    }
    (!wrong.is_empty()).then(|| format!("{wrong}there are {:?}\n{}", outcome.ids, outcome.log))
}

/// What is not as expected of a case.
fn wrong_of(engine: &Engine, refused_by_http: &BTreeSet<&str>, case: &Case) -> Option<String> {
    let is_refused = refused_by_http.contains(case.name.as_str());
    case.stages.iter().find_map(|stage| {
        let expected = &stage.expected;
        // Without a word about rules the status is what counts, and it is never that of one.
        if expected.status == Some(400) && is_refused {
            wrong(expected, &Outcome::default())
        } else if expected.is_about_the_log() && !is_refused {
            wrong(expected, &engine.show(&stage.message))
        } else if is_refused {
            Some(format!("the edge refuses it, which should be answered {:?}", expected.status))
        } else {
            Some("the edge does not refuse it".to_owned())
        }
    })
}

#[test]
fn the_regression_suite_passes_but_for_what_is_listed() {
    let Some(directory) = suite::directory() else { return };
    let cases = suite::read(&directory).unwrap();
    assert_eq!(cases.len(), CASES);
    let engine = Engine::detecting(&directory).unwrap();
    let refused_by_http: BTreeSet<&str> = lines(REFUSED_BY_HTTP).collect();
    let mut found = BTreeMap::new();
    for case in &cases {
        if let Some(wrong) = wrong_of(&engine, &refused_by_http, case) {
            found.insert(case.name.as_str(), wrong);
        }
    }
    println!("crs_regression = {}/{CASES}", CASES - found.len());
    let listed: BTreeMap<&str, &str> =
        lines(DIFFERENCES).map(|line| line.split_once(' ').expect("a number and a reason")).collect();
    for (name, wrong) in found.iter().filter(|(name, _)| !listed.contains_key(*name)) {
        println!("{name}: {wrong}");
    }
    let passing: Vec<_> = listed.keys().filter(|name| !found.contains_key(*name)).collect();
    assert!(found.keys().all(|name| listed.contains_key(name)), "cases fail that are not listed");
    assert!(passing.is_empty(), "cases pass that are listed: {passing:?}");
    assert!((CASES - found.len()) * 1_000 >= CASES * LEAST, "fewer than {LEAST} of 1000 pass");
}
