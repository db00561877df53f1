//! The catalog as it was written: objects by kind and name, before anybody has looked at what they mean.
//!
//! A kind is a list at the top level of [`CatalogConfig`]; whoever adds a field there has added a kind, and everything here
//! knows it. What an object means is left to [`super::Catalog::compile`].

use std::collections::BTreeMap;
use std::sync::OnceLock;

use gatehouse_shared::config::{ConfigError, ConfigErrors};
use ring::digest;
use schemars::schema_for;
use serde_json::{Map, Value, json};

use super::CatalogConfig;

/// An object as written.
pub type Object = Map<String, Value>;

/// Every object of a catalog, by kind, in the order written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Objects {
    kinds: BTreeMap<String, Vec<Object>>,
}

/// The kinds there are, in the order of [`CatalogConfig`].
pub fn kinds() -> &'static [String] {
    static KINDS: OnceLock<Vec<String>> = OnceLock::new();
    KINDS.get_or_init(|| {
        let schema = schema_for!(CatalogConfig);
        let properties = schema.get("properties").and_then(Value::as_object);
        let is_list = |schema: &Value| schema.get("type").and_then(Value::as_str) == Some("array");
        properties.into_iter().flatten().filter(|(_, schema)| is_list(schema)).map(|(kind, _)| kind.clone()).collect()
    })
}

/// The key that objects of a kind are told apart by.
#[must_use]
pub fn identity(kind: &str) -> &'static str {
    match kind {
        "app" => "key",
        _ => "name",
    }
}

/// The name of an object; empty where it has none.
#[must_use]
pub fn name_of<'o>(kind: &str, object: &'o Object) -> &'o str {
    object.get(identity(kind)).and_then(Value::as_str).unwrap_or_default()
}

/// A tag of what was written, the same wherever it is kept and in whatever order: 53 bits of a SHA-256, so that it is a
/// number for whoever reads JSON.
#[must_use]
pub fn tag(value: &Value) -> u64 {
    let hash = digest::digest(&digest::SHA256, sorted(value).to_string().as_bytes());
    let bits = hash.as_ref().iter().take(8).fold(0, |bits, byte| (bits << 8) | u64::from(*byte));
    bits >> 11
}

/// The same with all keys in alphabetical order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<&String, Value> = fields.iter().map(|(key, value)| (key, sorted(value))).collect();
            json!(fields)
        }
        Value::Array(values) => values.iter().map(sorted).collect(),
        value => value.clone(),
    }
}

impl Objects {
    /// The objects of a JSON document: an object of lists of objects.
    ///
    /// # Errors
    /// When it has another shape; the position is the path of what has.
    pub fn from_json(document: Value) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut kinds = BTreeMap::new();
        let Value::Object(fields) = document else {
            return Err(ConfigError::about_file("catalog", "the document is not an object of lists").into());
        };
        for (kind, list) in fields {
            if !kinds_contain(&kind) {
                let known = kinds_known();
                errors.push(ConfigError::about_file(&kind, format!("no kind {kind:?}")).with_remedy(known));
                continue;
            }
            let Value::Array(list) = list else {
                errors.push(ConfigError::about_file(&kind, format!("{kind:?} must be a list of objects")));
                continue;
            };
            let mut objects = Vec::with_capacity(list.len());
            for (index, object) in list.into_iter().enumerate() {
                match without_nulls(object) {
                    Value::Object(object) => objects.push(object),
                    _ => errors.push(ConfigError::about_file(format!("{kind}[{index}]"), "this is not an object")),
                }
            }
            if !objects.is_empty() {
                kinds.insert(kind, objects);
            }
        }
        errors.into_result(Self { kinds })
    }

    /// The document.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!(self.kinds)
    }

    /// The objects of a kind.
    #[must_use]
    pub fn of(&self, kind: &str) -> &[Object] {
        self.kinds.get(kind).map_or(&[], Vec::as_slice)
    }

    /// How many objects there are of each kind.
    #[must_use]
    pub fn counts(&self) -> Value {
        kinds().iter().map(|kind| (kind.clone(), Value::from(self.of(kind).len()))).collect::<Map<_, _>>().into()
    }

    /// An object.
    #[must_use]
    pub fn get(&self, kind: &str, name: &str) -> Option<&Object> {
        self.of(kind).iter().find(|object| name_of(kind, object) == name)
    }

    /// Where an object stands among those of its kind.
    #[must_use]
    pub fn place(&self, kind: &str, name: &str) -> Option<usize> {
        self.of(kind).iter().position(|object| name_of(kind, object) == name)
    }

    /// The name of the object that a path such as `api[2].path` leads into, its kind and the rest of the path.
    #[must_use]
    pub fn at<'s>(&'s self, path: &'s str) -> Option<(&'s str, &'s str, &'s str)> {
        let (kind, rest) = path.split_once('[')?;
        let (index, rest) = rest.split_once(']')?;
        let object = self.of(kind).get(index.parse::<usize>().ok()?)?;
        Some((kind, name_of(kind, object), rest.strip_prefix('.').unwrap_or(rest)))
    }

    /// Adds an object, behind the others, or puts it in the place of the one of its name.
    pub fn put(&mut self, kind: &str, object: Object) {
        let place = self.place(kind, name_of(kind, &object));
        let list = self.kinds.entry(kind.to_owned()).or_default();
        match place.and_then(|place| list.get_mut(place)) {
            Some(known) => *known = object,
            None => list.push(object),
        }
    }

    /// Takes an object out; false where there is none of this name.
    pub fn remove(&mut self, kind: &str, name: &str) -> bool {
        let Some(place) = self.place(kind, name) else { return false };
        if let Some(list) = self.kinds.get_mut(kind) {
            list.remove(place);
            if list.is_empty() {
                self.kinds.remove(kind);
            }
        }
        true
    }

    /// Adds the objects of another catalog behind these.
    pub fn append(&mut self, other: Self) {
        for (kind, mut objects) in other.kinds {
            self.kinds.entry(kind).or_default().append(&mut objects);
        }
    }

    /// Every object with its kind.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Object)> {
        self.kinds.iter().flat_map(|(kind, objects)| objects.iter().map(move |object| (kind.as_str(), object)))
    }
}

