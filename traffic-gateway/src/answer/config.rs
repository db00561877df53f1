//! `[answer]` as written.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::redirect;
use crate::admit::Action;

/// `[answer]`: what a client is told whose request this gate answers itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// File with the HTML page, relative to the configuration directory; at most 256KiB. Placeholders: `{{request_id}}`,
    /// `{{status}}`, `{{title}}`, `{{code}}`, `{{detail}}`, `{{client}}`, `{{retry_after}}`, `{{time}}`. Default: a plain page.
    #[schemars(example = "denied.html")]
    pub page: Option<PathBuf>,
    /// Further members of problem documents, by name; values may hold the same placeholders.
    pub json: BTreeMap<String, String>,
    /// Where the action `redirect` leads. Default: nowhere, so that nothing can be redirected.
    pub redirect: Option<redirect::Config>,
    /// Other answers for some reasons. What names a code goes before what names a status, and that before what names a class;
    /// what is not set here is as in the less specific one.
    #[serde(rename = "override")]
    pub overrides: Vec<OverrideConfig>,
}

/// `[[answer.override]]`: other answers for some reasons.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OverrideConfig {
    /// Codes of docs/ERRORS.md.
    #[schemars(example = ["route_not_found"])]
    pub codes: Vec<String>,
    /// Statuses (`"429"`) and classes (`"4xx"`, `"5xx"`).
    #[schemars(example = ["429", "5xx"])]
    pub statuses: Vec<String>,
    /// File with the HTML page.
    pub page: Option<PathBuf>,
    /// Further members of problem documents; replaces the others.
    pub json: Option<BTreeMap<String, String>>,
    /// How the client is answered, where the rule that refuses does not say it: `page`, `drop` or `redirect`.
    pub action: Option<Action>,
    /// Where `redirect` leads.
    pub redirect: Option<redirect::Config>,
}
