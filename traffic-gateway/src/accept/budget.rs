//! What one HTTP/2 connection may do without asking for anything, counted by its frames as they pass.
//!
//! The protocol library bounds header lists, concurrent streams and pending resets. What it does not bound are streams
//! opened and reset for ever (rapid reset), streams that the client makes the edge reset (MadeYouReset) or refuse, and
//! frames that cost work but carry nothing: settings, pings, priorities, window updates, empty data. Nor does it say what
//! it refused by itself: that is read from the frames it writes, so that such refusals are recorded like all others.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use gatehouse_shared::problem::{self, Reason};
use tokio::sync::Notify;

use super::config::Http2Bounds;
use super::frame_head::{
    ACK, BARE_HEADERS, CONTINUATION, DATA, END_HEADERS, END_STREAM, FrameHead, GOAWAY, HEADERS, RST_STREAM, SETTINGS,
};

/// Control frames that every stream may bring with it: its own window updates, a priority, a reset.
const FREE_PER_STREAM: u64 = 4;
/// Bytes of body, either way, for which one window update or one empty frame is free.
const BYTES_PER_FREE: u64 = 1_024;

/// Most answers under way that are known; far above what a connection may have at a time.
const OPEN_MAX: usize = 1_024;

/// `:status: 400` in HPACK: the only field of an answer that Pingora gives by itself.
const STATUS_400: u8 = 0x8c;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Why a connection has to end: found where its bytes pass, acted on by its loop.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    reason: OnceLock<&'static Reason>,
    found: Notify,
    malformed: AtomicU32,
}

impl Verdict {
    /// Counts a malformed request; true when it was one too many.
    pub(super) fn count_malformed(&self, most: u32) -> bool {
        self.malformed.fetch_add(1, Ordering::Relaxed) + 1 >= most
    }

    /// Decides, unless that was done before.
    pub(super) fn decide(&self, reason: &'static Reason) -> bool {
        let is_first = self.reason.set(reason).is_ok();
        self.found.notify_one();
        is_first
    }

    pub(super) fn reason(&self) -> Option<&'static Reason> {
        self.reason.get().copied()
    }

    /// Completes when there is a reason.
    pub(super) async fn found(&self) -> &'static Reason {
        loop {
            if let Some(reason) = self.reason() {
                return reason;
            }
            self.found.notified().await;
        }
    }
}

/// What a client has sent and been sent so far, by use.
#[derive(Debug)]
pub(super) struct Budget {
    streams: u64,
    last_stream: u32,
    resets: u64,
    refused: u64,
    control: u64,
    bytes: u64,
    /// Settings have come: nothing else may come first (RFC 9113, section 3.4).
    has_begun: bool,
    /// A header block has begun and not ended.
    is_in_block: bool,
    /// The last frame was DATA.
    is_in_body: bool,
    /// Streams whose answer has begun and not ended: what ends them with HEADERS are trailers.
    open: Vec<u32>,
    /// Streams that were answered without our doing: a reset of theirs is part of that answer. At most `malformed_max`.
    answered: Vec<u32>,
    resets_after: u64,
    control_max: u64,
    malformed_max: u32,
}

/// What a frame on its way out says about the client.
pub(super) enum Sent {
    Nothing,
    /// A malformed request was refused.
    Malformed(&'static Reason),
    /// The connection ends with an error that the protocol library found.
    Ending(&'static Reason),
    /// The client goes beyond a bound: the connection has to end.
    Excess(&'static Reason),
}

impl Budget {
    pub(super) fn new(bounds: &Http2Bounds) -> Self {
        Self {
            streams: 0,
            last_stream: 0,
            resets: 0,
            refused: 0,
            control: 0,
            bytes: 0,
            has_begun: false,
            is_in_block: false,
            is_in_body: false,
            open: Vec::new(),
            answered: Vec::new(),
            resets_after: bounds.resets_after,
            control_max: bounds.control_frames,
            malformed_max: bounds.malformed,
        }
    }

    /// Whether the client has begun something that it must end soon: its settings or a header block.
    pub(super) fn is_unfinished(&self) -> bool {
        !self.has_begun || self.is_in_block
    }

    /// Whether the payload that is coming belongs to a body.
    pub(super) fn is_in_body(&self) -> bool {
        self.is_in_body
    }

    /// Most malformed requests.
    pub(super) fn malformed_max(&self) -> u32 {
        self.malformed_max
    }

    /// Bytes of any kind were sent to the client.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.bytes += u64::try_from(bytes).unwrap_or_default();
    }

    /// A frame came.
    ///
    /// # Errors
    /// Why the connection has to end.
    pub(super) fn received(&mut self, frame: &FrameHead) -> Result<(), &'static Reason> {
        if !self.has_begun {
            if frame.kind != SETTINGS || frame.has(ACK) {
                return Err(&problem::HTTP2_CONNECTION_INVALID);
            }
            self.has_begun = true;
            return Ok(());
        }
        self.is_in_body = frame.kind == DATA;
        match frame.kind {
            DATA if frame.length > 0 => self.bytes += u64::try_from(frame.length).unwrap_or_default(),
            DATA if frame.has(END_STREAM) => {}
            HEADERS => {
                self.is_in_block = !frame.has(END_HEADERS);
                if frame.stream > self.last_stream {
                    self.last_stream = frame.stream;
                    self.streams += 1;
                }
            }
            kind => {
                self.is_in_block &= kind != CONTINUATION || !frame.has(END_HEADERS);
                self.control += 1;
                if kind == RST_STREAM {
                    self.resets += 1;
                    self.end(frame.stream);
                }
            }
        }
        self.check_resets()?;
        let free = self.streams * FREE_PER_STREAM + self.bytes / BYTES_PER_FREE;
        if self.control > self.control_max.saturating_add(free) {
            return Err(&problem::TOO_MANY_CONTROL_FRAMES);
        }
        Ok(())
    }

    fn check_resets(&self) -> Result<(), &'static Reason> {
        if self.streams >= self.resets_after && self.resets * 2 >= self.streams {
            return Err(&problem::TOO_MANY_STREAM_RESETS);
        }
        if self.refused >= self.resets_after { Err(&problem::TOO_MANY_REFUSED_STREAMS) } else { Ok(()) }
    }

