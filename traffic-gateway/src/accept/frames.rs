//! An HTTP/2 connection's stream, with a budget on what its client may do without asking for anything.
//!
//! The protocol library bounds header lists, concurrent streams and pending resets. What it does not bound are streams opened
//! and reset for ever (rapid reset) and frames that cost work but carry nothing: settings, pings, priorities, window
//! updates, empty data. Frame headers are counted here as they pass (RFC 9113, section 4.1); payloads are skipped.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use gatehouse_shared::clock;
use gatehouse_shared::problem::{self, Reason};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::config::Http2Bounds;
use super::guard::Guard;
use super::transport::Transport;
use super::watchdog::Watchdog;
use super::wire::violation;

const PREFACE_LENGTH: usize = 24;
const HEADER_LENGTH: usize = 9;

/// Control frames that every stream may bring with it: its own window updates, a priority, a reset.
const FREE_PER_STREAM: u64 = 4;
/// Bytes of body, either way, for which one window update or one empty frame is free.
const BYTES_PER_FREE: u64 = 1_024;

/// The stream of one HTTP/2 connection.
pub(super) struct Frames {
    transport: Transport,
    /// The connection counts until its stream is dropped.
    _guard: Guard,
    watchdog: Watchdog,
    write_timeout: Duration,
    writing_since: Option<Instant>,
    count: Count,
    flood: Flood,
}

/// What the client did too much of, for the loop: the protocol library keeps only the text of an error.
pub(super) type Flood = Arc<OnceLock<&'static Reason>>;

impl Frames {
    pub(super) fn new(transport: Transport, guard: Guard, bounds: &Http2Bounds, write_timeout: Duration) -> Self {
        Self {
            transport,
            _guard: guard,
            watchdog: Watchdog::default(),
            write_timeout,
            writing_since: None,
            count: Count::new(bounds),
            flood: Flood::default(),
        }
    }

    pub(super) fn flood(&self) -> Flood {
        Arc::clone(&self.flood)
    }

    fn watch_write<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.writing_since = None;
            return outcome;
        }
        let since = *self.writing_since.get_or_insert_with(clock::now);
        if self.watchdog.is_due(context, since + self.write_timeout) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

/// What a client has sent so far, by use.
#[derive(Debug)]
struct Count {
    /// Bytes to skip before the next frame header: the preface, then payloads.
    skip: usize,
    header: [u8; HEADER_LENGTH],
    filled: usize,
    streams: u64,
    last_stream: u32,
    resets: u64,
    control: u64,
    bytes: u64,
    resets_after: u64,
    control_max: u64,
}

impl Count {
    fn new(bounds: &Http2Bounds) -> Self {
        Self {
            skip: PREFACE_LENGTH,
            header: [0; HEADER_LENGTH],
            filled: 0,
            streams: 0,
            last_stream: 0,
            resets: 0,
            control: 0,
            bytes: 0,
            resets_after: bounds.resets_after,
            control_max: bounds.control_frames,
        }
    }

    fn look(&mut self, mut bytes: &[u8]) -> Result<(), &'static Reason> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let taken = (HEADER_LENGTH - self.filled).min(bytes.len());
            let (now, later) = bytes.split_at_checked(taken).unwrap_or((bytes, b""));
            for (place, byte) in self.header.iter_mut().skip(self.filled).zip(now) {
                *place = *byte;
            }
            self.filled += taken;
            bytes = later;
            if self.filled == HEADER_LENGTH {
                self.filled = 0;
                self.frame()?;
            }
        }
        Ok(())
    }

    fn frame(&mut self) -> Result<(), &'static Reason> {
        const DATA: u8 = 0;
        const HEADERS: u8 = 1;
        const RST_STREAM: u8 = 3;
        const END_STREAM: u8 = 1;
        let [high, middle, low, kind, flags, stream @ ..] = self.header;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.skip = usize::try_from(length).unwrap_or(usize::MAX);
        match kind {
            DATA if length > 0 => self.bytes += u64::from(length),
            DATA if flags & END_STREAM != 0 => {}
            HEADERS => {
                let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
                if stream > self.last_stream {
                    self.last_stream = stream;
                    self.streams += 1;
                }
            }
            _ => {
                self.control += 1;
                self.resets += u64::from(kind == RST_STREAM);
            }
        }
        if self.streams >= self.resets_after && self.resets * 2 >= self.streams {
            return Err(&problem::TOO_MANY_STREAM_RESETS);
        }
        let free = self.streams * FREE_PER_STREAM + self.bytes / BYTES_PER_FREE;
        if self.control > self.control_max.saturating_add(free) {
            return Err(&problem::TOO_MANY_CONTROL_FRAMES);
        }
        Ok(())
    }
}

