//! `setvar:[!]tx.NAME[=[+|-]VALUE]`.

use super::ast::{Change, Piece, SetVariable, Text};
use super::diagnostic::{Problem, shown};
use super::words::unescape;
use super::{names, text};

/// Reads the value of `setvar`. A name alone sets 1, as everywhere.
pub(super) fn parse(value: &str) -> Result<SetVariable, Problem> {
    let value = value.trim_matches([' ', '\t']);
    let (unset, rest) = match value.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let (path, assigned) = match rest.split_once('=') {
        Some((path, assigned)) => (path.trim_end_matches([' ', '\t']), Some(assigned)),
        None => (rest, None),
    };
    let name = name(path)?;
    let change = match (unset, assigned) {
        (true, None) => Change::Unset,
        (true, Some(_)) => {
            return Err(Problem::Invalid(
                "setvar with ! takes the variable away and sets nothing; remove the =".to_owned(),
            ));
        }
        (false, None) => Change::Set(Text::from("1")),
        (false, Some(assigned)) => change(assigned)?,
    };
    Ok(SetVariable { name, change })
}

fn name(path: &str) -> Result<Text, Problem> {
    let Some((collection, member)) = path.split_once(['.', ':']) else {
        return Err(Problem::Invalid(format!("setvar sets members of TX; write setvar:tx.{}", shown(path))));
    };
    if !collection.eq_ignore_ascii_case("tx") {
        return Err(match names::VARIABLES.iter().find(|(name, _)| name.eq_ignore_ascii_case(collection)) {
            Some((name, instead)) => Problem::Unsupported { what: "collection", name, instead },
            None => Problem::Invalid(format!(
                "setvar sets members of TX only, not of {:?}; write setvar:tx.…",
                shown(collection)
            )),
        });
    }
    if member.is_empty() {
        return Err(Problem::Invalid("setvar needs a name behind tx.".to_owned()));
    }
    let mut name = text::parse(member)?;
    for piece in &mut name.pieces {
        if let Piece::Plain(plain) = piece {
            plain.make_ascii_lowercase();
        }
    }
    Ok(name)
}

fn change(assigned: &str) -> Result<Change, Problem> {
    let (sign, operand) = match assigned.split_at_checked(1) {
        Some((sign @ ("+" | "-"), operand)) => (sign, operand),
        _ => ("", assigned),
    };
    let inner = operand.strip_prefix('\'').and_then(|inner| inner.strip_suffix('\''));
    let operand = match inner {
        Some(inner) => text::parse(&unescape(inner, b'\'').0)?,
        None => text::parse(operand)?,
    };
    if sign.is_empty() {
        return Ok(Change::Set(operand));
    }
    match operand.plain() {
        Some(number) if number.trim().parse::<i64>().is_err() => Err(Problem::Invalid(format!(
            "setvar adds and subtracts numbers, and {:?} is none; leave the sign away to set a text",
            shown(number)
        ))),
        _ if sign == "+" => Ok(Change::Add(operand)),
        _ => Ok(Change::Subtract(operand)),
    }
}
