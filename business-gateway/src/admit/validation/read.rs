//! JSON as it comes from a caller: read once, into a value, within bounds that hold while it is read.
//!
//! What a service may read otherwise than this gate is refused: a key twice (unless the API says that the last one counts),
//! a byte order mark, bytes that are no UTF-8, anything after the document, numbers beyond what 64-bit floating point holds.

use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::finding::{Finding, Place, below};

/// What bounds a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Arrays and objects inside of each other.
    pub depth: usize,
    /// Values, those inside of others included.
    pub values: usize,
    /// What becomes of a key that is there twice.
    pub duplicates: Duplicates,
}

/// What becomes of a key that an object has twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// The call is refused: nobody knows which of the two the service takes.
    #[default]
    Refuse,
    /// The last one counts, and the service had better agree.
    Last,
}

/// A document that was read.
#[derive(Debug, PartialEq)]
pub struct Read {
    /// The value.
    pub value: Value,
    /// How many values there are in it.
    pub values: usize,
}

/// Reads a document. How much is read before a bound is hit depends on the bound alone: `values` says it.
///
/// # Errors
/// What is wrong with it, and how many values had been read by then.
pub fn read(body: &[u8], limits: &Limits) -> Result<Read, (Finding, usize)> {
    let mut reader = Reader { limits: *limits, depth: 0, values: 0, fault: None };
    let mut from = serde_json::Deserializer::from_slice(body);
    let read = Next(&mut reader).deserialize(&mut from).and_then(|value| from.end().map(|()| value));
    match read {
        Ok(value) => Ok(Read { value, values: reader.values }),
        Err(error) => Err((reader.finding(&error), reader.values)),
    }
}

struct Reader {
    limits: Limits,
    depth: usize,
    values: usize,
    fault: Option<Fault>,
}

/// A bound that was hit, and the way to it, the last step first.
struct Fault {
    rule: &'static str,
    message: String,
    steps: Vec<Step>,
}

enum Step {
    Key(String),
    Index(usize),
}

impl Reader {
    /// Serde's errors are texts; what is meant is kept beside.
    fn fail<E: serde::de::Error>(&mut self, rule: &'static str, message: String) -> E {
        self.fault = Some(Fault { rule, message, steps: Vec::new() });
        E::custom("refused")
    }

    fn count<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.values += 1;
        if self.values > self.limits.values {
            let most = self.limits.values;
            return Err(self.fail("values", format!("more than {most} values")));
        }
        Ok(())
    }

    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.depth > self.limits.depth {
            let most = self.limits.depth;
            return Err(self.fail("depth", format!("more than {most} arrays and objects inside of each other")));
        }
        Ok(())
    }

    /// Notes a step of the way to a fault.
    fn through(&mut self, step: impl FnOnce() -> Step) {
        if let Some(fault) = &mut self.fault {
            fault.steps.push(step());
        }
    }

    fn finding(&self, error: &serde_json::Error) -> Finding {
        let Some(fault) = &self.fault else {
            let (line, column) = (error.line(), error.column());
            let what = if error.to_string().starts_with("number out of range") {
                "a number beyond 64-bit floating point"
            } else if error.is_eof() {
                "the document ends too early"
            } else {
                "this is not JSON"
            };
            return Finding::new(Place::Body, "", "syntax", format!("{what}, line {line}, column {column}"));
        };
        let mut pointer = String::new();
        for step in fault.steps.iter().rev() {
            match step {
                Step::Key(key) => below(&mut pointer, key),
                Step::Index(index) => below(&mut pointer, &index.to_string()),
            }
        }
        Finding::new(Place::Body, &pointer, fault.rule, fault.message.clone())
    }
}

/// The next value.
struct Next<'r>(&'r mut Reader);

