//! Tests of the language as a whole.

mod crs;
mod errors;
mod files;
mod printing;
mod reading;

use super::ast::{ActionKind, DirectiveKind, Program, Rule};
use super::files::Memory;
use super::{Parsed, parse_text};

/// Reads one text that includes nothing.
fn read(text: &str) -> Parsed {
    parse_text(&Memory::default(), "test.conf", text)
}

/// Reads one text without errors.
fn program(text: &str) -> Program {
    match read(text) {
        Ok((program, _)) => program,
        Err(errors) => panic!("{text}\n{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

/// The rule that a text of one directive holds.
fn rule(text: &str) -> Rule {
    match program(text).directives.pop().unwrap().kind {
        DirectiveKind::Rule(rule) => rule,
        other => panic!("{other:?}"),
    }
}

/// The kinds of the actions of a `SecAction` with an id.
fn actions(list: &str) -> Vec<ActionKind> {
    match program(&format!("SecAction \"id:1,{list}\"")).directives.pop().unwrap().kind {
        DirectiveKind::Action(actions) => actions.into_iter().skip(1).map(|action| action.kind).collect(),
        other => panic!("{other:?}"),
    }
}
