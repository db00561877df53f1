//! Short texts in one piece of memory, each kept once.
//!
//! A text is known by the place where it begins. Its length stands before it, in one byte, or in two from 128 bytes on.

use std::hash::{BuildHasher, RandomState};

/// Longer texts are cut.
pub(super) const MAX_TEXT_BYTES: usize = 4_096;

/// Texts that are complete; what [`TextBuilder`] makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Texts(Box<[u8]>);

impl Texts {
    /// The bytes of the text at a place; empty where there is none.
    pub(super) fn bytes(&self, place: u32) -> &[u8] {
        read(&self.0, place).unwrap_or_default()
    }

    /// The text at a place; `None` where it is empty or no text.
    pub(super) fn text(&self, place: u32) -> Option<&str> {
        str::from_utf8(self.bytes(place)).ok().filter(|text| !text.is_empty())
    }
}

fn read(bytes: &[u8], place: u32) -> Option<&[u8]> {
    let from = bytes.get(usize::try_from(place).ok()?..)?;
    let (length, text) = match from {
        [short @ 0..=0x7f, text @ ..] => (usize::from(*short), text),
        [low, high, text @ ..] => (usize::from(low & 0x7f) | usize::from(*high) << 7, text),
        _ => return None,
    };
    text.get(..length)
}

/// Collects texts. The empty text is always there, at place 0.
pub(super) struct TextBuilder {
    bytes: Vec<u8>,
    /// Places plus one by hash, 0 where free; a power of two, never more than three quarters full.
    table: Vec<u32>,
    count: usize,
    hasher: RandomState,
}

impl TextBuilder {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0], table: Vec::new(), count: 0, hasher: RandomState::new() }
    }

    /// The place of a text, which is added where it is new. Place 0 also when 4 GiB are full: the text is then lost.
    pub(super) fn intern(&mut self, text: &[u8]) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if self.count >= self.table.len() / 4 * 3 {
            self.grow();
        }
        let mask = self.table.len() - 1;
        let mut slot = self.slot(text);
        while let Some(&taken) = self.table.get(slot)
            && let Some(place) = taken.checked_sub(1)
        {
            if read(&self.bytes, place) == Some(text) {
                return place;
            }
            slot = (slot + 1) & mask;
        }
        let Ok(place) = u32::try_from(self.bytes.len()) else { return 0 };
        let (Some(free), Some(taken)) = (self.table.get_mut(slot), place.checked_add(1)) else { return 0 };
        *free = taken;
        self.count += 1;
        self.append(text);
        place
    }

    pub(super) fn build(self) -> Texts {
        Texts(self.bytes.into_boxed_slice())
    }

    fn append(&mut self, text: &[u8]) {
        let [low, high, ..] = text.len().to_le_bytes();
        if text.len() < 0x80 {
            self.bytes.push(low);
        } else {
            // Seven bits and eight: up to 32,767.
            self.bytes.extend([low | 0x80, high << 1 | low >> 7]);
        }
        self.bytes.extend_from_slice(text);
    }

    /// Where the search for a text begins.
    fn slot(&self, text: &[u8]) -> usize {
        let [a, b, c, d, ..] = self.hasher.hash_one(text).to_le_bytes();
        usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(0) & (self.table.len() - 1)
    }

    fn grow(&mut self) {
        self.table = vec![0; (self.table.len() * 2).max(64)];
        let mask = self.table.len() - 1;
        let mut at = 1;
        while let Ok(place) = u32::try_from(at)
            && let Some(text) = read(&self.bytes, place)
        {
            let mut slot = self.slot(text);
            while self.table.get(slot).is_some_and(|taken| *taken != 0) {
                slot = (slot + 1) & mask;
            }
            if let Some(free) = self.table.get_mut(slot) {
                *free = place.saturating_add(1);
            }
            at += text.len() + if text.len() < 0x80 { 1 } else { 2 };
        }
    }
}

/// The text up to [`MAX_TEXT_BYTES`], cut between characters.
pub(super) fn cut(text: &str) -> &str {
    let end = (0..=MAX_TEXT_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = "ä".repeat(3_000);
        assert_eq!(cut(&text).len(), MAX_TEXT_BYTES);
        assert_eq!(cut(&format!("x{text}")).len(), MAX_TEXT_BYTES - 1);
        assert_eq!(cut("short"), "short");
    }

    #[test]
    fn there_is_nothing_at_a_place_that_is_none() {
        assert_eq!(Texts::default().text(0), None);
        let mut builder = TextBuilder::new();
        builder.intern(b"x");
        let texts = builder.build();
        assert_eq!((texts.text(0), texts.text(1), texts.text(900)), (None, Some("x"), None));
    }

    proptest! {
        #[test]
        fn every_text_is_kept_once_and_found_again(
            texts in proptest::collection::vec((any::<String>(), 0usize..3), 0..200),
        ) {
            let texts: Vec<String> = texts.into_iter().map(|(text, times)| cut(&text.repeat(times * 40)).to_owned()).collect();
            let mut builder = TextBuilder::new();
            let places: Vec<u32> = texts.iter().map(|text| builder.intern(text.as_bytes())).collect();
            let again: Vec<u32> = texts.iter().map(|text| builder.intern(text.as_bytes())).collect();
            assert_eq!(places, again);
            let kept = builder.build();
            for (text, place) in texts.iter().zip(places) {
                assert_eq!(kept.bytes(place), text.as_bytes());
            }
        }
    }
}
