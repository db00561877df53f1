//! One TOML file into a typed value with positions, or into everything that is wrong with it.
//!
//! Serde stops at the first error. So that an operator sees all of them at once, the offending item is taken out and the
//! rest is read again, until nothing is left to complain about. Every item carries a number where the parser keeps its
//! span, so an error always names exactly one item, whatever its place in the text.

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
    let (tree, syntax) = DeTable::parse_recoverable(&file.text);
    let lines = Lines::new(&file.text);
    if !syntax.is_empty() {
        return Err(syntax_errors(file, &lines, &syntax));
    }
    let mut items = Items::default();
    let tree = items.number_table(tree, "");
    let mut positions = Positions { file: file.name(), places: HashMap::new() };
    for item in items.list.iter().filter(|item| !item.is_key) {
        positions.places.insert(item.path.clone(), lines.place(item.offset));
    }
    let reading =
        Reading { items, lines, positions, errors: ConfigErrors::new(), gone: HashSet::new(), guesses: HashMap::new() };
    reading.read(tree)
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

/// Where the items of a file were written, by path: `process.threads`, `route[2].cluster`.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    file: String,
    places: HashMap<String, (usize, usize)>,
}

impl Positions {
    /// A finding about the item at `path`; when the file does not spell it out, about the nearest table around it.
    #[must_use]
    pub fn error(&self, path: &str, message: impl Into<String>, remedy: Option<String>) -> ConfigError {
        let (line, column) = self.place(path);
        ConfigError { file: self.file.clone(), line, column, message: message.into(), remedy }
    }

    /// The file, relative to the configuration directory.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Whether the file spells out the item at `path`.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }

    /// Line and column (in characters) of the item at `path`, or else of the nearest table around it; both from 1.
    #[must_use]
    pub fn place(&self, path: &str) -> (usize, usize) {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return *place;
            }
            match path.rfind(['.', '[']).and_then(|end| path.get(..end)) {
                Some(parent) => path = parent,
                None => return (1, 1),
            }
        }
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
    offset: usize,
    is_key: bool,
}

/// Every key and value; an item's number is its place in the list, and stands where the parser keeps the span.
#[derive(Default)]
struct Items {
    list: Vec<Item>,
}

impl Items {
    fn add(&mut self, path: &str, offset: usize, is_key: bool) -> std::ops::Range<usize> {
        let number = self.list.len();
        self.list.push(Item { path: path.to_owned(), offset, is_key });
        number..number
    }

    fn number_table<'t>(&mut self, table: Spanned<DeTable<'t>>, path: &str) -> Spanned<DeTable<'t>> {
        let span = self.add(path, table.span().start, false);
        Spanned::new(span, self.number_entries(table.into_inner(), path))
    }

    fn number_entries<'t>(&mut self, table: DeTable<'t>, path: &str) -> DeTable<'t> {
        let mut numbered = DeTable::new();
        for (key, value) in table {
            let path = if path.is_empty() { key.get_ref().to_string() } else { format!("{path}.{}", key.get_ref()) };
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
    lines: Lines<'t>,
    positions: Positions,
    errors: ConfigErrors,
    /// Keys taken out, by number of their table, and tables in which something is not as written.
    gone: HashSet<(usize, String)>,
    guesses: HashMap<usize, Guess>,
}

impl<'t> Reading<'t> {
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
            self.errors.push(ConfigError::about_file(self.positions.file.clone(), "the file cannot be understood"));
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
        let offset = self.items.list.get(number).map_or(0, |item| item.offset);
        let (line, column) = self.lines.place(offset);
        self.errors.push(ConfigError { file: self.positions.file.clone(), line, column, message, remedy });
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
