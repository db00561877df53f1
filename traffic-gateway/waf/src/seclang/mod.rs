//! SecLang, the language of rules: text in, [`Program`] out, with the place of everything.
//!
//! In reading order: `lines` joins physical lines, `words` splits them, `directive` reads one directive with the
//! help of `target`, `operator`, `action`, `control`, `set_variable` and `text`; `loader` follows `Include`; `check` looks
//! at all directives together; `print` writes a program down again.
//!
//! # What is read, exactly
//!
//! - Files are UTF-8; a byte order mark at the beginning is passed over. Any other byte is an error with its place, but
//!   for comments, which may hold anything. A pattern that has to match raw bytes writes them as `\xhh`. Control
//!   characters other than the tab are errors. Lines end with LF or CRLF.
//! - A backslash at the end of a line joins the next line to it, without the blanks at its beginning. A comment ends with
//!   its line, whatever stands at its end, and begins only where a directive could begin.
//! - Words are bare or stand in quotes of either kind. Within quotes a backslash before the same quote goes away, so `\"`
//!   is `"`; every other backslash stays. A quote ends the word when an even number of backslashes stands before it.
//! - An operator without `@` is `@rx`. Blanks behind the name are passed over; blanks at the end count for operators that
//!   compare text, and not for others.
//! - `%{` followed by a letter refers to a variable, in texts and in arguments of operators. Anything else stays text.
//! - A name is what exists here, in any case. What other engines know and this one leaves out is an error that says what
//!   to do instead; `Setting::Ignored` is accepted with a warning.
//!
//! The time is linear in the length of the files; their bounds are [`MAX_BYTES`], [`MAX_DIRECTIVES`], [`MAX_PARTS`] and
//! [`MAX_DEPTH`]. Errors are collected, up to [`MAX_ERRORS`].

pub mod ast;
mod variable;
pub mod diagnostic;
pub mod files;
mod lines;
mod words;
pub(crate) mod names;
mod text;
mod target;
mod operator;
mod action;
mod set_variable;
mod control;
mod directive;
mod check;
mod loader;
mod print;
mod append;
pub mod reference;
#[cfg(test)]
mod tests;

use std::path::Path;

use ast::Program;
use files::Files;
use loader::Loader;

pub use diagnostic::{Error, MAX_ERRORS, Problem, Warning, WarningCode};

/// Bytes of all files of a program together. The Core Rule Set has less than a million.
pub const MAX_BYTES: u64 = 32 << 20;

/// Directives of a program. The Core Rule Set has less than a thousand.
pub const MAX_DIRECTIVES: usize = 100_000;

/// Targets and actions of a program. The Core Rule Set has less than ten thousand.
pub const MAX_PARTS: usize = 1_000_000;

/// Files that may include each other, one inside the other.
pub const MAX_DEPTH: usize = 16;

/// What came of reading: the program and what is doubtful in it, or all that is wrong.
pub type Parsed = Result<(Program, Vec<Warning>), Vec<Error>>;

/// Reads files in the order given. A path may be a pattern such as `rules/*.conf`, whose files are read sorted by name.
///
/// # Errors
///
/// Everything that is wrong, up to [`MAX_ERRORS`], in the order in which it was found.
pub fn parse<P: AsRef<Path>>(files: &dyn Files, paths: &[P]) -> Parsed {
    let mut loader = Loader::new(files);
    for path in paths {
        loader.root(path.as_ref());
    }
    finish(loader)
}

/// Reads one text; its name stands in positions, and what it includes is found beside it.
///
/// # Errors
///
/// Everything that is wrong, up to [`MAX_ERRORS`], in the order in which it was found.
pub fn parse_text(files: &dyn Files, name: &str, text: &str) -> Parsed {
    let mut loader = Loader::new(files);
    loader.file(Path::new(name), text.as_bytes());
    finish(loader)
}

fn finish(loader: Loader<'_>) -> Parsed {
    let Loader { mut report, entries, .. } = loader;
    check::check(&entries, &mut report);
    if !report.errors.is_empty() {
        return Err(report.errors);
    }
    let directives = entries.into_iter().filter_map(|entry| entry.directive).collect();
    Ok((Program { sources: report.sources, directives }, report.warnings))
}
