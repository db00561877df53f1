//! `setvar:[!]COLLECTION.NAME[=[+|-]VALUE]` and `expirevar:COLLECTION.NAME=SECONDS`.

use super::ast::{ActionKind, Change, Piece, SetVariable, Text, Variable};
use super::diagnostic::{Problem, shown};
use super::words::unescape;
use super::{names, text};

/// Reads the value of `setvar`. A name alone sets 1, as everywhere.
pub(super) fn parse(value: &str) -> Result<ActionKind, Problem> {
    let value = value.trim_matches([' ', '\t']);
    let (unset, rest) = match value.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let (path, assigned) = match rest.split_once('=') {
        Some((path, assigned)) => (path.trim_end_matches([' ', '\t']), Some(assigned)),
        None => (rest, None),
    };
    let (collection, name) = name(path)?;
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
    let set = SetVariable { name, change };
    Ok(if collection == Variable::Tx { ActionKind::SetVariable(set) } else { ActionKind::SetKept(collection, set) })
}

/// Reads the value of `expirevar`.
pub(super) fn expire(value: &str) -> Result<ActionKind, Problem> {
    let Some((path, seconds)) = value.split_once('=') else {
        return Err(Problem::Invalid("expirevar needs a number of seconds behind =".to_owned()));
    };
    match name(path.trim_matches([' ', '\t']))? {
        (Variable::Tx, _) => {
            Err(Problem::Invalid("variables of TX end with their transaction; remove the action".to_owned()))
        }
        (collection, name) => Ok(ActionKind::ExpireKept(collection, name, text::parse(seconds)?)),
    }
}

fn name(path: &str) -> Result<(Variable, Text), Problem> {
    let Some((collection, member)) = path.split_once(['.', ':']) else {
        return Err(Problem::Invalid(format!("setvar sets members of TX; write setvar:tx.{}", shown(path))));
    };
    let found = Variable::find(collection).filter(|found| *found == Variable::Tx || found.is_kept());
    let Some(found) = found else {
        return Err(match names::VARIABLES.iter().find(|(name, _)| name.eq_ignore_ascii_case(collection)) {
            Some((name, instead)) => Problem::Unsupported { what: "collection", name, instead },
            None => Problem::Invalid(format!(
                "setvar sets members of TX only, not of {:?}; write setvar:tx.…",
                shown(collection)
            )),
        });
    };
    if member.is_empty() {
        return Err(Problem::Invalid(format!("a name is missing behind {collection}.")));
    }
    let mut name = text::parse(member)?;
    for piece in &mut name.pieces {
        if let Piece::Plain(plain) = piece {
            plain.make_ascii_lowercase();
        }
    }
    Ok((found, name))
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
