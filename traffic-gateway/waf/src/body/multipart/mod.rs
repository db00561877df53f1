//! `multipart/form-data` (RFC 7578, RFC 2046), piece by piece.
//!
//! Lines may end with LF, which most servers accept; that and other looseness is noted as a [`Fault`]. Fields are
//! collected and handed over whole, file content streams. A boundary that two pieces share is found: what might begin
//! one is carried over.
//!
//! Linear: content is searched for `LF--` once; at each find at most 210 bytes are looked at, and only those
//! are looked at again when they are carried over. Header lines are searched for their end once.
//!
//! [`Reader::read_so_far`] says up to where a body that is not complete was read whole, part by part, so that long files
//! can go on before their end.

mod boundary;
mod part;

use memchr::memchr;

use self::boundary::{Boundary, Found, LineEnd};
use self::part::{Headers, Part};
use super::outcome::{Fault, Outcome, Progress};
use super::{Limits, Malformed, Sink, media_type};

/// Where in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first boundary.
    Preamble,
    /// Directly behind a boundary: `--` or the rest of the line.
    BoundaryEnd,
    /// In the rest of a boundary line, which should be empty.
    Padding,
    /// In the header lines of a part.
    Headers,
    /// In the content of a part.
    Content,
    /// Behind the last boundary.
    Epilogue,
}

/// Reads a multipart body from pieces.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    limits: Limits,
    boundary: Boundary,
    state: State,
    /// What could not be decided yet.
    carry: Vec<u8>,
    /// Bytes of a header line that hold no line end, as is known from an earlier piece.
    searched: usize,
    headers: Headers,
    part: Part,
    parts: u32,
    /// Bytes that may still come, files not counted.
    room: u64,
    /// Bytes that came.
    fed: u64,
    /// Where the boundary begins behind which is read.
    part_begins: u64,
    /// Bytes of files.
    of_files: u64,
    progress: Progress,
}

/// How far a body was read that is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadSoFar {
    /// Bytes from the beginning of the body that belong to parts read whole, or to a file: nothing that follows changes
    /// how they were read.
    pub whole: u64,
    /// Bytes of files. What only some servers take for a file (an empty name, `filename*` alone) is none here.
    pub of_files: u64,
    /// Whether `whole` ends in a file.
    pub in_file: bool,
}

impl Reader {
    pub(super) fn new(content_type: &[u8], limits: &Limits) -> Self {
        let mut progress = Progress::default();
        let boundary = media_type::boundary(content_type, &mut progress.outcome.faults).unwrap_or_else(|malformed| {
            progress.fail(malformed);
            Vec::new()
        });
        Self {
            limits: *limits,
            boundary: Boundary::new(&boundary),
            state: State::Preamble,
            carry: Vec::new(),
            searched: 0,
            headers: Headers::default(),
            part: Part::default(),
            parts: 0,
            room: limits.body_bytes,
            fed: 0,
            part_begins: 0,
            of_files: 0,
            progress,
        }
    }

    pub(super) fn feed(&mut self, piece: &[u8], sink: &mut impl Sink) {
        self.fed = self.fed.saturating_add(piece.len() as u64);
        if self.progress.stopped {
            return;
        }
        if self.carry.is_empty() {
            let rest = self.read(piece, sink);
            self.carry.extend_from_slice(rest);
            return;
        }
        let mut carry = std::mem::take(&mut self.carry);
        carry.extend_from_slice(piece);
        let rest = self.read(&carry, sink).len();
        carry.drain(..carry.len().saturating_sub(rest));
        self.carry = carry;
    }

    pub(super) fn finish(mut self, sink: &mut impl Sink) -> Outcome {
        if !self.progress.stopped && self.state != State::Epilogue {
            if self.state == State::Content {
                let carry = std::mem::take(&mut self.carry);
                self.content(&carry, sink);
            }
            self.stop(Malformed::Truncated, sink);
        }
        self.progress.outcome
    }

    /// How far the body was read.
    pub(super) fn read_so_far(&self) -> ReadSoFar {
        let in_file = self.state == State::Content && !self.progress.stopped && self.part.is_surely_file();
        let whole = if in_file { self.fed.saturating_sub(self.carry.len() as u64) } else { self.part_begins };
        ReadSoFar { whole, of_files: self.of_files, in_file }
    }

    /// What was found odd so far.
    pub(super) fn outcome_so_far(&self) -> Outcome {
        self.progress.outcome
    }

    /// What [`finish`](Self::finish) would say if the body ended here and were complete. Of the part that is being read a
    /// file is handed over with the size it has; a field is not.
    pub(super) fn finish_so_far(self, sink: &mut impl Sink) -> Outcome {
        if self.read_so_far().in_file {
            self.part.hand_over_file(sink);
        }
        self.progress.outcome
    }

    /// Stops, and hands over what was read of the current part.
    fn stop(&mut self, malformed: Malformed, sink: &mut impl Sink) {
        if self.progress.stopped {
            return;
        }
        self.progress.fail(malformed);
        if self.state == State::Content {
            self.part.end(&mut self.progress, self.limits.arguments, sink);
        }
    }

