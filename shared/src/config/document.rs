//! One TOML file, several that are read as one, or a JSON document, into a typed value with positions, or into everything that
//! is wrong with it.
//!
//! Serde stops at the first error. So that an operator sees all of them at once, the offending item is taken out and the
//! rest is read again, until nothing is left to complain about. Every item carries a number where the parser keeps its
//! span, so an error always names exactly one item, whatever its place in the text.

mod json;

use std::collections::{HashMap, HashSet};

use serde::de::DeserializeOwned;
use serde_spanned::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::error::{ConfigError, ConfigErrors};
use super::message::{Complaint, explain, explain_syntax};
use super::source::SourceFile;

/// Findings after which a file is given up.
const MAX_FINDINGS: usize = 100;
/// Readings after which a file is given up; a finding takes at most a few.
const MAX_READINGS: usize = 1_000;

/// A typed configuration file and where its items were written.
#[derive(Clone, Debug)]
pub struct Document<T> {
    /// What was read.
    pub value: T,
    /// Where it was written.
    pub positions: Positions,
}

/// Reads a TOML file into its type.
///
/// # Errors
/// All syntax errors, or else all unknown keys, wrong types, bad values and missing keys, each with its position.
pub fn parse<T: DeserializeOwned>(file: &SourceFile) -> Result<Document<T>, ConfigErrors> {
    parse_all(std::slice::from_ref(file))
}

/// Reads several TOML files as one: an array at the top level that more than one of them has, such as `[[api]]`, holds the
/// elements of all of them, in the order of the files.
///
/// # Errors
/// As [`parse`], each with its file; and keys at the top level that two files have and that are no arrays.
pub fn parse_all<T: DeserializeOwned>(files: &[SourceFile]) -> Result<Document<T>, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let mut trees = Vec::with_capacity(files.len());
    let lines: Vec<Lines<'_>> = files.iter().map(|file| Lines::new(&file.text)).collect();
    for (file, lines) in files.iter().zip(&lines) {
        let (tree, syntax) = DeTable::parse_recoverable(&file.text);
        errors.extend(syntax_errors(file, lines, &syntax));
        trees.push(tree);
    }
    errors.into_result(())?;
    let names = files.iter().map(SourceFile::name).collect();
    let (tree, items, clashes) = number_files(trees);
    let reading = Reading::new(items, lines, names);
    let errors = clashes.iter().fold(ConfigErrors::new(), |mut errors, clash| {
        errors.push(reading.clash(clash));
        errors
    });
    errors.into_result(())?;
    reading.read(tree)
}

/// Reads a JSON document into its type. A finding's position is the path of the item, such as `api[2].path`, behind `name` and
/// a colon, or alone where `name` is empty. Keys whose value is `null` count as not written.
///
/// # Errors
/// As [`parse`].
pub fn parse_json<T: DeserializeOwned>(name: &str, value: &serde_json::Value) -> Result<Document<T>, ConfigErrors> {
    let serde_json::Value::Object(fields) = value else {
        return Err(ConfigError::about_file(name, "the document is not an object").into());
    };
    let numbers = json::numbers(fields);
    let tree = json::table(fields, &mut numbers.iter());
    let (tree, items, _none) = number_files(vec![Spanned::new(0..0, tree)]);
    Reading::new(items, Vec::new(), vec![name.to_owned()]).read(tree)
}

fn syntax_errors(file: &SourceFile, lines: &Lines<'_>, errors: &[toml::de::Error]) -> ConfigErrors {
    let mut findings = ConfigErrors::new();
    for error in errors.iter().take(MAX_FINDINGS) {
        let span = error.span().unwrap_or_default();
        let (message, remedy) = explain_syntax(error.message(), file.text.get(span.clone()).unwrap_or_default());
        let (line, column) = lines.place(span.start);
        findings.push(ConfigError { file: file.name(), line, column, message, remedy });
    }
    findings
}

/// Where the items of a document were written, by path: `process.threads`, `route[2].cluster`.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    files: Vec<String>,
    places: HashMap<String, Place>,
    /// Whether the document has no lines, so that a path is all that can be said of a place.
    is_json: bool,
}

