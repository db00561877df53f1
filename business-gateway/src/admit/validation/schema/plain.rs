//! A schema without its alternatives.
//!
//! Whoever breaks what is left breaks the schema, whichever alternative was meant. What is wrong with a large value is looked
//! for there, since to tell what each alternative lacks costs more than to judge.

use serde_json::{Map, Value};

/// The schema, as extracted, without what depends on how alternatives are judged.
#[must_use]
pub fn without_alternatives(schema: &Value) -> Value {
    let Value::Object(keywords) = schema else { return schema.clone() };
    let mut out = Map::new();
    for (keyword, value) in keywords {
        let value = match keyword.as_str() {
            "anyOf"
            | "oneOf"
            | "not"
            | "if"
            | "then"
            | "else"
            | "contains"
            | "minContains"
            | "maxContains"
            | "unevaluatedProperties"
            | "unevaluatedItems" => continue,
            "$defs" | "properties" | "patternProperties" | "dependentSchemas" => each_member(value),
            "allOf" | "prefixItems" => {
                value.as_array().into_iter().flatten().map(without_alternatives).collect::<Vec<_>>().into()
            }
            "items" | "additionalProperties" | "propertyNames" => without_alternatives(value),
            _ => value.clone(),
        };
        out.insert(keyword.clone(), value);
    }
    out.into()
}

fn each_member(value: &Value) -> Value {
    let members = value.as_object().into_iter().flatten();
    members.map(|(name, schema)| (name.clone(), without_alternatives(schema))).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_stay_and_members_may_be_called_anything() {
        let schema = json!({ "$defs": { "0": { "not": {}, "type": "object", "properties": { "oneOf": { "anyOf": [{}], "minimum": 1 } } } },
            "allOf": [{ "if": {}, "items": { "contains": {}, "maxItems": 1 } }], "unevaluatedProperties": false });
        let expected = json!({ "$defs": { "0": { "type": "object", "properties": { "oneOf": { "minimum": 1 } } } },
            "allOf": [{ "items": { "maxItems": 1 } }] });
        assert_eq!(without_alternatives(&schema), expected);
    }
}
