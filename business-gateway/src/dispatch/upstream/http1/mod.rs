//! One HTTP/1.1 connection to an endpoint (RFC 9112), driven by the request that holds it: no task of its own, so an exchange wakes
//! nobody but its call.
//!
//! The request's body goes out while the answer comes in: first while the call waits for the head, then whenever the answer's
//! body is polled. A service may answer without reading a request to its end; then a write fails, what is left of the request goes
//! nowhere, and the answer is read all the same. Nobody looks at a connection while it is parked, so a service that closes it is
//! noticed when it is taken out, or by the sweep.
//!
//! - [`answer`]: the head of an answer, and how its body is framed
//! - [`chunked`]: bodies in chunks
//! - `outbound`: the request on its way out

pub mod answer;
pub mod chunked;
mod outbound;

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{Method, Response};
use http_body::{Frame, SizeHint};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use self::answer::{Framing, InvalidAnswer};
use self::chunked::Step;
use self::outbound::Outbound;
use super::{Connection, ExchangeError, Http1Head, Lost, Unreachable};
use crate::accept::body::Upload;
use crate::dispatch::counters::Open;

/// Bytes read at once at first, and the most that a connection keeps room for while it is parked.
const READ: usize = 4 * 1024;
/// Bytes read at once of a body that is long.
const READ_MAX: usize = 64 * 1024;
/// A piece of a body up to this length is copied, so that the connection keeps its buffer.
const COPY_MAX: usize = 2 * 1024;
/// Interim answers (1xx) before the answer.
const INTERIM_MAX: u32 = 32;

/// A connection, idle or held by one request.
#[derive(Debug)]
pub(super) struct Http1 {
    stream: TcpStream,
    /// The request as far as it is not sent.
    outbound: Outbound,
    /// Read and not used yet.
    inbound: BytesMut,
    /// What is still to come of the answer.
    coming: Framing,
    /// Whether the service lets the connection be used again.
    keeps: bool,
    opened: Instant,
    /// When it was parked last.
    pub(super) parked: Instant,
    is_reused: bool,
    _open: Open,
}

impl Http1 {
    /// Speaks HTTP/1.1 on a stream that is connected.
    pub(super) fn new(stream: TcpStream, open: Open, now: Instant) -> Self {
        Self {
            stream,
            outbound: Outbound::default(),
            inbound: BytesMut::new(),
            coming: Framing::Nothing,
            keeps: true,
            opened: now,
            parked: now,
            is_reused: false,
            _open: open,
        }
    }

    /// When it was opened.
    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    /// Whether it is as quiet as a connection without a request has to be; one that the service has closed is not.
    pub(super) fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let read = self.stream.try_read(&mut byte);
        self.inbound.is_empty() && read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends a request and waits for the head of its answer. `left` are the milliseconds that the service is told it has.
    pub(super) async fn exchange(
        &mut self,
        method: &Method,
        head: &Http1Head,
        left: Option<u64>,
        body: Upload,
    ) -> Result<Response<()>, Lost> {
        self.outbound.begin(head, left, body);
        let mut interim = 0;
        let mut searched = 0;
        let outcome = poll_fn(|cx| self.poll_head(cx, method, &mut interim, &mut searched)).await;
        let is_reused = std::mem::replace(&mut self.is_reused, true);
        outcome.map_err(|error| match self.outbound.take_unsent() {
            Some(body) => Lost::Unsent(body, Unreachable::Closed(error)),
            None => Lost::Sent(error, if is_reused { Connection::Reused } else { Connection::Fresh }),
        })
    }

    /// Whether it carried a request before.
    pub(super) fn is_reused(&self) -> bool {
        self.is_reused
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        interim: &mut u32,
        searched: &mut usize,
    ) -> Poll<Result<Response<()>, ExchangeError>> {
        // Whether all of it is sent or not: the answer may come before that.
        if let Poll::Ready(Err(error)) = self.outbound.poll(&mut self.stream, cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            // A head that did not come in one piece is looked at again when it may be whole.
            if *searched == 0 || answer::may_end_after(&self.inbound, *searched) {
                if let Some((length, head)) = answer::parse(&self.inbound, method)? {
                    self.inbound.advance(length);
                    *searched = 0;
                    if head.is_interim() {
                        *interim += 1;
                        if *interim > INTERIM_MAX {
                            return Poll::Ready(Err(InvalidAnswer::Interim.into()));
                        }
                        continue;
                    }
                    (self.coming, self.keeps) = (head.framing, head.keeps);
                    return Poll::Ready(Ok(head.answer));
                }
                if self.inbound.len() > answer::HEAD_MAX {
                    return Poll::Ready(Err(InvalidAnswer::HeadTooLong.into()));
                }
            }
            *searched = self.inbound.len();
            if ready!(self.poll_read(cx, READ))? == 0 {
                return Poll::Ready(Err(ExchangeError::Ended));
            }
        }
    }

