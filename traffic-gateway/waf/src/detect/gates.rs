//! The gates before the grammars are exact: none keeps a grammar from what it would find.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::{ProptestConfig, any, prop, proptest};

use super::ordinary::ORDINARY;
use super::{Classes, KINDS, grammar};
use crate::decode::{Scratch, views};
use crate::golden;

/// Asserts that whatever a grammar finds in a value passes its gate.
fn gates_let_through(value: &[u8]) {
    let classes = Classes::of(value);
    for kind in KINDS {
        let grammar = grammar(kind).unwrap();
        if !(grammar.may_find)(value, classes) {
            let found = (grammar.find)(value, classes);
            assert!(found.is_none(), "{} would find {found:?} in {}", kind.name(), value.escape_ascii());
        }
    }
}

/// The values of the attacks of the golden suite, in every form they can be decoded to.
fn attacks() -> BTreeSet<Vec<u8>> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/waf/attacks"));
    let mut values = BTreeSet::new();
    let mut scratch = Scratch::default();
    for kind in std::fs::read_dir(root).unwrap() {
        for file in std::fs::read_dir(kind.unwrap().path()).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for case in golden::read(&text).unwrap() {
                let request = case.request.to_bytes();
                let parts = request.split(|byte| b"&?\r\n".contains(byte)).chain([case.request.body.as_slice()]);
                for part in parts.filter(|part| part.len() <= 600) {
                    let value = part.splitn(2, |byte| *byte == b'=').last().unwrap_or_default();
                    for bytes in [part, value] {
                        views(bytes, &mut scratch, &mut |view| {
                            values.insert(view.bytes.to_vec());
                            false
                        });
                    }
                }
            }
        }
    }
    values
}

#[test]
fn no_gate_stops_an_attack_or_what_is_left_of_one() {
    let values = attacks();
    assert!(values.len() > 2_000, "{}", values.len());
    let marks = b"'\"`<>$({[;|&*#@=:./\\%+- \n\0_!,?^~a0";
    let mut turn = 0_usize;
    for value in &values {
        gates_let_through(value);
        for step in 1..6 {
            let mut changed = value.clone();
            turn = turn.wrapping_mul(31).wrapping_add(step * 7);
            let at = turn % (value.len() + 1);
            if turn.is_multiple_of(3) && at < changed.len() {
                changed.remove(at);
            } else if turn % 3 == 1 && at < changed.len() {
                changed[at] = marks[turn / 3 % marks.len()];
            } else {
                changed.insert(at, marks[turn / 3 % marks.len()]);
            }
            gates_let_through(&changed);
        }
    }
}

#[test]
fn gates_are_exact_for_ordinary_values_and_their_beginnings() {
    for value in ORDINARY {
        gates_let_through(value.as_bytes());
        gates_let_through(&value.as_bytes()[..value.len() / 2]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn gates_are_exact_for_bytes(value in prop::collection::vec(any::<u8>(), 0..120)) {
        gates_let_through(&value);
    }

    #[test]
    fn gates_are_exact_for_what_attacks_are_made_of(
        value in "(['\"`<>/\\\\(){}\\[\\]$;|&*#@=:.,!%+ \n-]|//|\\.\\./|__proto__|constructor|prototype|or|union|select|into|outfile|sleep|declare|xp_|script:|java|mocha:|data:|style=|onload=|alert|eval|include|require|child_process|class|loader|invoke-expression|process\\.|env\\.|exec|open3\\.|/etc/passwd|0x2f|cat|sh|ls|http:|169\\.254|metadata|aced0005|rO0AB|TemplatesImpl|[a-c]|[0-2]){0,24}"
    ) {
        gates_let_through(value.as_bytes());
    }
}
