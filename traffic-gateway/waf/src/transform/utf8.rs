//! `utf8toUnicode`: UTF-8 as `%uHHHH`, for a rule whose next transformation is `urlDecodeUni`.

use super::Changed;
use super::escape::{self, Meaning};

/// `é` → `%u00e9`; characters beyond U+FFFF take five or six digits. Bytes that are no UTF-8 stand as they are.
///
/// Overlong sequences are decoded like proper ones (0xC0 0xBC → `%u003c`): a lenient decoder behind us would do so too.
pub(super) fn to_unicode(value: &[u8], out: &mut Vec<u8>) -> Changed {
    escape::decode(
        value,
        out,
        |input| input.iter().position(|byte| !byte.is_ascii()),
        |input| sequence(input).map(|(length, code)| (length, Meaning::PercentU(code))),
    )
}

/// Length and code point of the sequence that begins here.
fn sequence(input: &[u8]) -> Option<(usize, u32)> {
    let (lead, rest) = input.split_first()?;
    let (bits, following) = match lead {
        0xc0..=0xdf => (lead & 0x1f, 1),
        0xe0..=0xef => (lead & 0x0f, 2),
        0xf0..=0xf7 => (lead & 0x07, 3),
        _ => return None,
    };
    let mut code = u32::from(bits);
    for byte in rest.get(..following)? {
        if byte & 0xc0 != 0x80 {
            return None;
        }
        code = (code << 6) | u32::from(byte & 0x3f);
    }
    (code <= 0x0010_ffff).then_some((1 + following, code))
}
