//! Text with references to variables: `%{TX.score}`.
//!
//! `%{` begins a reference when a letter follows; otherwise it is text, so that the pattern `%{2}` keeps its meaning.

use super::ast::{Piece, Text, Variable};
use super::diagnostic::{Problem, shown};
use super::names;

/// Reads references out of a text.
pub(super) fn parse(raw: &str) -> Result<Text, Problem> {
    let mut text = Text::default();
    let mut rest = raw;
    let mut plain = String::new();
    while let Some(at) = memchr::memmem::find(rest.as_bytes(), b"%{") {
        let (before, reference) = rest.split_at(at);
        let inner = reference.get(2..).unwrap_or_default();
        plain.push_str(before);
        if !inner.starts_with(|first: char| first.is_ascii_alphabetic()) {
            plain.push_str("%{");
            rest = inner;
            continue;
        }
        let Some((name, after)) = inner.split_once('}') else {
            return Err(Problem::Invalid(format!(
                "%{{{} is never closed; a reference ends with }}, and a literal %{{ in a pattern is written %\\{{",
                shown(inner)
            )));
        };
        if !plain.is_empty() {
            text.pieces.push(Piece::Plain(std::mem::take(&mut plain)));
        }
        text.pieces.push(reference_to(name)?);
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        text.pieces.push(Piece::Plain(plain));
    }
    Ok(text)
}

fn reference_to(written: &str) -> Result<Piece, Problem> {
    let (name, member) = match written.split_once(['.', ':']) {
        Some((name, member)) => (name, Some(member)),
        None => (written, None),
    };
    let Some(variable) = Variable::find(name) else {
        return Err(names::not_found("variable", name, variables(), names::VARIABLES));
    };
    match member {
        Some("") => Err(Problem::Invalid(format!("a name is missing behind the dot in %{{{}}}", shown(written)))),
        Some(_) if !variable.is_collection() => {
            Err(Problem::Invalid(format!("{} has no members; write %{{{}}}", variable.name(), variable.name())))
        }
        member => Ok(Piece::Reference(variable, member.map(str::to_owned))),
    }
}

/// The names of all variables.
pub(super) fn variables() -> impl Iterator<Item = &'static str> {
    Variable::ALL.iter().map(|variable| variable.name())
}
