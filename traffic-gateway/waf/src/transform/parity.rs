//! `parityEven7bit`, `parityOdd7bit` and `parityZero7bit`: bytes as seven bits of data and one of parity.

use super::Changed;

/// Bit 8 makes the number of ones even: `a` (three ones) → 0xE1.
pub(super) fn even(value: &[u8], out: &mut Vec<u8>) -> Changed {
    map(value, out, |byte| with_parity(byte, 0))
}

/// Bit 8 makes the number of ones odd: `c` (four ones) → 0xE3.
pub(super) fn odd(value: &[u8], out: &mut Vec<u8>) -> Changed {
    map(value, out, |byte| with_parity(byte, 1))
}

/// Bit 8 is zero: 0xE1 → `a`.
pub(super) fn zero(value: &[u8], out: &mut Vec<u8>) -> Changed {
    map(value, out, |byte| byte & 0x7f)
}

const fn with_parity(byte: u8, parity: u32) -> u8 {
    let data = byte & 0x7f;
    if data.count_ones() % 2 == parity { data } else { data | 0x80 }
}

fn map(value: &[u8], out: &mut Vec<u8>, of: impl Fn(u8) -> u8) -> Changed {
    if value.iter().all(|byte| of(*byte) == *byte) {
        return Changed::No;
    }
    out.extend(value.iter().map(|byte| of(*byte)));
    Changed::Yes
}
