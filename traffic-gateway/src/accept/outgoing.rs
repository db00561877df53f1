//! What is on its way to the client: small pieces gathered, so that an answer leaves in one system call.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// Pieces up to this size together wait for a flush; it is one segment on an Ethernet path.
const GATHERED_MAX: usize = 1_460;
/// Buffers a worker thread keeps for its connections.
const SPARES_MAX: usize = 64;

thread_local! {
    static SPARES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Gathered bytes; owns a buffer only while there are any.
#[derive(Default)]
pub(super) struct Outgoing {
    buffer: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Takes bytes of `piece`: gathers a small one, writes a large one behind what is gathered.
    pub(super) fn poll_write(
        &mut self,
        mut to: Pin<&mut (impl AsyncWrite + ?Sized)>,
        context: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.buffer.len() + piece.len() <= GATHERED_MAX {
            self.gather(piece);
            return Poll::Ready(Ok(piece.len()));
        }
        loop {
            let waiting = self.buffer.get(self.sent..).unwrap_or_default();
            if waiting.is_empty() {
                return to.as_mut().poll_write(context, piece);
            }
            let length = waiting.len();
            let slices = [IoSlice::new(waiting), IoSlice::new(piece)];
            let written = ready!(to.as_mut().poll_write_vectored(context, &slices))?;
            self.advance(written.min(length))?;
            if written > length {
                return Poll::Ready(Ok(written - length));
            }
        }
    }

    /// Writes everything gathered.
    pub(super) fn poll_drain(
        &mut self,
        mut to: Pin<&mut (impl AsyncWrite + ?Sized)>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.buffer.is_empty() {
            let waiting = self.buffer.get(self.sent..).unwrap_or_default();
            let written = ready!(to.as_mut().poll_write(context, waiting))?;
            self.advance(written)?;
        }
        Poll::Ready(Ok(()))
    }

    fn gather(&mut self, piece: &[u8]) {
        if self.buffer.capacity() == 0 && !piece.is_empty() {
            self.buffer = SPARES.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(GATHERED_MAX));
        }
        self.buffer.extend_from_slice(piece);
    }

    fn advance(&mut self, written: usize) -> io::Result<()> {
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.sent += written;
        if self.sent >= self.buffer.len() {
            self.sent = 0;
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.clear();
            SPARES.with_borrow_mut(|spares| {
                if spares.len() < SPARES_MAX {
                    spares.push(buffer);
                }
            });
        }
        Ok(())
    }
}