    /// The answer of a stream has ended; whether it had begun before.
    fn end(&mut self, stream: u32) -> bool {
        let at = self.open.iter().position(|open| *open == stream);
        at.map(|at| self.open.swap_remove(at)).is_some()
    }

    /// A frame was sent.
    pub(super) fn sent(&mut self, frame: &FrameHead) -> Sent {
        let had_begun = (frame.has(END_STREAM) || frame.kind == RST_STREAM) && self.end(frame.stream);
        match (frame.kind, frame.code()) {
            (HEADERS, _) if !frame.has(END_STREAM) => {
                if self.open.len() < OPEN_MAX {
                    self.open.push(frame.stream);
                }
                Sent::Nothing
            }
            // Every answer of the gateway has a request id, which alone takes more room.
            (HEADERS, _) if !had_begun && frame.length <= BARE_HEADERS => {
                if self.answered.len() < usize::try_from(self.malformed_max).unwrap_or(usize::MAX) {
                    self.answered.push(frame.stream);
                }
                let is_400 = frame.payload().last() == Some(&STATUS_400);
                Sent::Malformed(if is_400 { &problem::HTTP2_REQUEST_INVALID } else { &problem::HEAD_TOO_LARGE })
            }
            (RST_STREAM, Some(PROTOCOL_ERROR | FLOW_CONTROL_ERROR | FRAME_SIZE_ERROR))
                if !self.answered.contains(&frame.stream) =>
            {
                self.resets += 1;
                Sent::Malformed(&problem::HTTP2_REQUEST_INVALID)
            }
            (RST_STREAM, Some(REFUSED_STREAM)) => {
                self.refused += 1;
                self.check_resets().err().map_or(Sent::Nothing, Sent::Excess)
            }
            (GOAWAY, Some(code)) if code != 0 => Sent::Ending(reason_to_end(code, frame.payload())),
            _ => Sent::Nothing,
        }
    }
}

