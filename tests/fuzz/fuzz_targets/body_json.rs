//! JSON and GraphQL: pieces change nothing, bounds hold, `serde_json` accepts the same documents, and a string comes
//! back.

#![no_main]

use gatehouse_fuzz::Input;
use gatehouse_fuzz::body::{Cut, Value, read, read_both};
use gatehouse_waf::body::{BodyProcessor, Limits, Malformed};
use libfuzzer_sys::fuzz_target;

const TYPES: &[&[u8]] = &[b"application/json", b"application/x-ndjson", b"application/graphql"];

/// Everything fits, but for the depth, which `serde_json` limits to 127.
const WIDE: Limits = Limits {
    arguments: u32::MAX,
    depth: 120,
    parts: 0,
    part_header_bytes: 0,
    name_bytes: 1 << 20,
    body_bytes: u64::MAX,
    separator: b'&',
};

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let body = input.stretched();
    let content_type = *input.one_of(TYPES);
    read_both(&mut input, BodyProcessor::Json, content_type, &body);
    if body.len() == input.bytes().len() {
        is_judged_as_by_serde(&body);
        comes_back(&String::from_utf8_lossy(&body));
    }
});

fn is_judged_as_by_serde(body: &[u8]) {
    let (_, outcome) = read(BodyProcessor::Json, b"application/json", &WIDE, body, Cut::Nowhere);
    if body.is_empty() || outcome.malformed == Some(Malformed::TooDeep) {
        return;
    }
    match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(_) => assert_eq!(outcome.malformed, None, "serde_json accepts it"),
        // A number may be too large for a float and yet be a number.
        Err(error) if error.to_string().starts_with("number out of range") => {}
        Err(error) => assert!(outcome.malformed.is_some(), "serde_json refuses it: {error}"),
    }
}

fn comes_back(text: &str) {
    let document = serde_json::json!({ "key": [text] }).to_string();
    let (values, outcome) = read(BodyProcessor::Json, b"", &WIDE, document.as_bytes(), Cut::Nowhere);
    assert_eq!(values, [Value::Argument(b"json.key.array_0".to_vec(), text.as_bytes().to_vec())]);
    assert_eq!(outcome.malformed, None);
}
