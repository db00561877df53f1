//! Files of requests, in the format that `tests/golden/waf/README.md` describes.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use gatehouse_waf::golden::{self, Case};

use super::RulesError;

/// How the names of such files end, where a directory is searched for them.
const ENDING: &str = "http";

/// The files that are meant: those named, and those in the directories named and below them, by name.
pub(super) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, RulesError> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            search(path, &mut found)?;
        } else {
            found.push(path.clone());
        }
    }
    Ok(found)
}

fn search(directory: &Path, found: &mut Vec<PathBuf>) -> Result<(), RulesError> {
    let unreadable = |error| RulesError::File(format!("cannot read {}", directory.display()), error);
    let entries = fs::read_dir(directory).map_err(unreadable)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(unreadable)?;
    paths.sort();
    for path in paths {
        // A link to a directory is not followed: it could lead back here.
        if path.is_dir() && !path.is_symlink() {
            search(&path, found)?;
        } else if path.extension().is_some_and(|ending| ending == ENDING) {
            found.push(path);
        }
    }
    Ok(())
}

/// The cases of a file.
pub(super) fn read(path: &Path) -> Result<Vec<Case>, RulesError> {
    let text = text(path)?;
    golden::read(&text).map_err(|error| RulesError::Cases(path.display().to_string(), error))
}

/// The cases of a file whose comments and verdicts may be missing.
pub(super) fn read_requests(path: &Path) -> Result<Vec<Case>, RulesError> {
    let mut text = text(path)?;
    let has_comment = text.starts_with('#');
    if !has_comment {
        text.insert_str(0, "# The request.\n");
    }
    if !text.lines().any(|line| line == "----") {
        let separator = if text.ends_with('\n') { "" } else { "\n" };
        text = format!("{text}{separator}----\npass\n");
    }
    golden::read(&text).map_err(|mut error| {
        error.line = error.line.saturating_sub(usize::from(!has_comment)).max(1);
        RulesError::Cases(path.display().to_string(), error)
    })
}

/// A text file; `-` is the standard input.
fn text(path: &Path) -> Result<String, RulesError> {
    let read = if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    read.map_err(|error| RulesError::File(format!("cannot read {}", path.display()), error))
}
