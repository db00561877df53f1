//! Lists of uids: a few in the catalog, or up to a million in a file that is read once and read again only when its content has
//! changed.
//!
//! A file holds one uid a line; empty lines and those that begin with `#` count for nothing. It is kept as its text and one
//! place for each uid, sorted: about 8 bytes a uid beside its own, and a look-up of at most 20 comparisons.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::sync::Arc;

use gatehouse_shared::config::{ConfigError, ConfigErrors, Fingerprint, Pieces, Sources};

use super::Config;

/// Most uids of one list.
pub const UIDS_MAX: usize = 1_000_000;
/// Bytes of one uid.
pub const UID_MAX: usize = 256;
/// Findings about one file that are told.
const FINDINGS_MAX: usize = 20;

/// A list of uids.
#[derive(Default)]
pub struct Uids {
    text: Box<str>,
    /// Where each uid begins in the text and how long it is; in the order of the uids.
    places: Box<[(u32, u32)]>,
}

impl fmt::Debug for Uids {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Uids").field("count", &self.places.len()).finish_non_exhaustive()
    }
}

impl<'t> FromIterator<&'t str> for Uids {
    fn from_iter<I: IntoIterator<Item = &'t str>>(uids: I) -> Self {
        let mut builder = Builder::default();
        uids.into_iter().for_each(|uid| builder.add(uid));
        builder.build()
    }
}

impl Uids {
    /// Whether a uid is on the list.
    #[must_use]
    pub fn contains(&self, uid: &str) -> bool {
        self.places.binary_search_by(|place| at(&self.text, *place).cmp(uid)).is_ok()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

fn at(text: &str, (start, length): (u32, u32)) -> &str {
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let end = start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
    text.get(start..end).unwrap_or_default()
}

/// Makes a list.
#[derive(Default)]
struct Builder {
    text: String,
    places: Vec<(u32, u32)>,
}

impl Builder {
    /// Adds a uid; a file is smaller than 4 GiB, so everything in it has a place.
    fn add(&mut self, uid: &str) {
        if let (Ok(start), Ok(length)) = (u32::try_from(self.text.len()), u32::try_from(uid.len())) {
            self.text.push_str(uid);
            self.places.push((start, length));
        }
    }

    fn build(mut self) -> Uids {
        self.places.sort_unstable_by(|one, two| at(&self.text, *one).cmp(at(&self.text, *two)));
        self.places.dedup_by(|one, two| at(&self.text, *one) == at(&self.text, *two));
        Uids { text: self.text.into_boxed_str(), places: self.places.into_boxed_slice() }
    }
}

/// A file of uids as loaded.
#[derive(Debug, Clone)]
struct UidFile {
    name: Box<str>,
    fingerprint: Fingerprint,
    uids: Arc<Uids>,
}

/// The files of uids of one load, each read once, however many levels name it.
#[derive(Debug, Clone, Default)]
pub struct UidFiles {
    files: Vec<UidFile>,
}

impl UidFiles {
    /// Reads the files that splits name; those whose content is the same are taken from `before`.
    ///
    /// # Errors
    /// A file that cannot be read, and the first lines of each that hold no uid.
    pub fn load(splits: &[Config], sources: &mut Sources, before: Option<&Self>) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let mut loaded = Self::default();
        for name in splits.iter().flat_map(|split| &split.levels).filter_map(|level| level.uid_file.as_deref()) {
            if loaded.find(name).is_some() {
                continue;
            }
            let known = before.and_then(|before| before.files.iter().find(|file| *file.name == *name));
            let known = known.map(|file| (file.fingerprint, Arc::clone(&file.uids)));
            let read = sources.read_large(name, known, |pieces| read(name, pieces).map(Arc::new));
            if let Some((fingerprint, uids)) = errors.collect(read) {
                loaded.files.push(UidFile { name: name.into(), fingerprint, uids });
            }
        }
        errors.into_result(loaded)
    }

    /// What is in a file; `None` where it was not loaded.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Uids>> {
        self.files.iter().find(|file| *file.name == *name).map(|file| &file.uids)
    }
}

/// Reads a file, line by line.
fn read(name: &str, pieces: &mut Pieces) -> Result<Uids, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let mut builder = Builder::default();
    let mut lines = BufReader::new(pieces);
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        number += 1;
        line.clear();
        let count = lines.read_until(b'\n', &mut line);
        let count = count.map_err(|error| ConfigError::about_file(name, format!("cannot read the file: {error}")))?;
        if count == 0 {
            break;
        }
        let mut refuse = |message: &str, remedy: &str| {
            errors.push(ConfigError {
                file: name.to_owned(),
                line: number,
                column: 1,
                message: message.to_owned(),
                remedy: Some(remedy.to_owned()),
            });
        };
        match uid_of(&line) {
            Ok(Some(_)) if builder.places.len() >= UIDS_MAX => {
                refuse(&format!("more than {UIDS_MAX} uids"), "say it by a share, a range or a suffix");
                break;
            }
            Ok(Some(uid)) => builder.add(uid),
            Ok(None) => {}
            Err(message) => refuse(message, "write one uid a line"),
        }
        if errors.len() >= FINDINGS_MAX {
            break;
        }
    }
    errors.into_result(())?;
    Ok(builder.build())
}

