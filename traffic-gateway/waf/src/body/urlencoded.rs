//! `application/x-www-form-urlencoded` bodies and query strings.
//!
//! Linear: every byte is searched for the separator once, for `=` once and decoded at most once. A pair without escapes
//! that arrives in one piece is handed over without a copy.

use memchr::{memchr, memchr2};

use super::outcome::{Fault, Outcome, Progress};
use super::{Limits, Malformed};

/// Reads a query string (without its `?`) into pairs. At most [`Limits::arguments`] pairs; the bytes are bounded by the
/// request line already.
pub fn query(query: &[u8], limits: &Limits, each: impl FnMut(&[u8], &[u8])) -> Outcome {
    query_in(&mut Buffers::default(), query, limits, each)
}

/// Memory for decoded names and values, to be used again.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    name: Vec<u8>,
    value: Vec<u8>,
}

/// The same as [`query`], in buffers that are kept: nothing is allocated once they have grown.
pub fn query_in(buffers: &mut Buffers, query: &[u8], limits: &Limits, mut each: impl FnMut(&[u8], &[u8])) -> Outcome {
    let mut reader = Reader::new(limits);
    reader.name = std::mem::take(&mut buffers.name);
    reader.value = std::mem::take(&mut buffers.value);
    let mut rest = query;
    while let Some((pair, behind)) = split_once(limits.separator, rest) {
        reader.pair(pair, &mut each);
        if reader.progress.stopped {
            break;
        }
        rest = behind;
    }
    if !reader.progress.stopped {
        reader.pair(rest, &mut each);
    }
    *buffers = Buffers { name: reader.name, value: reader.value };
    reader.progress.outcome
}

/// Reads pairs from pieces.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    separator: u8,
    arguments: u32,
    /// A pair whose end has not been seen.
    pending: Vec<u8>,
    /// Decoded name and value, kept for their allocation.
    name: Vec<u8>,
    value: Vec<u8>,
    progress: Progress,
}

impl Reader {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            separator: limits.separator,
            arguments: limits.arguments,
            pending: Vec::new(),
            name: Vec::new(),
            value: Vec::new(),
            progress: Progress::default(),
        }
    }

    pub(super) fn feed(&mut self, piece: &[u8], each: &mut impl FnMut(&[u8], &[u8])) {
        let mut rest = piece;
        while let Some((pair, behind)) = split_once(self.separator, rest) {
            if self.pending.is_empty() {
                self.pair(pair, each);
            } else {
                self.pending.extend_from_slice(pair);
                self.flush(each);
            }
            if self.progress.stopped {
                return;
            }
            rest = behind;
        }
        self.pending.extend_from_slice(rest);
    }

    pub(super) fn finish(mut self, each: &mut impl FnMut(&[u8], &[u8])) -> Outcome {
        if !self.progress.stopped {
            self.flush(each);
        }
        self.progress.outcome
    }

    /// Stops, and hands over what was read of the current pair.
    pub(super) fn stop(&mut self, malformed: Malformed, each: &mut impl FnMut(&[u8], &[u8])) {
        if !self.progress.stopped {
            self.progress.fail(malformed);
            self.flush(each);
        }
    }

    /// Hands over the pending pair.
    fn flush(&mut self, each: &mut impl FnMut(&[u8], &[u8])) {
        let mut pending = std::mem::take(&mut self.pending);
        self.pair(&pending, each);
        pending.clear();
        self.pending = pending;
    }

    /// Hands over a pair; nothing at all between two separators is none.
    fn pair(&mut self, pair: &[u8], each: &mut impl FnMut(&[u8], &[u8])) {
        if pair.is_empty() || !self.progress.count(self.arguments) {
            return;
        }
        let (name, value) = split_once(b'=', pair).unwrap_or((pair, &[]));
        let name = decode(name, &mut self.name, &mut self.progress);
        let value = decode(value, &mut self.value, &mut self.progress);
        each(name, value);
    }
}

/// What stands before and behind the first `byte`.
pub(super) fn split_once(byte: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, from) = bytes.split_at_checked(memchr(byte, bytes)?)?;
    Some((before, from.get(1..)?))
}

/// Decodes `+` and `%HH` once; anything else behind `%` is kept and noted.
fn decode<'a>(encoded: &'a [u8], decoded: &'a mut Vec<u8>, progress: &mut Progress) -> &'a [u8] {
    if memchr2(b'%', b'+', encoded).is_none() {
        return encoded;
    }
    decoded.clear();
    if !percent_decode(encoded, decoded, Plus::Space) {
        progress.fault(Fault::InvalidEscape);
    }
    decoded
}

/// What `+` means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Plus {
    /// A space, as in forms.
    Space,
    /// Itself.
    Plus,
}

/// Appends `encoded` to `decoded` with its `%HH` resolved; `false` if a `%` has no two hexadecimal digits.
pub(super) fn percent_decode(encoded: &[u8], decoded: &mut Vec<u8>, plus: Plus) -> bool {
    let mut valid = true;
    let mut rest = encoded;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match (byte, behind) {
            (b'%', [high, low, behind @ ..]) => {
                if let (Some(high), Some(low)) = (hex(*high), hex(*low)) {
                    decoded.push(high << 4 | low);
                    rest = behind;
                } else {
                    valid = false;
                    decoded.push(b'%');
                }
            }
            (b'%', _) => {
                valid = false;
                decoded.push(b'%');
            }
            (b'+', _) if plus == Plus::Space => decoded.push(b' '),
            _ => decoded.push(byte),
        }
    }
    valid
}

/// The value of a hexadecimal digit.
pub(super) const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
