//! The file of token hashes in the state directory.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::Role;
use crate::clock;
use crate::process::write_atomically;

/// The file of hashes.
pub(super) const FILE: &str = "admin-tokens.toml";

/// Why tokens cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A file or directory cannot be read or written.
    #[error("\"{}\" cannot be used", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Others may read the file.
    #[error("\"{}\" can be read by others: chmod 600 it, and revoke the tokens if others are not trusted", .0.display())]
    Readable(PathBuf),
    /// The file is damaged.
    #[error("\"{}\" is damaged", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: toml::de::Error,
    },
    /// A token of this name exists.
    #[error("there is a token \"{0}\" already")]
    NameTaken(String),
    /// A name that is not fit.
    #[error("\"{0}\" is not a token name (1 to 64 of letters, digits, -, _ and .)")]
    Name(String),
    /// There is no token of this name.
    #[error("there is no token \"{0}\"")]
    Unknown(String),
    /// The operating system gives no random bytes.
    #[error("no random bytes")]
    Random,
}

/// A token as stored: its hash, never itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// Its name, for the audit log.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// The SHA-256 of the token, in hexadecimal digits.
    pub sha256: String,
    /// When it was made.
    pub created: String,
}

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Records {
    #[serde(default)]
    pub(super) token: Vec<TokenRecord>,
}

impl Records {
    /// Reads the file; `None` when there is none yet.
    pub(super) fn read(state_dir: &Path) -> Result<Option<Self>, TokenError> {
        let path = state_dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(TokenError::Io { path, cause }),
        };
        let metadata = fs::metadata(&path).map_err(|cause| TokenError::Io { path: path.clone(), cause })?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(TokenError::Readable(path));
        }
        toml::from_str(&text).map(Some).map_err(|cause| TokenError::Damaged { path, cause })
    }

    pub(super) fn write(&self, state_dir: &Path) -> Result<(), TokenError> {
        let path = state_dir.join(FILE);
        let mut text = String::from("# Hashes of admin tokens; changed by the commands token add and token revoke.\n");
        for TokenRecord { name, role, sha256, created } in &self.token {
            // Names and hashes hold nothing that would need escaping.
            text.push_str(&format!(
                "\n[[token]]\nname = \"{name}\"\nrole = \"{role}\"\nsha256 = \"{sha256}\"\ncreated = \"{created}\"\n"
            ));
        }
        write_private(&path, text.as_bytes())
    }

    /// Adds a new token and gives it in clear: the only time it is known.
    pub(super) fn generate(&mut self, name: &str, role: Role) -> Result<String, TokenError> {
        if !crate::process::is_node_name(name) {
            return Err(TokenError::Name(name.to_owned()));
        }
        if self.token.iter().any(|record| record.name == name) {
            return Err(TokenError::NameTaken(name.to_owned()));
        }
        let mut random = [0_u8; 32];
        SystemRandom::new().fill(&mut random).map_err(|_unspecified| TokenError::Random)?;
        let token = format!("gh_{role}_{}", hex(&random));
        let sha256 = hash(&token);
        self.token.push(TokenRecord { name: name.to_owned(), role, sha256, created: clock::rfc3339(clock::unix_ms()) });
        Ok(token)
    }
}

/// Writes a file only its owner can read.
pub(super) fn write_private(path: &Path, content: &[u8]) -> Result<(), TokenError> {
    write_atomically(path, content, 0o600).map_err(|cause| TokenError::Io { path: path.to_owned(), cause })
}

/// The hash under which a token is stored. Tokens hold 256 random bits, so one plain hash is enough.
pub(super) fn hash(token: &str) -> String {
    hex(digest::digest(&digest::SHA256, token.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
