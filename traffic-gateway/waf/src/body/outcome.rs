//! How reading a body ended.

use super::Malformed;

/// An oddity of a body that does not keep it from being read. Each is one bit of [`Faults`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A `%` without two hexadecimal digits behind it; it is kept as it stands (`URLENCODED_ERROR`).
    InvalidEscape,
    /// A line inside a part that looks like a boundary of another body: `--`, up to 200 bytes, and a line that begins
    /// with `Content-` (`MULTIPART_UNMATCHED_BOUNDARY`).
    UnmatchedBoundary,
    /// The boundary of the content type is quoted. Allowed by RFC 2046, so no part of the strict error.
    BoundaryQuoted,
    /// White space around the boundary, in the content type or behind a boundary line.
    BoundaryWhitespace,
    /// Data before the first boundary.
    DataBefore,
    /// Data behind the last boundary.
    DataAfter,
    /// A part header that goes on in the next line.
    HeaderFolding,
    /// A folded line before any header.
    InvalidHeaderFolding,
    /// A line that ends with LF alone.
    LfLine,
    /// Parameters without a semicolon between them.
    MissingSemicolon,
    /// Single quotes, a quote that does not end, or a backslash before a quote.
    InvalidQuoting,
    /// A part header without a colon or a name, or with a byte no header has.
    InvalidPart,
    /// `filename*`, which RFC 7578 forbids in forms.
    ExtendedFilename,
    /// Two `filename` parameters of one kind, or a parameter nobody knows.
    OddParameter,
    /// A Content-Transfer-Encoding, deprecated by RFC 7578.
    TransferEncoding,
}

/// A set of [`Fault`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults(u32);

impl Faults {
    /// Adds a fault.
    pub const fn insert(&mut self, fault: Fault) {
        self.0 |= 1 << (fault as u32);
    }

    /// Adds a fault if something is so.
    pub(super) const fn insert_if(&mut self, fault: Fault, seen: bool) {
        if seen {
            self.insert(fault);
        }
    }

    /// Adds the faults of another set.
    pub(super) const fn merge(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether a fault was seen.
    #[must_use]
    pub const fn contains(self, fault: Fault) -> bool {
        self.0 & (1 << (fault as u32)) != 0
    }

    /// Whether none was seen.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether one of the faults was seen that `MULTIPART_STRICT_ERROR` sums up: all but the three that have a variable
    /// of their own or are allowed.
    #[must_use]
    pub const fn strict_error(self) -> bool {
        let apart = 1 << (Fault::InvalidEscape as u32)
            | 1 << (Fault::UnmatchedBoundary as u32)
            | 1 << (Fault::BoundaryQuoted as u32);
        self.0 & !apart != 0
    }
}

/// What [`BodyReader::finish`](super::BodyReader::finish) says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The first thing that was wrong (`REQBODY_ERROR`, `REQBODY_ERROR_MSG`).
    pub malformed: Option<Malformed>,
    /// Oddities.
    pub faults: Faults,
    /// Values handed over, as [`Limits::arguments`](super::Limits::arguments) counts them.
    pub arguments: u32,
}

/// What all readers keep track of.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    pub(super) outcome: Outcome,
    pub(super) stopped: bool,
}

impl Progress {
    /// Remembers what is wrong, and stops if that ends reading.
    pub(super) const fn fail(&mut self, malformed: Malformed) {
        if self.outcome.malformed.is_none() {
            self.outcome.malformed = Some(malformed);
        }
        if malformed.ends_reading() {
            self.stopped = true;
        }
    }

    /// Remembers an oddity.
    pub(super) const fn fault(&mut self, fault: Fault) {
        self.outcome.faults.insert(fault);
    }

    /// Counts a value; `false`, and the end of reading, when it is one too many.
    pub(super) const fn count(&mut self, limit: u32) -> bool {
        if self.outcome.arguments >= limit {
            self.fail(Malformed::TooManyArguments);
            return false;
        }
        self.outcome.arguments += 1;
        true
    }
}
