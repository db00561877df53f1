//! How the tests of the grammars ask their questions.

use super::ordinary::ORDINARY;
use super::{Grade, KINDS, find};
use crate::cpu_time::assert_linear;
use crate::seclang::ast::OperatorKind;
use proptest::prelude::{ProptestConfig, any, proptest};

/// Asserts that each value is found, whatever the grade, and counts the certain ones.
pub(super) fn finds(kind: OperatorKind, values: &[&str]) {
    let missed: Vec<_> = values.iter().filter(|value| find(kind, value.as_bytes()).is_none()).collect();
    assert!(missed.is_empty(), "{} missed {} of {}: {missed:#?}", kind.name(), missed.len(), values.len());
}

/// Asserts that each value is found with certainty.
pub(super) fn is_certain_of(kind: OperatorKind, values: &[&str]) {
    let missed: Vec<_> = values
        .iter()
        .map(|value| (value, find(kind, value.as_bytes())))
        .filter(|(_, found)| found.as_ref().is_none_or(|found| found.grade != Grade::Certain))
        .collect();
    assert!(missed.is_empty(), "{} not certain of {} of {}: {missed:#?}", kind.name(), missed.len(), values.len());
}

/// Asserts that nothing is found in these values, nor in those that are ordinary everywhere.
pub(super) fn is_quiet_about(kind: OperatorKind, values: &[&str]) {
    let alarms: Vec<_> = values
        .iter()
        .chain(ORDINARY)
        .filter_map(|value| find(kind, value.as_bytes()).map(|found| (value, found)))
        .collect();
    assert!(alarms.is_empty(), "{} false alarms of {}: {alarms:#?}", alarms.len(), kind.name());
}

/// Asserts that these values are at most likely: they have the shape, yet are ordinary now and then.
pub(super) fn is_not_certain_of(kind: OperatorKind, values: &[&str]) {
    let alarms: Vec<_> = values
        .iter()
        .filter_map(|value| find(kind, value.as_bytes()).map(|found| (value, found)))
        .filter(|(_, found)| found.grade == Grade::Certain)
        .collect();
    assert!(alarms.is_empty(), "{} is certain of {alarms:#?}", kind.name());
}

/// Asserts that values made of a near-match, up to 64 KiB long, are judged in linear time.
pub(super) fn is_linear_in(kind: OperatorKind, seeds: &[&str]) {
    for seed in seeds {
        let value = seed.repeat(65_536 / seed.len());
        assert_linear(&format!("{} of {seed:?}", kind.name()), value.len() / 4, |size| {
            std::hint::black_box(find(kind, &value.as_bytes()[..size]));
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_grammar_panics_on_bytes(value in proptest::collection::vec(any::<u8>(), 0..200)) {
        for kind in KINDS {
            if let Some(found) = find(kind, &value) {
                assert!(found.at.start <= found.at.end && found.at.end <= value.len(), "{} {:?}", kind.name(), found);
            }
        }
    }

    #[test]
    fn no_grammar_panics_on_what_attacks_are_made_of(
        value in "(['\"`<>/\\\\(){}\\[\\]$;|&*#@=:.,!%+ \n-]|or|and|union|select|[a-c]|[0-2]|\\.\\./|http://|\\$\\{|\\{\\{|script|onload|php|eval|cat|jndi|<!|O:1|__){0,60}"
    ) {
        for kind in KINDS {
            if let Some(found) = find(kind, value.as_bytes()) {
                assert!(found.at.start <= found.at.end && found.at.end <= value.len(), "{} {:?}", kind.name(), found);
            }
        }
    }
}

#[test]
fn ordinary_values_are_quiet_under_every_grammar() {
    let mut alarms = Vec::new();
    for kind in KINDS {
        alarms.extend(
            ORDINARY.iter().filter_map(|value| find(kind, value.as_bytes()).map(|found| (kind.name(), value, found))),
        );
    }
    assert!(alarms.is_empty(), "{} false alarms: {alarms:#?}", alarms.len());
}
