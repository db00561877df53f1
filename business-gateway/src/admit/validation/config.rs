//! What an API declares of its calls, as written, and what bounds that for all of them.

use std::collections::BTreeMap;

use gatehouse_shared::config::{ByteSize, ConfigErrors, Positions};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::read::Duplicates;

/// `[[api]] validate`: what its calls look like. What is not declared is not looked at.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What becomes of a call that is not as declared: `"enforce"`, it is refused; `"observe"`, it is counted and noted in the
    /// access log, and passes. Default: `"enforce"`.
    pub mode: Mode,
    /// An operation of an OpenAPI document, whose parameters and body count: a `[[schema]]` or a file, and after `#` the
    /// `operationId`, or method and path. Example: `"orders.yaml#createOrder"`. Default: none.
    pub openapi: Option<String>,
    /// The JSON Schema of the body: a `[[schema]]` or a file, and after `#`, where it is only a part of that, the JSON pointer of
    /// it. Example: `"orders.schema.json"`. Default: none.
    pub schema: Option<String>,
    /// The JSON Schema of the body, written here. Default: none.
    #[schemars(with = "Option<BTreeMap<String, Value>>")]
    pub body: Option<Map<String, Value>>,
    /// Parameters of the path, by their names in `path`.
    pub path: BTreeMap<String, ParameterConfig>,
    /// Parameters of the query, by name.
    pub query: BTreeMap<String, ParameterConfig>,
    /// Headers, by name.
    pub header: BTreeMap<String, ParameterConfig>,
    /// Cookies, by name.
    pub cookie: BTreeMap<String, ParameterConfig>,
    /// The media types a body may have; a `*` stands for anything. JSON and forms are judged by the schema, others only have
    /// to be in this list. Default: those of `openapi`; with a schema `["application/json", "application/*+json"]`; otherwise
    /// any.
    pub content_types: Option<Vec<String>>,
    /// Whether there has to be a body. Default: as `openapi` says, otherwise false.
    pub body_required: Option<bool>,
    /// What becomes of parameters of the query that are not declared: `"allow"` or `"refuse"`. Default: `"allow"`.
    pub unknown_query: Unknown,
    /// What becomes of members of the body that its schema does not declare, at the top; deeper ones are up to the schema:
    /// `"allow"` or `"refuse"`. Default: `"allow"`.
    pub unknown_fields: Unknown,
    /// What becomes of an object with the same key twice: `"refuse"`, or `"last"`, the last one counts. Default: `"refuse"`.
    pub duplicate_keys: Duplicates,
    /// A body is held whole until it is judged; up to this length. Default: `body_max` of `[validation]`.
    pub body_max: Option<ByteSize>,
    /// Arrays and objects inside of each other. Default: `depth_max` of `[validation]`.
    pub depth_max: Option<usize>,
}

/// What becomes of a call that is not as declared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is refused.
    #[default]
    Enforce,
    /// It is counted and passes.
    Observe,
}

/// What becomes of what is not declared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// It passes.
    #[default]
    Allow,
    /// The call is not as declared.
    Refuse,
}

/// A parameter, as written.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ParameterConfig {
    /// `"string"`, `"integer"`, `"number"`, `"boolean"` or `"array"`. Default: `"string"`.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Of an array, the type of its items. Default: `"string"`.
    pub items: Kind,
    /// Whether it has to be there; parameters of the path always have to. Default: false.
    pub required: bool,
    /// The values it may have; of an array, its items. Default: any.
    #[serde(rename = "enum")]
    pub values: Option<Vec<Value>>,
    /// A regular expression that it matches somewhere; of an array, its items. Example: `"^[A-Z]{2}-[0-9]+$"`. Default: none.
    pub pattern: Option<String>,
    /// A format such as `"uuid"` or `"date-time"`; of an array, that of its items. Default: none.
    pub format: Option<String>,
    /// The least number. Default: none.
    pub minimum: Option<f64>,
    /// The greatest number. Default: none.
    pub maximum: Option<f64>,
    /// The fewest characters. Default: none.
    pub min_length: Option<u64>,
    /// The most characters. Default: none.
    pub max_length: Option<u64>,
    /// The fewest items of an array. Default: none.
    pub min_items: Option<u64>,
    /// The most items of an array. Default: none.
    pub max_items: Option<u64>,
    /// How an array is written, as OpenAPI names it: `"form"`, `"simple"`, `"space_delimited"` or `"pipe_delimited"`.
    /// Default: `"form"` in queries and cookies, `"simple"` elsewhere.
    pub style: Option<StyleConfig>,
    /// Whether each item of an array with the style `"form"` is a parameter of its own. Default: true.
    pub explode: Option<bool>,
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Any text.
    #[default]
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Several values.
    Array,
}

impl Kind {
    /// As JSON Schema names it.
    const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array => "array",
        }
    }
}

/// How an array is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StyleConfig {
    /// `a=1&a=2`, or `a=1,2`.
    Form,
    /// `1,2`.
    Simple,
    /// `a=1%202`.
    SpaceDelimited,
    /// `a=1|2`.
    PipeDelimited,
}