    /// Reads as far as can be decided, and returns the rest.
    fn read<'a>(&mut self, bytes: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let mut rest = bytes;
        while !self.progress.stopped {
            let step = match self.state {
                State::Preamble | State::Content => self.until_boundary(rest, sink),
                State::BoundaryEnd => self.boundary_end(rest),
                State::Padding => self.padding(rest),
                State::Headers => self.header_line(rest, sink),
                State::Epilogue => {
                    let blank = rest.iter().all(u8::is_ascii_whitespace);
                    self.progress.outcome.faults.insert_if(Fault::DataAfter, !blank);
                    return &[];
                }
            };
            match step {
                Step::On(behind) => rest = behind,
                Step::Wait(undecided) => return undecided,
            }
        }
        &[]
    }

    fn until_boundary<'a>(&mut self, bytes: &'a [u8], sink: &mut impl Sink) -> Step<'a> {
        let found = self.boundary.find(bytes);
        let (Found::Boundary { content, .. } | Found::Undecided { content }) = found;
        let (content, rest) = bytes.split_at_checked(content).unwrap_or((bytes, &[]));
        let is_bounded = self.state == State::Content && !self.part.is_file();
        let room = if is_bounded { self.room } else { u64::MAX };
        self.content(content, sink);
        // What stands behind the end of reading is found only when it comes in the same piece: it counts for nothing.
        let unmatched = self.boundary.unmatched.is_some_and(|content| content as u64 <= room);
        self.progress.outcome.faults.insert_if(Fault::UnmatchedBoundary, unmatched);
        if self.progress.stopped {
            return Step::Wait(&[]);
        }
        let Found::Boundary { behind, ending, .. } = found else { return Step::Wait(rest) };
        self.part_begins = self.fed.saturating_sub(rest.len() as u64);
        self.progress.outcome.faults.insert_if(Fault::LfLine, ending == LineEnd::Lf);
        if self.state == State::Content {
            self.part.end(&mut self.progress, self.limits.arguments, sink);
        }
        self.state = State::BoundaryEnd;
        Step::On(bytes.get(behind..).unwrap_or_default())
    }

    /// Hands on what is surely content.
    fn content(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        if self.state == State::Preamble {
            let empty = bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
            self.progress.outcome.faults.insert_if(Fault::DataBefore, !empty);
        } else if self.part.is_file() {
            if self.part.is_surely_file() {
                self.of_files = self.of_files.saturating_add(bytes.len() as u64);
            }
            self.part.content(bytes, sink);
        } else {
            let allowed = self.spend(bytes.len());
            self.part.content(bytes.get(..allowed).unwrap_or_default(), sink);
            if allowed < bytes.len() {
                self.stop(Malformed::TooLong, sink);
            }
        }
    }

    /// Takes bytes from those that may still come; how many there were.
    fn spend(&mut self, bytes: usize) -> usize {
        let allowed = bytes.min(usize::try_from(self.room).unwrap_or(usize::MAX));
        self.room -= allowed as u64;
        allowed
    }

    fn boundary_end<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        match bytes {
            [] | [b'-'] => return Step::Wait(bytes),
            [b'-', b'-', rest @ ..] => {
                self.state = State::Epilogue;
                return Step::On(rest);
            }
            [b'-', ..] => self.progress.fail(Malformed::BoundaryLine),
            _ => self.state = State::Padding,
        }
        Step::On(bytes)
    }

    fn padding<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        match bytes {
            [] | [b'\r'] => return Step::Wait(bytes),
            [b'\r', b'\n', rest @ ..] => {
                self.state = State::Headers;
                return Step::On(rest);
            }
            [b'\n', rest @ ..] => {
                self.progress.fault(Fault::LfLine);
                self.state = State::Headers;
                return Step::On(rest);
            }
            [b' ' | b'\t', rest @ ..] => {
                self.progress.fault(Fault::BoundaryWhitespace);
                return Step::On(rest);
            }
            _ => self.progress.fail(Malformed::BoundaryLine),
        }
        Step::On(bytes)
    }

    fn header_line<'a>(&mut self, bytes: &'a [u8], sink: &mut impl Sink) -> Step<'a> {
        let end = bytes.get(self.searched..).and_then(|unseen| memchr(b'\n', unseen)).map(|end| end + self.searched);
        let length = end.map_or(bytes.len(), |end| end + 1);
        if self.headers.len().saturating_add(length) > self.limits.part_header_bytes {
            self.stop(Malformed::PartHeadersTooLong, sink);
            return Step::On(bytes);
        }
        let Some((line, rest)) = end.and_then(|end| bytes.split_at_checked(end)) else {
            self.searched = bytes.len();
            return Step::Wait(bytes);
        };
        self.searched = 0;
        if self.spend(length) < length {
            self.stop(Malformed::TooLong, sink);
            return Step::On(bytes);
        }
        let complete = line.strip_suffix(b"\r");
        self.progress.outcome.faults.insert_if(Fault::LfLine, complete.is_none());
        match complete.unwrap_or(line) {
            [] => self.begin_part(sink),
            line => self.headers.push(line, &mut self.progress.outcome.faults),
        }
        Step::On(rest.get(1..).unwrap_or_default())
    }

    fn begin_part(&mut self, sink: &mut impl Sink) {
        if self.parts >= self.limits.parts {
            return self.stop(Malformed::TooManyParts, sink);
        }
        self.parts += 1;
        self.part.begin(&self.headers, &mut self.progress);
        for line in self.headers.lines() {
            sink.part_header(&self.part.field, line);
        }
        self.headers.clear();
        self.boundary.begin();
        self.state = State::Content;
    }
}

/// How far reading came.
enum Step<'a> {
    /// This is to be read next.
    On(&'a [u8]),
    /// About this more must be known.
    Wait(&'a [u8]),
}
