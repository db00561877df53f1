//! `docs/CONFIGURATION.md` from the schemas of the configuration types.
//!
//! What a doc comment says becomes the meaning, `#[schemars(example = …)]` the example, and `#[serde(default)]` on a type
//! that is `Serialize` the default. Tables become sections, in the order of the fields.

use schemars::Schema;
use serde_json::{Map, Value};

/// Every key of a configuration file as markdown: meaning, type and unit, default, example.
#[must_use]
pub fn reference_markdown(schema: &Schema) -> String {
    let mut page = Page { types: Types { root: schema.as_value() }, text: String::new() };
    page.section(&Section { path: String::new(), is_list: false, table: schema.as_value(), meaning: None, depth: 0 });
    page.text
}

/// How deep tables and references are followed; deeper ones would be a type that contains itself.
const MAX_DEPTH: usize = 8;

/// One table of the file.
struct Section<'s> {
    path: String,
    is_list: bool,
    table: &'s Value,
    /// What the key that holds the table says of it; what the type says of itself is for where this is missing.
    meaning: Option<&'s str>,
    depth: usize,
}

struct Page<'s> {
    types: Types<'s>,
    text: String,
}

impl<'s> Page<'s> {
    fn section(&mut self, section: &Section<'s>) {
        let Some(properties) = section.table.get("properties").and_then(Value::as_object) else { return };
        self.header(section);
        let required = section.table.get("required").and_then(Value::as_array);
        let is_required = |key: &str| required.is_some_and(|names| names.iter().any(|name| name == key));
        let mut rows = String::new();
        let mut below = Vec::new();
        for (key, property) in properties {
            let Some((table, is_list)) = self.types.table_in(property) else {
                rows.push_str(&self.types.row(key, property, is_required(key)));
                continue;
            };
            let path = if section.path.is_empty() { key.clone() } else { format!("{}.{key}", section.path) };
            below.push(Section { path, is_list, table, meaning: description(property), depth: section.depth + 1 });
        }
        if !rows.is_empty() {
            let head = "| key | type | default | example | meaning |\n|---|---|---|---|---|\n";
            self.paragraph(&format!("{head}{}", rows.trim_end()));
        }
        for section in below.iter().filter(|section| section.depth <= MAX_DEPTH) {
            self.section(section);
        }
    }

    fn header(&mut self, section: &Section<'s>) {
        if !section.path.is_empty() {
            let level = if section.depth > 1 { "###" } else { "##" };
            let name = if section.is_list { format!("[[{}]]", section.path) } else { format!("[{}]", section.path) };
            self.paragraph(&format!("{level} `{name}`"));
        }
        if let Some(meaning) = section.meaning.or_else(|| description(section.table)) {
            self.paragraph(meaning);
        }
    }

    fn paragraph(&mut self, text: &str) {
        let separator = if self.text.is_empty() { "" } else { "\n" };
        self.text.push_str(&format!("{separator}{text}\n"));
    }
}

fn description(schema: &Value) -> Option<&str> {
    schema.get("description").and_then(Value::as_str)
}

/// The schema as a whole, to follow references into.
struct Types<'s> {
    root: &'s Value,
}

impl<'s> Types<'s> {
    fn row(&self, key: &str, property: &'s Value, is_required: bool) -> String {
        let default = match property.get("default") {
            _ if is_required => "required".to_owned(),
            None | Some(Value::Null) => "–".to_owned(),
            Some(value) => format!("`{}`", toml_text(value)),
        };
        let example = property.get("examples").and_then(|examples| examples.get(0));
        let example = example.map_or_else(String::new, |value| format!("`{}`", toml_text(value)));
        let mut meaning = one_line(description(property).unwrap_or_default());
        for (word, of_word) in words(self.resolved(property)).unwrap_or_default() {
            if let Some(of_word) = of_word {
                meaning.push_str(&format!(" `\"{word}\"`: {}", one_line(of_word)));
            }
        }
        let kind = self.type_name(property, 0);
        format!("| `{key}` | {kind} | {default} | {example} | {} |\n", meaning.replace('|', "\\|"))
    }

    /// The table a property holds, directly or as a list of tables.
    fn table_in(&self, property: &'s Value) -> Option<(&'s Value, bool)> {
        let schema = self.resolved(property);
        let (candidate, is_list) = match schema.get("items") {
            Some(items) => (self.resolved(items), true),
            None => (schema, false),
        };
        candidate.get("properties").is_some().then_some((candidate, is_list))
    }

    /// Follows references and options down to the type itself.
    fn resolved(&self, schema: &'s Value) -> &'s Value {
        let mut schema = schema;
        for _ in 0..MAX_DEPTH {
            let reference = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
            let target = reference.and_then(|pointer| self.root.pointer(pointer));
            match target.or_else(|| option_of(schema)) {
                Some(next) => schema = next,
                None => break,
            }
        }
        schema
    }

    fn type_name(&self, property: &'s Value, depth: usize) -> String {
        let schema = self.resolved(property);
        let kind = kind(schema);
        if depth > MAX_DEPTH {
            return "any".to_owned();
        }
        if let Some(name) = schema.get("format").and_then(Value::as_str).and_then(format_name) {
            return name.to_owned();
        }
        if let Some(words) = words(schema) {
            let words: Vec<String> = words.into_iter().map(|(word, _)| format!("`\"{word}\"`")).collect();
            return words.join(" or ");
        }
        if let Some(forms) = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array) {
            let forms: Vec<String> = forms.iter().map(|form| self.form(form, depth)).collect();
            return forms.join(" or ");
        }
        match (kind, schema.get("items"), schema.get("additionalProperties")) {
            (Some("array"), Some(items), _) => format!("list: {}", self.type_name(items, depth + 1)),
            (Some("object"), _, Some(values @ Value::Object(_))) => {
                format!("table of names: {}", self.type_name(values, depth + 1))
            }
            (Some("object"), ..) => self.form(schema, depth),
            (Some("integer"), ..) => "whole number".to_owned(),
            (Some("boolean"), ..) => "true or false".to_owned(),
            (Some(other), ..) => other.to_owned(),
            (None, ..) => "any".to_owned(),
        }
    }

