//! Patterns for hosts, user agents and URLs: names and whole texts by hash, all regular expressions in one pass.
//!
//! Expressions match in time linear in the text, whatever they are (finite automata, no backtracking), and their letter,
//! digit and word classes are those of ASCII. Compiled, one may take 1 MiB; a kind may have 10,000.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use gatehouse_shared::cidr::Note;

use gatehouse_shared::config::{ConfigError, ConfigErrors, Fingerprint, Positions, Sources};
use regex::bytes::{RegexBuilder, RegexSet, RegexSetBuilder};

use super::finding::{Finding, Kind, Matched, Terms};
use super::lines::{read_lines, shown};

/// Patterns of one kind.
const MAX_PATTERNS: usize = 10_000;
/// What one expression may take, compiled.
const MAX_REGEX_BYTES: usize = 1 << 20;
/// What all expressions of a kind may take, compiled.
const MAX_SET_BYTES: usize = 64 << 20;
/// What each thread may keep of the automaton that it builds while it matches; when it is full, matching begins anew.
const MAX_AUTOMATON_BYTES: usize = 8 << 20;

/// A pattern, where it is written, and what holds for its list.
#[derive(Debug, Clone)]
pub(super) struct Written {
    terms: Arc<Terms>,
    file: Arc<str>,
    line: usize,
    column: usize,
    text: Box<str>,
}

impl Written {
    /// A pattern at `path` of the configuration.
    pub(super) fn inline(terms: &Arc<Terms>, text: &str, path: &str, positions: &Positions) -> Self {
        let (line, column) = positions.place(path);
        Self { terms: Arc::clone(terms), file: positions.file().into(), line, column, text: text.into() }
    }

    /// The patterns at `path` of the configuration.
    pub(super) fn all_inline(terms: &Arc<Terms>, texts: &[String], path: &str, positions: &Positions) -> Vec<Self> {
        let at = |index| format!("{path}[{index}]");
        texts.iter().enumerate().map(|(index, text)| Self::inline(terms, text, &at(index), positions)).collect()
    }

    /// The patterns of a file, one a line.
    ///
    /// # Errors
    /// A file that cannot be read, and lines that are no text.
    pub(super) fn all_of_file(
        terms: &Arc<Terms>,
        file: &Path,
        sources: &mut Sources,
    ) -> Result<(Fingerprint, Vec<Self>), ConfigErrors> {
        let name = file.display().to_string();
        let file_name: Arc<str> = name.as_str().into();
        sources.read_large(file, None, |pieces| {
            let mut all = Vec::new();
            read_lines(&name, pieces, |number, line| {
                let text = line.trim_start();
                if !text.is_empty() && !text.starts_with('#') {
                    let column = line.chars().count() - text.chars().count() + 1;
                    let line = usize::try_from(number).unwrap_or(usize::MAX);
                    let (terms, file) = (Arc::clone(terms), Arc::clone(&file_name));
                    all.push(Self { terms, file, line, column, text: text.into() });
                }
                Ok(())
            })?;
            Ok(all)
        })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn terms(&self) -> &Arc<Terms> {
        &self.terms
    }

    pub(super) fn error(&self, message: impl Into<String>, remedy: &str) -> ConfigError {
        let Self { file, line, column, .. } = self;
        let remedy = Some(remedy.to_owned()).filter(|remedy| !remedy.is_empty());
        ConfigError { file: file.to_string(), line: *line, column: *column, message: message.into(), remedy }
    }

    pub(super) fn finding(&self, kind: Kind) -> Finding<'_> {
        Finding {
            kind,
            terms: &self.terms,
            file: &self.file,
            line: u32::try_from(self.line).unwrap_or(u32::MAX),
            entry: Matched::Pattern(&self.text),
            note: Note::default(),
        }
    }
}

/// What a list of patterns is about, and so how it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Names, names below a name, and expressions behind `~`; in lower case.
    Host,
    /// Expressions found anywhere, whatever the case.
    UserAgent,
    /// Expressions found anywhere.
    DeniedUrl,
    /// Expressions found at the beginning.
    AllowedUrl,
}

/// The compiled patterns of one kind.
#[derive(Debug)]
pub(super) struct Patterns {
    kind: Kind,
    written: Vec<Written>,
    /// Whole texts, by number of the pattern.
    whole: HashMap<Box<[u8]>, usize>,
    /// Names below a host.
    below: HashMap<Box<[u8]>, usize>,
    regexes: RegexSet,
    /// The patterns of the expressions.
    numbers: Vec<usize>,
}

