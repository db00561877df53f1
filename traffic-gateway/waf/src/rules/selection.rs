//! Which rules an exclusion or an update means.

use std::ops::RangeInclusive;

use regex::Regex;

use crate::seclang::ast::{ActionKind, Piece, Selection, Text};

use super::draft::Draft;

/// A [`Selection`] ready to ask.
#[derive(Debug)]
pub(super) enum Selector {
    Ids(Vec<RangeInclusive<u32>>),
    Tag(Regex),
    Message(Regex),
}

impl Selector {
    pub(super) fn new(selection: &Selection) -> Result<Self, String> {
        let regex = |pattern: &str| Regex::new(pattern).map_err(|error| format!("invalid regular expression: {error}"));
        match selection {
            Selection::Ids(ids) => Ok(Self::Ids(ids.clone())),
            Selection::Tag(pattern) => regex(pattern).map(Self::Tag),
            Selection::Message(pattern) => regex(pattern).map(Self::Message),
        }
    }

    pub(super) fn selects(&self, rule: &Draft) -> bool {
        let says = |regex: &Regex, wanted: fn(&ActionKind) -> Option<&Text>| {
            let mut texts = rule.links.iter().flat_map(|link| &link.actions).filter_map(|action| wanted(&action.kind));
            texts.any(|text| regex.is_match(&as_written(text)))
        };
        match self {
            Self::Ids(ranges) => ranges.iter().any(|range| range.contains(&rule.id)),
            Self::Tag(regex) => says(regex, |kind| if let ActionKind::Tag(text) = kind { Some(text) } else { None }),
            Self::Message(regex) => {
                says(regex, |kind| if let ActionKind::Message(text) = kind { Some(text) } else { None })
            }
        }
    }
}

/// The text with its references as they stand in the file.
pub(super) fn as_written(text: &Text) -> String {
    let mut written = String::new();
    for piece in &text.pieces {
        match piece {
            Piece::Plain(plain) => written.push_str(plain),
            Piece::Reference(variable, None) => written.push_str(&format!("%{{{}}}", variable.name())),
            Piece::Reference(variable, Some(member)) => written.push_str(&format!("%{{{}.{member}}}", variable.name())),
        }
    }
    written
}
