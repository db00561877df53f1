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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Takes at most `most` bytes a call and counts the calls.
    struct Narrow {
        taken: Vec<u8>,
        most: usize,
        calls: usize,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let count = bytes.len().min(self.most);
            self.taken.extend_from_slice(&bytes[..count]);
            self.calls += 1;
            Poll::Ready(Ok(count))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let bytes = slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>();
            self.poll_write(context, &bytes)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn write(outgoing: &mut Outgoing, to: &mut Narrow, mut piece: &[u8]) {
        while !piece.is_empty() {
            let count = poll_fn(|context| outgoing.poll_write(Pin::new(&mut *to), context, piece)).await.unwrap();
            assert!(count > 0);
            piece = &piece[count..];
        }
    }

    #[tokio::test]
    async fn a_head_and_its_body_leave_in_one_call() {
        let mut to = Narrow { taken: Vec::new(), most: usize::MAX, calls: 0 };
        let mut outgoing = Outgoing::default();
        write(&mut outgoing, &mut to, b"head").await;
        write(&mut outgoing, &mut to, b"body").await;
        assert_eq!(to.calls, 0);
        poll_fn(|context| outgoing.poll_drain(Pin::new(&mut to), context)).await.unwrap();
        assert_eq!((to.calls, to.taken.as_slice(), outgoing.is_empty()), (1, b"headbody".as_slice(), true));
        write(&mut outgoing, &mut to, b"head").await;
        write(&mut outgoing, &mut to, &[b'x'; 5_000]).await;
        assert_eq!((to.calls, to.taken.len(), outgoing.is_empty()), (2, 5_012, true));
    }

    #[tokio::test]
    async fn nothing_is_lost_or_turned_around_however_little_is_taken() {
        for most in [1, 3, 7, 1_000, 1_461, 4_000] {
            let mut to = Narrow { taken: Vec::new(), most, calls: 0 };
            let (mut outgoing, mut expected) = (Outgoing::default(), Vec::new());
            for (index, length) in [5, 1_460, 1, 3_000, 20, 1_459, 2, 0, 9_000, 7].into_iter().enumerate() {
                let piece = vec![u8::try_from(index).unwrap(); length];
                expected.extend_from_slice(&piece);
                write(&mut outgoing, &mut to, &piece).await;
            }
            poll_fn(|context| outgoing.poll_drain(Pin::new(&mut to), context)).await.unwrap();
            assert!(to.taken == expected, "{most}");
        }
    }
}
