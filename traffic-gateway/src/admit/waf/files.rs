//! The files of rules, read as every other file of the configuration: their content counts into the generation's hash, and
//! they are watched.

use std::{
    cell::RefCell,
    io,
    path::{Path, PathBuf},
};

use gatehouse_shared::config::Sources;
use gatehouse_waf::seclang::files::{Disk, Files};
use ring::digest::{SHA256, digest};

use super::crs;

/// What was read, in order: the files and directories with the SHA-256 of what they hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Read(Vec<(PathBuf, [u8; 32])>);

/// Reads for the parser of rules.
pub(super) struct RuleFiles<'a> {
    sources: RefCell<&'a mut Sources>,
    read: RefCell<Read>,
    /// What is read by the name [`crs::SETTINGS`], though it is no file.
    text: Option<String>,
}

impl<'a> RuleFiles<'a> {
    pub(super) fn new(sources: &'a mut Sources, text: Option<String>) -> Self {
        Self { sources: RefCell::new(sources), read: RefCell::default(), text }
    }

    /// Whether there is something by the name [`crs::SETTINGS`].
    pub(super) const fn has_text(&self) -> bool {
        self.text.is_some()
    }

    /// Whether what was read before is still the same. It counts as read again.
    pub(super) fn is_still(&self, before: &Read) -> bool {
        let is_same = before.0.iter().all(|(path, hash)| {
            let now = if path.extension().is_none() && self.is_directory(path) {
                self.names(path).map(|names| names.join("\n").into_bytes())
            } else {
                self.read(path)
            };
            now.is_ok_and(|bytes| sha256(&bytes) == *hash)
        });
        if !is_same {
            self.read.take();
        }
        is_same
    }

    /// What was read.
    pub(super) fn finish(self) -> Read {
        self.read.into_inner()
    }

    fn is_directory(&self, path: &Path) -> bool {
        self.sources.borrow().dir().join(path).is_dir()
    }

    fn note(&self, path: &Path, bytes: &[u8]) {
        self.read.borrow_mut().0.push((path.to_owned(), sha256(bytes)));
    }
}

impl Files for RuleFiles<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if let Some(text) = self.text.as_ref().filter(|_| path == Path::new(crs::SETTINGS)) {
            return Ok(text.clone().into_bytes());
        }
        if !self.sources.borrow().dir().join(path).exists() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "there is no such file"));
        }
        let bytes = self.sources.borrow_mut().read_bytes(path).map_err(|errors| {
            let first = errors.sorted().first().map(|error| error.message.clone());
            io::Error::other(first.unwrap_or_default())
        })?;
        self.note(path, &bytes);
        Ok(bytes)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut sources = self.sources.borrow_mut();
        let mut names = Disk.names(&sources.dir().join(directory))?;
        names.sort();
        let listed = names.join("\n").into_bytes();
        sources.include(&directory.display().to_string(), &listed);
        self.note(directory, &listed);
        Ok(names)
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().unwrap_or_default()
}
