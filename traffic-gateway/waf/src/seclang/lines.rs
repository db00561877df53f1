//! Physical lines become directives: comments go, a backslash at the end of a line joins the next one to it, and every
//! byte of the joined text still knows where it was written.

use super::ast::Position;
use super::diagnostic::{Report, WarningCode, number};

/// Distance of the marks from which columns in lines with other than ASCII characters are counted.
const MARK_EVERY: usize = 256;

/// The text of one directive, its lines joined.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) text: String,
    source: u32,
    /// Where each physical line begins in `text`.
    segments: Vec<Segment>,
    /// Characters before each multiple of [`MARK_EVERY`]; empty when all is ASCII.
    marks: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    offset: usize,
    line: u32,
    column: u32,
}

impl Line {
    /// Where the byte at `offset` was written.
    pub(super) fn position(&self, offset: usize) -> Position {
        let after = self.segments.partition_point(|segment| segment.offset <= offset);
        let Some(segment) = self.segments.get(after.saturating_sub(1)) else {
            return Position { source: self.source, line: 0, column: 0 };
        };
        let characters = self.characters_before(offset).saturating_sub(self.characters_before(segment.offset));
        Position { source: self.source, line: segment.line, column: segment.column.saturating_add(number(characters)) }
    }

    fn characters_before(&self, offset: usize) -> usize {
        if self.marks.is_empty() {
            return offset;
        }
        let mark = (offset / MARK_EVERY).min(self.marks.len().saturating_sub(1));
        let before = self.marks.get(mark).copied().unwrap_or_default();
        let from = mark.saturating_mul(MARK_EVERY);
        before + characters(self.text.as_bytes().get(from..offset).unwrap_or_default())
    }

    fn mark(&mut self) {
        if !self.text.is_ascii() {
            let mut count = 0;
            for part in self.text.as_bytes().chunks(MARK_EVERY) {
                self.marks.push(count);
                count += characters(part);
            }
        }
    }
}

fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| (**byte & 0xc0) != 0x80).count()
}

/// The directives of one file.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    rest: &'a [u8],
    /// Number of the line read last.
    number: u32,
    source: u32,
}

impl<'a> Lines<'a> {
    pub(super) fn new(bytes: &'a [u8], source: u32) -> Self {
        let rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        Self { rest, number: 0, source }
    }

    /// The next directive. Lines that are not text are reported and left out.
    pub(super) fn next(&mut self, report: &mut Report) -> Option<Line> {
        loop {
            let raw = self.physical()?;
            let (blanks, content) = split_blanks(raw);
            if content.is_empty() {
                continue;
            }
            if content.first() == Some(&b'#') {
                self.warn_of_joined_comment(content, report);
                continue;
            }
            if let Some(line) = self.join(blanks, content, report) {
                return Some(line);
            }
        }
    }

    fn physical(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.number = self.number.saturating_add(1);
        let (line, rest) = match memchr::memchr(b'\n', self.rest) {
            Some(end) => {
                let (line, rest) = self.rest.split_at(end);
                (line, rest.get(1..).unwrap_or_default())
            }
            None => (self.rest, b"".as_slice()),
        };
        self.rest = rest;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn warn_of_joined_comment(&self, comment: &[u8], report: &mut Report) {
        let next = self.rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let goes_on = !matches!(split_blanks(next).1.first(), None | Some(b'#' | b'\r'));
        if comment.last() == Some(&b'\\') && goes_on {
            let position = Position { source: self.source, line: self.number, column: number(comment.len()) };
            let text = "a comment ends with its line here; the backslash does not make the next line part of it";
            report.warn(position, WarningCode::CommentContinues, text);
        }
    }

    /// Joins lines as long as they end with a backslash.
    fn join(&mut self, blanks: usize, content: &'a [u8], report: &mut Report) -> Option<Line> {
        let mut line = Line { text: String::new(), source: self.source, segments: Vec::new(), marks: Vec::new() };
        let mut sound = true;
        let mut next = Some((blanks, content));
        while let Some((blanks, content)) = next.take() {
            let (content, joined) = match content.trim_ascii_end().strip_suffix(b"\\") {
                Some(content) => (content, true),
                None => (content, false),
            };
            let segment = Segment { offset: line.text.len(), line: self.number, column: number(blanks + 1) };
            line.segments.push(segment);
            sound &= self.append(&mut line.text, segment, content, report);
            if joined {
                next = self.physical().map(split_blanks);
            }
        }
        line.mark();
        sound.then_some(line)
    }

    fn append(&self, text: &mut String, segment: Segment, content: &[u8], report: &mut Report) -> bool {
        let position = |before: &[u8]| Position {
            source: self.source,
            line: segment.line,
            column: segment.column.saturating_add(number(characters(before))),
        };
        let content = match std::str::from_utf8(content) {
            Ok(content) => content,
            Err(error) => {
                let (before, after) = content.split_at(error.valid_up_to());
                let byte = after.first().copied().unwrap_or_default();
                let message = format!("byte 0x{byte:02x} is not UTF-8; in a pattern write it as \\x{byte:02x}");
                report.invalid(position(before), message);
                return false;
            }
        };
        if let Some(at) = content.bytes().position(|byte| byte.is_ascii_control() && byte != b'\t') {
            let (before, after) = content.as_bytes().split_at(at);
            let byte = after.first().copied().unwrap_or_default();
            let message = format!("control character 0x{byte:02x}; in a pattern write it as \\x{byte:02x}");
            report.invalid(position(before), message);
            return false;
        }
        text.push_str(content);
        true
    }
}

/// The number of blanks at the beginning, and what follows them.
fn split_blanks(line: &[u8]) -> (usize, &[u8]) {
    let blanks = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    (blanks, line.get(blanks..).unwrap_or_default())
}