/// Where an item was written.
#[derive(Clone, Copy, Debug)]
struct Place {
    file: usize,
    line: usize,
    column: usize,
}

impl Positions {
    /// A finding about the item at `path`; when the file does not spell it out, about the nearest table around it.
    #[must_use]
    pub fn error(&self, path: &str, message: impl Into<String>, remedy: Option<String>) -> ConfigError {
        let place = self.nearest(path);
        self.finding(path, place, message.into(), remedy)
    }

    /// The file, relative to the configuration directory; of several the first.
    #[must_use]
    pub fn file(&self) -> &str {
        self.files.first().map_or("", String::as_str)
    }

    /// The file that the item at `path` stands in.
    #[must_use]
    pub fn file_of(&self, path: &str) -> &str {
        self.files.get(self.nearest(path).file).map_or("", String::as_str)
    }

    /// Whether the file spells out the item at `path`.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }

    /// Line and column (in characters) of the item at `path`, or else of the nearest table around it; both from 1.
    #[must_use]
    pub fn place(&self, path: &str) -> (usize, usize) {
        let Place { line, column, .. } = self.nearest(path);
        (line, column)
    }

    fn nearest(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return *place;
            }
            match path.rfind(['.', '[']).and_then(|end| path.get(..end)) {
                Some(parent) => path = parent,
                None => return Place { file: 0, line: 1, column: 1 },
            }
        }
    }

    fn finding(&self, path: &str, place: Place, message: String, remedy: Option<String>) -> ConfigError {
        let Place { file, line, column } = place;
        let file = self.files.get(file).cloned().unwrap_or_default();
        if !self.is_json {
            return ConfigError { file, line, column, message, remedy };
        }
        let file = match (file.is_empty(), path.is_empty()) {
            (_, true) => file,
            (true, false) => path.to_owned(),
            (false, false) => format!("{file}:{path}"),
        };
        ConfigError { file, line: 0, column: 0, message, remedy }
    }
}

/// Byte offsets into lines and columns.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        let after_feed = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(offset, _)| offset + 1);
        Self { text, starts: std::iter::once(0).chain(after_feed).collect() }
    }

    /// Line and column (in characters) of an offset, both from 1.
    fn place(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        (line, column)
    }
}

/// A key or value of the file.
struct Item {
    path: String,
    file: usize,
    offset: usize,
    is_key: bool,
}

/// Every key and value; an item's number is its place in the list, and stands where the parser keeps the span.
#[derive(Default)]
struct Items {
    list: Vec<Item>,
    /// The file whose items are being added.
    file: usize,
}

/// A key at the top level that a file before has, too.
struct Clash {
    key: String,
    file: usize,
    offset: usize,
}

/// One tree out of those of several files.
fn number_files(trees: Vec<Spanned<DeTable<'_>>>) -> (Spanned<DeTable<'_>>, Items, Vec<Clash>) {
    let (mut items, mut clashes) = (Items::default(), Vec::new());
    let root = items.add("", trees.first().map_or(0, |tree| tree.span().start), false);
    let mut merged = DeTable::new();
    for (file, tree) in trees.into_iter().enumerate() {
        items.file = file;
        for (key, value) in tree.into_inner() {
            let path = key.get_ref().to_string();
            let offset = key.span().start;
            match (merged.get_mut(&*path).map(Spanned::get_mut), (value.span(), value.into_inner())) {
                (None, (span, value)) => {
                    let key = Spanned::new(items.add(&path, offset, true), key.into_inner());
                    merged.insert(key, items.number_value(Spanned::new(span, value), &path));
                }
                (Some(DeValue::Array(known)), (_, DeValue::Array(more))) => {
                    for value in more {
                        known.push(items.number_value(value, &format!("{path}[{}]", known.len())));
                    }
                }
                _ => clashes.push(Clash { key: path, file, offset }),
            }
        }
    }
    (Spanned::new(root, merged), items, clashes)
}

impl Items {
    fn add(&mut self, path: &str, offset: usize, is_key: bool) -> std::ops::Range<usize> {
        let number = self.list.len();
        self.list.push(Item { path: path.to_owned(), file: self.file, offset, is_key });
        number..number
    }

