//! Names of requests: the request id every tier logs, and the W3C trace context.

mod request;
mod trace;

pub use request::{InvalidRequestId, RequestId};
pub use trace::{TraceContext, TraceParent, TraceParentError};

/// Writes the lower-case hexadecimal digits of `bytes`, four bytes at a time.
fn write_hex(bytes: &[u8], out: &mut [u8]) {
    let ((fours, rest), (eights, last)) = (bytes.as_chunks(), out.as_chunks_mut());
    for (four, eight) in fours.iter().zip(eights) {
        *eight = hex_of(*four);
    }
    for (byte, pair) in rest.iter().zip(last.as_chunks_mut().0) {
        let [.., high, low] = hex_of([0, 0, 0, *byte]);
        *pair = [high, low];
    }
}

/// The eight digits of four bytes: each half byte in a byte of its own, and all of them made digits together.
fn hex_of(bytes: [u8; 4]) -> [u8; 8] {
    const EACH: u64 = u64::MAX / 255;
    let mut halves = u64::from(u32::from_be_bytes(bytes));
    for (shift, kept) in [(16, 0x0000_ffff_0000_ffff), (8, 0x00ff_00ff_00ff_00ff), (4, 0x0f0f_0f0f_0f0f_0f0f)] {
        halves = (halves | halves << shift) & kept;
    }
    // Six above nine is sixteen, the first bit of the other half.
    let letters = (halves + EACH * 6) >> 4 & EACH;
    (halves + EACH * u64::from(b'0') + letters * u64::from(b'a' - b'9' - 1)).to_be_bytes()
}

/// Reads lower-case hexadecimal digits; `None` when there is any other character or too few of them.
fn read_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn digits_are_those_of_the_standard_library(bytes in any::<[u8; 16]>(), length in 0..=16_usize) {
            let mut digits = [b'-'; 32];
            write_hex(&bytes[..length], &mut digits[..length * 2]);
            let expected: String = bytes[..length].iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(&digits[..length * 2], expected.as_bytes());
            let whole: Option<[u8; 16]> = read_hex(&digits);
            prop_assert_eq!(whole, (length == 16).then_some(bytes));
        }
    }
}