fn kinds_contain(kind: &str) -> bool {
    kinds().iter().any(|known| known == kind)
}

/// What to write instead of a kind that is none.
pub(crate) fn kinds_known() -> String {
    format!("there are {}", kinds().join(", "))
}

/// A key that is `null` is not written.
pub(crate) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(values) => values.into_iter().map(without_nulls).collect(),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(document: Value) -> Objects {
        Objects::from_json(document).unwrap()
    }

    #[test]
    fn every_list_of_the_catalog_is_a_kind() {
        assert!(kinds().starts_with(&["service".to_owned(), "api".to_owned()]), "{:?}", kinds());
    }

    #[test]
    fn objects_are_put_and_removed_by_kind_and_name() {
        let mut catalog = objects(json!({ "api": [{ "name": "a", "path": "/a" }, { "name": "b" }] }));
        let tag_before = tag(&catalog.to_json());
        catalog.put("api", json!({ "name": "a", "path": "/x" }).as_object().unwrap().clone());
        catalog.put("service", json!({ "name": "a" }).as_object().unwrap().clone());
        assert_eq!(catalog.place("api", "a"), Some(0));
        assert_eq!(catalog.get("api", "a").unwrap()["path"], "/x");
        assert_eq!(catalog.at("api[1].path"), Some(("api", "b", "path")));
        assert_eq!(catalog.at("api[1]"), Some(("api", "b", "")));
        assert_eq!(catalog.at("api[7].path"), None);
        assert_ne!(tag(&catalog.to_json()), tag_before);
        assert!(catalog.remove("service", "a") && !catalog.remove("service", "a"));
        assert!(catalog.remove("api", "a") && catalog.remove("api", "b"));
        assert_eq!(catalog, Objects::default());
    }

    #[test]
    fn another_shape_is_refused_with_its_path() {
        let document = json!({ "api": [{ "name": "a", "timeout": null }, 1], "service": {}, "apis": [] });
        let errors = Objects::from_json(document).unwrap_err().to_string();
        assert!(errors.contains("api[1]: this is not an object"), "{errors}");
        assert!(errors.contains("service: \"service\" must be a list of objects"), "{errors}");
        assert!(errors.contains("apis: no kind \"apis\" (there are service, api"), "{errors}");
        assert!(Objects::from_json(json!([])).is_err());
        let catalog = objects(json!({ "api": [{ "name": "a", "timeout": null }] }));
        assert_eq!(catalog.to_json(), json!({ "api": [{ "name": "a" }] }), "null is not written");
    }
}
