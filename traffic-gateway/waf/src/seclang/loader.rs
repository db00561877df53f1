//! Files in the order in which they are read, with what they include.

use std::io;
use std::path::{Path, PathBuf};

use super::ast::{Directive, DirectiveKind, Position};
use super::check::Entry;
use super::diagnostic::{Problem, Report, WarningCode};
use super::directive::{self, Read};
use super::files::{self, Files};
use super::lines::Lines;
use super::{MAX_BYTES, MAX_DEPTH, MAX_DIRECTIVES, MAX_PARTS};

/// Reads files one into the other.
pub(super) struct Loader<'f> {
    files: &'f dyn Files,
    pub(super) report: Report,
    pub(super) entries: Vec<Entry>,
    /// The files being read, the outermost first.
    open: Vec<PathBuf>,
    bytes: u64,
    parts: usize,
    stopped: bool,
}

impl<'f> Loader<'f> {
    pub(super) fn new(files: &'f dyn Files) -> Self {
        Self {
            files,
            report: Report::default(),
            entries: Vec::new(),
            open: Vec::new(),
            bytes: 0,
            parts: 0,
            stopped: false,
        }
    }

    /// Reads a file, or the files of a pattern, that nothing includes.
    pub(super) fn root(&mut self, path: &Path) {
        let paths = match self.expand(path) {
            Ok(paths) if !paths.is_empty() => paths,
            Ok(_) => return self.unreadable_root(path, io::ErrorKind::NotFound.into()),
            Err(cause) => return self.unreadable_root(path, cause),
        };
        for path in paths {
            match self.files.read(&path) {
                Ok(bytes) => self.file(&path, &bytes),
                Err(cause) => self.unreadable_root(&path, cause),
            }
        }
    }

    /// Reads a file whose content is at hand.
    pub(super) fn file(&mut self, path: &Path, bytes: &[u8]) {
        let source = self.report.add_source(&path.display().to_string());
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.bytes > MAX_BYTES {
            let position = Position { source, line: 1, column: 1 };
            return self.stop(position, format!("with this file the rules are larger than {MAX_BYTES} bytes"));
        }
        self.open.push(files::normal(path));
        let mut lines = Lines::new(bytes, source);
        let mut errors = self.report.errors.len();
        while !self.stopped && !self.report.is_full() {
            let Some(line) = lines.next(&mut self.report) else { break };
            let read = directive::read(&line, &mut self.report);
            let sound = self.report.errors.len() == errors;
            match read {
                Read::Directive(directive) => self.keep(Some(directive), line.position(0), sound),
                Read::Include { position, path, optional } => self.include(position, &path, optional),
                Read::Nothing => self.keep(None, line.position(0), false),
            }
            errors = self.report.errors.len();
        }
        self.open.pop();
    }

    fn keep(&mut self, directive: Option<Directive>, position: Position, sound: bool) {
        self.parts = self.parts.saturating_add(directive.as_ref().map_or(0, parts));
        if self.entries.len() >= MAX_DIRECTIVES {
            return self.stop(position, format!("more than {MAX_DIRECTIVES} directives; leave some out"));
        }
        if self.parts > MAX_PARTS {
            return self.stop(position, format!("more than {MAX_PARTS} targets and actions; leave some out"));
        }
        self.entries.push(Entry { directive, sound });
    }

    fn include(&mut self, position: Position, named: &str, optional: bool) {
        let file = self.report.file(position);
        let path = files::beside(&file, named);
        if self.open.len() >= MAX_DEPTH {
            return self.stop(position, format!("files include each other more than {MAX_DEPTH} deep"));
        }
        match self.expand(&path) {
            Ok(paths) if paths.is_empty() && optional => {
                let text = format!("no file matches {named}");
                self.report.warn(position, WarningCode::NothingIncluded, text);
            }
            Ok(paths) if paths.is_empty() => {
                let message = format!("no file matches {named}; write IncludeOptional when there may be none");
                self.report.invalid(position, message);
            }
            Ok(paths) => paths.iter().for_each(|path| self.include_one(position, path, optional)),
            Err(cause) => self.unreadable(position, &path, cause, optional),
        }
    }

    fn include_one(&mut self, position: Position, path: &Path, optional: bool) {
        if self.stopped || self.report.is_full() {
            return;
        }
        if self.open.contains(&files::normal(path)) {
            let message = format!("{} includes itself; remove one of the lines", path.display());
            return self.report.invalid(position, message);
        }
        match self.files.read(path) {
            Ok(bytes) => self.file(path, &bytes),
            Err(cause) => self.unreadable(position, path, cause, optional),
        }
    }

    fn expand(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        if files::is_pattern(path) { files::expand(self.files, path) } else { Ok(vec![path.to_owned()]) }
    }

    fn unreadable(&mut self, position: Position, path: &Path, cause: io::Error, optional: bool) {
        let path = path.display().to_string();
        if optional && cause.kind() == io::ErrorKind::NotFound {
            self.report.warn(position, WarningCode::NothingIncluded, format!("{path} does not exist"));
        } else {
            self.report.error(position, Problem::Unreadable { path, cause });
        }
    }

    fn unreadable_root(&mut self, path: &Path, cause: io::Error) {
        let path = path.display().to_string();
        let source = self.report.add_source(&path);
        self.report.error(Position { source, line: 0, column: 0 }, Problem::Unreadable { path, cause });
    }

    fn stop(&mut self, position: Position, message: String) {
        if !self.stopped {
            self.report.invalid(position, message);
        }
        self.stopped = true;
    }
}

fn parts(directive: &Directive) -> usize {
    match &directive.kind {
        DirectiveKind::Rule(rule) => rule.targets.len() + rule.actions.len(),
        DirectiveKind::Action(actions)
        | DirectiveKind::DefaultAction(actions)
        | DirectiveKind::UpdateAction(_, actions) => actions.len(),
        DirectiveKind::UpdateTarget(_, targets) => targets.len(),
        _ => 0,
    }
}
