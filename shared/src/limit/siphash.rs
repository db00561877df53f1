//! SipHash with a 128-bit result (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012), over whole words.
//!
//! A pseudo-random function: who does not know the key cannot find two messages with the same result faster than by
//! guessing. `C` rounds for each word and `D` at the end, twice; 2 and 4 are what the paper proposes, 1 and 3 what the
//! standard library uses for hash tables.

/// A message being hashed.
#[derive(Clone, Copy, Debug)]
pub(super) struct SipHash<const C: usize, const D: usize> {
    v: [u64; 4],
    words: u64,
}

impl<const C: usize, const D: usize> SipHash<C, D> {
    pub(super) fn new(k0: u64, k1: u64) -> Self {
        let v = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        Self { v, words: 0 }
    }

    /// Adds eight bytes, little-endian.
    pub(super) fn word(&mut self, word: u64) {
        self.words = self.words.wrapping_add(1);
        self.absorb(word);
    }

    /// The result: its first and its last eight bytes, little-endian.
    pub(super) fn finish(mut self) -> (u64, u64) {
        let bytes = self.words.wrapping_mul(8);
        self.absorb(bytes << 56);
        self.v[2] ^= 0xee;
        let first = self.squeeze();
        self.v[1] ^= 0xdd;
        (first, self.squeeze())
    }

    fn absorb(&mut self, word: u64) {
        self.v[3] ^= word;
        for _ in 0..C {
            self.round();
        }
        self.v[0] ^= word;
    }

    fn squeeze(&mut self) -> u64 {
        for _ in 0..D {
            self.round();
        }
        let [a, b, c, d] = self.v;
        a ^ b ^ c ^ d
    }

    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.v;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.v = [a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes 0, 1, 2, … under the key 0, 1, … 15, as in the vectors published with the function.
    fn of_counting_bytes(words: u8) -> [u8; 16] {
        let word = |first: u8| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| first + i));
        let mut hash = SipHash::<2, 4>::new(word(0), word(8));
        for index in 0..words {
            hash.word(word(index * 8));
        }
        let (first, last) = hash.finish();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&first.to_le_bytes());
        bytes[8..].copy_from_slice(&last.to_le_bytes());
        bytes
    }

    #[test]
    fn agrees_with_the_published_vectors() {
        assert_eq!(u128::from_be_bytes(of_counting_bytes(0)), 0xa381_7f04_ba25_a8e6_6df6_7214_c755_0293);
        assert_eq!(u128::from_be_bytes(of_counting_bytes(1)), 0x3b62_a9ba_6258_f561_0f83_e264_f314_97b4);
        assert_eq!(u128::from_be_bytes(of_counting_bytes(2)), 0x6ee2_a4ca_67b0_54bb_fd33_15bf_8523_0577);
    }
}
