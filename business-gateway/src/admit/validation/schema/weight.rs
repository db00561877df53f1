//! What a schema may cost, computed when it is loaded: how often it looks at one value of a body at most, and how many
//! schemas are inside of each other while it does.
//!
//! `W(s, d)` is the most that schema `s`, judging some value, looks at one value `d` levels below it: the sum over the schemas
//! that `s` applies to the same value, and for one level down the sum over those that can apply to one and the same member or
//! item (one of `properties`, every pattern, …). For a schema that is not recursive this is a plain count; where a recursive
//! one comes back to itself along two ways it doubles with each level, and is refused.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Schemas inside of each other, at one value and on the way to it. Each is a few frames of the stack.
const CHAIN_MOST: u64 = 800;

/// What `uniqueItems` adds for each value below, at any level: up to 14 comparisons in a short list, a hash in a longer one. Either
/// is far cheaper than a look by a schema.
const UNIQUE: u64 = 2;

/// Why a schema is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WeightError {
    /// A reference that leads back to itself without a step into the value.
    #[error("it refers to itself without end")]
    Loop,
    /// It looks too often at one value.
    #[error("it looks up to {0} times at one value; validation.weight_max are {1}")]
    Heavy(u64, u64),
    /// Too many schemas inside of each other.
    #[error("{0} schemas are inside of each other for a body of {1} levels; {CHAIN_MOST} may be")]
    Deep(u64, usize),
}

/// One schema among those that belong together.
#[derive(Debug, Default)]
struct Node {
    cost: u64,
    /// For each value below, at any level.
    below: u64,
    /// For each member: its name is tried with every pattern.
    names: u64,
    /// Schemas for the same value, and how often each is applied to it.
    same: Vec<usize>,
    times: u64,
    properties: Vec<usize>,
    patterns: Vec<usize>,
    additional: Option<usize>,
    prefix: Vec<usize>,
    items: Option<usize>,
    /// Schemas for every member or item.
    every: Vec<usize>,
}

/// How often the schema looks at one value, for bodies of at most `depth` levels.
///
/// # Errors
/// When it would cost too much.
pub fn weight(schema: &Value, depth: usize, most: u64) -> Result<u64, WeightError> {
    let graph = Graph::of(schema);
    let mut last: Vec<(u64, u64)> = Vec::new();
    let mut heaviest = 0;
    for level in 0..=depth {
        let mut now: Vec<Option<(u64, u64)>> = vec![None; graph.nodes.len()];
        let mut active = vec![false; graph.nodes.len()];
        for node in 0..graph.nodes.len() {
            graph.visit(node, level, &last, &mut now, &mut active, 0)?;
        }
        last = now.into_iter().map(Option::unwrap_or_default).collect();
        let (weight, chain) = last.first().copied().unwrap_or_default();
        heaviest = heaviest.max(weight);
        if heaviest > most {
            return Err(WeightError::Heavy(heaviest, most));
        }
        if chain > CHAIN_MOST {
            return Err(WeightError::Deep(chain, level));
        }
    }
    Ok(heaviest)
}

struct Graph<'v> {
    nodes: Vec<Node>,
    definitions: BTreeMap<&'v str, usize>,
}

impl<'v> Graph<'v> {
    /// The schemas of an extracted document; the first is the root.
    fn of(schema: &'v Value) -> Self {
        let mut graph = Self { nodes: Vec::new(), definitions: BTreeMap::new() };
        let definitions = schema.get("$defs").and_then(Value::as_object);
        let definitions: Vec<(&str, &Value)> =
            definitions.into_iter().flatten().map(|(name, value)| (name.as_str(), value)).collect();
        // The root refers to definitions, which have their numbers before anything is looked at.
        graph.nodes.resize_with(1 + definitions.len(), Node::default);
        for (place, (name, _)) in definitions.iter().enumerate() {
            graph.definitions.insert(name, place + 1);
        }
        graph.fill(0, schema);
        for (place, (_, value)) in definitions.iter().enumerate() {
            graph.fill(place + 1, value);
        }
        graph
    }

