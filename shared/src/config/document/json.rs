//! A JSON value as the tree that the TOML parser would give.

use std::slice::Iter;

use serde_json::{Map, Value};
use serde_spanned::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// The numbers in a document, in order, as JSON and TOML write them; the tree borrows them.
pub(super) fn numbers(fields: &Map<String, Value>) -> Vec<String> {
    fn collect(value: &Value, numbers: &mut Vec<String>) {
        match value {
            Value::Number(number) => numbers.push(number.to_string()),
            Value::Array(values) => values.iter().for_each(|value| collect(value, numbers)),
            Value::Object(fields) => fields.values().for_each(|value| collect(value, numbers)),
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }
    let mut numbers = Vec::new();
    fields.values().for_each(|value| collect(value, &mut numbers));
    numbers
}

/// A table; keys that are `null` are left out.
pub(super) fn table<'v>(fields: &'v Map<String, Value>, numbers: &mut Iter<'v, String>) -> DeTable<'v> {
    let mut table = DeTable::new();
    for (key, value) in fields {
        if !value.is_null() {
            table.insert(Spanned::new(0..0, DeString::Borrowed(key)), item(value, numbers));
        }
    }
    table
}

fn item<'v>(value: &'v Value, numbers: &mut Iter<'v, String>) -> Spanned<DeValue<'v>> {
    let value = match value {
        // In a list, where it cannot be left out; as a text that is what no number, time or table is.
        Value::Null => DeValue::String(DeString::Borrowed("null")),
        Value::Bool(value) => DeValue::Boolean(*value),
        Value::Number(_) => number(numbers.next().map_or("0", String::as_str)),
        Value::String(text) => DeValue::String(DeString::Borrowed(text)),
        Value::Array(values) => DeValue::Array(values.iter().map(|value| item(value, numbers)).collect()),
        Value::Object(fields) => DeValue::Table(table(fields, numbers)),
    };
    Spanned::new(0..0, value)
}

fn number(written: &str) -> DeValue<'_> {
    DeValue::parse(written).map_or_else(|_| DeValue::String(DeString::Borrowed(written)), Spanned::into_inner)
}
