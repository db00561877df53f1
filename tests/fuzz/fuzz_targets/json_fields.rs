//! Field levels: whatever the document and the paths, it is rewritten in linear time or refused, the same however it is cut,
//! and what comes out is JSON without what is hidden.

#![no_main]

use std::sync::Arc;

use business_gateway::respond::fields::automaton::Automaton;
use business_gateway::respond::fields::mask::Mask;
use business_gateway::respond::fields::path::{Step, parse};
use business_gateway::respond::fields::rewriter::{DocumentBounds, Form, Rewriter, Unfit};
use gatehouse_fuzz::{Input, linear};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// The names of rules beside those of the input.
const HIDDEN: &str = "secret";

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let paths = input.line();
    let document = input.stretched();
    let masks = [Mask::Remove, Mask::Last4, Mask::Email, Mask::Null, Mask::Text("\"-\"".into())];
    let mut rules: Vec<(Vec<Step>, &Mask)> = vec![(parse("**.secret").unwrap(), &Mask::Remove)];
    let written = String::from_utf8_lossy(paths);
    let parsed = written.split(' ').take(16).filter_map(|path| parse(path).ok());
    rules.extend(parsed.zip(masks.iter().cycle()));
    let automaton = Arc::new(Automaton::new(rules.iter().map(|(steps, mask)| (steps.as_slice(), *mask))));
    let rewrite = |pieces: &[&[u8]]| -> (Vec<u8>, Result<(), Unfit>) {
        let bounds = DocumentBounds { depth: 64, name: 4096 };
        let mut rewriter = Rewriter::new(Arc::clone(&automaton), None, bounds, Form::Document);
        let mut out = Vec::new();
        for piece in pieces {
            if let Err(unfit) = rewriter.feed(piece, &mut out, usize::MAX) {
                return (out, Err(unfit));
            }
        }
        let outcome = rewriter.finish(&mut out);
        (out, outcome)
    };
    let (out, outcome) = linear(document.len(), || rewrite(&[&document]));
    let (one, two) = document.split_at(document.len() / 3);
    let cut = rewrite(&[one, two]);
    assert_eq!((&cut.0, cut.1), (&out, outcome));
    if outcome.is_ok()
        && let Ok(value) = serde_json::from_slice::<Value>(&out)
    {
        assert!(!shows(&value), "{value}");
    }
    if serde_json::from_slice::<Value>(&document).is_ok() {
        assert!(matches!(outcome, Ok(()) | Err(Unfit::TooDeep | Unfit::NameTooLong)), "{outcome:?}");
    }
});

fn shows(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(name, value)| name == HIDDEN || shows(value)),
        Value::Array(elements) => elements.iter().any(shows),
        _ => false,
    }
}
