//! Configuration of a process under test: TOML that fragments are laid over.

use std::path::Path;

use anyhow::Context as _;
use toml::{Table, Value};

/// A TOML document under construction.
#[derive(Debug, Clone, Default)]
pub struct Settings(Table);

impl Settings {
    /// Reads a whole document.
    ///
    /// # Errors
    /// `text` is not TOML.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(Self(text.parse().with_context(|| format!("in the settings\n{text}"))?))
    }

    /// Lays `fragment` over this document: tables are merged, everything else is replaced.
    ///
    /// # Errors
    /// `fragment` is not TOML.
    pub fn overlay(&mut self, fragment: &str) -> anyhow::Result<()> {
        merge(&mut self.0, Self::parse(fragment)?.0);
        Ok(())
    }

    /// Writes the document to `path`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, self.to_string()).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl std::fmt::Display for Settings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

fn merge(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;

    #[test]
    fn lays_a_fragment_over_a_document() {
        let mut settings = Settings::parse("[accept]\nhead_timeout = \"10s\"\nfields_max = 100\n").unwrap();
        settings.overlay("[accept]\nhead_timeout = \"1s\"\n[drain]\ndelay = \"0s\"\n").unwrap();
        let expected = "[accept]\nfields_max = 100\nhead_timeout = \"1s\"\n\n[drain]\ndelay = \"0s\"\n";
        let expected = Settings::parse(expected).unwrap();
        assert_eq!(settings.to_string(), expected.to_string());
    }
}
