//! `@rx`: regular expressions over bytes, in time linear in the value.

use regex::bytes::{Regex, RegexBuilder};

use super::backtrack::{self, Backtrack};
use super::{Captures, OperatorError, pattern};

/// The most memory one compiled expression may take, in bytes: what the `regex` crate proposes, and enough for every
/// expression of the OWASP Core Rule Set 4.28, the largest of which has 12,281 characters.
const SIZE_LIMIT: usize = 10 << 20;

/// A compiled expression.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    /// All of it, or what is left of it without what no automaton has.
    regex: Regex,
    /// All of it, when there is such.
    whole: Option<Box<Backtrack>>,
}

impl Expression {
    /// Compiles a pattern in the syntax of PCRE: bytes instead of characters, `.` matches line feeds, `$` only the end.
    pub(super) fn compile(argument: &str) -> Result<Self, OperatorError> {
        let translation = pattern::translate(argument)?;
        // Parsed once on its own, since only the parser says where a mistake is.
        let parsed = regex_syntax::ParserBuilder::new().utf8(false).build().parse(translation.pattern());
        let parsed = parsed.map_err(|error| {
            let (at, reason) = match &error {
                regex_syntax::Error::Parse(error) => (error.span().start.offset, error.kind().to_string()),
                regex_syntax::Error::Translate(error) => (error.span().start.offset, error.kind().to_string()),
                other => (0, other.to_string()),
            };
            OperatorError::Regex { offset: translation.origin(at), reason }
        })?;
        if !translation.has_particular() {
            return Ok(Self { regex: build(translation.pattern())?, whole: None });
        }
        let regex = build(&backtrack::without_particular(&parsed).to_string())?;
        Ok(Self { regex, whole: Some(Box::new(Backtrack::compile(&parsed)?)) })
    }

    /// The translated pattern with its flags; it matches whatever the expression does.
    pub(super) fn pattern(&self) -> &str {
        self.regex.as_str()
    }

    /// Whether there is a match. Groups are looked for only after one, so that a clean value costs no memory.
    pub(super) fn matches(&self, value: &[u8], captures: &mut Captures) -> bool {
        if !self.regex.is_match(value) {
            return false;
        }
        if let Some(whole) = &self.whole {
            return whole.matches(value, captures);
        }
        if captures.are_wanted()
            && let Some(groups) = self.regex.captures(value)
        {
            for group in groups.iter() {
                captures.push(group.map(|group| group.range()));
            }
        }
        true
    }
}

fn build(pattern: &str) -> Result<Regex, OperatorError> {
    RegexBuilder::new(pattern).size_limit(SIZE_LIMIT).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => OperatorError::RegexSize { limit },
        other => OperatorError::Regex { offset: 0, reason: other.to_string() },
    })
}
