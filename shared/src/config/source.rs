//! Files as read, and the hash over everything a load has read.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ring::digest;

use super::error::{ConfigError, ConfigErrors};
use super::secret::{Secret, SecretSource};

/// A configuration file larger than this is a mistake: a million list entries take 20 MB.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// A configuration file as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The name for messages: relative to the configuration directory.
    pub path: PathBuf,
    /// The content.
    pub text: String,
}

impl SourceFile {
    /// Reads `name` in `dir`.
    ///
    /// # Errors
    /// One finding when the file cannot be read, is larger than 256 MiB, or is not UTF-8 (with the position).
    pub fn read(dir: &Path, name: &str) -> Result<Self, ConfigErrors> {
        let bytes = read_bytes(dir, Path::new(name))?;
        Self::from_bytes(Path::new(name), bytes)
    }

    fn from_bytes(name: &Path, bytes: Vec<u8>) -> Result<Self, ConfigErrors> {
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { path: name.to_owned(), text }),
            Err(error) => {
                let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
                let good = String::from_utf8_lossy(good);
                let (line, column) = line_and_column(&good, good.len());
                let message = "the file is not UTF-8 text".to_owned();
                let remedy = Some("save it as UTF-8".to_owned());
                Err(ConfigError { file: name.display().to_string(), line, column, message, remedy }.into())
            }
        }
    }

    /// The name for messages.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }
}

fn read_bytes(dir: &Path, name: &Path) -> Result<Vec<u8>, ConfigErrors> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(dir.join(name))?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    let finding = |message| ConfigErrors::from(ConfigError::about_file(name.display().to_string(), message));
    let bytes = read().map_err(|error| finding(format!("cannot read the file: {error}")))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        return Err(finding("the file is larger than 256 MiB".to_owned()));
    }
    Ok(bytes)
}

/// Line and column (in characters) of a byte offset, both from 1.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// Reads the files and secrets of one load and hashes them, so that an unchanged configuration is recognised whatever
/// file changed its time stamp.
pub struct Sources {
    dir: PathBuf,
    hash: digest::Context,
    files: BTreeSet<PathBuf>,
}

impl Sources {
    /// A load from this directory.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), hash: digest::Context::new(&digest::SHA256), files: BTreeSet::new() }
    }

    /// The directory that relative names are relative to.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads a text file; a relative name is relative to the directory.
    ///
    /// # Errors
    /// As [`SourceFile::read`].
    pub fn read(&mut self, name: impl AsRef<Path>) -> Result<SourceFile, ConfigErrors> {
        let name = name.as_ref();
        let bytes = self.read_bytes(name)?;
        SourceFile::from_bytes(name, bytes)
    }

    /// Reads a file of any content, such as a certificate.
    ///
    /// # Errors
    /// One finding when the file cannot be read or is larger than 256 MiB.
    pub fn read_bytes(&mut self, name: impl AsRef<Path>) -> Result<Vec<u8>, ConfigErrors> {
        let name = name.as_ref();
        self.files.insert(self.dir.join(name));
        let bytes = read_bytes(&self.dir, name)?;
        self.include(&name.display().to_string(), &bytes);
        Ok(bytes)
    }

    /// Reads a large file piece by piece, so that it is never held whole. `known` is what was read from it before: where the
    /// content is still the same, it is given back and `read` is not called.
    ///
    /// # Errors
    /// One finding when the file cannot be read or is larger than 256 MiB, and what `read` finds.
    pub fn read_large<T>(
        &mut self,
        name: impl AsRef<Path>,
        known: Option<(Fingerprint, T)>,
        read: impl FnOnce(&mut Pieces) -> Result<T, ConfigErrors>,
    ) -> Result<(Fingerprint, T), ConfigErrors> {
        let name = name.as_ref();
        let path = self.dir.join(name);
        self.files.insert(path.clone());
        let name = name.display().to_string();
        let finding = |error| ConfigError::about_file(&name, format!("cannot read the file: {error}"));
        if let Some((fingerprint, value)) = known
            && Fingerprint::of(&path).map_err(finding)? == fingerprint
        {
            self.include(&name, &fingerprint.0);
            return Ok((fingerprint, value));
        }
        let mut pieces = Pieces::open(&path).map_err(finding)?;
        let value = read(&mut pieces)?;
        let fingerprint = pieces.finish().map_err(finding)?;
        self.include(&name, &fingerprint.0);
        Ok((fingerprint, value))
    }

    /// Reads a secret.
    ///
    /// # Errors
    /// A sentence for the operator, as [`SecretSource::resolve`].
    pub fn secret(&mut self, source: &SecretSource) -> Result<Secret, String> {
        if let SecretSource::File(path) = source {
            self.files.insert(self.dir.join(path));
        }
        let secret = source.resolve(&self.dir)?;
        self.include(&source.to_string(), secret.expose());
        Ok(secret)
    }

    /// Lets anything else count into the hash, such as a generated value.
    pub fn include(&mut self, name: &str, bytes: &[u8]) {
        for part in [name.as_bytes(), bytes] {
            self.hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            self.hash.update(part);
        }
    }

    /// The first 16 hexadecimal digits of the SHA-256 of everything read, in reading order, and the files read.
    #[must_use]
    pub fn finish(self) -> (String, Vec<PathBuf>) {
        (short_hex(&self.hash.finish()), self.files.into_iter().collect())
    }
}

