//! From text to values: parameters and forms carry text, and their schemas say what it means.

use std::borrow::Cow;

use serde_json::{Number, Value};

use super::finding::{Finding, Place};
use super::text::{Plus, decoded};

/// Schemas inside of each other that are looked through for a type.
const DEPTH: u32 = 16;

/// The types that one value may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scalars {
    integer: bool,
    number: bool,
    boolean: bool,
}

/// What a text is made into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    One(Scalars),
    /// A list.
    Many(Scalars),
    /// An object, which a text does not say in a way that is understood here.
    Object,
}

/// How the items of a list are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Each is written under the name once more.
    Repeated,
    /// `1,2`.
    Comma,
    /// `1%202`.
    Space,
    /// `1|2`.
    Pipe,
}

#[derive(Debug, Default)]
struct Types<'v> {
    scalars: Scalars,
    is_known: bool,
    is_list: bool,
    is_object: bool,
    items: Option<&'v Value>,
}

impl Shape {
    /// What the schema, as extracted, makes of a text.
    #[must_use]
    pub fn of(schema: &Value) -> Self {
        Self::within(schema, schema)
    }

    /// The same for a schema inside of it.
    #[must_use]
    pub fn within(root: &Value, schema: &Value) -> Self {
        let mut types = Types::default();
        look(root, schema, DEPTH, &mut types);
        if types.is_list {
            let mut items = Types::default();
            if let Some(schema) = types.items {
                look(root, schema, DEPTH, &mut items);
            }
            return Self::Many(items.scalars);
        }
        if types.is_object { Self::Object } else { Self::One(types.scalars) }
    }
}

/// The members that a schema, as extracted, declares at its top.
#[must_use]
pub fn members(root: &Value) -> Vec<(&str, &Value)> {
    let mut found = Vec::new();
    collect(root, root, DEPTH, &mut found);
    found
}

fn collect<'v>(root: &'v Value, schema: &'v Value, depth: u32, found: &mut Vec<(&'v str, &'v Value)>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    let properties = schema.get("properties").and_then(Value::as_object);
    found.extend(properties.into_iter().flatten().map(|(name, schema)| (name.as_str(), schema)));
    for schema in inner(root, schema) {
        collect(root, schema, depth, found);
    }
}

/// Schemas that are about the same value.
fn inner<'v>(root: &'v Value, schema: &'v Value) -> impl Iterator<Item = &'v Value> {
    let reference = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
    let target = reference.and_then(|pointer| root.pointer(pointer));
    let lists = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|keyword| schema.get(keyword)?.as_array());
    target.into_iter().chain(lists.flatten())
}

fn look<'v>(root: &'v Value, schema: &'v Value, depth: u32, types: &mut Types<'v>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    let names = schema.get("type");
    let list = names.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for name in names.into_iter().chain(list).filter_map(Value::as_str) {
        types.is_known = true;
        match name {
            "integer" => types.scalars.integer = true,
            "number" => types.scalars.number = true,
            "boolean" => types.scalars.boolean = true,
            "array" => types.is_list = true,
            "object" => types.is_object = true,
            _ => {}
        }
    }
    if let Some(items) = schema.get("items") {
        types.items = types.items.or(Some(items));
    }
    for schema in inner(root, schema) {
        look(root, schema, depth, types);
    }
    if types.is_known {
        return;
    }
    let values = schema.get("enum").and_then(Value::as_array).into_iter().flatten().chain(schema.get("const"));
    for value in values {
        match value {
            Value::Number(number) if number.is_f64() => types.scalars.number = true,
            Value::Number(_) => types.scalars.integer = true,
            Value::Bool(_) => types.scalars.boolean = true,
            _ => {}
        }
    }
}

