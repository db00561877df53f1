//! Plain lists: one regular expression a line, a file per target.
//!
//! Two layouts are well known. A directory of either is read into the same [`Program`] that SecLang becomes; nothing
//! behind this module knows where a rule came from.
//!
//! | file of `wafconf/` | file of `rule-config/` | looks at | phase |
//! |---|---|---|---|
//! | `whiteurl` | `whiteurl.rule` | path, decoded once and normalised; a match switches the WAF off for this request, nothing else | 1 |
//! | `user-agent` | `useragent.rule` | `User-Agent` | 1 |
//! | `url` | `url.rule` | request target with query, as sent and decoded | 1 |
//! | `args` | `args.rule` | names and values of the query, decoded twice | 1 |
//! | `cookie` | `cookie.rule` | `Cookie`, as sent and decoded | 1 |
//! | `post` | `post.rule` | names and values of the body, decoded twice; file names; texts and attributes of XML | 2 |
//! | — | `whiteip.rule`, `blackip.rule` | the address of the client; a match of the first switches the WAF off for this request | 1 |
//!
//! Lists of `wafconf/` are caseless and their dot matches a line feed, those of `rule-config/` are case-sensitive and
//! their dot does not. Two rules against the headers of scanners stand before the lists, behind those of addresses.
//!
//! # Where we look more closely than the programs these layouts come from
//!
//! - All arguments are looked at, not the first hundred, and their names, too. Values of a repeated name are looked at
//!   one by one instead of joined.
//! - `cookie` runs.
//! - `post` looks at bodies of every method, at each part of a multipart body as a whole, at the leaves of JSON and at
//!   XML. A body of another type is read as a form, as those programs do with every body.
//! - An empty line is no rule. Neither is a line that begins with `#`: it is a comment.
//! - Lines of the lists of addresses are read as networks wherever they are meant so, and as expressions for a whole address
//!   otherwise; `address` says how, and a warning tells what a doubtful line became.
//!
//! # Expressions
//!
//! The lists are written for PCRE. `pattern` translates what the `regex` crate reads differently, when that is exact, and
//! refuses the line otherwise, with its place. `lint` warns of what loads and is probably not meant.

mod layout;
mod address;
mod pattern;
mod class;
mod lint;
mod benign;
mod generate;
#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::path::Path;

use crate::seclang::ast::{Position, Program, Toggle};
use crate::seclang::diagnostic::{Problem, Report, number};
use crate::seclang::files::Files;
use crate::seclang::{Error, Warning};
use generate::Generator;
use layout::{Kind, LISTS};

pub use layout::Layout;

/// Lines of one file. The reference layouts have less than two hundred in all.
pub const MAX_LINES: u32 = 50_000;

/// Bytes of one line.
pub const MAX_LINE: usize = 16 << 10;

/// Ids given to the rules of lists begin here unless options say otherwise.
pub const FIRST_ID: u32 = 8_000_000;

/// What lists are read for. Everything is on by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListOptions {
    /// `args`.
    pub args: Toggle,
    /// `cookie`.
    pub cookie: Toggle,
    /// `post`.
    pub post: Toggle,
    /// `url`.
    pub url: Toggle,
    /// `user-agent` and `useragent.rule`.
    pub user_agent: Toggle,
    /// `whiteurl`.
    pub white_url: Toggle,
    /// `whiteip.rule`.
    pub white_ip: Toggle,
    /// `blackip.rule`.
    pub black_ip: Toggle,
    /// The two rules against headers of scanners.
    pub scanner_headers: Toggle,
    /// What a match does.
    pub action: ListAction,
    /// The id of the first rule. A rule of line `l` of the `n`th list has the id `first_id + 100,000 · n + l`; all networks of
    /// a list of addresses are one rule, with `l` = 0.
    pub first_id: u32,
}

/// What a match of a list does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListAction {
    /// The request is refused with this status.
    Deny(u16),
    /// The match is logged and the request goes on.
    Log,
}

impl Default for ListOptions {
    fn default() -> Self {
        Self {
            args: Toggle::On,
            cookie: Toggle::On,
            post: Toggle::On,
            url: Toggle::On,
            user_agent: Toggle::On,
            white_url: Toggle::On,
            white_ip: Toggle::On,
            black_ip: Toggle::On,
            scanner_headers: Toggle::On,
            action: ListAction::Deny(403),
            first_id: FIRST_ID,
        }
    }
}

