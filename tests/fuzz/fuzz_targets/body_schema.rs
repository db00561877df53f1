//! Bodies that are judged by a schema: bounds hold while they are read, `serde_json` reads the same, and however a body
//! looks, what is told of it is short.

#![no_main]

use std::sync::LazyLock;

use business_gateway::admit::validation::config::Unknown;
use business_gateway::admit::validation::document::Documents;
use business_gateway::admit::validation::finding::{Findings, Place};
use business_gateway::admit::validation::read::{Duplicates, Limits, read};
use business_gateway::admit::validation::schema::{Judge, Judged, Written};
use gatehouse_fuzz::{Input, linear};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

/// A recursive schema with one of each kind of rule.
static JUDGE: LazyLock<Judge> = LazyLock::new(|| {
    let schema = json!({ "$ref": "#/$defs/node", "$defs": { "node": {
        "type": ["object", "array", "integer", "string", "null"],
        "properties": { "a": { "$ref": "#/$defs/node" }, "b": { "enum": [1, "x", null] }, "c": { "format": "date-time" } },
        "patternProperties": { "^x(y|z)*$": { "maxLength": 4 } },
        "additionalProperties": { "anyOf": [{ "type": "integer", "multipleOf": 3 }, { "type": "string", "pattern": "^(a+)+$" }] },
        "items": { "$ref": "#/$defs/node" }, "uniqueItems": true, "minimum": -5,
    } } });
    Judge::compile(&Documents::default(), &Written::Here(schema), 64, Unknown::Allow).expect("the schema is valid")
});

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let limits = Limits { depth: 1 + input.choice() % 64, values: 20_000, duplicates: Duplicates::Refuse };
    let body = input.stretched();
    linear(body.len(), || {
        let last = Limits { duplicates: Duplicates::Last, ..limits };
        let (strict, lax) = (read(&body, &limits), read(&body, &last));
        match &lax {
            Ok(read) => assert_eq!(serde_json::from_slice::<Value>(&body).ok().as_ref(), Some(&read.value)),
            Err((finding, values)) => {
                assert!(*values <= limits.values + 1 && finding.pointer.len() < 300);
                let is_bound = finding.rule == "depth" || finding.rule == "values";
                assert!(is_bound || serde_json::from_slice::<Value>(&body).is_err());
            }
        }
        let Ok(read) = strict else { return };
        assert_eq!(lax.ok().as_ref(), Some(&read), "without a key twice both mean the same");
        let mut findings = Findings::new(16);
        let judged =
            Judged { value: &read.value, values: read.values, bytes: body.len(), place: Place::Body, base: "" };
        JUDGE.judge(judged, 500_000, &mut findings);
        let findings = findings.into_list();
        assert!(findings.len() <= 16);
        for finding in findings {
            assert!(finding.pointer.len() < 300 && finding.message.len() < 200);
        }
    });
});
