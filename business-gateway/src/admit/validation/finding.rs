//! What is wrong with a call, in words that a caller may read: where, which rule, and never what it sent.

use std::borrow::Cow;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Value, json};

/// Bytes of a pointer that are shown. The names in it may be the caller's, so it is cut.
const POINTER_MAX: usize = 256;

/// Alternatives inside of alternatives that are explained.
const NESTED: u32 = 4;

/// Which part of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A parameter of the path.
    Path,
    /// The query.
    Query,
    /// A header.
    Header,
    /// A cookie.
    Cookie,
    /// The body.
    Body,
}

impl Place {
    /// As it stands in answers, logs and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Cookie => "cookie",
            Self::Body => "body",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which part of the call.
    pub place: Place,
    /// Where in it: a JSON pointer, cut where it is long.
    pub pointer: Box<str>,
    /// The rule: the keyword of JSON Schema, or a word of [`class_of`].
    pub rule: &'static str,
    /// What the rule says.
    pub message: Cow<'static, str>,
}

impl Finding {
    /// Something wrong at a pointer.
    #[must_use]
    pub fn new(place: Place, pointer: &str, rule: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { place, pointer: cut(pointer), rule, message: message.into() }
    }

    /// As it stands in the list of an answer.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "in": self.place.as_str(), "pointer": self.pointer, "rule": self.rule, "message": self.message })
    }

    /// As it stands in the access log.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{} {} {}", self.place.as_str(), self.pointer, self.rule)
    }
}

/// Findings of one call, as many as are told.
#[derive(Debug)]
pub struct Findings {
    list: Vec<Finding>,
    most: usize,
}

impl Findings {
    /// None so far, of which at most so many are kept.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { list: Vec::new(), most: most.max(1) }
    }

    /// Adds one, while there is room.
    pub fn push(&mut self, finding: Finding) {
        if !self.is_full() {
            self.list.push(finding);
        }
    }

    /// Whether more are of no use.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.list.len() >= self.most
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The list.
    #[must_use]
    pub fn list(&self) -> &[Finding] {
        &self.list
    }

    /// The same, to keep.
    #[must_use]
    pub fn into_list(self) -> Vec<Finding> {
        self.list
    }

    /// Adds what a schema has found under `base`, the pointer of what it judged.
    pub fn add(&mut self, place: Place, base: &str, error: &ValidationError<'_>) {
        self.explain(place, base, error, NESTED);
    }

    fn explain(&mut self, place: Place, base: &str, error: &ValidationError<'_>, nested: u32) {
        if self.is_full() {
            return;
        }
        let mut pointer = format!("{base}{}", error.instance_path());
        match error.kind() {
            ValidationErrorKind::Required { property } => below(&mut pointer, property.as_str().unwrap_or_default()),
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                below(&mut pointer, unexpected.first().map_or("", String::as_str));
            }
            _ => {}
        }
        self.push(Finding::new(place, &pointer, rule_of(error.kind()), message_of(error.kind())));
        let (ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context }) = error.kind()
        else {
            return;
        };
        // The alternative that is meant is most likely the one that lacks least.
        let closest = context.iter().filter(|branch| !branch.is_empty()).min_by_key(|branch| branch.len());
        if let (Some(branch), Some(nested)) = (closest, nested.checked_sub(1)) {
            for error in branch {
                self.explain(place, base, error, nested);
            }
        }
    }
}

