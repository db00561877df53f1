//! The schemas and OpenAPI documents of a catalog: `[[schema]]` objects, which travel with it, and files beside it.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use gatehouse_shared::config::{ConfigError, ConfigErrors, Positions, Sources};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::config::Bounds;
use crate::store::catalog::{At, CatalogConfig, check_name};

/// Levels of a document inside of each other.
const DEPTH: usize = 200;
/// Values that a document in YAML may have once its aliases are written out.
const YAML_NODES: usize = 2_000_000;

/// `[[schema]]`: a JSON Schema or an OpenAPI document, as written. JSON and YAML are understood.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its name in `validate`; unique. Letters, digits, `.`, `_` and `-`. Example: `"orders"`.
    pub name: String,
    /// The document. A catalog in Redis has its documents here, so that all nodes have the same.
    pub text: Option<String>,
    /// Or the file that it is in, relative to the configuration directory. For a catalog in files only.
    pub file: Option<String>,
}

/// Every document of one generation, by name.
#[derive(Debug, Default)]
pub struct Documents {
    by_name: BTreeMap<String, Value>,
    files: BTreeMap<String, PathBuf>,
    /// What bounds them, and what they are for.
    pub bounds: Bounds,
}

/// Where documents may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The catalog, and files beside it.
    Files,
    /// The catalog alone: it is in Redis, and files of nodes may differ.
    Catalog,
}

/// A place in a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The name of the document.
    pub document: String,
    /// What follows `#`.
    pub fragment: String,
}

impl Reference {
    /// `document#fragment`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (document, fragment) = text.split_once('#').unwrap_or((text, ""));
        Self { document: document.to_owned(), fragment: fragment.to_owned() }
    }
}

impl Documents {
    /// None yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Reads every document that the catalog has or names, and those they refer to.
    ///
    /// # Errors
    /// Everything that is no document.
    pub fn compile(
        catalog: &CatalogConfig,
        positions: &Positions,
        sources: &mut Sources,
        from: From,
        bounds: Bounds,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut all = Self::new(bounds);
        for (index, written) in catalog.schema.iter().enumerate() {
            let at = At { positions, path: format!("schema[{index}]") };
            errors.collect(all.add(written, &at, sources, from));
        }
        for (index, api) in catalog.api.iter().enumerate() {
            let Some(validate) = &api.validate else { continue };
            for (key, reference) in [("openapi", &validate.openapi), ("schema", &validate.schema)] {
                let Some(reference) = reference else { continue };
                let name = Reference::parse(reference).document;
                if all.by_name.contains_key(&name) || catalog.schema.iter().any(|schema| schema.name == name) {
                    continue;
                }
                let at = At { positions, path: format!("api[{index}].validate") };
                let read = all.read_file(&name, Path::new(&name), sources, from);
                if let Err(message) = read {
                    let remedy = "name a [[schema]], or a file in the configuration directory";
                    errors.push(at.error(key, message, remedy));
                }
            }
        }
        errors.collect(all.follow(sources, from));
        errors.into_result(all)
    }

    /// The document of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.by_name.get(name)
    }

    /// Adds a document that is written elsewhere.
    pub fn insert(&mut self, name: &str, document: Value) {
        self.by_name.insert(name.to_owned(), document);
    }

    /// The name of the document that `target` means in `document`; its own where it is empty.
    #[must_use]
    pub fn resolve(&self, document: &str, target: &str) -> Option<String> {
        if target.is_empty() {
            return Some(document.to_owned());
        }
        if self.by_name.contains_key(target) {
            return Some(target.to_owned());
        }
        let beside = self.files.get(document).and_then(|file| beside(file, target))?;
        let name = beside.to_str()?;
        self.by_name.contains_key(name).then(|| name.to_owned())
    }

    fn add(&mut self, written: &Config, at: &At<'_>, sources: &mut Sources, from: From) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::new();
        check_name(&written.name, at, &mut errors);
        if self.by_name.contains_key(&written.name) {
            errors.push(at.error("name", format!("a second schema {:?}", written.name), "give each its own name"));
            return Err(errors);
        }
        let read = match (&written.text, &written.file) {
            (Some(text), None) => understand(text, &self.bounds).map(|value| self.insert(&written.name, value)),
            (None, Some(file)) => self.read_file(&written.name, Path::new(file), sources, from),
            _ => Err("neither \"text\" nor \"file\", or both".to_owned()),
        };
        if let Err(message) = read {
            let key = if written.file.is_some() { "file" } else { "text" };
            errors.push(at.error(key, message, "write one document, in JSON or YAML"));
        }
        errors.into_result(())
    }

    fn read_file(&mut self, name: &str, file: &Path, sources: &mut Sources, from: From) -> Result<(), String> {
        if from == From::Catalog {
            return Err(format!(
                "{name:?} is no [[schema]], and a catalog in Redis has no files: put it into \"text\""
            ));
        }
        if self.by_name.len() >= self.bounds.documents_max {
            return Err(format!("more than {} documents", self.bounds.documents_max));
        }
        let is_inside = file.components().all(|part| matches!(part, Component::Normal(_)));
        if !is_inside || file.as_os_str().is_empty() {
            return Err(format!("{name:?} is no file in the configuration directory"));
        }
        let read = sources.read(file).map_err(|errors| errors.to_string())?;
        let value = understand(&read.text, &self.bounds)?;
        self.by_name.insert(name.to_owned(), value);
        self.files.insert(name.to_owned(), file.to_owned());
        Ok(())
    }

    /// Reads the files that documents refer to, until there are no more.
    fn follow(&mut self, sources: &mut Sources, from: From) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut waiting: Vec<String> = self.by_name.keys().cloned().collect();
        while let Some(name) = waiting.pop() {
            let mut targets = Vec::new();
            references(self.by_name.get(&name), &mut targets);
            let missing: Vec<String> =
                targets.into_iter().filter(|target| self.resolve(&name, target).is_none()).collect();
            for target in missing {
                // What is not beside it and no [[schema]] is told where it is used, if it is.
                let Some(file) = self.files.get(&name).and_then(|file| beside(file, &target)) else { continue };
                let Some(known) = file.to_str().map(str::to_owned) else { continue };
                match self.read_file(&known, &file, sources, from) {
                    Ok(()) => waiting.push(known),
                    Err(message) => {
                        let message = format!("refers to {target:?}: {message}");
                        errors.push(ConfigError::about_file(name.as_str(), message));
                    }
                }
            }
        }
        errors.into_result(())
    }
}

