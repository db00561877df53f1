//! What a limit counts by when it is an expression: its text, for each call.

use std::sync::Arc;

use gatehouse_shared::config::Positions;
use jiff::tz::TimeZone;

use super::{Bounds, Expression, Place, Stage, Yields};
use crate::admit::quota;
use crate::store::catalog::At;

/// Compiles the `key` of a limit. A call for which the text is empty, or cannot be made, is not counted.
///
/// # Errors
/// What is wrong with the expression.
pub fn compile(text: &str, bounds: &Bounds) -> Result<quota::Expression, String> {
    let at = At { positions: &Positions::default(), path: String::new() };
    let place = Place { at: &at, key: "", stage: Stage::Request, bounds, zone: &TimeZone::UTC };
    let expression = Expression::compile(text, Yields::Text, place).map_err(|errors| {
        let messages: Vec<&str> = errors.sorted().into_iter().map(|error| error.message.as_str()).collect();
        messages.join("; ")
    })?;
    Ok(Arc::new(move |subject| {
        let (facts, head) = subject.head?;
        expression.text_of(&facts.input(head)).ok().filter(|text| !text.is_empty())
    }))
}
