//! Finds what somebody has done to the file.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use serde::Deserialize;

use super::{FILE, HASH_KEY, Head, hash_of, read_head, sha256};

/// The action of a line that a start writes when it finds the file shorter than its head says.
pub(super) const CUT_OFF: &str = "audit.cut_off";

/// A log in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The last line.
    pub head: Head,
}

/// The first thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A line that nobody but an editor can have written.
    #[error("line {0} is not a line of an audit log")]
    Unreadable(usize),
    /// A line whose hash does not fit.
    #[error("line {0} has been changed: its hash does not fit")]
    Changed(usize),
    /// A line that does not follow the one before it.
    #[error("before line {0} lines are missing, or lines have been moved: it does not follow the line before it")]
    Order(usize),
    /// A start of the gateway has found the end of the file missing.
    #[error("before line {0} the end of the file was missing when the gateway was started")]
    CutOffBefore(usize),
    /// The file ends before the line that its head names.
    #[error("the end is missing: {found} lines, where {FILE} has had {expected}")]
    CutOff {
        /// Lines found.
        found: u64,
        /// The number of the last line by the head.
        expected: u64,
    },
    /// The last line is not the one that the head names.
    #[error("the last line is not the one that was written last")]
    Head,
}

#[derive(Deserialize)]
struct Line {
    number: u64,
    previous: String,
    action: String,
}

/// Reads the log of a state directory to its end, or to the first line that is not as it was written.
///
/// # Errors
/// The file cannot be read.
pub fn verify(dir: &Path) -> io::Result<Result<Verified, Finding>> {
    let mut head = Head::default();
    for (index, line) in BufReader::new(File::open(dir.join(FILE))?).lines().enumerate() {
        match follow(&head, &line?, index + 1) {
            Ok(next) => head = next,
            Err(finding) => return Ok(Err(finding)),
        }
    }
    let kept = read_head(dir);
    if kept.number > head.number {
        return Ok(Err(Finding::CutOff { found: head.number, expected: kept.number }));
    }
    // A crash may leave the head one write behind, which then names an earlier line.
    if kept.number == head.number && kept.hash != head.hash {
        return Ok(Err(Finding::Head));
    }
    Ok(Ok(Verified { head }))
}

fn follow(before: &Head, text: &str, number: usize) -> Result<Head, Finding> {
    let hash = hash_of(text).ok_or(Finding::Unreadable(number))?;
    let (hashed, _) = text.rsplit_once(HASH_KEY).ok_or(Finding::Unreadable(number))?;
    if sha256(hashed) != hash {
        return Err(Finding::Changed(number));
    }
    let line: Line = serde_json::from_str(text).map_err(|_no_line| Finding::Unreadable(number))?;
    if line.number != before.number + 1 || line.previous != before.hash {
        return Err(Finding::Order(number));
    }
    if line.action == CUT_OFF {
        return Err(Finding::CutOffBefore(number));
    }
    Ok(Head { number: line.number, hash: hash.to_owned() })
}