/// The uid of a line of a file, if it holds one.
///
/// # Errors
/// Why what it holds is none.
pub fn uid_of(line: &[u8]) -> Result<Option<&str>, &'static str> {
    let text = std::str::from_utf8(line).map_err(|_other| "the line is not UTF-8 text")?.trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    check(text).map(|()| Some(text))
}

/// Refuses what is no uid.
///
/// # Errors
/// Why it is none.
pub fn check(uid: &str) -> Result<(), &'static str> {
    if uid.is_empty() {
        return Err("an empty uid, which nobody has");
    }
    if uid.len() > UID_MAX {
        return Err("a uid of more than 256 bytes");
    }
    if uid.chars().any(|character| character.is_whitespace() || character.is_control()) {
        return Err("blanks or control characters in a uid");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn load(text: &[u8], before: Option<&UidFiles>) -> Result<(UidFiles, String), String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("uids"), text).unwrap();
        let split = Config {
            levels: vec![super::super::LevelConfig { uid_file: Some("uids".to_owned()), ..Default::default() }],
            ..Default::default()
        };
        let mut sources = Sources::new(dir.path());
        let files =
            UidFiles::load(&[split.clone(), split], &mut sources, before).map_err(|errors| errors.to_string())?;
        Ok((files, sources.finish().0))
    }

    #[test]
    fn a_file_is_read_once_and_again_when_it_has_changed() {
        let (first, hash) = load(b"# employees\n17\n\n  x-9 \r\n17\n", None).unwrap();
        let uids = first.find("uids").unwrap();
        assert_eq!(uids.len(), 2);
        assert!(uids.contains("17") && uids.contains("x-9") && !uids.contains("1") && !uids.contains("# employees"));
        let (same, same_hash) = load(b"# employees\n17\n\n  x-9 \r\n17\n", Some(&first)).unwrap();
        assert!(Arc::ptr_eq(uids, same.find("uids").unwrap()));
        assert_eq!(hash, same_hash);
        let (other, other_hash) = load(b"18", Some(&first)).unwrap();
        assert!(other.find("uids").unwrap().contains("18") && other_hash != hash);
    }

    #[test]
    fn every_line_that_is_no_uid_is_named() {
        let long = "x".repeat(257);
        let errors = load(format!("17\na b\n{long}\n").as_bytes(), None).unwrap_err();
        assert!(errors.contains("uids:2:1: blanks or control characters in a uid (write one uid a line)"), "{errors}");
        assert!(errors.contains("uids:3:1: a uid of more than 256 bytes"), "{errors}");
        let errors = load(b"17\n\xff\n", None).unwrap_err();
        assert!(errors.contains("uids:2:1: the line is not UTF-8 text"), "{errors}");
        let errors = load("a b\n".repeat(50).as_bytes(), None).unwrap_err();
        assert_eq!(errors.lines().count(), FINDINGS_MAX, "{errors}");
    }

    #[test]
    fn a_million_are_the_most() {
        let many = |count: usize| (0..count).map(|uid| format!("{uid}\n")).collect::<String>();
        let (files, _) = load(many(UIDS_MAX).as_bytes(), None).unwrap();
        let uids = files.find("uids").unwrap();
        assert!(uids.len() == UIDS_MAX && uids.contains("999999") && !uids.contains("1000000"));
        let errors = load(many(UIDS_MAX + 1).as_bytes(), None).unwrap_err();
        assert!(errors.contains("uids:1000001:1: more than 1000000 uids"), "{errors}");
    }

    proptest::proptest! {
        #[test]
        fn a_list_holds_what_a_set_holds(uids: Vec<String>, other: String) {
            let set: BTreeSet<&str> = uids.iter().map(String::as_str).collect();
            let list: Uids = uids.iter().map(String::as_str).collect();
            proptest::prop_assert_eq!(list.len(), set.len());
            proptest::prop_assert!(set.iter().all(|uid| list.contains(uid)));
            proptest::prop_assert_eq!(list.contains(&other), set.contains(&*other));
        }

        #[test]
        fn no_line_stops_it(bytes: Vec<u8>) {
            if let Ok(Some(uid)) = uid_of(&bytes) {
                proptest::prop_assert!(check(uid).is_ok());
            }
        }
    }
}
