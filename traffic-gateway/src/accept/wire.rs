//! An HTTP/1 connection's stream as Pingora sees it.
//!
//! Pingora writes answers to it and reads bodies from it; heads it is given. What passes here is checked as it passes: the
//! body's framing, its pace, its size. Bytes behind the end of a message are kept for the next one, so that Pingora never
//! sees them and pipelined requests are answered in order. A violation ends the connection: no byte of the read that
//! brought it is handed on, every later read fails with [`Violation`], and the client still reads the answer.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use gatehouse_shared::clock;
use gatehouse_shared::problem::{self, Reason};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::chunks::{Chunks, Seen};
use super::config::Bounds;
use super::guard::Guard;
use super::linger;
use super::normalize::Body;
use super::outgoing::Outgoing;
use super::pace::Pace;
use super::scratch;
use super::transport::Transport;
use super::watchdog::Watchdog;

/// Most bytes of later requests kept while one is being served; beyond it they wait in the socket.
const EARLY_MAX: usize = scratch::SIZE;

/// Longest pause of a body whose request has an answer already.
const ANSWERED_IDLE: Duration = Duration::from_secs(5);

/// What a client did that ends its connection; inside the `io::Error` that Pingora is given.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Violation(pub &'static Reason);

/// The reason to answer with, when an error of Pingora's comes from a violation that the way in found in a body.
#[must_use]
pub fn violation_of(error: &pingora::Error) -> Option<&'static Reason> {
    let error = error.root_cause().downcast_ref::<io::Error>()?;
    error.get_ref()?.downcast_ref::<Violation>().map(|violation| violation.0)
}

pub(super) fn violation(reason: &'static Reason) -> io::Error {
    let kind = if reason.status == 408 { io::ErrorKind::TimedOut } else { io::ErrorKind::InvalidData };
    io::Error::new(kind, Violation(reason))
}

/// The stream of one HTTP/1 connection.
pub(super) struct Wire {
    /// Present until the wire is taken apart or dropped.
    transport: Option<Transport>,
    guard: Option<Guard>,
    pub(super) watchdog: Watchdog,
    /// Read, but not yet part of a message.
    early: BytesMut,
    outgoing: Outgoing,
    /// The body that is being read; only a request with one has it.
    incoming: Option<Box<Incoming>>,
    violation: Option<&'static Reason>,
    write_timeout: Duration,
    writing_since: Option<Instant>,
    /// Bytes of an answer to the current message were taken.
    is_answered: bool,
    /// The client closed its side.
    is_ended: bool,
    /// The client no longer takes or sends anything.
    is_broken: bool,
}

/// A body on its way in.
struct Incoming {
    framing: Framing,
    pace: Pace,
    /// What of the final empty line of a chunked body is still to be delivered.
    tail: &'static [u8],
}

enum Framing {
    Length(u64),
    Chunked(Chunks),
}

impl Incoming {
    fn new(body: Body, bounds: &Bounds) -> Option<Box<Self>> {
        let framing = match body {
            Body::None => return None,
            Body::Length(length) => Framing::Length(length),
            Body::Chunked => Framing::Chunked(Chunks::new(bounds.body_max, bounds.header_underscores)),
        };
        Some(Box::new(Self { framing, pace: Pace::new(bounds), tail: b"" }))
    }

    fn look(&mut self, bytes: &[u8]) -> Result<Seen, &'static Reason> {
        let seen = match &mut self.framing {
            Framing::Length(left) => {
                let taken = (*left).min(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                *left -= taken;
                let count = usize::try_from(taken).unwrap_or(usize::MAX);
                Seen { pass: count, consumed: count, is_end: *left == 0, data: taken }
            }
            Framing::Chunked(chunks) => {
                let seen = chunks.look(bytes)?;
                if seen.is_end {
                    self.tail = b"\r\n";
                }
                seen
            }
        };
        self.pace.came(seen.data, clock::now);
        Ok(seen)
    }
}

impl Wire {
    pub(super) fn new(transport: Transport, guard: Guard) -> Box<Self> {
        Box::new(Self {
            transport: Some(transport),
            guard: Some(guard),
            watchdog: Watchdog::default(),
            early: BytesMut::new(),
            outgoing: Outgoing::default(),
            incoming: None,
            violation: None,
            write_timeout: Duration::from_secs(30),
            writing_since: None,
            is_answered: false,
            is_ended: false,
            is_broken: false,
        })
    }

