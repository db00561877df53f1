//! Heads of HTTP/2 frames, found in bytes as they pass (RFC 9113, section 4.1); payloads are skipped.

/// Length of a frame head.
const HEAD: usize = 9;
/// Most of a payload that is looked at.
const START: usize = 24;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const GOAWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// Longest payload of HEADERS whose bytes are looked at: only an answer without any field is so short.
pub(super) const BARE_HEADERS: usize = 16;

/// One frame, without most of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    /// Length of the payload.
    pub(super) length: usize,
    start: [u8; START],
}

impl FrameHead {
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The first bytes of the payload, of the kinds and lengths that [`Cutter`] keeps them of.
    pub(super) fn payload(&self) -> &[u8] {
        self.start.get(..kept(self.kind, self.length)).unwrap_or_default()
    }

    /// The error code of a RST_STREAM or GOAWAY.
    pub(super) fn code(&self) -> Option<u32> {
        let at = match self.kind {
            RST_STREAM => 0,
            GOAWAY => 4,
            _ => return None,
        };
        let bytes = self.payload().get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }
}

/// How much of a payload is kept.
fn kept(kind: u8, length: usize) -> usize {
    match kind {
        RST_STREAM | GOAWAY => length.min(START),
        HEADERS if length <= BARE_HEADERS => length,
        _ => 0,
    }
}

/// Cuts bytes into frames, however they come.
#[derive(Debug)]
pub(super) struct Cutter {
    /// Bytes to skip before the next head.
    skip: usize,
    bytes: [u8; HEAD + START],
    filled: usize,
    /// Bytes to collect: a head, then what is kept of its payload.
    wanted: usize,
}

impl Cutter {
    /// Begins behind `skip` bytes that are no frames.
    pub(super) fn new(skip: usize) -> Self {
        Self { skip, bytes: [0; HEAD + START], filled: 0, wanted: HEAD }
    }

    /// Whether the bytes so far end within a frame's head.
    pub(super) fn is_within_head(&self) -> bool {
        self.filled > 0
    }

    /// Bytes of a payload that are still to come.
    pub(super) fn missing(&self) -> usize {
        self.skip
    }

    /// Looks at the next bytes and shows every frame whose head (and what is kept of its payload) is complete.
    pub(super) fn look<E>(
        &mut self,
        mut bytes: &[u8],
        mut see: impl FnMut(FrameHead) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let (now, later) = bytes.split_at_checked(self.wanted - self.filled).unwrap_or((bytes, b""));
            for (place, byte) in self.bytes.iter_mut().skip(self.filled).zip(now) {
                *place = *byte;
            }
            self.filled += now.len();
            bytes = later;
            if self.filled == self.wanted
                && let Some(head) = self.complete()
            {
                see(head)?;
            }
        }
        Ok(())
    }

    /// All that was wanted is there: a whole head, unless some of its payload is to be kept.
    fn complete(&mut self) -> Option<FrameHead> {
        let [high, middle, low, kind, flags, first, second, third, fourth, start @ ..] = self.bytes;
        let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap_or(usize::MAX);
        let kept = kept(kind, length);
        if self.wanted < HEAD + kept {
            self.wanted = HEAD + kept;
            return None;
        }
        self.skip = length - kept;
        self.filled = 0;
        self.wanted = HEAD;
        let stream = u32::from_be_bytes([first, second, third, fourth]) & 0x7fff_ffff;
        Some(FrameHead { kind, flags, stream, length, start })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    /// A frame's bytes.
    pub(in crate::accept) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn heads(cutter: &mut Cutter, bytes: &[u8]) -> Vec<FrameHead> {
        let mut heads = Vec::new();
        let looked = cutter.look(bytes, |head| {
            heads.push(head);
            Ok::<_, ()>(())
        });
        looked.unwrap();
        heads
    }

    #[test]
    fn shows_kind_flags_stream_and_codes() {
        let bytes = [
            frame(RST_STREAM, 0, 7, &[0, 0, 0, 8]),
            frame(GOAWAY, 0, 0, b"\0\0\0\x03\0\0\0\x0btoo_many_resets_and_more"),
            frame(HEADERS, END_STREAM, 9, &[0x8c]),
            frame(DATA, 0, 0x8000_0001, &[1; 300]),
        ]
        .concat();
        let mut cutter = Cutter::new(0);
        let heads = heads(&mut cutter, &bytes);
        assert_eq!(heads.iter().map(FrameHead::code).collect::<Vec<_>>(), [Some(8), Some(11), None, None]);
        assert_eq!(heads[1].payload().get(8..), Some(b"too_many_resets_".as_slice()));
        assert_eq!((heads[2].payload(), heads[2].has(END_STREAM)), ([0x8c].as_slice(), true));
        assert_eq!((heads[3].stream, heads[3].length, heads[3].payload()), (1, 300, [].as_slice()));
        assert!(!cutter.is_within_head() && cutter.missing() == 0);
    }

    #[test]
    fn a_short_reset_is_no_reason_to_panic() {
        let mut cutter = Cutter::new(0);
        assert_eq!(heads(&mut cutter, &frame(RST_STREAM, 0, 1, &[0]))[0].code(), None);
        assert_eq!(heads(&mut cutter, &frame(GOAWAY, 0, 0, b""))[0].code(), None);
    }

    proptest! {
        /// However the bytes are cut, the same is found.
        #[test]
        fn cuts_do_not_matter(frames: Vec<(u8, u8, u32, Vec<u8>)>, preface in 0_usize..30, size in 1_usize..40) {
            let mut bytes = vec![b'P'; preface];
            for (kind, flags, stream, payload) in &frames {
                bytes.extend(frame(kind % 10, *flags, *stream, payload));
            }
            let whole = heads(&mut Cutter::new(preface), &bytes);
            let mut cutter = Cutter::new(preface);
            let pieces = bytes.chunks(size).flat_map(|piece| heads(&mut cutter, piece)).collect::<Vec<_>>();
            prop_assert_eq!(whole.len(), frames.len());
            for (one, other) in whole.iter().zip(&pieces) {
                let key = |head: &FrameHead| (head.kind, head.flags, head.stream, head.length, head.code());
                prop_assert_eq!(key(one), key(other));
                prop_assert_eq!(one.payload(), other.payload());
            }
            prop_assert_eq!(whole.len(), pieces.len());
        }
    }
}