impl ParameterConfig {
    /// The JSON Schema that says the same.
    #[must_use]
    pub fn schema(&self) -> Value {
        let mut item = Map::new();
        let of_item = if self.kind == Kind::Array { self.items } else { self.kind };
        item.insert("type".to_owned(), of_item.as_str().into());
        let mut put = |keyword: &str, value: Option<Value>| {
            if let Some(value) = value {
                item.insert(keyword.to_owned(), value);
            }
        };
        put("enum", self.values.clone().map(Value::from));
        put("pattern", self.pattern.clone().map(Value::from));
        put("format", self.format.clone().map(Value::from));
        put("minimum", self.minimum.map(number));
        put("maximum", self.maximum.map(number));
        put("minLength", self.min_length.map(Value::from));
        put("maxLength", self.max_length.map(Value::from));
        if self.kind != Kind::Array {
            return item.into();
        }
        let mut list = Map::from_iter([("type".to_owned(), json!("array")), ("items".to_owned(), item.into())]);
        if let Some(least) = self.min_items {
            list.insert("minItems".to_owned(), least.into());
        }
        if let Some(most) = self.max_items {
            list.insert("maxItems".to_owned(), most.into());
        }
        list.into()
    }
}

/// A number as people write it: 1, not 1.0.
fn number(value: f64) -> Value {
    let text = value.to_string();
    text.parse::<i64>().map_or_else(|_| value.into(), Value::from)
}

/// `[validation]`: what bounds the validation of calls.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BoundsConfig {
    /// The longest body that is held and judged, where the API does not say otherwise. Default: `"1MiB"`.
    pub body_max: ByteSize,
    /// Arrays and objects of a body inside of each other, where the API does not say otherwise; 1 to 100. Default: 64.
    pub depth_max: usize,
    /// Values of a body, those inside of others included. Default: 50000.
    pub values_max: usize,
    /// How many things that are wrong are told; 1 to 100. Default: 16.
    pub errors_max: usize,
    /// How often a schema may look at one value, computed when it is loaded: alternatives inside of alternatives multiply.
    /// Default: 256.
    pub weight_max: u64,
    /// Values of a body, and one for each 64 bytes of it, times how often its schema looks at each. Default: 500000.
    pub work_max: u64,
    /// The longest schema or OpenAPI document. Default: `"4MiB"`.
    pub document_max: ByteSize,
    /// Schemas and OpenAPI documents of the catalog, those they refer to included. Default: 1000.
    pub documents_max: usize,
    /// Schemas that one schema consists of, those it refers to included. Default: 10000.
    pub schemas_max: usize,
    /// The largest compiled regular expression. Default: `"1MiB"`.
    pub pattern_max: ByteSize,
}

impl Default for BoundsConfig {
    fn default() -> Self {
        Self {
            body_max: ByteSize::mib(1),
            depth_max: 64,
            values_max: 50_000,
            errors_max: 16,
            weight_max: 256,
            work_max: 500_000,
            document_max: ByteSize::mib(4),
            documents_max: 1000,
            schemas_max: 10_000,
            pattern_max: ByteSize::mib(1),
        }
    }
}

/// `[validation]` as compiled.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of a body.
    pub body_max: u64,
    /// Levels of a body.
    pub depth_max: usize,
    /// Values of a body.
    pub values_max: usize,
    /// Findings that are told.
    pub errors_max: usize,
    /// Looks at one value.
    pub weight_max: u64,
    /// Looks at a whole body.
    pub work_max: u64,
    /// Bytes of a document.
    pub document_max: usize,
    /// Documents.
    pub documents_max: usize,
    /// Schemas of one schema.
    pub schemas_max: usize,
    /// Bytes of a compiled regular expression.
    pub pattern_max: usize,
}

/// Levels of a body that are allowed at most: the parser's own bound is 128.
pub const DEPTH_MOST: usize = 100;

impl Bounds {
    /// Compiles `[validation]`.
    ///
    /// # Errors
    /// Bounds of nothing, and such that bound nothing.
    pub fn compile(config: &BoundsConfig, positions: &Positions) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut check = |value: u64, most: u64, key: &str| {
            if value == 0 || value > most {
                let remedy = format!("write 1 to {most}");
                errors.push(positions.error(&format!("validation.{key}"), "no bound for validation", Some(remedy)));
            }
        };
        let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        check(config.body_max.get(), 1 << 30, "body_max");
        check(wide(config.depth_max), wide(DEPTH_MOST), "depth_max");
        check(wide(config.values_max), 10_000_000, "values_max");
        check(wide(config.errors_max), 100, "errors_max");
        check(config.weight_max, 100_000, "weight_max");
        check(config.work_max, 1_000_000_000, "work_max");
        check(config.document_max.get(), 64 << 20, "document_max");
        check(wide(config.documents_max), 100_000, "documents_max");
        check(wide(config.schemas_max), 1_000_000, "schemas_max");
        check(config.pattern_max.get(), 64 << 20, "pattern_max");
        errors.into_result(Self::from(config))
    }
}

impl From<&BoundsConfig> for Bounds {
    fn from(config: &BoundsConfig) -> Self {
        Self {
            body_max: config.body_max.get(),
            depth_max: config.depth_max,
            values_max: config.values_max,
            errors_max: config.errors_max,
            weight_max: config.weight_max,
            work_max: config.work_max,
            document_max: config.document_max.as_usize(),
            documents_max: config.documents_max,
            schemas_max: config.schemas_max,
            pattern_max: config.pattern_max.as_usize(),
        }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::from(&BoundsConfig::default())
    }
}