    fn add(&mut self, schema: &'v Value) -> usize {
        let place = self.nodes.len();
        self.nodes.push(Node::default());
        self.fill(place, schema);
        place
    }

    fn fill(&mut self, place: usize, schema: &'v Value) {
        let mut node = Node { cost: 1, times: 1, ..Node::default() };
        if let Value::Object(keywords) = schema {
            self.look(keywords, &mut node);
        }
        if let Some(slot) = self.nodes.get_mut(place) {
            *slot = node;
        }
    }

    fn look(&mut self, keywords: &'v Map<String, Value>, node: &mut Node) {
        for (keyword, value) in keywords {
            match keyword.as_str() {
                "$ref" => {
                    let name = value.as_str().and_then(|text| text.strip_prefix("#/$defs/"));
                    node.same.extend(name.and_then(|name| self.definitions.get(name)));
                }
                "allOf" | "anyOf" | "oneOf" => {
                    for schema in value.as_array().into_iter().flatten() {
                        node.same.push(self.add(schema));
                    }
                }
                "not" | "if" | "then" | "else" => node.same.push(self.add(value)),
                "dependentSchemas" => {
                    for schema in value.as_object().into_iter().flat_map(Map::values) {
                        node.same.push(self.add(schema));
                    }
                }
                "properties" => {
                    for schema in value.as_object().into_iter().flat_map(Map::values) {
                        node.properties.push(self.add(schema));
                    }
                }
                "patternProperties" => {
                    for schema in value.as_object().into_iter().flat_map(Map::values) {
                        node.patterns.push(self.add(schema));
                    }
                }
                "additionalProperties" => node.additional = Some(self.add(value)),
                "items" => node.items = Some(self.add(value)),
                "prefixItems" => {
                    for schema in value.as_array().into_iter().flatten() {
                        node.prefix.push(self.add(schema));
                    }
                }
                "contains" | "propertyNames" => node.every.push(self.add(value)),
                "unevaluatedProperties" | "unevaluatedItems" => {
                    // What the neighbours have looked at is found out by judging them once more.
                    node.times = 2;
                    node.every.push(self.add(value));
                }
                "uniqueItems" if value == &Value::Bool(true) => node.below = UNIQUE,
                "enum" => {
                    let count = value.as_array().map_or(0, Vec::len);
                    node.cost = node.cost.saturating_add(u64::try_from(count / 16).unwrap_or(u64::MAX));
                }
                _ => {}
            }
        }
        node.names = u64::try_from(node.patterns.len()).unwrap_or(u64::MAX);
    }

    /// Weight and chain of a schema for values `level` levels below the one it judges; `last` has those for one level less.
    fn visit(
        &self,
        place: usize,
        level: usize,
        last: &[(u64, u64)],
        now: &mut [Option<(u64, u64)>],
        active: &mut [bool],
        nested: u64,
    ) -> Result<(u64, u64), WeightError> {
        if let Some(known) = now.get(place).copied().flatten() {
            return Ok(known);
        }
        let (Some(node), Some(is_active)) = (self.nodes.get(place), active.get_mut(place)) else { return Ok((0, 0)) };
        if *is_active {
            return Err(WeightError::Loop);
        }
        if nested > CHAIN_MOST {
            return Err(WeightError::Deep(nested, 0));
        }
        *is_active = true;
        let of = |place: &usize| last.get(*place).copied().unwrap_or_default();
        let sum = |places: &[usize]| places.iter().map(of).fold((0u64, 0u64), both);
        let most = |places: &[usize]| places.iter().map(of).fold((0, 0), either);
        let (mut weight, mut chain) = match level {
            0 => (node.cost, 0),
            level => {
                let one = |place: Option<usize>| place.as_ref().map(of).unwrap_or_default();
                let members = both(either(most(&node.properties), one(node.additional)), sum(&node.patterns));
                let items = either(most(&node.prefix), one(node.items));
                let inside = both(either(members, items), sum(&node.every));
                let names = if level == 1 { node.names } else { 0 };
                (inside.0.saturating_add(node.below).saturating_add(names), inside.1)
            }
        };
        for same in &node.same {
            let (more, longer) = self.visit(*same, level, last, now, active, nested + 1)?;
            weight = weight.saturating_add(more.saturating_mul(node.times));
            chain = chain.max(longer);
        }
        let found = (weight, chain + 1);
        if let (Some(slot), Some(is_active)) = (now.get_mut(place), active.get_mut(place)) {
            *slot = Some(found);
            *is_active = false;
        }
        Ok(found)
    }
}

