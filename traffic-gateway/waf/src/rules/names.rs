//! Names that rules mention, as numbers: members of collections and variables of `TX`.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The number of a member's name, regardless of case; 0 is any name no rule mentions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NameId(pub(crate) u32);

/// The number of a variable of `TX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TxId(pub(crate) u32);

/// Longest name that is looked up; rules mention no longer ones.
const LONGEST: usize = 128;

/// FNV-1a, which is quick for short names. Only names in rules are ever put in, so no client can make look-ups long.
#[derive(Debug)]
struct NameHasher(u64);

impl Default for NameHasher {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    }

    fn write_usize(&mut self, length: usize) {
        self.0 ^= length as u64;
    }

    fn finish(&self) -> u64 {
        // The table looks at the highest bits and at the lowest.
        self.0 ^ self.0 >> 29
    }
}

/// Names in lower case, numbered in the order in which they come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    numbers: HashMap<Box<[u8]>, u32, BuildHasherDefault<NameHasher>>,
    /// As first written.
    all: Vec<Box<str>>,
}

impl Names {
    /// The number of a name, a new one if need be.
    pub(crate) fn add(&mut self, name: &str) -> u32 {
        let lower = name.to_ascii_lowercase().into_bytes().into_boxed_slice();
        let next = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let all = &mut self.all;
        *self.numbers.entry(lower).or_insert_with(|| {
            all.push(name.into());
            next
        })
    }

    /// The number of a name if it has one. Nothing is allocated.
    pub(crate) fn find(&self, name: &[u8]) -> Option<u32> {
        let mut lower = [0_u8; LONGEST];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.numbers.get(&*lower).copied()
    }

    /// The name of a number.
    pub(crate) fn name(&self, number: u32) -> &str {
        self.all.get(number as usize).map_or("", |name| name)
    }

    pub(crate) const fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        (0..).zip(self.all.iter().map(|name| &**name))
    }
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn names_are_found_regardless_of_case() {
        let mut names = Names::default();
        let host = names.add("Host");
        assert_eq!(names.add("HOST"), host);
        assert_ne!(names.add("Accept"), host);
        assert_eq!(names.find(b"hOsT"), Some(host));
        assert_eq!(names.find(b"Cookie"), None);
        assert_eq!(names.find(&[b'a'; 500]), None);
        assert_eq!((names.name(host), names.len()), ("Host", 2));
    }
}