    /// Takes the connection back, with bytes that were read of it.
    pub(super) fn into_parts(mut self) -> Option<(Transport, Option<Guard>, BytesMut)> {
        let transport = self.transport.take()?;
        Some((transport, self.guard.take(), std::mem::take(&mut self.early)))
    }

    /// Bytes that came behind the last message.
    pub(super) fn take_early(&mut self) -> BytesMut {
        std::mem::take(&mut self.early)
    }

    /// Keeps bytes that came behind the current head.
    pub(super) fn keep_early(&mut self, bytes: BytesMut) {
        self.early = bytes;
    }

    /// Reads whatever comes and appends it; 0 at the end of the connection.
    pub(super) fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        into: &mut BytesMut,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let Some(transport) = &mut self.transport else { return Poll::Ready(Ok(0)) };
        let read = scratch::with(|scratch| {
            let end = most.min(scratch.len());
            let mut buffer = ReadBuf::new(scratch.get_mut(..end).unwrap_or_default());
            ready!(Pin::new(transport).poll_read(context, &mut buffer))?;
            into.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        });
        match read {
            Poll::Ready(Ok(0)) => self.is_ended = true,
            Poll::Ready(Err(_)) => self.is_broken = true,
            _ => {}
        }
        read
    }

    /// A new message begins: its head was read.
    pub(super) fn begin(&mut self, body: Body, bounds: &Bounds) {
        self.incoming = Incoming::new(body, bounds);
        self.write_timeout = bounds.write_timeout;
        self.is_answered = false;
    }

    /// Appends what is here already of the message's body, so that Pingora needs no read for a short one.
    pub(super) fn take_ready_body(&mut self, into: &mut BytesMut) -> Result<(), &'static Reason> {
        let Some(incoming) = &mut self.incoming else { return Ok(()) };
        if self.early.is_empty() {
            return Ok(());
        }
        let seen = incoming.look(&self.early)?;
        into.extend_from_slice(self.early.get(..seen.pass).unwrap_or_default());
        into.extend_from_slice(incoming.tail);
        self.early.advance(seen.consumed);
        if seen.is_end {
            self.incoming = None;
        }
        Ok(())
    }

    /// Whether the connection can carry another request.
    pub(super) fn is_reusable(&self) -> bool {
        self.violation.is_none() && self.incoming.is_none() && !self.is_broken
    }

    /// Answers with bytes of our own and ends the connection. The client reads the answer, whatever it still sends.
    pub(super) async fn refuse(mut self: Box<Self>, reason: &'static Reason, answer: &[u8]) {
        self.violation = Some(reason);
        if self.write_all(answer).await.is_ok() && self.flush().await.is_err() {
            self.is_broken = true;
        }
    }

    /// Ends the connection without an answer, whatever the client still sends.
    pub(super) fn abandon(mut self) {
        self.is_broken = true;
    }

    fn violated(&mut self, reason: &'static Reason) -> Poll<io::Result<()>> {
        self.violation = Some(reason);
        Poll::Ready(Err(violation(reason)))
    }

    fn poll_body(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let Some(incoming) = &mut self.incoming else { return self.poll_beyond(context) };
            if !incoming.tail.is_empty() {
                let (now, later) = incoming.tail.split_at_checked(buffer.remaining()).unwrap_or((incoming.tail, b""));
                buffer.put_slice(now);
                incoming.tail = later;
                if later.is_empty() {
                    self.incoming = None;
                }
                return Poll::Ready(Ok(()));
            }
            let start = buffer.filled().len();
            let is_early = !self.early.is_empty();
            if is_early {
                let count = self.early.len().min(buffer.remaining());
                buffer.put_slice(self.early.get(..count).unwrap_or_default());
            } else {
                let Some(transport) = &mut self.transport else { return Poll::Ready(Ok(())) };
                if Pin::new(transport).poll_read(context, buffer)?.is_pending() {
                    // Pingora goes on reading after an early answer; a client that has stopped sending waits for our close.
                    let idle_max = if self.is_answered { ANSWERED_IDLE } else { Duration::MAX };
                    let deadline = incoming.pace.deadline(clock::now(), idle_max);
                    if self.watchdog.is_due(context, deadline) {
                        let reason = incoming.pace.reason();
                        return self.violated(reason);
                    }
                    return Poll::Pending;
                }
            }
            let fresh = buffer.filled().get(start..).unwrap_or_default();
            if fresh.is_empty() {
                self.is_ended = true;
                return self.violated(&problem::BODY_INCOMPLETE);
            }
            let seen = match incoming.look(fresh) {
                Ok(seen) => seen,
                Err(reason) => {
                    buffer.set_filled(start);
                    return self.violated(reason);
                }
            };
            let is_whole = seen.is_end && incoming.tail.is_empty();
            if is_early {
                self.early.advance(seen.consumed);
            } else {
                self.early.extend_from_slice(fresh.get(seen.consumed..).unwrap_or_default());
            }
            buffer.set_filled(start + seen.pass);
            if is_whole {
                self.incoming = None;
            }
            if seen.pass > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// The message is whole; Pingora waits for nothing but the client's leaving. What comes instead is kept.
    fn poll_beyond(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.is_ended || self.early.len() >= EARLY_MAX {
                // A client that sent its requests and closed its side still gets all its answers.
                return if self.early.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            let mut early = std::mem::take(&mut self.early);
            let room = EARLY_MAX - early.len();
            let read = self.poll_fill(context, &mut early, room);
            self.early = early;
            if let Poll::Ready(Err(error)) = read {
                return Poll::Ready(Err(error));
            }
            if read.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Watches over a write that waits.
    fn watch_write<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match outcome {
            Poll::Ready(outcome) => {
                self.writing_since = None;
                self.is_broken |= outcome.is_err();
                Poll::Ready(outcome)
            }
            Poll::Pending => {
                let since = *self.writing_since.get_or_insert_with(clock::now);
                if self.watchdog.is_due(context, since + self.write_timeout) {
                    self.is_broken = true;
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Pending
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if let Some(reason) = wire.violation {
            return Poll::Ready(Err(violation(reason)));
        }
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        wire.poll_body(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let Some(transport) = &mut wire.transport else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        // `100 Continue` answers nothing yet.
        wire.is_answered |= !bytes.starts_with(b"HTTP/1.1 1");
        let outcome = wire.outgoing.poll_write(Pin::new(transport), context, bytes);
        wire.watch_write(context, outcome)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let Some(transport) = &mut wire.transport else { return Poll::Ready(Ok(())) };
        let outcome = match wire.outgoing.poll_drain(Pin::new(&mut *transport), context) {
            Poll::Ready(Ok(())) => Pin::new(transport).poll_flush(context),
            other => other,
        };
        wire.watch_write(context, outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let Some(transport) = &mut wire.transport else { return Poll::Ready(Ok(())) };
        let outcome = match wire.outgoing.poll_drain(Pin::new(&mut *transport), context) {
            Poll::Ready(Ok(())) => Pin::new(transport).poll_shutdown(context),
            other => other,
        };
        wire.watch_write(context, outcome)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let Some(transport) = self.transport.take() else { return };
        let is_unread = self.incoming.is_some() || self.violation.is_some() || !self.early.is_empty();
        let has_more = !self.outgoing.is_empty() || (self.is_answered && is_unread && !self.is_ended);
        if has_more && !self.is_broken {
            linger::close(transport, std::mem::take(&mut self.outgoing), self.guard.take());
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("is_answered", &self.is_answered)
            .field("is_ended", &self.is_ended)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Shutdown for Wire {
    async fn shutdown(&mut self) {
        if AsyncWriteExt::shutdown(self).await.is_err() {
            self.is_broken = true;
        }
    }
}

impl UniqueID for Wire {
    fn id(&self) -> UniqueIDType {
        self.transport.as_ref().map_or(-1, Transport::id)
    }
}

impl Ssl for Wire {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.transport.as_ref()?.tls_digest()
    }
}

impl GetTimingDigest for Wire {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Wire {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Wire {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.transport.as_ref()?.socket_digest()
    }
}

impl Peek for Wire {}
