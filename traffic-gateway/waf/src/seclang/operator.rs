//! Operators: `[!]@name argument`, or a pattern alone.

use super::ast::{Operator, OperatorKind};
use super::diagnostic::{Problem, Report, shown};
use super::words::{Word, is_blank};
use super::{names, text};

/// Other spellings of names.
const ALIASES: &[(&str, OperatorKind)] =
    &[("pmf", OperatorKind::PmFromFile), ("ipMatchF", OperatorKind::IpMatchFromFile)];

/// Reads an operator. A wrong one is reported.
pub(super) fn parse(word: &Word<'_>, report: &mut Report) -> Option<Operator> {
    let blanks = word.text.bytes().take_while(|byte| is_blank(*byte)).count();
    let position = word.position(blanks);
    let written = word.text.get(blanks..).unwrap_or_default();
    let (negated, rest) = match written.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, written),
    };
    let found = match rest.trim_start_matches([' ', '\t']).strip_prefix('@') {
        Some(named) => kind_and_argument(named),
        None if negated => Ok((OperatorKind::Rx, rest)),
        None => Ok((OperatorKind::Rx, &*word.text)),
    };
    let read = found.and_then(|(kind, argument)| {
        let argument = text::parse(argument)?;
        if let Some(number) = argument.plain().filter(|_| compares_numbers(kind))
            && number.parse::<i64>().is_err()
        {
            let message = format!("@{} compares numbers, and {:?} is none", kind.name(), shown(number));
            return Err(Problem::Invalid(message));
        }
        Ok(Operator { position, negated, kind, argument })
    });
    read.map_err(|problem| report.error(position, problem)).ok()
}

fn kind_and_argument(named: &str) -> Result<(OperatorKind, &str), Problem> {
    let end = named.bytes().position(is_blank).unwrap_or(named.len());
    let (name, argument) = named.split_at(end);
    let alias = ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind);
    let Some(kind) = OperatorKind::find(name).or(alias) else {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let message =
                format!("{:?} is no operator; a pattern that begins with @ is written \"@rx @…\"", shown(name));
            return Err(Problem::Invalid(message));
        }
        let known = OperatorKind::ALL.iter().map(|kind| kind.name());
        return Err(names::not_found("operator", name, known, names::OPERATORS));
    };
    let argument = argument.trim_start_matches([' ', '\t']);
    let argument = if keeps_blanks(kind) { argument } else { argument.trim_end_matches([' ', '\t']) };
    if takes_nothing(kind) && !argument.is_empty() {
        return Err(Problem::Invalid(format!("@{} takes no argument; remove {:?}", kind.name(), shown(argument))));
    }
    if argument.is_empty() && needs_argument(kind) {
        return Err(Problem::Invalid(format!("@{} needs an argument", kind.name())));
    }
    Ok((kind, argument))
}

/// Whether the argument is compared as text, so that blanks at its end count.
const fn keeps_blanks(kind: OperatorKind) -> bool {
    matches!(
        kind,
        OperatorKind::Rx
            | OperatorKind::BeginsWith
            | OperatorKind::Contains
            | OperatorKind::ContainsWord
            | OperatorKind::EndsWith
            | OperatorKind::Streq
            | OperatorKind::Strmatch
            | OperatorKind::Within
    )
}

const fn compares_numbers(kind: OperatorKind) -> bool {
    matches!(kind, OperatorKind::Eq | OperatorKind::Ge | OperatorKind::Gt | OperatorKind::Le | OperatorKind::Lt)
}

const fn needs_argument(kind: OperatorKind) -> bool {
    compares_numbers(kind)
        || matches!(
            kind,
            OperatorKind::Pm
                | OperatorKind::PmFromFile
                | OperatorKind::IpMatch
                | OperatorKind::IpMatchFromFile
                | OperatorKind::ValidateByteRange
        )
}

const fn takes_nothing(kind: OperatorKind) -> bool {
    matches!(
        kind,
        OperatorKind::DetectSqli
            | OperatorKind::DetectXss
            | OperatorKind::NoMatch
            | OperatorKind::UnconditionalMatch
            | OperatorKind::ValidateUrlEncoding
            | OperatorKind::ValidateUtf8Encoding
    )
}
