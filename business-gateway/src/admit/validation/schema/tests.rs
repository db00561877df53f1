use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jsonschema::{Keyword, ValidationError};
use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;

fn judge(schema: Value) -> Judge {
    Judge::compile(&Documents::default(), &super::Written::Here(schema), 64, Unknown::Allow).unwrap()
}

fn values(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(values).sum::<usize>(),
        Value::Object(map) => map.values().map(values).sum(),
        _ => 0,
    }
}

fn found(judge: &Judge, value: &Value) -> Vec<(String, &'static str, String)> {
    let mut findings = Findings::new(16);
    let judged = Judged { value, values: values(value), bytes: 0, place: Place::Body, base: "" };
    judge.judge(judged, u64::MAX, &mut findings);
    let list = findings.into_list().into_iter();
    list.map(|finding| (finding.pointer.into(), finding.rule, finding.message.into_owned())).collect()
}

#[test]
fn each_rule_is_told_with_its_pointer_and_without_what_was_sent() {
    let judge = judge(json!({
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": { "type": "integer", "minimum": 1, "multipleOf": 2 },
            "name": { "type": "string", "minLength": 2, "maxLength": 4, "pattern": "^[a-z]+$" },
            "kind": { "enum": ["a", "b"] },
            "when": { "type": "string", "format": "date" },
            "tags": { "type": "array", "items": { "type": "string" }, "maxItems": 2, "uniqueItems": true },
            "a/b~c": { "type": "boolean" },
        },
        "additionalProperties": false,
    }));
    let cases = [
        (json!({}), "/id", "required", "must be there"),
        (json!({ "id": "SECRET" }), "/id", "type", "must be integer"),
        (json!({ "id": 0 }), "/id", "minimum", "must be at least 1"),
        (json!({ "id": 3 }), "/id", "multipleOf", "must be a multiple of 2"),
        (json!({ "id": 2, "name": "SECRETS" }), "/name", "maxLength", "must have at most 4 characters"),
        (json!({ "id": 2, "name": "ABC" }), "/name", "pattern", "does not match the pattern that is declared"),
        (json!({ "id": 2, "kind": "SECRET" }), "/kind", "enum", "none of the 2 values that are declared"),
        (json!({ "id": 2, "when": "SECRET" }), "/when", "format", "must be written as date"),
        (json!({ "id": 2, "tags": ["a", 1] }), "/tags/1", "type", "must be string"),
        (json!({ "id": 2, "tags": ["a", "b", "c"] }), "/tags", "maxItems", "must have at most 2 items"),
        (json!({ "id": 2, "tags": ["a", "a"] }), "/tags", "uniqueItems", "has the same item twice"),
        (json!({ "id": 2, "a/b~c": 1 }), "/a~1b~0c", "type", "must be boolean"),
        (json!({ "id": 2, "other": 1 }), "/other", "additionalProperties", "not declared"),
        (json!([]), "", "type", "must be object"),
    ];
    for (value, pointer, rule, message) in cases {
        let expected = (pointer.to_owned(), rule, message.to_owned());
        let found = found(&judge, &value);
        assert!(found.contains(&expected), "{value}: {found:?}");
        assert!(!format!("{found:?}").contains("SECRET"), "{found:?}");
    }
    assert_eq!(found(&judge, &json!({ "id": 2, "name": "abc", "kind": "a", "tags": ["a", "b"] })), []);
}

#[test]
fn of_alternatives_the_closest_is_explained() {
    let judge = judge(json!({ "oneOf": [
        { "required": ["card", "year", "name"], "properties": { "card": { "type": "string" } } },
        { "required": ["iban"], "properties": { "iban": { "type": "string" } } },
    ]}));
    let found = found(&judge, &json!({ "iban": 1 }));
    let short: Vec<_> = found.iter().map(|(pointer, rule, _)| (pointer.as_str(), *rule)).collect();
    assert_eq!(short, [("", "oneOf"), ("/iban", "type")]);
}

