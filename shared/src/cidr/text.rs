//! Short texts, packed, those that repeat kept once.
//!
//! A text is known by the place where it begins: the chunk in the upper 16 bits, the offset in the lower 16. Its length stands
//! before it, in one byte, or in two from 128 bytes on.

/// Longer texts are cut.
pub(super) const MAX_TEXT_BYTES: usize = 4_096;
/// Bytes in a chunk; chunks never move, so that a million texts cost no second copy while they are collected.
const CHUNK_BYTES: usize = 1 << 16;
/// Texts of one slot that are remembered.
const WAYS: usize = 4;
/// Slots, which grow to this number: 128 KiB.
const SLOTS: usize = 1 << 12;

/// Texts that are complete; what [`TextBuilder`] makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Texts(Box<[Vec<u8>]>);

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

fn read(chunks: &[Vec<u8>], place: u32) -> Option<&[u8]> {
    let chunk = chunks.get(usize::try_from(place >> 16).ok()?)?;
    let from = chunk.get(usize::try_from(place & 0xffff).ok()?..)?;
    let (length, text) = match from {
        [short @ 0..=0x7f, text @ ..] => (usize::from(*short), text),
        [low, high, text @ ..] => (usize::from(low & 0x7f) | usize::from(*high) << 7, text),
        _ => return None,
    };
    text.get(..length)
}

/// Collects texts. The empty text is always at place 0.
pub(super) struct TextBuilder {
    chunks: Vec<Vec<u8>>,
    /// The last texts of each hash, the latest first. One that was forgotten meanwhile is kept again when it comes: that costs
    /// a few bytes, and in turn the memory for this is bounded and stays in the processor's cache.
    remembered: Vec<[Remembered; WAYS]>,
    count: usize,
}

/// The place of a text and more of its hash, so that a text is looked at only when it is almost certainly the same.
#[derive(Clone, Copy, Default)]
struct Remembered {
    place: u32,
    check: u32,
}

impl TextBuilder {
    pub(super) fn new() -> Self {
        Self { chunks: Vec::new(), remembered: Vec::new(), count: 0 }
    }

    /// The place of a text. Place 0, the empty text, also when 4 GiB are full.
    pub(super) fn intern(&mut self, text: &[u8]) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if self.count >= self.remembered.len() * WAYS && self.remembered.len() < SLOTS {
            self.remembered = vec![Default::default(); (self.remembered.len() * 4).max(64)];
        }
        let (slot, check) = hash(text);
        let slot = slot & (self.remembered.len() - 1);
        let remembered = self.remembered.get(slot).copied().unwrap_or_default();
        let same = remembered.iter().find(|known| known.check == check && known.place != 0);
        if let Some(Remembered { place, .. }) = same
            && read(&self.chunks, *place) == Some(text)
        {
            return *place;
        }
        let place = self.append(text).unwrap_or(0);
        if let Some(slot) = self.remembered.get_mut(slot) {
            let [first, second, third, _] = remembered;
            *slot = [Remembered { place, check }, first, second, third];
        }
        self.count += 1;
        place
    }

    pub(super) fn build(self) -> Texts {
        Texts(self.chunks.into_boxed_slice())
    }

    fn append(&mut self, text: &[u8]) -> Option<u32> {
        if self.chunks.last().is_none_or(|chunk| chunk.len() + text.len() + 2 > CHUNK_BYTES) {
            // The first one grows: many sets have few texts. It begins with the empty text.
            self.chunks.push(if self.chunks.is_empty() { vec![0] } else { Vec::with_capacity(CHUNK_BYTES) });
        }
        let number = u32::try_from(self.chunks.len() - 1).ok().filter(|number| *number <= 0xffff)?;
        let chunk = self.chunks.last_mut()?;
        let offset = u32::try_from(chunk.len()).ok()?;
        let [low, high, ..] = text.len().to_le_bytes();
        if text.len() < 0x80 {
            chunk.push(low);
        } else {
            // Seven bits and eight: up to 32,767.
            chunk.extend([low | 0x80, high << 1 | low >> 7]);
        }
        chunk.extend_from_slice(text);
        Some(number << 16 | offset)
    }
}

/// An odd number with bits all over: the golden ratio.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// A slot and a check. Quick rather than good: texts that collide are only kept twice.
fn hash(text: &[u8]) -> (usize, u32) {
    let (words, rest) = text.as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let mix = |hash: u64, word: &[u8; 8]| {
        let product = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(MIX);
        product ^ product >> 32
    };
    // A product is mixed best at its upper end.
    let hash = mix(words.iter().fold(0, mix), &last).wrapping_mul(MIX);
    let [_, _, a, b, c, d, e, f] = hash.to_le_bytes();
    (usize::from(u16::from_le_bytes([e, f])), u32::from_le_bytes([a, b, c, d]))
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

    #[test]
    fn texts_that_repeat_are_kept_once() {
        let mut builder = TextBuilder::new();
        for number in 0..100_000 {
            builder.intern(format!("reason {}", number % 40).as_bytes());
            builder.intern(b"another");
        }
        let size: usize = builder.build().0.iter().map(Vec::len).sum();
        assert!(size < 41 * 10 * 2, "{size}");
    }

    #[test]
    fn texts_fill_many_chunks() {
        let mut builder = TextBuilder::new();
        let places: Vec<u32> =
            (0..50_000).map(|number| builder.intern(format!("ticket {number}").as_bytes())).collect();
        let texts = builder.build();
        assert!(texts.0.len() > 5 && texts.0.iter().all(|chunk| chunk.len() <= CHUNK_BYTES));
        assert!((0..).zip(places).all(|(number, place)| texts.bytes(place) == format!("ticket {number}").as_bytes()));
    }

    proptest! {
        #[test]
        fn every_text_is_found_again(
            texts in proptest::collection::vec((any::<String>(), 0usize..3), 0..300),
        ) {
            let texts: Vec<String> = texts.into_iter().map(|(text, times)| cut(&text.repeat(times * 40)).to_owned()).collect();
            let mut builder = TextBuilder::new();
            let places: Vec<u32> = texts.iter().map(|text| builder.intern(text.as_bytes())).collect();
            let kept = builder.build();
            for (text, place) in texts.iter().zip(places) {
                assert_eq!(kept.bytes(place), text.as_bytes());
            }
        }
    }
}
