//! What differs between two catalogs, object by object and field by field.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;
use serde_json::{Map, Value};

use super::objects::{Object, Objects, kinds, name_of};

/// An object that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// What kind of object it is.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What became of it.
    pub change: Change,
    /// As it was; `null`: not there.
    pub before: Value,
    /// As it is now; `null`: gone.
    pub after: Value,
    /// The fields that differ, by path; only of objects that are in both.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It says something else.
    Changed,
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Field {
    /// Its path in the object, such as `balance.slow_start`.
    pub path: String,
    /// As it was; `null`: not written.
    pub before: Value,
    /// As it is now; `null`: not written.
    pub after: Value,
}

/// What differs, by kind and in the order of the later catalog; what is gone stands behind.
#[must_use]
pub fn difference(before: &Objects, after: &Objects) -> Vec<Difference> {
    let mut found = Vec::new();
    let of = |objects: Option<&Object>| objects.map_or(Value::Null, |object| Value::Object(object.clone()));
    for kind in kinds() {
        let (known, wanted) = (by_name(before, kind), by_name(after, kind));
        let mut push = |change, old: Option<&Object>, new: Option<&Object>| {
            let object = new.or(old);
            let name = object.map(|object| name_of(kind, object)).unwrap_or_default().to_owned();
            let mut fields = Vec::new();
            if let (Some(old), Some(new)) = (old, new) {
                compare(old, new, "", &mut fields);
            }
            found.push(Difference { kind: kind.clone(), name, change, before: of(old), after: of(new), fields });
        };
        for object in after.of(kind) {
            match known.get(name_of(kind, object)) {
                None => push(Change::Added, None, Some(object)),
                Some(old) if *old != object => push(Change::Changed, Some(old), Some(object)),
                Some(_) => {}
            }
        }
        for object in before.of(kind) {
            if !wanted.contains_key(name_of(kind, object)) {
                push(Change::Removed, Some(object), None);
            }
        }
    }
    found
}

fn by_name<'o>(objects: &'o Objects, kind: &str) -> HashMap<&'o str, &'o Object> {
    objects.of(kind).iter().map(|object| (name_of(kind, object), object)).collect()
}

fn compare(before: &Map<String, Value>, after: &Map<String, Value>, path: &str, fields: &mut Vec<Field>) {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (before.get(key), after.get(key)) {
            (old, new) if old == new => {}
            (Some(Value::Object(old)), Some(Value::Object(new))) => compare(old, new, &path, fields),
            (old, new) => {
                let (before, after) = (old.cloned().unwrap_or_default(), new.cloned().unwrap_or_default());
                fields.push(Field { path, before, after });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_and_fields_that_differ_are_told() {
        let before = Objects::from_json(json!({
            "service": [{ "name": "s", "endpoints": ["127.0.0.1:1"], "balance": { "slow_start": "1s", "x": 1 } }],
            "api": [{ "name": "gone", "path": "/" }, { "name": "same" }],
        }));
        let after = Objects::from_json(json!({
            "service": [{ "name": "s", "endpoints": ["127.0.0.1:2"], "balance": { "slow_start": "2s", "x": 1 } }],
            "api": [{ "name": "same" }, { "name": "new", "path": "/" }],
        }));
        let found = difference(&before.unwrap(), &after.unwrap());
        let told: Vec<_> = found.iter().map(|one| (one.kind.as_str(), one.name.as_str(), one.change)).collect();
        assert_eq!(
            told,
            [("service", "s", Change::Changed), ("api", "new", Change::Added), ("api", "gone", Change::Removed)]
        );
        let paths: Vec<&str> = found[0].fields.iter().map(|field| field.path.as_str()).collect();
        assert_eq!(paths, ["balance.slow_start", "endpoints"]);
        assert_eq!((&found[1].before, &found[1].after["path"]), (&Value::Null, &json!("/")));
    }

    #[test]
    fn nothing_differs_from_itself() {
        let catalog = Objects::from_json(json!({ "api": [{ "name": "a" }] })).unwrap();
        assert_eq!(difference(&catalog, &catalog), []);
    }
}