#[test]
fn fields_that_are_not_declared_are_refused_through_references() {
    let schema = json!({ "allOf": [{ "$ref": "#/$defs/base" }, { "properties": { "b": {} } }],
        "$defs": { "base": { "properties": { "a": {} } } } });
    let closed = Judge::compile(&Documents::default(), &super::Written::Here(schema), 64, Unknown::Refuse).unwrap();
    assert_eq!(found(&closed, &json!({ "a": 1, "b": 2 })), []);
    let findings = found(&closed, &json!({ "a": 1, "c": 2 }));
    assert_eq!(findings, [("/c".to_owned(), "unevaluatedProperties", "not declared".to_owned())]);
}

#[test]
fn patterns_that_need_backtracking_are_refused() {
    for pattern in ["^(?=a)", "(a)\\1", "(?<!b)a", "("] {
        let written = super::Written::Here(json!({ "properties": { "a": { "pattern": pattern } } }));
        let error = Judge::compile(&Documents::default(), &written, 64, Unknown::Allow).unwrap_err();
        assert!(error.contains("regular expression") || error.contains("regex"), "{pattern}: {error}");
        let names = super::Written::Here(json!({ "patternProperties": { pattern: {} } }));
        assert!(Judge::compile(&Documents::default(), &names, 64, Unknown::Allow).is_err(), "{pattern}");
    }
    let huge = super::Written::Here(json!({ "pattern": "^(([a-z\\p{L}]{1,1000}){1,1000}){1,1000}$" }));
    assert!(Judge::compile(&Documents::default(), &huge, 64, Unknown::Allow).is_err());
}

#[test]
fn the_worst_a_backtracker_does_is_linear_here() {
    // Exponential for an engine that backtracks: with 100,000 characters it would never end.
    let judge = judge(json!({ "pattern": "^(a+)+$" }));
    let value = json!(format!("{}b", "a".repeat(100_000)));
    assert_eq!(found(&judge, &value).first().map(|found| found.1), Some("pattern"));
}

#[test]
fn more_work_than_allowed_is_not_begun() {
    let judge = judge(json!({ "items": { "type": "integer" } }));
    let value: Value = (0..1000).collect();
    let mut findings = Findings::new(16);
    let judged = Judged { value: &value, values: 1001, bytes: 6400, place: Place::Body, base: "" };
    assert_eq!(judge.work(1001, 6400), 2 * 1101);
    judge.judge(judged, 2201, &mut findings);
    assert_eq!(findings.into_list().first().map(|finding| finding.rule), Some("evaluations"));
}

#[test]
fn of_a_large_value_the_first_finding_is_told() {
    let judge = judge(json!({ "items": { "type": "integer" } }));
    let wrong: Value = std::iter::repeat_n(json!("x"), 20_000).collect();
    assert_eq!(found(&judge, &wrong).len(), 1);
    let few: Value = std::iter::repeat_n(json!("x"), 100).collect();
    assert_eq!(found(&judge, &few).len(), 16, "as many as are told");
}

#[test]
fn a_large_value_is_not_compared_with_each_alternative() {
    let judge = judge(json!({
        "properties": { "tree": { "$ref": "#/$defs/n" }, "name": { "type": "string" } },
        "$defs": { "n": { "anyOf": [{ "type": "array", "items": { "$ref": "#/$defs/n" } }, { "type": "boolean" }] } },
    }));
    let value = |name: Value, width: u64| {
        let tree = (0..40).fold(json!([]), |inner, _| (0..width).map(Value::from).chain([inner]).collect());
        json!({ "tree": tree, "name": name })
    };
    let short = |value: &Value| -> Vec<(String, &'static str)> {
        found(&judge, value).into_iter().map(|(pointer, rule, _)| (pointer, rule)).collect()
    };
    // What is wrong anyway is told; where only alternatives are, the whole is.
    assert_eq!(short(&value(json!(1), 500)), [("/name".to_owned(), "type")]);
    assert_eq!(short(&value(json!("x"), 500)), [(String::new(), "anyOf")]);
    assert_eq!(short(&value(json!("x"), 1)).first(), Some(&("/tree".to_owned(), "anyOf")), "a small one is compared");
}

