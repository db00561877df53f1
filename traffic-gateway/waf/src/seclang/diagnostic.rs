//! What is wrong with a rule file, or doubtful, and where.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::ast::{Position, Source};

/// Errors collected before reading stops.
pub const MAX_ERRORS: usize = 100;

/// Warnings kept; further ones are dropped, since nobody reads them.
pub const MAX_WARNINGS: usize = 10_000;

/// Characters of a found word that a message repeats.
const MAX_SHOWN: usize = 64;

/// Why a rule file was not accepted, shown as `file:line:column: problem`.
#[derive(Debug)]
pub struct Error {
    /// The file, as it was given or included.
    pub file: Arc<str>,
    /// Line, counted from 1; 0 when the file as a whole is meant.
    pub line: u32,
    /// Column in characters, counted from 1; 0 when the file as a whole is meant.
    pub column: u32,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a rule file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A name that does not exist.
    #[error("unknown {what} {found:?}{}", Nearest(.nearest))]
    Unknown {
        /// What kind of name was expected.
        what: &'static str,
        /// What is written, shortened.
        found: String,
        /// The most similar name that exists.
        nearest: Option<&'static str>,
    },
    /// A name of the language that Gatehouse leaves out on purpose.
    #[error("{what} {name} is not supported: {instead}")]
    Unsupported {
        /// What kind of name it is.
        what: &'static str,
        /// The name.
        name: &'static str,
        /// Why, and what to do instead.
        instead: &'static str,
    },
    /// Anything else: what was found and what to write.
    #[error("{0}")]
    Invalid(String),
    /// A file that cannot be read.
    #[error("cannot read {path}: {cause}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

struct Nearest<'a>(&'a Option<&'static str>);

impl fmt::Display for Nearest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, ", did you mean {name}?"),
            None => f.write_str(", which is none of this language"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.problem)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.problem.source()
    }
}

/// Something in a rule file that loads and is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The file, as it was given or included.
    pub file: Arc<str>,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// Which kind.
    pub code: WarningCode,
    /// What was found and what to do, for people.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {} [{}]", self.file, self.line, self.column, self.text, self.code.name())
    }
}

/// The kinds of warnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WarningCode {
    /// A directive without effect here, because its work is done elsewhere.
    IgnoredDirective,
    /// A comment that ends with a backslash: other programs take the next line as part of it, Gatehouse does not.
    CommentContinues,
    /// A pattern of file names that no file matches.
    NothingIncluded,
    /// A rule that can never match.
    DeadRule,
    /// A rule that matches everything.
    CatchAll,
    /// A construct that means something else to PCRE and was translated.
    PcreSyntax,
    /// A rule that matches ordinary traffic.
    MatchesBenign,
    /// A line of a list of addresses that is written as an expression, or such a list itself.
    AddressList,
}

impl WarningCode {
    /// The name that `rules check` prints.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::IgnoredDirective => "ignored-directive",
            Self::CommentContinues => "comment-continues",
            Self::NothingIncluded => "nothing-included",
            Self::DeadRule => "dead-rule",
            Self::CatchAll => "catch-all",
            Self::PcreSyntax => "pcre-syntax",
            Self::MatchesBenign => "matches-benign",
            Self::AddressList => "address-list",
        }
    }
}

/// Collects errors and warnings while files are read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) sources: Vec<Source>,
    pub(crate) errors: Vec<Error>,
    pub(crate) warnings: Vec<Warning>,
}

impl Report {
    /// Adds a file; the answer is what goes into [`Position::source`].
    pub(crate) fn add_source(&mut self, name: &str) -> u32 {
        let index = number(self.sources.len());
        self.sources.push(Source { name: Arc::from(name) });
        index
    }

    pub(crate) fn error(&mut self, position: Position, problem: Problem) {
        if self.errors.len() < MAX_ERRORS {
            let file = self.file(position);
            self.errors.push(Error { file, line: position.line, column: position.column, problem });
        }
    }

    pub(crate) fn invalid(&mut self, position: Position, message: impl Into<String>) {
        self.error(position, Problem::Invalid(message.into()));
    }

    pub(crate) fn warn(&mut self, position: Position, code: WarningCode, text: impl Into<String>) {
        if self.warnings.len() < MAX_WARNINGS {
            let file = self.file(position);
            let text = text.into();
            self.warnings.push(Warning { file, line: position.line, column: position.column, code, text });
        }
    }

    /// Whether so much is wrong that reading on serves nobody.
    pub(crate) fn is_full(&self) -> bool {
        self.errors.len() >= MAX_ERRORS
    }

    pub(crate) fn file(&self, position: Position) -> Arc<str> {
        let source = usize::try_from(position.source).ok().and_then(|index| self.sources.get(index));
        source.map_or_else(|| Arc::from(""), |source| Arc::clone(&source.name))
    }
}

/// The beginning of a found word, for messages.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A count as it is kept in positions. Files are bounded far below the largest.
pub(crate) fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
