//! `catalog.json` in the state directory: the revision in force, with its signature, so that a node starts with it while Redis
//! is away, and never goes back behind it.

use std::fs;
use std::io::{self, Read as _};

use gatehouse_shared::config::{ConfigError, ConfigErrors};
use gatehouse_shared::process::write_atomically;
use gatehouse_store::catalog::{Head, Sealed};

use super::Settings;
use crate::store::catalog::objects::Objects;

/// The file's name in the state directory.
pub const FILE: &str = "catalog.json";

/// Bytes of the file beside those of the document, and for escaping them.
const SLACK: usize = 64 << 10;

/// A revision that was kept.
#[derive(Debug)]
pub struct Kept {
    /// What is said of it.
    pub head: Head,
    /// What it says.
    pub objects: Objects,
}

/// Reads the revision kept; `None` where there is none yet.
///
/// # Errors
/// When it cannot be read or was not signed with one of the keys.
pub fn read(settings: &Settings) -> Result<Option<Kept>, ConfigErrors> {
    let finding = |message: String| {
        let remedy = "restore the signing key it was made with, or remove the file: the node then waits for Redis";
        ConfigErrors::from(
            ConfigError::about_file(settings.last_good.display().to_string(), message).with_remedy(remedy),
        )
    };
    let file = match fs::File::open(&settings.last_good) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(finding(format!("cannot read the last good catalog: {error}"))),
    };
    let most = settings.document_max.saturating_mul(2).saturating_add(SLACK);
    let mut text = String::new();
    let read = file.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_string(&mut text);
    read.map_err(|error| finding(format!("cannot read the last good catalog: {error}")))?;
    let sealed: Sealed =
        serde_json::from_str(&text).map_err(|error| finding(format!("the last good catalog is damaged: {error}")))?;
    understand(settings, &sealed).map(Some).map_err(|message| finding(format!("the last good catalog: {message}")))
}

/// What a revision says, if it may be believed.
///
/// # Errors
/// A sentence why not.
pub fn understand(settings: &Settings, sealed: &Sealed) -> Result<Kept, String> {
    let head = settings.keys.open(sealed).map_err(|error| error.to_string())?;
    let document =
        serde_json::from_str(&sealed.document).map_err(|error| format!("its document is damaged: {error}"))?;
    let objects = Objects::from_json(document).map_err(|errors| errors.to_string())?;
    Ok(Kept { head, objects })
}

/// Keeps a revision.
///
/// # Errors
/// When it cannot be written.
pub fn write(settings: &Settings, sealed: &Sealed) -> io::Result<()> {
    write_atomically(&settings.last_good, &serde_json::to_vec(sealed)?, 0o600)
}