/// The file that a relative reference means.
fn beside(file: &Path, target: &str) -> Option<PathBuf> {
    if target.contains(':') || target.starts_with('/') {
        return None;
    }
    let mut path = file.parent().unwrap_or(Path::new("")).to_path_buf();
    for part in Path::new(target).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir if path.pop() => {}
            _ => return None,
        }
    }
    Some(path)
}

/// The documents that a document refers to, wherever it does.
fn references(document: Option<&Value>, into: &mut Vec<String>) {
    let mut waiting: Vec<&Value> = document.into_iter().collect();
    while let Some(value) = waiting.pop() {
        match value {
            Value::Array(items) => waiting.extend(items),
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let name = Reference::parse(reference).document;
                    if !name.is_empty() && !into.contains(&name) {
                        into.push(name);
                    }
                }
                waiting.extend(members.values());
            }
            _ => {}
        }
    }
}

/// Reads JSON or YAML.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn understand(text: &str, bounds: &Bounds) -> Result<Value, String> {
    if text.len() > bounds.document_max {
        return Err(format!("{} bytes; validation.document_max are {}", text.len(), bounds.document_max));
    }
    let value: Value = if text.trim_start().starts_with(['{', '[']) {
        serde_json::from_str(text).map_err(|error| format!("this is not JSON: {error}"))?
    } else {
        let budget = serde_saphyr::budget! { max_depth: DEPTH, max_nodes: YAML_NODES, max_aliases: 1000 };
        let options = serde_saphyr::options! { budget: budget };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let message = error.to_string();
            format!("this is not YAML: {}", message.lines().next().unwrap_or_default())
        })?
    };
    if !matches!(value, Value::Object(_) | Value::Bool(_)) {
        return Err("this is neither a schema nor an OpenAPI document".to_owned());
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_yaml_say_the_same() {
        let bounds = Bounds::default();
        let json = understand("{\"type\":\"object\",\"required\":[\"a\"],\"x\":{\"200\":1.5}}", &bounds).unwrap();
        let yaml = understand("type: object\nrequired: [a]\nx:\n  200: 1.5\n", &bounds).unwrap();
        assert_eq!(json, yaml);
        assert!(understand("- 1", &bounds).unwrap_err().starts_with("this is neither"));
        assert!(understand("{", &bounds).unwrap_err().starts_with("this is not JSON"));
        assert!(understand("a: 1\na: 2\n", &bounds).unwrap_err().starts_with("this is not YAML"));
        let small = Bounds { document_max: 10, ..bounds };
        assert!(understand("type: object", &small).unwrap_err().contains("document_max are 10"));
    }

    #[test]
    fn aliases_do_not_explode() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = format!("*a{}", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", ")));
        }
        assert!(understand(&bomb, &Bounds::default()).is_err());
    }

    #[test]
    fn a_reference_does_not_leave_the_directory() {
        let file = Path::new("apis/orders.yaml");
        assert_eq!(beside(file, "parts/a.yaml"), Some(PathBuf::from("apis/parts/a.yaml")));
        assert_eq!(beside(file, "./../a.yaml"), Some(PathBuf::from("a.yaml")));
        for target in ["../../a.yaml", "/etc/passwd", "http://x/a.yaml", "file:a"] {
            assert_eq!(beside(file, target), None, "{target}");
        }
    }
}
