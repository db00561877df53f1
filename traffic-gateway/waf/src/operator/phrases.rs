//! `@pm` and `@pmFromFile`: many phrases at once, in one pass, ASCII letters without regard to case.

use aho_corasick::{AhoCorasick, MatchKind};

use super::{Captures, OperatorError};
use crate::seclang::ast::OperatorKind;

/// Phrases, compiled into one automaton.
#[derive(Clone, Debug)]
pub(super) struct Phrases {
    automaton: AhoCorasick,
    list: Vec<Vec<u8>>,
}

impl Phrases {
    /// Phrases between blanks; `|41 0a|` writes bytes.
    pub(super) fn from_argument(argument: &str) -> Result<Self, OperatorError> {
        Self::compile(OperatorKind::Pm, &split_phrases(argument)?)
    }

    /// The names of files with one phrase a line; `#` at the beginning of a line makes it a comment.
    pub(super) fn from_files(
        names: &str,
        files: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Self, OperatorError> {
        let contents = data_files(OperatorKind::PmFromFile.name(), names, files)?;
        let phrases: Vec<&[u8]> = contents.iter().flat_map(|content| data_lines(content)).collect();
        Self::compile(OperatorKind::PmFromFile, &phrases)
    }

    /// The phrases.
    pub(super) fn list(&self) -> &[Vec<u8>] {
        &self.list
    }

    /// Whether one of the phrases is in `value`. The leftmost one is captured, of several there the longest.
    pub(super) fn matches(&self, value: &[u8], captures: &mut Captures) -> bool {
        if !captures.are_wanted() {
            return self.automaton.is_match(value);
        }
        let found = self.automaton.find(value);
        if let Some(found) = &found {
            captures.push(Some(found.range()));
        }
        found.is_some()
    }

    fn compile<P: AsRef<[u8]>>(operator: OperatorKind, phrases: &[P]) -> Result<Self, OperatorError> {
        if phrases.is_empty() {
            return Err(OperatorError::NoPhrases(operator.name()));
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .build(phrases)
            .map_err(|cause| OperatorError::PhraseSize(cause.to_string()))?;
        Ok(Self { automaton, list: phrases.iter().map(|phrase| phrase.as_ref().to_vec()).collect() })
    }
}

/// The contents of the files whose names are in a list separated by blanks.
pub(super) fn data_files(
    operator: &'static str,
    names: &str,
    files: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
) -> Result<Vec<Vec<u8>>, OperatorError> {
    let contents: Vec<Vec<u8>> = names
        .split_ascii_whitespace()
        .map(|name| files(name).map_err(|reason| OperatorError::File { name: name.to_owned(), reason }))
        .collect::<Result<_, _>>()?;
    if contents.is_empty() { Err(OperatorError::NoFile(operator)) } else { Ok(contents) }
}

/// The lines of a data file, without white space around them, empty ones and comments.
pub(super) fn data_lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
}

/// Splits at blanks outside bars and turns what is between bars into bytes.
fn split_phrases(argument: &str) -> Result<Vec<Vec<u8>>, OperatorError> {
    let mut phrases = Vec::new();
    let mut phrase = Vec::new();
    let mut rest = argument.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'|' => {
                let bad = OperatorError::PhraseBytes { offset: argument.len() - after.len() - 1 };
                let Some(end) = memchr::memchr(b'|', after) else { return Err(bad) };
                let (Some(digits), Some(behind)) = (after.get(..end), after.get(end + 1..)) else { return Err(bad) };
                phrase.extend(hex_bytes(digits).ok_or(bad)?);
                rest = behind;
            }
            byte if byte.is_ascii_whitespace() => phrases.push(std::mem::take(&mut phrase)),
            byte => phrase.push(*byte),
        }
    }
    phrases.push(phrase);
    phrases.retain(|phrase| !phrase.is_empty());
    Ok(phrases)
}

/// `41 0a` or `410a`, at least one byte.
fn hex_bytes(digits: &[u8]) -> Option<Vec<u8>> {
    let groups = digits.split(u8::is_ascii_whitespace).filter(|group| !group.is_empty());
    let pairs: Vec<&[u8]> = groups.flat_map(|group| group.chunks(2)).collect();
    let bytes: Option<Vec<u8>> = pairs.into_iter().map(crate::transform::hex_pair).collect();
    bytes.filter(|bytes| !bytes.is_empty())
}
