//! The `[store]` table.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// Where state is kept that more than one node needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The kind of store. `"file"` is the embedded one: every node works from its own files and counts for itself. It is
    /// the only one in this version.
    #[schemars(example = &"file")]
    pub kind: Kind,
}

/// A kind of store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Files on each node; needs nothing but the gateway itself.
    #[default]
    File,
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "file" => Ok(Kind::File),
            "redis" => Err(D::Error::custom("Redis support is not in this version; use \"file\"")),
            other => Err(D::Error::custom(format_args!(
                "\"{other}\" is not a kind of store; use \"file\" (Redis support is not in this version)"
            ))),
        }
    }
}

impl JsonSchema for Kind {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StoreKind".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": ["file"] })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::File => f.write_str("file"),
        }
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_shared::config::{SourceFile, parse};

    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        #[serde(default)]
        store: Config,
    }

    fn read(text: &str) -> Result<Config, String> {
        let file = SourceFile { path: "business.toml".into(), text: text.to_owned() };
        parse::<File>(&file).map(|document| document.value.store).map_err(|errors| errors.to_string())
    }

    #[test]
    fn files_are_the_default_and_the_only_kind() {
        assert_eq!(read(""), Ok(Config { kind: Kind::File }));
        assert_eq!(read("[store]\nkind = \"file\""), Ok(Config { kind: Kind::File }));
    }

    #[test]
    fn redis_is_refused_in_words_an_operator_understands() {
        assert_eq!(
            read("[store]\nkind = \"redis\""),
            Err("business.toml:2:8: \"store.kind\": Redis support is not in this version; use \"file\"".to_owned())
        );
        let error = read("[store]\nkind = \"postgres\"").unwrap_err();
        assert!(error.contains("\"postgres\" is not a kind of store; use \"file\""), "{error}");
        let error = read("[store]\nkinds = \"file\"").unwrap_err();
        assert!(error.contains("unknown key \"kinds\" in [store] (did you mean \"kind\"?)"), "{error}");
    }
}
