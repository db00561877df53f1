//! The catalog in files: `catalog.toml`, which people edit, and `catalog.d/KIND.NAME.toml`, one object each, which the admin
//! API writes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gatehouse_shared::config::{ConfigError, ConfigErrors, Document, SourceFile, Sources, parse_all};
use serde_json::{Map, Value};

use super::catalog::objects::{Object, Objects, name_of};
use super::catalog::{CatalogConfig, is_name};

/// The file that people edit, in the configuration directory.
pub const CATALOG: &str = "catalog.toml";
/// The directory of what the API writes, beside it.
pub const FOLDER: &str = "catalog.d";
/// Most files there.
const MOST_FILES: usize = 20_000;

/// Reads the catalog as written.
///
/// # Errors
/// When a file cannot be read, or they hold anything but a catalog.
pub fn read(sources: &mut Sources) -> Result<Document<CatalogConfig>, ConfigErrors> {
    read_all(sources).map(|(document, _)| document)
}

/// The same, and the objects as they stand there.
///
/// # Errors
/// As [`read`].
pub fn read_all(sources: &mut Sources) -> Result<(Document<CatalogConfig>, Objects), ConfigErrors> {
    understand(&files(sources)?)
}

/// Reads every file of the catalog: `catalog.toml` and what is in `catalog.d`, by name.
///
/// # Errors
/// When one cannot be read.
pub fn files(sources: &mut Sources) -> Result<Vec<SourceFile>, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let more = names(sources.dir())?;
    let mut files = Vec::with_capacity(1 + more.len());
    // Whoever publishes through the API alone needs no catalog.toml.
    if !sources.dir().join(FOLDER).exists() || sources.dir().join(CATALOG).exists() {
        files.extend(errors.collect(sources.read(CATALOG)));
    }
    for name in more {
        files.extend(errors.collect(sources.read(name)));
    }
    errors.into_result(files)
}

/// What the files say.
///
/// # Errors
/// Everything that is no TOML or no catalog; objects of `catalog.d` that stand in the wrong file or in another one, too.
pub fn understand(files: &[SourceFile]) -> Result<(Document<CatalogConfig>, Objects), ConfigErrors> {
    let document = parse_all::<CatalogConfig>(files)?;
    let mut errors = ConfigErrors::new();
    let mut all = Objects::default();
    let mut owners: BTreeMap<(String, String), String> = BTreeMap::new();
    for file in files {
        let objects = objects(file)?;
        if let Some(expected) = expected_file(file, &objects) {
            let message = "a file in catalog.d holds one object and is named after it";
            errors.push(ConfigError::about_file(file.name(), message).with_remedy(expected));
        }
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for (kind, object) in objects.all() {
            let place = places.entry(kind).or_insert_with(|| all.of(kind).len());
            let path = format!("{kind}[{place}].name");
            *place += 1;
            let name = name_of(kind, object);
            match owners.get(&(kind.to_owned(), name.to_owned())) {
                Some(other) if *other != file.name() => {
                    let message = format!("the {kind} {name:?} is in {other}, too");
                    errors.push(document.positions.error(&path, message, Some("remove one of the two".to_owned())));
                }
                _ => {
                    owners.insert((kind.to_owned(), name.to_owned()), file.name());
                }
            }
        }
        all.append(objects);
    }
    errors.into_result((document, all))
}

/// The objects of one file.
fn objects(file: &SourceFile) -> Result<Objects, ConfigErrors> {
    let table: toml::Table =
        file.text.parse().map_err(|error: toml::de::Error| ConfigError::about_file(file.name(), error.message()))?;
    Objects::from_json(json_of(toml::Value::Table(table)))
}

/// What a file in `catalog.d` ought to be called or hold; `None` where it is as it should be.
fn expected_file(file: &SourceFile, objects: &Objects) -> Option<String> {
    if !file.path.starts_with(FOLDER) {
        return None;
    }
    let mut all = objects.all();
    let Some((kind, object)) = all.next() else { return Some("remove it, or write the object it is for".to_owned()) };
    if all.next().is_some() {
        return Some(format!("give each object a file of its own, or write them into {CATALOG}"));
    }
    let expected = path_of(kind, name_of(kind, object));
    (expected != file.path).then(|| format!("name it {}", expected.display()))
}

/// The file of an object, relative to the configuration directory.
#[must_use]
pub fn path_of(kind: &str, name: &str) -> PathBuf {
    Path::new(FOLDER).join(format!("{kind}.{name}.toml"))
}

/// The text of the file of an object.
///
/// # Errors
/// A sentence when it holds what TOML cannot say, or has no name that a file can have.
pub fn text_of(kind: &str, object: &Object) -> Result<String, String> {
    let name = name_of(kind, object);
    if !is_name(name) {
        return Err(format!("{name:?} is not a name"));
    }
    let document = Map::from_iter([(kind.to_owned(), Value::Array(vec![Value::Object(object.clone())]))]);
    toml::to_string_pretty(&document).map_err(|error| error.to_string())
}

/// The files in `catalog.d`, by name.
fn names(dir: &Path) -> Result<Vec<PathBuf>, ConfigErrors> {
    let finding = |message: String| ConfigErrors::from(ConfigError::about_file(FOLDER, message));
    let entries = match fs::read_dir(dir.join(FOLDER)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(finding(format!("cannot read the directory: {error}"))),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| finding(format!("cannot read the directory: {error}")))?.file_name();
        let path = Path::new(FOLDER).join(&name);
        // Hidden files are editors' copies.
        if path.extension().is_some_and(|extension| extension == "toml") && !name.as_encoded_bytes().starts_with(b".") {
            names.push(path);
        }
    }
    if names.len() > MOST_FILES {
        return Err(finding(format!("{} files; {MOST_FILES} are read", names.len())));
    }
    names.sort();
    Ok(names)
}

/// TOML as JSON.
pub(crate) fn json_of(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        // JSON has neither infinity nor "not a number"; nor does any key of the catalog.
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(value) => Value::Bool(value),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(values) => values.into_iter().map(json_of).collect(),
        toml::Value::Table(table) => {
            table.into_iter().map(|(key, value)| (key, json_of(value))).collect::<Map<_, _>>().into()
        }
    }
}

#[cfg(test)]
mod tests;