    fn number_entries<'t>(&mut self, table: DeTable<'t>, path: &str) -> DeTable<'t> {
        let mut numbered = DeTable::new();
        for (key, value) in table {
            let path = format!("{path}.{}", key.get_ref());
            let key = Spanned::new(self.add(&path, key.span().start, true), key.into_inner());
            let value = self.number_value(value, &path);
            numbered.insert(key, value);
        }
        numbered
    }

    fn number_value<'t>(&mut self, value: Spanned<DeValue<'t>>, path: &str) -> Spanned<DeValue<'t>> {
        let span = self.add(path, value.span().start, false);
        let value = match value.into_inner() {
            DeValue::Table(table) => DeValue::Table(self.number_entries(table, path)),
            DeValue::Array(array) => DeValue::Array(
                array
                    .into_iter()
                    .enumerate()
                    .map(|(index, value)| self.number_value(value, &format!("{path}[{index}]")))
                    .collect(),
            ),
            other => other,
        };
        Spanned::new(span, value)
    }
}

/// Values tried, in order, in place of a required key that is missing, so that reading gets past it.
const GUESSES: [&str; 10] =
    ["\"x\"", "1", "[]", "{}", "true", "\"127.0.0.1:1\"", "\"1s\"", "\"1KiB\"", "\"1/1s\"", "\"/\""];

/// A key that stands in for a missing one.
struct Guess {
    table: usize,
    key: String,
    next: usize,
}

/// The state of reading one file again and again.
struct Reading<'t> {
    items: Items,
    /// Of each file; none for JSON.
    lines: Vec<Lines<'t>>,
    positions: Positions,
    errors: ConfigErrors,
    /// Keys taken out, by number of their table, and tables in which something is not as written.
    gone: HashSet<(usize, String)>,
    guesses: HashMap<usize, Guess>,
}

impl<'t> Reading<'t> {
    fn new(items: Items, lines: Vec<Lines<'t>>, files: Vec<String>) -> Self {
        let mut positions = Positions { files, places: HashMap::new(), is_json: lines.is_empty() };
        for item in items.list.iter().filter(|item| !item.is_key) {
            positions.places.insert(item.path.clone(), place(&lines, item.file, item.offset));
        }
        Self { items, lines, positions, errors: ConfigErrors::new(), gone: HashSet::new(), guesses: HashMap::new() }
    }

    fn clash(&self, clash: &Clash) -> ConfigError {
        let message = format!("{:?} is in {} already", clash.key, self.positions.file_of(&clash.key));
        let place = place(&self.lines, clash.file, clash.offset);
        self.positions.finding(&clash.key, place, message, Some("only lists can be in several files".to_owned()))
    }

    fn read<T: DeserializeOwned>(mut self, mut tree: Spanned<DeTable<'t>>) -> Result<Document<T>, ConfigErrors> {
        for _ in 0..MAX_READINGS {
            let error = match T::deserialize(toml::Deserializer::from(tree.clone())) {
                Ok(value) => return self.errors.into_result(Document { value, positions: self.positions }),
                Err(error) => error,
            };
            let number = error.span().map_or(0, |span| span.start);
            if !self.settle(&mut tree, number, error.message()) || self.errors.len() >= MAX_FINDINGS {
                break;
            }
        }
        if self.errors.is_empty() {
            self.errors.push(ConfigError::about_file(self.positions.file(), "the file cannot be understood"));
        }
        Err(self.errors)
    }

    /// Reports the error and changes the tree so that the next reading gets further; false when it cannot.
    fn settle(&mut self, tree: &mut Spanned<DeTable<'t>>, number: usize, message: &str) -> bool {
        if let Some(guess) = self.guesses.remove(&number) {
            return self.guess_again(tree, guess);
        }
        let path = self.items.list.get(number).map(|item| item.path.clone()).unwrap_or_default();
        match explain(&path, message) {
            Complaint::Missing { key, message } => {
                if !self.gone.contains(&(number, key.clone())) {
                    self.report(number, message, None);
                }
                self.guess_again(tree, Guess { table: number, key, next: 0 })
            }
            Complaint::Other { message, remedy } => {
                let is_consequence = self.gone.iter().any(|(table, _)| *table == number)
                    || self.guesses.values().any(|guess| guess.table == number);
                if !is_consequence {
                    self.report(number, message, remedy);
                }
                self.take_out(tree, number)
            }
        }
    }