/// The SHA-256 of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Takes the fingerprint of a file, piece by piece.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        Pieces::open(path)?.finish()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// In hexadecimal digits, as `sha256sum` prints it.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A file that is hashed while it is read.
pub struct Pieces {
    file: io::Take<File>,
    length: u64,
    hash: digest::Context,
}

/// How much is read at once.
const PIECE_BYTES: usize = 64 << 10;

impl Pieces {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file: file.take(MAX_FILE_BYTES + 1), length, hash: digest::Context::new(&digest::SHA256) })
    }

    /// How many bytes the file had when it was opened.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Reads what is left of the file.
    fn finish(mut self) -> io::Result<Fingerprint> {
        let mut piece = vec![0; PIECE_BYTES];
        while self.read(&mut piece)? > 0 {}
        let mut fingerprint = [0; 32];
        fingerprint.iter_mut().zip(self.hash.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Ok(Fingerprint(fingerprint))
    }
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        if self.file.limit() == 0 {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 256 MiB"));
        }
        self.hash.update(into.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// The first 16 hexadecimal digits of a digest.
pub(crate) fn short_hex(digest: &digest::Digest) -> String {
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_at_the_first_bad_byte() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("edge.toml"), b"a = 1\nb\xc3\xb6 = \"\xff\"\n").unwrap();
        let error = SourceFile::read(dir.path(), "edge.toml").unwrap_err();
        assert_eq!(error.to_string(), "edge.toml:2:7: the file is not UTF-8 text (save it as UTF-8)");
    }

    #[test]
    fn names_a_missing_file() {
        let dir = tempfile::tempdir().unwrap();
        let error = SourceFile::read(dir.path(), "edge.toml").unwrap_err();
        assert!(error.to_string().starts_with("edge.toml: cannot read the file: "), "{error}");
    }

    #[test]
    fn a_large_file_is_read_again_only_when_its_content_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let load = |text: &str, known| {
            std::fs::write(dir.path().join("list"), text).unwrap();
            let mut sources = Sources::new(dir.path());
            let read = sources.read_large("list", known, |pieces| {
                let mut first = [0; 2];
                pieces.read_exact(&mut first).unwrap();
                Ok(first)
            });
            (read.unwrap(), sources.finish())
        };
        let ((fingerprint, first), (hash, files)) = load("first", None);
        assert_eq!((first, files), (*b"fi", vec![dir.path().join("list")]));
        let ((_, kept), (same, _)) = load("first", Some((fingerprint, *b"..")));
        assert_eq!((kept, &same), (*b"..", &hash));
        // Read only in part, and yet the whole content counts.
        let ((_, changed), (other, _)) = load("fifth", Some((fingerprint, *b"..")));
        assert_eq!(changed, *b"fi");
        assert_ne!(other, hash);
        let ((_, read), (again, _)) = load("fifth", None);
        assert_eq!((read, again), (*b"fi", other));
    }

    #[test]
    fn names_a_missing_large_file() {
        let dir = tempfile::tempdir().unwrap();
        let error = Sources::new(dir.path()).read_large("list", None, |_| Ok(())).unwrap_err().to_string();
        assert!(error.starts_with("list: cannot read the file: "), "{error}");
    }

    #[test]
    fn the_hash_covers_names_and_contents_of_files_and_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let hash = |first: &str, second: &str| {
            std::fs::write(dir.path().join("a"), first).unwrap();
            std::fs::write(dir.path().join("b"), second).unwrap();
            let mut sources = Sources::new(dir.path());
            sources.read("a").unwrap();
            sources.secret(&SecretSource::File("b".into())).unwrap();
            sources.finish().0
        };
        let hashes = [hash("12", "3"), hash("1", "23"), hash("12", "4"), hash("12", "3")];
        assert_eq!(hashes[0], hashes[3]);
        assert_ne!(hashes[0], hashes[1]);
        assert_ne!(hashes[0], hashes[2]);
        assert_eq!(hashes[0].len(), 16);
    }
}
