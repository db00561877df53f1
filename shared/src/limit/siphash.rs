//! SipHash with a 128-bit result (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012).
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
    #[inline]
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
    #[inline]
    pub(super) fn word(&mut self, word: u64) {
        self.words = self.words.wrapping_add(1);
        self.absorb(word);
    }

    /// The result for the words so far: its first and its last eight bytes, little-endian.
    #[inline]
    pub(super) fn finish(self) -> (u64, u64) {
        let bytes = self.words.wrapping_mul(8);
        self.end(bytes << 56)
    }

    /// The result for a message of bytes alone, to which no words were added.
    #[inline]
    pub(super) fn of_bytes(mut self, message: &[u8]) -> (u64, u64) {
        let (words, _) = message.as_chunks::<8>();
        for word in words {
            self.absorb(u64::from_le_bytes(*word));
        }
        self.end(rest(message) | (message.len() as u64) << 56)
    }

    /// Adds the last word, which ends with the length, and squeezes the result out.
    #[inline]
    fn end(mut self, last: u64) -> (u64, u64) {
        self.absorb(last);
        self.v[2] ^= 0xee;
        let first = self.squeeze();
        self.v[1] ^= 0xdd;
        (first, self.squeeze())
    }

    #[inline]
    fn absorb(&mut self, word: u64) {
        self.v[3] ^= word;
        for _ in 0..C {
            self.round();
        }
        self.v[0] ^= word;
    }

    #[inline]
    fn squeeze(&mut self) -> u64 {
        for _ in 0..D {
            self.round();
        }
        let [a, b, c, d] = self.v;
        a ^ b ^ c ^ d
    }

    #[inline]
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

/// The bytes after the last whole word, of which there are at most seven, little-endian.
#[inline]
pub(super) fn rest(message: &[u8]) -> u64 {
    let bits = u32::try_from(message.len() % 8 * 8).unwrap_or_default();
    if let Some(last) = message.last_chunk() {
        return u64::from_le_bytes(*last).checked_shr(u64::BITS - bits).unwrap_or_default();
    }
    if let (Some(first), Some(last)) = (message.first_chunk(), message.last_chunk()) {
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (bits - u32::BITS);
    }
    message.iter().rev().fold(0, |rest, byte| rest << 8 | u64::from(*byte))
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
    fn agrees_with_the_published_vectors_for_bytes() {
        let of_bytes = |length: u8| {
            let word = |first: u8| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| first + i));
            let message: Vec<u8> = (0..length).collect();
            let (first, last) = SipHash::<2, 4>::new(word(0), word(8)).of_bytes(&message);
            (u128::from(first.swap_bytes()) << 64) | u128::from(last.swap_bytes())
        };
        for (length, expected) in [
            (0, 0xa381_7f04_ba25_a8e6_6df6_7214_c755_0293),
            (1, 0xda87_c1d8_6b99_af44_3476_5911_9b22_fc45),
            (2, 0x8177_228d_a4a4_5dc7_fca3_8bde_f60a_ffe4),
            (3, 0x9c70_b60c_5267_a94e_5f33_b6b0_2985_ed51),
            (4, 0xf881_64c1_2d9c_8faf_7d0f_6e7c_7bcd_5579),
            (5, 0x1368_8759_8077_6f88_5452_7a07_690e_9627),
            (6, 0x14ee_ca33_8b20_8613_485e_a030_8fd7_a15e),
            (7, 0xa1f1_ebbe_d8db_c153_c0b8_4aa6_1ff0_8239),
            (8, 0x3b62_a9ba_6258_f561_0f83_e264_f314_97b4),
            (9, 0x2644_9906_0ad9_baab_c47f_8b02_bb6d_71ed),
            (15, 0x5493_e999_33b0_a811_7e08_ec0f_97cf_c3d9),
            (16, 0x6ee2_a4ca_67b0_54bb_fd33_15bf_8523_0577),
        ] {
            assert_eq!(of_bytes(length), expected, "{length}");
        }
    }

    #[test]
    fn agrees_with_the_published_vectors() {
        assert_eq!(u128::from_be_bytes(of_counting_bytes(0)), 0xa381_7f04_ba25_a8e6_6df6_7214_c755_0293);
        assert_eq!(u128::from_be_bytes(of_counting_bytes(1)), 0x3b62_a9ba_6258_f561_0f83_e264_f314_97b4);
        assert_eq!(u128::from_be_bytes(of_counting_bytes(2)), 0x6ee2_a4ca_67b0_54bb_fd33_15bf_8523_0577);
    }
}