    fn report(&mut self, number: usize, message: String, remedy: Option<String>) {
        let item = self.items.list.get(number);
        let (path, file, offset) = item.map_or(("", 0, 0), |item| (item.path.as_str(), item.file, item.offset));
        let place = place(&self.lines, file, offset);
        self.errors.push(self.positions.finding(path, place, message, remedy));
    }

    /// Puts the next guess in place of a missing key; takes the table out when there is none left.
    fn guess_again(&mut self, tree: &mut Spanned<DeTable<'t>>, guess: Guess) -> bool {
        let Some(text) = GUESSES.get(guess.next) else {
            return self.take_out(tree, guess.table);
        };
        let Ok(value) = DeValue::parse(text) else { return false };
        let number = self.items.list.len();
        let span = self.items.add("", 0, false);
        let key = Spanned::new(span.clone(), DeString::Owned(guess.key.clone()));
        let value = Spanned::new(span, value.into_inner());
        let Some(table) = find_table(tree, guess.table) else { return false };
        table.insert(key, value);
        self.guesses.insert(number, Guess { next: guess.next + 1, ..guess });
        true
    }

    /// Takes an item out; false for the file as a whole.
    fn take_out(&mut self, tree: &mut Spanned<DeTable<'t>>, number: usize) -> bool {
        let root = tree.span().start;
        match take_from_table(tree.get_mut(), root, number) {
            Some(entry) => self.gone.insert(entry),
            None => false,
        }
    }
}

fn place(lines: &[Lines<'_>], file: usize, offset: usize) -> Place {
    let (line, column) = lines.get(file).map_or((0, 0), |lines| lines.place(offset));
    Place { file, line, column }
}

fn find_table<'a, 't>(tree: &'a mut Spanned<DeTable<'t>>, number: usize) -> Option<&'a mut DeTable<'t>> {
    if tree.span().start == number {
        return Some(tree.get_mut());
    }
    tree.get_mut().iter_mut().find_map(|(_, value)| find_table_in(value, number))
}

fn find_table_in<'a, 't>(value: &'a mut Spanned<DeValue<'t>>, number: usize) -> Option<&'a mut DeTable<'t>> {
    let is_it = value.span().start == number;
    match value.get_mut() {
        DeValue::Table(table) => {
            if is_it {
                return Some(table);
            }
            table.iter_mut().find_map(|(_, value)| find_table_in(value, number))
        }
        DeValue::Array(array) => array.iter_mut().find_map(|value| find_table_in(value, number)),
        _ => None,
    }
}

/// Takes out the entry whose key or value has this number; returns its table and key.
fn take_from_table(table: &mut DeTable<'_>, table_number: usize, number: usize) -> Option<(usize, String)> {
    let hit = table.iter().find(|(key, value)| key.span().start == number || value.span().start == number);
    if let Some((key, _)) = hit {
        let key = key.clone();
        table.remove(&key);
        return Some((table_number, key.into_inner().into_owned()));
    }
    table.iter_mut().find_map(|(_, value)| take_from_value(value, number))
}

fn take_from_value(value: &mut Spanned<DeValue<'_>>, number: usize) -> Option<(usize, String)> {
    let own = value.span().start;
    match value.get_mut() {
        DeValue::Table(table) => take_from_table(table, own, number),
        DeValue::Array(array) => {
            if let Some(index) = array.iter().position(|value| value.span().start == number) {
                let mut rest = std::mem::replace(array, DeArray::new()).into_iter().collect::<Vec<_>>();
                rest.remove(index);
                *array = rest.into_iter().collect();
                return Some((own, index.to_string()));
            }
            array.iter_mut().find_map(|value| take_from_value(value, number))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