fn both(one: (u64, u64), other: (u64, u64)) -> (u64, u64) {
    (one.0.saturating_add(other.0), one.1.max(other.1))
}

fn either(one: (u64, u64), other: (u64, u64)) -> (u64, u64) {
    (one.0.max(other.0), one.1.max(other.1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(schema: &Value) -> Result<u64, WeightError> {
        weight(schema, 64, 256)
    }

    #[test]
    fn a_plain_schema_looks_once() {
        let plain = json!({ "properties": {
            "a": { "type": "string" },
            "b": { "items": { "properties": { "c": {}, "d": { "additionalProperties": true } } } },
        }});
        assert_eq!(of(&plain), Ok(1));
        assert_eq!(of(&json!(true)), Ok(1));
    }

    #[test]
    fn alternatives_add_up_and_multiply() {
        assert_eq!(of(&json!({ "anyOf": [{}, {}, {}] })), Ok(4));
        let object = json!({ "properties": { "a": { "oneOf": [{}, {}] } } });
        assert_eq!(of(&json!({ "oneOf": [object, object, object] })), Ok(9), "3 objects, 3 looks at each a");
        let both = json!({ "properties": { "a": {} }, "patternProperties": { "^a": {}, "b": {} } });
        assert_eq!(of(&both), Ok(1 + 2 + 2), "a is a property, fits two patterns, and each name is tried with both");
        assert_eq!(of(&json!({ "items": { "type": "object" }, "uniqueItems": true })), Ok(3));
    }

    #[test]
    fn a_recursive_schema_is_as_heavy_as_its_ways_back() {
        let list = json!({ "$ref": "#/$defs/0", "$defs": { "0": { "items": { "$ref": "#/$defs/0" } } } });
        assert_eq!(of(&list), Ok(2), "the reference, and what it means");
        let twice = json!({ "$ref": "#/$defs/0", "$defs": { "0": { "anyOf": [
            { "properties": { "next": { "$ref": "#/$defs/0" } } },
            { "properties": { "next": { "$ref": "#/$defs/0" }, "other": {} } },
        ] } } });
        assert!(matches!(of(&twice), Err(WeightError::Heavy(..))), "it doubles with each level");
    }

    #[test]
    fn bombs_are_refused_in_no_time() {
        let mut definitions = Map::new();
        for level in 0..60 {
            let next = format!("#/$defs/{}", level + 1);
            definitions.insert(level.to_string(), json!({ "allOf": [{ "$ref": next }, { "$ref": next }] }));
        }
        definitions.insert("60".to_owned(), json!({ "type": "string" }));
        assert!(matches!(of(&json!({ "$ref": "#/$defs/0", "$defs": definitions })), Err(WeightError::Heavy(..))));
        let looped = json!({ "$ref": "#/$defs/0", "$defs": { "0": { "not": { "$ref": "#/$defs/0" } } } });
        assert_eq!(of(&looped), Err(WeightError::Loop));
        let mut chain = Map::new();
        for level in 0..2000 {
            chain.insert(level.to_string(), json!({ "$ref": format!("#/$defs/{}", level + 1) }));
        }
        chain.insert("2000".to_owned(), json!({}));
        assert!(matches!(of(&json!({ "$ref": "#/$defs/0", "$defs": chain })), Err(WeightError::Deep(..))));
    }
}
