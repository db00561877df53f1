//! Which kinds of bytes a text holds, found in one pass, so that most work on most texts need not begin.

/// Up to 64 sets of bytes rules ask for, and up to 31 sets of bytes that give a transformation something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// One bit for each set of bytes some rule needs.
    pub(crate) holds: u64,
    /// One bit for each transformation that may change the text. [`ALWAYS`] is set in every text.
    pub(crate) triggers: u32,
}

/// The trigger of transformations that change every text.
pub(crate) const ALWAYS: u32 = 1 << 31;

impl Marks {
    /// Of a text nothing is known about.
    pub(crate) const ALL: Self = Self { holds: u64::MAX, triggers: u32::MAX };

    /// Not found out yet: every text has [`ALWAYS`].
    pub(crate) const NONE: Self = Self { holds: 0, triggers: 0 };

    /// Whether a transformation with these triggers may change the text.
    pub(crate) const fn wake(self, triggers: u32) -> bool {
        self.triggers & triggers != 0
    }
}

/// The marks of each byte.
#[derive(Clone, Debug)]
pub(crate) struct MarkTable {
    bytes: Box<[Marks; 256]>,
    sets: Vec<ByteSet>,
}

impl MarkTable {
    pub(crate) fn new() -> Self {
        Self { bytes: Box::new([Marks { holds: 0, triggers: 0 }; 256]), sets: Vec::new() }
    }

    /// The bit of a set of bytes; `None` when 64 others have one.
    pub(crate) fn bit_of(&mut self, set: &ByteSet) -> Option<u64> {
        let number = match self.sets.iter().position(|known| known == set) {
            Some(number) => number,
            None if self.sets.len() < 64 => {
                let bit = 1 << self.sets.len();
                self.sets.push(*set);
                for byte in set.bytes() {
                    if let Some(marks) = self.bytes.get_mut(usize::from(byte)) {
                        marks.holds |= bit;
                    }
                }
                self.sets.len() - 1
            }
            None => return None,
        };
        Some(1 << number)
    }

    /// Says which bytes wake the transformations of a trigger bit.
    pub(crate) fn set_trigger(&mut self, bit: u32, set: &ByteSet) {
        for byte in set.bytes() {
            if let Some(marks) = self.bytes.get_mut(usize::from(byte)) {
                marks.triggers |= bit;
            }
        }
    }

    /// The marks of a text. One table lookup a byte.
    pub(crate) fn marks(&self, bytes: &[u8]) -> Marks {
        let mut marks = Marks { holds: 0, triggers: ALWAYS };
        for byte in bytes {
            let of_byte = self.bytes.get(usize::from(*byte)).unwrap_or(&Marks::ALL);
            marks.holds |= of_byte.holds;
            marks.triggers |= of_byte.triggers;
        }
        marks
    }
}

/// A set of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut set = Self::default();
        for byte in bytes {
            set.insert(*byte);
        }
        set
    }

    pub(crate) fn insert(&mut self, byte: u8) {
        if let Some(word) = self.0.get_mut(usize::from(byte >> 6)) {
            *word |= 1 << (byte & 63);
        }
    }

    pub(crate) fn insert_range(&mut self, first: u8, last: u8) {
        for byte in first..=last {
            self.insert(byte);
        }
    }

    pub(crate) fn contains(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte >> 6)).is_some_and(|word| word & (1 << (byte & 63)) != 0)
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut words = self.0;
        for (word, more) in words.iter_mut().zip(other.0) {
            *word |= more;
        }
        Self(words)
    }

    pub(crate) fn bytes(&self) -> impl Iterator<Item = u8> + use<> {
        let set = *self;
        (0..=u8::MAX).filter(move |byte| set.contains(*byte))
    }

    pub(crate) fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether ordinary words are free of these bytes, so that asking for them tells texts apart. Such a set has no letters of
    /// ASCII: whether a text holds one of its bytes does not depend on the case of letters.
    pub(crate) fn is_telling(&self) -> bool {
        self.len() > 0 && !self.bytes().any(|byte| byte.is_ascii_alphanumeric()) && self.len() <= 40
    }
}

#[cfg(test)]
mod tests {
    use super::{ALWAYS, ByteSet, MarkTable};

    #[test]
    fn marks_say_which_sets_a_text_touches() {
        let mut table = MarkTable::new();
        let quotes = table.bit_of(&ByteSet::of(b"'\"")).unwrap();
        let percent = table.bit_of(&ByteSet::of(b"%")).unwrap();
        table.set_trigger(1, &ByteSet::of(b"%+"));
        assert_eq!(table.bit_of(&ByteSet::of(b"\"'")), Some(quotes));
        let marks = table.marks(b"it's");
        assert_eq!((marks.holds, marks.triggers), (quotes, ALWAYS));
        assert_eq!(table.marks(b"100%").holds, percent);
        assert!(table.marks(b"a+b").wake(1));
    }
}
