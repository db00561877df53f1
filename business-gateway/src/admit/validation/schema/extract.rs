//! From a place in a document to one schema that stands on its own: whatever it refers to comes along, whatever the dialect
//! says is said in the words of draft 2020-12, and what is no rule is left out.
//!
//! Understood are draft 7, 2019-09 and 2020-12 of JSON Schema and the schemas of OpenAPI 3.0 and 3.1. References lead to a place
//! in the same document or in another one of the catalog; there are no others, so nothing is ever fetched.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::admit::validation::document::{Documents, Reference};
use crate::admit::validation::text::{Plus, decoded};

/// Levels of a schema inside of each other, without references.
const DEPTH: u32 = 100;

/// Formats that are checked; others are notes for people.
const FORMATS: [&str; 12] = [
    "date-time",
    "date",
    "time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uri",
    "uri-reference",
    "uuid",
    "json-pointer",
];

/// The keyword, which is no rule, that says where a schema stood.
pub const ORIGIN: &str = "$comment";

/// Why there is no schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtractError {
    /// A reference leads nowhere.
    #[error("nothing is at {0}")]
    Nowhere(String),
    /// What is there is no schema.
    #[error("what is at {0} is no schema")]
    NoSchema(String),
    /// A keyword that is not understood, and cannot be left out either.
    #[error("{0:?} at {1} is not understood here: refer to a place in the document by its JSON pointer")]
    Keyword(&'static str, String),
    /// A dialect that is not understood.
    #[error("{0:?} is not a dialect that is understood: use draft 7, 2019-09, 2020-12 or OpenAPI 3")]
    Dialect(String),
    /// More schemas than allowed.
    #[error("it consists of more than {0} schemas (validation.schemas_max)")]
    TooMany(usize),
    /// Too many levels.
    #[error("{DEPTH} levels inside of each other, at {0}")]
    TooDeep(String),
}

/// In which words a document speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// Draft 7: a reference stands alone.
    Draft7,
    /// Draft 2019-09: lists of items have another keyword.
    Draft2019,
    /// Draft 2020-12, and OpenAPI 3.1.
    Draft2020,
    /// OpenAPI 3.0.
    OpenApi30,
}

impl Dialect {
    fn of(document: &Value) -> Result<Self, ExtractError> {
        let text = |key: &str| document.get(key).and_then(Value::as_str);
        if let Some(version) = text("openapi") {
            let uri = text("jsonSchemaDialect").unwrap_or_default();
            return match version {
                _ if version.starts_with("3.0") => Ok(Self::OpenApi30),
                _ if version.starts_with("3.1") && !uri.is_empty() && !uri.contains("spec.openapis.org") => {
                    Self::named(uri)
                }
                _ if version.starts_with("3.1") => Ok(Self::Draft2020),
                other => Err(ExtractError::Dialect(format!("openapi {other}"))),
            };
        }
        text("$schema").map_or(Ok(Self::Draft2020), Self::named)
    }

    fn named(uri: &str) -> Result<Self, ExtractError> {
        match uri.trim_end_matches('#') {
            uri if uri.ends_with("json-schema.org/draft/2020-12/schema") => Ok(Self::Draft2020),
            uri if uri.ends_with("json-schema.org/draft/2019-09/schema") => Ok(Self::Draft2019),
            uri if uri.ends_with("json-schema.org/draft-07/schema") => Ok(Self::Draft7),
            other => Err(ExtractError::Dialect(other.to_owned())),
        }
    }

    /// Whether what stands beside a reference does not count.
    fn references_stand_alone(self) -> bool {
        matches!(self, Self::Draft7 | Self::OpenApi30)
    }
}

/// Draws the schema at `place` out of its document; `own` is the document without a name, which stands in the catalog itself.
///
/// # Errors
/// What is not understood in it, or in what it refers to.
pub fn extract(documents: &Documents, own: Option<&Value>, place: &Reference) -> Result<Value, ExtractError> {
    let mut all = Extraction { documents, numbers: BTreeMap::new(), waiting: Vec::new(), schemas: 0 };
    let root = all.number(place.clone());
    let mut definitions = Map::new();
    while let Some((number, place)) = all.waiting.pop() {
        let name = format!("{}#{}", place.document, place.fragment);
        let document = if place.document.is_empty() { own } else { documents.get(&place.document) };
        let document = document.ok_or_else(|| ExtractError::Nowhere(name.clone()))?;
        let schema = at(document, &place.fragment).ok_or_else(|| ExtractError::Nowhere(name.clone()))?;
        let here = Here { document: &place.document, dialect: Dialect::of(document)?, depth: 0 };
        let mut schema = all.schema(schema, &here, &place.fragment)?;
        if let Some(keywords) = schema.as_object_mut() {
            keywords.insert(ORIGIN.to_owned(), name.into());
        }
        definitions.insert(number.to_string(), schema);
    }
    Ok(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": format!("#/$defs/{root}"),
        "$defs": definitions,
    }))
}

