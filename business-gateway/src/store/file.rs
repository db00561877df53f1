//! The catalog as a file: `catalog.toml` in the configuration directory.

use gatehouse_shared::config::{ConfigErrors, Document, Sources, parse};

use super::catalog::CatalogConfig;

/// The file's name in the configuration directory.
pub const CATALOG: &str = "catalog.toml";

/// Reads the catalog as written.
///
/// # Errors
/// When the file cannot be read, or holds anything but a catalog.
pub fn read(sources: &mut Sources) -> Result<Document<CatalogConfig>, ConfigErrors> {
    parse(&sources.read(CATALOG)?)
}