impl AsyncRead for Frames {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let frames = self.get_mut();
        let start = buffer.filled().len();
        ready!(Pin::new(&mut frames.transport).poll_read(context, buffer))?;
        let outcome = frames.count.look(buffer.filled().get(start..).unwrap_or_default());
        Poll::Ready(outcome.map_err(|reason| violation(frames.flood.get_or_init(|| reason))))
    }
}

impl AsyncWrite for Frames {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let frames = self.get_mut();
        let outcome = Pin::new(&mut frames.transport).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = outcome {
            frames.count.bytes += u64::try_from(written).unwrap_or_default();
        }
        frames.watch_write(context, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let frames = self.get_mut();
        let outcome = Pin::new(&mut frames.transport).poll_write_vectored(context, slices);
        if let Poll::Ready(Ok(written)) = outcome {
            frames.count.bytes += u64::try_from(written).unwrap_or_default();
        }
        frames.watch_write(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let frames = self.get_mut();
        let outcome = Pin::new(&mut frames.transport).poll_flush(context);
        frames.watch_write(context, outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let frames = self.get_mut();
        let outcome = Pin::new(&mut frames.transport).poll_shutdown(context);
        frames.watch_write(context, outcome)
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("count", &self.count).finish_non_exhaustive()
    }
}

#[async_trait]
impl Shutdown for Frames {
    async fn shutdown(&mut self) {
        if let Err(error) = AsyncWriteExt::shutdown(self).await {
            tracing::debug!(%error, "closing an HTTP/2 connection failed");
        }
    }
}

impl UniqueID for Frames {
    fn id(&self) -> UniqueIDType {
        self.transport.id()
    }
}

impl Ssl for Frames {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.transport.tls_digest()
    }
}

impl GetTimingDigest for Frames {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Frames {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Frames {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.transport.socket_digest()
    }
}

impl Peek for Frames {}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(resets_after: u64, control_max: u64) -> Count {
        Count { skip: 0, resets_after, control_max, ..Count::new(&crate::accept::tests::bounds().http2) }
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    #[test]
    fn rapid_reset_ends_the_connection_once_half_of_many_streams_were_reset() {
        let mut count = count(10, 1_000);
        for stream in 0..9 {
            count.look(&frame(1, 5, stream * 2 + 1, b"x")).unwrap();
            count.look(&frame(3, 0, stream * 2 + 1, &[0; 4])).unwrap();
        }
        assert_eq!(count.look(&frame(1, 5, 19, b"x")).unwrap_err().code, "too_many_stream_resets");
    }

    #[test]
    fn frames_without_use_end_the_connection_and_useful_ones_pay_for_some() {
        for (kind, flags) in [(4, 0), (6, 0), (2, 0), (8, 0), (0, 0), (9, 0)] {
            let mut count = count(500, 10);
            let outcomes = (0..11).map(|_| count.look(&frame(kind, flags, 1, b""))).collect::<Vec<_>>();
            assert!(outcomes[..10].iter().all(Result::is_ok), "{kind}");
            assert_eq!(outcomes[10].unwrap_err().code, "too_many_control_frames", "{kind}");
        }
        let mut count = count(500, 10);
        for _ in 0..1_000 {
            count.look(&frame(0, 0, 1, &[0; 1_024])).unwrap();
            count.look(&frame(8, 0, 1, &[0; 4])).unwrap();
        }
    }

    #[test]
    fn cuts_do_not_matter() {
        let mut bytes = vec![b'P'; PREFACE_LENGTH];
        for stream in 1..20 {
            bytes.extend(frame(1, 4, stream, b"abc"));
            bytes.extend(frame(0, 1, stream, &vec![0; stream as usize]));
        }
        let mut count = Count::new(&crate::accept::tests::bounds().http2);
        for piece in bytes.chunks(5) {
            count.look(piece).unwrap();
        }
        assert_eq!((count.streams, count.bytes, count.control), (19, (1..20).sum(), 0));
    }
}