    /// Reads what there is; 0 at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        self.inbound.reserve(most);
        pin!(self.stream.read_buf(&mut self.inbound)).poll(cx)
    }

    /// The next piece of the answer's body.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        if let Poll::Ready(Err(error)) = self.outbound.poll(&mut self.stream, cx) {
            return Poll::Ready(Some(Err(error)));
        }
        loop {
            match &mut self.coming {
                Framing::Nothing => return Poll::Ready(None),
                Framing::Length(left) => {
                    let most = usize::try_from(*left).unwrap_or(usize::MAX);
                    let piece = match self.inbound.is_empty() {
                        false => take(&mut self.inbound, most),
                        // Nothing but this body may come, so it need not go through the buffer.
                        true if most > READ => {
                            let mut piece = BytesMut::with_capacity(most.min(READ_MAX));
                            let read = pin!(self.stream.read_buf(&mut (&mut piece).limit(most))).poll(cx);
                            if ready!(read)? == 0 { Bytes::new() } else { compact(piece) }
                        }
                        true => {
                            let Poll::Ready(read) = self.poll_read(cx, READ) else { return Poll::Pending };
                            if read? > 0 {
                                continue;
                            }
                            Bytes::new()
                        }
                    };
                    if piece.is_empty() {
                        return Poll::Ready(Some(Err(ExchangeError::Ended)));
                    }
                    return Poll::Ready(Some(Ok(self.piece_of_length(piece))));
                }
                Framing::Chunked(decoder) => match decoder.next(&mut self.inbound)? {
                    Step::Data(data) => {
                        if decoder.ends_here(&mut self.inbound) {
                            self.coming = Framing::Nothing;
                        }
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    Step::Trailers(trailers) => {
                        self.coming = Framing::Nothing;
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                    Step::End => self.coming = Framing::Nothing,
                    Step::More => {
                        let most = decoder.left().clamp(READ, READ_MAX);
                        if ready!(self.poll_read(cx, most))? == 0 {
                            return Poll::Ready(Some(Err(ExchangeError::Ended)));
                        }
                    }
                },
                Framing::ToTheEnd => {
                    if !self.inbound.is_empty() {
                        let piece = take(&mut self.inbound, usize::MAX);
                        return Poll::Ready(Some(Ok(Frame::data(piece))));
                    }
                    if ready!(self.poll_read(cx, READ_MAX))? == 0 {
                        self.coming = Framing::Nothing;
                    }
                }
            }
        }
    }

    fn piece_of_length(&mut self, piece: Bytes) -> Frame<Bytes> {
        if let Framing::Length(left) = &mut self.coming {
            *left = left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            if *left == 0 {
                self.coming = Framing::Nothing;
            }
        }
        Frame::data(piece)
    }

    /// Whether the whole answer was read.
    pub(super) fn is_end_stream(&self) -> bool {
        matches!(self.coming, Framing::Nothing)
    }

    /// How much of the answer's body is still to come.
    pub(super) fn size_hint(&self) -> SizeHint {
        match self.coming {
            Framing::Nothing => SizeHint::with_exact(0),
            Framing::Length(left) => SizeHint::with_exact(left),
            Framing::Chunked(_) | Framing::ToTheEnd => SizeHint::default(),
        }
    }

    /// Whether another request can follow once the answer was read: request and answer are whole, and nothing came after them.
    pub(super) fn can_be_parked(&mut self) -> bool {
        let is_reusable =
            self.keeps && self.is_end_stream() && self.outbound.was_sent_whole() && self.inbound.is_empty();
        if is_reusable && self.inbound.capacity() > READ {
            self.inbound = BytesMut::new();
        }
        is_reusable
    }
}

/// Takes at most so many bytes out of what was read.
fn take(inbound: &mut BytesMut, most: usize) -> Bytes {
    let length = inbound.len().min(most);
    if length > COPY_MAX {
        return inbound.split_to(length).freeze();
    }
    let copied = inbound.get(..length).map(Bytes::copy_from_slice).unwrap_or_default();
    inbound.advance(length);
    copied
}

/// A piece that fills little of its buffer is copied, so that it does not hold all of it.
fn compact(piece: BytesMut) -> Bytes {
    if piece.len() <= COPY_MAX { Bytes::copy_from_slice(&piece) } else { piece.freeze() }
}
