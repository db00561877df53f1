//! Counts HTTP/2 frames as they pass, so that a client cannot keep the edge busy with frames that serve no request.
//!
//! The protocol library bounds memory; what it does not bound is work: settings, pings, priorities, window updates,
//! resets and empty data frames cost a client nothing (CVE-2019-9511 to 9518, CVE-2023-44487). Every request and every
//! KiB that really flows in either direction earns a client some of them. Only the nine bytes of each frame header are read.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use gatehouse_shared::problem::{self, Reason};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::config::Http2Bounds;

/// Length of the client's connection preface (RFC 9113, 3.4).
const PREFACE: u32 = 24;
const HEADER: usize = 9;
/// Control frames each stream earns: window updates, a priority, a reset.
const FREE_PER_STREAM: u64 = 4;
/// Bytes of any direction that earn one control frame.
const BYTES_PER_FRAME: u64 = 1024;

/// What a connection's client did too much of; shared between the stream and the loop that serves it.
#[derive(Debug, Default)]
pub(super) struct Flood(AtomicU8);

impl Flood {
    const RESETS: u8 = 1;
    const CONTROL: u8 = 2;

    /// The reason the connection was cut for, if it was.
    pub(super) fn reason(&self) -> Option<&'static Reason> {
        match self.0.load(Ordering::Relaxed) {
            Self::RESETS => Some(&problem::TOO_MANY_STREAM_RESETS),
            Self::CONTROL => Some(&problem::TOO_MANY_CONTROL_FRAMES),
            _ => None,
        }
    }
}

/// Counts of the frames a client sent.
#[derive(Debug)]
struct Frames {
    /// Bytes of preface or payload to pass before the next frame header.
    skip: u32,
    header: [u8; HEADER],
    filled: usize,
    streams: u64,
    resets: u64,
    control: u64,
    bytes: u64,
}

impl Frames {
    fn new() -> Self {
        Self { skip: PREFACE, header: [0; HEADER], filled: 0, streams: 0, resets: 0, control: 0, bytes: 0 }
    }

    /// Takes in what the client sent next.
    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let wanted = if self.skip > 0 { self.skip as usize } else { HEADER.saturating_sub(self.filled) };
            let (part, rest) = bytes.split_at_checked(wanted).unwrap_or((bytes, &[]));
            bytes = rest;
            if self.skip > 0 {
                self.skip -= u32::try_from(part.len()).unwrap_or(self.skip);
                continue;
            }
            if let Some(free) = self.header.get_mut(self.filled..self.filled + part.len()) {
                free.copy_from_slice(part);
            }
            self.filled += part.len();
            if self.filled == HEADER {
                self.filled = 0;
                self.count();
            }
        }
    }

    /// Counts the frame whose header is complete (RFC 9113, 4.1 and 6).
    fn count(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.skip = u32::from_be_bytes([0, high, middle, low]);
        let ends_stream = flags & 1 == 1;
        match kind {
            0 if self.skip == 0 && !ends_stream => self.control += 1,
            0 => self.bytes += u64::from(self.skip),
            1 => self.streams += 1,
            3 => {
                self.resets += 1;
                self.control += 1;
            }
            _ => self.control += 1,
        }
    }

    fn flood(&self, bounds: &Http2Bounds) -> Option<u8> {
        let earned = FREE_PER_STREAM * self.streams + self.bytes / BYTES_PER_FRAME;
        if self.streams >= bounds.resets_after && self.resets * 2 >= self.streams {
            Some(Flood::RESETS)
        } else if self.control > bounds.control_frames.saturating_add(earned) {
            Some(Flood::CONTROL)
        } else {
            None
        }
    }
}

/// A stream that fails once its client floods it with frames.
pub(super) struct Watched {
    stream: Stream,
    frames: Frames,
    bounds: Http2Bounds,
    flood: Arc<Flood>,
}

