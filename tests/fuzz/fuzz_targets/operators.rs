//! Operators: any argument compiles or is refused; what compiles matches in linear time, with and without captures alike;
//! captures lie inside the value; and a value that matches holds one of the literals that the prefilter searches for. The
//! first line of an input is the argument.

#![no_main]

use gatehouse_fuzz::{Input, linear};
use gatehouse_waf::operator::{Captures, Operator};
use gatehouse_waf::seclang::ast::{OperatorKind, Text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let kind = *input.one_of(OperatorKind::ALL);
    let Ok(argument) = std::str::from_utf8(input.line()) else { return };
    let file = input.bytes();
    let mut files = |_: &str| Ok(file.to_vec());
    let value = input.stretched();
    let operator = match Operator::compile(kind, &Text::from(argument), &mut files) {
        Ok(operator) => operator,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(!operator.expects_argument());
    let (mut wanted, mut unwanted) = (Captures::wanted(), Captures::unwanted());
    let matches = linear(value.len(), || operator.matches(&value, b"", &mut unwanted));
    assert_eq!(operator.matches(&value, b"", &mut wanted), matches, "depends on whether captures are wanted");
    assert!(unwanted.is_empty() && wanted.len() <= 10 && (matches || wanted.is_empty()));
    for group in 0..wanted.len() {
        assert!(wanted.get(group, &value).is_some(), "group {group} lies outside");
    }
    if let Some(literals) = operator.literals().filter(|_| matches) {
        let lower = value.to_ascii_lowercase();
        let holds = |literal: &[u8]| {
            let literal = literal.to_ascii_lowercase();
            literal.is_empty() || lower.windows(literal.len()).any(|window| window == literal)
        };
        assert!(literals.into_iter().any(holds), "matches without any of its literals");
    }
});
