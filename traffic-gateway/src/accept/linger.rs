//! Closing so that the client reads the answer.
//!
//! A socket closed with unread bytes sends a reset, and a reset destroys what the client has not read yet. Where a
//! connection ends before its request did, the last bytes go out, the sending side is shut, and what still comes is read and
//! dropped until the client closes or a bound is met.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::guard::Guard;
use super::outgoing::Outgoing;
use super::scratch;
use super::transport::Transport;

/// Longest wait in all, and for the next bytes.
const TOTAL: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(2);
/// Most bytes dropped; a client that sends more does not look at answers.
const DROPPED_MAX: usize = 64 * 1024 * 1024;

/// Closes in a task of its own; the connection counts until then.
pub(super) fn close(transport: Transport, outgoing: Outgoing, guard: Option<Guard>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    runtime.spawn(async move {
        let closing = timeout(TOTAL, drop_the_rest(transport, outgoing));
        drop(closing.await);
        drop(guard);
    });
}

async fn drop_the_rest(mut transport: Transport, mut outgoing: Outgoing) {
    let sent = poll_fn(|context| outgoing.poll_drain(Pin::new(&mut transport), context)).await;
    if sent.is_err() || transport.shutdown().await.is_err() {
        return;
    }
    let mut dropped = 0;
    while let Ok(Some(count)) = timeout(IDLE, next(&mut transport)).await {
        dropped += count;
        if dropped > DROPPED_MAX {
            return;
        }
    }
}

/// Reads and drops once; `None` at the end.
async fn next(transport: &mut Transport) -> Option<usize> {
    poll_fn(|context| {
        scratch::with(|bytes| {
            let mut buffer = ReadBuf::new(bytes);
            match Pin::new(&mut *transport).poll_read(context, &mut buffer) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(())) => Poll::Ready(Some(buffer.filled().len()).filter(|count| *count > 0)),
                Poll::Ready(Err(_)) => Poll::Ready(None),
            }
        })
    })
    .await
}