impl Scalars {
    /// What a text means; a text that means nothing else is a string, which a schema may still refuse.
    fn value(self, text: Cow<'_, str>) -> Value {
        if (self.integer || self.number)
            && is_integer(&text)
            && let Ok(number) = serde_json::from_str::<Number>(&text)
        {
            return Value::Number(number);
        }
        if self.number
            && text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
            && let Ok(number) = serde_json::from_str::<Number>(&text)
        {
            return Value::Number(number);
        }
        match &*text {
            "true" if self.boolean => Value::Bool(true),
            "false" if self.boolean => Value::Bool(false),
            _ => Value::String(text.into_owned()),
        }
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// How a text is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Percent-encoded.
    Percent(Plus),
    /// As it is.
    Plain,
}

/// The value of a parameter from the texts that are there under its name, and how many values it consists of.
///
/// # Errors
/// A finding where they are not written as they should be.
pub fn value(
    shape: Shape,
    split: Split,
    encoding: Encoding,
    texts: &[&str],
    place: Place,
    pointer: &str,
) -> Result<(Value, usize), Finding> {
    let plain = |text: &str, scalars: Scalars| {
        let text = match encoding {
            Encoding::Percent(plus) => decoded(text, plus).map(|text| scalars.value(text)),
            Encoding::Plain => Some(scalars.value(Cow::Borrowed(text))),
        };
        text.ok_or_else(|| Finding::new(place, pointer, "encoding", "the percent-encoding is broken, or no UTF-8"))
    };
    let once = || match texts {
        [text] => Ok(*text),
        _ => Err(Finding::new(place, pointer, "repeated", "must be there once")),
    };
    let scalars = match shape {
        Shape::One(scalars) => return Ok((plain(once()?, scalars)?, 1)),
        Shape::Object => return Ok((Value::Null, 1)),
        Shape::Many(scalars) => scalars,
    };
    let joined;
    let items: Vec<&str> = match split {
        Split::Repeated => texts.to_vec(),
        Split::Comma if once()?.is_empty() => Vec::new(),
        Split::Comma => once()?.split(',').map(str::trim).collect(),
        Split::Space => {
            joined = once()?.replace("%20", "+");
            joined.split('+').collect()
        }
        Split::Pipe => {
            joined = once()?.replace("%7C", "|").replace("%7c", "|");
            joined.split('|').collect()
        }
    };
    let count = items.len().saturating_add(1);
    let items: Result<Vec<Value>, Finding> = items.into_iter().map(|text| plain(text, scalars)).collect();
    Ok((Value::Array(items?), count))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn made(schema: &Value, split: Split, texts: &[&str]) -> Result<Value, &'static str> {
        let shape = Shape::of(schema);
        let made = value(shape, split, Encoding::Percent(Plus::Space), texts, Place::Query, "/a");
        made.map(|(value, _)| value).map_err(|finding| finding.rule)
    }

    #[test]
    fn a_text_becomes_what_its_schema_says() {
        let integer = json!({ "$ref": "#/$defs/0", "$defs": { "0": { "allOf": [{ "type": "integer" }] } } });
        let cases =
            [("12", json!(12)), ("-1", json!(-1)), ("1.0", json!("1.0")), ("%2B1", json!("+1")), ("01", json!("01"))];
        for (text, expected) in cases {
            assert_eq!(made(&integer, Split::Repeated, &[text]), Ok(expected), "{text}");
        }
        assert_eq!(made(&json!({ "type": "number" }), Split::Repeated, &["1e3"]), Ok(json!(1e3)));
        assert_eq!(made(&json!({ "type": "number" }), Split::Repeated, &["1e999"]), Ok(json!("1e999")));
        assert_eq!(made(&json!({ "type": ["boolean", "null"] }), Split::Repeated, &["true"]), Ok(json!(true)));
        assert_eq!(made(&json!({ "enum": [1, 2] }), Split::Repeated, &["2"]), Ok(json!(2)));
        assert_eq!(made(&json!({}), Split::Repeated, &["2+%C3%A4"]), Ok(json!("2 ä")));
        assert_eq!(made(&json!({}), Split::Repeated, &["1", "2"]), Err("repeated"));
        assert_eq!(made(&json!({}), Split::Repeated, &["%F"]), Err("encoding"));
    }

    #[test]
    fn lists_are_written_in_four_ways() {
        let list = json!({ "type": "array", "items": { "type": "integer" } });
        let expected = Ok(json!([1, 2]));
        assert_eq!(made(&list, Split::Repeated, &["1", "2"]), expected);
        assert_eq!(made(&list, Split::Comma, &["1,2"]), expected);
        assert_eq!(made(&list, Split::Space, &["1%202"]), expected);
        assert_eq!(made(&list, Split::Space, &["1+2"]), expected);
        assert_eq!(made(&list, Split::Pipe, &["1|2"]), expected);
        assert_eq!(made(&list, Split::Pipe, &["1%7C2"]), expected);
        assert_eq!(made(&list, Split::Comma, &[""]), Ok(json!([])));
        assert_eq!(made(&list, Split::Comma, &["1", "2"]), Err("repeated"));
        let texts = json!({ "type": "array" });
        assert_eq!(made(&texts, Split::Comma, &["a%2Cb,c"]), Ok(json!(["a,b", "c"])));
    }
}