impl Patterns {
    /// Compiles the patterns of one kind.
    ///
    /// # Errors
    /// Every pattern that is none.
    pub(super) fn compile(dialect: Dialect, written: Vec<Written>) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        if let Some(beyond) = written.get(MAX_PATTERNS) {
            let message = format!("there are {} patterns; {MAX_PATTERNS} are allowed", written.len());
            errors.push(beyond.error(message, "join some of them with |"));
            return Err(errors);
        }
        let (mut whole, mut below, mut regexes, mut numbers) = (HashMap::new(), HashMap::new(), Vec::new(), Vec::new());
        for (number, pattern) in written.iter().enumerate() {
            match Form::of(dialect, pattern) {
                Err(error) => errors.push(error),
                Ok(Form::Whole(text)) => drop(whole.entry(text.into()).or_insert(number)),
                Ok(Form::Below(name)) => drop(below.entry(name.into()).or_insert(number)),
                Ok(Form::Regex(regex)) => {
                    regexes.push(regex);
                    numbers.push(number);
                }
            }
        }
        let set = RegexSetBuilder::new(regexes)
            .unicode(false)
            .case_insensitive(dialect.ignores_case())
            .size_limit(MAX_SET_BYTES)
            .dfa_size_limit(MAX_AUTOMATON_BYTES)
            .build();
        match (set, written.first()) {
            (Ok(regexes), _) => {
                errors.into_result(Self { kind: dialect.kind(), written, whole, below, regexes, numbers })
            }
            (Err(_), first) if errors.is_empty() => Err(first.map_or_else(ConfigErrors::new, |first| {
                first.error("the patterns of this kind are too large together", "use fewer repetitions").into()
            })),
            (Err(_), _) => Err(errors),
        }
    }

    /// A pattern that fits: a whole text, then a name above a host, then the first expression.
    pub(super) fn find(&self, text: &[u8]) -> Option<Finding<'_>> {
        let number = self.whole(text).or_else(|| self.below(text)).or_else(|| self.regex(text))?;
        self.written.get(number).map(|written| written.finding(self.kind))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    fn whole(&self, text: &[u8]) -> Option<usize> {
        if self.whole.is_empty() { None } else { self.whole.get(text).copied() }
    }

    fn below(&self, host: &[u8]) -> Option<usize> {
        let mut name = if self.below.is_empty() { &[] } else { host };
        while let Some(dot) = name.iter().position(|byte| *byte == b'.') {
            name = name.get(dot + 1..).unwrap_or_default();
            if let Some(number) = self.below.get(name) {
                return Some(*number);
            }
        }
        None
    }

    fn regex(&self, text: &[u8]) -> Option<usize> {
        // To ask whether any fits is much quicker than to ask which.
        if self.numbers.is_empty() || !self.regexes.is_match(text) {
            return None;
        }
        let first = self.regexes.matches(text).iter().next()?;
        self.numbers.get(first).copied()
    }
}

/// How a pattern is looked for.
enum Form {
    /// As a whole text.
    Whole(Vec<u8>),
    /// As a name above a host.
    Below(Vec<u8>),
    /// As an expression.
    Regex(String),
}

impl Dialect {
    fn kind(self) -> Kind {
        match self {
            Self::Host => Kind::Host,
            Self::UserAgent => Kind::UserAgent,
            Self::DeniedUrl | Self::AllowedUrl => Kind::Url,
        }
    }

    fn ignores_case(self) -> bool {
        matches!(self, Self::Host | Self::UserAgent)
    }
}

impl Form {
    fn of(dialect: Dialect, pattern: &Written) -> Result<Self, ConfigError> {
        let text = pattern.text();
        if dialect == Dialect::Host {
            return match text.strip_prefix('~') {
                Some(regex) => checked(dialect, pattern, regex).map(Self::Regex),
                None => host(pattern),
            };
        }
        if dialect == Dialect::AllowedUrl && !text.strip_prefix('^').unwrap_or(text).starts_with('/') {
            let message = format!("{} does not begin with a slash", shown(text));
            return Err(pattern.error(message, "an allowed URL is matched from the beginning of the path"));
        }
        let regex = checked(dialect, pattern, text)?;
        let whole = whole_text(text).filter(|_| !dialect.ignores_case());
        match (whole, dialect) {
            (Some(whole), _) => Ok(Self::Whole(whole.into_bytes())),
            // The group keeps an alternative from beginning elsewhere.
            (None, Dialect::AllowedUrl) => checked(dialect, pattern, &format!("\\A(?:{regex})")).map(Self::Regex),
            (None, _) => Ok(Self::Regex(regex)),
        }
    }
}

fn host(pattern: &Written) -> Result<Form, ConfigError> {
    let lower = pattern.text().to_ascii_lowercase();
    let (name, is_below) = lower.strip_prefix("*.").map_or((lower.as_str(), false), |name| (name, true));
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_name = name.split('.').all(|label| !label.is_empty() && label.bytes().all(is_part));
    let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_address = literal.is_some_and(|literal| literal.parse::<std::net::Ipv6Addr>().is_ok()) && !is_below;
    if !is_name && !is_address {
        let message = format!("{} is no host", shown(pattern.text()));
        return Err(pattern.error(message, "write example.com, *.example.com, or ~ and a regular expression"));
    }
    let name = name.as_bytes().to_vec();
    Ok(if is_below { Form::Below(name) } else { Form::Whole(name) })
}

/// The expression, when it compiles within its bound.
fn checked(dialect: Dialect, pattern: &Written, regex: &str) -> Result<String, ConfigError> {
    let compiled = RegexBuilder::new(regex)
        .unicode(false)
        .case_insensitive(dialect.ignores_case())
        .size_limit(MAX_REGEX_BYTES)
        .build();
    match compiled {
        Ok(_) => Ok(regex.to_owned()),
        Err(regex::Error::CompiledTooBig(_)) => {
            let message = format!("{} takes more than 1 MiB when it is compiled", shown(regex));
            Err(pattern.error(message, "use fewer or shorter repetitions"))
        }
        Err(error) => {
            // The last line says what is wrong; those before it draw where.
            let error = error.to_string();
            let cause = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Err(pattern.error(format!("{} is no regular expression: {cause}", shown(regex)), ""))
        }
    }
}

/// The only text that an expression fits: what stands between `^` and `$` when that has no special meaning.
fn whole_text(regex: &str) -> Option<String> {
    let mut rest = regex.strip_prefix('^')?.strip_suffix('$')?.chars();
    let mut text = String::new();
    while let Some(c) = rest.next() {
        match c {
            '\\' => text.push(rest.next().filter(char::is_ascii_punctuation).filter(|c| !matches!(c, '<' | '>'))?),
            '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' => return None,
            c => text.push(c),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests;