impl<'de> DeserializeSeed<'de> for Next<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        self.0.count()?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Next<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let reader = self.0;
        reader.enter()?;
        let mut list = Vec::new();
        loop {
            match items.next_element_seed(Next(reader)) {
                Ok(Some(item)) => list.push(item),
                Ok(None) => break,
                Err(error) => {
                    reader.through(|| Step::Index(list.len()));
                    return Err(error);
                }
            }
        }
        reader.depth -= 1;
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let reader = self.0;
        reader.enter()?;
        let mut map = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if reader.limits.duplicates == Duplicates::Refuse && map.contains_key(&key) {
                let error = reader.fail("duplicateKey", "the key is there twice".to_owned());
                reader.through(|| Step::Key(key));
                return Err(error);
            }
            match members.next_value_seed(Next(reader)) {
                Ok(value) => {
                    map.insert(key, value);
                }
                Err(error) => {
                    reader.through(|| Step::Key(key));
                    return Err(error);
                }
            }
        }
        reader.depth -= 1;
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const LIMITS: Limits = Limits { depth: 64, values: 10_000, duplicates: Duplicates::Refuse };

    fn refused(body: &[u8], limits: &Limits) -> (String, &'static str, usize) {
        let (finding, values) = read(body, limits).unwrap_err();
        (finding.pointer.into(), finding.rule, values)
    }

    #[test]
    fn what_two_readers_may_take_differently_is_refused() {
        let cases: [(&[u8], &str, &str); 14] = [
            (b"{\"a\":{\"b\":1,\"b\":2}}", "/a/b", "duplicateKey"),
            (b"{\"a\":1,\"\\u0061\":2}", "/a", "duplicateKey"),
            (b"[1,{\"x/y~\":1,\"x/y~\":1}]", "/1/x~1y~0", "duplicateKey"),
            (b"\xef\xbb\xbf{}", "", "syntax"),
            (b"{} x", "", "syntax"),
            (b"{}{}", "", "syntax"),
            (b"[1e400]", "", "syntax"),
            (b"[\"\xff\"]", "", "syntax"),
            (b"[\"\\ud800\"]", "", "syntax"),
            (b"[01]", "", "syntax"),
            (b"[NaN]", "", "syntax"),
            (b"{'a':1}", "", "syntax"),
            (b"[1,]", "", "syntax"),
            (b"", "", "syntax"),
        ];
        for (body, pointer, rule) in cases {
            let (found, found_rule, _) = refused(body, &LIMITS);
            assert_eq!((found.as_str(), found_rule), (pointer, rule), "{}", String::from_utf8_lossy(body));
        }
        let last = Limits { duplicates: Duplicates::Last, ..LIMITS };
        assert_eq!(read(b"{\"a\":1,\"a\":2}", &last).unwrap().value, json!({ "a": 2 }));
    }

    #[test]
    fn a_bound_ends_the_reading_at_once() {
        let deep = "[".repeat(10_000);
        assert_eq!(refused(deep.as_bytes(), &LIMITS).1, "depth");
        assert_eq!(refused(deep.as_bytes(), &LIMITS).2, LIMITS.depth + 1, "values that were looked at");
        let objects = "{\"a\":".repeat(10_000);
        let (pointer, rule, values) = refused(objects.as_bytes(), &LIMITS);
        assert_eq!((rule, values), ("depth", LIMITS.depth + 1));
        assert_eq!(pointer, "/a".repeat(LIMITS.depth));
        let wide = format!("[{}1]", "1,".repeat(5_000_000));
        assert_eq!(refused(wide.as_bytes(), &LIMITS), ("/9999".to_owned(), "values", LIMITS.values + 1));
        let long = format!("{{\"{}\":[1,{{\"a\":1,\"a\":1}}]}}", "k".repeat(100_000));
        let (pointer, _, _) = refused(long.as_bytes(), &LIMITS);
        assert!(pointer.len() < 300, "{}", pointer.len());
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            "[ -~äß\u{1F600}]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map("[a-c/~]{0,3}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn count(value: &Value) -> usize {
        1 + match value {
            Value::Array(items) => items.iter().map(count).sum::<usize>(),
            Value::Object(map) => map.values().map(count).sum(),
            _ => 0,
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in json_value()) {
            let text = value.to_string();
            let read = read(text.as_bytes(), &LIMITS).unwrap();
            prop_assert_eq!(read.values, count(&value));
            prop_assert_eq!(read.value, value);
        }

        #[test]
        fn whatever_it_is_it_is_judged_as_by_serde(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let last = Limits { duplicates: Duplicates::Last, ..LIMITS };
            let expected = serde_json::from_slice::<Value>(&body).ok();
            prop_assert_eq!(read(&body, &last).ok().map(|read| read.value), expected);
        }
    }
}