/// What the protocol library means by a GOAWAY: it gives its bounds names behind the code.
fn reason_to_end(code: u32, payload: &[u8]) -> &'static Reason {
    if code != ENHANCE_YOUR_CALM {
        return &problem::HTTP2_CONNECTION_INVALID;
    }
    match payload.get(8..).unwrap_or_default() {
        name if name.starts_with(b"header_list") || name.starts_with(b"too_many_contin") => &problem::HEAD_TOO_LARGE,
        name if name.starts_with(b"too_many_resets") => &problem::TOO_MANY_STREAM_RESETS,
        name if name.starts_with(b"too_many_intern") => &problem::HTTP2_TOO_MANY_MALFORMED,
        _ => &problem::TOO_MANY_CONTROL_FRAMES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::frame_head::Cutter;
    use crate::accept::frame_head::tests::frame;

    /// A connection whose settings have come.
    fn budget(resets_after: u64, control_max: u64) -> Budget {
        let mut budget = Budget::new(&crate::accept::tests::bounds().http2);
        (budget.resets_after, budget.control_max, budget.malformed_max) = (resets_after, control_max, 4);
        received(&mut budget, &frame(SETTINGS, 0, 0, b"")).unwrap();
        budget
    }

    fn received(budget: &mut Budget, bytes: &[u8]) -> Result<(), &'static str> {
        Cutter::new(0).look(bytes, |head| budget.received(&head)).map_err(|reason| reason.code)
    }

    /// The code of what is reported, and whether the connection has to end for it.
    fn sent(budget: &mut Budget, bytes: &[u8]) -> Option<(&'static str, bool)> {
        let mut reported = None;
        let seen = Cutter::new(0).look(bytes, |head| {
            reported = match budget.sent(&head) {
                Sent::Nothing => None,
                Sent::Malformed(reason) => Some((reason.code, false)),
                Sent::Ending(reason) | Sent::Excess(reason) => Some((reason.code, true)),
            };
            Ok::<_, ()>(())
        });
        seen.unwrap();
        reported
    }

    #[test]
    fn rapid_reset_ends_the_connection_once_half_of_many_streams_were_reset() {
        let mut budget = budget(10, 1_000);
        for stream in 0..9 {
            received(&mut budget, &frame(HEADERS, 5, stream * 2 + 1, b"x")).unwrap();
            received(&mut budget, &frame(RST_STREAM, 0, stream * 2 + 1, &[0; 4])).unwrap();
        }
        assert_eq!(received(&mut budget, &frame(HEADERS, 5, 19, b"x")), Err("too_many_stream_resets"));
    }

    #[test]
    fn frames_without_use_end_the_connection_and_useful_ones_pay_for_some() {
        for (kind, flags) in [(4, 0), (6, 0), (2, 0), (8, 0), (0, 0), (9, 0), (0xee, 0)] {
            let mut budget = budget(500, 10);
            let outcomes = (0..11).map(|_| received(&mut budget, &frame(kind, flags, 1, b""))).collect::<Vec<_>>();
            assert!(outcomes[..10].iter().all(Result::is_ok), "{kind}");
            assert_eq!(outcomes[10], Err("too_many_control_frames"), "{kind}");
        }
        let mut budget = budget(500, 10);
        for _ in 0..1_000 {
            received(&mut budget, &frame(DATA, 0, 1, &[0; 1_024])).unwrap();
            received(&mut budget, &frame(8, 0, 1, &[0; 4])).unwrap();
        }
    }

    #[test]
    fn settings_come_first_and_header_blocks_end() {
        for first in [frame(HEADERS, 5, 1, b"x"), frame(SETTINGS, ACK, 0, b""), frame(0xee, 0, 0, b"")] {
            let mut budget = Budget::new(&crate::accept::tests::bounds().http2);
            assert!(budget.is_unfinished());
            assert_eq!(received(&mut budget, &first), Err("http2_connection_invalid"));
        }
        let mut budget = budget(500, 10);
        assert!(!budget.is_unfinished());
        received(&mut budget, &frame(HEADERS, END_STREAM, 1, b"x")).unwrap();
        assert!(budget.is_unfinished());
        received(&mut budget, &frame(CONTINUATION, 0, 1, b"x")).unwrap();
        assert!(budget.is_unfinished());
        received(&mut budget, &frame(CONTINUATION, END_HEADERS, 1, b"x")).unwrap();
        assert!(!budget.is_unfinished());
    }

    #[test]
    fn what_the_library_refuses_by_itself_is_read_from_its_frames() {
        let mut budget = budget(3, 10);
        let reset = |stream: u32, code: u8| frame(RST_STREAM, 0, stream, &[0, 0, 0, code]);
        assert_eq!(sent(&mut budget, &reset(1, 1)), Some(("http2_request_invalid", false)));
        assert_eq!(sent(&mut budget, &reset(3, 3)), Some(("http2_request_invalid", false)));
        assert_eq!(sent(&mut budget, &reset(5, 0)), None, "the end of an early answer");
        assert_eq!(sent(&mut budget, &reset(5, 8)), None);
        let too_large = frame(HEADERS, 5, 7, &[0x48, 3, b'4', b'3', b'1']);
        assert_eq!(sent(&mut budget, &too_large), Some(("head_too_large", false)));
        assert_eq!(sent(&mut budget, &reset(7, 1)), None, "part of the same answer");
        assert_eq!(sent(&mut budget, &frame(HEADERS, 5, 9, &[0x8c])), Some(("http2_request_invalid", false)));
        assert_eq!(sent(&mut budget, &frame(HEADERS, 4, 11, &[0x88])), None, "an answer with a body");
        assert_eq!(sent(&mut budget, &frame(HEADERS, 5, 11, &[0xbe])), None, "its trailers");
        assert_eq!(sent(&mut budget, &frame(HEADERS, 5, 13, &[0x88; 40])), None);
        assert_eq!(
            [7, 7, 7].map(|code| sent(&mut budget, &reset(13, code)).map(|(code, _)| code)),
            [None, None, Some("too_many_refused_streams")]
        );
    }

    #[test]
    fn a_goaway_of_the_library_tells_why() {
        let mut budget = budget(3, 10);
        let mut goaway = |code: u8, name: &str| {
            sent(&mut budget, &frame(GOAWAY, 0, 0, &[&[0, 0, 0, 1, 0, 0, 0, code], name.as_bytes()].concat()))
        };
        assert_eq!(goaway(0, ""), None);
        assert_eq!(goaway(1, ""), Some(("http2_connection_invalid", true)));
        assert_eq!(goaway(11, "header_list_way_too_large"), Some(("head_too_large", true)));
        assert_eq!(goaway(11, "too_many_continuations"), Some(("head_too_large", true)));
        assert_eq!(goaway(11, "too_many_resets"), Some(("too_many_stream_resets", true)));
        assert_eq!(goaway(11, "too_many_internal_resets"), Some(("http2_too_many_malformed", true)));
        assert_eq!(goaway(11, "too_many_data_frames"), Some(("too_many_control_frames", true)));
    }
}