/// What a JSON pointer, as it stands in the fragment of a reference, leads to.
#[must_use]
pub fn at<'v>(document: &'v Value, fragment: &str) -> Option<&'v Value> {
    document.pointer(&decoded(fragment, Plus::Itself)?)
}

struct Extraction<'d> {
    documents: &'d Documents,
    numbers: BTreeMap<Reference, usize>,
    waiting: Vec<(usize, Reference)>,
    schemas: usize,
}

#[derive(Clone, Copy)]
struct Here<'d> {
    document: &'d str,
    dialect: Dialect,
    depth: u32,
}

impl Extraction<'_> {
    /// The number of a place; it is looked at later, once.
    fn number(&mut self, place: Reference) -> usize {
        let next = self.numbers.len();
        if let Some(number) = self.numbers.get(&place) {
            return *number;
        }
        self.numbers.insert(place.clone(), next);
        self.waiting.push((next, place));
        next
    }

    fn schema(&mut self, schema: &Value, here: &Here<'_>, path: &str) -> Result<Value, ExtractError> {
        self.schemas += 1;
        if self.schemas > self.documents.bounds.schemas_max {
            return Err(ExtractError::TooMany(self.documents.bounds.schemas_max));
        }
        if here.depth > DEPTH {
            return Err(ExtractError::TooDeep(path.to_owned()));
        }
        let here = Here { depth: here.depth + 1, ..*here };
        let keywords = match schema {
            Value::Bool(value) => return Ok(Value::Bool(*value)),
            Value::Object(keywords) => keywords,
            _ => return Err(ExtractError::NoSchema(format!("{}#{path}", here.document))),
        };
        let mut out = Map::new();
        if let Some(reference) = keywords.get("$ref") {
            out.insert("$ref".to_owned(), self.reference(reference, &here, path)?);
            if here.dialect.references_stand_alone() {
                return Ok(out.into());
            }
        }
        for (keyword, value) in keywords {
            self.keyword(keyword, value, keywords, &here, path, &mut out)?;
        }
        if here.dialect == Dialect::OpenApi30 {
            as_in_2020(keywords, &mut out);
        }
        without_read_only(keywords, &mut out);
        Ok(out.into())
    }

    fn keyword(
        &mut self,
        keyword: &str,
        value: &Value,
        all: &Map<String, Value>,
        here: &Here<'_>,
        path: &str,
        out: &mut Map<String, Value>,
    ) -> Result<(), ExtractError> {
        let below = || format!("{path}/{keyword}");
        let is_old = matches!(here.dialect, Dialect::Draft7 | Dialect::Draft2019);
        match keyword {
            "$dynamicRef" => return Err(ExtractError::Keyword("$dynamicRef", path.to_owned())),
            "$recursiveRef" => return Err(ExtractError::Keyword("$recursiveRef", path.to_owned())),
            "$id" if !path.is_empty() => return Err(ExtractError::Keyword("$id", path.to_owned())),
            "format" => {
                for (keyword, value) in format_of(value) {
                    out.entry(keyword).or_insert(value);
                }
            }
            "minimum" | "maximum" => {
                // A format has a bound of its own, and what is written counts.
                out.insert(keyword.to_owned(), value.clone());
            }
            "type" | "enum" | "const" | "multipleOf" | "exclusiveMaximum" | "exclusiveMinimum" | "maxLength"
            | "minLength" | "pattern" | "maxItems" | "minItems" | "uniqueItems" | "maxContains" | "minContains"
            | "maxProperties" | "minProperties" | "required" | "dependentRequired" => {
                out.insert(keyword.to_owned(), value.clone());
            }
            "items" if is_old && value.is_array() => {
                out.insert("prefixItems".to_owned(), self.list(value, here, &below())?);
                if let Some(rest) = all.get("additionalItems") {
                    out.insert("items".to_owned(), self.schema(rest, here, &format!("{path}/additionalItems"))?);
                }
            }
            "items"
            | "contains"
            | "additionalProperties"
            | "propertyNames"
            | "not"
            | "if"
            | "then"
            | "else"
            | "unevaluatedItems"
            | "unevaluatedProperties" => {
                let schema = self.schema(value, here, &below())?;
                out.insert(keyword.to_owned(), schema);
            }
            "allOf" | "anyOf" | "oneOf" => {
                let list = self.list(value, here, &below())?;
                out.insert(keyword.to_owned(), list);
            }
            "prefixItems" if here.dialect == Dialect::Draft2020 => {
                let list = self.list(value, here, &below())?;
                out.insert(keyword.to_owned(), list);
            }
            "properties" | "patternProperties" | "dependentSchemas" => {
                let map = self.map(value, here, &below())?;
                out.insert(keyword.to_owned(), map);
            }
            "dependencies" if is_old => self.dependencies(value, here, &below(), out)?,
            _ => {}
        }
        Ok(())
    }

    fn list(&mut self, value: &Value, here: &Here<'_>, path: &str) -> Result<Value, ExtractError> {
        let no_list = || ExtractError::NoSchema(format!("{}#{path}", here.document));
        let list = value.as_array().ok_or_else(no_list)?;
        let each = list.iter().enumerate().map(|(index, schema)| self.schema(schema, here, &format!("{path}/{index}")));
        each.collect()
    }

    fn map(&mut self, value: &Value, here: &Here<'_>, path: &str) -> Result<Value, ExtractError> {
        let no_map = || ExtractError::NoSchema(format!("{}#{path}", here.document));
        let mut map = Map::new();
        for (name, schema) in value.as_object().ok_or_else(no_map)? {
            map.insert(name.clone(), self.schema(schema, here, &format!("{path}/{name}"))?);
        }
        Ok(map.into())
    }

    /// Draft 7 has one keyword for what are two today.
    fn dependencies(
        &mut self,
        value: &Value,
        here: &Here<'_>,
        path: &str,
        out: &mut Map<String, Value>,
    ) -> Result<(), ExtractError> {
        let (mut required, mut schemas) = (Map::new(), Map::new());
        for (name, value) in value.as_object().into_iter().flatten() {
            if value.is_array() {
                required.insert(name.clone(), value.clone());
            } else {
                schemas.insert(name.clone(), self.schema(value, here, &format!("{path}/{name}"))?);
            }
        }
        out.insert("dependentRequired".to_owned(), required.into());
        out.insert("dependentSchemas".to_owned(), schemas.into());
        Ok(())
    }

    fn reference(&mut self, value: &Value, here: &Here<'_>, path: &str) -> Result<Value, ExtractError> {
        let text = value.as_str().ok_or_else(|| ExtractError::NoSchema(format!("{}#{path}", here.document)))?;
        let Reference { document, fragment } = Reference::parse(text);
        let document = self
            .documents
            .resolve(here.document, &document)
            .ok_or_else(|| ExtractError::Nowhere(format!("{text} (from {}#{path})", here.document)))?;
        if !fragment.is_empty() && !fragment.starts_with('/') {
            return Err(ExtractError::Keyword("$anchor", path.to_owned()));
        }
        let number = self.number(Reference { document, fragment });
        Ok(format!("#/$defs/{number}").into())
    }
}