/// The pointer of a member.
pub fn below(pointer: &mut String, name: &str) {
    pointer.push('/');
    for character in name.chars().take(POINTER_MAX) {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

fn cut(pointer: &str) -> Box<str> {
    if pointer.len() <= POINTER_MAX {
        return pointer.into();
    }
    let end = (0..=POINTER_MAX).rev().find(|end| pointer.is_char_boundary(*end)).unwrap_or_default();
    format!("{}…", pointer.get(..end).unwrap_or_default()).into()
}

/// What kind of rule it is, for metrics: few words, whatever schemas say.
#[must_use]
pub fn class_of(rule: &str) -> &'static str {
    match rule {
        "type" => "type",
        "required" => "required",
        "enum" | "const" => "enum",
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => "range",
        "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" | "uniqueItems"
        | "contains" => "count",
        "pattern" | "format" => "format",
        "additionalProperties"
        | "unevaluatedProperties"
        | "unevaluatedItems"
        | "additionalItems"
        | "unknown"
        | "propertyNames"
        | "falseSchema" => "unknown",
        "syntax" | "encoding" | "duplicateKey" | "repeated" => "syntax",
        "size" | "depth" | "values" | "evaluations" => "bound",
        "contentType" | "contentEncoding" => "content",
        _ => "combination",
    }
}

/// Every class of [`class_of`].
pub const CLASSES: [&str; 11] =
    ["type", "required", "enum", "range", "count", "format", "unknown", "syntax", "bound", "content", "combination"];

fn rule_of(kind: &ValidationErrorKind) -> &'static str {
    use ValidationErrorKind as Kind;
    match kind {
        Kind::AdditionalItems { .. } => "additionalItems",
        Kind::AdditionalProperties { .. } => "additionalProperties",
        Kind::AnyOf { .. } => "anyOf",
        Kind::Constant { .. } => "const",
        Kind::Contains => "contains",
        Kind::Enum { .. } => "enum",
        Kind::ExclusiveMaximum { .. } => "exclusiveMaximum",
        Kind::ExclusiveMinimum { .. } => "exclusiveMinimum",
        Kind::FalseSchema => "falseSchema",
        Kind::Format { .. } => "format",
        Kind::MaxItems { .. } => "maxItems",
        Kind::Maximum { .. } => "maximum",
        Kind::MaxLength { .. } => "maxLength",
        Kind::MaxProperties { .. } => "maxProperties",
        Kind::MinItems { .. } => "minItems",
        Kind::Minimum { .. } => "minimum",
        Kind::MinLength { .. } => "minLength",
        Kind::MinProperties { .. } => "minProperties",
        Kind::MultipleOf { .. } => "multipleOf",
        Kind::Not { .. } => "not",
        Kind::OneOfMultipleValid { .. } | Kind::OneOfNotValid { .. } => "oneOf",
        Kind::Pattern { .. } | Kind::BacktrackLimitExceeded { .. } | Kind::RegexEngineFailure { .. } => "pattern",
        Kind::PropertyNames { .. } => "propertyNames",
        Kind::Required { .. } => "required",
        Kind::Type { .. } => "type",
        Kind::UnevaluatedItems { .. } => "unevaluatedItems",
        Kind::UnevaluatedProperties { .. } => "unevaluatedProperties",
        Kind::UniqueItems => "uniqueItems",
        _ => "schema",
    }
}

/// What the rule says, in numbers of the schema; nothing of what was sent, and no long text of the schema either.
fn message_of(kind: &ValidationErrorKind) -> Cow<'static, str> {
    use ValidationErrorKind as Kind;
    match kind {
        Kind::AdditionalItems { limit } => format!("no more than {limit} items are declared").into(),
        Kind::AdditionalProperties { .. } | Kind::UnevaluatedProperties { .. } => "not declared".into(),
        Kind::UnevaluatedItems { .. } => "an item that is not declared".into(),
        Kind::AnyOf { context } => format!("none of the {} alternatives fits", context.len()).into(),
        Kind::OneOfNotValid { context } => format!("none of the {} alternatives fits", context.len()).into(),
        Kind::OneOfMultipleValid { .. } => "more than one alternative fits".into(),
        Kind::Constant { .. } => "not the one value that is declared".into(),
        Kind::Contains => "too few or too many items of the kind that is declared".into(),
        Kind::Enum { options } => match options.as_array().map(Vec::len) {
            Some(count) => format!("none of the {count} values that are declared").into(),
            None => "none of the values that are declared".into(),
        },
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}").into(),
        Kind::ExclusiveMinimum { limit } => format!("must be greater than {limit}").into(),
        Kind::Maximum { limit } => format!("must be at most {limit}").into(),
        Kind::Minimum { limit } => format!("must be at least {limit}").into(),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}").into(),
        Kind::FalseSchema => "must not be there".into(),
        Kind::Format { format } => format!("must be written as {format}").into(),
        Kind::MaxItems { limit } => format!("must have at most {limit} items").into(),
        Kind::MinItems { limit } => format!("must have at least {limit} items").into(),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters").into(),
        Kind::MinLength { limit } => format!("must have at least {limit} characters").into(),
        Kind::MaxProperties { limit } => format!("must have at most {limit} members").into(),
        Kind::MinProperties { limit } => format!("must have at least {limit} members").into(),
        Kind::Not { .. } => "fits what is excluded".into(),
        Kind::Pattern { .. } => "does not match the pattern that is declared".into(),
        Kind::PropertyNames { .. } => "a member has a name that is not allowed".into(),
        Kind::Required { .. } => "must be there".into(),
        Kind::Type { kind } => format!("must be {}", type_name(kind)).into(),
        Kind::UniqueItems => "has the same item twice".into(),
        _ => "does not fit the schema".into(),
    }
}

fn type_name(kind: &jsonschema::error::TypeKind) -> String {
    match kind {
        jsonschema::error::TypeKind::Single(one) => one.to_string(),
        jsonschema::error::TypeKind::Multiple(several) => {
            several.iter().map(|one| one.to_string()).collect::<Vec<_>>().join(" or ")
        }
    }
}

/// A refusal's body with the list of what is wrong, before the final brace.
#[must_use]
pub fn append(mut body: Vec<u8>, findings: &[Finding]) -> Vec<u8> {
    if findings.is_empty() {
        return body;
    }
    while body.last().is_some_and(|byte| matches!(byte, b'\n' | b'}')) {
        body.pop();
    }
    let list: Value = findings.iter().map(Finding::to_json).collect();
    body.extend_from_slice(format!(",\"errors\":{list}}}\n").as_bytes());
    body
}
