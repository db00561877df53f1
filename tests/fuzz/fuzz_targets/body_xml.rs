//! XML: pieces change nothing, bounds hold, and text and attributes that are escaped come back.

#![no_main]

use gatehouse_fuzz::Input;
use gatehouse_fuzz::body::{Cut, Value, read, read_both};
use gatehouse_waf::body::{BodyProcessor, Limits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let body = input.stretched();
    read_both(&mut input, BodyProcessor::Xml, b"text/xml", &body);
    if body.len() == input.bytes().len() {
        comes_back(&String::from_utf8_lossy(&body));
    }
});

fn comes_back(text: &str) {
    if text.trim_ascii().is_empty() {
        return;
    }
    let mut escaped = String::new();
    for char in text.chars() {
        match char {
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&#38;"),
            '>' => escaped.push_str("&#x3E;"),
            '\'' => escaped.push_str("&apos;"),
            '"' => escaped.push_str("&quot;"),
            char => escaped.push(char),
        }
    }
    let document = format!("<a b=\"{escaped}\">{escaped}</a>");
    let limits = Limits { body_bytes: u64::MAX, ..Limits::default() };
    let (values, outcome) = read(BodyProcessor::Xml, b"", &limits, document.as_bytes(), Cut::Nowhere);
    let text = text.as_bytes().to_vec();
    assert_eq!(values, [Value::Attribute(text.clone()), Value::Text(text)]);
    assert_eq!(outcome.malformed, None);
}