/// A directory of lists, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lists {
    /// The rules, in the order of the reference programs.
    pub program: Program,
}

/// Reads the lists of a directory. Files that are not there are lists without lines; which layout it is, the names say.
///
/// # Errors
///
/// Everything that is wrong, up to [`MAX_ERRORS`](crate::seclang::MAX_ERRORS): a directory without any list or with files
/// of both layouts, a file that cannot be read or is no text, a line that is no expression or one that cannot be
/// translated.
pub fn load(files: &dyn Files, directory: &Path, options: &ListOptions) -> Result<(Lists, Vec<Warning>), Vec<Error>> {
    let mut report = Report::default();
    let lists = match find_layout(files, directory) {
        Ok(layout) => read(files, directory, layout, options, &mut report),
        Err(problem) => {
            let source = report.add_source(&directory.display().to_string());
            report.error(Position { source, line: 0, column: 0 }, problem);
            Lists::default()
        }
    };
    if report.errors.is_empty() { Ok((lists, report.warnings)) } else { Err(report.errors) }
}

fn find_layout(files: &dyn Files, directory: &Path) -> Result<Layout, Problem> {
    let names = files.names(directory);
    let names = names.map_err(|cause| Problem::Unreadable { path: directory.display().to_string(), cause })?;
    let has = |layout: Layout| {
        LISTS.iter().filter_map(|kind| kind.file(layout)).any(|file| names.iter().any(|name| name == file))
    };
    match (has(Layout::WafConf), has(Layout::RuleConfig)) {
        (true, false) => Ok(Layout::WafConf),
        (false, true) => Ok(Layout::RuleConfig),
        (true, true) => Err(Problem::Invalid(
            "lists of both layouts, args and args.rule; keep one layout in a directory".to_owned(),
        )),
        (false, false) => {
            Err(Problem::Invalid("no list in this directory; name files like args or args.rule".to_owned()))
        }
    }
}

fn read(files: &dyn Files, directory: &Path, layout: Layout, options: &ListOptions, report: &mut Report) -> Lists {
    let mut lists = Lists::default();
    let mut generator = Generator::new(layout, options);
    for kind in LISTS.iter().copied() {
        if kind == Kind::WhiteUrl && options.scanner_headers == Toggle::On {
            generator.scanner_headers();
        }
        if !kind.is_on(options) {
            continue;
        }
        let Some(name) = kind.file(layout) else { continue };
        let path = directory.join(name);
        let bytes = match files.read(&path) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            Err(cause) => {
                let path = path.display().to_string();
                let source = report.add_source(&path);
                report.error(Position { source, line: 0, column: 0 }, Problem::Unreadable { path, cause });
                continue;
            }
        };
        let source = report.add_source(&path.display().to_string());
        let lines = lines(&bytes, source, report);
        match kind {
            Kind::WhiteIp | Kind::BlackIp => generator.addresses(kind, name, &lines, report),
            kind => generator.list(kind, name, &lines, report),
        }
    }
    lists.program = Program { sources: report.sources.clone(), directives: generator.directives };
    lists
}

/// A line that is neither empty nor a comment.
struct Line<'t> {
    position: Position,
    text: &'t str,
}

fn lines<'t>(bytes: &'t [u8], source: u32, report: &mut Report) -> Vec<Line<'t>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut lines = Vec::new();
    for (line, raw) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
        let position = Position { source, line, column: 1 };
        if raw.trim_ascii().is_empty() || raw.trim_ascii_start().starts_with(b"#") {
            continue;
        }
        if line > MAX_LINES {
            report.invalid(position, format!("more than {MAX_LINES} lines; split the list or write rules"));
            break;
        }
        if raw.len() > MAX_LINE {
            report.invalid(position, format!("a line of more than {MAX_LINE} bytes"));
            continue;
        }
        match std::str::from_utf8(raw) {
            Ok(text) => lines.push(Line { position, text }),
            Err(error) => {
                let (before, after) = raw.split_at(error.valid_up_to());
                let byte = after.first().copied().unwrap_or_default();
                let column = number(String::from_utf8_lossy(before).chars().count() + 1);
                let message = format!("byte 0x{byte:02x} is not UTF-8; in a pattern write it as \\x{byte:02x}");
                report.invalid(Position { column, ..position }, message);
            }
        }
        if report.is_full() {
            break;
        }
    }
    lines
}
