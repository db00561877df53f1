//! A request on its way out over HTTP/1.1: the head, and the body beside it as it comes.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use gatehouse_shared::limit::write_number;
use http::HeaderMap;
use http_body::Body;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::answer::may_be_trailer;
use crate::accept::body::{Upload, UploadError};
use crate::dispatch::upstream::{ExchangeError, Http1Head};

/// Pieces up to this length are put behind what is written anyway.
const SMALL: usize = 4 * 1024;
/// As much as is put together before it is written.
const TOGETHER: usize = 16 * 1024;
/// What a connection keeps room for between two requests.
const KEEP: usize = 8 * 1024;

/// What is to be sent of a request.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    /// The head, frames of chunks and small pieces, ready to be written.
    text: Vec<u8>,
    /// How much of `text` was written.
    written: usize,
    /// A long piece, after `text`.
    piece: Bytes,
    /// What ends the piece.
    tail: &'static [u8],
    /// What is left of the body.
    body: Upload,
    framing: Framing,
    /// Whether a byte of this request was written.
    has_begun: bool,
    /// Whether a write has failed: nothing more can be sent over this connection.
    is_broken: bool,
}

#[derive(Debug, Default, Clone, Copy)]
enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
    /// There is no body, or it was sent.
    #[default]
    Ended,
}

impl Outbound {
    /// Begins with a request. The body is framed as the head says, whatever there is of it: more or less is an error.
    pub(super) fn begin(&mut self, head: &Http1Head, left: Option<u64>, body: Upload) {
        self.text.clear();
        self.written = 0;
        self.text.extend_from_slice(&head.text);
        if let Some(left) = left {
            self.text.extend_from_slice(b"x-request-deadline-ms: ");
            // Writing into memory cannot fail.
            let _infallible = write_number(&mut self.text, left);
            self.text.extend_from_slice(b"\r\n");
        }
        self.text.extend_from_slice(b"\r\n");
        self.framing = match (&body, head.body_length) {
            (Upload::Empty, Some(0)) => Framing::Ended,
            (_, Some(length)) => Framing::Length(length),
            (_, None) => Framing::Chunked,
        };
        self.body = body;
        self.has_begun = false;
    }

    /// Writing into memory cannot fail.
    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        let _infallible = self.text.write_fmt(text);
    }

    /// Sends as much as there is. Ready when nothing is left to be sent, or nothing more can be.
    pub(super) fn poll(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        if self.is_idle() {
            return Poll::Ready(Ok(()));
        }
        loop {
            let is_waiting = self.gather(cx)?;
            match ready!(self.poll_write(stream, cx)) {
                Ok(()) => {}
                Err(error) if !self.has_begun => return Poll::Ready(Err(error.into())),
                Err(_error) => {
                    self.give_up();
                    return Poll::Ready(Ok(()));
                }
            }
            if self.is_idle() {
                return Poll::Ready(Ok(()));
            }
            if is_waiting {
                return Poll::Pending;
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.is_broken || (matches!(self.framing, Framing::Ended) && self.is_written())
    }

    fn is_written(&self) -> bool {
        self.written == self.text.len() && self.piece.is_empty() && self.tail.is_empty()
    }

    /// Puts together what is written next; true when the body has no more for now.
    fn gather(&mut self, cx: &mut Context<'_>) -> Result<bool, UploadError> {
        while !matches!(self.framing, Framing::Ended) && self.piece.is_empty() && self.tail.is_empty() {
            if self.text.len() - self.written >= TOGETHER {
                return Ok(false);
            }
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else { return Ok(true) };
            match (frame.transpose()?.map(http_body::Frame::into_data), self.framing) {
                (Some(Ok(data)), _) if data.is_empty() => {}
                (Some(Ok(data)), Framing::Length(left)) => {
                    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                    // More than was announced would be taken for the next request.
                    let left = left.checked_sub(length).ok_or(UploadError::Aborted)?;
                    self.framing = Framing::Length(left);
                    self.put(data, b"");
                    if left == 0 {
                        self.end_length(cx)?;
                    }
                }
                (Some(Ok(data)), _) => {
                    self.push(format_args!("{:x}\r\n", data.len()));
                    self.put(data, b"\r\n");
                }
                (Some(Err(frame)), Framing::Chunked) => self.end_chunks(frame.trailers_ref()),
                (None, Framing::Chunked) => self.end_chunks(None),
                (None, Framing::Length(0)) => self.framing = Framing::Ended,
                // Less than was announced.
                (None, Framing::Length(_)) => return Err(UploadError::Aborted),
                // Trailers cannot follow a length.
                (Some(Err(_)) | None, _) => {}
            }
        }
        Ok(false)
    }

    /// Lets the body say that it ended, if it can do so at once; there is nothing more to send in any case.
    fn end_length(&mut self, cx: &mut Context<'_>) -> Result<(), UploadError> {
        self.framing = Framing::Ended;
        while !self.body.is_end_stream() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(|data| !data.is_empty()) => {
                    return Err(UploadError::Aborted);
                }
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => return Err(error),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Ok(())
    }

    fn put(&mut self, data: Bytes, tail: &'static [u8]) {
        if data.len() <= SMALL {
            self.text.extend_from_slice(&data);
            self.text.extend_from_slice(tail);
        } else {
            (self.piece, self.tail) = (data, tail);
        }
    }

    fn end_chunks(&mut self, trailers: Option<&HeaderMap>) {
        self.text.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.into_iter().flatten().filter(|(name, _)| may_be_trailer(name)) {
            for bytes in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                self.text.extend_from_slice(bytes);
            }
        }
        self.text.extend_from_slice(b"\r\n");
        self.framing = Framing::Ended;
    }

    fn poll_write(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_written() {
            let text = self.text.get(self.written..).unwrap_or_default();
            let stream = Pin::new(&mut *stream);
            let written = match self.piece.is_empty() && self.tail.is_empty() {
                true => ready!(stream.poll_write(cx, text))?,
                false => {
                    let slices = [IoSlice::new(text), IoSlice::new(&self.piece), IoSlice::new(self.tail)];
                    ready!(stream.poll_write_vectored(cx, &slices))?
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.has_begun = true;
            self.advance(written);
        }
        self.text.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize) {
        let of_text = written.min(self.text.len() - self.written);
        self.written += of_text;
        let of_piece = (written - of_text).min(self.piece.len());
        self.piece.advance(of_piece);
        self.tail = self.tail.get(written - of_text - of_piece..).unwrap_or_default();
    }

    /// Nothing more can be sent; the answer may be there all the same.
    fn give_up(&mut self) {
        self.is_broken = true;
        self.body = Upload::Empty;
        self.piece = Bytes::new();
    }

    /// The body of a request of which no byte was sent or taken, so that it can go elsewhere.
    pub(super) fn take_unsent(&mut self) -> Option<Upload> {
        let is_whole = self.body.progress().is_none_or(|progress| !progress.is_touched());
        (!self.has_begun && is_whole).then(|| std::mem::take(&mut self.body))
    }

    /// Whether all of the request was sent, so that another one can follow.
    pub(super) fn was_sent_whole(&mut self) -> bool {
        if self.text.capacity() > KEEP {
            self.text = Vec::new();
        }
        // A body that has come to its end is let go here, before the connection is parked.
        self.body = Upload::Empty;
        !self.is_broken && matches!(self.framing, Framing::Ended) && self.is_written()
    }
}
