//! Which fields are hidden from whom: as written in the catalog, and as compiled for an API.

use std::collections::BTreeSet;
use std::sync::Arc;

use gatehouse_shared::config::{ConfigErrors, Positions};
use schemars::JsonSchema;
use serde::Deserialize;

use super::automaton::{Automaton, BITS_MAX};
use super::mask::Mask;
use super::path::{self, Step};
use crate::admit::pattern::ApiPattern;
use crate::store::catalog::{At, check_name};

/// Most bytes of a text that stands for hidden values: one such text may replace every byte of an answer.
const TEXT_MAX: usize = 256;

/// A field, and who may see it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldConfig {
    /// Where it is: names with dots in between; `*` is any one member or element, `**` any depth.
    /// Example: `"orders.*.card"`, `"**.password"`.
    pub path: String,
    /// The `field_level` an application needs to see it; 1 to 255. Calls without an application have level 0.
    pub level: u8,
    /// What others get: `"remove"`, nothing; `"null"`; `"last4"`, the last four characters; `"email"`, the first character and
    /// the domain; `"hash"`, the same text for the same value; `"text"`, the text of `text`. Default: `"remove"`, or `"text"`
    /// where there is a `text`.
    pub mask: Option<MaskName>,
    /// The text that stands for it. Default: none.
    pub text: Option<String>,
}

/// What becomes of a field, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MaskName {
    /// It is not there.
    Remove,
    /// It is `null`.
    Null,
    /// The last four characters of eight or more.
    Last4,
    /// The first character and the domain of an address.
    Email,
    /// A keyed hash.
    Hash,
    /// A text.
    Text,
}

/// `[[field_policy]]`: fields that several APIs hide.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its name in messages; unique.
    pub name: String,
    /// The APIs it is for: names, the start of names as in `"orders.*"`, or `"*"`.
    pub apis: Vec<String>,
    /// The fields.
    pub fields: Vec<FieldConfig>,
}

/// A field as compiled.
#[derive(Debug, Clone)]
pub struct Field {
    steps: Vec<Step>,
    level: u8,
    mask: Mask,
}

/// Every policy of a catalog.
#[derive(Debug, Default)]
pub struct FieldPolicies {
    policies: Vec<(Vec<ApiPattern>, Vec<Field>)>,
}

impl FieldPolicies {
    /// Compiles the policies of a catalog. `apis` are the names of its APIs.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn compile(configs: &[Config], positions: &Positions, apis: &[&str]) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut policies = Vec::with_capacity(configs.len());
        for (index, config) in configs.iter().enumerate() {
            let at = At { positions, path: format!("field_policy[{index}]") };
            check_name(&config.name, &at, &mut errors);
            if configs.iter().take(index).any(|other| other.name == config.name) {
                errors.push(at.error("name", format!("a second policy {:?}", config.name), "give each its own name"));
            }
            if config.apis.is_empty() {
                errors.push(at.error("apis", "no API, so nothing is hidden", "name some, or write [\"*\"]"));
            }
            let patterns = errors.collect(ApiPattern::compile_all(&config.apis, "apis", &at, apis));
            let fields = errors.collect(compile(&config.fields, &at));
            policies.extend(patterns.zip(fields));
        }
        errors.into_result(Self { policies })
    }

    /// What an API hides: its own `fields`, and those of the policies that are for it.
    ///
    /// # Errors
    /// Everything that is wrong with its own, and too many of them.
    pub fn of_api(&self, name: &str, own: &[FieldConfig], at: &At<'_>) -> Result<Option<Fields>, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut fields = errors.collect(compile(own, at)).unwrap_or_default();
        let of_policies = self.policies.iter().filter(|(apis, _)| apis.iter().any(|pattern| pattern.matches(name)));
        fields.extend(of_policies.flat_map(|(_, fields)| fields.iter().cloned()));
        let bits: usize = fields.iter().map(|field| field.steps.len() + 1).sum();
        if bits > BITS_MAX {
            let message = format!("the fields of {name:?} have {bits} steps, {BITS_MAX} at most");
            errors.push(at.error("name", message, "write fewer or shorter paths; \"**\" saves many"));
        }
        errors.into_result(Fields::new(&fields))
    }
}

/// Compiles the list `fields` of the entry at `at`.
fn compile(written: &[FieldConfig], at: &At<'_>) -> Result<Vec<Field>, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let mut fields = Vec::with_capacity(written.len());
    for (index, field) in written.iter().enumerate() {
        let key = |key: &str| format!("fields[{index}].{key}");
        if field.level == 0 {
            errors.push(at.error(&key("level"), "everybody has level 0, so it hides nothing", "write 1 to 255"));
        }
        let steps = match path::parse(&field.path) {
            Ok(steps) => Some(steps),
            Err(error) => {
                let remedy = "write names with dots in between, as in \"orders.*.card\" or \"**.password\"";
                errors.push(at.error(&key("path"), format!("{:?} is not a path: {error}", field.path), remedy));
                None
            }
        };
        let text = field.text.as_deref();
        if text.is_some_and(|text| text.len() > TEXT_MAX) {
            errors.push(at.error(&key("text"), format!("more than {TEXT_MAX} bytes"), "write a shorter text"));
        }
        let mask = match (field.mask, text) {
            (None | Some(MaskName::Text), Some(text)) => Mask::Text(serde_json::Value::from(text).to_string().into()),
            (Some(MaskName::Text), None) => {
                errors.push(at.error(&key("mask"), "no text to write", "add text = \"…\""));
                continue;
            }
            (Some(_), Some(_)) => {
                errors.push(at.error(&key("text"), "the mask writes no text", "remove it, or write mask = \"text\""));
                continue;
            }
            (None | Some(MaskName::Remove), None) => Mask::Remove,
            (Some(MaskName::Null), None) => Mask::Null,
            (Some(MaskName::Last4), None) => Mask::Last4,
            (Some(MaskName::Email), None) => Mask::Email,
            (Some(MaskName::Hash), None) => Mask::Hash,
        };
        fields.extend(steps.map(|steps| Field { steps, level: field.level, mask }));
    }
    errors.into_result(fields)
}

