//! What is written of aggregates, and what bounds them.

use std::collections::BTreeMap;

use gatehouse_shared::config::{ByteSize, ConfigErrors, HumanDuration, Positions};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[[aggregate]]`: an answer that is made of the answers of several APIs, as written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The aggregate's name, which `aggregate` of an API names; unique. Letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// The calls that are made: one table each. Those that need nothing of one another are made at the same time.
    #[serde(default)]
    pub call: Vec<CallConfig>,
    /// The answer as a template of JSON, in which `{{ … }}` stands for a value. Default: an object with the answer of each call
    /// under its name, and `errors` where a call failed.
    /// Example: `'{"name": {{ product.body.name }}, "left": {{ stock.body.count }}}'`.
    pub template: Option<String>,
    /// The type of the answer; a kind of JSON. Default: `"application/json"`.
    pub content_type: Option<String>,
}

/// `[[aggregate.call]]`: one of the calls, as written. Values are expressions: `request.params.id`, `'text'`, `10`,
/// `product.body.id`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallConfig {
    /// Its name in expressions, in the answer, in logs and metrics: letters, digits and `_`, beginning with a letter.
    pub name: String,
    /// The `[[api]]` that is called.
    pub api: String,
    /// The method. Default: the only one the API takes, otherwise `"GET"` where it takes that.
    pub method: Option<String>,
    /// A value for each parameter of the API's path. Example: `{ id = "request.params.id" }`.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// Parameters of the query by name. What has no value is left out, a list is repeated. Default: none.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Header fields by name. What has no value is left out. Default: none.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Header fields of the client that the service gets as they are, beside `accept-language`. Default: none.
    #[serde(default)]
    pub pass_headers: Vec<String>,
    /// The body, which is sent as JSON. Example: `"{'ids': order.body.items | map(attribute='id')}"`. Default: none.
    pub body: Option<String>,
    /// The call is made only if this is true. It may look at calls that failed. Example: `"user.body.is_member"`. Default:
    /// always.
    pub when: Option<String>,
    /// What becomes of the whole when the call fails: `"required"`, the whole fails; `"optional"`, it is answered without this
    /// part; `"default"`, with `default` in its place. Default: `"required"`.
    #[serde(default)]
    pub need: Need,
    /// The value for `need = "default"`.
    pub default: Option<serde_json::Value>,
    /// From its beginning to the end of its answer, within the time that the whole has. Default: that of the API.
    pub timeout: Option<HumanDuration>,
    /// How its answer is read: `"json"`, anything else is a failure; `"text"`, as a text; `"none"`, not at all. Default:
    /// `"json"`.
    #[serde(default)]
    pub answer: AnswerKind,
    /// Whether the client gets the cookies that this call sets; the answer is not cached then. Default: false.
    #[serde(default)]
    pub pass_cookies: bool,
}

/// What becomes of the whole when a call fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// It fails.
    #[default]
    Required,
    /// It is answered without this part.
    Optional,
    /// It is answered with another value in this place.
    Default,
}

impl Need {
    /// As written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
            Self::Default => "default",
        }
    }
}

/// How the answer of a call is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerKind {
    /// As JSON.
    #[default]
    Json,
    /// As a text in UTF-8.
    Text,
    /// Not at all.
    None,
}

/// `[aggregate]` of `business.toml`: what bounds all aggregates.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BoundsConfig {
    /// Calls of one aggregate, those of aggregates inside of it included. Default: 24.
    pub calls_max: u32,
    /// Aggregates inside of one another. Default: 3.
    pub nesting_max: u32,
    /// The longest body of a request that an aggregate reads. Default: `"1MiB"`.
    pub request_max: ByteSize,
    /// The longest answer of a call. Default: `"1MiB"`.
    pub part_max: ByteSize,
    /// The answers of all calls of an aggregate together. Default: `"4MiB"`.
    pub sum_max: ByteSize,
    /// What one request or answer may take in memory when it is taken apart because something looks inside: a short text can
    /// be a large value. Default: `"16MiB"`.
    pub value_max: ByteSize,
    /// The longest answer that a template makes. Default: `"4MiB"`.
    pub answer_max: ByteSize,
    /// How deep objects and lists stand inside of one another, in the request and in answers; at most 100. Default: 64.
    pub depth_max: u32,
    /// Steps that a template may take. Default: 100000.
    pub fuel: u64,
    /// Bytes of requests and answers that this node holds for aggregates at a time. Default: `"256MiB"`.
    pub held_max: ByteSize,
}

impl Default for BoundsConfig {
    fn default() -> Self {
        Self {
            calls_max: 24,
            nesting_max: 3,
            request_max: ByteSize::mib(1),
            part_max: ByteSize::mib(1),
            sum_max: ByteSize::mib(4),
            value_max: ByteSize::mib(16),
            answer_max: ByteSize::mib(4),
            depth_max: 64,
            fuel: 100_000,
            held_max: ByteSize::mib(256),
        }
    }
}

/// `[aggregate]` as compiled; sizes in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Calls of an aggregate.
    pub calls: usize,
    /// Aggregates inside of one another.
    pub nesting: usize,
    /// The body of a request.
    pub request: u64,
    /// The answer of a call.
    pub part: u64,
    /// The answers of all calls.
    pub sum: u64,
    /// A request or an answer as a value.
    pub value: usize,
    /// What a template makes.
    pub answer: usize,
    /// Objects and lists inside of one another.
    pub depth: usize,
    /// Steps of a template.
    pub fuel: u64,
    /// What the node holds.
    pub held: u64,
}

impl Bounds {
    /// Compiles `[aggregate]`.
    ///
    /// # Errors
    /// Bounds of nothing, and such that bound nothing.
    pub fn compile(config: &BoundsConfig, positions: &Positions) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut check = |value: u64, most: u64, key: &str| {
            if value == 0 || value > most {
                let remedy = format!("write 1 to {most}");
                errors.push(positions.error(&format!("aggregate.{key}"), "no bound for aggregates", Some(remedy)));
            }
        };
        check(config.calls_max.into(), 256, "calls_max");
        check(config.nesting_max.into(), 8, "nesting_max");
        check(config.request_max.get(), 64 << 20, "request_max");
        check(config.part_max.get(), 64 << 20, "part_max");
        check(config.sum_max.get(), 256 << 20, "sum_max");
        check(config.value_max.get(), 1 << 30, "value_max");
        check(config.answer_max.get(), 256 << 20, "answer_max");
        // Whatever reads JSON stops at 128.
        check(config.depth_max.into(), 100, "depth_max");
        check(config.fuel, 100_000_000, "fuel");
        check(config.held_max.get(), 1 << 40, "held_max");
        errors.into_result(Self::of(config))
    }

    fn of(config: &BoundsConfig) -> Self {
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            calls: count(config.calls_max),
            nesting: count(config.nesting_max),
            request: config.request_max.get(),
            part: config.part_max.get(),
            sum: config.sum_max.get(),
            value: config.value_max.as_usize(),
            answer: config.answer_max.as_usize(),
            depth: count(config.depth_max),
            fuel: config.fuel,
            held: config.held_max.get(),
        }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::of(&BoundsConfig::default())
    }
}
