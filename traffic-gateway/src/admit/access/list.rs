//! Files of networks: millions of them, read line by line, and read again only when their content has changed.

use std::path::Path;
use std::sync::Arc;

use gatehouse_shared::cidr::{NetworkSet, NetworkSetBuilder};
use gatehouse_shared::config::{ConfigError, ConfigErrors, Fingerprint, Pieces, Sources};

use super::line::Line;
use super::lines::read_lines;

/// One file of networks.
#[derive(Debug, Clone)]
pub(super) struct ListFile {
    pub(super) fingerprint: Fingerprint,
    /// Its networks; the set has the name of the file, relative to the configuration directory.
    pub(super) set: Arc<NetworkSet>,
}

/// The files of networks of one load, each read once, however many lists name it.
pub(super) struct ListFiles<'b> {
    before: &'b [ListFile],
    loaded: Vec<ListFile>,
}

impl<'b> ListFiles<'b> {
    /// `before` are the files of the generation before.
    pub(super) fn new(before: &'b [ListFile]) -> Self {
        Self { before, loaded: Vec::new() }
    }

    /// The networks in a file; what was read from it before, where its content is still the same.
    ///
    /// # Errors
    /// A file that cannot be read, and the first 20 of the lines that do not parse.
    pub(super) fn load(&mut self, file: &Path, sources: &mut Sources) -> Result<ListFile, ConfigErrors> {
        let name = file.display().to_string();
        let is_it = |file: &&ListFile| file.set.list() == name;
        if let Some(loaded) = self.loaded.iter().find(is_it) {
            return Ok(loaded.clone());
        }
        let before = self.before.iter().find(is_it).cloned();
        let known = before.map(|ListFile { fingerprint, set }| (fingerprint, set));
        let (fingerprint, set) = sources.read_large(file, known, |pieces| read(&name, pieces).map(Arc::new))?;
        let loaded = ListFile { fingerprint, set };
        self.loaded.push(loaded.clone());
        Ok(loaded)
    }

    /// Every file that was loaded.
    pub(super) fn all(self) -> Box<[ListFile]> {
        self.loaded.into_boxed_slice()
    }
}

/// Lines after which the number of networks in a file is estimated.
const SAMPLE_LINES: u32 = 1_000;

/// Reads a list in our own format.
fn read(name: &str, from: &mut Pieces) -> Result<NetworkSet, ConfigErrors> {
    let mut builder = NetworkSetBuilder::new(name);
    let length = from.length();
    let mut sampled = 0;
    read_lines(name, from, |number, line| {
        if let Some(Line { network, note }) = Line::parse(line)? {
            builder.add(network, &note, number);
        }
        if number <= SAMPLE_LINES {
            sampled += line.len() + 1;
            if number == SAMPLE_LINES {
                reserve_rest(&mut builder, sampled, length);
            }
        }
        Ok(())
    })?;
    builder.build().map_err(|error| ConfigError::about_file(name, error.to_string()).into())
}

/// Makes room for what is still to come of a file when its beginning is like the rest; a list that had to grow to its size
/// would leave as much garbage behind.
fn reserve_rest(builder: &mut NetworkSetBuilder, sampled: usize, length: u64) {
    let (four, six) = builder.counts();
    let times = usize::try_from(length).unwrap_or(usize::MAX) / sampled + 1;
    builder.reserve(four.saturating_mul(times), six.saturating_mul(times));
}