    /// One form of a value that has several: `{ file = string }`, or a plain type.
    fn form(&self, form: &'s Value, depth: usize) -> String {
        let form = self.resolved(form);
        let Some(properties) = form.get("properties").and_then(Value::as_object) else {
            return if kind(form) == Some("object") { "table".to_owned() } else { self.type_name(form, depth + 1) };
        };
        let keys = properties.iter().map(|(key, value)| format!("{key} = {}", self.type_name(value, depth + 1)));
        format!("`{{ {} }}`", keys.collect::<Vec<_>>().join(", "))
    }
}

/// The type in an option of it.
fn option_of(schema: &Value) -> Option<&Value> {
    match schema.get("anyOf").and_then(Value::as_array).map(Vec::as_slice) {
        Some([one, other]) if kind(other) == Some("null") => Some(one),
        _ => None,
    }
}

/// The JSON type, leaving `null` aside.
fn kind(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        kind => kind.as_str(),
    }
}

fn format_name(format: &str) -> Option<&'static str> {
    match format {
        "size" => Some("size (`B`, `KiB`, `MiB`, `GiB`)"),
        "duration" => Some("duration (`ms`, `s`, `m`, `h`, `d`)"),
        "rate" => Some("rate (`N/duration`)"),
        "network" => Some("network or address"),
        "ip" => Some("IP address"),
        "socket-address" => Some("`address:port`"),
        _ => None,
    }
}

/// The words a choice can be, with their meanings.
fn words(schema: &Value) -> Option<Vec<(&str, Option<&str>)>> {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values.iter().map(|value| value.as_str().map(|word| (word, None))).collect();
    }
    let mut words = Vec::new();
    for form in schema.get("oneOf").and_then(Value::as_array)? {
        let meaning = description(form);
        match (form.get("const"), form.get("enum").and_then(Value::as_array)) {
            (Some(word), _) => words.push((word.as_str()?, meaning)),
            (None, Some(values)) => {
                for value in values {
                    words.push((value.as_str()?, meaning));
                }
            }
            (None, None) => return None,
        }
    }
    Some(words)
}

/// A JSON value as it would be written in a TOML file.
fn toml_text(value: &Value) -> String {
    match value {
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(toml_text).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Object(entries) => inline_table(entries),
        other => other.to_string(),
    }
}

fn inline_table(entries: &Map<String, Value>) -> String {
    let entries: Vec<String> = entries
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| format!("{key} = {}", toml_text(value)))
        .collect();
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use schemars::{JsonSchema, schema_for};
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::balance::{Ejection, Strategy};
    use crate::cidr::Network;
    use crate::config::{ByteSize, HumanDuration, Rate};
    use crate::hop::HopKeyConfig;

    /// The file `edge.toml`.
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Config {
        /// Needs a restart.
        process: Process,
        /// Bounds of the way in.
        #[serde(default)]
        accept: Accept,
        /// The hop.
        hop: Hop,
        /// Where requests go, the first that matches.
        #[serde(default)]
        cluster: Vec<Cluster>,
    }

    /// The process.
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Process {
        /// Name of the node;
        /// the host name when not set.
        node: Option<String>,
        /// Where the admin listener is.
        #[schemars(example = "127.0.0.1:9180")]
        admin: SocketAddr,
    }

    /// Bounds.
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Accept {
        /// Largest head.
        head_max: ByteSize,
        /// Time for the head.
        head_timeout: HumanDuration,
        /// Least rate, in bytes.
        body_min_rate: Rate,
        /// Fields of a head.
        fields_max: u32,
        /// Whether `_` may be in names.
        underscores: bool,
        /// Methods a | client may use.
        methods: Vec<String>,
        /// Who may say where a client is.
        trusted: Vec<Network>,
    }

    impl Default for Accept {
        fn default() -> Self {
            Self {
                head_max: ByteSize::kib(32),
                head_timeout: HumanDuration::from_secs(10),
                body_min_rate: Rate::per_second(240),
                fields_max: 100,
                underscores: false,
                methods: vec!["GET".into(), "POST".into()],
                trusted: vec![],
            }
        }
    }

    /// The hop.
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Hop {
        /// One or two keys.
        keys: Vec<HopKeyConfig>,
    }

    /// A group of nodes.
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Cluster {
        /// How a node is chosen.
        #[serde(default)]
        strategy: Strategy,
        /// When a node is left alone.
        #[serde(default)]
        ejection: Ejection,
    }

    #[test]
    fn describes_every_key() {
        insta::assert_snapshot!(reference_markdown(&schema_for!(Config)));
    }
}
