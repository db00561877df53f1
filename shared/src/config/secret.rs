//! Secrets: named in configuration by file or environment variable, never written there.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A secret file larger than this is a mistake.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Where a secret comes from: `{ file = "hop.key" }` or `{ env = "GATEHOUSE_HOP_KEY" }`.
///
/// A relative file is relative to the configuration directory. One line feed (or CR LF) at the end is not part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
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

/// By hand, so that an error never shows a secret that somebody has written in clear.
impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SourceVisitor)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Kind {
    File,
    Env,
}

struct SourceVisitor;

/// What to write instead of a secret.
const FORMS: &str = "{ file = \"PATH\" } or { env = \"NAME\" }";

impl<'de> Visitor<'de> for SourceVisitor {
    type Value = SecretSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FORMS)
    }

    fn visit_str<E: Error>(self, _secret: &str) -> Result<SecretSource, E> {
        Err(E::custom(format_args!("a secret is never written here: use {FORMS}")))
    }

    fn visit_i64<E: Error>(self, _secret: i64) -> Result<SecretSource, E> {
        self.visit_str("")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<SecretSource, M::Error> {
        let only_one = || M::Error::custom(format_args!("must be exactly one of {FORMS}"));
        let source = match map.next_key()?.ok_or_else(only_one)? {
            Kind::File => SecretSource::File(map.next_value()?),
            Kind::Env => SecretSource::Env(map.next_value()?),
        };
        match map.next_key::<Kind>()? {
            None => Ok(source),
            Some(_) => Err(only_one()),
        }
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
    use crate::config::{SourceFile, parse};

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

    #[derive(Debug, Deserialize)]
    struct Keys {
        key: SecretSource,
    }

    fn read(text: &str) -> Result<SecretSource, String> {
        let file = SourceFile { path: "edge.toml".into(), text: text.to_owned() };
        parse::<Keys>(&file).map(|document| document.value.key).map_err(|errors| errors.to_string())
    }

    #[test]
    fn is_written_as_a_file_or_a_variable() {
        assert_eq!(read("key = { file = \"hop.key\" }"), Ok(SecretSource::File("hop.key".into())));
        assert_eq!(read("key = { env = \"KEY\" }"), Ok(SecretSource::Env("KEY".into())));
        let one = "edge.toml:1:7: \"key\": must be exactly one of { file = \"PATH\" } or { env = \"NAME\" }";
        assert_eq!(read("key = {}"), Err(one.to_owned()));
        assert_eq!(read("key = { env = \"KEY\", file = \"x\" }"), Err(one.to_owned()));
        let unknown = "edge.toml:1:9: unknown key \"fil\" in [key] (did you mean \"file\"?)";
        assert!(read("key = { fil = \"x\" }").unwrap_err().contains(unknown));
    }

    #[test]
    fn an_error_never_shows_a_secret_written_in_clear() {
        for text in ["key = \"tops3cret\"", "key = 7355608"] {
            assert_eq!(
                read(text).unwrap_err(),
                "edge.toml:1:7: \"key\": a secret is never written here: use { file = \"PATH\" } or { env = \"NAME\" }"
            );
        }
    }

    #[test]
    fn names_a_missing_variable() {
        let error = SecretSource::Env("GATEHOUSE_TEST_UNSET".into()).resolve(Path::new("/")).unwrap_err();
        assert!(error.contains("\"GATEHOUSE_TEST_UNSET\""), "{error}");
    }
}
