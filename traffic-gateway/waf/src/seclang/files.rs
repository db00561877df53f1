//! Where rule files come from: directories in the product, memory in tests.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use super::MAX_BYTES;

/// Reads files of rules and the files they name.
pub trait Files {
    /// The content of a file.
    ///
    /// # Errors
    ///
    /// When it does not exist, cannot be read or is larger than [`MAX_BYTES`].
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The names of the files directly in a directory, in any order.
    ///
    /// # Errors
    ///
    /// When the directory does not exist or cannot be read.
    fn names(&self, directory: &Path) -> io::Result<Vec<String>>;
}

/// The files of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_BYTES.saturating_add(1)).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {MAX_BYTES} bytes")));
        }
        Ok(bytes)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            if entry.path().is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// Files in memory, by their path.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Memory {
    /// Adds a file.
    #[must_use]
    pub fn with(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(normal(Path::new(path)), content.into());
        self
    }
}

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.get(&normal(path)).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let directory = normal(directory);
        let inside = self.files.keys().filter(|path| path.parent() == Some(&directory));
        Ok(inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }
}

/// The path of a file that another file names: relative to the directory of the latter.
///
/// `@pmFromFile` and `@ipMatchFromFile` find their files like this, too.
#[must_use]
pub fn beside(file: &str, named: &str) -> PathBuf {
    let directory = Path::new(file).parent().unwrap_or_else(|| Path::new(""));
    normal(&directory.join(named))
}

/// The path without `.` and, where that is possible without asking the disk, without `..`.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(normal.components().next_back(), Some(Component::Normal(_))) => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

/// Whether the last part of a path is a pattern.
pub(super) fn is_pattern(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.contains(['*', '?']))
}

/// The files a pattern means, sorted by name.
pub(super) fn expand(files: &dyn Files, pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = pattern.parent().unwrap_or_else(|| Path::new(""));
    if is_pattern(directory) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "* and ? stand only in the last part of a path"));
    }
    let wanted = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut names = files.names(directory)?;
    names.retain(|name| matches(wanted.as_bytes(), name.as_bytes()));
    names.sort_unstable();
    Ok(names.into_iter().map(|name| directory.join(name)).collect())
}

/// Whether a name fits a pattern in which `*` stands for any text and `?` for one byte. A leading dot has to be written.
///
/// Goes back to the last `*` only, so the time is at most the product of both lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(n) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted == byte => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((star_p, star_n)) = star else { return false };
                star = Some((star_p, star_n + 1));
                p = star_p + 1;
                n = star_n + 1;
            }
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}