/// What a format means: those that are checked, and those of OpenAPI that bound a number.
fn format_of(value: &Value) -> Vec<(String, Value)> {
    let Some(format) = value.as_str() else { return Vec::new() };
    let pair = |keyword: &str, value: Value| (keyword.to_owned(), value);
    match format {
        "int32" => vec![pair("minimum", i32::MIN.into()), pair("maximum", i32::MAX.into())],
        "int64" => vec![pair("minimum", i64::MIN.into()), pair("maximum", i64::MAX.into())],
        known if FORMATS.contains(&known) => vec![pair("format", known.into())],
        _ => Vec::new(),
    }
}

/// What OpenAPI 3.0 says otherwise than draft 2020-12.
fn as_in_2020(keywords: &Map<String, Value>, out: &mut Map<String, Value>) {
    for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        match keywords.get(exclusive) {
            Some(Value::Bool(true)) => {
                out.remove(exclusive);
                if let Some(limit) = out.remove(bound) {
                    out.insert(exclusive.to_owned(), limit);
                }
            }
            Some(Value::Bool(false)) => {
                out.remove(exclusive);
            }
            _ => {}
        }
    }
    if keywords.get("nullable") == Some(&Value::Bool(true))
        && let Some(Value::String(name)) = out.get("type").cloned()
    {
        out.insert("type".to_owned(), json!([name, "null"]));
    }
}

