//! A JSON Schema, compiled: what it says of a value, and what it costs to ask.
//!
//! The library judges; what is left to it is bounded here. Patterns run on an engine that is linear in its input, nothing is
//! fetched, and how often a schema looks at a value is known before it looks ([`weight`]).

pub mod extract;
pub mod plain;
pub mod weight;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use super::config::{Bounds, Unknown};
use super::document::{Documents, Reference};
use super::finding::{Finding, Findings, Place};

/// Work up to which everything that is wrong is collected; beyond it, the first thing is.
const EXPLAINED: u64 = 4096;

/// Work up to which it is told what each of several alternatives lacks. That copies what was judged, once for each level of
/// alternatives inside of each other.
const COMPARED: u64 = 2048;

/// Bytes that count as much as one value.
const BYTES: usize = 64;

/// Where a schema is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    /// In a document.
    There(Reference),
    /// In the catalog itself.
    Here(Value),
}

/// What is judged, and how large it is.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'v> {
    /// The value.
    pub value: &'v Value,
    /// How many values there are in it.
    pub values: usize,
    /// How long it was as it was sent.
    pub bytes: usize,
    /// Which part of the call it is.
    pub place: Place,
    /// The pointer of it.
    pub base: &'v str,
}

/// A compiled schema.
pub struct Judge {
    validator: Validator,
    /// The same without alternatives and the like: what it finds is wrong whichever alternative was meant. `None` where there
    /// are no alternatives.
    plain: Option<Validator>,
    weight: u64,
    /// The schema, as it stands on its own; whoever has learnt from it what texts mean may take it.
    pub schema: Value,
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Judge").field("weight", &self.weight).finish_non_exhaustive()
    }
}

impl Judge {
    /// Compiles a schema, for values of at most `depth` levels.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn compile(documents: &Documents, written: &Written, depth: usize, unknown: Unknown) -> Result<Self, String> {
        let mut schema = match written {
            Written::There(place) => extract::extract(documents, None, place),
            Written::Here(schema) => extract::extract(documents, Some(schema), &Reference::parse("")),
        }
        .map_err(|error| error.to_string())?;
        if let (Unknown::Refuse, Some(keywords)) = (unknown, schema.as_object_mut()) {
            keywords.insert("unevaluatedProperties".to_owned(), Value::Bool(false));
        }
        Self::of(schema, &documents.bounds, depth)
    }

    /// Compiles a schema that stands on its own.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn of(schema: Value, bounds: &Bounds, depth: usize) -> Result<Self, String> {
        let weight = weight::weight(&schema, depth, bounds.weight_max).map_err(|error| error.to_string())?;
        let options = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .should_validate_formats(true)
            .with_pattern_options(
                PatternOptions::regex().size_limit(bounds.pattern_max).dfa_size_limit(bounds.pattern_max),
            );
        let plain = plain::without_alternatives(&schema);
        let plain = (plain != schema).then(|| options.build(&plain).ok()).flatten();
        let validator = options.build(&schema).map_err(|error| {
            let at = origin(&schema, error.instance_path().as_str());
            match error.kind() {
                jsonschema::error::ValidationErrorKind::Format { format } if format == "regex" => format!(
                    "{at}: {} is no regular expression that can be matched in linear time: leave out look-around and back references",
                    error.instance()
                ),
                _ => format!("{at}: {error}"),
            }
        })?;
        Ok(Self { validator, plain, weight, schema })
    }

    /// How much there is to look at in a value.
    #[must_use]
    pub fn work(&self, values: usize, bytes: usize) -> u64 {
        let size = u64::try_from(values.saturating_add(bytes / BYTES)).unwrap_or(u64::MAX);
        size.saturating_mul(self.weight)
    }

    /// Looks at a value, if it is no more work than `most`.
    pub fn judge(&self, judged: Judged<'_>, most: u64, findings: &mut Findings) {
        let Judged { value, values, bytes, place, base } = judged;
        let work = self.work(values, bytes);
        if work > most {
            let message = "there is too much in it to be judged by its schema";
            findings.push(Finding::new(place, base, "evaluations", message));
            return;
        }
        if self.validator.is_valid(value) {
            return;
        }
        let told = findings.list().len();
        let validator = match &self.plain {
            Some(plain) if work > COMPARED => plain,
            _ => &self.validator,
        };
        if work > EXPLAINED {
            if let Err(error) = validator.validate(value) {
                findings.add(place, base, &error);
            }
        } else {
            for error in validator.iter_errors(value) {
                findings.add(place, base, &error);
            }
        }
        if findings.list().len() == told {
            let message = "no alternative fits, and it is too large to compare it with each";
            findings.push(Finding::new(place, base, "anyOf", message));
        }
    }
}

/// Where in its document stands what is at `pointer` of an extracted schema.
fn origin(schema: &Value, pointer: &str) -> String {
    let mut steps = pointer.splitn(4, '/').skip(2);
    let definition = schema.get("$defs").and_then(|all| all.get(steps.next()?));
    match definition.and_then(|schema| schema.get(extract::ORIGIN)).and_then(Value::as_str) {
        Some(origin) => steps.next().map_or_else(|| origin.to_owned(), |rest| format!("{origin}/{rest}")),
        None => pointer.to_owned(),
    }
}

#[cfg(test)]
mod tests;
