//! An HTTP/2 connection's stream: what passes either way is counted against a [`Budget`].
//!
//! A client that goes beyond it gets no byte further: the connection's loop is told ([`Verdict`]), says goodbye with GOAWAY
//! and ends. The same happens to one that begins its settings, a header block or any frame but DATA and does not end it
//! within the head timeout. Where a connection ends with an error, what the client still sends is read and dropped for a
//! moment, so that it can read why.

use std::convert::Infallible;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
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

use super::budget::{Budget, Sent, Verdict};
use super::config::Bounds;
use super::frame_head::Cutter;
use super::guard::Guard;
use super::linger;
use super::outgoing::Outgoing;
use super::transport::Transport;
use super::watchdog::Watchdog;

/// Length of the connection preface, which comes before the first frame.
const PREFACE: usize = 24;

/// Told of every refusal that is found here.
pub(super) type Report = Box<dyn Fn(&'static Reason) + Send + Sync>;

/// The stream of one HTTP/2 connection.
pub(super) struct Frames {
    /// Present until the stream is dropped, like the guard: the connection counts until then.
    transport: Option<Transport>,
    guard: Option<Guard>,
    watchdog: Watchdog,
    head_timeout: Duration,
    write_timeout: Duration,
    unfinished_since: Option<Instant>,
    writing_since: Option<Instant>,
    received: Cutter,
    sent: Cutter,
    budget: Budget,
    verdict: Arc<Verdict>,
    report: Report,
    /// The connection ends with an error that the client can read.
    is_ending: bool,
    is_broken: bool,
}

impl Frames {
    pub(super) fn new(transport: Transport, guard: Guard, bounds: &Bounds, report: Report) -> Self {
        Self {
            transport: Some(transport),
            guard: Some(guard),
            watchdog: Watchdog::default(),
            head_timeout: bounds.head_timeout,
            write_timeout: bounds.write_timeout,
            unfinished_since: None,
            writing_since: None,
            received: Cutter::new(PREFACE),
            sent: Cutter::new(0),
            budget: Budget::new(&bounds.http2),
            verdict: Arc::default(),
            report,
            is_ending: false,
            is_broken: false,
        }
    }

    pub(super) fn verdict(&self) -> Arc<Verdict> {
        Arc::clone(&self.verdict)
    }

    fn decide(&self, reason: &'static Reason) {
        if self.verdict.decide(reason) {
            (self.report)(reason);
        }
    }

    /// Looks at what came; an error is the reason to end the connection for.
    fn look_at_received(&mut self, bytes: &[u8]) -> Result<(), &'static Reason> {
        let budget = &mut self.budget;
        let mut has_moved = false;
        self.received.look(bytes, |frame| {
            has_moved = true;
            budget.received(&frame)
        })?;
        // The time of a frame begins with the frame, that of settings and header blocks with their first one.
        if (has_moved && !self.budget.is_unfinished()) || !self.is_unfinished() {
            self.unfinished_since = None;
        }
        Ok(())
    }

    fn is_unfinished(&self) -> bool {
        // A body may take longer: its pace is judged where it is read.
        self.budget.is_unfinished()
            || self.received.is_within_head()
            || (self.received.missing() > 0 && !self.budget.is_in_body())
    }

    /// Nothing comes: whether the client should have ended before what it has begun.
    fn is_too_slow(&mut self, context: &mut Context<'_>) -> bool {
        if !self.is_unfinished() {
            return false;
        }
        let since = *self.unfinished_since.get_or_insert_with(clock::now);
        self.watchdog.is_due(context, since + self.head_timeout)
    }

    /// Looks at what goes out: what the protocol library refuses by itself is reported here.
    fn look_at_sent(&mut self, bytes: &[u8]) {
        let Self { sent, budget, verdict, report, is_ending, .. } = self;
        let mut excess = None;
        let looked = sent.look(bytes, |frame| {
            match budget.sent(&frame) {
                Sent::Nothing => {}
                Sent::Malformed(reason) => {
                    report(reason);
                    if verdict.count_malformed(budget.malformed_max()) {
                        excess.get_or_insert(&problem::HTTP2_TOO_MANY_MALFORMED);
                    }
                }
                Sent::Excess(reason) => excess = Some(reason),
                Sent::Ending(reason) => {
                    *is_ending = true;
                    if verdict.reason().is_none() {
                        report(reason);
                    }
                }
            }
            Ok::<_, Infallible>(())
        });
        let Ok(()) = looked;
        if let Some(reason) = excess {
            self.decide(reason);
        }
    }

    fn watch_write<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(outcome) = outcome {
            self.writing_since = None;
            self.is_broken |= outcome.is_err();
            return Poll::Ready(outcome);
        }
        let since = *self.writing_since.get_or_insert_with(clock::now);
        if self.watchdog.is_due(context, since + self.write_timeout) {
            self.is_broken = true;
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl AsyncRead for Frames {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let frames = self.get_mut();
        if frames.verdict.reason().is_some() {
            // The loop is about to end the connection, and wakes by itself.
            return Poll::Pending;
        }
        let Some(transport) = &mut frames.transport else { return Poll::Ready(Ok(())) };
        let start = buffer.filled().len();
        if Pin::new(transport).poll_read(context, buffer)?.is_pending() {
            if frames.is_too_slow(context) {
                frames.decide(&problem::HEAD_TIMEOUT);
            }
            return Poll::Pending;
        }
        if let Err(reason) = frames.look_at_received(buffer.filled().get(start..).unwrap_or_default()) {
            buffer.set_filled(start);
            frames.decide(reason);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Frames {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let frames = self.get_mut();
        let Some(transport) = &mut frames.transport else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let outcome = Pin::new(transport).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = outcome {
            frames.budget.wrote(written);
            frames.look_at_sent(bytes.get(..written).unwrap_or_default());
        }
        frames.watch_write(context, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let frames = self.get_mut();
        let Some(transport) = &mut frames.transport else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let outcome = Pin::new(transport).poll_write_vectored(context, slices);
        if let Poll::Ready(Ok(written)) = outcome {
            frames.budget.wrote(written);
            let mut left = written;
            for slice in slices {
                let now = slice.len().min(left);
                frames.look_at_sent(slice.get(..now).unwrap_or_default());
                left -= now;
            }
        }
        frames.watch_write(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.as_ref().is_some_and(Transport::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let frames = self.get_mut();
        let Some(transport) = &mut frames.transport else { return Poll::Ready(Ok(())) };
        let outcome = Pin::new(transport).poll_flush(context);
        frames.watch_write(context, outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let frames = self.get_mut();
        let Some(transport) = &mut frames.transport else { return Poll::Ready(Ok(())) };
        let outcome = Pin::new(transport).poll_shutdown(context);
        frames.watch_write(context, outcome)
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        let Some(transport) = self.transport.take() else { return };
        if self.is_ending && !self.is_broken {
            linger::close(transport, Outgoing::default(), self.guard.take());
        }
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("budget", &self.budget).finish_non_exhaustive()
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
        self.transport.as_ref().map_or(-1, Transport::id)
    }
}

impl Ssl for Frames {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.transport.as_ref()?.tls_digest()
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
        self.transport.as_ref()?.socket_digest()
    }
}

impl Peek for Frames {}