/// What only answers have is not asked of a request.
fn without_read_only(keywords: &Map<String, Value>, out: &mut Map<String, Value>) {
    let properties = keywords.get("properties").and_then(Value::as_object);
    let is_read_only = |name: &Value| {
        let property = name.as_str().and_then(|name| properties.and_then(|properties| properties.get(name)));
        property.and_then(|property| property.get("readOnly")) == Some(&Value::Bool(true))
    };
    if let Some(Value::Array(required)) = out.get_mut("required") {
        required.retain(|name| !is_read_only(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(document: Value, fragment: &str) -> Result<Value, ExtractError> {
        let mut documents = Documents::default();
        documents.insert("d", document);
        let place = Reference { document: "d".to_owned(), fragment: fragment.to_owned() };
        extract(&documents, None, &place).map(|mut schema| {
            for (_, schema) in schema["$defs"].as_object_mut().unwrap() {
                let origin = schema.as_object_mut().and_then(|keywords| keywords.remove(ORIGIN));
                assert!(origin.is_none_or(|origin| origin.as_str().unwrap().starts_with("d#")));
            }
            schema["$defs"].clone()
        })
    }

    #[test]
    fn what_it_refers_to_comes_along_once() {
        let document = json!({ "$defs": {
            "a": { "properties": { "b": { "$ref": "#/$defs/b" }, "c": { "$ref": "#/$defs/b" } } },
            "b": { "items": { "$ref": "#/$defs/a" }, "description": "left out" },
            "unused": { "type": "string" },
        }});
        let expected = json!({
            "0": { "properties": { "b": { "$ref": "#/$defs/1" }, "c": { "$ref": "#/$defs/1" } } },
            "1": { "items": { "$ref": "#/$defs/0" } },
        });
        assert_eq!(drawn(document, "/$defs/a").unwrap(), expected);
    }

    #[test]
    fn older_dialects_are_said_in_the_words_of_today() {
        let document = json!({ "$schema": "http://json-schema.org/draft-07/schema#", "$id": "x", "definitions": { "s": {} },
            "items": [{}, true], "additionalItems": false, "dependencies": { "a": ["b"], "c": { "minProperties": 2 } },
            "properties": { "r": { "$ref": "#/definitions/s", "type": "string" } } });
        let expected = json!({ "prefixItems": [{}, true], "items": false, "dependentRequired": { "a": ["b"] },
            "dependentSchemas": { "c": { "minProperties": 2 } }, "properties": { "r": { "$ref": "#/$defs/1" } } });
        assert_eq!(drawn(document, "").unwrap()["0"], expected);
        let document = json!({ "openapi": "3.0.3", "s": {
            "type": "number", "nullable": true, "minimum": 1, "exclusiveMinimum": true, "maximum": 9,
            "exclusiveMaximum": false, "format": "double", "example": 3 }, "i": { "type": "integer", "format": "int32",
            "minimum": 0 }, "o": { "required": ["id", "name"], "properties": { "id": { "readOnly": true }, "name": {} } } });
        let expected = json!({ "type": ["number", "null"], "exclusiveMinimum": 1, "maximum": 9 });
        assert_eq!(drawn(document.clone(), "/s").unwrap()["0"], expected);
        let integer = drawn(document.clone(), "/i").unwrap();
        assert_eq!(integer["0"], json!({ "type": "integer", "minimum": 0, "maximum": i32::MAX }));
        assert_eq!(drawn(document, "/o").unwrap()["0"]["required"], json!(["name"]));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let nowhere = drawn(json!({ "$ref": "#/no" }), "").unwrap_err();
        assert_eq!(nowhere.to_string(), "nothing is at d#/no");
        let other = drawn(json!({ "$ref": "https://example.com/x.json" }), "").unwrap_err();
        assert!(other.to_string().starts_with("nothing is at https://example.com/x.json"), "{other}");
        for (keyword, value) in [("$dynamicRef", "#x"), ("$recursiveRef", "#"), ("$ref", "#anchor")] {
            assert!(matches!(drawn(json!({ keyword: value }), ""), Err(ExtractError::Keyword(..))), "{keyword}");
        }
        assert!(matches!(drawn(json!({ "not": { "$id": "x" } }), ""), Err(ExtractError::Keyword("$id", _))));
        assert!(matches!(
            drawn(json!({ "$schema": "http://json-schema.org/draft-04/schema#" }), ""),
            Err(ExtractError::Dialect(_))
        ));
        assert!(matches!(drawn(json!({ "items": 1 }), ""), Err(ExtractError::NoSchema(_))));
        assert!(matches!(drawn(json!({ "openapi": "2.0" }), ""), Err(ExtractError::Dialect(_))));
        let deep = (0..200).fold(json!({}), |inner, _| json!({ "not": inner }));
        assert!(matches!(drawn(deep, ""), Err(ExtractError::TooDeep(_))));
        let mut documents = Documents::default();
        documents.bounds.schemas_max = 3;
        documents.insert("d", json!({ "allOf": [{}, {}, {}] }));
        let place = Reference { document: "d".to_owned(), fragment: String::new() };
        assert_eq!(extract(&documents, None, &place), Err(ExtractError::TooMany(3)));
    }
}
