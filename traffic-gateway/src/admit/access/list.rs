//! List files: millions of networks, read line by line, and read again only when their content has changed.

use std::path::Path;
use std::sync::Arc;

use gatehouse_shared::cidr::{NetworkSet, NetworkSetBuilder};
use gatehouse_shared::config::{ConfigError, ConfigErrors, Fingerprint, Pieces, Sources};

use super::line::Line;
use super::lines::read_lines;

/// One list file.
#[derive(Debug, Clone)]
pub struct List {
    fingerprint: Fingerprint,
    /// Its networks; the set has the name of the file, relative to the configuration directory.
    pub networks: Arc<NetworkSet>,
}

/// The list files of one load.
pub(super) struct Lists<'b> {
    before: &'b [List],
    loaded: Vec<List>,
}

impl<'b> Lists<'b> {
    /// `before` are the lists of the generation before.
    pub(super) fn new(before: &'b [List]) -> Self {
        Self { before, loaded: Vec::new() }
    }

    /// The networks in a file; what was read from it before, where its content is still the same.
    ///
    /// # Errors
    /// A file that cannot be read, and the first 20 of the lines that do not parse.
    pub(super) fn load(&mut self, file: &Path, sources: &mut Sources) -> Result<Arc<NetworkSet>, ConfigErrors> {
        let name = file.display().to_string();
        let is_it = |list: &&List| list.networks.list() == name;
        if let Some(list) = self.loaded.iter().find(is_it) {
            return Ok(Arc::clone(&list.networks));
        }
        let before = self.before.iter().find(is_it).cloned();
        let known = before.map(|List { fingerprint, networks }| (fingerprint, networks));
        let (fingerprint, networks) = sources.read_large(file, known, |pieces| read(&name, pieces).map(Arc::new))?;
        self.loaded.push(List { fingerprint, networks: Arc::clone(&networks) });
        Ok(networks)
    }

    /// Every list that was loaded.
    pub(super) fn all(self) -> Box<[List]> {
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
