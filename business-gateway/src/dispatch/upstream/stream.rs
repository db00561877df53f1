//! The stream to a service, as hyper sees it.
//!
//! A service may answer and close without reading a request to its end. hyper gives up when it cannot write any more and never
//! reads the answer that is already there; so a write that fails here only says so to the pool, and what is left of the request
//! goes nowhere. If there is no answer, reading fails in its turn.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A stream whose writes cannot fail.
#[derive(Debug)]
pub(super) struct ServiceStream {
    stream: TokioIo<TcpStream>,
    is_broken: Arc<AtomicBool>,
}

impl ServiceStream {
    /// The stream, and where it says that a write failed.
    pub(super) fn new(stream: TcpStream) -> (Self, Arc<AtomicBool>) {
        let is_broken = Arc::new(AtomicBool::new(false));
        (Self { stream: TokioIo::new(stream), is_broken: Arc::clone(&is_broken) }, is_broken)
    }

    fn wrote(&self, outcome: Poll<io::Result<usize>>, offered: usize) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(Err(_)) => {
                self.is_broken.store(true, Ordering::Relaxed);
                Poll::Ready(Ok(offered))
            }
            outcome => outcome,
        }
    }

    fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }
}

impl Read for ServiceStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Write for ServiceStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_broken() {
            return Poll::Ready(Ok(buffer.len()));
        }
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buffer);
        self.wrote(outcome, buffer.len())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_broken() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let offered = buffers.iter().map(|buffer| buffer.len()).sum();
        if self.is_broken() {
            return Poll::Ready(Ok(offered));
        }
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.wrote(outcome, offered)
    }
}