/// Counts how often a schema is asked.
struct Counting(Arc<AtomicU64>);

impl<'i> Keyword<'i> for Counting {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        let _valid = self.is_valid(instance);
        Ok(())
    }

    fn is_valid(&self, _instance: &'i Value) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        true
    }
}

/// How often the library looks at schemas while it judges a value.
fn looks(schema: &Value, value: &Value) -> u64 {
    let count = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&count);
    let validator = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .with_keyword("x-count", move |_, _, _| Ok(Box::new(Counting(Arc::clone(&counting)))))
        .build(schema)
        .unwrap();
    let _valid = validator.is_valid(value);
    count.load(Ordering::Relaxed)
}

fn schema(depth: u32) -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(json!({ "x-count": 1 })),
        Just(json!({ "x-count": 1, "type": "integer" })),
        Just(json!({ "x-count": 1, "type": ["object", "array"] })),
        (0..3usize).prop_map(|name| json!({ "x-count": 1, "$ref": format!("#/$defs/{name}") })),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = move || schema(depth - 1);
    let list = move || proptest::collection::vec(schema(depth - 1), 1..4);
    let named = move || proptest::collection::btree_map("[ab]", schema(depth - 1), 1..3);
    prop_oneof![
        2 => leaf,
        2 => (named(), inner()).prop_map(|(named, rest)| json!({ "x-count": 1, "properties": named, "additionalProperties": rest })),
        1 => (named(), inner()).prop_map(|(named, names)| json!({ "x-count": 1, "patternProperties": named, "propertyNames": names })),
        2 => (list(), inner()).prop_map(|(first, rest)| json!({ "x-count": 1, "prefixItems": first, "items": rest })),
        1 => (inner(), inner()).prop_map(|(one, all)| json!({ "x-count": 1, "contains": one, "items": all })),
        1 => (list(), inner()).prop_map(|(all, rest)| json!({ "x-count": 1, "allOf": all, "unevaluatedProperties": rest })),
        1 => (list(), inner()).prop_map(|(all, rest)| json!({ "x-count": 1, "anyOf": all, "unevaluatedItems": rest })),
        1 => list().prop_map(|list| json!({ "x-count": 1, "oneOf": list })),
        1 => (inner(), inner(), inner()).prop_map(|(a, b, c)| json!({ "x-count": 1, "if": a, "then": b, "else": c })),
        1 => (inner(), named()).prop_map(|(not, named)| json!({ "x-count": 1, "not": not, "dependentSchemas": named })),
    ]
    .boxed()
}

fn instance() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(json!(1)), Just(json!("x")), Just(json!(null))];
    leaf.prop_recursive(6, 60, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[abc]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// What [`weight`] says at load is never less than what the library does.
    #[test]
    fn no_value_is_looked_at_more_often_than_the_weight_says(
        root in schema(2),
        definitions in proptest::collection::vec(schema(2), 3),
        value in instance(),
    ) {
        let definitions: Map<String, Value> =
            definitions.into_iter().enumerate().map(|(name, schema)| (name.to_string(), schema)).collect();
        let whole = json!({ "$ref": "#/$defs/root", "$defs": { "root": root } });
        let mut whole = whole;
        whole["$defs"].as_object_mut().unwrap().extend(definitions);
        if let Ok(weight) = weight::weight(&whole, 64, 1_000_000) {
            // Names of members are values too for "propertyNames".
            let size = u64::try_from(values(&value)).unwrap() * 2;
            let looks = looks(&whole, &value);
            prop_assert!(looks <= weight * size, "{looks} looks, weight {weight}, {size} values: {whole} {value}");
        }
    }
}
