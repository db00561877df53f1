//! Secrets: named in configuration by file or environment variable, never written there.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A secret file larger than this is a mistake.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Where a secret comes from: `{ file = "hop.key" }` or `{ env = "GATEHOUSE_HOP_KEY" }`.
///
/// A relative file is relative to the configuration directory. One line feed (or CR LF) at the end is not part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// The content of a file.
    File(PathBuf),
    /// The value of an environment variable.
    Env(String),
}

impl SecretSource {
    /// Reads the secret.
    ///
    /// # Errors
    /// A sentence for the operator when the file or variable is missing, empty or too large; it never shows the secret.
    pub fn resolve(&self, dir: &Path) -> Result<Secret, String> {
        let bytes = match self {
            SecretSource::File(path) => read_bounded(&dir.join(path))
                .map_err(|error| format!("cannot read the secret file \"{}\": {error}", path.display()))?,
            SecretSource::Env(name) => std::env::var(name)
                .map_err(|error| format!("cannot read the secret from the environment variable \"{name}\": {error}"))?
                .into_bytes(),
        };
        let secret = Secret::new(bytes);
        if secret.expose().is_empty() { Err(format!("the secret in {self} is empty")) } else { Ok(secret) }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::File(path) => write!(f, "file \"{}\"", path.display()),
            SecretSource::Env(name) => write!(f, "environment variable \"{name}\""),
        }
    }
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_SECRET_BYTES {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than 64 KiB"));
    }
    Ok(bytes)
}

/// The bytes of a secret. Neither `Debug` nor anything else shows them; [`Secret::expose`] is where they leave.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// A secret from its bytes; one line feed (or CR LF) at the end is removed.
    #[must_use]
    pub fn new(mut bytes: Vec<u8>) -> Self {
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        Self(bytes.into_boxed_slice())
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_file_without_its_line_end() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("hop.key"), "s3cret\r\n").unwrap();
        let secret = SecretSource::File("hop.key".into()).resolve(dir.path()).unwrap();
        assert_eq!(secret.expose(), b"s3cret");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn refuses_a_missing_an_empty_and_a_huge_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("empty"), "\n").unwrap();
        std::fs::write(dir.path().join("huge"), vec![b'x'; 70_000]).unwrap();
        let resolve = |name: &str| SecretSource::File(name.into()).resolve(dir.path()).unwrap_err();
        assert!(resolve("missing").starts_with("cannot read the secret file \"missing\": "));
        assert_eq!(resolve("empty"), "the secret in file \"empty\" is empty");
        assert!(resolve("huge").ends_with("larger than 64 KiB"));
    }

    #[test]
    fn names_a_missing_variable() {
        let error = SecretSource::Env("GATEHOUSE_TEST_UNSET".into()).resolve(Path::new("/")).unwrap_err();
        assert!(error.contains("\"GATEHOUSE_TEST_UNSET\""), "{error}");
    }
}