impl Watched {
    pub(super) fn new(stream: Stream, bounds: &Http2Bounds, flood: Arc<Flood>) -> Self {
        Self { stream, frames: Frames::new(), bounds: bounds.clone(), flood }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("frames", &self.frames).finish_non_exhaustive()
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.frames.pass(buffer.filled().get(before..).unwrap_or_default());
        match self.frames.flood(&self.bounds) {
            None => Poll::Ready(Ok(())),
            Some(flood) => {
                self.flood.0.store(flood, Ordering::Relaxed);
                buffer.set_filled(before);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "too many frames without use")))
            }
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.frames.bytes += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        self.frames.bytes += written as u64;
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Watched {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for Watched {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for Watched {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl GetTimingDigest for Watched {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.stream.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.stream.get_write_pending_time()
    }
}

impl GetProxyDigest for Watched {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl GetSocketDigest for Watched {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}

impl Peek for Watched {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bounds() -> Http2Bounds {
        Http2Bounds::compile(&crate::accept::config::Http2Config::default())
    }

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let [.., high, middle, low] = u32::try_from(length).unwrap().to_be_bytes();
        [[high, middle, low, kind, flags, 0, 0, 0, 1].as_slice(), &vec![0; length]].concat()
    }

    fn after(frames: impl IntoIterator<Item = Vec<u8>>) -> Frames {
        let mut counted = Frames::new();
        counted.pass(&[0; PREFACE as usize]);
        frames.into_iter().for_each(|bytes| counted.pass(&bytes));
        counted
    }

    #[test]
    fn a_thousand_pings_are_enough_and_real_traffic_earns_more() {
        let pings = |count| std::iter::repeat_with(|| frame(6, 0, 8)).take(count);
        assert_eq!(after(pings(1_000)).flood(&bounds()), None);
        assert_eq!(after(pings(1_001)).flood(&bounds()), Some(Flood::CONTROL));
        assert_eq!(after(pings(1_001).chain([frame(1, 5, 20)])).flood(&bounds()), None);
        let upload = std::iter::repeat_with(|| frame(0, 0, 16_384)).take(100);
        assert_eq!(after(pings(2_600).chain(upload)).flood(&bounds()), None);
    }

    #[test]
    fn empty_data_frames_count_unless_they_end_a_stream() {
        let empty = |flags| std::iter::repeat_with(move || frame(0, flags, 0)).take(1_001);
        assert_eq!(after(empty(0)).flood(&bounds()), Some(Flood::CONTROL));
        assert_eq!(after(empty(1)).flood(&bounds()), None);
    }

    #[test]
    fn resetting_every_second_stream_is_a_flood_only_after_many() {
        let pairs =
            |count| std::iter::repeat_with(|| [frame(1, 5, 20), frame(1, 5, 20), frame(3, 0, 4)].concat()).take(count);
        assert_eq!(after(pairs(249)).flood(&bounds()), None);
        assert_eq!(after(pairs(250)).flood(&bounds()), Some(Flood::RESETS));
    }

    proptest! {
        #[test]
        fn counts_the_same_however_the_bytes_are_split(
            frames in proptest::collection::vec((0_u8..10, 0_u8..2, 0_usize..40), 0..40),
            cuts in proptest::collection::vec(1_usize..30, 1..40),
        ) {
            let whole: Vec<u8> = std::iter::once(vec![0; PREFACE as usize])
                .chain(frames.iter().map(|(kind, flags, length)| frame(*kind, *flags, *length)))
                .collect::<Vec<_>>()
                .concat();
            let mut once = Frames::new();
            once.pass(&whole);
            let mut split = Frames::new();
            let mut rest = whole.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (part, tail) = rest.split_at((*cut).min(rest.len()));
                split.pass(part);
                rest = tail;
            }
            let counts = |frames: &Frames| (frames.streams, frames.resets, frames.control, frames.bytes, frames.skip, frames.filled);
            prop_assert_eq!(counts(&once), counts(&split));
            prop_assert_eq!(once.streams, frames.iter().filter(|(kind, ..)| *kind == 1).count() as u64);
        }
    }
}
