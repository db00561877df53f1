//! Aggregates: whatever clients and services send, a value stays in its place and takes linear time; whatever an operator
//! writes as a template or an expression, there is JSON or a message.

#![no_main]

use std::sync::LazyLock;

use business_gateway::dispatch::aggregate::expression::Expression;
use business_gateway::dispatch::aggregate::json;
use business_gateway::dispatch::aggregate::template::Template;
use gatehouse_fuzz::{Input, linear};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Every place in which a value can stand.
const PLACES: &str = r#"{"value": {{ request }}, "text": "<{{ caller }}>", "list": [{{ caller }}, {{ request }}]}"#;

static TEMPLATE: LazyLock<Template> =
    LazyLock::new(|| Template::compile(PLACES, 10_000, 1 << 20).expect("it is a template"));

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let line = String::from_utf8_lossy(input.line());
    let body = input.stretched();
    linear(body.len(), || json::is_flat(&body, 64));
    if !linear(body.len(), || json::is_valid(&body)) || !json::is_flat(&body, 64) {
        return;
    }
    let quoted = serde_json::to_string(&line).expect("a text can be written");
    let scope = format!("{{\"request\": {}, \"caller\": {quoted}}}", String::from_utf8_lossy(&body));
    let Ok(scope) = serde_json::from_str(&scope) else { return };
    // It may be longer than the template makes.
    if let Ok(made) = linear(body.len(), || TEMPLATE.render(&scope)) {
        check(&made, &line);
    }
    if let Ok(template) = Template::compile(&line, 1_000, 64 << 10)
        && let Ok(made) = template.render(&scope)
    {
        assert!(json::is_valid(&made), "{made:?}");
    }
    if let Ok(expression) = Expression::compile(&line) {
        let _value = expression.value(&scope).is_ok();
    }
});

/// The text is where it belongs, and nothing has come to it.
fn check(made: &[u8], text: &str) {
    let made: Value = serde_json::from_slice(made).expect("a template makes JSON");
    assert_eq!(made.as_object().map(serde_json::Map::len), Some(3));
    assert_eq!(made["text"], format!("<{text}>"));
    assert_eq!(made["list"].as_array().map(Vec::len), Some(2));
    assert_eq!((&made["list"][0], &made["list"][1]), (&Value::from(text), &made["value"]));
}
