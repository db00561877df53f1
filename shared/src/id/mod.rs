//! Names of requests: the request id every tier logs, and the W3C trace context.

mod request;
mod trace;

pub use request::{InvalidRequestId, RequestId};
pub use trace::{TraceContext, TraceParent, TraceParentError};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes the lower-case hexadecimal digits of `bytes`.
fn write_hex(bytes: &[u8], out: &mut [u8]) {
    for (byte, pair) in bytes.iter().zip(out.chunks_exact_mut(2)) {
        if let [high, low] = pair {
            *high = HEX.get(usize::from(byte >> 4)).copied().unwrap_or(b'0');
            *low = HEX.get(usize::from(byte & 15)).copied().unwrap_or(b'0');
        }
    }
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