/// What one API hides, by the level of who asks.
#[derive(Debug)]
pub struct Fields {
    /// In ascending order: what is hidden from everybody below that level, and not below the one before.
    views: Vec<(u8, Arc<Automaton>)>,
    /// Whether values are hashed.
    pub needs_key: bool,
}

impl Fields {
    fn new(fields: &[Field]) -> Option<Self> {
        let levels: BTreeSet<u8> = fields.iter().map(|field| field.level).collect();
        let view = |level: u8| {
            let hidden = fields.iter().filter(|field| field.level >= level);
            Arc::new(Automaton::new(hidden.map(|field| (field.steps.as_slice(), &field.mask))))
        };
        let needs_key = fields.iter().any(|field| field.mask == Mask::Hash);
        let views: Vec<_> = levels.into_iter().map(|level| (level, view(level))).collect();
        (!views.is_empty()).then_some(Self { views, needs_key })
    }

    /// What is hidden from somebody of that level; `None` for nothing.
    #[must_use]
    pub fn hidden_from(&self, level: u8) -> Option<&Arc<Automaton>> {
        self.views.iter().find(|(below, _)| level < *below).map(|(_, view)| view)
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::config::{SourceFile, parse};

    use super::*;
    use crate::store::catalog::CatalogConfig;

    fn compile(text: &str) -> Result<Option<Fields>, String> {
        let text = format!("[[api]]\nname = \"a.b\"\npath = \"/\"\n{text}");
        let file = SourceFile { path: "catalog.toml".into(), text };
        let document = parse::<CatalogConfig>(&file).map_err(|errors| errors.to_string())?;
        let CatalogConfig { api, field_policy, .. } = &document.value;
        let policies = FieldPolicies::compile(field_policy, &document.positions, &["a.b"]);
        let policies = policies.map_err(|errors| errors.to_string())?;
        let at = At { positions: &document.positions, path: "api[0]".to_owned() };
        policies.of_api("a.b", &api[0].fields, &at).map_err(|errors| errors.to_string())
    }

    #[test]
    fn each_level_has_a_view_of_its_own() {
        let fields = compile(
            "fields = [{ path = \"a\", level = 2 }, { path = \"b\", level = 5, text = \"x\" }]\n\
             [[field_policy]]\nname = \"p\"\napis = [\"a.*\"]\nfields = [{ path = \"c\", level = 5, mask = \"hash\" }]",
        );
        let fields = fields.unwrap().unwrap();
        let place = |level: u8, name: &str| {
            let view = fields.hidden_from(level)?;
            let mut sets = view.start().to_vec();
            Some(format!("{:?}", view.enter(&mut sets, name)))
        };
        let hidden = |mask: &str| Some(format!("Hidden({mask})"));
        for level in [0, 1] {
            assert_eq!(place(level, "a"), hidden("Remove"));
            assert_eq!(place(level, "b"), hidden("Text(\"\\\"x\\\"\")"));
        }
        for level in [2, 3, 4] {
            assert_eq!(place(level, "a"), Some("Free".to_owned()));
            assert_eq!(place(level, "c"), hidden("Hash"));
        }
        assert_eq!(place(5, "a"), None);
        assert!(fields.needs_key);
        assert!(compile("").unwrap().is_none());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("fields = [{ path = \"a\", level = 0 }]", "4:33: everybody has level 0"),
            ("fields = [{ path = \"$.a\", level = 1 }]", "4:20: \"$.a\" is not a path: not the form of JSONPath"),
            ("fields = [{ path = \"a\", level = 1, mask = \"text\" }]", "no text to write"),
            ("fields = [{ path = \"a\", level = 1, mask = \"null\", text = \"\" }]", "the mask writes no text"),
            ("fields = [{ path = \"a\", level = 1, mask = \"star\" }]", "4:43"),
            ("fields = [{ path = \"a\", level = 256 }]", "4:"),
            ("[[field_policy]]\nname = \"p\"\napis = []\nfields = []", "6:8: no API, so nothing is hidden"),
            ("[[field_policy]]\nname = \"p\"\napis = [\"a\"]\nfields = []", ": no API \"a\""),
        ] {
            let error = compile(text).map(|_| ()).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let long = format!("fields = [{{ path = \"a\", level = 1, text = \"{}\" }}]", "x".repeat(257));
        assert!(compile(&long).map(|_| ()).unwrap_err().contains("more than 256 bytes"));
        let many: Vec<String> = (0..513).map(|n| format!("{{ path = \"f{n}\", level = 1 }}")).collect();
        let many = format!("fields = [{}]", many.join(", "));
        assert!(compile(&many).map(|_| ()).unwrap_err().contains("1026 steps, 1024 at most"));
    }
}
