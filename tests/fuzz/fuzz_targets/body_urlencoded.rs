//! Forms: pieces change nothing, bounds hold, a form is read as the query string of the same bytes, and what is encoded
//! comes back.

#![no_main]

use gatehouse_fuzz::body::{Cut, Value, read, read_both};
use gatehouse_fuzz::{Input, linear};
use gatehouse_waf::body::{BodyProcessor, Limits, query};
use libfuzzer_sys::fuzz_target;

const TYPE: &[u8] = b"application/x-www-form-urlencoded";

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let body = input.stretched();
    read_both(&mut input, BodyProcessor::UrlEncoded, TYPE, &body);

    let limits = Limits { separator: *input.one_of(b"&;"), body_bytes: u64::MAX, ..Limits::default() };
    let form = read(BodyProcessor::UrlEncoded, TYPE, &limits, &body, Cut::Nowhere);
    let mut pairs = Vec::new();
    let outcome = linear(body.len(), || {
        query(&body, &limits, |name, value| pairs.push(Value::Argument(name.to_vec(), value.to_vec())))
    });
    assert_eq!(form, (pairs, outcome));

    let digit = |number: u8| b"0123456789abcdef"[usize::from(number)];
    let encoded = body.iter().flat_map(|byte| [b'%', digit(byte >> 4), digit(byte & 15)]);
    let form: Vec<u8> = b"a=".iter().copied().chain(encoded).collect();
    let (values, outcome) = read(BodyProcessor::UrlEncoded, TYPE, &limits, &form, Cut::Nowhere);
    assert_eq!(values, [Value::Argument(b"a".to_vec(), body.to_vec())]);
    assert!(outcome.malformed.is_none() && outcome.faults.is_empty());
});
