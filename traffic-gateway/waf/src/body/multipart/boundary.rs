//! Finding the boundary in content that arrives in pieces.

use memchr::{memchr, memmem};

/// Bytes of a line that looks like a boundary, and of its end: no boundary is longer than 70, and mailers do not make
/// lines over 200.
const LONGEST_LINE: usize = 200;

/// What a header of a hidden part begins with.
const HEADER: &[u8] = b"content-";

/// Searches for `--` and the boundary at the beginning of lines.
#[derive(Clone, Debug)]
pub(super) struct Boundary {
    /// The boundary with its two dashes.
    dashed: Vec<u8>,
    line: memmem::Finder<'static>,
    /// Whether the content begins here, where a boundary needs no line end before it.
    at_start: bool,
    /// How much content stood before the first line that looked like the boundary of another body, of the bytes that were
    /// searched when it was found.
    pub(super) unmatched: Option<usize>,
}

/// Where content ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// So many bytes are content, then comes a boundary up to `behind`.
    Boundary { content: usize, behind: usize, ending: LineEnd },
    /// So many bytes are content; about the rest more must be known.
    Undecided { content: usize },
}

/// What ended the line before a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEnd {
    /// Nothing: the boundary is the first line.
    None,
    CrLf,
    Lf,
}

/// Whether a line begins with the boundary.
enum Match {
    Yes,
    No,
    Undecided,
}

impl Boundary {
    pub(super) fn new(boundary: &[u8]) -> Self {
        let dashed = [b"--", boundary].concat();
        Self { dashed, line: memmem::Finder::new(b"\n--"), at_start: true, unmatched: None }
    }

    /// The content of a part begins.
    pub(super) fn begin(&mut self) {
        self.at_start = true;
    }

    /// Searches for the boundary. Only what is not content may be given again.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Found {
        if self.at_start {
            match self.compare(bytes, 0) {
                Match::Yes => {
                    return Found::Boundary { content: 0, behind: self.dashed.len(), ending: LineEnd::None };
                }
                Match::Undecided => return Found::Undecided { content: 0 },
                Match::No => self.at_start = false,
            }
        }
        let mut from = 0;
        while let Some(found) = bytes.get(from..).and_then(|rest| self.line.find(rest)) {
            let at = from + found;
            let (content, ending) = match at.checked_sub(1).map(|before| (before, bytes.get(before))) {
                Some((before, Some(b'\r'))) => (before, LineEnd::CrLf),
                _ => (at, LineEnd::Lf),
            };
            match self.compare(bytes.get(at + 1..).unwrap_or_default(), content) {
                Match::Yes => return Found::Boundary { content, behind: at + 1 + self.dashed.len(), ending },
                Match::Undecided => return Found::Undecided { content },
                Match::No => from = at + 1,
            }
        }
        let open = [&b"\r\n-"[..], b"\n-", b"\r\n", b"\n", b"\r"].into_iter().find(|end| bytes.ends_with(end));
        Found::Undecided { content: bytes.len() - open.map_or(0, <[u8]>::len) }
    }

    /// Compares what follows a line end, and so much content, with the boundary, and looks whether it may be another one.
    fn compare(&mut self, line: &[u8], content: usize) -> Match {
        if line.starts_with(&self.dashed) {
            return Match::Yes;
        }
        if self.dashed.starts_with(line) {
            return Match::Undecided;
        }
        if self.unmatched.is_some() || !line.starts_with(b"--") {
            return Match::No;
        }
        let window = line.get(..LONGEST_LINE).unwrap_or(line);
        let Some(end) = memchr(b'\n', window) else {
            return if line.len() < LONGEST_LINE { Match::Undecided } else { Match::No };
        };
        let next = line.get(end + 1..).unwrap_or_default();
        let begin = next.get(..HEADER.len()).unwrap_or(next);
        match HEADER.get(..begin.len()) {
            Some(header) if header.eq_ignore_ascii_case(begin) && begin.len() < HEADER.len() => Match::Undecided,
            Some(header) if header.eq_ignore_ascii_case(begin) => {
                self.unmatched = Some(content);
                Match::No
            }
            _ => Match::No,
        }
    }
}
