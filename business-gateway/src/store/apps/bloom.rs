//! A Bloom filter (B. Bloom, "Space/time trade-offs in hash coding with allowable errors", 1970): it says "surely not" or
//! "perhaps" of a key, in a few bits for each.
//!
//! With 14.4 bits and ten hashes a key, one in a thousand unknown keys is taken for a known one while the filter holds no more
//! keys than it was made for. Hashes are two 64-bit words combined (Kirsch and Mitzenmacher, 2006).

use std::sync::atomic::{AtomicU64, Ordering};

/// Bits for each key, times ten.
const TENTH_BITS: u64 = 144;
const HASHES: u64 = 10;
/// The smallest filter, in keys.
const LEAST: u64 = 1_024;
/// The largest, in keys: 1.8 GB.
const MOST: u64 = 1_000_000_000;

/// The filter. It only ever grows fuller: what was removed stays until a new one is made.
#[derive(Debug)]
pub struct Bloom {
    words: Box<[AtomicU64]>,
    room: u64,
    held: AtomicU64,
}

impl Bloom {
    /// An empty filter with room for so many keys.
    #[must_use]
    pub fn with_room(keys: u64) -> Self {
        let room = keys.clamp(LEAST, MOST);
        let words = usize::try_from(room.saturating_mul(TENTH_BITS).div_ceil(10 * 64)).unwrap_or(usize::MAX);
        Self { words: (0..words).map(|_| AtomicU64::new(0)).collect(), room, held: AtomicU64::new(0) }
    }

    /// Adds a key by its two hashes.
    pub fn insert(&self, mark: (u64, u64)) {
        let mut is_new = false;
        for (word, bit) in self.places(mark) {
            is_new |= word.fetch_or(bit, Ordering::Relaxed) & bit == 0;
        }
        if is_new {
            self.held.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether a key may have been added; `false`: surely not.
    #[must_use]
    pub fn may_hold(&self, mark: (u64, u64)) -> bool {
        self.places(mark).all(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// How many different keys were added, about.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether it holds more keys than it was made for, and answers "perhaps" too often.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.held() > self.room
    }

    /// Its size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.words.len()).unwrap_or(u64::MAX).saturating_mul(8)
    }

    /// As it can be written down.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity((self.words.len() + 2) * 8);
        bytes.extend_from_slice(&self.room.to_le_bytes());
        bytes.extend_from_slice(&self.held().to_le_bytes());
        for word in &self.words {
            bytes.extend_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        bytes
    }

    /// The other way round; `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let [room, held, words @ ..] = words else { return None };
        let room = u64::from_le_bytes(*room);
        let needed = room.checked_mul(TENTH_BITS)?.div_ceil(10 * 64);
        let is_whole = rest.is_empty() && (LEAST..=MOST).contains(&room) && u64::try_from(words.len()).ok()? == needed;
        is_whole.then(|| Self {
            words: words.iter().map(|word| AtomicU64::new(u64::from_le_bytes(*word))).collect(),
            room,
            held: AtomicU64::new(u64::from_le_bytes(*held)),
        })
    }

    fn places(&self, (first, second): (u64, u64)) -> impl Iterator<Item = (&AtomicU64, u64)> {
        let bits = u64::try_from(self.words.len()).unwrap_or(u64::MAX).saturating_mul(64).max(64);
        // An even step would visit half of the places only.
        let step = second | 1;
        (0..HASHES).filter_map(move |round| {
            let place = first.wrapping_add(round.wrapping_mul(step)) % bits;
            let word = self.words.get(usize::try_from(place / 64).ok()?)?;
            Some((word, 1 << (place % 64)))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    fn mark(number: u64) -> (u64, u64) {
        let mixed = |number: u64| {
            let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            number ^ (number >> 31)
        };
        (mixed(number.wrapping_add(0x9e37_79b9_7f4a_7c15)), mixed(number.wrapping_mul(3).wrapping_add(1)))
    }

    #[test]
    fn one_unknown_key_in_a_thousand_is_taken_for_a_known_one() {
        let filter = Bloom::with_room(20_000);
        (0..20_000).for_each(|number| filter.insert(mark(number)));
        assert!((0..20_000).all(|number| filter.may_hold(mark(number))));
        let wrong = (1_000_000..1_100_000).filter(|number| filter.may_hold(mark(*number))).count();
        assert!((20..250).contains(&wrong), "{wrong} of 100,000");
        assert!(filter.held() > 19_900 && !filter.is_full(), "{}", filter.held());
        assert_eq!(filter.bytes(), 36_000);
    }

    #[test]
    fn what_is_written_down_is_the_same_filter() {
        let filter = Bloom::with_room(2_000);
        (0..500).for_each(|number| filter.insert(mark(number)));
        let bytes = filter.to_bytes();
        let again = Bloom::from_bytes(&bytes).unwrap();
        assert_eq!((again.to_bytes(), again.held()), (bytes.clone(), filter.held()));
        assert!(Bloom::from_bytes(&bytes[8..]).is_none() && Bloom::from_bytes(&bytes[..bytes.len() - 1]).is_none());
        assert!(Bloom::from_bytes(&[]).is_none() && Bloom::from_bytes(&[0xff; 64]).is_none());
    }

    proptest! {
        #[test]
        fn what_was_added_is_never_denied(keys in proptest::collection::vec(any::<(u64, u64)>(), 0..200)) {
            let filter = Bloom::with_room(1);
            keys.iter().for_each(|key| filter.insert(*key));
            prop_assert!(keys.iter().all(|key| filter.may_hold(*key)));
            let again = Bloom::from_bytes(&filter.to_bytes()).unwrap();
            prop_assert!(keys.iter().all(|key| again.may_hold(*key)));
        }
    }
}
